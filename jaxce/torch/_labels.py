"""The door's part for classes: ids, probabilities, and the shapes that decide between them."""

import dataclasses
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from jaxce._inputs import check_integer
from jaxce._types import AnyArray, ArrayOrTangent, Ids, Probs, Shape, Size, SoftmaxInputs
from jaxce._value_checks import as_jax_array, check_ids, without_ignored
from jaxce.torch._arguments import (
    FLOATING,
    REAL_OR_BOOL,
    LinearCrossEntropyOptions,
    as_array,
    computing,
    of_kind,
    promoted,
    require_same_dtype,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TorchIds(Ids):
    """Class ids, and ``present``: False where the label is ignored, None when none is.

    Unlike a mask it leaves out the loss alone: as in PyTorch, a NaN logit of an ignored row is NaN in the gradient.
    """

    present: ArrayOrTangent


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenedClasses(SoftmaxInputs):
    """Logits with labels, checked by PyTorch's rules, and the dtype of the loss."""

    dtype: np.dtype[Any]


class Labels(NamedTuple):
    """Labels and class weights for logits of some shape, and the dtype of the loss."""

    read: TorchIds | Probs
    class_weights: Float[Array, "..."] | None
    dtype: np.dtype[Any]


def open_classes(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None, ignore_index: int, *, probabilities: bool
) -> OpenedClasses:
    """Opens a loss over exclusive classes; the shape of the target decides whether it holds probabilities."""
    x = of_kind("input", input, FLOATING)
    return with_labels(x, open_labels(x.shape, target, weight, ignore_index, x.dtype, probabilities))


def with_labels(x: Array, y: Labels) -> OpenedClasses:
    """Logits with the labels that were opened for their shape."""
    x = x.astype(y.dtype) if y.dtype == np.float64 else x
    return OpenedClasses(
        logits=x,
        axis=min(1, x.ndim - 1),
        labels=y.read,
        mask=None,
        class_weights=None if y.class_weights is None else y.class_weights.astype(computing(x)),
        sample_weights=None,
        class_axis_name=None,
        dtype=y.dtype,
    )


def open_labels(
    shape: Shape,
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    own: np.dtype[Any],
    probabilities: bool = True,
) -> Labels:
    """Labels and class weights of logits that have a shape and a dtype of their own."""
    if len(shape) == 0 or shape[min(1, len(shape) - 1)] == 0:
        raise ValueError(f"input: got shape {shape}; expected [N, C, ...] or [C] with at least one class.")
    if isinstance(ignore_index, bool) or not hasattr(ignore_index, "__index__"):
        raise TypeError(f"ignore_index: got {ignore_index!r}; expected one integer, such as -100.")
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"ignore_index: got {ignore_index}; expected an integer of 64 bits.")
    axis = min(1, len(shape) - 1)
    w = None if weight is None else of_kind("weight", weight, REAL_OR_BOOL)
    if w is not None and w.shape != shape[axis : axis + 1]:
        raise ValueError(f"weight: got shape {w.shape}; expected {shape[axis : axis + 1]}, one weight per class.")
    y = as_array("target", target)
    if probabilities and y.shape == shape:
        probs = _probabilities(y, ignore_index)
        return Labels(Probs(probs), w, promoted(own, probs.dtype, *(() if w is None else (w.dtype,))))
    if w is not None:
        require_same_dtype("weight", w, own)
    y = _ids_of_examples(y, shape, axis, probabilities)
    present = without_ignored(y, ignore_index, None)
    read = check_ids(y, shape[axis], present, "target", _id_hint)
    return Labels(TorchIds(read.ids, read.valid, None if present is None else as_jax_array(present)), w, own)


def _probabilities(y: AnyArray, ignore_index: int) -> Float[Array, "..."]:
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(
            f"target: got dtype {y.dtype} in the shape of input, which means probabilities; expected a floating dtype."
            " One-hot rows need target.astype(input.dtype), class ids no class axis."
        )
    if ignore_index >= 0:
        text = f"ignore_index: got {ignore_index} with probabilities; expected a negative one, which ignores nothing."
        raise ValueError(text)
    return as_jax_array(y)


def _ids_of_examples(y: AnyArray, shape: Shape, axis: int, probabilities: bool) -> AnyArray:
    examples = shape[:axis] + shape[axis + 1 :]
    or_else = f", or probabilities of shape {shape}" if probabilities else ""
    if not jnp.issubdtype(y.dtype, jnp.integer):
        fix = "Class ids need target.astype(jnp.int32)."
        raise TypeError(f"target: got dtype {y.dtype} of shape {y.shape}; expected class ids{or_else}. {fix}")
    if len(shape) == 1 and y.shape == (1,):
        return y.reshape(())
    if y.shape != examples:
        hint = " target[:, 0] drops the class axis." if y.shape == (*shape[:axis], 1, *shape[axis + 1 :]) else ""
        hint = " The classes lie along axis 1 here: jnp.moveaxis(input, -1, 1)." if y.shape == shape[:-1] else hint
        raise ValueError(f"target: got class ids of shape {y.shape}; expected {examples}{or_else}.{hint}")
    return y


def _id_hint(value: int, classes: Size) -> str:
    if value < 0:
        return f"To leave such examples out, pass ignore_index={value}."
    return f"Ids start at 0; to leave such examples out, pass ignore_index={value}."


def open_linear(
    input: ArrayLike,
    linear_weight: ArrayLike,
    linear_bias: ArrayLike | None,
    options: LinearCrossEntropyOptions | None,
) -> tuple[Array, Array, Array | None, np.dtype[Any]]:
    """Features, weights and bias of a linear layer, to compute its logits with, and the dtype they came in."""
    if not isinstance(options, LinearCrossEntropyOptions | None):
        raise TypeError(f"options: got {options!r}; expected LinearCrossEntropyOptions or None.")
    x, w = of_kind("input", input, FLOATING), of_kind("linear_weight", linear_weight, FLOATING)
    b = None if linear_bias is None else of_kind("linear_bias", linear_bias, FLOATING)
    require_same_dtype("linear_weight", w, x.dtype)
    if x.ndim not in (1, 2):
        raise ValueError(f"input: got shape {x.shape}; expected [N, D] or [D].")
    if w.ndim < 2 or w.shape[-1] != x.shape[-1] or (w.ndim > 2 and x.ndim == 1):
        several = "" if x.ndim == 1 else f" or [C, ..., {x.shape[-1]}]"
        raise ValueError(f"linear_weight: got shape {w.shape}; expected [C, {x.shape[-1]}]{several}.")
    if b is not None:
        require_same_dtype("linear_bias", b, x.dtype)
        if b.shape != w.shape[:-1]:
            raise ValueError(f"linear_bias: got shape {b.shape}; expected {w.shape[:-1]}.")
    computed = computing(x)
    return x.astype(computed), w.astype(computed), None if b is None else b.astype(computed), x.dtype


def open_linear_labels(
    shape: Shape, target: ArrayLike, weight: ArrayLike | None, ignore_index: int | None, dtype: np.dtype[Any]
) -> Labels:
    """Labels of logits that will be computed, of some shape, from features of some dtype."""
    if ignore_index is not None and as_array("target", target).shape == shape:
        raise ValueError(f"ignore_index: got {ignore_index} with probabilities; expected None.")
    return open_labels(shape, target, weight, -100 if ignore_index is None else ignore_index, dtype)


def open_rows(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Array, AnyArray, Array | None, np.dtype[Any]]:
    """Scores as rows ``[N, C]``, whatever rank they came in, ids of any shape, class weights, and the loss's dtype."""
    x, y = of_kind("input", input, FLOATING), as_array("target", target)
    if x.ndim > 2 or 0 in x.shape[-1:]:
        raise ValueError(f"input: got shape {x.shape}; expected [N, C] or [C] with at least one class.")
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"target: got dtype {y.dtype}; expected class ids of an integer dtype.")
    rows = x.reshape(x.shape if x.ndim == 2 else (1, x.size))
    w = None if weight is None else of_kind("weight", weight, FLOATING)
    if w is not None and w.shape != rows.shape[1:]:
        raise ValueError(f"weight: got shape {w.shape}; expected {rows.shape[1:]}, one weight per class.")
    if w is not None:
        require_same_dtype("weight", w, x.dtype)
    computed = computing(x)
    return rows.astype(computed), y, None if w is None else w.astype(computed), x.dtype


def open_row_ids(x: Array, y: AnyArray) -> Ids:
    """One class id for each row."""
    if y.ndim > 1 or y.size != x.shape[0]:
        raise ValueError(
            f"target: got class ids of shape {y.shape}; expected ({x.shape[0]},), one for each row of input."
        )
    return check_ids(y.reshape(-1), x.shape[1], None, "target", lambda value, classes: "Ids start at 0.")


def open_label_sets(x: Array, y: AnyArray, shape: Shape) -> tuple[Ids, Bool[Array, "n c"]]:
    """For rows that came in some shape, the ids of their classes, and where such stand: up to the first -1."""
    if y.shape != shape and (y.ndim > 1 or len(shape) > 1 or y.size != x.size):
        raise ValueError(f"target: got shape {y.shape}; expected {shape}, the shape of input.")
    y = y.reshape(x.shape)
    ids = check_ids(y, x.shape[1], y != -1, "target", lambda value, classes: "-1 ends the list of a row.")
    return ids, jnp.cumprod(as_jax_array(y) >= 0, axis=1, dtype=np.int32) > 0


def open_counted_ids(input: ArrayLike, num_classes: int) -> tuple[Ids, int]:
    """Class ids with the number of classes, which -1 leaves to the largest id."""
    y = as_array("input", input)
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"input: got dtype {y.dtype}; expected class ids of an integer dtype.")
    check_integer("num_classes", num_classes)
    if num_classes == -1 and isinstance(y, jax.core.Tracer):
        raise ValueError("num_classes: got -1 under a trace, where no id is at hand; expected their number.")
    classes = int(np.max(y, initial=-1)) + 1 if num_classes == -1 else operator.index(num_classes)
    if classes < 1:
        raise ValueError(f"num_classes: got {num_classes} for ids of shape {y.shape}; expected at least 1.")
    return check_ids(y, classes, None, "input", lambda value, classes: "Ids start at 0."), classes
