"""How sums over the classes of each row are executed: the only room that knows a backend.

The mathematics above asks for `row_cross_entropy`, `class_dot` or `map_rows`, whatever the machine. Each way is one
module: `_cpu` for one CPU device, `_gpu` for rows that a GPU keeps on chip, `_accelerator` for all else. The choice is
made when a program is lowered, so that a program exported for a TPU from a CPU holds the TPU's way.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import is_local_class
from jaxce._coefficients import Target
from jaxce._rows import _accelerator, _cpu, _gpu, _sums
from jaxce._rows._linear import add_kernel_gradient, default_chunk_size
from jaxce._rows._platform import by_platform, no_sharing
from jaxce._rows._record import RowCrossEntropy, RowSums, merge
from jaxce._types import AxisName

T = TypeVar("T")

__all__ = [
    "RowCrossEntropy",
    "RowSums",
    "add_kernel_gradient",
    "class_dot",
    "default_chunk_size",
    "map_rows",
    "merge",
    "no_sharing",
    "row_cross_entropy",
]


def row_cross_entropy(
    x: Array, q: Target, *, axis: int, mask: Array | None = None, class_axis_name: AxisName | None = None
) -> RowCrossEntropy:
    """``H`` and its sums over the classes of each row of ``x``, and over their shards; masked rows hold any number.

    An id counts from the first class of its shard, and lies outside the range of all others.
    """

    def whole(x: Array, q: Target, mask: Array | None) -> RowCrossEntropy:
        return _accelerator.row_sums(x, q, mask, axis).cross_entropy()

    if class_axis_name is None:
        one_cpu = partial(_cpu.row_cross_entropy, axis=axis)
        gpu = partial(_gpu.row_cross_entropy, axis=axis) if _gpu.keeps_rows_on_chip(x, axis) else None
        return by_platform(x, q, mask, one_cpu=one_cpu, gpu=gpu, default=whole)
    parts = _accelerator.row_sums(x, q, mask, axis)
    return _merge_shards(parts, q, x, axis, class_axis_name).cross_entropy()


def _merge_shards(parts: RowSums, q: Target, x: Array, axis: int, name: AxisName) -> RowSums:
    """Of ids no more than three numbers per row travel: the shard of the label leaves the 1 out, and Q is known."""
    maximum, total = partial(lax.pmax, axis_name=name), partial(lax.psum, axis_name=name)
    if q.ids is None:
        shard, at_max = lax.axis_index(name), parts.m == maximum(lax.stop_gradient(parts.m))
        first = lax.pmin(jnp.where(at_max, shard, lax.axis_size(name)), name)
        return merge(parts, shard == first, maximum, total)
    merged = merge(parts, is_local_class(q.ids, x, axis), maximum, total)
    dense = jnp.zeros((), merged.m.dtype) if q.offset is None else total(q.dense_sum(x, axis))
    return merged._replace(q_sum=jnp.broadcast_to(q.label_weight + dense, merged.m.shape))


def class_dot(
    x: Array, q: Target, *, axis: int, mask: Array | None = None, class_axis_name: AxisName | None = None
) -> Array:
    """``sum_c q_c x_c`` for each row, with ``0 * inf = 0``; masked rows hold any number."""
    one_cpu, default = (partial(way.class_dot, axis=axis) for way in (_cpu, _sums))
    dot: Array = by_platform(x, q, mask, one_cpu=one_cpu, default=default)
    return dot if class_axis_name is None else lax.psum(dot, class_axis_name)


def map_rows(reduce: Callable[[Array], T], x: Array, *, axis: int) -> T:
    """``reduce(x)``, whose results lack ``axis``: whole, or on one CPU device by blocks of rows."""
    mapped: T = by_platform(x, one_cpu=partial(_cpu.map_row_blocks, reduce, axis=axis), default=reduce)
    return mapped
