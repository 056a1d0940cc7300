"""The sums over the classes of each row: a maximum, then all other sums in one pass.

XLA fuses sums of the same logits into one kernel. So smoothing, class weights and masks cost no extra pass.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxce._class_axis import (
    NO_CLASS,
    expand_class_axis,
    ids_where,
    is_compared,
    is_label,
    is_local_class,
    mask_rows,
    take_class,
)
from jaxce._coefficients import Target
from jaxce._numerics import clip_to_finite, compute_dtype, fill_masked, safe_multiply, safe_multiply_no_select
from jaxce._rows._record import LogitSums, RowSums
from jaxce._sharding import class_split
from jaxce._types import AxisName

NEAR = 0.25
"""A gap between that of the maximum, 0, and those of other classes that sum to less than 1/2, which exceed log 2.

So ``r`` is told without an equality of floats: kernels may round a product in the logits differently.
"""


CLOSE = np.int32(2**30)
"""Added to the id of a class that is close to the maximum and does not equal it: those that do come first."""


def row_sums(x: Array, q: Target, mask: Array | None, axis: int, *, compares_ids: bool, at_once: bool) -> RowSums:
    """The sums over the classes of each row. The label's own term enters ``r`` last, without its 1.

    With ``compares_ids`` the label's logit is one more sum, else a gather. ``at_once`` all sums are one reduction.
    """
    raw, x, q = x, mask_rows(x, mask, axis), q.masked(mask, axis)
    m = clip_to_finite(jnp.max(lax.stop_gradient(x), axis).astype(compute_dtype(x)))
    gap = expand_class_axis(m, axis) - x.astype(m.dtype)
    e = jnp.exp(-gap)
    if q.ids is None:
        terms = {"s": e, "others": jnp.where(gap > NEAR, e, 0)}
    else:
        at_label = is_label(q.ids, x, axis)
        # Not a constant 0: JAX would move its broadcast out of a loop over chunks, and XLA:GPU would read it there.
        zero = expand_class_axis(m - m, axis)
        terms = {"others": jnp.where(at_label, zero, e)}
        if compares_ids:
            terms["label_gap"] = jnp.where(at_label, gap, 0)
    if q.is_dense:
        dense = q.dense(x, axis)
        terms["t"] = jnp.where(dense == 0, 0, dense * gap)  # drops a NaN logit if q_c = 0, but r is NaN then, and so H
    if q.probs is not None:
        terms["q_sum"] = dense
    if at_once:
        sums = dict(zip(terms, sums_at_once(tuple(terms.values()), (axis,)), strict=True))
    else:
        sums = {name: jnp.sum(term, axis) for name, term in terms.items()}
    zeros = jnp.zeros_like(m)
    t = sums.get("t", zeros)
    q_sum = sums.get("q_sum", zeros if q.offset is None else zeros + q.dense_sum(x, axis))
    if q.ids is None:
        is_one_far_above = (sums["s"] > 0.5) & (sums["s"] < 1.5)
        return RowSums(m, jnp.where(is_one_far_above, sums["others"], sums["s"] - 1), t, q_sum)
    label_gap = sums.get("label_gap")
    if label_gap is None:
        label_gap = m - fill_masked(take_class(raw, q.ids, axis), mask).astype(m.dtype)
    label_weight = q.local_label_weight(x, axis)
    r = sums["others"] + jnp.where(is_local_class(q.ids, x, axis), jnp.expm1(-label_gap), -1)
    return RowSums(m, r, t + safe_multiply(label_weight, label_gap), q_sum + label_weight)


def logit_sums(
    x: Array, mask: Array | None, axis: int, axis_name: AxisName | None = None, *, at_once: bool = False
) -> LogitSums:
    """The sums of the logits of each row, over all shards of ``axis_name`` too; ``at_once`` they are one reduction.

    The argmax is a minimum of class ids. XLA fuses a minimum with the sums and a partitioner splits it. If no logit
    equals the maximum, because kernels round a product in the logits differently, it is the first one close to it.
    """
    x = mask_rows(x, mask, axis)
    top = jnp.max(x, axis)
    if axis_name is not None:
        top = lax.pmax(top, axis_name)
    m = clip_to_finite(top.astype(compute_dtype(x)))
    gap = expand_class_axis(m, axis) - x.astype(m.dtype)
    e = jnp.exp(-gap)
    is_top = ~(x < expand_class_axis(top, axis))
    is_close = ~(gap > expand_class_axis(4 * jnp.finfo(m.dtype).eps * jnp.abs(m), axis))
    ids = ids_where(is_top | is_close, axis)
    terms = e, safe_multiply_no_select(e, gap), jnp.where(is_top | (ids == NO_CLASS), ids, ids + CLOSE)
    if at_once:
        start = jnp.zeros((), m.dtype), jnp.zeros((), m.dtype), jnp.asarray(NO_CLASS)
        s, moment, argmax = lax.reduce(terms, start, _merge_logit_sums, (axis,))
    else:
        s, moment, argmax = jnp.sum(terms[0], axis), jnp.sum(terms[1], axis), jnp.min(terms[2], axis)
    if axis_name is not None:
        first = x.shape[axis] * lax.axis_index(axis_name)
        argmax = lax.pmin(jnp.where(argmax == NO_CLASS, NO_CLASS, first + argmax), axis_name)
        s, moment = lax.psum((s, moment), axis_name)
    return LogitSums(m, argmax % CLOSE, s, moment)


def _merge_logit_sums(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    return a[0] + b[0], a[1] + b[1], jnp.minimum(a[2], b[2])


def class_dot(x: Array, q: Target, mask: Array | None, axis: int) -> Array:
    """``sum_c q_c x_c`` for each row."""
    wide, q = mask_rows(x, mask, axis).astype(q.dtype), q.masked(mask, axis)
    dot = jnp.zeros((), wide.dtype)
    if q.is_dense:
        dot += jnp.sum(safe_multiply(q.dense(x, axis), wide), axis)
    if q.ids is not None:
        if compares_ids(x, axis):
            label = jnp.sum(jnp.where(is_label(q.ids, x, axis), wide, 0), axis)
        else:
            label = fill_masked(take_class(x, q.ids, axis), mask).astype(wide.dtype)
        dot += safe_multiply(q.local_label_weight(x, axis), label)
    return dot


def compares_ids(x: Array, axis: int) -> bool:
    """Whether to find the label's logit by comparing ids: for few classes, and for classes split by a mesh."""
    return class_split(x, axis) is not None or is_compared(x.shape[axis])


def sums_at_once(terms: tuple[Array, ...], axes: tuple[int, ...]) -> tuple[Array, ...]:
    """The sums of all terms as one reduction."""
    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    return tuple(lax.reduce(terms, zeros, lambda a, b: tuple(map(jnp.add, a, b)), axes))
