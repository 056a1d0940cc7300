"""How one CPU device sums over the classes of each row: by fused sums if XLA has them, else block by block.

XLA:CPU (JAX 0.10.2 and later) fuses a float32 sum with its operand's arithmetic. It materializes an operand with a
select, a comparison or a conversion, and a broadcast that two sums share. `tests/compiled.py` measures the temporaries
of both, and tells when a rule here can go.
"""

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import example_shape, expand_class_axis, flatten_batch_axes, is_static, take_class
from jaxce._coefficients import Target
from jaxce._numerics import (
    clip_to_finite,
    distance_from_middle,
    fill_masked,
    is_in_range,
    safe_multiply,
    safe_multiply_no_select,
)
from jaxce._rows import _sums
from jaxce._rows._record import LogitSums, RowCrossEntropy
from jaxce._types import ArrayOrTangent

MIN_SIZE_FOR_BLOCKS = 2**21
"""Arrays of fewer elements are one block: a loop costs more than it saves."""

MAX_BLOCK_SIZE = 2**17
"""Elements in a block: in float32 it fits the second-level cache of a core."""

MIN_BLOCKS = 64
"""An array has at least this many blocks, so that temporaries of a block's size are small beside it."""

MAX_FUSED_CLASSES = 2**15
"""XLA:CPU sums rows of at most this many classes by its fast kernels."""


def row_cross_entropy(x: Array, q: Target, mask: Array | None, axis: int) -> RowCrossEntropy:
    """``H`` and its sums over the classes of each row."""
    if xla_cpu_fuses_row_sum(x, q, axis):
        return _fused(x, q, mask, axis)

    def of_block(x: Array, q: Target, mask: Array | None, axis: int) -> RowCrossEntropy:
        return _sums.row_sums(x, q, mask, axis, compares_ids=False, at_once=False).cross_entropy()

    # With the barrier the gradient computes a difference x - m of its own.
    result: RowCrossEntropy = lax.optimization_barrier(_by_blocks(of_block, x, q, mask, axis))
    return result


def _fused(x: Array, q: Target, mask: Array | None, axis: int) -> RowCrossEntropy:
    """Faster, less exact for losses below 1e-7: no sum has a select, and masked rows are filled at the end.

    ``r`` includes the label's term and subtracts 1, because summing without it takes 1.2 to 2.2 times as long. The
    dense part of ``H`` is one sum of ``q_c (log_z - x_c)``: two sums of the probabilities take twice as long.
    """
    m = clip_to_finite(jnp.max(lax.stop_gradient(x), axis))
    r = jnp.sum(jnp.exp(x - expand_class_axis(m, axis)), axis) - 1
    log_s = jnp.log1p(r)
    q, zero_or_nan = _checked_by_row(q, axis)
    h = q_sum = jnp.zeros_like(m)
    if q.is_dense:
        # Without the barrier this sum would share broadcasts with the others, and XLA would materialize them.
        offset, scale, unshared_m, unshared_log_s = lax.optimization_barrier((q.offset, q.scale, m, log_s))
        unshared_q = dataclasses.replace(q, offset=offset, scale=scale)
        h, q_sum = -_dense_dot(x, unshared_q, axis, unshared_m, unshared_log_s), q_sum + _dense_sum(q, x, axis)
    if q.ids is not None:
        # For constant logits XLA would add log_s before it subtracts: an offset of 1e8 would swallow it.
        gap = lax.optimization_barrier(m - take_class(x, q.ids, axis))
        h += safe_multiply(q.label_weight, gap + log_s)
        q_sum += q.label_weight
    sums = RowCrossEntropy(*(fill_masked(a, mask) for a in (h + zero_or_nan, m, r, q_sum + zero_or_nan)))
    # Without the barrier XLA would materialize the exponentials for the gradient.
    return sums if q.probs is None else lax.optimization_barrier(sums)


def _dense_sum(q: Target, x: Array, axis: int) -> Array:
    """`Target.dense_sum`; class weights as a matrix product: a sum would share ``scale_c probs_c`` with that of H."""
    if q.probs is None or q.scale.ndim == 0:
        return q.dense_sum(x, axis)
    scaled = jnp.tensordot(q.probs, q.scale, ((axis,), (0,)), precision="highest")
    return scaled if q.offset is None else scaled + dataclasses.replace(q, probs=None).dense_sum(x, axis)


def _checked_by_row(q: Target, axis: int) -> tuple[Target, Array]:
    """The target as checked, and NaN for rows with invalid probabilities, else 0: by a maximum, without a select."""
    zero = jnp.zeros((), q.dtype)
    if q.probs is None or q.checked:
        return q, zero
    furthest = jnp.max(distance_from_middle(q.probs), axis)
    return q.as_checked(), jnp.where(is_in_range(furthest + 0.5), zero, jnp.nan)


def class_dot(x: Array, q: Target, mask: Array | None, axis: int) -> Array:
    """``sum_c q_c x_c`` for each row."""
    if not xla_cpu_fuses_row_sum(x, q, axis):
        dot: Array = _by_blocks(_sums.class_dot, x, q, mask, axis)
        return dot
    q, dot = _checked_by_row(q, axis)
    if q.is_dense:
        dot += _dense_dot(x, q, axis)
    if q.ids is not None:
        dot += safe_multiply(q.label_weight, take_class(x, q.ids, axis))
    return fill_masked(dot, mask)


def _dense_dot(x: Array, q: Target, axis: int, *subtrahends: Array) -> Array:
    """``sum_c q_c (x_c - subtrahends)`` for the dense part of ``q``; computed again, with ``0 * inf = 0``, if NaN."""
    shape, rows = x.shape, example_shape(x, axis)
    probs = None if q.probs is None else flatten_batch_axes(q.probs, shape, axis)
    q = dataclasses.replace(q, probs=probs)
    x, *flat = (flatten_batch_axes(a, shape, axis) for a in (x, *subtrahends))

    def difference() -> Array:
        return functools.reduce(lambda d, a: d - expand_class_axis(a, 1), flat, x)

    def safe_dot() -> Array:
        zero_or_nan = 0 * jnp.sum(jnp.exp(-x * x), 1)  # the safe product may drop NaN
        return zero_or_nan - jnp.sum(safe_multiply_no_select(q.dense(x, 1), -difference()), 1)

    dot = jnp.sum(q.dense(x, 1) * difference(), 1)
    return jnp.reshape(lax.cond(jnp.any(jnp.isnan(dot)), safe_dot, lambda: dot), rows)


def xla_cpu_fuses_row_sum(x: ArrayOrTangent, q: Target, axis: int) -> bool:
    """Whether XLA:CPU computes a sum over the classes and its operand in one kernel."""
    dtypes = {x.dtype, q.dtype} if q.probs is None else {x.dtype, q.dtype, q.probs.dtype}
    is_short = isinstance(x.shape[axis], int) and x.shape[axis] <= MAX_FUSED_CLASSES
    return dtypes == {jnp.dtype(jnp.float32)} and is_short and jax.__version_info__ >= (0, 10, 2)


def logit_sums(x: Array, mask: Array | None, axis: int) -> LogitSums:
    """The sums of the logits of each row, without a target."""
    sums: LogitSums = map_row_blocks(partial(_sums.logit_sums, axis=axis), x, _of_rows(mask, x, axis), axis=axis)
    return sums


def _of_rows(a: Array | None, x: Array, axis: int) -> Array | None:
    """An entry for each row of ``x``."""
    return None if a is None else jnp.broadcast_to(a, example_shape(x, axis))


def _by_blocks(f: Callable[..., Any], x: Array, q: Target, mask: Array | None, axis: int) -> Any:
    """``f(x, q, mask, axis)`` in blocks of rows."""

    def block(x: Array, probs: Any, ids: Any, label_weight: Any, mask: Any) -> Any:
        return f(x, dataclasses.replace(q, probs=probs, ids=ids, label_weight=label_weight), mask, axis)

    label_weight, mask = _of_rows(q.label_weight, x, axis), _of_rows(mask, x, axis)
    return map_row_blocks(block, x, q.probs, q.ids, label_weight, mask, axis=axis)


def map_row_blocks(reduce: Callable[..., Any], x: Array, *others: Array | None, axis: int) -> Any:
    """``reduce(x, *others)`` over ``axis``; a large array is computed in blocks of rows.

    The others have the shape of ``x`` or lack ``axis``. Temporaries of XLA:CPU, such as a float32 copy of 16-bit rows,
    then fit the cache.
    """
    if not is_static(x.shape) or x.ndim < 2 or x.size < MIN_SIZE_FOR_BLOCKS:
        return reduce(x, *others)
    cut = max((d for d in range(x.ndim) if d != axis), key=lambda d: x.shape[d])
    length = x.shape[cut]
    rows = max(1, min(MAX_BLOCK_SIZE, x.size // MIN_BLOCKS) * length // x.size)

    def dim(a: Array) -> int:
        return cut if a.ndim == x.ndim else cut - (cut > axis)

    def step(i: Array, results: Any) -> Any:
        # The barrier ties the operands to the loop index, so XLA cannot convert the whole array before the loop.
        # The last block starts early enough to be full, and computes some rows again.
        operands, start = lax.optimization_barrier(((x, *others), jnp.minimum(i * rows, length - rows)))
        parts = reduce(*jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, rows, dim(a)), operands))
        return jax.tree.map(
            lambda result, part: lax.dynamic_update_slice_in_dim(result, part, start, dim(part)), results, parts
        )

    empty = jax.tree.map(lambda r: jnp.zeros(r.shape, r.dtype), jax.eval_shape(reduce, x, *others))
    return lax.fori_loop(0, -(-length // rows), step, empty)
