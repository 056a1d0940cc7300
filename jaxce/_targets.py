"""The label side of a loss: what class ids or probabilities, class weights and smoothing ask of each class."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import (
    broadcast_mask,
    broadcast_per_class,
    expand_class_axis,
    local_ids,
    map_row_blocks,
    no_sharing,
    one_hot,
    psum_classes,
    take_class,
    xla_cpu_fuses_row_sum,
)
from jaxce._numerics import compute_dtype, fill_masked, is_off, safe_multiply
from jaxce._types import Hit, Hyperparameter, PerExample, Probs, SoftmaxInputs, Target


def target(
    x: SoftmaxInputs,
    label_smoothing: Hyperparameter = 0.0,
    product: Callable[[Array, Array], Array] = safe_multiply,
    short: bool = False,
) -> tuple[Target, Array]:
    """The coefficients ``q_c`` of ``sum_c q_c (log_z - x_c)``, and the weight of each example.

    ::

        ids:            q_c = (1 - eps) w_y [c = y] + eps/C w_c        weight = w_y
        probabilities:  q_c = w_c ((1 - eps) p_c + eps/C)              weight = sum_c w_c p_c

    Without class weights ``w`` is 1, and so is the weight. ``0 * inf`` is 0 with the default ``product``.
    ``short`` logits stand for some of 16 bits, as which such logits count by themselves.
    """
    name, here = x.class_axis_name, x.logits.shape[x.axis]
    one = jnp.ones((), compute_dtype(x.logits))
    w = one if x.class_weights is None else x.class_weights
    eps = jnp.asarray(label_smoothing, one.dtype)
    short = short or jnp.finfo(x.logits.dtype).bits == 16
    q = Target(jnp.zeros_like(one), (1 - eps) * w, x.mask, product, short, axis=x.axis, class_axis_name=name)
    if not is_off(label_smoothing):
        offset = eps / (here if name is None else here * lax.axis_size(name)) * w
        total = psum_classes(jnp.sum(jnp.broadcast_to(offset, (here,))), name)
        q = dataclasses.replace(q, total=total, offset=offset)
    if isinstance(x.labels, Probs):
        p, fused = x.labels.probs, xla_cpu_fuses_row_sum(x.axis, x.logits, x.labels.probs)
        mass = psum_classes(_mass(p, w, broadcast_mask(x.mask, p, x.axis), x.axis, fused), name)
        q = dataclasses.replace(q, total=(1 - eps) * mass + q.total, probs=x.labels.probs)
        return q, one if w is one else mass
    ids = local_ids(x.labels.ids, here, name)
    weight = one if w is one else take_class(w, ids, 0, name)
    hit = (1 - eps) * weight
    if x.labels.valid is not None:
        hit *= jnp.where(x.labels.valid, one, jnp.nan)  # a product: NaN for the derivatives of its factors too
    return dataclasses.replace(q, total=hit + q.total, hit=Hit(ids, hit)), weight


def upcast_probs(x: SoftmaxInputs) -> SoftmaxInputs:
    """With 16-bit probabilities in the computing dtype, so that all that is made of them is rounded back once."""
    if not isinstance(x.labels, Probs):
        return x
    return dataclasses.replace(x, labels=Probs(x.labels.probs.astype(compute_dtype(x.logits))))


def target_probs(x: SoftmaxInputs, label_smoothing: Hyperparameter = 0.0) -> Array:
    """The labels as smoothed probabilities of all classes; NaN where an id cannot be read."""
    dtype, classes = compute_dtype(x.logits), x.logits.shape[x.axis]
    if isinstance(x.labels, Probs):
        p = fill_masked(x.labels.probs, broadcast_mask(x.mask, x.labels.probs, x.axis)).astype(dtype)
    else:
        p = one_hot(x.labels.ids, classes, x.axis).astype(dtype)
        if x.labels.valid is not None:  # a sum: of a product with 0 or 1 XLA makes a choice, without NaN
            p += expand_class_axis(jnp.where(x.labels.valid, jnp.zeros((), dtype), jnp.nan), x.axis)
    eps = jnp.asarray(label_smoothing, dtype)
    smoothed: Array = p if is_off(label_smoothing) else (1 - eps) * p + eps / classes
    return smoothed


def weighted_class_sum(x: SoftmaxInputs, terms: Array) -> tuple[PerExample, Array]:
    """``sum_c w_c term_c``, and the weight of each example."""
    if x.class_weights is not None:
        terms = safe_multiply(broadcast_per_class(x.class_weights, terms.ndim, x.axis), terms)
    return jnp.sum(terms, x.axis), target(x)[1]


def _mass_of(p: Array, w: Array, mask: Array | None, axis: int) -> Array:
    """``sum_c w_c p_c`` as a formula to differentiate."""
    return jnp.sum(broadcast_per_class(w, p.ndim, axis) * fill_masked(p, mask).astype(w.dtype), axis)


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
@partial(jax.jit, static_argnums=(3, 4))
def _mass(p: Array, w: Array, mask: Array | None, axis: int, fused: bool) -> Array:
    """``sum_c w_c p_c``, and 0 where masked; its derivative is taken of the whole, not slab by slab."""
    if fused:
        (mass,) = no_sharing(_mass_of(p, w, None, axis))  # or else it is summed anew for the sum of all
        shown: Array = fill_masked(mass, None if mask is None else mask.squeeze(axis))
        return shown
    return map_row_blocks(lambda p, mask: (_mass_of(p, w, mask, axis),), p, mask, axis=axis)[0]


@_mass.defjvp
def _mass_jvp(axis: int, fused: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    slope: Array = jax.jvp(partial(_mass_of, axis=axis), primals, tangents)[1]
    return _mass(*primals, axis, fused), slope
