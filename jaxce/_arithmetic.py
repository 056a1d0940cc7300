"""Arithmetic with the convention of information theory: nothing times infinity is nothing."""

import jax.numpy as jnp
from jax import Array, lax


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
