"""Pixels with their labels, gathered into the regions of each class."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._arithmetic import ratio
from jaxce._classes import beside, kept_rows
from jaxce._inputs import compute_dtype, hide
from jaxce._labels import distribution
from jaxce._types import OpenedRegions, OpenedSoftmax


def scores(x: OpenedRegions) -> tuple[Array, Array, Array]:
    """Logits, labels and weights of the pixels, each ``[regions, pixels, classes]``; the weights have one class."""
    pixels, dtype = x.pixels, compute_dtype(x.pixels.logits)
    shown = kept_rows(pixels.kept, pixels.logits, pixels.axis)
    z = hide(pixels.logits, shown).astype(dtype)
    y = distribution(pixels) if isinstance(pixels, OpenedSoftmax) else pixels.labels
    n = jnp.ones((), dtype) if pixels.sample_weights is None else beside(pixels.sample_weights, pixels.axis)
    n = hide(jnp.broadcast_to(n, [1 if d == pixels.axis else size for d, size in enumerate(z.shape)]), shown)
    return _in_regions(x, z), _in_regions(x, y), _in_regions(x, n)


def found(x: OpenedRegions) -> tuple[Array, Array, Array]:
    """The same with probabilities for logits."""
    z, y, n = scores(x)
    if x.activation == "softmax":
        return jax.nn.softmax(z, -1), y, n
    return (jax.nn.sigmoid(z) if x.activation == "sigmoid" else z), y, n


def _in_regions(x: OpenedRegions, a: Array) -> Array:
    """``[regions, pixels, classes]``, with one region where there is no batch."""
    a = jnp.moveaxis(a, x.pixels.axis, -1)
    batch = x.batch_axis
    a = a[None] if batch is None else jnp.moveaxis(a, batch - (batch > x.pixels.axis), 0)
    return a.reshape(a.shape[0], math.prod(a.shape[1:-1]), a.shape[-1])


def over_classes(x: OpenedRegions, losses: Array, y: Array, n: Array) -> tuple[Array, Array]:
    """The mean over the classes that count in each region, and whether there is any."""
    present = jnp.any((n != 0) & (y != 0), 1) if x.absent == "skip" else jnp.any(n != 0, 1)
    w = jnp.ones((), losses.dtype) if x.pixels.class_weights is None else x.pixels.class_weights
    w = jnp.where(present, w[None] if w.ndim else w, jnp.zeros((), losses.dtype))
    w = jnp.broadcast_to(w, losses.shape)
    values, weights = ratio(jnp.sum(w * losses, 1), jnp.sum(w, 1), 0), jnp.any(w != 0, 1).astype(losses.dtype)
    return (values[0], weights[0]) if x.batch_axis is None else (values, weights)
