"""Pixels with their labels, gathered into the regions of each class."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._arithmetic import ratio
from jaxce._classes import beside, kept_rows
from jaxce._inputs import compute_dtype, hide
from jaxce._labels import distribution
from jaxce._mesh import gathered
from jaxce._types import OpenedRegions, OpenedSoftmax


def scores(x: OpenedRegions) -> tuple[Array, Array, Array]:
    """Logits, labels and weights of the pixels, each in the shape of the logits; the weights have one class."""
    pixels, dtype = x.pixels, compute_dtype(x.pixels.logits)
    shown = kept_rows(pixels.kept, pixels.logits, pixels.axis)
    z = hide(pixels.logits, shown).astype(dtype)
    y = distribution(pixels) if isinstance(pixels, OpenedSoftmax) else pixels.labels
    n = jnp.ones((), dtype) if pixels.sample_weights is None else beside(pixels.sample_weights, pixels.axis)
    n = jnp.broadcast_to(n, [1 if d == pixels.axis else size for d, size in enumerate(z.shape)])
    return z, y, hide(n, shown)


def found(x: OpenedRegions) -> tuple[Array, Array, Array]:
    """The same with probabilities for logits."""
    z, y, n = scores(x)
    if x.activation == "softmax":
        return jax.nn.softmax(z, x.pixels.axis), y, n
    return (jax.nn.sigmoid(z) if x.activation == "sigmoid" else z), y, n


def over_pixels(x: OpenedRegions, reduce: Callable[..., Array], a: Array) -> Array:
    """``reduce`` over the pixels of each region: ``[regions, classes]``."""
    batch, axis = x.batch_axis, x.pixels.axis
    reduced = reduce(a, tuple(d for d in range(a.ndim) if d not in (batch, axis)))
    if batch is None:
        return reduced[None]
    return reduced.T if axis < batch else reduced


def in_rows(x: OpenedRegions, a: Array) -> Array:
    """``[regions, pixels, classes]``, the pixels of a region on one device."""
    batch, axis = x.batch_axis, x.pixels.axis
    a = jnp.moveaxis(a, axis, -1)
    a = a[None] if batch is None else jnp.moveaxis(a, batch - (batch > axis), 0)
    a = gathered(a, range(1, a.ndim - 1))
    return a.reshape(a.shape[0], math.prod(a.shape[1:-1]), a.shape[-1])


def over_classes(x: OpenedRegions, losses: Array, y: Array, n: Array) -> tuple[Array, Array]:
    """The mean over the classes that count in each region, and whether there is any."""
    counted = over_pixels(x, jnp.any, (n != 0) & (y != 0) if x.absent == "skip" else n != 0)
    w = jnp.ones((), losses.dtype) if x.pixels.class_weights is None else x.pixels.class_weights
    w = jnp.where(counted, w[None] if w.ndim else w, jnp.zeros((), losses.dtype))
    w = jnp.broadcast_to(w, losses.shape)
    values, weights = ratio(jnp.sum(w * losses, 1), jnp.sum(w, 1), 0), jnp.any(w != 0, 1).astype(losses.dtype)
    return (values[0], weights[0]) if x.batch_axis is None else (values, weights)
