"""How many tokens of a linear layer are computed at a time, and how their kernel gradients are added up."""

from typing import Any

from jax import Array, lax

from jaxce._numerics import compute_dtype
from jaxce._rows._platform import platform
from jaxce._types import Size

CLASSES_AT_A_TIME = 4096
"""On a CPU the gradient of the kernel is added up this many classes at a time: the summands stay in the cache."""


def default_chunk_size(tokens: Size, classes: int) -> int:
    """Tokens in a chunk: float32 logits of 64 MiB and at most a quarter of all on a CPU, of 1 GiB elsewhere.

    Every chunk adds to the kernel gradient; chunks are so large that this is not most of the traffic.
    """
    on_cpu = platform() == "cpu"
    budget, least, most = (2**26, 256, 8192) if on_cpu else (2**30, 1024, 8192)
    size = min(max(budget // (4 * classes), least), most)
    return max(least, min(size, -(-tokens // 4))) if on_cpu and isinstance(tokens, int) else size


def add_kernel_gradient(total: Array, d_raw: Array, hidden: Array, class_dim: int) -> Array:
    """``total`` and the kernel gradient over these tokens, ``hidden^T d_raw`` with the classes along ``class_dim``."""

    def add(total: Array, d_raw: Array, hidden: Array, start: Any = 0) -> Array:
        operands = (hidden, d_raw) if class_dim == 1 else (d_raw, hidden)
        summand = lax.dot_general(*operands, (((0,), (0,)), ((), ())), preferred_element_type=compute_dtype(d_raw))
        old = lax.dynamic_slice_in_dim(total, start, d_raw.shape[1], class_dim)
        return lax.dynamic_update_slice_in_dim(total, old + summand, start, class_dim)

    def add_by_columns(total: Array, d_raw: Array, hidden: Array) -> Array:
        def step(i: Any, total: Array) -> Array:
            part = lax.dynamic_slice_in_dim(d_raw, i * CLASSES_AT_A_TIME, CLASSES_AT_A_TIME, 1)
            return add(total, part, hidden, i * CLASSES_AT_A_TIME)

        done = d_raw.shape[1] // CLASSES_AT_A_TIME
        total = lax.fori_loop(0, done, step, total)
        return add(total, d_raw[:, done * CLASSES_AT_A_TIME :], hidden, done * CLASSES_AT_A_TIME)

    if d_raw.shape[1] < 2 * CLASSES_AT_A_TIME:
        return add(total, d_raw, hidden)
    summed: Array = lax.platform_dependent(total, d_raw, hidden, cpu=add_by_columns, default=add)
    return summed
