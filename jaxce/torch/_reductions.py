"""PyTorch's reductions: the mean over no example is NaN, and the result has the dtype of the inputs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxce._debug import is_debugging
from jaxce._numerics import fill_masked
from jaxce._value_checks import check_finite_rows
from jaxce.torch._labels import TorchIds, TorchInputs


def apply_reduction(values: Array, reduction: str, dtype: np.dtype[Any], weights: Array | None = None) -> Array:
    """Reduces the losses; the mean divides by the sum of the weights, or by the number of values."""
    if reduction == "sum":
        values = jnp.sum(values)
    if reduction == "mean":
        values = jnp.mean(values) if weights is None else jnp.sum(values) / jnp.sum(weights)
    return values.astype(dtype)


def run_loss(formula: Callable[[TorchInputs], tuple[Array, Array]], x: TorchInputs, reduction: str) -> Array:
    """Evaluates loss and weight of each example and reduces them, in one compiled program also outside of `jit`.

    With ids, the mean divides by the weights of the labels that are not ignored.
    """
    loss: Array = _run_loss(formula, x, reduction)
    return loss


@partial(jax.jit, static_argnums=(0, 2))
def _run_loss(formula: Callable[[TorchInputs], tuple[Array, Array]], x: TorchInputs, reduction: str) -> Array:
    values, weights = formula(x)
    if is_debugging():
        check_finite_rows("input", x.logits, None, x.axis, ~jnp.isfinite(values))
    if not isinstance(x.labels, TorchIds):
        return apply_reduction(values, reduction, x.dtype)
    weights, not_ignored = jnp.broadcast_to(weights, values.shape), x.labels.not_ignored
    return apply_reduction(fill_masked(values, not_ignored), reduction, x.dtype, fill_masked(weights, not_ignored))
