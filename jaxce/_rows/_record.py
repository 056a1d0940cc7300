"""The sums over the classes of a row, and how those of several parts of a row become one."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxce._numerics import safe_multiply


class RowSums(NamedTuple):
    """Sums over the classes of each row of logits ``x``, for a target with coefficients ``q``.

    bfloat16 can hold a loss of 1e-9, but ``1 + 1e-9`` is 1 in float32; so the 1 of the maximum is never added to ``r``.
    A row of ``-inf`` has the lowest finite ``m`` and ``r = -1``, which gives ``log_z = -inf``.

    Args:
        m: ``max_c x_c``, kept finite.
        r: ``sum_c exp(x_c - m) - 1``, so that ``log_z = m + log1p(r)``.
        t: ``sum_c q_c (m - x_c)``, with ``0 * inf = 0``.
        q_sum: ``sum_c q_c``.
    """

    m: Array
    r: Array
    t: Array
    q_sum: Array

    def cross_entropy(self) -> "RowCrossEntropy":
        """``H = t + Q log1p(r)``, with ``0 * inf = 0``."""
        log_s = jnp.log1p(self.r)
        nothing = (self.q_sum == 0) & jnp.isinf(log_s)
        return RowCrossEntropy(jnp.where(nothing, self.t, self.t + self.q_sum * log_s), self.m, self.r, self.q_sum)


class RowCrossEntropy(NamedTuple):
    """The cross-entropy ``H = sum_c q_c (log_z - x_c)`` of each row, and the sums that its derivative needs."""

    h: Array
    m: Array
    r: Array
    q_sum: Array


def merge(
    parts: RowSums, subtracts_one: Array, maximum: Callable[[Array], Array], total: Callable[[Array], Array]
) -> RowSums:
    """The sums of whole rows from those of parts of their classes; ``maximum`` and ``total`` reduce over the parts.

    Of each row one part ``subtracts_one``, the term of the label or of the maximum, so ``r`` has its small digits.
    """
    m = maximum(lax.stop_gradient(parts.m))
    gap = m - parts.m
    factor = jnp.exp(-gap)
    r = total(jnp.where(subtracts_one, parts.r * factor + jnp.expm1(-gap), (1 + parts.r) * factor))
    return RowSums(m, r, total(parts.t + safe_multiply(parts.q_sum, gap)), total(parts.q_sum))
