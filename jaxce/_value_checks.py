"""Checks of the values of labels and probabilities.

An invalid value raises when it is concrete. Traced, it becomes NaN: `checkify.index_checks` reports ids, `nan_checks`
the rest. We add no `checkify.check`: its effect would move every call to JAX's slow dispatch.
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
    """Class ids as int32, 0 where masked, and whether each lies in ``[0, classes)``.

    Ids are compared in the dtype of the labels, then clipped to 32 bits: no id wraps into the range.
    """
    values: AnyArray = labels
    if is_concrete(labels) and (mask is None or is_concrete(mask)):  # NumPy compares sooner than a device is dispatched
        values, mask = np.asarray(labels), None if mask is None else np.asarray(mask)
    valid = values >= 0
    if not isinstance(classes, int) or classes <= jnp.iinfo(values.dtype).max:
        valid = valid & (values < classes)
    ids: AnyArray = labels if labels.dtype == np.int32 else _as_int32(values)
    if mask is not None:
        valid = valid | ~mask
        xp = np if isinstance(mask, np.ndarray) and isinstance(ids, np.ndarray) else jnp
        ids = xp.where(mask, ids, np.zeros((), np.int32))

    def describe(value: Any, position: Shape) -> str:
        fix = (hint or _id_hint)(int(value), classes)
        return f"{name}: id {value} at position {position} is outside [0, {classes}). {fix}"

    return Ids(as_jax_array(ids), _raise_or_defer(valid, values, describe))


def is_concrete(x: Any) -> bool:
    """Whether the values are known: not those of a tracer, nor of an array that other processes share."""
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)


def as_jax_array(x: AnyArray) -> Array:
    """A JAX array, the same one if it is one: `jax_debug_nans` would find a masked NaN even in a copy."""
    return x if isinstance(x, Array) else jnp.asarray(x)


def _as_int32(labels: AnyArray) -> AnyArray:
    """The ids in 32 bits, clipped to the numbers that 32 bits hold."""
    xp = np if isinstance(labels, np.ndarray) else jnp
    given, held = jnp.iinfo(labels.dtype), jnp.iinfo(np.int32)
    if given.max > held.max:
        low, high = np.asarray(max(given.min, held.min), labels.dtype), np.asarray(held.max, labels.dtype)
        labels = xp.clip(labels, low, high)
    ids: AnyArray = xp.asarray(labels, np.int32)
    return ids


def without_ignored(labels: AnyArray, ignore_index: int | None, mask: AnyArray | None) -> AnyArray | None:
    """The mask, False also where the id is ``ignore_index``; an id outside the dtype's range ignores nothing."""
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
    not_ignored: AnyArray = labels != np.asarray(ignored, labels.dtype)
    return not_ignored if mask is None else mask & not_ignored


def check_binary_labels(
    labels: Array, dtype: DTypeLike, negative_label: int = 0, bounded: bool = False
) -> Float[Array, "..."]:
    """Binary labels as numbers, 1 for the positive class; other integers are invalid, and floats out of bounds."""
    y = labels if labels.dtype == dtype else labels.astype(dtype)
    if labels.dtype == jnp.bool_:
        return jnp.where(labels, y, jnp.asarray(negative_label, dtype)) if negative_label else y
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return check_in_unit_interval("labels", y, negative_label) if bounded else y
    expected = f"integer labels must be {negative_label} or 1."
    if negative_label:
        expected += " Labels of 0 and 1 become signs with 2 * labels - 1."
    binary = (labels == negative_label) | (labels == 1)
    ok = _raise_or_defer(binary, labels, lambda v, i: f"labels: got {v} at position {i}; {expected}")
    return y if ok is None else jnp.where(ok, y, jnp.nan)


def check_in_unit_interval(name: str, x: Float[Array, "..."], low: int = 0) -> Float[Array, "..."]:
    """``x`` with values in [0, 1], or in [low, 1]; NaN passes."""
    return raise_or_nan(name, x, ~((x < low) | (x > 1)), f"in [{low}, 1]")


def raise_or_nan(name: str, x: Float[Array, "..."], ok: Bool[Array, "..."], expected: str) -> Float[Array, "..."]:
    """``x`` where ``ok``. Elsewhere it raises when concrete, and is NaN in value and gradient when traced."""
    deferred = _raise_or_defer(ok, x, lambda v, i: f"{name}: got {v} at position {i}; expected values {expected}.")
    return x if deferred is None else x + jnp.where(deferred, 0.0, jnp.nan).astype(x.dtype)


def _raise_or_defer(ok: Any, values: AnyArray, describe: Callable[[Any, Shape], str]) -> Bool[Array, "..."] | None:
    """Raises if ``ok`` is concrete and False anywhere; None if it is True everywhere, and ``ok`` itself if traced."""
    if not is_concrete(ok):
        return jnp.asarray(ok)
    wrong = np.argwhere(~np.asarray(ok))
    if len(wrong):
        position = tuple(int(i) for i in wrong[0])
        raise ValueError(describe(np.asarray(values)[position], position))
    return None


def _id_hint(value: int, classes: Size) -> str:
    if classes == 1:
        return "With one class every loss is 0; for binary labels use sigmoid_binary_cross_entropy on logits[:, 0]."
    if value < 0:
        return f"No id counts from the end; to leave such examples out, pass ignore_index={value} or where=."
    return "Ids start at 0; to leave such examples out, pass where= or ignore_index=."
