"""Losses of margins: by how much the right scores must lie above the others."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._classes import beside, one_hot, pick
from jaxce._types import Examples


def hinge(x: Array, ids: Array, margin: Array, p: int, axis: int) -> Examples:
    """``1/C sum_{c != y} max(0, margin - x_y + x_c)**p`` along ``axis``, for p of 1 or 2."""
    gap = margin - beside(pick(x, ids, axis), axis) + x
    missed = _positive(jnp.where(one_hot(ids, x.shape[axis], axis), 0, gap))
    return jnp.sum(missed if p == 1 else missed**2, axis) / x.shape[axis]


@partial(jax.checkpoint, prevent_cse=False)
def multilabel_hinge(x: Array, named: Array) -> Examples:
    """``1/C sum_{i, j} named_i [named_j = 0] max(0, 1 - x_i + x_j)`` along the last axis.

    A checkpoint, so that the pairs of classes are never an array.
    """
    missed = _positive(1 - x[..., :, None] + x[..., None, :])
    right, wrong = named[..., :, None], named[..., None, :]
    pairs = jnp.where((right > 0) & (wrong == 0), right * missed, 0)
    return jnp.sum(pairs, (-2, -1)) / x.shape[-1]


def soft_margin(x: Array, y: Array) -> Array:
    """``log(1 + exp(-y x))`` for each element, with ``y`` 1 or -1."""
    return jax.nn.softplus(-y * x)


def _positive(gap: Array) -> Array:
    """``max(0, gap)`` with slope 0 at 0, where a maximum would share it."""
    return jnp.where(gap > 0, gap, jnp.zeros((), gap.dtype))
