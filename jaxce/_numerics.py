"""Arithmetic that stays finite at the ends: products, powers and quotients whose limits are the ones that are meant."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxce._types import AnyArray, ArrayOrTangent, Hyperparameter


def compute_dtype(x: AnyArray | np.dtype[Any]) -> np.dtype[Any]:
    """The dtype losses are computed and returned in: float32, or float64 for float64."""
    return np.dtype(np.float64 if getattr(x, "dtype", x) == np.float64 else np.float32)


def wider(a: AnyArray, b: AnyArray) -> np.dtype[Any]:
    """The dtype in which two arrays are multiplied; where theirs differ, asked for, so under strict promotion too."""
    with jax.numpy_dtype_promotion("standard"):
        return np.dtype(jnp.promote_types(a.dtype, b.dtype))


def fill_masked(x: ArrayOrTangent, mask: Array | None, filler: float = 0.0) -> ArrayOrTangent:
    """``x`` with ``filler`` where it is masked, so that nothing the mask covers is ever computed with."""
    return x if mask is None else jnp.where(mask, x, jnp.asarray(filler, x.dtype))


def clip_to_finite(x: Array) -> Array:
    """``x`` with the largest finite number for infinity, so that a difference from it is no NaN; NaN stays NaN."""
    bounds = jnp.finfo(x.dtype)
    return jnp.clip(x, bounds.min, bounds.max)


def is_off(value: Hyperparameter | None) -> bool:
    """Whether a hyperparameter is the Python number 0, so that its terms need not be traced."""
    return isinstance(value, int | float) and bool(value == 0)


def safe_multiply(weight: Array, value: Array) -> Array:
    """``weight * value`` with ``0 * inf = 0``; NaN stays NaN, and the derivatives follow the same rule."""
    nothing = (weight == 0) & jnp.isinf(value)
    return weight * jnp.where(nothing, jnp.zeros((), value.dtype), value)


def safe_multiply_no_select(weight: Array, value: Array) -> Array:
    """`safe_multiply` for a value of at least 0 under a sum, without the select that XLA:CPU's fast sums cannot fuse.

    Where the weight is 0, a value of infinity is met by a finite bound; where it is not, the bound is infinite. In
    those sums a minimum loses a value of NaN, so the caller must add what keeps it. Not for differentiating.
    """
    bound = lax.rsqrt(jnp.maximum(0, jnp.finfo(value.dtype).tiny - jnp.abs(weight)))
    return weight * jnp.minimum(value, bound)


def safe_power(base: Array, exponent: Hyperparameter) -> Array:
    """``base**exponent`` for both at least 0, with derivatives of the first orders finite.

    The power of a base below the cube root of the smallest number is a constant, unless it is the base itself: there
    the slope of a root would be infinite, and what it multiplies all but nothing.
    """
    exponent = jnp.asarray(exponent, base.dtype)
    nothing = base <= jnp.finfo(base.dtype).tiny ** (1 / 3)
    least = jnp.where(exponent == 1, base, (exponent == 0).astype(base.dtype))
    raised: Array = jnp.where(nothing, least, jnp.where(nothing, 1, base) ** exponent)
    return raised


def safe_divide(part: Array, whole: Array, empty: Hyperparameter) -> Array:
    """``part / whole``, and ``empty`` with slope 0 where the whole is 0."""
    nothing = whole == 0
    quotient = part / jnp.where(nothing, 1, whole)
    shown: Array = jnp.where(nothing, jnp.asarray(empty, quotient.dtype), quotient)
    return shown


def focal_modulation(surprise: Array, gamma: Hyperparameter) -> Array:
    """``(1 - exp(-s))**gamma s``: surprises ``s = -log p``, the less the likelier their class is already."""
    far = surprise > 1000  # where the factor is 1, and its slope of 0 would meet an infinite surprise
    s = jnp.where(far, 1, surprise)
    return jnp.where(far, surprise, safe_power(-jnp.expm1(-s), gamma) * s)
