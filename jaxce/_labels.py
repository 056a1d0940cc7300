"""The label side of a loss: what class ids or probabilities, class weights and smoothing ask of each class."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._arithmetic import times
from jaxce._classes import (
    along_axis,
    anew,
    beside,
    by_rows,
    kept_rows,
    local_ids,
    one_hot,
    over_shards,
    pick,
    sums_fuse,
)
from jaxce._inputs import compute_dtype, hide, is_off
from jaxce._types import Examples, Hit, Hyperparameter, OpenedSoftmax, Probs, Target


def target(
    x: OpenedSoftmax,
    label_smoothing: Hyperparameter = 0.0,
    product: Callable[[Array, Array], Array] = times,
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
    q = Target(jnp.zeros_like(one), (1 - eps) * w, x.kept, product, short, axis=x.axis, class_axis_name=name)
    if not is_off(label_smoothing):
        offset = eps / (here if name is None else here * lax.axis_size(name)) * w
        total = over_shards(jnp.sum(jnp.broadcast_to(offset, (here,))), name)
        q = dataclasses.replace(q, total=total, offset=offset)
    if isinstance(x.labels, Probs):
        p, fused = x.labels.probs, sums_fuse(x.axis, x.logits, x.labels.probs)
        mass = over_shards(_mass(p, w, kept_rows(x.kept, p, x.axis), x.axis, fused), name)
        q = dataclasses.replace(q, total=(1 - eps) * mass + q.total, probs=x.labels.probs)
        return q, one if w is one else mass
    ids = local_ids(x.labels.ids, here, name)
    weight = one if w is one else pick(w, ids, 0, name)
    hit = (1 - eps) * weight
    if x.labels.readable is not None:
        hit *= jnp.where(x.labels.readable, one, jnp.nan)  # a product: NaN for the derivatives of its factors too
    return dataclasses.replace(q, total=hit + q.total, hit=Hit(ids, hit)), weight


def widened(x: OpenedSoftmax) -> OpenedSoftmax:
    """With 16-bit probabilities in the computing dtype, so that all that is made of them is rounded back once."""
    if not isinstance(x.labels, Probs):
        return x
    return dataclasses.replace(x, labels=Probs(x.labels.probs.astype(compute_dtype(x.logits))))


def distribution(x: OpenedSoftmax, label_smoothing: Hyperparameter = 0.0) -> Array:
    """The labels as smoothed probabilities of all classes; NaN where an id cannot be read."""
    dtype, classes = compute_dtype(x.logits), x.logits.shape[x.axis]
    if isinstance(x.labels, Probs):
        p = hide(x.labels.probs, kept_rows(x.kept, x.labels.probs, x.axis)).astype(dtype)
    else:
        p = one_hot(x.labels.ids, classes, x.axis).astype(dtype)
        if x.labels.readable is not None:  # a sum: of a product with 0 or 1 XLA makes a choice, without NaN
            p += beside(jnp.where(x.labels.readable, jnp.zeros((), dtype), jnp.nan), x.axis)
    eps = jnp.asarray(label_smoothing, dtype)
    smoothed: Array = p if is_off(label_smoothing) else (1 - eps) * p + eps / classes
    return smoothed


def weighed(x: OpenedSoftmax, terms: Array) -> tuple[Examples, Array]:
    """``sum_c w_c term_c``, and the weight of each example."""
    if x.class_weights is not None:
        terms = times(along_axis(x.class_weights, terms.ndim, x.axis), terms)
    return jnp.sum(terms, x.axis), target(x)[1]


def _mass_of(p: Array, w: Array, kept: Array | None, axis: int) -> Array:
    """``sum_c w_c p_c`` as a formula to differentiate."""
    return jnp.sum(along_axis(w, p.ndim, axis) * hide(p, kept).astype(w.dtype), axis)


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
@partial(jax.jit, static_argnums=(3, 4))
def _mass(p: Array, w: Array, kept: Array | None, axis: int, fused: bool) -> Array:
    """``sum_c w_c p_c``, and 0 where masked; its derivative is taken of the whole, not slab by slab."""
    if fused:
        (mass,) = anew(_mass_of(p, w, None, axis))  # or else it is summed anew for the sum of all
        shown: Array = hide(mass, None if kept is None else kept.squeeze(axis))
        return shown
    return by_rows(lambda p, kept: (_mass_of(p, w, kept, axis),), p, kept, axis=axis)[0]


@_mass.defjvp
def _mass_jvp(axis: int, fused: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    slope: Array = jax.jvp(partial(_mass_of, axis=axis), primals, tangents)[1]
    return _mass(*primals, axis, fused), slope
