"""The label side of a loss: what class ids or probabilities, class weights and smoothing ask of each class."""

import dataclasses

import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import (
    broadcast_per_class,
    expand_class_axis,
    is_label,
    local_ids,
    mask_rows,
    take_per_class,
    with_index_check,
)
from jaxce._coefficients import Target
from jaxce._cross_entropy import weighted_sum
from jaxce._numerics import compute_dtype, is_off, safe_multiply
from jaxce._sharding import class_split
from jaxce._types import Hyperparameter, PerExample, Probs, SoftmaxInputs


def target(x: SoftmaxInputs, label_smoothing: Hyperparameter = 0.0) -> tuple[Target, Array]:
    """The coefficients ``q_c`` of ``sum_c q_c (log_z - x_c)``, and the weight of each example.

    ::

        ids:            q_c = (1 - eps) w_y [c = y] + eps/C w_c        weight = w_y
        probabilities:  q_c = w_c ((1 - eps) p_c + eps/C)              weight = sum_c w_c p_c

    Without class weights ``w`` is 1, and so is the weight.
    """
    name, classes = x.class_axis_name, x.logits.shape[x.axis]
    one = jnp.ones((), compute_dtype(x.logits))
    w = one if x.class_weights is None else x.class_weights
    eps = jnp.asarray(label_smoothing, one.dtype)
    offset = None if is_off(label_smoothing) else eps / (classes * (1 if name is None else lax.axis_size(name))) * w
    if isinstance(x.labels, Probs):
        weight = one if w is one else weighted_sum(x.labels.probs, Target(offset=w), x.mask, x.axis, name)
        return Target(probs=x.labels.probs, scale=(1 - eps) * w, offset=offset), weight
    ids = with_index_check(x.labels.ids, classes) if name is None else local_ids(x.labels.ids, classes, name)
    w_y = one if w is one else take_per_class(w, ids, name, class_split(x.logits, x.axis))
    # A product: NaN for the derivatives of its factors too.
    valid = one if x.labels.valid is None else jnp.where(x.labels.valid, one, jnp.nan)
    return Target(ids=ids, label_weight=(1 - eps) * w_y * valid, offset=offset), w_y


def upcast_probs(x: SoftmaxInputs) -> SoftmaxInputs:
    """With 16-bit probabilities in the computing dtype, so that all that is made of them is rounded back once."""
    if not isinstance(x.labels, Probs):
        return x
    return dataclasses.replace(x, labels=Probs(x.labels.probs.astype(compute_dtype(x.logits))))


def target_probs(x: SoftmaxInputs, label_smoothing: Hyperparameter = 0.0) -> Array:
    """The labels as smoothed probabilities of all classes; NaN where an id cannot be read."""
    dtype, classes = compute_dtype(x.logits), x.logits.shape[x.axis]
    if isinstance(x.labels, Probs):
        p = mask_rows(x.labels.probs, x.mask, x.axis).astype(dtype)
    else:
        p = is_label(x.labels.ids, x.logits, x.axis).astype(dtype)
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
