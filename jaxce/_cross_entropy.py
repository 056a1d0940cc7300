r"""Cross-entropy of a target ``q`` and the softmax of ``x``, with its derivative.

::

    p_c   = exp(x_c) / sum_k exp(x_k) = exp(x_c - log_z)
    H     = -sum_c q_c log p_c = sum_c q_c (log_z - x_c)
    dH    = sum_c (Q p_c - q_c) dx_c + sum_c (log_z - x_c) dq_c         Q = sum_c q_c
    dlog_z = sum_c p_c dx_c

With the maximum ``m = max_c x_c`` (any m would do, so dm = 0) nothing overflows::

    e_c   = exp(x_c - m)           r = sum_c e_c - 1        s = 1 + r       p_c = e_c / s
    log_z = m + log1p(r)           dr = s dlog_z
    H     = t + Q log1p(r)         t = sum_c q_c (m - x_c)

The names below are ``q_sum`` for Q, ``log_s`` for log1p(r), and ``axis_name`` for the mesh axis of the classes.

The derivative is a JVP rule; JAX makes reverse mode and higher derivatives from it. The rule has four reasons:

1. The gradient is computed in float32 and rounded once, to the dtype of the logits.
2. The backward pass needs only the arguments and three numbers per row (`jax.checkpoint`). The barriers of
   ``prevent_cse`` would stop XLA from fusing it, at the cost of one more read of the logits.
3. It has the limits that autodiff misses: masked rows give 0, invalid ids give NaN, and ``0 * inf`` is 0.
4. `_rows` is never differentiated, so it may hold loops and barriers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from jaxce._class_axis import (
    expand_class_axis,
    is_label,
    mask_rows,
    max_over_classes,
    psum_classes,
    take_class,
)
from jaxce._coefficients import Target
from jaxce._numerics import (
    clip_to_finite,
    compute_dtype,
    fill_masked,
    is_off,
    is_zero_tangent,
    jvp_of_perturbed,
    nan_where_invalid,
    safe_multiply,
)
from jaxce._rows import RowCrossEntropy, class_dot, logit_sums, no_sharing, row_cross_entropy
from jaxce._types import ArrayOrTangent, AxisName, CrossEntropyAux, Inputs, PerExample, SoftmaxInputs

T = TypeVar("T")

OF_ROWS = "jaxce sums of rows"
"""The name by which a policy of `jax.checkpoint` keeps the sums over the classes: one number for each example."""

OfLogits: TypeAlias = tuple[Array, Array, Array]
"""``log_z``, argmax and entropy of each example."""


def cross_entropy_from_logits(inputs: SoftmaxInputs, q: Target) -> tuple[PerExample, PerExample]:
    """``H`` and ``log_z`` of each example, both NaN for an invalid id; masked examples hold any number."""
    x = inputs
    h, m, r, _ = _row_cross_entropy_with_jvp(x.logits, q, x.mask, x.reference, x.axis, x.class_axis_name)
    return h, q.nan_where_invalid(m + jnp.log1p(r))


@partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def _row_cross_entropy_with_jvp(
    x: ArrayOrTangent,
    q: Target,
    mask: ArrayOrTangent,
    reference: ArrayOrTangent,
    axis: int,
    axis_name: AxisName | None,
) -> RowCrossEntropy:
    """``H``, ``m``, ``r`` and ``Q`` of each row."""
    return row_cross_entropy(x, q, axis=axis, mask=mask, reference=reference, class_axis_name=axis_name)


def _row_cross_entropy_jvp(
    axis: int, axis_name: AxisName | None, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[RowCrossEntropy, RowCrossEntropy]:
    (x, q, mask, reference), (dx, dq, _, _) = primals, tangents
    h, m, r, q_sum = checkpoint_name(_row_cross_entropy_with_jvp(x, q, mask, reference, axis, axis_name), OF_ROWS)

    zeros = jnp.zeros_like(h), jnp.zeros_like(q_sum)
    dh, d_q_sum = _jvp_target(lambda q: _h_given_log_z(x, q, mask, m, jnp.log1p(r), axis, axis_name), q, dq, zeros)
    d_log_z = jnp.zeros_like(r)
    if not is_zero_tangent(dx):
        dh_logits, d_log_z = _jvp_logits(x, dx, q, mask, (m, r, q_sum), axis, axis_name)
        dh += dh_logits
    d_r = (1 + r) * d_log_z
    return RowCrossEntropy(h, m, r, q_sum), RowCrossEntropy(dh, jnp.zeros_like(m), d_r, d_q_sum)


_row_cross_entropy_with_jvp.defjvp(_row_cross_entropy_jvp, symbolic_zeros=True)


@partial(jax.checkpoint, static_argnums=(5, 6), prevent_cse=False)
def _jvp_logits(
    x: Array, dx: Array, q: Target, mask: Array | None, sums: tuple[Array, ...], axis: int, axis_name: AxisName | None
) -> tuple[PerExample, PerExample]:
    """``sum_c (Q p_c - q_c) dx_c`` and ``sum_c p_c dx_c``.

    Where p is close to 1, ``p_c - 1 = (e_c - 1 - r) / s`` has the digits that ``p_c`` has lost. With y the label and
    d_c the dense part of q_c (Q is NaN if a probability is invalid)::

        ids:            Q p_c - q_c = Q (p_c - [c = y]) + [c = y] (Q - label_weight) - d_c
        probabilities:  Q p_c - q_c = Q (p_c - 1) + (Q - q_c)        for p_c > 1/2
    """
    x, dx, q = mask_rows(x, mask, axis), mask_rows(dx, mask, axis), q.masked(mask, axis).as_checked()
    m, r, q_sum = (expand_class_axis(a, axis) for a in sums)
    x, dx = x.astype(m.dtype), dx.astype(m.dtype)
    e, s = jnp.exp(x - m), 1 + r
    p = e / s
    dense = q.dense(x, axis)
    if q.ids is None:
        gradient = jnp.where(p > 0.5, q_sum * (((e - 1) - r) / s) + (q_sum - dense), q_sum * p - dense)
    else:
        at_label = is_label(q.ids, x, axis)
        gradient = jnp.where(at_label, (e - 1) - r, e) * (q_sum / s)
        if q.is_dense:  # without a dense part Q is the label weight
            gradient += jnp.where(at_label, q_sum - expand_class_axis(q.label_weight, axis), 0) - dense
    return psum_classes(jnp.sum(gradient * dx, axis), axis_name), psum_classes(jnp.sum(p * dx, axis), axis_name)


def _h_given_log_z(
    x: Array, q: Target, mask: Array | None, m: Array, log_s: Array, axis: int, axis_name: AxisName | None
) -> tuple[PerExample, PerExample]:
    """``H = sum_c q_c (log_z - x_c)`` and ``Q``, both linear in ``q``, from a known ``log_z = m + log_s``."""
    x, q = mask_rows(x, mask, axis).astype(m.dtype), q.masked(mask, axis)
    h = q_sum = jnp.zeros_like(m)
    if q.is_dense:
        nll = (expand_class_axis(m, axis) - x) + expand_class_axis(log_s, axis)
        h, q_sum = h + jnp.sum(safe_multiply(q.dense(x, axis), nll), axis), q_sum + q.dense_sum(x, axis)
    if q.ids is not None:
        label_weight = q.local_label_weight(x, axis)
        (gap,) = no_sharing(m - take_class(x, q.ids, axis))  # log_s is added last: a large m would swallow it
        h += safe_multiply(label_weight, gap + log_s)
        q_sum += label_weight
    return psum_classes(h, axis_name), psum_classes(q_sum, axis_name)


def nll_from_log_probs(inputs: SoftmaxInputs, q: Target) -> PerExample:
    """``-sum_c q_c x_c`` for log-probabilities ``x``; masked examples hold any number."""
    return jnp.negative(weighted_sum(inputs.logits, q, inputs.mask, inputs.axis, inputs.class_axis_name))


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def weighted_sum(
    x: ArrayOrTangent, q: Target, mask: ArrayOrTangent, axis: int, axis_name: AxisName | None
) -> PerExample:
    """``sum_c q_c x_c``, with ``0 * inf = 0``."""
    return class_dot(x, q, axis=axis, mask=mask, class_axis_name=axis_name)


def _weighted_sum_jvp(
    axis: int, axis_name: AxisName | None, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[PerExample, PerExample]:
    """``sum_c q_c dx_c + sum_c x_c dq_c``."""
    (x, q, mask), (dx, dq, _) = primals, tangents
    dot = weighted_sum(x, q, mask, axis, axis_name)
    zero = jnp.zeros_like(dot)
    # For log_z = 0, sum_c q_c x_c = -H.
    d_dot = -_jvp_target(lambda q: _h_given_log_z(x, q, mask, zero, zero, axis, axis_name)[0], q, dq, zero)
    if not is_zero_tangent(dx):
        along_x = _weighted_tangents(dx, q.as_checked(), mask, dot.dtype, axis, axis_name)
        d_dot += along_x if q.checked else nan_where_invalid(along_x, ~jnp.isnan(dot))
    return dot, d_dot


weighted_sum.defjvp(_weighted_sum_jvp, symbolic_zeros=True)


@partial(jax.checkpoint, static_argnums=(3, 4, 5), prevent_cse=False)
def _weighted_tangents(
    dx: Array, q: Target, mask: Array | None, dtype: DTypeLike, axis: int, axis_name: AxisName | None
) -> PerExample:
    """``sum_c q_c dx_c``."""
    dx, q = mask_rows(dx, mask, axis).astype(dtype), q.masked(mask, axis)
    return psum_classes(jnp.sum(q.all_classes(dx, axis) * dx, axis), axis_name)


def _jvp_target(f: Callable[[Target], T], q: Target, dq: Target, zero: T) -> T:
    """The derivative of ``f(q)`` along the perturbed leaves of ``q``; ``zero`` without any."""
    if all(map(is_zero_tangent, jax.tree.leaves(dq))):
        return zero
    return jvp_of_perturbed(f, (q,), (dq,))[1]


def log_probs(inputs: Inputs) -> Array:
    """The log-probabilities of all classes, in the computing dtype; those of a masked row are equal."""
    x = mask_rows(inputs.logits, inputs.mask, inputs.axis)
    return jax.nn.log_softmax(x.astype(compute_dtype(x)), inputs.axis)


def describe(inputs: SoftmaxInputs, weights: PerExample) -> CrossEntropyAux:
    """The auxiliary results of each example, from its logits and its weight."""
    return describe_z_loss(describe_logits(inputs), weights, inputs["z_loss"])


def describe_z_loss(of_logits: OfLogits, weights: PerExample, z_loss: Any) -> CrossEntropyAux:
    """The results of `describe_logits` with the z-loss of each example."""
    log_z, argmax, entropy = of_logits
    weights, z_loss = lax.stop_gradient((weights, z_loss))
    terms = jnp.zeros_like(log_z) if is_off(z_loss) else safe_multiply(weights * z_loss, log_z**2)
    return CrossEntropyAux(log_z, argmax, entropy, terms)


def describe_logits(inputs: SoftmaxInputs) -> OfLogits:
    """``log_z``, the likeliest class and the entropy of each example, 0 where masked, without gradients."""
    x, mask = lax.stop_gradient(inputs.logits), inputs.mask
    m, argmax, s, moment = logit_sums(x, axis=inputs.axis, mask=mask, class_axis_name=inputs.class_axis_name)
    log_s = jnp.log(s)
    return fill_masked(m + log_s, mask), fill_masked(argmax, mask), fill_masked(log_s + moment / s, mask)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def log_z_and_entropy(
    x: ArrayOrTangent, mask: ArrayOrTangent, axis: int, axis_name: AxisName | None
) -> tuple[Array, Array, Array]:
    """``m`` and ``log_z - m``, and the entropy ``H = log_z - sum_c p_c x_c`` of each row.

    ``d log_z = sum_c p_c dx_c`` and ``dH = -sum_c p_c (log p_c + H) dx_c``. Masked rows hold any number.
    """
    m, _, s, moment = logit_sums(x, axis=axis, mask=mask, class_axis_name=axis_name)
    log_s = jnp.log(s)
    return m, log_s, log_s + moment / s


def _log_z_and_entropy_jvp(
    axis: int, axis_name: AxisName | None, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    (x, mask), (dx, _) = primals, tangents
    m, log_s, h = checkpoint_name(_differentiable_log_z_and_entropy(x, mask, axis, axis_name), OF_ROWS)
    d_log_z = d_h = jnp.zeros_like(h)
    if not is_zero_tangent(dx):
        d_log_z, d_h = _jvp_log_z_and_entropy(x, dx, mask, (m, log_s, h), axis, axis_name)
    return (m, log_s, h), (jnp.zeros_like(m), d_log_z, d_h)


def _differentiable_log_z_and_entropy(
    x: Array, mask: Array | None, axis: int, axis_name: AxisName | None
) -> tuple[Array, Array, Array]:
    """`log_z_and_entropy` without a rule of its own.

    Up to 0.10, JAX takes second derivatives of a scan from the body of a function within it, not from its rule.
    """
    x = mask_rows(x, mask, axis)
    m = clip_to_finite(max_over_classes(x, axis, axis_name).astype(compute_dtype(x)))
    gap = expand_class_axis(m, axis) - x.astype(m.dtype)
    e = jnp.exp(-gap)
    s, moment = (psum_classes(jnp.sum(a, axis), axis_name) for a in (e, safe_multiply(e, gap)))
    log_s = jnp.log(s)
    return m, log_s, log_s + moment / s


log_z_and_entropy.defjvp(_log_z_and_entropy_jvp, symbolic_zeros=True)


@partial(jax.checkpoint, static_argnums=(4, 5), prevent_cse=False)
def _jvp_log_z_and_entropy(
    x: Array, dx: Array, mask: Array | None, sums: tuple[Array, ...], axis: int, axis_name: AxisName | None
) -> tuple[PerExample, PerExample]:
    m, log_s, h = (expand_class_axis(a, axis) for a in sums)
    x, dx = (mask_rows(a, mask, axis).astype(m.dtype) for a in (x, dx))
    log_p = (x - m) - log_s  # not x - log_z: a large m would swallow log_s
    p = jnp.exp(log_p)
    of_entropy = safe_multiply(p, log_p + h)
    d_log_z, minus_d_h = jnp.sum(p * dx, axis), jnp.sum(of_entropy * dx, axis)
    return psum_classes(d_log_z, axis_name), -psum_classes(minus_d_h, axis_name)
