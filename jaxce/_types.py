"""The words the other modules share: array types, the record the door hands on, the label side of a loss."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

import jax
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

PerExample: TypeAlias = Float[Array, "*examples"]
"""One number per example: the shape of the logits without the class axis."""

ReductionName: TypeAlias = Literal["mean", "sum", "none", "total"]
Activation: TypeAlias = Literal["softmax", "sigmoid", "none"]
REDUCTION_NAMES: tuple[str, ...] = get_args(ReductionName)
Reduction: TypeAlias = ReductionName | Callable[[Array, Array], Any]
Reduced: TypeAlias = Any
"""What a reduction returns: an array, a ``Total``, or whatever the caller's own callable gives."""

AnyArray: TypeAlias = Array | np.ndarray
Hyperparameter: TypeAlias = float | int | Array
Bounded: TypeAlias = tuple[Hyperparameter, float, float] | tuple[Hyperparameter | None, float, float, None]
"""A hyperparameter and the closed range that it must lie in; the second kind may be None instead."""

AxisName: TypeAlias = str | tuple[str, ...]
ArrayOrTangent: TypeAlias = Any
"""An array or None; in a derivative its tangent, and in a `shard_map` its spec."""
Size: TypeAlias = Any
"""An integer, or a symbol under `jax.export`."""
Shape: TypeAlias = tuple[Size, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a loss by name, in the computing dtype; those ``off`` are the Python number 0.

    A formula can leave out a term whose factor is off, as that is known while tracing.
    """

    on: dict[str, AnyArray | None]
    off: frozenset[str] = dataclasses.field(metadata={"static": True})

    def __getitem__(self, name: str) -> Any:
        return 0.0 if name in self.off else self.on[name]


NO_HYPERPARAMETERS = Hyperparameters({}, frozenset())


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The checked and converted arguments of a loss. A pytree; ``x["gamma"]`` is the hyperparameter gamma.

    ``mask`` is False where an example is masked or ignored, None when there is no mask.
    """

    logits: Float[Array, "..."]
    axis: int = dataclasses.field(metadata={"static": True})
    mask: Bool[Array, "..."] | None
    class_weights: Float[Array, "..."] | None = None
    sample_weights: Float[Array, "..."] | None
    hyperparameters: Hyperparameters = NO_HYPERPARAMETERS

    def __getitem__(self, name: str) -> Any:
        return self.hyperparameters[name]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ids:
    """Class ids, int32 and safe to gather with.

    ``valid`` is False where an unmasked id lies outside the class range, None when that is known not to happen.
    """

    ids: ArrayOrTangent
    valid: ArrayOrTangent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Probs:
    """Probabilities in the dtype they came in."""

    probs: Float[Array, "..."]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftmaxInputs(Inputs):
    """Logits of exclusive classes with their labels."""

    labels: Ids | Probs
    class_axis_name: AxisName | None = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmoidInputs(Inputs):
    """Logits of yes-or-no questions with their labels as numbers; both hold harmless values where masked."""

    labels: Float[Array, "..."]
    pos_weight: Float[Array, "..."] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionInputs:
    """Pixels with their labels, which make up the regions of each class: by examples, or all in one for None.

    What masks and weighs pixels is theirs; the regions themselves have neither.
    """

    pixels: SoftmaxInputs | SigmoidInputs
    batch_axis: int | None = dataclasses.field(metadata={"static": True})
    activation: str = dataclasses.field(metadata={"static": True})
    absent: str = dataclasses.field(metadata={"static": True})
    mask: ClassVar[None] = None
    sample_weights: ClassVar[None] = None

    def __getitem__(self, name: str) -> Any:
        return self.pixels[name]


class LinearSharding(NamedTuple):
    """How the arrays of a linear layer lie on a mesh, for a `shard_map` over its free axes.

    ``tokens`` has the axes of each token dimension of the hidden states, ``classes`` those of the classes;
    ``explicit`` ones are part of the types.
    """

    mesh: Any
    free: frozenset[str]
    tokens: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    explicit: frozenset[str]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """The arguments of a linear loss with one row for each token."""

    hidden: ArrayOrTangent
    labels: Ids
    mask: ArrayOrTangent = None
    sample_weights: ArrayOrTangent = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """The arguments of a linear loss that all tokens share."""

    kernel: ArrayOrTangent
    bias: ArrayOrTangent = None
    class_weights: ArrayOrTangent = None
    logit_scale: ArrayOrTangent = None
    logit_softcap: ArrayOrTangent = None
    hyperparameters: Hyperparameters = NO_HYPERPARAMETERS


class LinearInputs(NamedTuple):
    """The checked and converted arguments of a linear loss."""

    tokens: Tokens
    layer: Layer
    kernel_layout: str = "vd"
    chunk_size: int | None = None
    class_axis_name: AxisName | None = None
    sharding: LinearSharding | None = None


class LinearAux(NamedTuple):
    """What ``linear_cross_entropy(..., has_aux=True)`` tells of each token's logits, without gradient.

    A masked token has 0 for all three: leave it out by the same mask.

    Args:
        log_z: logsumexp of the logits, ``[...]``.
        argmax: the likeliest class id, int32, ``[...]``.
        entropy: ``-sum_c p_c log p_c`` in nats, ``[...]``.

    Example:
        >>> _, aux = linear_cross_entropy(jnp.ones((1, 2)), jnp.eye(2), jnp.array([0]), has_aux=True)
        >>> print(f"{aux.log_z[0]:.3f} {aux.entropy[0]:.3f}")
        1.693 0.693
    """

    log_z: Array
    argmax: Array
    entropy: Array
