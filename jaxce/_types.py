"""Types that the other modules share: arrays, and the records of checked arguments.

An example has one label and one loss: a token, a pixel or an element are examples. A row is the logits of one example,
along the class axis. The argument ``where`` becomes the record's ``mask``: True where an example counts.
"""

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
Tail: TypeAlias = Literal["other", "renormalize", "ignore"]
Activation: TypeAlias = Literal["softmax", "sigmoid", "none"]
Average: TypeAlias = Literal["macro", "micro", "volume", "none"]
SoftCounts: TypeAlias = Literal["product", "squared", "minimum"]
REDUCTION_NAMES: tuple[str, ...] = get_args(ReductionName)
Reduction: TypeAlias = ReductionName | Callable[[Array, Array], Any]
Reduced: TypeAlias = Any
"""The result of a reduction: an array, a ``Total``, or the result of the caller's own callable."""

AnyArray: TypeAlias = Array | np.ndarray
Hyperparameter: TypeAlias = float | int | np.number[Any] | AnyArray
Bound: TypeAlias = float | int
Bounded: TypeAlias = tuple[Hyperparameter, Bound, Bound] | tuple[Hyperparameter | None, Bound, Bound, None]
"""A hyperparameter and its closed range; with a fourth entry it may be None."""

AxisName: TypeAlias = str | tuple[str, ...]
ArrayOrTangent: TypeAlias = Any
"""An array or None; in a derivative its tangent, and in a `shard_map` its spec."""
Size: TypeAlias = Any
"""An integer, or a symbol under `jax.export`."""
Shape: TypeAlias = tuple[Size, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a loss by name, in the computing dtype.

    Those ``off`` are the Python number 0. This is known while tracing, so a formula can leave out their terms.
    """

    on: dict[str, ArrayOrTangent]
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

    @property
    def label_smoothing(self) -> Any:
        """eps; 0 if it is off, and for a loss without label smoothing."""
        return self.hyperparameters.on.get("label_smoothing", 0.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ids:
    """Class ids, int32. An invalid id has its value, clipped to int32; a gather clamps it.

    ``valid`` is False for an unmasked id outside the class range, and None if all are known to be valid.
    """

    ids: ArrayOrTangent
    valid: ArrayOrTangent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Probs:
    """Probabilities as labels, in their own dtype. If not ``checked``, those outside [0, 1] must become NaN."""

    probs: Float[Array, "..."]
    checked: bool = dataclasses.field(default=True, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftmaxInputs(Inputs):
    """Logits of exclusive classes with their labels: `Ids` or `Probs`, or a teacher in the place of labels.

    The ``reference`` of each example is a number near its largest logit, known without a pass over the logits.
    """

    labels: Any
    reference: PerExample | None = None
    class_axis_name: AxisName | None = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmoidInputs(Inputs):
    """Logits of binary labels, with the labels as numbers; masked entries of both have filler values."""

    name: str = dataclasses.field(metadata={"static": True})
    labels: Float[Array, "..."]
    pos_weight: Float[Array, "..."] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RegionRule:
    """How the losses of the regions of all classes become one loss, with the hyperparameters of a region's loss."""

    average: str = dataclasses.field(metadata={"static": True})
    absent: str = dataclasses.field(metadata={"static": True})
    log_loss: bool = dataclasses.field(metadata={"static": True})
    class_weights: Float[Array, "..."] | None
    hyperparameters: Hyperparameters

    def __getitem__(self, name: str) -> Any:
        return self.hyperparameters[name]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RegionInputs:
    """Pixels with their labels. Each class has one region per entry of ``batch_axis``, or one in all for None.

    Mask and sample weights belong to pixels; regions always have weight 1. Their counts are summed over ``axis_name``.
    """

    pixels: SoftmaxInputs | SigmoidInputs
    rule: RegionRule
    batch_axis: int | None = dataclasses.field(metadata={"static": True})
    activation: str = dataclasses.field(metadata={"static": True})
    soft_counts: str = dataclasses.field(metadata={"static": True})
    axis_name: AxisName | None = dataclasses.field(metadata={"static": True})
    mask: ClassVar[None] = None
    sample_weights: ClassVar[None] = None

    def __getitem__(self, name: str) -> Any:
        return self.rule[name]


class LinearSharding(NamedTuple):
    """The mesh axes that split the arrays of a linear layer, for a `shard_map` over the mesh's ``free`` axes.

    ``tokens`` has the axes of each token dimension of the hidden states, ``classes`` those of the classes. ``gathered``
    has axes of each dimension of the kernel that split the tokens as well: each device gathers the kernel along them,
    and so its gradient is reduced and scattered. The types of arrays contain the ``explicit`` axes.
    """

    mesh: Any
    free: frozenset[str]
    tokens: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    gathered: tuple[tuple[str, ...], ...]
    explicit: frozenset[str]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """The arguments of a linear loss with one row for each token: `Ids` as labels, or ``rows`` of a function.

    ``hidden`` has the hidden states of each layer. The classes of ``teacher_logits`` are split as those of the layers.
    A chunk of tokens may have a ``reference``, as in `SoftmaxInputs`.
    """

    hidden: tuple[ArrayOrTangent, ...]
    labels: Any = None
    rows: Any = ()
    teacher_logits: ArrayOrTangent = None
    mask: ArrayOrTangent = None
    sample_weights: ArrayOrTangent = None
    reference: ArrayOrTangent = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear layer with its bias, the scale of its logits and their cap."""

    kernel: ArrayOrTangent
    bias: ArrayOrTangent = None
    logit_scale: ArrayOrTangent = None
    logit_softcap: ArrayOrTangent = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Shared:
    """The arguments of a linear loss that all tokens share; a function of the caller takes ``constants``."""

    layers: tuple[Layer, ...]
    class_weights: ArrayOrTangent = None
    hyperparameters: Hyperparameters = NO_HYPERPARAMETERS
    constants: Any = ()


Logits: TypeAlias = tuple[Array, ...]
"""The logits of a chunk of tokens, of each layer."""
Terms: TypeAlias = tuple[Any, Any]
"""The losses of a chunk of tokens, and what else their logits give."""


class LinearInputs(NamedTuple):
    """The checked and converted arguments of a linear loss, with a pattern of argument names for each layer."""

    tokens: Tokens
    shared: Shared
    kernel_layout: str = "vd"
    chunk_size: int | None = None
    class_axis_name: AxisName | None = None
    sharding: LinearSharding | None = None
    names: tuple[str, ...] = ("{}",)


class LinearLogits(NamedTuple):
    """The logits ``cap tanh(scale (hidden @ kernel + bias) / cap)`` of a linear layer, which stay uncomputed.

    It is a teacher of ``linear_kl_divergence``. Its features need not be as many as the student's, but its classes are
    the same.

    Args:
        hidden: outputs of the last layer, floating, ``[..., features]``.
        kernel: weights of the layer, floating, ``[features, classes]``; in the order that ``kernel_layout`` names.
        bias: added to the logits, ``[classes]``; ``-inf`` excludes a class, such as padding of the vocabulary.
        logit_scale: factor of the logits, above 0: an inverse temperature.
        logit_softcap: cap, above 0; scaled logits become ``cap tanh(logits / cap)``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> student, kernel = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        >>> teacher = jaxce.LinearLogits(jnp.array([[1.0, 1.0, 0.0]]), jnp.eye(3), logit_softcap=30.0)
        >>> print(f"{jaxce.linear_kl_divergence(student, kernel, teacher):.3f}")
        0.657
        >>> print(f"{jaxce.linear_kl_divergence(student, kernel, teacher._replace(logit_scale=2.0)):.3f}")
        0.927

    See Also:
        ``linear_kl_divergence``: takes it as a teacher.
        ``linear_loss``: takes several layers as tuples.
    """

    hidden: Any
    kernel: Any
    bias: Any = None
    logit_scale: Any = None
    logit_softcap: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TopK:
    """A teacher's k likeliest classes with their log-probabilities, and the rule ``tail`` for its other classes.

    For teachers whose logits are too large to keep or to send. The log-probabilities are those under all classes, at
    the temperature of the loss. An id with the log-probability ``-inf`` is absent and may be any number. The student is
    never normalized over the k classes alone.

    Args:
        ids: the likeliest class ids, integer, all different, ``[..., k]``.
        log_probs: their log-probabilities, floating, ``[..., k]``.
        tail: what the other classes are: ``"other"``, one class; ``"renormalize"``, impossible; ``"ignore"``, no terms.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> hidden, kernel = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        >>> log_probs, ids = jax.lax.top_k(jax.nn.log_softmax(jnp.array([[3.0, 1.0, 2.0]])), 2)
        >>> print(f"{jaxce.linear_kl_divergence(hidden, kernel, jaxce.TopK(ids, log_probs)):.3f}")
        0.996
        >>> print(f"{jaxce.linear_kl_divergence(hidden, kernel, jaxce.TopK(ids, log_probs, 'renormalize')):.3f}")
        1.288

    See Also:
        ``distillation_loss``, ``linear_kl_divergence``: take it as a teacher.
        ``linear_log_probs``: log-probabilities of given ids, for the teacher.
    """

    ids: Any
    log_probs: Any
    tail: Tail = dataclasses.field(default="other", metadata={"static": True})


class LogProbs(NamedTuple):
    """Of each example ``log_prob = x_y - log_z``, ``log_z``, entropy and argmax: ``log_probs`` returns it.

    For policies and scores of sequences. All but the argmax have gradients. All are 0 for a masked example, so reduce
    them with the same mask.

    Args:
        log_prob: log-probability of the label, ``[...]``; of each candidate, ``[..., k]``, for several labels.
        log_z: logsumexp of the logits, ``[...]``.
        entropy: ``-sum_c p_c log p_c`` in nats, ``[...]``.
        argmax: the likeliest class id, int32, ``[...]``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([[1.0, 0.0], [0.0, 3.0]]), jnp.array([0, 0])
        >>> told = jaxce.log_probs(logits, labels)
        >>> print(told.log_prob, told.entropy)
        [-0.313 -3.049] [0.582 0.191]
        >>> print(jnp.exp(told.log_prob), told.argmax == labels)
        [0.731 0.047] [ True False]

    See Also:
        ``log_probs``: returns it.
        ``linear_log_probs``: returns the same without the logits in memory.
        ``CrossEntropyAux``: the same numbers beside a loss, without gradients.
    """

    log_prob: Array
    log_z: Array
    entropy: Array
    argmax: Array


class CrossEntropyAux(NamedTuple):
    """Per-example results of a cross-entropy with ``has_aux=True``: ``log_z``, argmax, entropy and z-loss.

    For metrics: accuracy, uncertainty, drift of ``log_z``. The values have no gradient. All are 0 for a masked example,
    so reduce them with the same mask.

    Args:
        log_z: logsumexp of the logits, ``[...]``.
        argmax: the likeliest class id, int32, ``[...]``.
        entropy: ``-sum_c p_c log p_c`` in nats, ``[...]``.
        z_loss: the part of the weighted loss that ``z_loss`` adds, ``[...]``; 0 if it is off.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([[1.0, 0.0], [0.0, 3.0]]), jnp.array([0, 0])
        >>> loss, aux = jaxce.cross_entropy(logits, labels, z_loss=0.1, has_aux=True)
        >>> print(aux.log_z, aux.entropy)
        [1.313 3.049] [0.582 0.191]
        >>> print(jaxce.reduce((aux.argmax == labels).astype(float)))
        0.5
        >>> print(f"{loss:.3f}, of it z-loss {aux.z_loss.mean():.3f}")
        2.232, of it z-loss 0.551

    See Also:
        ``cross_entropy``: returns it.
        ``linear_cross_entropy``: returns the same without the logits in memory.
        ``entropy``: from logits, with a gradient.
    """

    log_z: Array
    argmax: Array
    entropy: Array
    z_loss: Array
