"""How one CPU device sums over the classes of each row: by XLA's fused sums where it has them, else block by block.

XLA:CPU (JAX 0.10.2 and later) computes a float32 sum with the arithmetic that feeds it in one kernel. It materializes
the operand instead where that holds a select, a comparison or a conversion, and materializes a broadcast that two sums
share. `tests/compiled.py` measures the temporaries that this costs, and shows when a rule here can go.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import (
    example_shape,
    expand_class_axis,
    flatten_batch_axes,
    is_static,
    take_class,
)
from jaxce._coefficients import Target
from jaxce._numerics import clip_to_finite, fill_masked, safe_multiply, safe_multiply_no_select
from jaxce._rows import _sums
from jaxce._rows._record import RowCrossEntropy
from jaxce._types import ArrayOrTangent

MIN_SIZE_FOR_BLOCKS = 2**21
"""Arrays of fewer elements are one block: a loop costs more than it saves."""

MAX_BLOCK_SIZE = 2**17
"""Elements in a block, at most: in float32 it fits the second-level cache of a core."""

MIN_BLOCKS = 64
"""A block is at most this part of the array, so that the few arrays of its size stay small beside it."""

MAX_FUSED_CLASSES = 2**15
"""Classes in a row, at most, that XLA:CPU sums by its fast kernels."""


def row_cross_entropy(x: Array, q: Target, mask: Array | None, axis: int) -> RowCrossEntropy:
    """``H`` and its sums over the classes of each row."""
    if xla_cpu_fuses_row_sum(x, q, axis):
        return _fused(x, q, mask, axis)

    def of_block(x: Array, q: Target, mask: Array | None, axis: int) -> RowCrossEntropy:
        return _sums.row_sums(x, q, mask, axis, compares_ids=False, at_once=False).cross_entropy()

    whole: RowCrossEntropy = lax.optimization_barrier(_by_blocks(of_block, x, q, mask, axis))
    return whole  # the gradient has its own difference x - m


def _fused(x: Array, q: Target, mask: Array | None, axis: int) -> RowCrossEntropy:
    """The same in float32 by sums without selects; masked rows are computed with, and left out at the end.

    ``r`` loses what is below 1e-7: to leave the label out of the sum takes 1.2 to 2.2 times as long. The dense part of
    ``H`` is one sum of ``q_c (log_z - x_c)``, which needs no ``Q``: two sums of the probabilities take twice as long.
    """
    m = clip_to_finite(jnp.max(lax.stop_gradient(x), axis))
    r = jnp.sum(jnp.exp(x - expand_class_axis(m, axis)), axis) - 1
    log_s = jnp.log1p(r)
    h = q_sum = jnp.zeros_like(m)
    if q.is_dense:
        offset, scale, own_m, own_log_s = lax.optimization_barrier((q.offset, q.scale, m, log_s))
        own = dataclasses.replace(q, offset=offset, scale=scale)
        h, q_sum = -_dense_dot(x, own, axis, own_m, own_log_s), q_sum + _dense_sum(q, x, axis)
    if q.ids is not None:
        h += safe_multiply(q.label_weight, (m - take_class(x, q.ids, axis)) + log_s)
        q_sum += q.label_weight
    sums = RowCrossEntropy(*(fill_masked(a, mask) for a in (h, m, r, q_sum)))
    return sums if q.probs is None else lax.optimization_barrier(sums)  # or the exponentials are kept for the gradient


def _dense_sum(q: Target, x: Array, axis: int) -> Array:
    """`Target.dense_sum`; class weights as a matrix product: a sum would share ``scale_c probs_c`` with that of H."""
    if q.probs is None or q.scale.ndim == 0:
        return q.dense_sum(x, axis)
    scaled = jnp.tensordot(q.probs, q.scale, ((axis,), (0,)), precision="highest")
    return scaled if q.offset is None else scaled + dataclasses.replace(q, probs=None).dense_sum(x, axis)


def class_dot(x: Array, q: Target, mask: Array | None, axis: int) -> Array:
    """``sum_c q_c x_c`` for each row."""
    if not xla_cpu_fuses_row_sum(x, q, axis):
        dot: Array = _by_blocks(_sums.class_dot, x, q, mask, axis)
        return dot
    dot = jnp.zeros((), x.dtype)
    if q.is_dense:
        dot += _dense_dot(x, q, axis)
    if q.ids is not None:
        dot += safe_multiply(q.label_weight, take_class(x, q.ids, axis))
    masked: Array = fill_masked(dot, mask)
    return masked


def _dense_dot(x: Array, q: Target, axis: int, *less: Array) -> Array:
    """The sum of the dense ``q_c`` times ``x_c`` less these, taken again with care where ``0 * inf`` made it NaN."""
    shape, rows = x.shape, example_shape(x, axis)
    probs = None if q.probs is None else flatten_batch_axes(q.probs, shape, axis)
    q = dataclasses.replace(q, probs=probs)
    x, *subtrahends = (flatten_batch_axes(a, shape, axis) for a in (x, *less))

    def difference() -> Array:
        return functools.reduce(lambda d, a: d - expand_class_axis(a, 1), subtrahends, x)

    def again() -> Array:
        nan_if_any = 0 * jnp.sum(jnp.exp(-x * x), 1)  # the minimum in the safe product loses NaN
        return nan_if_any - jnp.sum(safe_multiply_no_select(q.dense(x, 1), -difference()), 1)

    dot = jnp.sum(q.dense(x, 1) * difference(), 1)
    return jnp.reshape(lax.cond(jnp.any(jnp.isnan(dot)), again, lambda: dot), rows)


def xla_cpu_fuses_row_sum(x: ArrayOrTangent, q: Target, axis: int) -> bool:
    """Whether XLA:CPU takes a sum over the classes, with the arithmetic that feeds it, in one kernel."""
    dtypes = {x.dtype, q.dtype} if q.probs is None else {x.dtype, q.dtype, q.probs.dtype}
    is_short = isinstance(x.shape[axis], int) and x.shape[axis] <= MAX_FUSED_CLASSES
    return dtypes == {jnp.dtype(jnp.float32)} and is_short and jax.__version_info__ >= (0, 10, 2)


def _by_blocks(f: Callable[..., Any], x: Array, q: Target, mask: Array | None, axis: int) -> Any:
    """``f(x, q, mask, axis)`` in blocks of rows."""

    def of_rows(a: Array | None) -> Array | None:
        return None if a is None else jnp.broadcast_to(a, example_shape(x, axis))

    def block(x: Array, probs: Any, ids: Any, label_weight: Any, mask: Any) -> Any:
        return f(x, dataclasses.replace(q, probs=probs, ids=ids, label_weight=label_weight), mask, axis)

    return map_row_blocks(block, x, q.probs, q.ids, of_rows(q.label_weight), of_rows(mask), axis=axis)


def map_row_blocks(reduce: Callable[..., Any], x: Array, *others: Array | None, axis: int) -> Any:
    """``reduce(x, *others)``, whose results lack ``axis``, computed in blocks of whole rows where the array is large.

    The others have the shape of ``x`` or lack ``axis``. What XLA:CPU materializes, such as a float32 copy of 16-bit
    rows, then stays in the cache.
    """
    if not is_static(x.shape) or x.ndim < 2 or x.size < MIN_SIZE_FOR_BLOCKS:
        return reduce(x, *others)
    cut = max((d for d in range(x.ndim) if d != axis), key=lambda d: x.shape[d])
    length = x.shape[cut]
    rows = max(1, min(MAX_BLOCK_SIZE, x.size // MIN_BLOCKS) * length // x.size)

    def dim(a: Array) -> int:
        return cut if a.ndim == x.ndim else cut - (cut > axis)

    def step(i: Array, results: Any) -> Any:
        # Tied to the loop index, the conversion to float32 cannot be hoisted out of the loop and made of everything.
        # The last block reaches back to be whole, and computes some rows again.
        whole, start = lax.optimization_barrier(((x, *others), jnp.minimum(i * rows, length - rows)))
        parts = reduce(*jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, rows, dim(a)), whole))
        return jax.tree.map(
            lambda result, part: lax.dynamic_update_slice_in_dim(result, part, start, dim(part)), results, parts
        )

    empty = jax.tree.map(lambda r: jnp.zeros(r.shape, r.dtype), jax.eval_shape(reduce, x, *others))
    return lax.fori_loop(0, -(-length // rows), step, empty)
