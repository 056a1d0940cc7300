"""PyTorch's reductions: the mean of nothing is NaN, and the result has the dtype of the inputs."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxce._numerics import fill_masked
from jaxce.torch._labels import OpenedClasses, TorchIds


def close(values: Array, reduction: str, dtype: np.dtype[Any], weights: Array | None = None) -> Array:
    """Ends a loss; the mean divides by the sum of the weights, or by the number of values."""
    if reduction == "sum":
        values = jnp.sum(values)
    if reduction == "mean":
        values = jnp.mean(values) if weights is None else jnp.sum(values) / jnp.sum(weights)
    return values.astype(dtype)


def close_classes(x: OpenedClasses, values: Array, weights: Array, reduction: str) -> Array:
    """Ends a loss over classes: ids divide the mean by the weights of those that count, probabilities by all."""
    if not isinstance(x.labels, TorchIds):
        return close(values, reduction, x.dtype)
    weights, present = jnp.broadcast_to(weights, values.shape), x.labels.present
    return close(fill_masked(values, present), reduction, x.dtype, fill_masked(weights, present))
