"""How many tokens of a linear layer are computed at a time, their reference, and how kernel gradients are added up."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._numerics import compute_dtype
from jaxce._rows._platform import except_on_cpus, multiplies_bfloat16, platform
from jaxce._sharding import pvary_tree, varying_axes
from jaxce._types import Size

CLASSES_AT_A_TIME = 4096
"""On a CPU the gradient of the kernel is added up this many classes at a time: the summands stay in the cache."""

SCAN_KEEPS_RULES = jax.__version_info__ >= (0, 12)
"""Up to 0.10, JAX takes second derivatives of a scan from the body of a function within it, not from its rule.

The body then needs every perturbed array. A wide copy of the kernel costs an H100 a conversion in each chunk and 2 GiB.
"""

MAX_CLASSES_WITHOUT_REFERENCE = 2**14
"""Rows of at most this many classes have no reference: a GPU sums them on chip, and its product would cost a 16th."""

LANES = 128
"""XLA:TPU lays out arrays in tiles of so many columns."""

REFERENCE_CLASSES = 1024
"""The maximum over so many classes is the reference of a row."""

ALGORITHMS = {
    "bfloat16": lax.DotAlgorithmPreset.BF16_BF16_F32,
    "float16": lax.DotAlgorithmPreset.F16_F16_F32,
}
"""Products of 16-bit factors with a float32 sum."""


def default_chunk_size(tokens: Size, classes: int) -> int:
    """Tokens in a chunk: float32 logits of 64 MiB and at most a quarter of all on a CPU, of 1 GiB elsewhere.

    On accelerators a chunk of C tokens adds to the kernel gradient with about C / 4 operations per byte. A v5e computes
    240 operations in the time of a byte, an H100 300, a v6e 560. So C is at least 2048, and 4096 where 2 GiB suffice
    and 4 chunks remain.
    """
    whole = tokens if isinstance(tokens, int) else None
    if platform() == "cpu":
        size = min(max(2**26 // (4 * classes), 256), 8192)
        return size if whole is None else max(256, min(size, -(-whole // 4)))
    fits_4096 = 4 * classes * 4096 <= 2**31 and whole is not None and whole >= 4 * 4096
    return min(max(2**30 // (4 * classes), 4096 if fits_4096 else 2048), 8192)


def reference_classes(classes: Size, *, is_capped: bool, takes_maximum: bool) -> int:
    """How many classes give the reference of a row, by a product of their own; 0 without a reference.

    XLA (JAX 0.12) makes it a loss in two cases. XLA:TPU copies logits into the loop of `_one_pass` if the number of
    classes is no multiple of 128: `tests/on_tpu.py` has such a layer. XLA:GPU materializes capped logits, and reads the
    logits once more if something else takes their maximum: `benchmarks/compilers.py --chips h100`, run without the
    rule, shows it for log-probabilities.
    """
    if not isinstance(classes, int) or classes <= MAX_CLASSES_WITHOUT_REFERENCE:
        return 0
    target = platform()  # a program traced on a CPU may be lowered for either
    suits_tpus = target == "gpu" or classes % LANES == 0
    suits_gpus = target == "tpu" or not (is_capped or takes_maximum)
    # Without SCAN_KEEPS_RULES, JAX would differentiate the loop.
    return REFERENCE_CLASSES if suits_tpus and suits_gpus and SCAN_KEEPS_RULES else 0


def reference_of_rows(of_first_classes: Callable[..., Array], *arguments: Any) -> Array:
    """The maximum over the logits ``[tokens, classes]`` of the first classes; CPUs need none, and compute none."""

    def reference(*arguments: Any) -> Array:
        return jnp.max(of_first_classes(*arguments), 1)

    def none(*arguments: Any) -> Array:
        of_rows = jax.eval_shape(reference, *arguments)
        zeros: Array = pvary_tree(jnp.zeros(of_rows.shape, of_rows.dtype), varying_axes(arguments))
        return zeros

    return except_on_cpus(reference, *arguments, on_cpus=none)


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


def product_with_wide_tangent(hidden: Array, t_kernel: Array, feature_dim: int) -> Array:
    """``hidden t_kernel`` in the dtype of 16-bit hidden states; the features lie along ``feature_dim`` of the kernel.

    The transpose is the kernel gradient ``hidden^T d_raw``, float32 like the tangent. Its factors have 16 bits: an
    algorithm tells accelerators so, because JAX transposes a product of mixed dtypes into one with a float32 factor.
    `test_products_of_16_bits_have_no_factor_in_float32` tells if JAX does more. A CPU, GPUs without bfloat16, and TPUs
    for float16 round this gradient to 16 bits: they have no such algorithm.
    """
    dimensions = (((1,), (feature_dim,)), ((), ()))
    narrow = hidden.dtype

    def default(hidden: Array, t_kernel: Array) -> Array:
        algorithm = ALGORITHMS[narrow.name]
        wide = lax.dot_general(hidden.astype(t_kernel.dtype), t_kernel, dimensions, precision=algorithm)
        return wide.astype(narrow)

    def rounded(hidden: Array, t_kernel: Array) -> Array:
        return lax.dot_general(hidden, t_kernel.astype(narrow), dimensions, preferred_element_type=narrow)

    if narrow.name not in ALGORITHMS or (narrow.name == "bfloat16" and not multiplies_bfloat16()):
        return rounded(hidden, t_kernel)
    tpu = default if narrow.name == "bfloat16" else rounded
    product: Array = lax.platform_dependent(hidden, t_kernel, cpu=rounded, tpu=tpu, default=default)
    return product
