"""Arithmetic with the convention of information theory: nothing times infinity is nothing."""

import jax.numpy as jnp
from jax import Array


def times(weight: Array, value: Array) -> Array:
    """``weight * value`` with ``0 * inf = 0``; NaN stays NaN, and the derivatives follow the same rule."""
    nothing = (weight == 0) & jnp.isinf(value)
    return weight * jnp.where(nothing, jnp.zeros((), value.dtype), value)
