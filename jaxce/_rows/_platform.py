"""The machine of a program. A program is traced once and lowered for any platform, so lowering chooses by platform."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import lax
from jax.sharding import AxisType

T = TypeVar("T")


def by_platform(
    *arguments: Any, one_cpu: Callable[..., T], default: Callable[..., T], gpu: Callable[..., T] | None = None
) -> T:
    """``one_cpu`` in a program for one CPU device, ``gpu`` for GPUs if given, else ``default``, of the arguments."""
    ways = {"cpu": one_cpu} if has_one_device() else {}
    if gpu is not None:
        ways |= {"cuda": gpu, "rocm": gpu}
    if not ways:
        return default(*arguments)
    chosen: T = lax.platform_dependent(*arguments, **ways, default=default)
    return chosen


def except_on_cpus(f: Callable[..., T], *arguments: Any, on_cpus: Callable[..., T]) -> T:
    """``f`` of the arguments, but ``on_cpus`` in a program for CPUs."""
    chosen: T = lax.platform_dependent(*arguments, cpu=on_cpus, default=f)
    return chosen


def has_one_device() -> bool:
    """Whether there is one device, outside of any `shard_map` or explicit mesh, so that no partitioner splits a sum."""
    automatic = all(kind == AxisType.Auto for kind in jax.sharding.get_abstract_mesh().axis_types)
    return automatic and jax.device_count() == 1


def no_sharing(*values: Any) -> Any:
    """A barrier for one CPU device, the identity elsewhere.

    XLA:CPU then neither materializes a broadcast of these that two fusions share, nor adds terms in another order.
    """
    return by_platform(*values, one_cpu=lambda *a: lax.optimization_barrier(a), default=lambda *a: a)


def platform() -> str:
    """The platform that shapes are chosen for while tracing: the surrounding mesh's, or else the default backend's."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return str(getattr(device, "platform", None) or jax.default_backend())  # JAX 0.9 has devices without a platform


def multiplies_bfloat16() -> bool:
    """False if this machine has GPUs other than NVIDIA's since 8.0: XLA may lack its bfloat16 algorithm for them."""
    major = str(getattr(jax.devices()[0], "compute_capability", "")).partition(".")[0]
    return jax.default_backend() != "gpu" or (major.isdigit() and int(major) >= 8)
