"""The mesh around a call, and the mesh axes of arrays."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.sharding import AxisType, PartitionSpec


def is_explicit() -> bool:
    """Whether the mesh has explicit axes, so that types contain shardings; `vmap` may remove them from a type."""
    return AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types


def class_split(x: Any, axis: int) -> Any:
    """The explicit mesh axes that split ``x`` along its class axis, as an entry of its spec; None without any."""
    return jax.typeof(x).sharding.spec[axis]


def axis_index(x: Array, axis: int) -> Array:
    """The index along ``axis`` of each entry of ``x``, split as ``x`` is by the explicit axes of a mesh."""
    sharding = jax.typeof(x).sharding if is_explicit() else None
    return lax.broadcasted_iota(np.int32, x.shape, axis, out_sharding=sharding)


def varying_axes(tree: Any) -> frozenset[str]:
    """The mesh axes of the surrounding `shard_map` along which any of the arrays varies."""
    return frozenset().union(*(_varying(leaf) for leaf in jax.tree.leaves(tree)))


def varies(tree: Any, axis_name: str | tuple[str, ...]) -> bool:
    """Whether any of the arrays varies along these mesh axes."""
    return not varying_axes(tree).isdisjoint((axis_name,) if isinstance(axis_name, str) else axis_name)


def pvary_tree(tree: Any, axes: frozenset[str]) -> Any:
    """The same arrays, typed as varying along the axes, so that each device has its own gradient of them."""

    def pvary(x: Any) -> Any:
        missing = tuple(sorted(axes - _varying(x)))
        return lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(pvary, tree)


def _varying(x: Any) -> frozenset[str]:
    kind = jax.typeof(x)
    axes: frozenset[str] = kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying  # the former in JAX 0.9
    return axes


def replicate_axes(x: Array, axes: Iterable[int]) -> Array:
    """``x`` with these axes replicated: an explicit mesh no longer splits them."""
    spec, axes = jax.typeof(x).sharding.spec, set(axes)
    replicated = PartitionSpec(*(None if d in axes else part for d, part in enumerate(spec)))
    resharded: Array = x if replicated == spec else jax.sharding.reshard(x, replicated)
    return resharded


def all_gather_axes(x: Array, names: Iterable[tuple[str, ...]]) -> Array:
    """Inside a `shard_map`, the array from its parts along these mesh axes of each dimension.

    Its gradient is reduced and scattered. That of an array which a `shard_map` replicates is reduced on all devices.
    """
    for dim, axes in enumerate(names):
        x = lax.all_gather(x, axes, axis=dim, tiled=True) if axes else x
    return x
