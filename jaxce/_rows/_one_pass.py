"""How accelerators sum over the classes of wide rows with a known reference: in one pass, without their maximum.

The exponentials need an offset near the maximum, and float32 holds sums of ``exp(x_c - m)`` for differences up to 69.
The maximum over the first classes of a linear layer is such an offset, and known before the logits are. So XLA:TPU
fuses the sums into the product that makes the logits, and an H100 reads the logits once instead of twice.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import expand_class_axis, is_label, is_local_class, mask_rows, take_class
from jaxce._coefficients import Target
from jaxce._numerics import clip_to_finite, compute_dtype, fill_masked, safe_multiply
from jaxce._rows._record import RowSums

LARGEST_SUM = 1e30
"""Of the exponentials of a row, if its reference is to be used: sums over shards are finite too."""


def row_sums(x: Array, q: Target, mask: Array | None, reference: Array, axis: int) -> RowSums:
    """The sums over the classes of each row, for class ids ``y``, from a reference ``m_0`` near the maximum.

    ``s = sum_{c != y} exp(x_c - m_0)``, ``m = max(m_0 + log s, x_y)``, ``r = s exp(m_0 - m) + (exp(x_y - m) - 1)``.
    If a sum reaches `LARGEST_SUM`, or is NaN, a loop of one turn computes all rows again with their maximum. The loop
    materializes the logits. (A conditional would copy them to another layout, and compute both under `jax.vmap`.)
    On a GPU the host reads whether the loop runs: it waits once in each chunk, which has not been timed.
    """

    def sums(m: Array, x: Array = x) -> tuple[Array, Array]:
        gap = expand_class_axis(m, axis) - mask_rows(x, mask, axis).astype(m.dtype)
        # Not a constant 0: see `_sums.row_sums`.
        others = jnp.sum(jnp.where(is_label(q.ids, x, axis), expand_class_axis(m - m, axis), jnp.exp(-gap)), axis)
        if not q.is_dense:
            return others, jnp.zeros_like(others)
        dense = q.dense(x, axis)
        return others, jnp.sum(jnp.where(dense == 0, 0, dense * gap), axis)

    def with_maximum(state: tuple[Any, ...]) -> tuple[Any, ...]:
        # Without the barrier XLA would compute the body before the loop, because it depends on no state.
        is_done, same_x = lax.optimization_barrier((state[0], x))
        m = clip_to_finite(jnp.max(mask_rows(same_x, mask, axis), axis).astype(reference.dtype))
        return ~is_done, m, *sums(m, same_x)

    reference = clip_to_finite(fill_masked(reference, mask).astype(compute_dtype(x)))
    others, t = sums(reference)
    first_try = jnp.all((others < LARGEST_SUM) & (t > -jnp.inf)), reference, others, t
    _, reference, others, t = lax.while_loop(lambda state: ~state[0], with_maximum, first_try)

    # Small r keeps its digits, because m is near the maximum.
    label = fill_masked(take_class(x, q.ids, axis), mask).astype(reference.dtype)
    local_label = jnp.where(is_local_class(q.ids, x, axis), label, -jnp.inf)
    m = clip_to_finite(jnp.maximum(reference + jnp.log(others), local_label))
    shift = m - reference
    root = jnp.exp(-shift / 2)  # its square could underflow where the sum is large
    r = others * root * root + jnp.expm1(local_label - m)
    dense_sum, label_weight = jnp.zeros_like(m) + q.dense_sum(x, axis), q.local_label_weight(x, axis)
    t += safe_multiply(dense_sum, shift) + safe_multiply(label_weight, m - label)
    return RowSums(m, r, t, dense_sum + label_weight)
