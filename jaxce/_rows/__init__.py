"""How sums over the classes of each row are executed. Only this package chooses by backend.

The mathematics above calls `row_cross_entropy`, `class_dot` or `logit_sums` on every machine. Each way is one module.
`_cpu` serves one CPU device, `_gpu` rows that fit a GPU's chip, and `_accelerator` the rest. The number of devices and
the mesh are known while tracing. The platform is known at lowering, so an export for TPUs has the TPU's way.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import is_local_class
from jaxce._coefficients import Target
from jaxce._rows import _accelerator, _cpu, _gpu, _sums
from jaxce._rows._linear import SCAN_KEEPS_RULES as SCAN_KEEPS_RULES
from jaxce._rows._linear import add_kernel_gradient as add_kernel_gradient
from jaxce._rows._linear import default_chunk_size as default_chunk_size
from jaxce._rows._linear import product_with_wide_tangent as product_with_wide_tangent
from jaxce._rows._linear import reference_classes as reference_classes
from jaxce._rows._linear import reference_of_rows as reference_of_rows
from jaxce._rows._platform import by_platform
from jaxce._rows._platform import no_sharing as no_sharing
from jaxce._rows._record import LogitSums, RowSums, merge
from jaxce._rows._record import RowCrossEntropy as RowCrossEntropy
from jaxce._sharding import varies
from jaxce._types import AxisName

T = TypeVar("T")


def row_cross_entropy(
    x: Array,
    q: Target,
    *,
    axis: int,
    mask: Array | None = None,
    reference: Array | None = None,
    class_axis_name: AxisName | None = None,
) -> RowCrossEntropy:
    """``H`` and its sums over the classes of each row, on all shards; masked rows hold any number.

    Ids are local: each shard counts them from its own first class. See `reference_of_rows` for the reference.
    """

    def default(x: Array, q: Target, mask: Array | None) -> RowCrossEntropy:
        return _accelerator.row_sums(x, q, mask, axis, reference).cross_entropy()

    if class_axis_name is None:
        one_cpu = partial(_cpu.row_cross_entropy, axis=axis)
        gpu = partial(_gpu.row_cross_entropy, axis=axis) if _gpu.fits_rows_on_chip(x, axis) else None
        return by_platform(x, q, mask, one_cpu=one_cpu, gpu=gpu, default=default)
    parts = _accelerator.row_sums(x, q, mask, axis, reference)
    return _merge_shards(parts, q, x, axis, class_axis_name).cross_entropy()


def sum_together(*terms: Array, axes: tuple[int, ...]) -> tuple[Array, ...]:
    """The sum of each term over the same axes. One reduction keeps XLA:CPU from materializing the terms."""

    def one_cpu(*terms: Array) -> tuple[Array, ...]:
        return _sums.sums_at_once(terms, axes)

    def default(*terms: Array) -> tuple[Array, ...]:
        return tuple(jnp.sum(term, axes) for term in terms)

    return by_platform(*terms, one_cpu=one_cpu, default=default)


def _merge_shards(parts: RowSums, q: Target, x: Array, axis: int, axis_name: AxisName) -> RowSums:
    """The sums over all shards. The shard of the label subtracts the 1 of ``r``, or else the first with the maximum.

    With class ids the shards exchange only ``m``, ``r`` and ``t``, as ``Q`` follows from the label weight.
    """
    maximum, total = partial(lax.pmax, axis_name=axis_name), partial(lax.psum, axis_name=axis_name)
    if q.ids is None:
        shard, at_max = lax.axis_index(axis_name), parts.m == maximum(lax.stop_gradient(parts.m))
        first = lax.pmin(jnp.where(at_max, shard, lax.axis_size(axis_name)), axis_name)
        return merge(parts, shard == first, maximum, total)
    merged = merge(parts, is_local_class(q.ids, x, axis), maximum, total)
    if varies(q.label_weight, axis_name):
        return merged  # each device has a share of the label weight's gradient
    dense = jnp.zeros((), merged.m.dtype) if q.offset is None else total(q.dense_sum(x, axis))
    return merged._replace(q_sum=jnp.broadcast_to(q.label_weight + dense, merged.m.shape))


def class_dot(
    x: Array, q: Target, *, axis: int, mask: Array | None = None, class_axis_name: AxisName | None = None
) -> Array:
    """``sum_c q_c x_c`` for each row, with ``0 * inf = 0``; masked rows hold any number."""
    one_cpu, default = (partial(way.class_dot, axis=axis) for way in (_cpu, _sums))
    dot: Array = by_platform(x, q, mask, one_cpu=one_cpu, default=default)
    return dot if class_axis_name is None else lax.psum(dot, class_axis_name)


def logit_sums(x: Array, *, axis: int, mask: Array | None = None, class_axis_name: AxisName | None = None) -> LogitSums:
    """The sums of the logits of each row, on all shards, without a target; masked rows hold any number."""
    if class_axis_name is not None:
        return _sums.logit_sums(x, mask, axis, class_axis_name)
    one_cpu, default = (partial(way.logit_sums, axis=axis) for way in (_cpu, _accelerator))
    sums: LogitSums = by_platform(x, mask, one_cpu=one_cpu, default=default)
    return sums


def by_rows(f: Callable[..., T], *rows: Array, axis: int) -> T:
    """``f(*rows)`` of the logits and other arrays; arguments and results have the logits' shape or lack ``axis``.

    One CPU device takes the rows block by block. Not for rows whose classes are split.
    """
    result: T = by_platform(*rows, one_cpu=partial(_cpu.map_row_blocks, f, axis=axis), default=f)
    return result
