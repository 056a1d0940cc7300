"""How GPUs and TPUs sum over the classes of each row: a maximum, then all other sums in one pass.

XLA fuses sums of the same logits into one kernel, so smoothing, class weights and masks cost no pass of their own.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import (
    dense_mass,
    dense_target,
    expand_class_axis,
    is_compared,
    is_local_class,
    local_label_weight,
    mask_probs,
    mask_rows,
    own_class,
    take_class,
)
from jaxce._numerics import compute_dtype, fill_masked, keep_finite, safe_multiply
from jaxce._rows._record import RowSums
from jaxce._sharding import class_split
from jaxce._types import Target


def row_sums(x: Array, q: Target, mask: Array | None, axis: int) -> RowSums:
    """The sums over the classes of each row; for class ids the label's own term stays out of ``r`` until the end."""
    raw, x, q = x, mask_rows(x, mask, axis), mask_probs(q, mask, axis)
    m = keep_finite(jnp.max(lax.stop_gradient(x), axis).astype(compute_dtype(x)))
    gap = expand_class_axis(m, axis) - x.astype(m.dtype)
    e = jnp.exp(-gap)
    t = mass = jnp.zeros_like(m)
    if q.is_dense:
        dense = dense_target(q, x, axis)
        t += jnp.sum(jnp.where(dense == 0, 0, dense * gap), axis)  # NaN shows in r
        mass += dense_mass(q, x, axis)
    if q.ids is None:
        at_m = gap == 0
        return RowSums(m, _sum_but(at_m, e, axis) + (jnp.sum(at_m, axis, dtype=m.dtype) - 1), t, mass)
    own = own_class(q.ids, x, axis)
    if class_split(x, axis) is not None or is_compared(x.shape[axis]):
        label_gap = jnp.sum(jnp.where(own, gap, 0), axis)
    else:
        label_gap = m - fill_masked(take_class(raw, q.ids, axis), mask).astype(m.dtype)
    label_weight = local_label_weight(q, x, axis)
    r = _sum_but(own, e, axis) + jnp.where(is_local_class(q.ids, x, axis), jnp.expm1(-label_gap), -1)
    return RowSums(m, r, t + safe_multiply(label_weight, label_gap), mass + label_weight)


def class_dot(x: Array, q: Target, mask: Array | None, axis: int) -> Array:
    """``sum_c q_c x_c`` for each row."""
    wide, q = mask_rows(x, mask, axis).astype(compute_dtype(x)), mask_probs(q, mask, axis)
    dot = jnp.zeros((), wide.dtype)
    if q.is_dense:
        dot += jnp.sum(safe_multiply(dense_target(q, x, axis), wide), axis)
    if q.ids is not None:
        if class_split(x, axis) is not None or is_compared(x.shape[axis]):
            label = jnp.sum(jnp.where(own_class(q.ids, x, axis), wide, 0), axis)
        else:
            label = fill_masked(take_class(x, q.ids, axis), mask).astype(wide.dtype)
        dot += safe_multiply(local_label_weight(q, x, axis), label)
    return dot


def _sum_but(left_out: Array, e: Array, axis: int) -> Array:
    return jnp.sum(jnp.where(left_out, 0, e), axis)
