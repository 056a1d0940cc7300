"""The class axis: broadcasting along it, one-hot labels, taking one class of each example, and its shards."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from jaxce._numerics import fill_masked
from jaxce._sharding import class_split, is_explicit
from jaxce._types import ArrayOrTangent, AxisName, Shape, Size

MAX_COMPARED_CLASSES = 4096
"""Up to this many classes a label is found by comparing ids. A gather costs a TPU v5e as much as 4,500 classes do."""

PARTS = 16
"""A scatter adds one number after the other, so in float32 a sum of ones ends at 2**24. Each of the parts has fewer."""

NO_CLASS = np.int32(2**31 - 1)
"""An id above those of all classes."""


def broadcast_per_class(per_class: Array, ndim: int, axis: int) -> Array:
    """``[classes]`` as an array of rank ``ndim`` that lies along ``axis``; a scalar stays one."""
    return per_class if per_class.ndim == 0 else jnp.expand_dims(per_class, [d for d in range(ndim) if d != axis])


def expand_class_axis(per_example: Array, axis: int) -> Array:
    """One number per example with a class axis of size 1 at ``axis``; a scalar stays one."""
    return per_example if per_example.ndim == 0 else jnp.expand_dims(per_example, axis)


def flatten_batch_axes(a: Array, shape: Shape, axis: int) -> Array:
    """``a``, with or without its class axis, with the axes before it made one and the axes after it another."""
    if a.ndim == 0:
        return a
    columns = shape[axis + 1 :] and (math.prod(shape[axis + 1 :]),)
    return a.reshape(math.prod(shape[:axis]), *(shape[axis : axis + 1] if a.ndim == len(shape) else ()), *columns)


def example_shape(x: ArrayOrTangent, axis: int) -> Shape:
    """The shape of ``x`` without its class axis."""
    shape: Shape = x.shape
    return shape[:axis] + shape[axis + 1 :]


def broadcast_mask(mask: Array | None, x: ArrayOrTangent, axis: int) -> Array | None:
    """The mask with an entry per row of ``x`` and a class axis of size 1; None without a mask."""
    return None if mask is None else jnp.expand_dims(jnp.broadcast_to(mask, example_shape(x, axis)), axis)


def mask_rows(x: ArrayOrTangent, mask: Array | None, axis: int) -> Array:
    """``x`` with 0 in masked rows."""
    return fill_masked(x, broadcast_mask(mask, x, axis))


def one_hot(ids: Array, classes: Size, axis: int, split: Any = None) -> Array:
    """Whether each class is the label: bool, the class axis at ``axis``, split by the explicit mesh axes ``split``."""
    axis = axis % (ids.ndim + 1)
    return _classes(ids.dtype, classes, ids.ndim + 1, axis, split) == jnp.expand_dims(ids, axis)


def _classes(dtype: DTypeLike, classes: Size, ndim: int, axis: int, split: Any) -> Array:
    """The numbers of the classes along ``axis``, with size 1 along the other axes."""
    shape, spec = [1] * ndim, [None] * ndim
    shape[axis], spec[axis] = classes, split
    sharding = None if split is None else PartitionSpec(*spec)
    return lax.broadcasted_iota(dtype, shape, axis, out_sharding=sharding)


def ids_where(candidates: Array, axis: int) -> Array:
    """The id of each class, int32, and ``NO_CLASS`` for a class that is no candidate."""
    classes = _classes(jnp.int32, candidates.shape[axis], candidates.ndim, axis, class_split(candidates, axis))
    return jnp.where(candidates, classes, NO_CLASS)


def is_label(ids: Array, x: ArrayOrTangent, axis: int) -> Array:
    """Whether each class of ``x`` is the label: bool, split along the classes as ``x`` is."""
    return one_hot(ids, x.shape[axis], axis, class_split(x, axis))


def take_class(x: ArrayOrTangent, ids: Array, axis: int) -> Array:
    """``x`` at the class ``ids`` along ``axis``, one for each example; any number for an id outside the classes."""
    if class_split(x, axis) is not None:
        return jnp.sum(jnp.where(is_label(ids, x, axis), x, jnp.zeros((), x.dtype)), axis)
    return _gather(x, ids, axis % x.ndim)


def _gather(x: ArrayOrTangent, ids: Array, axis: int) -> Array:
    """``x`` at ``ids`` along ``axis``.

    `jnp` would count negative ids from the end, and the mode "clip" would move ids into the range. Either would hide
    invalid ids from `checkify.index_checks`. With "promise_in_bounds" XLA still reads inside the array.
    """
    others = tuple(d for d in range(x.ndim) if d != axis)
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        operand_batching_dims=others,
        start_indices_batching_dims=tuple(range(len(others))),
    )
    taken: Array = lax.gather(x, ids[..., None], dimensions, (1,) * x.ndim, mode="promise_in_bounds")
    return taken


def take_per_class(per_class: Array, ids: Array, class_axis_name: AxisName | None = None, split: Any = None) -> Array:
    """``per_class[ids]`` for a vector ``[classes]``; each shard of ``class_axis_name`` has its own part of it.

    Few classes are compared with the ids. So are the classes of an explicit mesh, because a gather cannot cross shards;
    they are ``split`` like the logits. An id outside the classes takes any number of the vector, or 0.
    """
    classes = per_class.shape[0]
    clipped = jnp.clip(ids, 0, classes - 1)
    wanted = ids if class_axis_name is not None else clipped
    if is_explicit() or is_compared(classes):
        taken = jnp.sum(jnp.where(one_hot(wanted, classes, -1, split), per_class, 0), -1)
    else:
        taken = jnp.where(clipped == wanted, _gather(per_class, clipped, 0), 0)
    return psum_classes(taken, class_axis_name)


def sum_per_class(values: Array, ids: Array, classes: Size) -> Array:
    """The sum of the values of each class, ``[classes]``; ids from ``classes`` on are left out."""
    if is_explicit():  # an explicit mesh permits no scatter across the shards of the ids
        at_class = one_hot(ids, classes, -1)
        return jnp.sum(jnp.where(at_class, values[..., None], jnp.zeros((), values.dtype)), range(ids.ndim))
    if not is_static((*ids.shape, classes)) or ids.size < PARTS * classes:
        return jnp.zeros(classes, values.dtype).at[ids].add(values, mode="drop")
    part = jnp.zeros(ids.shape, np.int32)
    for axis in range(ids.ndim):
        part = (part + lax.broadcasted_iota(np.int32, ids.shape, axis)) % PARTS
    return jnp.sum(jnp.zeros((PARTS, classes), values.dtype).at[part, ids].add(values, mode="drop"), 0)


def is_compared(classes: Size) -> bool:
    """Whether classes are so few that comparing ids costs less than a gather."""
    return isinstance(classes, int) and classes <= MAX_COMPARED_CLASSES


def with_index_check(ids: Array, classes: Size) -> Array:
    """The same ids, after a dummy gather, so that `checkify.index_checks` sees them; XLA removes it."""
    return ids if is_explicit() else ids + 0 * _gather(jnp.zeros((classes,), ids.dtype), ids, 0)


def total_classes(classes: Size, class_axis_name: AxisName | None) -> Size:
    """The classes of all shards, from those of one."""
    return classes if class_axis_name is None else classes * lax.axis_size(class_axis_name)


def local_ids(ids: Array, classes: Size, class_axis_name: AxisName | None) -> Array:
    """Ids counted from the first class of this shard; ids of other shards lie outside ``[0, classes)``."""
    return ids if class_axis_name is None else ids - classes * lax.axis_index(class_axis_name)


def is_local_class(ids: Array, x: Array, axis: int) -> Array:
    """Whether ``x`` holds the label's class; otherwise another shard does."""
    return (ids >= 0) & (ids < x.shape[axis])


def psum_classes(value: Array, class_axis_name: AxisName | None) -> Array:
    """The sum of ``value`` over the shards of the class axis, if there are any."""
    return value if class_axis_name is None else lax.psum(value, class_axis_name)


def max_over_classes(x: Array, axis: int, class_axis_name: AxisName | None) -> Array:
    """The maximum over all classes, also those of other shards, without a gradient: any number serves a logsumexp."""
    top = lax.stop_gradient(jnp.max(x, axis))
    return top if class_axis_name is None else lax.pmax(top, class_axis_name)


def is_static(shape: Shape) -> bool:
    """Whether all sizes are integers, and none a symbol of `jax.export`."""
    return all(isinstance(n, int) for n in shape)
