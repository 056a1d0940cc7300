"""Arithmetic with the convention of information theory: nothing times infinity is nothing."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def times(weight: ArrayLike, value: Array) -> Array:
    """``weight * value`` with ``0 * inf = 0``; NaN stays NaN, and both derivatives follow the same rule."""
    nothing = (jnp.asarray(weight) == 0) & jnp.isinf(value)
    return weight * jnp.where(nothing, jnp.zeros((), value.dtype), value)
