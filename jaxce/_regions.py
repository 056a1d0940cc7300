"""Losses over regions, for segmentation: the overlap of the predicted and the labelled pixels of each class."""

import math
from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._numerics import safe_divide, safe_power
from jaxce._region_inputs import open_regions
from jaxce._region_total import run_regions
from jaxce._types import Activation, Average, AxisName, Hyperparameter, Reduced, Reduction, RegionRule, SoftCounts


def dice_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Dice loss: ``1 - (2 TP + s) / (2 TP + FP + FN + s)``, mean over classes, with soft counts ``TP = sum p y``.

    For segmentation with small foregrounds, often added to ``cross_entropy``: classes count equally, however few their
    pixels. ``TP``, ``FP``, ``FN`` sum over the pixels of an example; ``reduction`` is over the examples. Networks
    trained with Dice alone are over-confident. ``average="volume"`` is the generalized Dice loss.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities like the logits; binary for ``"sigmoid"`` or no ``axis``.
        smooth: added to the numerator, at least 0.
        smooth_divisor: added to the denominator, at least 0; None is ``smooth``, a smaller one permits losses below 0.
        log_loss: True for ``-log`` of the quotient in place of one minus it.
        soft_counts: products ``p y``; ``"squared"``, V-Net's divisor; ``"minimum"``, 0 at ``p = y`` for soft labels.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        axis_name: mesh axes over which the counts are summed, inside ``shard_map``: devices with parts of each region.
        activation: maps logits to probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` if they are probabilities.
        average: ``"macro"``, of classes; ``"micro"``, of summed counts; ``"volume"``, these over volume**2; ``"none"``.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        include_background: False leaves out class 0.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        where: bool mask, True for valid pixels, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``, ``[batch, classes]`` without an average; a ``Total`` for ``"total"``, a
        ``RegionTotal`` for the whole batch. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]]])
        >>> labels = jnp.array([[0, 1, 1, 255]])
        >>> print(f"{jaxce.dice_loss(logits, labels, ignore_index=255):.3f}")
        0.113
        >>> print(f"{jaxce.dice_loss(logits, labels, where=labels != 255, class_weights=jnp.array([0.0, 1.0])):.3f}")
        0.091
        >>> print(f"{jaxce.dice_loss(logits.transpose(0, 2, 1), labels, axis=1, ignore_index=255):.3f}")
        0.113
        >>> jnp.set_printoptions(precision=3)
        >>> print(jaxce.dice_loss(logits, labels, ignore_index=255, average="none", reduction="none"))
        [[0.136 0.091]]

    See Also:
        ``tversky_loss``: weights false positives and false negatives apart.
        ``jaccard_loss``: intersection over union.
        ``RegionTotal``: the counts of the whole batch, over microbatches and devices.
        ``cross_entropy``: a loss per pixel, often added.

    Source:
        Milletari, Navab and Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
        Segmentation" (3DV 2016), section 3, with ``soft_counts="squared"``.
        Volumes: Sudre et al., "Generalised Dice Overlap as a Deep Learning Loss Function for Highly Unbalanced
        Segmentations" (DLMIA 2017), section 2.1.
        Minimum: Wang et al., "Dice Semimetric Losses" (MICCAI 2023). Logarithm: Wong et al., "3D Segmentation with
        Exponential Logarithmic Loss for Highly Unbalanced Object Sizes" (MICCAI 2018).
    """
    x = open_regions(
        logits,
        labels,
        axis=axis,
        batch_axis=batch_axis,
        activation=activation,
        absent=absent,
        average=average,
        averages=("macro", "micro", "volume", "none"),
        log_loss=log_loss,
        include_background=include_background,
        soft_counts=soft_counts,
        axis_name=axis_name,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        smooth=(smooth, 0, math.inf),
        smooth_divisor=(smooth_divisor, 0, math.inf, None),
        reduction=reduction,
    )
    return run_regions(_dice_loss, x, reduction)


def _dice_loss(rule: RegionRule, tp: Array, fp: Array, fn: Array) -> Array:
    """``1 - (2 TP + s) / (2 TP + FP + FN + t)``."""
    return _quotient_loss(rule, 2 * tp, fp + fn)


def tversky_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter = 0.5,
    beta: Hyperparameter = 0.5,
    gamma: Hyperparameter = 1.0,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Tversky loss: ``(1 - (TP + s) / (TP + alpha FP + beta FN + s))**gamma``, mean over classes.

    Dice with separate weights of false positives (``alpha``) and false negatives (``beta``). With 1/2 each it is
    ``dice_loss`` with twice the ``smooth``, with 1 each ``jaccard_loss``. A ``gamma`` above 1 down-weights classes that
    are segmented well, one below 1 raises their gradient.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities like the logits; binary for ``"sigmoid"`` or no ``axis``.
        alpha: weight of false positives, at least 0.
        beta: weight of false negatives, at least 0; 0.7 with ``alpha`` 0.3 favours recall of small regions.
        gamma: focal exponent, at least 0; the paper's gamma is ``1 / gamma``.
        smooth: added to the numerator, at least 0.
        smooth_divisor: added to the denominator, at least 0; None is ``smooth``, a smaller one permits losses below 0.
        log_loss: True for ``-log`` of the quotient in place of one minus it.
        soft_counts: products ``p y``; ``"squared"``, V-Net's divisor; ``"minimum"``, 0 at ``p = y`` for soft labels.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        axis_name: mesh axes over which the counts are summed, inside ``shard_map``: devices with parts of each region.
        activation: maps logits to probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` if they are probabilities.
        average: ``"macro"``, of classes; ``"micro"``, of summed counts; ``"volume"``, these over volume**2; ``"none"``.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        include_background: False leaves out class 0.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        where: bool mask, True for valid pixels, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``, ``[batch, classes]`` without an average; a ``Total`` for ``"total"``, a
        ``RegionTotal`` for the whole batch. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]]])
        >>> labels = jnp.array([[0, 1, 1, 255]])
        >>> print(f"{jaxce.tversky_loss(logits, labels, ignore_index=255, smooth=0.5):.3f}")
        0.113
        >>> print(f"{jaxce.tversky_loss(logits, labels, ignore_index=255, alpha=0.3, beta=0.7):.3f}")
        0.087
        >>> print(jaxce.tversky_loss(logits, labels, where=labels != 255, gamma=0.75, reduction="none"))
        [0.163]

    See Also:
        ``dice_loss``: the same with alpha and beta 1/2.
        ``jaccard_loss``: the same with alpha and beta 1.

    Source:
        Salehi, Erdogmus and Gholipour, "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep
        Networks" (MLMI 2017), eq. 3; its alpha weights false positives.
        Focal: Abraham and Khan, "A Novel Focal Tversky Loss Function" (ISBI 2019), eq. 5.
    """
    x = open_regions(
        logits,
        labels,
        axis=axis,
        batch_axis=batch_axis,
        activation=activation,
        absent=absent,
        average=average,
        averages=("macro", "micro", "volume", "none"),
        log_loss=log_loss,
        include_background=include_background,
        soft_counts=soft_counts,
        axis_name=axis_name,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        alpha=(alpha, 0, math.inf),
        beta=(beta, 0, math.inf),
        gamma=(gamma, 0, math.inf),
        smooth=(smooth, 0, math.inf),
        smooth_divisor=(smooth_divisor, 0, math.inf, None),
        reduction=reduction,
    )
    return run_regions(_tversky_loss, x, reduction)


def _tversky_loss(rule: RegionRule, tp: Array, fp: Array, fn: Array) -> Array:
    """``(1 - (TP + s) / (TP + alpha FP + beta FN + t))**gamma``."""
    return safe_power(_quotient_loss(rule, tp, rule["alpha"] * fp + rule["beta"] * fn), rule["gamma"])


def jaccard_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Jaccard loss, one minus soft intersection over union: ``1 - (TP + s) / (TP + FP + FN + s)``, mean over classes.

    The segmentation metric with probabilities for hard predictions. It is at least ``dice_loss`` with the same
    ``smooth``. Without ``smooth`` both rank the predictions of one region alike. ``lovasz_softmax`` is a closer
    surrogate of the metric.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities like the logits; binary for ``"sigmoid"`` or no ``axis``.
        smooth: added to the numerator, at least 0.
        smooth_divisor: added to the denominator, at least 0; None is ``smooth``, a smaller one permits losses below 0.
        log_loss: True for ``-log`` of the quotient in place of one minus it.
        soft_counts: products ``p y``; ``"squared"``, V-Net's divisor; ``"minimum"``, 0 at ``p = y`` for soft labels.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        axis_name: mesh axes over which the counts are summed, inside ``shard_map``: devices with parts of each region.
        activation: maps logits to probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` if they are probabilities.
        average: ``"macro"``, of classes; ``"micro"``, of summed counts; ``"volume"``, these over volume**2; ``"none"``.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        include_background: False leaves out class 0.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        where: bool mask, True for valid pixels, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``, ``[batch, classes]`` without an average; a ``Total`` for ``"total"``, a
        ``RegionTotal`` for the whole batch. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]]])
        >>> labels = jnp.array([[0, 1, 1, 255]])
        >>> print(f"{jaxce.jaccard_loss(logits, labels, ignore_index=255):.3f}")
        0.164
        >>> print(f"{jaxce.jaccard_loss(logits, labels, ignore_index=255, smooth=0.0, absent='skip'):.3f}")
        0.268
        >>> print(f"{jaxce.jaccard_loss(logits[..., 1], labels == 1, axis=None, activation='sigmoid'):.3f}")
        0.366

    See Also:
        ``dice_loss``: counts the intersection twice.
        ``lovasz_softmax``: exact for hard predictions.

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
        average=average,
        averages=("macro", "micro", "volume", "none"),
        log_loss=log_loss,
        include_background=include_background,
        soft_counts=soft_counts,
        axis_name=axis_name,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        smooth=(smooth, 0, math.inf),
        smooth_divisor=(smooth_divisor, 0, math.inf, None),
        reduction=reduction,
    )
    return run_regions(_jaccard_loss, x, reduction)


def _jaccard_loss(rule: RegionRule, tp: Array, fp: Array, fn: Array) -> Array:
    """``1 - (TP + s) / (TP + FP + FN + t)``."""
    return _quotient_loss(rule, tp, fp + fn)


def _quotient_loss(rule: RegionRule, hits: Array, errors: Array) -> Array:
    """``1 - Q`` or ``-log Q`` of ``Q = (hits + s) / (hits + errors + t)``, without cancellation.

    ::

        1 - Q = (errors + t - s) / (hits + errors + t)        -log Q = log1p((errors + t - s) / (hits + s))
    """
    s, t = rule["smooth"], rule["smooth_divisor"]
    t, missing = (s, errors) if t is None else (t, errors + (t - s))
    if rule.log_loss:
        return jnp.log1p(safe_divide(missing, hits + s, jnp.where(missing > 0, jnp.inf, 0)))
    return safe_divide(missing, hits + errors + t, 0)
