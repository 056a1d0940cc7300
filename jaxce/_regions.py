"""Losses over regions, for segmentation: the overlap of the predicted and the labelled pixels of each class."""

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
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Dice loss: ``1 - (2 TP + s) / (2 TP + FP + FN + s)``, mean over classes, with soft counts ``TP = sum p y``.

    For segmentation with small foregrounds, often added to ``cross_entropy``: classes count equally, however few their
    pixels. ``TP``, ``FP``, ``FN`` sum over the pixels of an example; ``reduction`` is over the examples. Networks
    trained with Dice alone are over-confident. With soft labels the loss is not 0 at ``p = y``.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities like the logits; binary for ``"sigmoid"`` or no ``axis``.
        smooth: added to numerator and denominator, at least 0.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        activation: maps logits to probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` if they are probabilities.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]`` with no class axis; size-1 axes broadcast.
        where: bool mask, True for valid pixels, ``[batch, ...]`` with no class axis; size-1 axes broadcast.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

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
        >>> print(f"{jaxce.dice_loss(logits[..., 1], labels == 1, axis=None, activation='sigmoid'):.3f}")
        0.262

    See Also:
        ``tversky_loss``: weights false positives and false negatives apart.
        ``jaccard_loss``: intersection over union.
        ``cross_entropy``: a loss per pixel, often added.

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
    """``1 - (2 TP + s) / (2 TP + FP + FN + s) = (FP + FN) / (2 TP + FP + FN + s)``."""
    p, y, n = region_probs(x)
    tp, fp, fn = _soft_counts(x, p, y, n)
    return over_classes(x, safe_divide(fp + fn, 2 * tp + (fp + fn) + x["smooth"], 0), y, n)


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
        smooth: added to numerator and denominator, at least 0.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        activation: maps logits to probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` if they are probabilities.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]`` with no class axis; size-1 axes broadcast.
        where: bool mask, True for valid pixels, ``[batch, ...]`` with no class axis; size-1 axes broadcast.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

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
    """``(1 - T)**gamma``, with ``1 - T = (alpha FP + beta FN) / (TP + alpha FP + beta FN + s)``."""
    p, y, n = region_probs(x)
    tp, fp, fn = _soft_counts(x, p, y, n)
    errors = x["alpha"] * fp + x["beta"] * fn
    return over_classes(x, safe_power(safe_divide(errors, tp + errors + x["smooth"], 0), x["gamma"]), y, n)


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
        smooth: added to numerator and denominator, at least 0.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        activation: maps logits to probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` if they are probabilities.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]`` with no class axis; size-1 axes broadcast.
        where: bool mask, True for valid pixels, ``[batch, ...]`` with no class axis; size-1 axes broadcast.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

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
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        smooth=(smooth, 0, math.inf),
        reduction=reduction,
    )
    return run_loss(_jaccard_loss, x, reduction)


def _jaccard_loss(x: RegionInputs) -> tuple[Array, Array]:
    """``1 - (TP + s) / (TP + FP + FN + s) = (FP + FN) / (TP + FP + FN + s)``."""
    p, y, n = region_probs(x)
    tp, fp, fn = _soft_counts(x, p, y, n)
    return over_classes(x, safe_divide(fp + fn, tp + (fp + fn) + x["smooth"], 0), y, n)


def _soft_counts(x: RegionInputs, p: Array, y: Array, n: Array) -> tuple[Array, ...]:
    """``TP = sum p y``, ``FP = sum p (1 - y)``, ``FN = sum (1 - p) y`` of each class, over pixels of weight ``n``."""
    return tuple(over_pixels(x, jnp.sum, n * a) for a in (p * y, p * (1 - y), (1 - p) * y))
