"""How a GPU sums over the last axis: by a chain that XLA:GPU fuses, so that each kernel reads the logits once.

XLA:GPU (JAX 0.12) holds rows on chip in a chain of maximum, subtract, sum, subtract, sum: each result is broadcast
back and subtracted. It accepts few spellings; any other costs up to 5 reads of the logits instead of 1.
`benchmarks/compilers.py --chips h100` counts the reads, and tells when a rule here can go.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import expand_class_axis, is_static, mask_rows
from jaxce._coefficients import Target
from jaxce._numerics import compute_dtype
from jaxce._rows._record import RowCrossEntropy
from jaxce._sharding import class_split

ROUNDING = 2.0**-20
"""More than an exponential of 0 may differ from 1."""

MAX_CLASSES_ON_CHIP = 2**14
"""XLA:GPU holds rows of at most this many classes on chip."""


def fits_rows_on_chip(x: Array, axis: int) -> bool:
    """Whether XLA:GPU fuses the chain: the classes are few, the last axis, and not split by an explicit mesh."""
    is_last = x.ndim > 1 and axis == x.ndim - 1
    return (
        is_last and is_static(x.shape[axis:]) and x.shape[axis] <= MAX_CLASSES_ON_CHIP and class_split(x, axis) is None
    )


def row_cross_entropy(x: Array, q: Target, mask: Array | None, axis: int) -> RowCrossEntropy:
    """``H = sum_c q_c ((m - x_c) + log1p(r))`` and its sums over the classes of each row.

    ``m`` and ``r`` are computed twice, for ``H`` from ``-x``. XLA:GPU materializes arrays that the kernels of loss
    and gradient share, and reads the logits once more: 4 passes for value and gradient of [4096, 1000], not 3.
    """
    x, q = mask_rows(x, mask, axis).astype(compute_dtype(x)), q.masked(mask, axis)
    lowest, highest = jnp.finfo(x.dtype).min, jnp.finfo(x.dtype).max
    m = jnp.max(jnp.minimum(lax.stop_gradient(x), highest), axis, initial=lowest)
    r = _sum_less_one(jnp.exp(x - expand_class_axis(m, axis)), axis)

    negative_m = jnp.min(jnp.maximum(lax.stop_gradient(-x), lowest), axis, initial=highest)
    gap = -x - expand_class_axis(negative_m, axis)
    log_s = jnp.log1p(_sum_less_one(jnp.exp(-gap), axis))
    coefficients = q.all_classes(x, axis)
    terms = coefficients * (gap + expand_class_axis(log_s, axis))
    h = jnp.sum(jnp.where(coefficients == 0, 0, terms), axis)
    # H is NaN also if all coefficients are 0. Without this select XLA:GPU would make one sum over classes and examples
    # and materialize the terms: 4 passes for 2 with probabilities.
    h = jnp.where(jnp.isnan(negative_m), negative_m, h)

    q_sum = jnp.zeros_like(m)
    if q.is_dense:
        q_sum += q.dense_sum(x, axis)
    if q.ids is not None:
        q_sum += q.local_label_weight(x, axis)
    return RowCrossEntropy(h, m, r, q_sum)


def _sum_less_one(e: Array, axis: int) -> Array:
    """``sum_c e_c - 1`` for ``e_c <= 1``, with small digits: each of the k maxima is summed as ``e_c - 1/k``.

    A maximum is 1 up to the rounding of the exponential. A row of ``-inf`` has none, and the result is -1.
    """
    k = jnp.sum(jnp.floor(e + ROUNDING), axis)
    less = e - expand_class_axis(1 / k, axis)  # -inf where k is 0
    return jnp.maximum(jnp.sum(jnp.where((e < 1 - ROUNDING) & (less >= -1), e, less), axis), -1)
