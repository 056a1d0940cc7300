"""The target and the weight of each example, from labels, class weights and smoothing."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxce._class_axis import (
    broadcast_per_class,
    expand_class_axis,
    is_label,
    local_ids,
    mask_rows,
    take_per_class,
    total_classes,
    with_index_check,
)
from jaxce._coefficients import Target
from jaxce._cross_entropy import weighted_sum
from jaxce._numerics import compute_dtype, is_in_range, is_off, nan_where_invalid, safe_multiply
from jaxce._sharding import class_split
from jaxce._types import PerExample, Probs, SoftmaxInputs


def target(inputs: SoftmaxInputs) -> tuple[Target, Array]:
    """The coefficients ``q_c`` of ``sum_c q_c (log_z - x_c)``, and the weight of each example.

    ::

        ids:            q_c = (1 - eps) w_y [c = y] + eps/C w_c        weight = w_y
        probabilities:  q_c = w_c ((1 - eps) p_c + eps/C)              weight = sum_c w_c p_c

    Without class weights ``w`` is 1, and so is the weight.
    """
    x, axis, axis_name = inputs.logits, inputs.axis, inputs.class_axis_name
    one = jnp.ones((), compute_dtype(x))
    w = one if inputs.class_weights is None else inputs.class_weights
    eps = inputs.label_smoothing
    offset = None if is_off(eps) else eps / total_classes(x.shape[axis], axis_name) * w
    if isinstance(inputs.labels, Probs):
        probs = inputs.labels.probs
        # A sum over the classes whose coefficients are the weights: sum_c w_c p_c.
        weight = one if w is one else weighted_sum(probs, Target(offset=w), inputs.mask, axis, axis_name)
        return Target(probs=probs, scale=(1 - eps) * w, offset=offset, checked=inputs.labels.checked), weight
    ids, valid = inputs.labels.ids, inputs.labels.valid
    ids = with_index_check(ids, x.shape[axis]) if axis_name is None else local_ids(ids, x.shape[axis], axis_name)
    w_y = one if w is one else take_per_class(w, ids, axis_name, class_split(x, axis))
    # A product, not a select: the gradients of class weights and smoothing are then NaN as well.
    one_or_nan = one if valid is None else jnp.where(valid, one, jnp.nan)
    return Target(ids=ids, label_weight=(1 - eps) * w_y * one_or_nan, offset=offset), w_y


def upcast_probs(inputs: SoftmaxInputs) -> SoftmaxInputs:
    """The inputs with probabilities in the computing dtype, so that the gradient of 16-bit ones is rounded once."""
    if not isinstance(inputs.labels, Probs):
        return inputs
    probs = inputs.labels.probs.astype(compute_dtype(inputs.logits))
    return dataclasses.replace(inputs, labels=dataclasses.replace(inputs.labels, probs=probs))


def target_probs(inputs: SoftmaxInputs) -> Array:
    """The labels as smoothed probabilities of all classes; NaN for an invalid id."""
    x, axis, labels, eps = inputs.logits, inputs.axis, inputs.labels, inputs.label_smoothing
    dtype = compute_dtype(x)
    if isinstance(labels, Probs):
        p = mask_rows(labels.probs, inputs.mask, axis).astype(dtype)
        if not labels.checked:
            p = nan_where_invalid(p, is_in_range(p))
    else:
        p = is_label(labels.ids, x, axis).astype(dtype)
        if labels.valid is not None:  # XLA turns a product with 0 or 1 into a select and loses NaN
            p += expand_class_axis(jnp.where(labels.valid, jnp.zeros((), dtype), jnp.nan), axis)
    smoothed: Array = p if is_off(eps) else (1 - eps) * p + eps / x.shape[axis]
    return smoothed


def weighted_class_sum(inputs: SoftmaxInputs, terms: Array) -> PerExample:
    """``sum_c w_c term_c``."""
    if inputs.class_weights is not None:
        terms = safe_multiply(broadcast_per_class(inputs.class_weights, terms.ndim, inputs.axis), terms)
    return jnp.sum(terms, inputs.axis)
