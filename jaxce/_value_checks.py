"""What only the values of labels and probabilities can show: which ids, answers and probabilities can be read.

A mistake raises when the values are at hand. Under a trace it becomes NaN, and what `checkify` is asked to look for
finds it: an id is out of bounds where it is used, another mistake is a NaN where it is made. A check of its own would
be an effect of the whole traced program, which JAX then calls by its slow path, each time.
"""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from jaxce._types import AnyArray, Ids, Shape, Size


def check_ids(
    labels: AnyArray,
    classes: Size,
    mask: AnyArray | None,
    name: str = "labels",
    hint: Callable[[int, Size], str] | None = None,
) -> Ids:
    """Ids, 0 where masked, and which of them lie in ``[0, classes)``; None when that is certain of all.

    The comparison happens in the dtype the labels came in, and the ids are clipped to 32 bits, so none can wrap into
    the range.
    """
    seen: AnyArray = labels
    if is_concrete(labels) and (mask is None or is_concrete(mask)):  # NumPy answers sooner than a device is asked
        seen, mask = np.asarray(labels), None if mask is None else np.asarray(mask)
    valid = seen >= 0
    if not isinstance(classes, int) or classes <= jnp.iinfo(seen.dtype).max:
        valid = valid & (seen < classes)
    ids: AnyArray = labels if labels.dtype == np.int32 else _clipped(seen)
    if mask is not None:
        valid = valid | ~mask
        xp = np if isinstance(mask, np.ndarray) and isinstance(ids, np.ndarray) else jnp
        ids = xp.where(mask, ids, np.zeros((), np.int32))

    def describe(value: Any, position: Shape) -> str:
        fix = (hint or _id_hint)(int(value), classes)
        return f"{name}: id {value} at position {position} is outside [0, {classes}). {fix}"

    return Ids(as_jax_array(ids), _unless_certain(valid, seen, describe))


def is_concrete(x: Any) -> bool:
    """Whether the values can be looked at: of no tracer, and of no array that is spread over other processes too."""
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)


def as_jax_array(x: AnyArray) -> Array:
    """A JAX array, the same one if it is one: even a copy of what a mask hides would trip `jax_debug_nans`."""
    return x if isinstance(x, Array) else jnp.asarray(x)


def _clipped(labels: AnyArray) -> AnyArray:
    """The ids in 32 bits, or the nearest that 32 bits hold."""
    xp = np if isinstance(labels, np.ndarray) else jnp
    given, held = jnp.iinfo(labels.dtype), jnp.iinfo(np.int32)
    if given.max > held.max:
        low, high = np.asarray(max(given.min, held.min), labels.dtype), np.asarray(held.max, labels.dtype)
        labels = xp.clip(labels, low, high)
    narrow: AnyArray = xp.asarray(labels, np.int32)
    return narrow


def without_ignored(labels: AnyArray, ignore_index: int | None, mask: AnyArray | None) -> AnyArray | None:
    """The mask, less the examples whose id is ``ignore_index``; an id the dtype cannot hold ignores nothing."""
    if ignore_index is None:
        return mask
    if isinstance(ignore_index, bool):
        raise TypeError("ignore_index: got a bool; expected one integer id, or None.")
    try:
        ignored = operator.index(ignore_index)
    except TypeError:
        kind = type(ignore_index).__name__
        raise TypeError(f"ignore_index: got a {kind}; expected one integer id, or None.") from None
    bounds = jnp.iinfo(labels.dtype)
    if not bounds.min <= ignored <= bounds.max:
        return mask
    present: AnyArray = labels != np.asarray(ignored, labels.dtype)
    return present if mask is None else mask & present


def check_binary_labels(labels: Array, dtype: DTypeLike, no: int = 0, bounded: bool = False) -> Float[Array, "..."]:
    """Labels as numbers, where yes is 1; NaN where an integer label is neither that nor the number of no."""
    y = labels if labels.dtype == dtype else labels.astype(dtype)
    if labels.dtype == jnp.bool_:
        return jnp.where(labels, y, jnp.asarray(no, dtype)) if no else y
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return raise_or_nan("labels", y, ~((y < no) | (y > 1)), f"in [{no}, 1]") if bounded else y
    binary = (labels == no) | (labels == 1)

    def describe(value: Any, position: Shape) -> str:
        fix = " Labels of 0 and 1 become signs with 2 * labels - 1." if no else ""
        return f"labels: got {value} at position {position}; integer labels must be {no} or 1.{fix}"

    unsure = _unless_certain(binary, labels, describe)
    return y if unsure is None else jnp.where(unsure, y, jnp.nan)


def raise_or_nan(name: str, x: Float[Array, "..."], ok: Bool[Array, "..."], expected: str) -> Float[Array, "..."]:
    """``x``, with NaN in value and gradient where it is not ``ok``; raises when that can be seen."""

    def describe(value: Any, position: Shape) -> str:
        return f"{name}: got {value} at position {position}; expected values {expected}."

    unsure = _unless_certain(ok, x, describe)
    return x if unsure is None else x + jnp.where(unsure, 0.0, jnp.nan).astype(x.dtype)


def _unless_certain(ok: Any, values: AnyArray, describe: Callable[[Any, Shape], str]) -> Bool[Array, "..."] | None:
    """None when ``ok`` is known to hold everywhere; raises when it is known not to; else ``ok``."""
    if not is_concrete(ok):
        return jnp.asarray(ok)
    wrong = np.argwhere(~np.asarray(ok))
    if len(wrong):
        position = tuple(int(i) for i in wrong[0])
        raise ValueError(describe(np.asarray(values)[position], position))
    return None


def _id_hint(value: int, classes: Size) -> str:
    if classes == 1:
        return "One class leaves nothing to choose; for yes or no use sigmoid_binary_cross_entropy on logits[:, 0]."
    if value < 0:
        return f"No id counts from the end; to leave such examples out, pass ignore_index={value} or where=."
    return "Ids start at 0; to leave such examples out, pass where= or ignore_index=."
