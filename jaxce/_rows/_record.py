"""The sums over the classes of each row, and the merging of sums over parts of the classes."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxce._numerics import safe_multiply


class RowSums(NamedTuple):
    """Sums over the classes of each row of logits ``x``, for a target with coefficients ``q``.

    ``r`` is summed without its leading 1: float32 would round ``1 + 1e-9`` to 1, and a loss of 1e-9 to 0. The 1 is the
    label's term for ids, and the maximum's for probabilities. (`_cpu._fused` is the exception.) A row of ``-inf`` has
    the lowest finite ``m`` and ``r = -1``, so ``log_z = -inf``.

    Args:
        m: ``max_c x_c`` or a number near it, clipped to finite numbers.
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
        zero_times_inf = (self.q_sum == 0) & jnp.isinf(log_s)
        h = jnp.where(zero_times_inf, self.t, self.t + self.q_sum * log_s)
        return RowCrossEntropy(h, self.m, self.r, self.q_sum)


class RowCrossEntropy(NamedTuple):
    """The cross-entropy ``H = sum_c q_c (log_z - x_c)`` of each row, and the sums that its derivative needs."""

    h: Array
    m: Array
    r: Array
    q_sum: Array


class LogitSums(NamedTuple):
    """What the logits ``x`` of each row tell without a target.

    Args:
        m: ``max_c x_c``, clipped to finite numbers.
        argmax: the first class with the maximum, int32; 0 for a row with NaN.
        s: ``sum_c e_c`` with ``e_c = exp(x_c - m)``, so that ``log_z = m + log(s)``.
        moment: ``sum_c e_c (m - x_c)``, so that the entropy is ``log(s) + moment / s``.
    """

    m: Array
    argmax: Array
    s: Array
    moment: Array


def merge(
    parts: RowSums, subtracts_one: Array, maximum: Callable[[Array], Array], total: Callable[[Array], Array]
) -> RowSums:
    """The sums over all classes from sums over parts of them; ``maximum`` and ``total`` reduce over the parts.

    One part of each row ``subtracts_one``: the part of the label or of the maximum. With ``s = 1 + r`` and
    ``gap = m - m_part``, its term ``s exp(-gap) - 1 = r exp(-gap) + expm1(-gap)`` has the small digits of ``r``.
    """
    m = maximum(lax.stop_gradient(parts.m))
    gap = m - parts.m
    factor = jnp.exp(-gap)
    r = total(jnp.where(subtracts_one, parts.r * factor + jnp.expm1(-gap), (1 + parts.r) * factor))
    return RowSums(m, r, total(parts.t + safe_multiply(parts.q_sum, gap)), total(parts.q_sum))
