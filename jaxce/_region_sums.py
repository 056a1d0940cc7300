"""Sums over the pixels of each region, and means over the classes."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._class_axis import expand_class_axis, mask_rows
from jaxce._numerics import compute_dtype, safe_divide
from jaxce._sharding import replicate_axes
from jaxce._targets import target_probs
from jaxce._types import RegionInputs, SoftmaxInputs


def region_logits(x: RegionInputs) -> tuple[Array, Array, Array]:
    """Logits, labels and weights of the pixels, each in the shape of the logits; the weights have one class."""
    pixels, axis = x.pixels, x.pixels.axis
    z = mask_rows(pixels.logits, pixels.mask, axis).astype(compute_dtype(pixels.logits))
    y = target_probs(pixels) if isinstance(pixels, SoftmaxInputs) else pixels.labels
    n = jnp.ones((), z.dtype) if pixels.sample_weights is None else expand_class_axis(pixels.sample_weights, axis)
    n = jnp.broadcast_to(n, [1 if d == axis else size for d, size in enumerate(z.shape)])
    return z, y, mask_rows(n, pixels.mask, axis)


def region_probs(x: RegionInputs) -> tuple[Array, Array, Array]:
    """Probabilities, labels and weights of the pixels, each in the shape of the logits; the weights have one class."""
    z, y, n = region_logits(x)
    if x.activation == "softmax":
        return jax.nn.softmax(z, x.pixels.axis), y, n
    return (jax.nn.sigmoid(z) if x.activation == "sigmoid" else z), y, n


def over_pixels(x: RegionInputs, reduce: Callable[..., Array], a: Array) -> Array:
    """``reduce`` over the pixels of each region: ``[regions, classes]``."""
    batch, axis = x.batch_axis, x.pixels.axis
    reduced = reduce(a, tuple(d for d in range(a.ndim) if d not in (batch, axis)))
    if batch is None:
        return reduced[None]
    return reduced.T if axis < batch else reduced


def in_rows(x: RegionInputs, a: Array) -> Array:
    """``a`` as ``[regions, pixels, classes]``, with all pixels of a region on one device."""
    batch, axis = x.batch_axis, x.pixels.axis
    a = jnp.moveaxis(a, axis, -1)
    a = a[None] if batch is None else jnp.moveaxis(a, batch - (batch > axis), 0)
    a = replicate_axes(a, range(1, a.ndim - 1))
    return a.reshape(a.shape[0], math.prod(a.shape[1:-1]), a.shape[-1])


def over_classes(x: RegionInputs, losses: Array, y: Array, n: Array) -> tuple[Array, Array]:
    """The mean over the classes of each region, and its weight: 1, or 0 without a class that counts."""
    counted = over_pixels(x, jnp.any, (n != 0) & (y != 0) if x.absent == "skip" else n != 0)
    w = jnp.ones((), losses.dtype) if x.pixels.class_weights is None else x.pixels.class_weights
    w = jnp.where(counted, w[None] if w.ndim else w, jnp.zeros((), losses.dtype))
    w = jnp.broadcast_to(w, losses.shape)
    values, weights = safe_divide(jnp.sum(w * losses, 1), jnp.sum(w, 1), 0), jnp.any(w != 0, 1).astype(losses.dtype)
    return (values[0], weights[0]) if x.batch_axis is None else (values, weights)
