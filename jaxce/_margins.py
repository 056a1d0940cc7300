"""Losses of margins: by how much the right scores must lie above the others."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._classes import beside, one_hot, pick
from jaxce._types import Examples


def hinge(x: Array, ids: Array, margin: Array, p: int, axis: int) -> Examples:
    """``1/C sum_{c != y} max(0, margin - x_y + x_c)**p`` along ``axis``, for p of 1 or 2."""
    gap = margin - beside(pick(x, ids, axis), axis) + x
    missed = _positive(jnp.where(one_hot(ids, x.shape[axis], axis), 0, gap))
    return jnp.sum(missed if p == 1 else missed**2, axis) / x.shape[axis]


def multilabel_hinge(x: Array, ids: Array, listed: Array) -> Examples:
    """``1/C sum_{i in Y, j not in Y} max(0, 1 - x_i + x_j)`` for rows ``[N, C]``, with Y the ids that are listed.

    One id of every row at a time, so that the pairs of classes are never an array.
    """
    classes, columns = x.shape[-1], (ids.T, listed.T)
    nobody, nothing = jnp.zeros_like(x, bool), jnp.zeros_like(x[:, 0])

    def name(named: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        return named | (one_hot(column[0], classes, -1) & column[1][:, None]), None

    named = lax.scan(name, nobody, columns)[0]

    @jax.checkpoint
    def add(loss: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        missed = _positive(1 - beside(pick(x, column[0], 1), 1) + x)
        return loss + jnp.where(column[1], jnp.sum(jnp.where(named, 0, missed), -1), 0), None

    total: Examples = lax.scan(add, nothing, columns)[0]
    return total / classes


def soft_margin(x: Array, y: Array) -> Array:
    """``log(1 + exp(-y x))`` for each element, with ``y`` 1 or -1."""
    return jax.nn.softplus(-y * x)


def hinge_of_distances(x: Array, y: Array, margin: Array) -> Array:
    """``x`` unless y is -1, and ``max(0, margin - x)`` unless it is 1; at the margin the slope is -1, as in PyTorch."""
    gap = margin - x
    missed = jnp.where(gap >= 0, gap, lax.stop_gradient(jnp.maximum(gap, 0)))
    return jnp.where(y != -1, x, 0) + jnp.where(y != 1, missed, 0)


def _positive(gap: Array) -> Array:
    """``max(0, gap)`` with slope 0 at 0, where a maximum would share it."""
    return jnp.where(gap > 0, gap, jnp.zeros((), gap.dtype))
