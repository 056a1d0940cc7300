"""Argument checks of losses over regions: pixels of exclusive classes, or with binary labels."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxce._axis_inputs import check_integer, one_axis, shards
from jaxce._class_axis import mask_rows
from jaxce._inputs import binary_label_array, check_choice, check_mask, open_sigmoid, open_softmax
from jaxce._numerics import compute_dtype
from jaxce._types import (
    AnyArray,
    AxisName,
    Bounded,
    Reduction,
    RegionInputs,
    RegionRule,
    SigmoidInputs,
    SoftmaxInputs,
)
from jaxce._value_checks import check_probabilities, without_ignored

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
    average: str,
    include_background: bool,
    class_weights: ArrayLike | None,
    sample_weights: ArrayLike | None,
    where: ArrayLike | None,
    ignore_index: int | Array | None,
    reduction: Reduction,
    averages: tuple[str, ...] = ("macro", "none"),
    log_loss: bool = False,
    soft_counts: str = "product",
    axis_name: AxisName | None = None,
    **hyperparameters: Bounded,
) -> RegionInputs:
    """Pixels and their regions; labels are ids or probabilities of exclusive classes, or else binary labels."""
    check_choice("activation", activation, ("softmax", "sigmoid", "none"))
    check_choice("absent", absent, ("count", "skip"))
    check_choice("average", average, averages)
    check_choice("soft_counts", soft_counts, ("product", "squared", "minimum"))
    shards(axis_name, "axis_name")
    if axis is None:
        _refuse_without_classes(activation, class_weights, include_background)
    else:
        check_integer("axis", axis)
    if batch_axis is not None:
        batch_axis = one_axis("batch_axis", "logits", jnp.shape(logits), batch_axis)
    shared: dict[str, Any] = {
        "class_weights": class_weights,
        "sample_weights": sample_weights,
        "where": where,
        "ignore_index": ignore_index,
        "reduction": reduction,
        **hyperparameters,
    }
    pixels: SoftmaxInputs | SigmoidInputs
    if axis is None or activation == "sigmoid":
        pixels = _open_binary(logits, labels, axis, **shared)
    else:
        pixels = open_softmax(
            logits,
            labels,
            axis=axis,
            normalized=activation == "softmax",
            binary_fix=BINARY_FIX,
            **shared,
        )
    if activation == "none":
        p = check_probabilities("logits", mask_rows(pixels.logits, pixels.mask, pixels.axis), ACTIVATION_FIX)
        pixels = dataclasses.replace(pixels, logits=p)
    if batch_axis == pixels.axis:
        raise ValueError(f"batch_axis: got {batch_axis}, the class axis; expected another, or None for one region.")
    weights = pixels.class_weights if include_background else _without_background(pixels)
    rule = RegionRule(average, absent, log_loss, weights, pixels.hyperparameters)
    return RegionInputs(pixels, rule, batch_axis, activation, soft_counts, axis_name)


def _refuse_without_classes(activation: str, class_weights: ArrayLike | None, include_background: bool) -> None:
    if activation == "softmax":
        raise ValueError('axis: got None with activation="softmax"; for binary masks use activation="sigmoid".')
    if class_weights is not None:
        raise ValueError("class_weights: got some without a class axis; expected None, as there is one class.")
    if not include_background:
        raise ValueError("include_background: got False without a class axis; expected True, as there is one class.")


def _open_binary(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: int | None,
    sample_weights: ArrayLike | None,
    where: ArrayLike | None,
    ignore_index: int | Array | None,
    **shared: Any,
) -> SigmoidInputs:
    """Binary labels. With a class axis, a mask or weights of the rank of the logits belong to pixels and classes."""
    shape = jnp.shape(logits)
    rows = axis is not None and all(a is None or jnp.ndim(a) != len(shape) for a in (sample_weights, where))
    if ignore_index is not None:
        binary, rows = binary_label_array("logits", labels, shape), False
        if not jnp.issubdtype(binary.dtype, jnp.integer):
            got = f"ignore_index: got {ignore_index} with {binary.dtype} labels"
            raise ValueError(f"{got}; expected integer labels. Use labels.astype(jnp.int32), or mask with where=.")
        where = without_ignored(binary, ignore_index, check_mask(_with_class_axis(where, len(shape), axis), shape))
    if axis is not None and not rows:
        sample_weights, where = (_with_class_axis(a, len(shape), axis) for a in (sample_weights, where))
    pixels = open_sigmoid(
        logits,
        labels,
        axis=-1 if axis is None else axis,
        sample_weights=sample_weights,
        where=where,
        rows=rows,
        **shared,
    )
    if axis is not None:
        return pixels
    x, y = (jnp.expand_dims(a, -1) for a in (pixels.logits, pixels.labels))
    return dataclasses.replace(pixels, logits=x, labels=y, axis=len(shape))


def _with_class_axis(a: Any, ndim: int, axis: int | None) -> Any:
    """An array of pixels with a class axis of size 1. That of NumPy remains one: it is concrete under a trace too."""
    if axis is None or not isinstance(a, AnyArray) or a.ndim != ndim - 1:
        return a
    return np.expand_dims(a, axis) if isinstance(a, np.ndarray) else jnp.expand_dims(a, axis)


def _without_background(pixels: SoftmaxInputs | SigmoidInputs) -> Array:
    """The class weights with 0 for class 0."""
    dtype = compute_dtype(pixels.logits)
    is_foreground = (jnp.arange(pixels.logits.shape[pixels.axis]) > 0).astype(dtype)
    return is_foreground if pixels.class_weights is None else pixels.class_weights * is_foreground
