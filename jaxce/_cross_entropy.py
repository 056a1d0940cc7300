r"""Cross-entropy of a target ``q`` and the softmax of ``x``, with its derivative.

::

    p_c   = exp(x_c) / sum_k exp(x_k) = exp(x_c - log_z)
    H     = -sum_c q_c log p_c = sum_c q_c (log_z - x_c)
    dH    = sum_c (Q p_c - q_c) dx_c + sum_c (log_z - x_c) dq_c         Q = sum_c q_c
    dlog_z = sum_c p_c dx_c

With the maximum ``m = max_c x_c`` (any m would do, so dm = 0) nothing overflows::

    log_z = m + log1p(r)           r = sum_c exp(x_c - m) - 1
    H     = t + Q log1p(r)         t = sum_c q_c (m - x_c)

The derivative is written out: terms that JAX would round one by one are added in float32, no array of the size of the
logits is kept for the backward pass, and masked rows, invalid ids and classes of probability 0 have theirs by rule.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike

from jaxce._class_axis import (
    expand_class_axis,
    is_label,
    mask_rows,
    psum_classes,
    take_class,
)
from jaxce._coefficients import Target
from jaxce._numerics import clip_to_finite, compute_dtype, safe_multiply, safe_multiply_no_select
from jaxce._rows import RowCrossEntropy, class_dot, map_rows, row_cross_entropy
from jaxce._types import ArrayOrTangent, AxisName, Inputs, LinearAux, PerExample, SoftmaxInputs

T = TypeVar("T")


def cross_entropy_from_logits(x: SoftmaxInputs, q: Target) -> tuple[PerExample, PerExample]:
    """``H`` and ``log_z`` of each example, both NaN for an invalid id; masked examples hold any number."""
    h, m, r, _ = _cross_entropy(x.logits, q, x.mask, x.axis, x.class_axis_name)
    log_z = m + jnp.log1p(r)
    return h, log_z if q.ids is None else log_z + 0 * q.label_weight


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _cross_entropy(
    x: ArrayOrTangent, q: Target, mask: ArrayOrTangent, axis: int, name: AxisName | None
) -> RowCrossEntropy:
    """``H = t + Q log1p(r)``, ``m``, ``r`` and ``Q``, by the way of the machine."""
    return row_cross_entropy(x, q, axis=axis, mask=mask, class_axis_name=name)


def _jvp(axis: int, name: AxisName | None, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    (x, q, mask), (dx, dq, _) = primals, tangents
    h, m, r, q_sum = _cross_entropy(x, q, mask, axis, name)

    zeros = jnp.zeros_like(h), jnp.zeros_like(q_sum)
    dh, d_q_sum = _jvp_along(lambda q: _expectation(x, q, mask, m, jnp.log1p(r), axis, name), q, dq, zeros)
    d_log_z = jnp.zeros_like(r)
    if not isinstance(dx, SymbolicZero):
        dh_along_x, d_log_z = _jvp_logits(x, dx, q, mask, (m, r, q_sum), axis, name)
        dh += dh_along_x
    tangents = dh, jnp.zeros_like(m), (1 + r) * d_log_z, d_q_sum
    return RowCrossEntropy(h, m, r, q_sum), RowCrossEntropy(*tangents)


_cross_entropy.defjvp(_jvp, symbolic_zeros=True)


@partial(jax.jit, static_argnums=(5, 6))
@partial(jax.checkpoint, static_argnums=(5, 6), prevent_cse=False)
def _jvp_logits(
    x: Array, dx: Array, q: Target, mask: Array | None, sums: tuple[Array, ...], axis: int, name: AxisName | None
) -> tuple[PerExample, PerExample]:
    """``sum_c (Q p_c - q_c) dx_c`` and ``sum_c p_c dx_c``.

    Where ``p_c`` is close to 1, ``p_c - 1 = (e_c - 1 - r) / (1 + r)`` keeps digits that ``p_c`` itself has lost.
    """
    x, dx, q = mask_rows(x, mask, axis), mask_rows(dx, mask, axis), q.masked(mask, axis)
    m, r, q_sum = (expand_class_axis(a, axis) for a in sums)
    x, dx = x.astype(m.dtype), dx.astype(m.dtype)
    e, s = jnp.exp(x - m), 1 + r
    p = e / s
    dense = q.dense(x, axis)
    if q.ids is None:
        gradient = jnp.where(p > 0.5, q_sum * (((e - 1) - r) / s) + (q_sum - dense), q_sum * p - dense)
    else:
        own = is_label(q.ids, x, axis)
        gradient = jnp.where(own, (e - 1) - r, e) * (q_sum / s)
        if q.is_dense:
            gradient += jnp.where(own, q_sum - expand_class_axis(q.label_weight, axis), 0) - dense
    return psum_classes(jnp.sum(gradient * dx, axis), name), psum_classes(jnp.sum(p * dx, axis), name)


def _expectation(
    x: Array, q: Target, mask: Array | None, m: Array, log_s: Array, axis: int, name: AxisName | None
) -> tuple[PerExample, PerExample]:
    """``sum_c q_c (log_z - x_c)`` for a known ``log_z = m + log_s``, and ``sum_c q_c``; linear in ``q``."""
    x, q = mask_rows(x, mask, axis).astype(m.dtype), q.masked(mask, axis)
    h = q_sum = jnp.zeros_like(m)
    if q.is_dense:
        gap = (expand_class_axis(m, axis) - x) + expand_class_axis(log_s, axis)
        h, q_sum = h + jnp.sum(safe_multiply(q.dense(x, axis), gap), axis), q_sum + q.dense_sum(x, axis)
    if q.ids is not None:
        label_weight = q.local_label_weight(x, axis)
        h += safe_multiply(label_weight, (m - take_class(x, q.ids, axis)) + log_s)
        q_sum += label_weight
    return psum_classes(h, name), psum_classes(q_sum, name)


def nll_from_log_probs(x: SoftmaxInputs, q: Target) -> PerExample:
    """``-sum_c q_c x_c`` for logits that are normalized already; masked examples hold any number."""
    nll: PerExample = -weighted_sum(x.logits, q, x.mask, x.axis, x.class_axis_name)
    return nll


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def weighted_sum(x: ArrayOrTangent, q: Target, mask: ArrayOrTangent, axis: int, name: AxisName | None) -> PerExample:
    """``sum_c q_c x_c``, with ``0 * inf = 0``."""
    return class_dot(x, q, axis=axis, mask=mask, class_axis_name=name)


def _weighted_sum_jvp(axis: int, name: AxisName | None, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """``sum_c q_c dx_c + sum_c x_c dq_c``."""
    (x, q, mask), (dx, dq, _) = primals, tangents
    dot = weighted_sum(x, q, mask, axis, name)
    zero = jnp.zeros_like(dot)
    d_dot = -_jvp_along(lambda q: _expectation(x, q, mask, zero, zero, axis, name)[0], q, dq, zero)
    if not isinstance(dx, SymbolicZero):
        d_dot += _weighted_tangents(dx, q, mask, dot.dtype, axis, name)
    return dot, d_dot


weighted_sum.defjvp(_weighted_sum_jvp, symbolic_zeros=True)


@partial(jax.jit, static_argnums=(3, 4, 5))
@partial(jax.checkpoint, static_argnums=(3, 4, 5), prevent_cse=False)
def _weighted_tangents(
    dx: Array, q: Target, mask: Array | None, dtype: DTypeLike, axis: int, name: AxisName | None
) -> PerExample:
    """``sum_c q_c dx_c``."""
    dx, q = mask_rows(dx, mask, axis).astype(dtype), q.masked(mask, axis)
    return psum_classes(jnp.sum(q.all_classes(dx, axis) * dx, axis), name)


def _jvp_along(f: Callable[[Target], T], q: Target, dq: Target, zero: T) -> T:
    """The derivative of ``f(q)`` along the leaves of ``q`` that have a tangent; ``zero`` without any."""
    leaves, tree = jax.tree.flatten(q)
    tangents = jax.tree.leaves(dq)
    perturbed = [i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero) and t.dtype != jax.dtypes.float0]
    if not perturbed:
        return zero

    def of_perturbed(*parts: Array) -> T:
        given = dict(zip(perturbed, parts, strict=True))
        return f(jax.tree.unflatten(tree, [given.get(i, leaf) for i, leaf in enumerate(leaves)]))

    derivative: T = jax.jvp(of_perturbed, [leaves[i] for i in perturbed], [tangents[i] for i in perturbed])[1]
    return derivative


def log_probs(x: Inputs) -> Array:
    """The log-probabilities of all classes, in the computing dtype; those of a masked row are equal."""
    return jax.nn.log_softmax(mask_rows(x.logits, x.mask, x.axis).astype(compute_dtype(x.logits)), x.axis)


def describe_logits(x: Array, class_axis_name: AxisName | None) -> LinearAux:
    """``log_z``, the likeliest class and the entropy ``log_z - sum_c p_c x_c`` of each row ``[..., classes]``."""
    name, classes = class_axis_name, x.shape[-1]

    def reduce(x: Array) -> tuple[Array, ...]:
        top = jnp.max(x, -1)
        m = clip_to_finite(top)
        if name is not None:
            m = lax.pmax(m, name)
        gap = m[..., None] - x
        e = jnp.exp(-gap)
        best = jnp.argmax(x, -1).astype(np.int32)
        return m, top, best, jnp.sum(e, -1), jnp.sum(safe_multiply_no_select(e, gap), -1)

    m, top, best, s, moment = map_rows(reduce, x, axis=x.ndim - 1)
    if name is not None:
        first = jnp.where(top == lax.pmax(top, name), best + classes * lax.axis_index(name), np.iinfo(np.int32).max)
        best, s, moment = lax.pmin(first, name), psum_classes(s, name), psum_classes(moment, name)
    log_s = jnp.log(s)
    return LinearAux(m + log_s, best, log_s + moment / s)
