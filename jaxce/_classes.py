"""The class axis: reducing along it without a second array of its size, picking from it, and its shards."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._types import AxisName, Target

SMALLEST = 2**21
"""Arrays of fewer elements are reduced whole: there a loop costs more than it saves."""

SLAB = 2**17
"""Elements in a slab, at most: in float32 it fits the second-level cache of a core."""

SHARE = 64
"""A slab is at most this part of the array, so that the few arrays of its size stay small beside it."""


def by_rows(reduce: Callable[..., tuple[Array, ...]], x: Array, *others: Array | None, axis: int) -> tuple[Array, ...]:
    """``reduce(x, *others)``, whose results lack ``axis``, computed in slabs of whole rows where that helps.

    The others have the shape of ``x``, or size 1 along ``axis``, or are None. On a CPU, XLA writes out the
    float32 copy of 16-bit rows and whatever is shared by two reductions, and leaves its fast path on rows of more than
    32,768 classes; slab by slab such copies stay in the cache. Accelerators fuse the reduction as it stands.
    """
    if not _slabs_help(x):
        return reduce(x, *others)
    cut = max((d for d in range(x.ndim) if d != axis), key=lambda d: x.shape[d])
    length = x.shape[cut]
    rows = max(1, min(SLAB, x.size // SHARE) * length // x.size)

    def step(i: Array, results: tuple[Array, ...]) -> tuple[Array, ...]:
        # Tied to the loop index, the conversion to float32 cannot be hoisted out of the loop and made of the whole array.
        whole, start = lax.optimization_barrier(((x, *others), i * rows))
        # Both slices are clamped alike at the end: the last slab may compute some rows again.
        parts = reduce(*jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, rows, cut), whole))
        return tuple(
            lax.dynamic_update_slice_in_dim(result, part, start, cut - (cut > axis))
            for result, part in zip(results, parts, strict=True)
        )

    empty = tuple(jnp.zeros(r.shape, r.dtype) for r in jax.eval_shape(reduce, x, *others))
    return lax.fori_loop(0, -(-length // rows), step, empty)


def along_axis(per_class: Array | None, ndim: int, axis: int) -> Array | None:
    """``[classes]`` as an array of rank ``ndim`` that lies along ``axis``; scalars and None stay."""
    if per_class is None or per_class.ndim == 0:
        return per_class
    return jnp.expand_dims(per_class, [d for d in range(ndim) if d != axis])


def pick(x: Array, ids: Array, axis: int, class_axis_name: AxisName | None = None) -> Array:
    """``x`` at the class ``ids`` along ``axis``; a vector ``[classes]`` serves all examples. Ids on another shard are picked there."""
    classes = x.shape[axis]
    if _needs_masked_sum(x, ids, axis):
        axis = axis if x.ndim == ids.ndim + 1 else -1
        return jnp.sum(jnp.where(one_hot(ids, classes, axis), x, jnp.zeros((), x.dtype)), axis)
    here = ids if class_axis_name is None else jnp.clip(ids, 0, classes - 1)
    if x.ndim == 1 and ids.ndim != 0:
        picked = x.at[here].get(mode="promise_in_bounds")
    else:
        picked = jnp.take_along_axis(x, jnp.expand_dims(here, axis), axis, mode="promise_in_bounds").squeeze(axis)
    if class_axis_name is None:
        return picked
    return over_shards(jnp.where(here == ids, picked, jnp.zeros((), x.dtype)), class_axis_name)


def one_hot(ids: Array, classes: int, axis: int) -> Array:
    """Where each class is the example's own: bool, with the class axis at ``axis``."""
    return along_axis(lax.iota(ids.dtype, classes), ids.ndim + 1, axis % (ids.ndim + 1)) == jnp.expand_dims(ids, axis)


def spread(target: Target, probs: Array | None, ndim: int) -> Array | None:
    """The part of ``q_c`` that lies on every class: ``scale_c probs_c + offset_c``; None when there is none."""
    offset = along_axis(target.offset, ndim, target.axis)
    if probs is None:
        return offset
    scaled = along_axis(target.scale, ndim, target.axis) * probs.astype(target.total.dtype)
    return scaled if offset is None else scaled + offset


def over_shards(value: Array, class_axis_name: AxisName | None) -> Array:
    """The sum of ``value`` over the shards of the class axis, where it has any."""
    return value if class_axis_name is None else lax.psum(value, class_axis_name)


def _slabs_help(x: Array) -> bool:
    """Whether ``x`` is large, on the one CPU device there is: over several, the partitioner must see the array whole."""
    if any(not isinstance(n, int) for n in x.shape) or x.ndim < 2 or x.size < SMALLEST:
        return False
    return jax.default_backend() == "cpu" and jax.device_count() == 1 and not jax.typeof(x).sharding.mesh.axis_names


def _needs_masked_sum(x: Array, ids: Array, axis: int) -> bool:
    """Whether an explicit mesh splits what a gather would have to cross: the classes, or the ids that share one vector."""
    return jax.typeof(x).sharding.spec[axis] is not None or (
        x.ndim != ids.ndim + 1 and any(part is not None for part in jax.typeof(ids).sharding.spec)
    )
