"""Checks of labels by PyTorch's rules: class ids or probabilities, told apart by their shape."""

import dataclasses
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from jaxce._axis_inputs import check_integer
from jaxce._inputs import per_class
from jaxce._numerics import compute_dtype
from jaxce._types import AnyArray, ArrayOrTangent, Ids, Probs, Shape, Size, SoftmaxInputs
from jaxce._value_checks import as_jax_array, check_ids, is_concrete, without_ignored
from jaxce.torch._arguments import (
    FLOATING,
    REAL_OR_BOOL,
    LinearCrossEntropyOptions,
    as_array,
    of_kind,
    promoted,
    require_same_dtype,
    require_same_shape,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TorchIds(Ids):
    """Class ids, and ``not_ignored``: False where the label is ignored, None if no label is.

    ``not_ignored`` is no mask: it removes the loss, not the logits. As in PyTorch, a NaN logit of an ignored row gives
    NaN in the gradient.
    """

    not_ignored: ArrayOrTangent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchInputs(SoftmaxInputs):
    """Logits and labels, checked by PyTorch's rules, and the dtype of the loss."""

    dtype: np.dtype[Any] = dataclasses.field(metadata={"static": True})


class Labels(NamedTuple):
    """Checked labels and class weights for logits of some shape, and the dtype of the loss."""

    labels: TorchIds | Probs
    class_weights: Float[Array, "..."] | None
    dtype: np.dtype[Any]


def open_classes(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None, ignore_index: int, *, probabilities: bool
) -> TorchInputs:
    """Checks the arguments of a loss over exclusive classes; probabilities have the shape of the input."""
    x = of_kind("input", input, FLOATING)
    return with_labels(x, open_labels(x.shape, target, weight, ignore_index, x.dtype, probabilities))


def with_labels(x: Array, y: Labels) -> TorchInputs:
    """Logits with labels that were checked for their shape."""
    return TorchInputs(
        logits=x.astype(y.dtype) if y.dtype == np.float64 else x,
        axis=min(1, x.ndim - 1),
        labels=y.labels,
        mask=None,
        class_weights=y.class_weights,
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
    """Checks labels and class weights for logits of this shape and of the dtype ``own``."""
    axis = min(1, len(shape) - 1)
    if len(shape) == 0 or shape[axis] == 0:
        raise ValueError(f"input: got shape {shape}; expected [N, C, ...] or [C] with at least one class.")
    check_integer("ignore_index", ignore_index)
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"ignore_index: got {ignore_index}; expected an integer of 64 bits.")
    y = as_array("target", target)
    if probabilities and y.shape == shape:
        w = None if weight is None else of_kind("weight", weight, REAL_OR_BOOL)
        dtype = promoted(own, y.dtype, *(() if w is None else (w.dtype,)))
        w = (
            None
            if w is None
            else per_class("weight", w.astype(compute_dtype(dtype)), shape[axis], compute_dtype(dtype))
        )
        return Labels(_probabilities(y, ignore_index), w, dtype)
    w = open_class_weights(weight, shape[axis], own)
    y = _ids_of_examples(y, shape, axis, probabilities)
    not_ignored = without_ignored(y, ignore_index, None)
    ids = check_ids(y, shape[axis], not_ignored, "target", _id_hint)
    return Labels(TorchIds(ids.ids, ids.valid, None if not_ignored is None else as_jax_array(not_ignored)), w, own)


def open_class_weights(weight: ArrayLike | None, classes: Size, dtype: np.dtype[Any]) -> Array | None:
    """Class weights for ids; they must have the dtype of the input."""
    w = per_class("weight", weight, classes, compute_dtype(dtype))
    if weight is not None:
        require_same_dtype("weight", weight, dtype)
    return w


def _probabilities(y: AnyArray, ignore_index: int) -> Probs:
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(
            f"target: got dtype {y.dtype} in the shape of input, which means probabilities; expected a floating dtype."
            " One-hot rows need target.astype(input.dtype), class ids no class axis."
        )
    if ignore_index >= 0:
        text = f"ignore_index: got {ignore_index} with probabilities; expected a negative one, which ignores nothing."
        raise ValueError(text)
    return Probs(as_jax_array(y))


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
    """Features, weights and bias of a linear layer in the computing dtype, and the dtype they came in."""
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
    dtype = compute_dtype(x)
    return x.astype(dtype), w.astype(dtype), None if b is None else b.astype(dtype), x.dtype


def open_linear_labels(
    shape: Shape, target: ArrayLike, weight: ArrayLike | None, ignore_index: int | None, dtype: np.dtype[Any]
) -> Labels:
    """Checks labels for logits of this shape, which will be computed from features of this dtype."""
    if ignore_index is not None and as_array("target", target).shape == shape:
        raise ValueError(f"ignore_index: got {ignore_index} with probabilities; expected None.")
    return open_labels(shape, target, weight, -100 if ignore_index is None else ignore_index, dtype)


def open_rows(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Array, AnyArray, Array | None, np.dtype[Any]]:
    """Scores as rows ``[N, C]`` for any rank of the input, class ids, class weights, and the dtype of the loss."""
    x, y = of_kind("input", input, FLOATING), as_array("target", target)
    if x.ndim > 2 or 0 in x.shape[-1:]:
        raise ValueError(f"input: got shape {x.shape}; expected [N, C] or [C] with at least one class.")
    _require_integers("target", y)
    rows = x.reshape(x.shape if x.ndim == 2 else (1, x.size)).astype(compute_dtype(x))
    return rows, y, open_class_weights(weight, rows.shape[1], x.dtype), x.dtype


def open_row_ids(x: Array, y: AnyArray) -> Ids:
    """One class id for each row."""
    if y.ndim > 1 or y.size != x.shape[0]:
        expected = f"({x.shape[0]},), one for each row of input"
        raise ValueError(f"target: got class ids of shape {y.shape}; expected {expected}.")
    return check_ids(y.reshape(-1), x.shape[1], None, "target", lambda value, classes: "Ids start at 0.")


def open_label_sets(x: Array, y: AnyArray, shape: Shape) -> tuple[Ids, Bool[Array, "n c"]]:
    """The class ids of each row, and a mask of those before the first -1."""
    if y.ndim > 1 or len(shape) > 1 or y.size != x.size:
        require_same_shape("target", y, shape)
    y = y.reshape(x.shape)
    ids = check_ids(y, x.shape[1], y != -1, "target", lambda value, classes: "-1 ends the list of a row.")
    return ids, jnp.cumprod(as_jax_array(y) >= 0, axis=1, dtype=np.int32) > 0


def open_counted_ids(input: ArrayLike, num_classes: int) -> tuple[Ids, int]:
    """Class ids and the number of classes; -1 stands for the largest id plus 1."""
    y = as_array("input", input)
    _require_integers("input", y)
    check_integer("num_classes", num_classes)
    if num_classes == -1 and not is_concrete(y):
        raise ValueError("num_classes: got -1 for traced ids; expected the number of classes.")
    classes = int(np.max(y, initial=-1)) + 1 if num_classes == -1 else operator.index(num_classes)
    if classes < 1:
        raise ValueError(f"num_classes: got {num_classes} for ids of shape {y.shape}; expected at least 1.")
    return check_ids(y, classes, None, "input", lambda value, classes: "Ids start at 0."), classes


def _require_integers(name: str, y: AnyArray) -> None:
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"{name}: got dtype {y.dtype}; expected class ids of an integer dtype.")
