"""Checks of the values of arguments.

An invalid value raises when it is concrete. Traced, it becomes NaN, and under `debug` the compiled program raises.
Without `debug`, `checkify.index_checks` reports ids, and `nan_checks` the rest. We add no `checkify.check`: its effect
would move every call to JAX's slow dispatch.
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from jaxce._class_axis import example_shape, mask_rows, psum_classes
from jaxce._debug import Found, is_debugging, raise_if
from jaxce._hints import LOGITS_FIX, SOFTMAX_FIX, Hint, binary_hint, row_sum_hint
from jaxce._numerics import compute_dtype, is_in_range, nan_where_invalid
from jaxce._sharding import is_explicit
from jaxce._types import AnyArray, AxisName, Bound, Ids, Inputs, Probs, RegionInputs, SigmoidInputs, Size


def max_sum_error(dtype: DTypeLike, roundings: int = 1) -> float:
    """How much the sum of a row of probabilities may differ from 1: 0.01, and more where the dtype has fewer digits."""
    return max(0.01, roundings * float(jnp.finfo(dtype).eps))


def check_ids(
    labels: AnyArray,
    classes: Size,
    mask: AnyArray | None,
    name: str,
    hint: Callable[[int, Size], str],
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

    def fix(value: Any) -> str:
        return hint(int(value), classes)

    return Ids(as_jax_array(ids), find_invalid(valid, values, say(name, f"outside [0, {classes})", fix, "id")))


def is_concrete(x: Any) -> bool:
    """Whether the values are known: not those of a tracer, nor of an array that other processes share."""
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)


def primal(x: Any) -> Any:
    """``x`` without its tangent: a derivative outside of `jit` traces tangents, and knows the values."""
    return lax.stop_gradient(x) if isinstance(x, jax.core.Tracer) else x


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


def without_ignored(labels: AnyArray, ignore_index: int | Array | None, mask: AnyArray | None) -> AnyArray | None:
    """The mask, False also where the id is ``ignore_index``; an id outside the dtype's range ignores nothing."""
    if ignore_index is None:
        return mask
    if isinstance(ignore_index, bool):
        raise TypeError("ignore_index: got a bool; expected one integer id, or None.")
    if isinstance(ignore_index, jax.core.Tracer) and jnp.issubdtype(ignore_index.dtype, jnp.integer):
        return _without_traced(labels, ignore_index, mask)
    try:
        ignored = operator.index(ignore_index)
    except TypeError:
        kind = type(ignore_index).__name__
        raise TypeError(f"ignore_index: got a {kind}; expected one integer id, or None.") from None
    bounds = jnp.iinfo(labels.dtype)
    if not bounds.min <= ignored <= bounds.max:
        return mask
    not_ignored = labels != np.asarray(ignored, labels.dtype)
    mask = not_ignored if mask is None else mask & not_ignored
    return np.asarray(mask) if isinstance(mask, np.generic) else mask  # NumPy's result for one id is no array


def _without_traced(labels: AnyArray, ignore_index: Array, mask: AnyArray | None) -> AnyArray:
    if ignore_index.shape:
        raise ValueError(f"ignore_index: got shape {ignore_index.shape}; expected one integer id, or None.")
    given, held = jnp.iinfo(ignore_index.dtype), jnp.iinfo(labels.dtype)
    low, high = max(given.min, held.min), min(given.max, held.max)
    fits = (ignore_index >= low) & (ignore_index <= high)  # an id that wraps into the range ignores nothing either
    not_ignored = ~(fits & (jnp.asarray(labels) == ignore_index.astype(labels.dtype)))
    return not_ignored if mask is None else mask & not_ignored


def check_binary_labels(labels: Array, dtype: DTypeLike, negative_label: int = 0) -> Float[Array, "..."]:
    """Binary labels as numbers, 1 for the positive class; other integers are invalid, and floats out of bounds."""
    y = labels if labels.dtype == dtype else labels.astype(dtype)
    if labels.dtype == jnp.bool_:
        return jnp.where(labels, y, jnp.asarray(negative_label, dtype)) if negative_label else y
    if jnp.issubdtype(labels.dtype, jnp.integer):
        valid, wrong = (labels == negative_label) | (labels == 1), f"neither {negative_label} nor 1"
    else:
        valid, wrong = _is_in_range(labels, negative_label), f"outside [{negative_label}, 1]"
    return nan_where_invalid(y, find_invalid(valid, labels, say("labels", wrong, binary_hint(negative_label))))


_is_in_range = jax.jit(is_in_range, static_argnums=1)  # one dispatch for a call without `jit`


def check_label_rows(
    labels: Array, mask: Array | None, axis: int, axis_name: AxisName | None, normalized: bool, binary_fix: str
) -> Probs:
    """Probabilities as labels, in [0, 1], and if ``normalized`` rows that sum to 1.

    Traced values are not examined here, as it would cost another pass: those outside [0, 1] become NaN where the loss
    reads them.
    """
    y = primal(labels)
    if is_concrete(y) or is_debugging():
        in_range, sums_to_1, sums = _examine_rows(y, mask, axis, axis_name)
        find_invalid(in_range, y, say("labels", "outside [0, 1]", lambda value: LOGITS_FIX))
        if normalized:
            find_invalid(sums_to_1, sums, say("labels", "not 1", partial(row_sum_hint, binary_fix), "row sum"))
    return Probs(labels, is_concrete(y))


@partial(jax.jit, static_argnums=(2, 3))
def _examine_rows(y: Array, mask: Array | None, axis: int, axis_name: AxisName | None) -> tuple[Array, Array, Array]:
    """Whether each label lies in [0, 1], and whether each row sums to 1, up to rounding; with the sums."""
    y = mask_rows(y, mask, axis)
    sums = psum_classes(jnp.sum(y.astype(compute_dtype(y)), axis), axis_name)
    sums_to_1 = jnp.abs(sums - 1) <= max_sum_error(y.dtype)
    return is_in_range(y), sums_to_1 if mask is None else sums_to_1 | ~mask, sums


def check_probabilities(name: str, x: Float[Array, "..."], fix: str) -> Float[Array, "..."]:
    """``x`` with values in [0, 1]. NaN passes: it is NaN in the loss, too."""
    return raise_or_nan(name, x, ~((x < 0) | (x > 1)), "outside [0, 1]", fix)


def check_weights(name: str, weights: Float[Array, "..."]) -> Float[Array, "..."]:
    """Weights, which must be at least 0 and not NaN."""
    fix = 'Factors of any sign multiply the losses of reduction="none".' if name == "sample_weights" else ""
    return raise_or_nan(name, weights, weights >= 0, "negative or NaN", fix)


def check_number(name: str, number: AnyArray, low: Bound, high: Bound, dtype: DTypeLike) -> AnyArray:
    """A hyperparameter in ``[low, high]``, in the computing dtype."""
    ok = (number >= low) & (number <= high)
    return _number_or_nan(name, number, ok, f"in [{low}, {high}]", dtype)


def check_positive(name: str, number: AnyArray, dtype: DTypeLike) -> AnyArray:
    """A hyperparameter above 0 and finite, in the computing dtype."""
    return _number_or_nan(name, number, (number > 0) & (number < jnp.inf), "above 0 and finite, or None", dtype)


def _number_or_nan(name: str, number: AnyArray, ok: Any, expected: str, dtype: DTypeLike) -> AnyArray:
    def describe(found: Found) -> str:
        return f"{name}: got {found.value}{found.place}; expected a number {expected}."

    valid, number = find_invalid(ok, number, describe), number.astype(dtype)
    return number if valid is None else nan_where_invalid(jnp.asarray(number), valid)


def raise_or_nan(
    name: str, x: Float[Array, "..."], ok: Bool[Array, "..."], wrong: str, fix: str = ""
) -> Float[Array, "..."]:
    """``x`` where ``ok``. Elsewhere it raises when concrete, and is NaN in value and gradient when traced."""
    return nan_where_invalid(x, find_invalid(ok, x, say(name, wrong, lambda value: fix)))


def find_invalid(ok: Any, values: AnyArray, describe: Callable[[Found], str]) -> Bool[Array, "..."] | None:
    """Raises if ``ok`` is concrete and False anywhere; None if it is True everywhere, and ``ok`` itself if traced."""
    if isinstance(ok, np.bool_) and ok:
        return None
    if not is_concrete(ok := primal(ok)):
        valid: Array = jnp.asarray(ok)
        if is_debugging():
            raise_if(~valid, lambda *found: found, (~valid, jnp.asarray(values)), describe)
        return valid
    invalid: np.ndarray = ~np.asarray(ok)
    if invalid.any():
        position = tuple(int(i) for i in np.argwhere(invalid)[0])
        value = np.asarray(primal(values))[position]
        raise ValueError(describe(Found(int(invalid.sum()), invalid.size, value, position)))
    return None


def say(
    name: str, wrong: str, hint: Hint = lambda value: "", noun: str = "", shown: str = ""
) -> Callable[[Found], str]:
    """The message about invalid values: how many, and the first of them. ``shown`` names its number if not ``noun``."""

    def describe(found: Found) -> str:
        value = f"{float(found.value):.6g}" if jnp.issubdtype(found.value.dtype, jnp.floating) else str(found.value)
        position = f" at position {found.position}" if found.position else ""
        first = f"{shown or noun} {value}{position}{found.place}".lstrip()
        some = f"{found.number} of {found.size} {noun or 'value'}s {'is' if found.number == 1 else 'are'}"
        what = f"{first} is {wrong}" if found.size == 1 else f"{some} {wrong}; first: {first}"
        return f"{name}: {what}. {hint(found.value)}".rstrip()

    return describe


def check_finite(name: str, x: Array, suspect: Array, allowed: float = 0.0) -> None:
    """Under `debug`: all numbers must be finite or ``allowed``; examined if any of ``suspect`` is True."""

    def find(x: Array) -> tuple[Array, Array]:
        return ~(jnp.isfinite(x) | (x == allowed)), x

    raise_if(suspect, find, (x,), say(name, "not finite"))


def check_finite_rows(name: str, x: Array, mask: Array | None, axis: int, suspect: Array) -> None:
    """Under `debug`: rows must not hold NaN, nor infinity as their maximum; examined if any of ``suspect`` is True."""

    def find(x: Array, mask: Array | None) -> tuple[Array, Array]:
        top = jnp.max(x, axis, initial=-jnp.inf)
        top = jnp.where(jnp.any(jnp.isnan(x), axis), jnp.nan, top)  # a maximum over devices may lose NaN
        return ~jnp.isfinite(top) if mask is None else ~jnp.isfinite(top) & mask, top

    raise_if(suspect, find, (x, mask), say(name, "not finite", noun="row", shown="maximum"))


def check_logits(inputs: Inputs | RegionInputs, suspect: Array) -> None:
    """Under `debug`: the logits of a loss must be finite; those of classes may be ``-inf`` beside others."""
    x = inputs.pixels if isinstance(inputs, RegionInputs) else inputs
    if isinstance(x, SigmoidInputs):
        check_finite(x.name, x.logits, suspect)
    else:
        check_finite_rows("logits", x.logits, x.mask, x.axis, suspect)


def check_log_probs(x: Array, mask: Array | None, axis: int) -> None:
    """Under `debug`: log-probabilities must be normalized."""
    sums = jnp.sum(jnp.exp(mask_rows(x, mask, axis).astype(compute_dtype(x))), axis)
    off = ~(jnp.abs(sums - 1) <= max_sum_error(x.dtype, 8))  # log-probabilities of -16 have 1/16 of the digits
    invalid = off if mask is None else off & mask
    describe = say(
        "log_probs", "not 1", lambda value: "Logits go to cross_entropy.", "row sum", "sum of exp(log_probs)"
    )
    raise_if(invalid, lambda *found: found, (invalid, sums), describe)


def check_not_probabilities(x: Array, mask: Array | None, axis: int) -> None:
    """Under `debug`: logits must not be probabilities already, with all rows in [0, 1] and a sum of 1."""

    def looks_like_probabilities(x: Array) -> Array:
        in_range = jnp.all(is_in_range(x), axis)
        return in_range & (jnp.abs(jnp.sum(x.astype(compute_dtype(x)), axis) - 1) <= max_sum_error(x.dtype))

    def find(x: Array, masked: Array) -> tuple[Array, Array, Array]:
        return looks_like_probabilities(x) & ~masked, jnp.max(x, axis), masked

    if x.shape[axis] == 1:
        return
    rows = mask_rows(x, mask, axis)
    masked = (
        jnp.zeros(example_shape(x, axis), bool) if mask is None else ~jnp.broadcast_to(mask, example_shape(x, axis))
    )
    first = [slice(None if is_explicit() else 2)] * masked.ndim  # most logits are told from the first rows
    few, few_masked = rows[(*first[:axis], slice(None), *first[axis:])], masked[tuple(first)]
    describe = say("logits", "probabilities already", lambda value: SOFTMAX_FIX, "row", "maximum")
    raise_if(jnp.all(looks_like_probabilities(few) | few_masked), find, (rows, masked), describe)
