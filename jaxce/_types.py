"""The words the other modules share: array types, the record the door hands on, the label side of a loss."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import jax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

Examples: TypeAlias = Float[Array, "*examples"]
"""One number per example: the shape of the logits without the class axis."""

ReductionName: TypeAlias = Literal["mean", "sum", "none", "total"]
REDUCTION_NAMES: tuple[str, ...] = get_args(ReductionName)
Reduction: TypeAlias = ReductionName | Callable[[Array, Array], Any]
Reduced: TypeAlias = Any
"""What a reduction returns: an array, a ``Total``, or whatever the caller's own callable gives."""

Hyperparameter: TypeAlias = float | ArrayLike
AxisName: TypeAlias = str | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Opened:
    """The arguments of a loss behind the door: converted, checked, and the masks merged into one.

    ``kept`` is False where an example is masked or ignored, None when there is no mask. Of the labels, one is set: ``ids``,
    ``probs``, or ``answers`` for yes-or-no questions. ``ids`` are int32 and safe to gather with; ``readable`` is False where
    an unmasked id lies outside the class range, None when that is known not to happen.
    """

    logits: Float[Array, "..."]
    axis: int
    kept: Bool[Array, "..."] | None
    ids: Int[Array, "..."] | None = None
    readable: Bool[Array, "..."] | None = None
    probs: Float[Array, "..."] | None = None
    answers: Float[Array, "..."] | None = None
    class_weights: Float[Array, "..."] | None = None
    sample_weights: Float[Array, "..."] | None = None
    pos_weight: Float[Array, "..."] | None = None
    class_axis_name: AxisName | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """What the labels ask of the classes: the coefficients ``q_c = hit [c = id] + scale_c probs_c + offset_c``.

    ``total`` is their sum over the classes, NaN where the id cannot be read. ``scale`` and ``offset`` are scalars or
    ``[classes]``; a part that is None is not there.
    """

    total: Array
    kept: Array | None
    ids: Array | None = None
    hit: Array | None = None
    probs: Array | None = None
    scale: Array | None = None
    offset: Array | None = None
    axis: int = dataclasses.field(default=-1, metadata={"static": True})
    class_axis_name: AxisName | None = dataclasses.field(default=None, metadata={"static": True})
