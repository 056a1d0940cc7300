"""What surrounds a call: explicit meshes, which decide how arrays may be combined, and the single CPU device."""

import jax
from jax.sharding import AxisType


def is_explicit() -> bool:
    """Whether shardings are part of the types here, also where `vmap` keeps them out of sight."""
    return AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types


def is_one_cpu() -> bool:
    """Whether all there is is one CPU device, seen from outside of any `shard_map` or explicit mesh."""
    automatic = all(kind == AxisType.Auto for kind in jax.sharding.get_abstract_mesh().axis_types)
    return automatic and jax.default_backend() == "cpu" and jax.device_count() == 1
