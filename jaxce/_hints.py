"""The usual fixes that messages propose."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxce._types import AnyArray, Shape

Hint: TypeAlias = Callable[[Any], str]
"""The usual fix for an invalid value; empty without one."""

BINARY_FIX = "use sigmoid_binary_cross_entropy"
"""What takes binary labels instead of a softmax loss, in messages."""

LOGITS_FIX = "Logits come first, then labels; other logits become probabilities with jax.nn.softmax."

SOFTMAX_FIX = "The loss applies softmax itself: pass logits; the logits of probabilities are jnp.log(probs)."


def id_hint(value: int, dtype: np.dtype[Any], ignore_index: Any) -> str:
    """The usual fix for an invalid id."""
    bounds = jnp.iinfo(dtype)
    if value < 0 and hasattr(ignore_index, "__index__") and ignore_index - value == bounds.max - bounds.min + 1:
        unsigned = f"u{dtype}"
        return f"ignore_index={ignore_index} does not fit {dtype}; use labels.astype(jnp.{unsigned})."
    if value < 0:
        return f"No id counts from the end; to leave such examples out, pass ignore_index={value} or where=."
    return "Ids start at 0; to leave such examples out, pass where= or ignore_index=."


def row_sum_hint(binary_fix: str, value: Any) -> str:
    if value == 0:
        return (
            f"For several classes at once, or a binary mask, {binary_fix}; else mask rows without a label with where=."
        )
    return f"For several classes at once {binary_fix}; else divide each row by its sum."


def binary_hint(negative_label: int) -> Hint:
    def hint(value: Any) -> str:
        if negative_label == 0 and value == -1:
            return "Signs become labels of 0 and 1 with (labels + 1) / 2; if -1 means no label, pass where=labels >= 0."
        if value == 255:
            return (
                "A mask of 0 and 255 becomes labels with labels > 0; if 255 means no label, pass where=labels != 255."
            )
        return "Labels of 0 and 1 become signs with 2 * labels - 1." if value == 0 else ""

    return hint


def dtype_hint(labels: AnyArray, shape: Shape, binary_fix: str) -> str:
    """The usual fix for labels that are neither numbers nor ids, after a space; empty without one."""
    if labels.dtype == jnp.bool_ and labels.shape == shape:
        return (
            f" One-hot booleans become probabilities with labels.astype(jnp.float32); for a binary mask {binary_fix}."
        )
    if labels.dtype == jnp.bool_:
        return " Booleans become the ids 0 and 1 with labels.astype(jnp.int32)."
    return " Names become ids with np.unique(labels, return_inverse=True)[1]." if labels.dtype.kind in "UOS" else ""


def label_hint(labels: Shape, shape: Shape, axes: tuple[int, ...], binary_fix: str) -> str:
    """The usual fix for class ids of the wrong shape, after a space; empty without one, and for several class axes."""
    if len(axes) > 1:
        return ""
    (axis,) = axes
    if labels == shape:
        return f"{argmax_hint(axes)} For a mask of 0 and 1 {binary_fix}."
    if labels == (*shape[:axis], 1, *shape[axis + 1 :]):
        return f" Drop the class axis with {without_axes('labels', len(shape), axes)} or jnp.squeeze(labels, {axis})."
    fitting = [f"axis={d}" for d in (1, 0, *range(2, len(shape))) if labels == shape[:d] + shape[d + 1 :]]
    return f" They would fit {' or '.join(fitting)}." if fitting else ""


def argmax_hint(axes: tuple[int, ...]) -> str:
    """How one-hot rows become ids, after a space; empty for several class axes."""
    return f" One-hot rows become ids with jnp.argmax(labels, {axes[0]})." if len(axes) == 1 else ""


def axes_text(axes: tuple[int, ...]) -> str:
    """The class axes, as text."""
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"


def without_axes(name: str, ndim: int, axes: tuple[int, ...]) -> str:
    """How to drop axes of size 1, as text."""
    if len(axes) > 1:
        return f"jnp.squeeze({name}, {axes})"
    return f"{name}[..., 0]" if axes[0] == ndim - 1 else f"{name}[{':, ' * axes[0]}0]"
