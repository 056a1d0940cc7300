"""The class axis: what lies along it, one class of each example, and its shards."""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

from jaxce._numerics import fill_masked
from jaxce._sharding import class_split, is_explicit
from jaxce._types import ArrayOrTangent, AxisName, Shape, Size

MAX_COMPARED_CLASSES = 4096
"""Up to this many classes a label is found by comparing ids. A gather costs a TPU v5e as much as 4,500 classes do."""


def broadcast_per_class(per_class: Array, ndim: int, axis: int) -> Array:
    """``[classes]`` as an array of rank ``ndim`` that lies along ``axis``; a scalar stays one."""
    return per_class if per_class.ndim == 0 else jnp.expand_dims(per_class, [d for d in range(ndim) if d != axis])


def expand_class_axis(per_example: Array, axis: int) -> Array:
    """One number per example with a class axis of size 1 at ``axis``; a scalar stays one."""
    return per_example if per_example.ndim == 0 else jnp.expand_dims(per_example, axis)


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


def mask_rows(x: ArrayOrTangent, mask: Array | None, axis: int) -> Array:
    """``x`` with 0 in masked rows."""
    rows: Array = fill_masked(x, broadcast_mask(mask, x, axis))
    return rows


def one_hot(ids: Array, classes: Size, axis: int, split: Any = None) -> Array:
    """Where each class is the example's own: bool, the class axis at ``axis`` and split by these explicit mesh axes."""
    shape: list[Size] = [1] * (ids.ndim + 1)
    shape[axis] = classes
    spec = (
        None
        if split is None
        else PartitionSpec(*(split if d == axis % len(shape) else None for d in range(len(shape))))
    )
    return lax.broadcasted_iota(ids.dtype, shape, axis % len(shape), out_sharding=spec) == jnp.expand_dims(ids, axis)


def is_label(ids: Array, x: ArrayOrTangent, axis: int) -> Array:
    """Where each class of ``x`` is the example's own: bool, split along the classes as ``x`` is."""
    return one_hot(ids, x.shape[axis], axis, class_split(x, axis))


def take_class(x: ArrayOrTangent, ids: Array, axis: int) -> Array:
    """``x`` at the class ``ids`` along ``axis``, one for each example.

    An id outside the classes picks the nearest one, and is left for `checkify` to find.
    """
    if class_split(x, axis) is not None:
        return jnp.sum(jnp.where(is_label(ids, x, axis), x, jnp.zeros((), x.dtype)), axis)
    return _gather(x, ids, axis % x.ndim)


def _gather(x: ArrayOrTangent, ids: Array, axis: int) -> Array:
    """``x`` at ``ids`` along ``axis``; `jnp` would count negative ids from the end, out of sight of checks."""
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
    """``per_class[ids]`` for a vector ``[classes]``, of which each shard of ``class_axis_name`` holds its own part.

    An id outside the classes takes the nearest one, or 0 where ids are compared: where classes are few, and on an
    explicit mesh, where a gather must not cross shards and the classes are ``split`` as those of the logits are.
    """
    classes = per_class.shape[0]
    nearest = ids if class_axis_name is not None else jnp.clip(ids, 0, classes - 1)
    if is_explicit() or is_compared(classes):
        taken = jnp.sum(jnp.where(one_hot(nearest, classes, -1, split), per_class, 0), -1)
    else:
        here = jnp.clip(ids, 0, classes - 1)
        taken = jnp.where(here == nearest, _gather(per_class, here, 0), 0)
    return psum_classes(taken, class_axis_name)


def is_compared(classes: Size) -> bool:
    """Whether the classes are few enough for one of them to be found by comparing ids, and not by a gather."""
    return isinstance(classes, int) and classes <= MAX_COMPARED_CLASSES


def with_index_check(ids: Array, classes: Size) -> Array:
    """The same ids, by way of a vector that they index: `checkify` sees one out of bounds, and XLA folds the rest."""
    return ids if is_explicit() else ids + 0 * _gather(jnp.zeros((classes,), ids.dtype), ids, 0)


def local_ids(ids: Array, classes: Size, class_axis_name: AxisName | None) -> Array:
    """Ids counted from the first class of this shard; those of other shards lie outside its ``classes``."""
    return ids if class_axis_name is None else ids - classes * lax.axis_index(class_axis_name)


def is_local_class(ids: Array, x: ArrayOrTangent, axis: int) -> Array:
    """Whether the class of each example is among those of ``x``, and not in another shard."""
    here: Array = (ids >= 0) & (ids < x.shape[axis])
    return here


def psum_classes(value: Array, class_axis_name: AxisName | None) -> Array:
    """The sum of ``value`` over the shards of the class axis, where it has any."""
    return value if class_axis_name is None else lax.psum(value, class_axis_name)


def is_static(shape: Shape) -> bool:
    """Whether all sizes are numbers, and none a symbol of `jax.export`."""
    return all(isinstance(n, int) for n in shape)
