"""The meshes that surround a call, which decide how arrays may be combined."""

from collections.abc import Iterable
from typing import Any

import jax
from jax import Array, lax
from jax.sharding import AxisType, PartitionSpec


def is_explicit() -> bool:
    """Whether shardings are part of the types here, also where `vmap` keeps them out of sight."""
    return AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types


def class_split(x: Any, axis: int) -> Any:
    """The axes of an explicit mesh that split ``x`` along its class axis, as an entry of its spec; None without any."""
    return jax.typeof(x).sharding.spec[axis]


def varying_axes(tree: Any) -> frozenset[str]:
    """The axes of the surrounding `shard_map` along which any of the arrays is known to vary."""
    return frozenset().union(*(_varying(leaf) for leaf in jax.tree.leaves(tree)))


def pvary_tree(tree: Any, axes: frozenset[str]) -> Any:
    """The same arrays, as every device's own along the axes: what they have in common is summed where that is asked."""
    return jax.tree.map(lambda x: _pvary(x, tuple(sorted(axes - _varying(x)))), tree)


def _varying(x: Any) -> frozenset[str]:
    """The attribute moved after JAX 0.8."""
    kind = jax.typeof(x)
    axes: frozenset[str] = kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying
    return axes


def _pvary(x: Any, axes: tuple[str, ...]) -> Any:
    """The function was renamed after JAX 0.8."""
    if not axes:
        return x
    return lax.pcast(x, axes, to="varying") if hasattr(lax, "pcast") else vars(lax)["pvary"](x, axes)


def replicate_axes(x: Array, axes: Iterable[int]) -> Array:
    """``x`` with these axes whole on each device, where an explicit mesh splits them."""
    spec, axes = jax.typeof(x).sharding.spec, set(axes)
    whole = PartitionSpec(*(None if d in axes else part for d, part in enumerate(spec)))
    moved: Array = x if whole == spec else jax.sharding.reshard(x, whole)
    return moved
