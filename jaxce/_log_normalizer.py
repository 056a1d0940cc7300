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

from jaxce._arithmetic import fused_times, times
from jaxce._classes import (
    anew,
    beside,
    by_rows,
    fold,
    kept_rows,
    one_hot,
    over_shards,
    pick,
    spread,
    sums_fuse,
)
from jaxce._inputs import compute_dtype, hide
from jaxce._types import AxisName, Examples, Leaf, LinearAux, Opened, Target


def surprise_of_logits(x: Array, target: Target) -> tuple[Examples, Examples]:
    """``sum_c q_c (log_z - x_c)`` and ``log_z``, per example in the computing dtype; 0 where masked.

    Both are NaN where the id cannot be read, so that nothing made of them is a plausible number.
    """
    surprise, m, log_s = _surprise(x, target, True)
    return surprise, m + log_s + 0 * hide(target.total, target.kept)


def surprise_of_log_probs(x: Array, target: Target) -> Examples:
    """``-sum_c q_c x_c`` for logits that are normalized already."""
    surprise: Examples = _surprise(x, target, False)[0]
    return surprise


def log_probs(x: Opened) -> Array:
    """The log-probabilities of all classes, in the computing dtype; those of a masked row are equal."""
    shown = hide(x.logits, kept_rows(x.kept, x.logits, x.axis)).astype(compute_dtype(x.logits))
    return jax.nn.log_softmax(shown, x.axis)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
@partial(jax.jit, static_argnums=2)
def _surprise(x: Leaf, target: Target, normalize: bool) -> tuple[Examples, Examples, Examples]:
    """The surprise, ``m`` and ``log_s``; for log-probabilities the last two are 0."""
    dtype, axis, name, hit = compute_dtype(x), target.axis, target.class_axis_name, target.hit
    fused = sums_fuse(axis, x, target.probs)
    # A select before a sum is no work on an accelerator, and on a CPU a copy of x: there, what masked rows hold is
    # computed with, and left out at the end.
    kept = None if fused else kept_rows(target.kept, x, axis)
    label: Leaf = None if hit is None else hide(pick(x, hit.ids, axis, name), target.kept).astype(dtype)

    def reduce(x: Array, probs: Leaf, kept: Leaf, label: Leaf, ids: Leaf) -> tuple[Array, ...]:
        x = hide(x, kept)
        m = _offset(lax.stop_gradient(x), axis, name, dtype)
        x = x.astype(dtype)
        if normalize:
            log_s = _log_sum(x - beside(m, axis), None if label is None else label - m, ids, target)
        else:
            m = log_s = jnp.zeros_like(m)
        if probs is None and target.offset is None:
            return m, log_s
        probs = None if probs is None else hide(probs, kept)
        if not fused:
            return m, log_s, _spread_out(x, probs, m, log_s, target)
        sum_of_all = log_s if normalize else jnp.sum(jnp.exp(x), axis)  # NaN where any x is
        return m, log_s, _spread_out_fused(x, probs, m, log_s, target) + 0 * sum_of_all

    m, log_s, *spread_out = by_rows(
        reduce, x, target.probs, kept, label, None if hit is None else hit.ids, axis=axis, fused=fused
    )
    surprise = spread_out[0] if spread_out else jnp.zeros_like(m)
    if hit is not None:
        surprise += target.product(hit.weight, log_s - (label - m))
    return hide(surprise, target.kept), hide(m, target.kept), hide(log_s, target.kept)


def _spread_out(x: Array, probs: Array | None, m: Array, log_s: Array, target: Target) -> Examples:
    """``sum_c q_c (log_z - x_c)`` over that part of ``q_c`` which lies on every class."""
    axis = target.axis
    q = spread(target.scale, probs, target.offset, x.ndim, axis)
    log_z_less_x = (beside(m, axis) - x) + beside(log_s, axis)
    return over_shards(jnp.sum(target.product(q, log_z_less_x), axis), target.class_axis_name)


def _spread_out_fused(x: Array, probs: Array | None, m: Array, log_s: Array, target: Target) -> Examples:
    """The same in one kernel: with nothing shared, no select, and one axis of examples on each side of the classes."""
    shape, axis, examples = x.shape, target.axis, m.shape
    product = fused_times if target.product is times else target.product
    m, log_s, scale, offset = anew(m, log_s, target.scale, target.offset)
    x, m, log_s = (fold(a, shape, axis) for a in (x, m, log_s))
    probs = None if probs is None else fold(probs, shape, axis)
    apart = dataclasses.replace(target, scale=scale, offset=offset, product=product, axis=1)
    return _spread_out(x, probs, m, log_s, apart).reshape(examples)


def _log_sum(from_m: Array, label_from_m: Array | None, ids: Array | None, target: Target) -> Examples:
    """``log_z - m`` from ``x - m``."""
    parts = exponentials(from_m, ids, target.axis, target.short)
    s, *count = (over_shards(part, target.class_axis_name) for part in parts)
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
    d_surprise, d_log_s = _along_target(x, target, tangents[1], m, log_s), jnp.zeros_like(log_s)
    if not isinstance(tangents[0], SymbolicZero):
        d_logits, d_log_z = _along_logits(x, tangents[0], target, m, log_s, normalize)
        d_surprise += d_logits
        d_log_s = d_log_z if normalize else d_log_s
    # Any m serves as the offset, so it counts as a constant, and log_s has the whole derivative of log_z.
    return (surprise, m, log_s), (d_surprise, jnp.zeros_like(m), d_log_s)


_surprise.defjvp(_surprise_jvp, symbolic_zeros=True)


@partial(jax.jit, static_argnums=5)
@partial(jax.checkpoint, static_argnums=5, prevent_cse=False)
def _along_logits(
    x: Leaf, dx: Leaf, target: Target, m: Array, log_s: Array, normalize: bool
) -> tuple[Examples, Examples]:
    """``sum_c (sum(q) p_c - q_c) dx_c`` and ``sum_c p_c dx_c``: the derivatives of the surprise and of ``log_z``."""
    axis, name, dtype = target.axis, target.class_axis_name, m.dtype
    kept, (offset, scale) = kept_rows(target.kept, x, axis), anew(target.offset, target.scale)
    if not sums_fuse(axis, x, target.probs):
        m, log_s = anew(m, log_s)  # elsewhere the exponentials of the sum become the gradient, in its memory
    x, dx = hide(x, kept).astype(dtype), hide(dx, kept).astype(dtype)
    e = jnp.exp(x - beside(m, axis)) if normalize else jnp.zeros_like(x)
    p, total = e * beside(jnp.exp(-log_s), axis), beside(target.total, axis)
    q = spread(scale, None if target.probs is None else hide(target.probs, kept), offset, x.ndim, axis)
    if target.hit is not None:
        mine = one_hot(target.hit.ids, x.shape[axis], axis)
        q = q + jnp.where(mine, beside(target.hit.weight, axis), jnp.zeros((), dtype))
    slope = total * p - q
    if target.short:  # where p and q may both be all but 1, their difference would round to nothing
        p_less_1 = e * beside(jnp.expm1(-log_s), axis) + (e - 1)
        slope = jnp.where(p > 0.5, total * p_less_1 + (total - q), slope)
    return over_shards(jnp.sum(slope * dx, axis), name), over_shards(jnp.sum(p * dx, axis), name)


def _along_target(x: Leaf, target: Target, tangent: Target, m: Array, log_s: Array) -> Examples:
    """The derivative along those parts of the target that move; the surprise is linear in their products."""
    leaves, tree = jax.tree.flatten(target)
    tangents = jax.tree.leaves(tangent)
    moving = [i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero) and t.dtype != jax.dtypes.float0]
    if not moving:
        return jnp.zeros_like(m)

    def surprise(*parts: Array) -> Examples:
        moved = jax.tree.unflatten(tree, [parts[moving.index(i)] if i in moving else v for i, v in enumerate(leaves)])
        return _surprise_beside(x, moved, m, log_s)

    slope: Examples = jax.jvp(surprise, [leaves[i] for i in moving], [tangents[i] for i in moving])[1]
    return slope


def _surprise_beside(x: Leaf, target: Target, m: Array, log_s: Array) -> Examples:
    """The surprise for a known ``m`` and ``log_s``, as a formula to differentiate along the target."""
    axis, name = target.axis, target.class_axis_name
    kept = kept_rows(target.kept, x, axis)
    x = hide(x, kept).astype(m.dtype)
    surprise = jnp.zeros_like(m)
    if target.hit is not None:
        label = pick(x - beside(m, axis), target.hit.ids, axis, name)
        surprise += target.product(target.hit.weight, log_s - label)
    if target.probs is not None or target.offset is not None:
        probs = None if target.probs is None else hide(target.probs, kept)
        surprise += _spread_out(x, probs, m, log_s, target)
    shown: Examples = hide(surprise, target.kept)
    return shown


def describe_logits(x: Array, class_axis_name: AxisName | None) -> LinearAux:
    """``log_z``, the likeliest class and the entropy of each row ``[..., classes]``."""
    name, classes = class_axis_name, x.shape[-1]

    def reduce(x: Array) -> tuple[Array, ...]:
        m = _offset(x, -1, name, x.dtype)
        from_m = x - m[..., None]
        best = jnp.argmax(x, -1).astype(np.int32)
        s, moment = jnp.sum(jnp.exp(from_m), -1), jnp.sum(fused_times(jnp.exp(from_m), -from_m), -1)
        return m, jnp.max(x, -1), best, s, moment

    m, top, best, s, moment = by_rows(reduce, x, axis=x.ndim - 1)
    if name is not None:
        first = jnp.where(top == lax.pmax(top, name), best + classes * lax.axis_index(name), np.iinfo(np.int32).max)
        best, s, moment = lax.pmin(first, name), over_shards(s, name), over_shards(moment, name)
    log_s = jnp.log(s)
    return LinearAux(m + log_s, best, log_s + moment / s)


def _offset(x: Array, axis: int, name: AxisName | None, dtype: DTypeLike) -> Examples:
    """The maximum over the classes, kept below infinity so that subtracting it from one is no NaN."""
    m = jnp.max(jnp.minimum(x, jnp.finfo(x.dtype).max), axis).astype(dtype)
    return m if name is None else lax.pmax(m, name)
