"""Which machine a program is for. It is traced once and lowered for any platform, so the choice waits for that."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import lax
from jax.sharding import AxisType

T = TypeVar("T")


def on_one_cpu(cpu: Callable[..., T], others: Callable[..., T], *arguments: Any) -> T:
    """``cpu(*arguments)`` where the program is lowered for one CPU device, and ``others(*arguments)`` anywhere else."""
    if not has_one_device():
        return others(*arguments)
    chosen: T = lax.platform_dependent(*arguments, cpu=cpu, default=others)
    return chosen


def has_one_device() -> bool:
    """Whether there is one device, outside of any `shard_map` or explicit mesh: a partitioner must see sums whole."""
    automatic = all(kind == AxisType.Auto for kind in jax.sharding.get_abstract_mesh().axis_types)
    return automatic and jax.device_count() == 1


def no_sharing(*values: Any) -> Any:
    """Stops XLA:CPU from materializing a broadcast of these that two fusions share. The identity elsewhere."""
    return on_one_cpu(lambda *a: lax.optimization_barrier(a), lambda *a: a, *values)


def platform() -> str:
    """The platform that shapes are chosen for while tracing: the surrounding mesh's, or else the default backend's."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return str(getattr(device, "platform", None) or jax.default_backend())  # JAX 0.9 has devices without a platform
