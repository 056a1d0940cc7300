"""Argument checks of labels that may be several candidate ids of each example."""

from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool

from jaxce._axis_inputs import class_axis, shards
from jaxce._class_axis import example_shape
from jaxce._debug import is_debugging
from jaxce._inputs import check_mask, floating, ids_and_mask, integer_labels, refuse_ignore_index
from jaxce._types import AnyArray, AxisName, Ids, Shape, Size, SoftmaxInputs
from jaxce._value_checks import as_jax_array, check_not_probabilities


def open_candidates(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int,
    where: ArrayLike | None,
    ignore_index: int | Array | None,
    class_axis_name: AxisName | None,
) -> SoftmaxInputs:
    """Logits of exclusive classes with one id of each example, or several along ``axis``."""
    x = floating("logits", logits)
    axis = class_axis("logits", x.shape, axis)
    y, examples = integer_labels(labels), example_shape(x, axis)
    if y.shape != examples and (y.ndim != x.ndim or example_shape(y, axis) != examples):
        several = (*x.shape[:axis], "k", *x.shape[axis + 1 :])
        raise ValueError(
            f"labels: got class ids of shape {y.shape} for logits of shape {x.shape} with the class axis {axis};"
            f" expected shape {examples}, or ({', '.join(map(str, several))}) for several of each example."
        )
    ids, mask = candidate_ids(y, axis, examples, x.shape[axis] * shards(class_axis_name), where, ignore_index)
    if is_debugging() and class_axis_name is None:
        check_not_probabilities(x, mask, axis)
    return SoftmaxInputs(
        logits=x, axis=axis, labels=ids, mask=mask, sample_weights=None, class_axis_name=class_axis_name
    )


def candidate_ids(
    labels: AnyArray,
    axis: int,
    examples: Shape,
    classes: Size,
    where: ArrayLike | None,
    ignore_index: int | Array | None,
) -> tuple[Ids, Bool[Array, "..."] | None]:
    """Checked ids, one of each example or several along ``axis``, and the mask of the examples."""
    if labels.shape == examples:
        return ids_and_mask(labels, classes, where, ignore_index)
    refuse_ignore_index(ignore_index, "several ids of an example")
    mask = check_mask(where, examples)
    several = None if mask is None else mask.reshape(*mask.shape[:axis], 1, *mask.shape[axis:])
    return ids_and_mask(labels, classes, several, None)[0], None if mask is None else as_jax_array(mask)
