"""The class axis: reducing along it without a second array of its size, picking from it, and its shards."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._sharding import is_explicit, single_cpu_device
from jaxce._types import ArrayOrTangent, AxisName, Shape, Size

SMALLEST = 2**21
"""Arrays of fewer elements are reduced whole: there a loop costs more than it saves."""

SLAB = 2**17
"""Elements in a slab, at most: in float32 it fits the second-level cache of a core."""

SHARE = 64
"""A slab is at most this part of the array, so that the few arrays of its size stay small beside it."""

WIDEST = 2**15
"""Classes in a row, at most, that XLA on a CPU reduces by its fast kernels."""


def map_row_blocks(
    reduce: Callable[..., tuple[Array, ...]], x: Array, *others: Array | None, axis: int, fused: bool = False
) -> tuple[Array, ...]:
    """``reduce(x, *others)``, whose results lack ``axis``, computed in slabs of whole rows where that helps.

    The others have the shape of ``x``, or size 1 along ``axis``, or lack it, or are None. Sums that are ``fused`` need
    no slabs. Others XLA on a CPU feeds from arrays that it writes out, such as the float32 copy of 16-bit rows; slab by
    slab these stay in the cache. Accelerators fuse the reduction as it stands, and over several devices the partitioner
    must see it whole.
    """
    if fused or not single_cpu_device() or not is_static(x.shape) or x.ndim < 2 or x.size < SMALLEST:
        return reduce(x, *others)
    cut = max((d for d in range(x.ndim) if d != axis), key=lambda d: x.shape[d])
    length = x.shape[cut]
    rows = max(1, min(SLAB, x.size // SHARE) * length // x.size)

    def place(array: Array) -> int:
        return cut if array.ndim == x.ndim else cut - (cut > axis)

    def step(i: Array, results: tuple[Array, ...]) -> tuple[Array, ...]:
        # Tied to the loop index, the conversion to float32 cannot be hoisted out of the loop, to be made of everything.
        # The last slab reaches back to be whole, and computes some rows again.
        whole, start = lax.optimization_barrier(((x, *others), jnp.minimum(i * rows, length - rows)))
        parts = reduce(*jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, rows, place(a)), whole))
        return tuple(
            lax.dynamic_update_slice_in_dim(result, part, start, place(part))
            for result, part in zip(results, parts, strict=True)
        )

    empty = tuple(jnp.zeros(r.shape, r.dtype) for r in jax.eval_shape(reduce, x, *others))
    filled: tuple[Array, ...] = lax.fori_loop(0, -(-length // rows), step, empty)
    return filled


def broadcast_per_class(per_class: Array, ndim: int, axis: int) -> Array:
    """``[classes]`` as an array of rank ``ndim`` that lies along ``axis``; a scalar stays one."""
    return per_class if per_class.ndim == 0 else jnp.expand_dims(per_class, [d for d in range(ndim) if d != axis])


def expand_class_axis(per_example: Array, axis: int) -> Array:
    """One number per example with a class axis of size 1 at ``axis``; a scalar stays one."""
    return per_example if per_example.ndim == 0 else jnp.expand_dims(per_example, axis)


def no_sharing(*values: Any) -> Any:
    """The same arrays, for one use: what two uses spread over the classes, XLA on a CPU would write out for both."""
    return lax.optimization_barrier(values) if single_cpu_device() else values


def flatten_batch_axes(a: Array, shape: Shape, axis: int) -> Array:
    """``a``, of this shape or without its class axis, with the axes before it made one, and those after it another."""
    if a.ndim == 0:
        return a
    columns = shape[axis + 1 :] and (math.prod(shape[axis + 1 :]),)
    return a.reshape(math.prod(shape[:axis]), *(shape[axis : axis + 1] if a.ndim == len(shape) else ()), *columns)


def example_shape(x: ArrayOrTangent, axis: int) -> Shape:
    """The shape of ``x`` without its class axis."""
    shape: Shape = x.shape
    return shape[:axis] + shape[axis + 1 :]


def broadcast_mask(mask: Array | None, x: ArrayOrTangent, axis: int) -> Array | None:
    """The mask with an entry for every row of ``x`` and a class axis of size 1; None when there is none."""
    return None if mask is None else jnp.expand_dims(jnp.broadcast_to(mask, example_shape(x, axis)), axis)


def take_class(x: ArrayOrTangent, ids: Array, axis: int, class_axis_name: AxisName | None = None) -> Array:
    """``x`` at the class ``ids`` along ``axis``, one for each example; a vector ``[classes]`` serves all examples.

    An id outside the classes, which makes the loss NaN later on, picks what lies nearest, as XLA has it, and is left
    for `checkify` to find. Over ``class_axis_name`` the ids count from the first class of this shard, and each is
    picked where it lies.
    """
    classes, shared = x.shape[axis], x.ndim != ids.ndim + 1
    if _needs_masked_sum(x, ids, axis, shared):
        last = -1 if shared else axis
        picked = jnp.sum(jnp.where(one_hot(ids, classes, last), x, jnp.zeros((), x.dtype)), last)
        return psum_classes(picked, class_axis_name)
    here = ids if class_axis_name is None and not shared else jnp.clip(ids, 0, classes - 1)
    picked = x.at[here].get(mode="promise_in_bounds") if shared else _gather(x, here, axis % x.ndim)
    return picked if class_axis_name is None else psum_classes(jnp.where(here == ids, picked, 0), class_axis_name)


def _gather(x: ArrayOrTangent, ids: Array, axis: int) -> Array:
    """``x`` at ``ids``: `jnp.take_along_axis`, which would count negative ids from the end, out of sight of checks."""
    others = tuple(d for d in range(x.ndim) if d != axis)
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        operand_batching_dims=others,
        start_indices_batching_dims=tuple(range(ids.ndim)),
    )
    picked: Array = lax.gather(x, ids[..., None], dimensions, (1,) * x.ndim, mode="promise_in_bounds")
    return picked


def local_ids(ids: Array, classes: Size, class_axis_name: AxisName | None) -> Array:
    """Ids counted from the first class of this shard; those of other shards lie outside its ``classes``."""
    return ids if class_axis_name is None else ids - classes * lax.axis_index(class_axis_name)


def one_hot(ids: Array, classes: Size, axis: int) -> Array:
    """Where each class is the example's own: bool, with the class axis at ``axis``."""
    shape = [1] * (ids.ndim + 1)
    shape[axis] = classes
    return lax.broadcasted_iota(ids.dtype, shape, axis % len(shape)) == jnp.expand_dims(ids, axis)


def dense_target(scale: Array, probs: Array | None, offset: Array | None, ndim: int, axis: int) -> Array:
    """The part of ``q_c`` that lies on every class, ``scale_c probs_c + offset_c``; 0 when there is none."""
    offset = None if offset is None else broadcast_per_class(offset, ndim, axis)
    if probs is None:
        return jnp.zeros((), scale.dtype) if offset is None else offset
    scaled = broadcast_per_class(scale, ndim, axis) * probs.astype(scale.dtype)
    return scaled if offset is None else scaled + offset


def is_static(shape: Shape) -> bool:
    """Whether all sizes are numbers, and none a symbol of `jax.export`."""
    return all(isinstance(n, int) for n in shape)


def xla_cpu_fuses_row_sum(axis: int, x: ArrayOrTangent, probs: ArrayOrTangent | None = None) -> bool:
    """Whether XLA, on the one CPU there is, takes a sum over the classes with what leads to it in one kernel.

    It does since JAX 0.10.2, for rows that are not too long and for arithmetic without selects; of bfloat16 too, but
    what the gradient shares with the sum would be written out in float32. Over several devices the partitioner must
    see the sum whole.
    """
    dtypes = {x.dtype} if probs is None else {x.dtype, probs.dtype}
    fast = dtypes == {jnp.dtype(jnp.float32)} and isinstance(x.shape[axis], int) and x.shape[axis] <= WIDEST
    return fast and jax.__version_info__ >= (0, 10, 2) and single_cpu_device()


def psum_classes(value: Array, class_axis_name: AxisName | None) -> Array:
    """The sum of ``value`` over the shards of the class axis, where it has any."""
    return value if class_axis_name is None else lax.psum(value, class_axis_name)


def _needs_masked_sum(x: ArrayOrTangent, ids: Array, axis: int, shared: bool) -> bool:
    """Whether an explicit mesh splits what a gather would cross: the classes, or the ids that share one vector."""
    ids_split = any(part is not None for part in jax.typeof(ids).sharding.spec)
    hidden = x.ndim == 1 and is_explicit()  # `vmap` may be mapping over a split axis
    return jax.typeof(x).sharding.spec[axis] is not None or (shared and ids_split) or hidden
