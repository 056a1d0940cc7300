"""Arithmetic that stays finite at the ends: products, powers and quotients whose limits are the ones that are meant."""

import jax.numpy as jnp
from jax import Array, lax

from jaxce._types import Hyperparameter


def times(weight: Array, value: Array) -> Array:
    """``weight * value`` with ``0 * inf = 0``; NaN stays NaN, and the derivatives follow the same rule."""
    nothing = (weight == 0) & jnp.isinf(value)
    return weight * jnp.where(nothing, jnp.zeros((), value.dtype), value)


def fused_times(weight: Array, value: Array) -> Array:
    """`times` for a value of at least 0 under a sum: without the select that keeps a product out of XLA's fast sums.

    Where the weight is 0, a value of infinity is met by a finite bound; where it is not, the bound is infinite. In
    those sums a minimum loses a value of NaN, so the caller must add what keeps it. Not for differentiating.
    """
    bound = lax.rsqrt(jnp.maximum(0, jnp.finfo(value.dtype).tiny - jnp.abs(weight)))
    return weight * jnp.minimum(value, bound)


def power(base: Array, exponent: Hyperparameter) -> Array:
    """``base**exponent`` for both at least 0, with derivatives of the first orders finite.

    The power of a base below the cube root of the smallest number is a constant, unless it is the base itself: there
    the slope of a root would be infinite, and what it multiplies all but nothing.
    """
    exponent = jnp.asarray(exponent, base.dtype)
    nothing = base <= jnp.finfo(base.dtype).tiny ** (1 / 3)
    least = jnp.where(exponent == 1, base, (exponent == 0).astype(base.dtype))
    raised: Array = jnp.where(nothing, least, jnp.where(nothing, 1, base) ** exponent)
    return raised


def ratio(part: Array, whole: Array, empty: Hyperparameter) -> Array:
    """``part / whole``, and ``empty`` with slope 0 where the whole is 0."""
    nothing = whole == 0
    quotient = part / jnp.where(nothing, 1, whole)
    shown: Array = jnp.where(nothing, jnp.asarray(empty, quotient.dtype), quotient)
    return shown


def focused(surprise: Array, gamma: Hyperparameter) -> Array:
    """``(1 - exp(-s))**gamma s``: surprises ``s = -log p``, the less the likelier their class is already."""
    far = surprise > 1000  # where the factor is 1, and its slope of 0 would meet an infinite surprise
    s = jnp.where(far, 1, surprise)
    return jnp.where(far, surprise, power(-jnp.expm1(-s), gamma) * s)
