"""Losses over regions, for segmentation: how the pixels found of a class overlap with those labelled so."""

import math
from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._numerics import safe_divide, safe_power
from jaxce._region_inputs import open_regions
from jaxce._region_sums import over_classes, over_pixels, region_probs
from jaxce._types import Activation, Hyperparameter, Reduced, Reduction, RegionInputs
from jaxce.reductions import run_loss


def dice_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    absent: Literal["count", "skip"] = "count",
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Dice loss: ``1 - (2 sum p y + s) / (sum p + sum y + s)`` of each class, mean of classes.

    For segmentation with small foregrounds, alone or beside ``cross_entropy``: a class counts the same however few
    pixels it has. The sums run over the pixels of one example, or of the batch. ``smooth`` lets a class that is absent
    still cost what is found of it. With soft labels it is not 0 at ``p = y``.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities ``[batch, ..., classes]``; where classes do not exclude
            each other (``"sigmoid"``, or no ``axis``) answers like the logits, bool, integer or floating.
        smooth: added to both sides of each quotient, at least 0; with 0, nothing found of nothing costs 0.
        axis: the class axis of the logits; 1 for channel-first images, None without one.
        batch_axis: the axis of the examples, whose regions are compared one by one; None makes one region of all.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``: what makes the logits probabilities.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"``.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, ``[batch, ...]``; size-1 axes broadcast.
        where: pixels to count, bool ``[batch, ...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        reduction: over the examples: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean()``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> logits, labels = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]]), jnp.array([[0, 1, 1]])
        >>> print(f"{dice_loss(logits, labels):.3f}")
        0.113

    Source:
        Milletari, Navab and Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
        Segmentation" (3DV 2016), section 3, with plain sums in the divisor.
    """
    x = open_regions(
        logits,
        labels,
        axis=axis,
        batch_axis=batch_axis,
        activation=activation,
        absent=absent,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        smooth=(smooth, 0, math.inf),
        reduction=reduction,
    )
    return run_loss(_dice_loss, x, reduction)


def _dice_loss(x: RegionInputs) -> tuple[Array, Array]:
    return _one_minus_overlap(x, 0.5, 0.5, x["smooth"] / 2)


def tversky_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter = 0.5,
    beta: Hyperparameter = 0.5,
    gamma: Hyperparameter = 1.0,
    smooth: Hyperparameter = 1.0,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    absent: Literal["count", "skip"] = "count",
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Tversky loss: ``(1 - (TP + s) / (TP + alpha FP + beta FN + s))**gamma`` of each class, mean of classes.

    Dice with a choice between false alarms (``alpha``) and misses (``beta``): 1/2 each is ``dice_loss`` with twice the
    ``smooth``, 1 each ``jaccard_loss``. ``gamma`` is the focal exponent: above 1 it looks past the classes that are
    found already, below 1 it pulls harder on them.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities ``[batch, ..., classes]``; where classes do not exclude
            each other (``"sigmoid"``, or no ``axis``) answers like the logits, bool, integer or floating.
        alpha: weight of false positives, at least 0.
        beta: weight of false negatives, at least 0; 0.7 beside an ``alpha`` of 0.3 finds small regions.
        gamma: focal exponent, at least 0; the paper's gamma is one over it.
        smooth: added to both sides of each quotient, at least 0; with 0, nothing found of nothing costs 0.
        axis: the class axis of the logits; 1 for channel-first images, None without one.
        batch_axis: the axis of the examples, whose regions are compared one by one; None makes one region of all.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``: what makes the logits probabilities.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"``.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, ``[batch, ...]``; size-1 axes broadcast.
        where: pixels to count, bool ``[batch, ...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        reduction: over the examples: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean()``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> logits, labels = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]]), jnp.array([[0, 1, 1]])
        >>> print(f"{tversky_loss(logits, labels):.3f}")
        0.089

    Source:
        Salehi, Erdogmus and Gholipour, "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep
        Networks" (MLMI 2017), eq. 3, whose alpha weighs false positives.
        Focal: Abraham and Khan, "A Novel Focal Tversky Loss Function" (ISBI 2019), eq. 5.
    """
    x = open_regions(
        logits,
        labels,
        axis=axis,
        batch_axis=batch_axis,
        activation=activation,
        absent=absent,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        alpha=(alpha, 0, math.inf),
        beta=(beta, 0, math.inf),
        gamma=(gamma, 0, math.inf),
        smooth=(smooth, 0, math.inf),
        reduction=reduction,
    )
    return run_loss(_tversky_loss, x, reduction)


def _tversky_loss(x: RegionInputs) -> tuple[Array, Array]:
    return _one_minus_overlap(x, x["alpha"], x["beta"], x["smooth"], x["gamma"])


def jaccard_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    absent: Literal["count", "skip"] = "count",
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Jaccard loss: one minus intersection over union, ``1 - (TP + s) / (TP + FP + FN + s)``, mean of classes.

    The metric of segmentation, made smooth by probabilities. Of a single region it is harder on what is half found than
    ``dice_loss``, and without ``smooth`` ranks as that does. ``lovasz_softmax`` is the closer surrogate.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities ``[batch, ..., classes]``; where classes do not exclude
            each other (``"sigmoid"``, or no ``axis``) answers like the logits, bool, integer or floating.
        smooth: added to both sides of each quotient, at least 0; with 0, nothing found of nothing costs 0.
        axis: the class axis of the logits; 1 for channel-first images, None without one.
        batch_axis: the axis of the examples, whose regions are compared one by one; None makes one region of all.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``: what makes the logits probabilities.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"``.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, ``[batch, ...]``; size-1 axes broadcast.
        where: pixels to count, bool ``[batch, ...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        reduction: over the examples: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean()``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> logits, labels = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]]), jnp.array([[0, 1, 1]])
        >>> print(f"{jaccard_loss(logits, labels):.3f}")
        0.164

    Source:
        Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation" (ISVC
        2016), eq. 3 to 5.
    """
    x = open_regions(
        logits,
        labels,
        axis=axis,
        batch_axis=batch_axis,
        activation=activation,
        absent=absent,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        smooth=(smooth, 0, math.inf),
        reduction=reduction,
    )
    return run_loss(_jaccard_loss, x, reduction)


def _jaccard_loss(x: RegionInputs) -> tuple[Array, Array]:
    return _one_minus_overlap(x, 1.0, 1.0, x["smooth"])


def _one_minus_overlap(
    x: RegionInputs, alpha: Hyperparameter, beta: Hyperparameter, smooth: Hyperparameter, gamma: Hyperparameter = 1.0
) -> tuple[Array, Array]:
    """``(1 - (TP + s) / (TP + alpha FP + beta FN + s))**gamma`` of each class, mean of classes."""
    p, y, n = region_probs(x)
    true_pos, false_pos, false_neg = (over_pixels(x, jnp.sum, n * a) for a in (p * y, p * (1 - y), (1 - p) * y))
    missed = alpha * false_pos + beta * false_neg
    return over_classes(x, safe_power(safe_divide(missed, true_pos + missed + smooth, 0), gamma), y, n)
