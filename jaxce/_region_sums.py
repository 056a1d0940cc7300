"""Sums over the pixels of each region, and averages over the classes."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._numerics import (
    clip_to_finite,
    compute_dtype,
    fill_masked,
    is_zero_tangent,
    jvp_of_perturbed,
    safe_divide,
    safe_multiply,
)
from jaxce._rows import no_sharing, sum_together
from jaxce._sharding import replicate_axes
from jaxce._targets import target_probs
from jaxce._types import ArrayOrTangent, RegionInputs, RegionRule, SigmoidInputs, SoftmaxInputs


class Counts(NamedTuple):
    """Soft counts of each region, ``[regions, classes]``, and its weight in pixels, ``[regions, classes]`` or 1."""

    tp: Array
    fp: Array
    fn: Array
    pixels: Array

    @property
    def volume(self) -> Array:
        """The labelled pixels."""
        return self.tp + self.fn


RegionFormula = Callable[[RegionRule, Array, Array, Array], Array]
"""The loss of each region, from the rule and the counts TP, FP and FN."""


class _PixelSums(NamedTuple):
    """What the sums over pixels need to know: the class axis, the summed axes, and two choices of the caller."""

    axis: int
    pixel_axes: tuple[int, ...]
    activation: str
    soft_counts: str


def region_logits(x: RegionInputs) -> tuple[Array, Array, Array]:
    """Logits, labels and weights of the pixels, each of the rank of the logits; equal weights have one class."""
    z, y, n, mask = _pixels(x)
    return _masked(z, mask), y, n


def _pixels(x: RegionInputs) -> tuple[Array, Array, Array, Array | None]:
    """Logits, labels, weights and mask of the pixels; the mask is None if no masked logit can be NaN."""
    pixels, axis = x.pixels, x.pixels.axis
    z, dtype = pixels.logits, compute_dtype(pixels.logits)
    y = target_probs(pixels) if isinstance(pixels, SoftmaxInputs) else pixels.labels
    mask, weights = (
        a if a is None or a.ndim == z.ndim else jnp.expand_dims(a, axis) for a in (pixels.mask, pixels.sample_weights)
    )
    n = jnp.ones((), dtype) if weights is None else weights
    classes = {a.shape[axis] for a in (mask, weights) if a is not None} or {1}
    n = jnp.broadcast_to(n, [max(classes) if d == axis else size for d, size in enumerate(z.shape)])
    return z, y, fill_masked(n, mask), None if isinstance(pixels, SigmoidInputs) else mask


def _masked(z: Array, mask: Array | None) -> Array:
    """Logits in the computing dtype, 0 where masked."""
    return fill_masked(z, mask).astype(compute_dtype(z))


def region_probs(z: Array, activation: str, axis: int) -> Array:
    """Probabilities of the pixels."""
    if activation == "softmax":
        return jax.nn.softmax(z, axis)
    return jax.nn.sigmoid(z) if activation == "sigmoid" else z


def region_counts(x: RegionInputs) -> Counts:
    """The soft counts of each region, over all devices of ``axis_name``."""
    z, y, n, mask = _pixels(x)
    how = _PixelSums(x.pixels.axis, _pixel_axes(x, z.ndim), x.activation, x.soft_counts)
    counts = Counts(*(in_regions(x, a) for a in (*_pixel_sums(z, y, n, mask, how), jnp.sum(n, how.pixel_axes))))
    return counts if x.axis_name is None else lax.psum(counts, x.axis_name)


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _pixel_sums(
    z: ArrayOrTangent, y: ArrayOrTangent, n: ArrayOrTangent, mask: ArrayOrTangent, how: _PixelSums
) -> tuple[Array, ...]:
    """TP, FP and FN, sums over the pixels of weight n."""
    p = region_probs(_masked(z, mask), how.activation, how.axis)
    return sum_together(*(n * a for a in _soft_counts(p, y, how.soft_counts)), axes=how.pixel_axes)


def _soft_counts(p: Array, y: Array, soft_counts: str) -> tuple[Array, Array, Array]:
    """TP, FP and FN of each pixel. For labels 0 and 1, "product" and "minimum" are equal."""
    if soft_counts == "product":
        return p * y, p * (1 - y), (1 - p) * y
    if soft_counts == "squared":
        return p * y, p * (p - y), y * (y - p)
    return jnp.minimum(p, y), jnp.maximum(p - y, 0), jnp.maximum(y - p, 0)


def _pixel_sums_jvp(how: _PixelSums, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """Along the logits by a rule that recomputes the probabilities; along labels and weights by JAX."""
    (z, y, n, mask), (dz, dy, dn, _) = primals, tangents
    counts = _pixel_sums(z, y, n, mask, how)
    along = jax.tree.map(jnp.zeros_like, counts)
    if not is_zero_tangent(dz):
        along = _jvp_logits(z, dz, y, n, mask, how)
    if not (is_zero_tangent(dy) and is_zero_tangent(dn)):
        p = region_probs(_masked(z, mask), how.activation, how.axis)

        def of_labels(y: Array, n: Array) -> tuple[Array, ...]:
            return tuple(jnp.sum(n * a, how.pixel_axes) for a in _soft_counts(p, y, how.soft_counts))

        along = jax.tree.map(jnp.add, along, jvp_of_perturbed(of_labels, (y, n), (dy, dn))[1])
    return counts, along


_pixel_sums.defjvp(_pixel_sums_jvp, symbolic_zeros=True)


@partial(jax.checkpoint, static_argnums=(5,), prevent_cse=False)
def _jvp_logits(
    z: Array, dz: Array, y: Array, n: Array, mask: Array | None, how: _PixelSums
) -> tuple[Array, Array, Array]:
    """``dTP = -dFN = sum n h dp`` and ``dTP + dFP = sum n k dp``.

    ::

        product:  h = y          k = 1          TP + FP = sum n p
        squared:  h = y          k = 2 p        TP + FP = sum n p**2
        minimum:  h = [p < y]    k = 1          TP + FP = sum n p

    TP + FN is the size of the labels, which does not depend on p.
    """
    z, n = no_sharing(z, n)  # otherwise XLA:CPU keeps the probabilities for the backward pass, and n for all classes
    z, dz = _masked(z, mask), _masked(dz, mask)
    p, dp = _probs_with_jvp(z, dz, how)
    dp = n * dp
    h, k = (p < y).astype(p.dtype) if how.soft_counts == "minimum" else y, 2 * p if how.soft_counts == "squared" else 1
    d_tp, d_positive = jnp.sum(h * dp, how.pixel_axes), jnp.sum(k * dp, how.pixel_axes)
    return d_tp, d_positive - d_tp, -d_tp


def _probs_with_jvp(z: Array, dz: Array, how: _PixelSums) -> tuple[Array, Array]:
    """Probabilities ``p`` and their tangent; of softmax, ``dp = p (dz - sum_c p_c dz_c)``.

    Softmax is ``exp(-((m - z) + log s))`` here and ``exp(z - m) / s`` in the value. XLA:GPU would materialize
    exponentials that both share.
    """
    if how.activation != "softmax":
        return jax.jvp(partial(region_probs, activation=how.activation, axis=how.axis), (z,), (dz,))
    m = lax.stop_gradient(jnp.max(z, how.axis, keepdims=True))
    log_s = jnp.log(jnp.sum(jnp.exp(z - m), how.axis, keepdims=True))
    p = jnp.exp(-((m - z) + log_s))
    return p, p * (dz - jnp.sum(p * dz, how.axis, keepdims=True))


def _pixel_axes(x: RegionInputs, ndim: int) -> tuple[int, ...]:
    return tuple(d for d in range(ndim) if d not in (x.batch_axis, x.pixels.axis))


def in_regions(x: RegionInputs, a: Array) -> Array:
    """Sums over the pixels as ``[regions, classes]``."""
    batch, axis = x.batch_axis, x.pixels.axis
    if batch is None:
        return a[None]
    return a.T if axis < batch else a


def in_rows(x: RegionInputs, a: Array) -> Array:
    """``a`` as ``[regions, pixels, classes]``, with all pixels of a region on one device."""
    batch, axis = x.batch_axis, x.pixels.axis
    a = jnp.moveaxis(a, axis, -1)
    a = a[None] if batch is None else jnp.moveaxis(a, batch - (batch > axis), 0)
    a = replicate_axes(a, range(1, a.ndim - 1))
    return a.reshape(a.shape[0], math.prod(a.shape[1:-1]), a.shape[-1])


def sum_in_regions(x: RegionInputs, a: Array) -> Array:
    """The sum over the pixels of each region: ``[regions, classes]``."""
    return in_regions(x, jnp.sum(a, _pixel_axes(x, a.ndim)))


def of_examples(x: RegionInputs, values: Array, weights: Array) -> tuple[Array, Array]:
    """Losses and weights of regions, without their axis if the whole batch is one region."""
    return (values[0], weights[0]) if x.batch_axis is None else (values, weights)


def losses_of_counts(formula: RegionFormula, rule: RegionRule, counts: Counts) -> tuple[Array, Array]:
    """The loss of each region from its counts, averaged over the classes as the rule says, and its weight."""
    if rule.average not in ("micro", "volume"):
        return average_classes(rule, formula(rule, *counts[:3]), counts.volume, counts.pixels)
    w = _weights_of_classes(rule, counts.volume, counts.pixels)
    if rule.average == "volume":
        w = w * _inverse_square(counts.volume, w != 0)
    tp, fp, fn = (jnp.sum(w * a, -1) for a in counts[:3])
    counted = jnp.any(w != 0, -1)
    return fill_masked(formula(rule, tp, fp, fn), counted), counted.astype(tp.dtype)


def average_classes(rule: RegionRule, losses: Array, volume: Array, pixels: Array) -> tuple[Array, Array]:
    """The mean over the classes of each region with weight 1, or 0 without a class that counts; or all for "none"."""
    w = _weights_of_classes(rule, volume, pixels)
    weighted = safe_multiply(w, losses)
    if rule.average == "none":
        return weighted, w
    return safe_divide(jnp.sum(weighted, -1), jnp.sum(w, -1), 0), jnp.any(w != 0, -1).astype(losses.dtype)


def _weights_of_classes(rule: RegionRule, volume: Array, pixels: Array) -> Array:
    """The weight of each class, 0 where it does not count."""
    counted = (pixels != 0) & (volume != 0) if rule.absent == "skip" else pixels != 0
    w = jnp.ones((), volume.dtype) if rule.class_weights is None else rule.class_weights
    return jnp.where(jnp.broadcast_to(counted, volume.shape), w, jnp.zeros((), volume.dtype))


def _inverse_square(volume: Array, counted: Array) -> Array:
    """``1 / volume**2``, with the largest of these for absent classes, scaled so that the total volume stays."""
    volume = jnp.where(counted, volume, 0)
    smallest = clip_to_finite(jnp.min(jnp.where(volume > 0, volume, jnp.inf), -1, keepdims=True))
    w = jnp.where(volume > 0, safe_divide(smallest, volume, 1) ** 2, 1)
    total, weighted = (jnp.sum(a, -1, keepdims=True) for a in (volume, w * volume))
    return w * safe_divide(total, weighted, 1)
