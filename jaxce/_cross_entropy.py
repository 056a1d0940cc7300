"""The log-normalizer ``log_z = log sum_c exp(x_c)``, and the surprise of a target under it.

Both come from one operation whose derivative is written out, for three reasons. One rule in float32 rounds a 16-bit
gradient once, where separate terms would each be rounded. The gradient ``sum(q) p - q`` needs no array of the size of
the logits but itself. And a masked row, an id that cannot be read and a class of probability 0 have their derivatives
by rule, not by luck. The maximum ``m`` is kept beside ``log_s = log_z - m``: their sum would round away
what a common offset leaves.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike

from jaxce._class_axis import (
    broadcast_mask,
    dense_target,
    expand_class_axis,
    flatten_batch_axes,
    map_row_blocks,
    no_sharing,
    one_hot,
    psum_classes,
    take_class,
    xla_cpu_fuses_row_sum,
)
from jaxce._numerics import compute_dtype, fill_masked, safe_multiply, safe_multiply_no_select
from jaxce._types import ArrayOrTangent, AxisName, Inputs, LinearAux, PerExample, Target


def cross_entropy_from_logits(x: Array, target: Target) -> tuple[PerExample, PerExample]:
    """``sum_c q_c (log_z - x_c)`` and ``log_z``, per example in the computing dtype; 0 where masked.

    Both are NaN where the id cannot be read, so that nothing made of them is a plausible number.
    """
    surprise, m, log_s = _surprise(x, target, True)
    return surprise, m + log_s + 0 * fill_masked(target.total, target.mask)


def nll_from_log_probs(x: Array, target: Target) -> PerExample:
    """``-sum_c q_c x_c`` for logits that are normalized already."""
    surprise: PerExample = _surprise(x, target, False)[0]
    return surprise


def log_probs(x: Inputs) -> Array:
    """The log-probabilities of all classes, in the computing dtype; those of a masked row are equal."""
    shown = fill_masked(x.logits, broadcast_mask(x.mask, x.logits, x.axis)).astype(compute_dtype(x.logits))
    return jax.nn.log_softmax(shown, x.axis)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
@partial(jax.jit, static_argnums=2)
def _surprise(x: ArrayOrTangent, target: Target, normalize: bool) -> tuple[PerExample, PerExample, PerExample]:
    """The surprise, ``m`` and ``log_s``; for log-probabilities the last two are 0."""
    dtype, axis, name, hit = compute_dtype(x), target.axis, target.class_axis_name, target.hit
    fused = xla_cpu_fuses_row_sum(axis, x, target.probs)
    # A select before a sum is no work on an accelerator, and on a CPU a copy of x: there, what masked rows hold is
    # computed with, and left out at the end.
    mask = None if fused else broadcast_mask(target.mask, x, axis)
    label: ArrayOrTangent = (
        None if hit is None else fill_masked(take_class(x, hit.ids, axis, name), target.mask).astype(dtype)
    )

    def reduce(
        x: Array, probs: ArrayOrTangent, mask: ArrayOrTangent, label: ArrayOrTangent, ids: ArrayOrTangent
    ) -> tuple[Array, ...]:
        x = fill_masked(x, mask)
        m = _offset(lax.stop_gradient(x), axis, name, dtype)
        x = x.astype(dtype)
        if normalize:
            log_s = _log_sum(x - expand_class_axis(m, axis), None if label is None else label - m, ids, target)
        else:
            m = log_s = jnp.zeros_like(m)
        if probs is None and target.offset is None:
            return m, log_s
        probs = None if probs is None else fill_masked(probs, mask)
        if not fused:
            return m, log_s, _spread_out(x, probs, m, log_s, target)
        sum_of_all = log_s if normalize else jnp.sum(jnp.exp(x), axis)  # NaN where any x is
        return m, log_s, _spread_out_fused(x, probs, m, log_s, target) + 0 * sum_of_all

    m, log_s, *spread_out = map_row_blocks(
        reduce, x, target.probs, mask, label, None if hit is None else hit.ids, axis=axis, fused=fused
    )
    surprise = spread_out[0] if spread_out else jnp.zeros_like(m)
    if hit is not None:
        surprise += target.product(hit.weight, log_s - (label - m))
    return fill_masked(surprise, target.mask), fill_masked(m, target.mask), fill_masked(log_s, target.mask)


def _spread_out(x: Array, probs: Array | None, m: Array, log_s: Array, target: Target) -> PerExample:
    """``sum_c q_c (log_z - x_c)`` over that part of ``q_c`` which lies on every class."""
    axis = target.axis
    q = dense_target(target.scale, probs, target.offset, x.ndim, axis)
    log_z_less_x = (expand_class_axis(m, axis) - x) + expand_class_axis(log_s, axis)
    return psum_classes(jnp.sum(target.product(q, log_z_less_x), axis), target.class_axis_name)


def _spread_out_fused(x: Array, probs: Array | None, m: Array, log_s: Array, target: Target) -> PerExample:
    """The same in one kernel: with nothing shared, no select, and one axis of examples on each side of the classes."""
    shape, axis, examples = x.shape, target.axis, m.shape
    product = safe_multiply_no_select if target.product is safe_multiply else target.product
    m, log_s, scale, offset = no_sharing(m, log_s, target.scale, target.offset)
    x, m, log_s = (flatten_batch_axes(a, shape, axis) for a in (x, m, log_s))
    probs = None if probs is None else flatten_batch_axes(probs, shape, axis)
    apart = dataclasses.replace(target, scale=scale, offset=offset, product=product, axis=1)
    return _spread_out(x, probs, m, log_s, apart).reshape(examples)


def _log_sum(from_m: Array, label_from_m: Array | None, ids: Array | None, target: Target) -> PerExample:
    """``log_z - m`` from ``x - m``."""
    parts = exponentials(from_m, ids, target.axis, target.short)
    s, *count = (psum_classes(part, target.class_axis_name) for part in parts)
    if not target.short:
        return jnp.log(s)
    return jnp.log1p(s + (count[0] - 1 if label_from_m is None else jnp.expm1(label_from_m)))


def exponentials(from_m: Array, ids: Array | None, axis: int, short: bool) -> tuple[Array, ...]:
    """``sum_c exp(x_c - m)``; if ``short``, without the label's class, or those at ``m``, and then their number."""
    if not short:
        return (jnp.sum(jnp.exp(from_m), axis),)
    left_out = from_m == 0 if ids is None else one_hot(ids, from_m.shape[axis], axis)
    rest = jnp.sum(jnp.where(left_out, 0, jnp.exp(from_m)), axis)
    return (rest,) if ids is not None else (rest, jnp.sum(left_out, axis, dtype=from_m.dtype))


def _surprise_jvp(
    normalize: bool, primals: tuple[Any, Target], tangents: tuple[Any, Target]
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    x, target = primals
    surprise, m, log_s = _surprise(x, target, normalize)
    d_surprise, d_log_s = _jvp_target(x, target, tangents[1], m, log_s), jnp.zeros_like(log_s)
    if not isinstance(tangents[0], SymbolicZero):
        d_logits, d_log_z = _jvp_logits(x, tangents[0], target, m, log_s, normalize)
        d_surprise += d_logits
        d_log_s = d_log_z if normalize else d_log_s
    # Any m serves as the offset, so it counts as a constant, and log_s has the whole derivative of log_z.
    return (surprise, m, log_s), (d_surprise, jnp.zeros_like(m), d_log_s)


_surprise.defjvp(_surprise_jvp, symbolic_zeros=True)


@partial(jax.jit, static_argnums=5)
@partial(jax.checkpoint, static_argnums=5, prevent_cse=False)
def _jvp_logits(
    x: ArrayOrTangent, dx: ArrayOrTangent, target: Target, m: Array, log_s: Array, normalize: bool
) -> tuple[PerExample, PerExample]:
    """``sum_c (sum(q) p_c - q_c) dx_c`` and ``sum_c p_c dx_c``: the derivatives of the surprise and of ``log_z``."""
    axis, name, dtype = target.axis, target.class_axis_name, m.dtype
    mask, (offset, scale) = broadcast_mask(target.mask, x, axis), no_sharing(target.offset, target.scale)
    if not xla_cpu_fuses_row_sum(axis, x, target.probs):
        m, log_s = no_sharing(m, log_s)  # elsewhere the exponentials of the sum become the gradient, in its memory
    x, dx = fill_masked(x, mask).astype(dtype), fill_masked(dx, mask).astype(dtype)
    e = jnp.exp(x - expand_class_axis(m, axis)) if normalize else jnp.zeros_like(x)
    p, total = e * expand_class_axis(jnp.exp(-log_s), axis), expand_class_axis(target.total, axis)
    q = dense_target(scale, None if target.probs is None else fill_masked(target.probs, mask), offset, x.ndim, axis)
    if target.hit is not None:
        mine = one_hot(target.hit.ids, x.shape[axis], axis)
        q = q + jnp.where(mine, expand_class_axis(target.hit.weight, axis), jnp.zeros((), dtype))
    slope = total * p - q
    if target.short:  # where p and q may both be all but 1, their difference would round to nothing
        p_less_1 = e * expand_class_axis(jnp.expm1(-log_s), axis) + (e - 1)
        slope = jnp.where(p > 0.5, total * p_less_1 + (total - q), slope)
    return psum_classes(jnp.sum(slope * dx, axis), name), psum_classes(jnp.sum(p * dx, axis), name)


def _jvp_target(x: ArrayOrTangent, target: Target, tangent: Target, m: Array, log_s: Array) -> PerExample:
    """The derivative along those parts of the target that move; the surprise is linear in their products."""
    leaves, tree = jax.tree.flatten(target)
    tangents = jax.tree.leaves(tangent)
    moving = [i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero) and t.dtype != jax.dtypes.float0]
    if not moving:
        return jnp.zeros_like(m)

    def surprise(*parts: Array) -> PerExample:
        moved = jax.tree.unflatten(tree, [parts[moving.index(i)] if i in moving else v for i, v in enumerate(leaves)])
        return _surprise_beside(x, moved, m, log_s)

    slope: PerExample = jax.jvp(surprise, [leaves[i] for i in moving], [tangents[i] for i in moving])[1]
    return slope


def _surprise_beside(x: ArrayOrTangent, target: Target, m: Array, log_s: Array) -> PerExample:
    """The surprise for a known ``m`` and ``log_s``, as a formula to differentiate along the target."""
    axis, name = target.axis, target.class_axis_name
    mask = broadcast_mask(target.mask, x, axis)
    x = fill_masked(x, mask).astype(m.dtype)
    surprise = jnp.zeros_like(m)
    if target.hit is not None:
        label = take_class(x - expand_class_axis(m, axis), target.hit.ids, axis, name)
        surprise += target.product(target.hit.weight, log_s - label)
    if target.probs is not None or target.offset is not None:
        probs = None if target.probs is None else fill_masked(target.probs, mask)
        surprise += _spread_out(x, probs, m, log_s, target)
    shown: PerExample = fill_masked(surprise, target.mask)
    return shown


def describe_logits(x: Array, class_axis_name: AxisName | None) -> LinearAux:
    """``log_z``, the likeliest class and the entropy of each row ``[..., classes]``."""
    name, classes = class_axis_name, x.shape[-1]

    def reduce(x: Array) -> tuple[Array, ...]:
        m = _offset(x, -1, name, x.dtype)
        from_m = x - m[..., None]
        best = jnp.argmax(x, -1).astype(np.int32)
        s, moment = jnp.sum(jnp.exp(from_m), -1), jnp.sum(safe_multiply_no_select(jnp.exp(from_m), -from_m), -1)
        return m, jnp.max(x, -1), best, s, moment

    m, top, best, s, moment = map_row_blocks(reduce, x, axis=x.ndim - 1)
    if name is not None:
        first = jnp.where(top == lax.pmax(top, name), best + classes * lax.axis_index(name), np.iinfo(np.int32).max)
        best, s, moment = lax.pmin(first, name), psum_classes(s, name), psum_classes(moment, name)
    log_s = jnp.log(s)
    return LinearAux(m + log_s, best, log_s + moment / s)


def _offset(x: Array, axis: int, name: AxisName | None, dtype: DTypeLike) -> PerExample:
    """The maximum over the classes, kept below infinity so that subtracting it from one is no NaN."""
    m = jnp.max(jnp.minimum(x, jnp.finfo(x.dtype).max), axis).astype(dtype)
    return m if name is None else lax.pmax(m, name)
