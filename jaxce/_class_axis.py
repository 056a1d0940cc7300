"""The class axis: what lies along it, one class of each example, and its shards."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

from jaxce._numerics import compute_dtype, fill_masked
from jaxce._sharding import class_split, is_explicit
from jaxce._types import ArrayOrTangent, AxisName, Shape, Size, Target

FEW_CLASSES = 4096
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


def mask_probs(q: Target, mask: Array | None, axis: int) -> Target:
    """The target with probabilities of 0 in masked rows."""
    return q if q.probs is None else dataclasses.replace(q, probs=mask_rows(q.probs, mask, axis))


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


def own_class(ids: Array, x: ArrayOrTangent, axis: int) -> Array:
    """Where each class of ``x`` is the example's own: bool, split along the classes as ``x`` is."""
    return one_hot(ids, x.shape[axis], axis, class_split(x, axis))


def take_class(x: ArrayOrTangent, ids: Array, axis: int) -> Array:
    """``x`` at the class ``ids`` along ``axis``, one for each example.

    An id outside the classes picks the nearest one, and is left for `checkify` to find.
    """
    if class_split(x, axis) is not None:
        return jnp.sum(jnp.where(own_class(ids, x, axis), x, jnp.zeros((), x.dtype)), axis)
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
    return isinstance(classes, int) and classes <= FEW_CLASSES


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


def local_label_weight(q: Target, x: ArrayOrTangent, axis: int) -> Array:
    """The weight of the label where ``x`` holds its class, and 0 where another shard does; NaN for an invalid id."""
    # Not a product with 0 or 1, of which XLA makes a choice that loses NaN.
    return jnp.where(is_local_class(q.ids, x, axis), q.label_weight, 0 * q.label_weight)


def dense_target(q: Target, x: ArrayOrTangent, axis: int) -> Array:
    """The dense part of ``q_c``, ``scale_c probs_c + offset_c``, to be broadcast with ``x``."""
    offset: Array | None = None if q.offset is None else broadcast_per_class(q.offset, x.ndim, axis)
    if q.probs is None:
        return jnp.zeros((), compute_dtype(x)) if offset is None else offset
    scaled: Array = broadcast_per_class(q.scale, x.ndim, axis) * q.probs.astype(q.scale.dtype)
    return scaled if offset is None else scaled + offset


def dense_mass(q: Target, x: ArrayOrTangent, axis: int) -> Array:
    """The sum of the dense part over the classes."""
    offset = jnp.zeros((), q.dtype)
    if q.offset is not None:
        offset = jnp.sum(jnp.broadcast_to(q.offset, x.shape[axis : axis + 1]))
    if q.probs is None:
        return offset
    return jnp.sum(dense_target(dataclasses.replace(q, offset=None), x, axis), axis) + offset


def whole_target(q: Target, x: ArrayOrTangent, axis: int) -> Array:
    """``q_c`` of every class, to be broadcast with ``x``; a row of NaN for an invalid id."""
    dense = dense_target(q, x, axis)
    if q.ids is None:
        return dense
    label_weight = expand_class_axis(q.label_weight, axis)
    return dense + jnp.where(own_class(q.ids, x, axis), label_weight, 0 * label_weight)


def psum_classes(value: Array, class_axis_name: AxisName | None) -> Array:
    """The sum of ``value`` over the shards of the class axis, where it has any."""
    return value if class_axis_name is None else lax.psum(value, class_axis_name)


def is_static(shape: Shape) -> bool:
    """Whether all sizes are numbers, and none a symbol of `jax.export`."""
    return all(isinstance(n, int) for n in shape)
