"""Argument checks of losses over regions: pixels of exclusive classes, or with binary labels."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._class_axis import mask_rows
from jaxce._inputs import (
    check_choice,
    one_axis,
    open_sigmoid,
    open_softmax,
    refuse_ignore_index,
)
from jaxce._types import Bounded, Reduction, RegionInputs, SigmoidInputs, SoftmaxInputs
from jaxce._value_checks import check_probabilities

BINARY_FIX = 'use activation="sigmoid" (and axis=None without a class axis)'
"""What takes binary labels, in messages."""


ACTIVATION_FIX = 'Logits need activation="softmax" or "sigmoid".'


def open_regions(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None,
    batch_axis: int | None,
    activation: str,
    absent: str,
    class_weights: ArrayLike | None,
    sample_weights: ArrayLike | None,
    where: ArrayLike | None,
    ignore_index: int | Array | None,
    reduction: Reduction,
    **hyperparameters: Bounded,
) -> RegionInputs:
    """Pixels and their regions; labels are ids or probabilities of exclusive classes, or else binary labels."""
    check_choice("activation", activation, ("softmax", "sigmoid", "none"))
    check_choice("absent", absent, ("count", "skip"))
    if axis is None and activation == "softmax":
        raise ValueError('axis: got None with activation="softmax"; for binary masks use activation="sigmoid".')
    if axis is None and class_weights is not None:
        raise ValueError("class_weights: got some without a class axis; expected None, as there is one class.")
    if batch_axis is not None:
        batch_axis = one_axis("batch_axis", "logits", jnp.shape(logits), batch_axis)
    shared: dict[str, Any] = {
        "class_weights": class_weights,
        "sample_weights": sample_weights,
        "where": where,
        "reduction": reduction,
        **hyperparameters,
    }
    pixels: SoftmaxInputs | SigmoidInputs
    if axis is None or activation == "sigmoid":
        refuse_ignore_index(ignore_index, "binary labels")
        pixels = open_sigmoid(logits, labels, axis=-1 if axis is None else axis, rows=axis is not None, **shared)
        if axis is None:
            x, y = (jnp.expand_dims(a, -1) for a in (pixels.logits, pixels.labels))
            pixels = dataclasses.replace(pixels, logits=x, labels=y, axis=x.ndim - 1)
    else:
        pixels = open_softmax(
            logits,
            labels,
            axis=axis,
            ignore_index=ignore_index,
            normalized=activation == "softmax",
            binary_fix=BINARY_FIX,
            **shared,
        )
    mask, axis = pixels.mask, pixels.axis
    if activation == "none":
        p = check_probabilities("logits", mask_rows(pixels.logits, mask, axis), ACTIVATION_FIX)
        pixels = dataclasses.replace(pixels, logits=p)
    if batch_axis == axis:
        raise ValueError(f"batch_axis: got {batch_axis}, the class axis; expected another, or None for one region.")
    return RegionInputs(pixels=pixels, batch_axis=batch_axis, activation=activation, absent=absent)
