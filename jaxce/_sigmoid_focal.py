"""Focal losses of the sigmoid: binary cross-entropy with a factor that down-weights easy elements."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._elementwise import clipped_for_exp, element_losses
from jaxce._inputs import check_choice, open_sigmoid
from jaxce._numerics import above_zero, safe_multiply, softplus
from jaxce._sigmoid import binary_cross_entropy_from_logits, in_classes, pos_weight_of, smoothed_labels
from jaxce._types import Hyperparameter, Reduced, Reduction, SigmoidInputs
from jaxce.reductions import run_loss


def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = 0.25,
    gamma: Hyperparameter = 2.0,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Sigmoid cross-entropy that down-weights easy elements: ``-alpha_t (1 - p_t)**gamma log p_t``.

    For dense detection and rare positives. For positives ``p_t`` is p and ``alpha_t`` is ``alpha``, for negatives
    ``1 - p`` and ``1 - alpha``. In between they are interpolated, and ``-log p_t`` is the cross-entropy of y, as in
    torchvision; ``pos_weight`` multiplies beside ``alpha``. It takes logits, and it averages by default; detection sums
    and divides by the number of objects.

    Args:
        logits: log-odds, not probabilities; floating, ``[...]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[...]``.
        alpha: weight of the positive class, in [0, 1]; None weights neither class.
        gamma: focal exponent, at least 0; 0 is cross-entropy.
        axis: the class axis of per-class weights; 1 for channel-first images.
        pos_weight: factor of the loss of positives, at least 0, a scalar or ``[classes]``.
        class_weights: factor of the loss of each class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, at least 0, rank of the labels; size-1 axes broadcast.
        where: bool mask, True for valid elements, rank of the labels; size-1 axes broadcast. Masked values may be NaN.
        label_smoothing: eps in [0, 1]; labels y become ``(1 - eps) y + eps / 2``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the labels for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, ``alpha`` or ``gamma`` out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
        >>> labels = jnp.array([[1, 0, 1], [0, 1, 1]])
        >>> print(f"{jaxce.sigmoid_focal_loss(logits, labels):.3f}")
        0.097
        >>> print(f"{jaxce.sigmoid_focal_loss(logits, labels, alpha=None, gamma=0.0):.3f}")
        0.675
        >>> print(f"{(jaxce.sigmoid_focal_loss(logits, labels, reduction='sum') / labels.sum()):.3f}")
        0.146

    See Also:
        ``focal_loss``: for exclusive classes.
        ``asymmetric_loss``: one exponent for positives, another for negatives.
        ``quality_focal_loss``: for labels that are qualities, such as an overlap.
        ``sigmoid_binary_cross_entropy``: the same with gamma 0 and alpha None.

    Source:
        Lin, Goyal, Girshick, He and Dollar, "Focal Loss for Dense Object Detection" (ICCV 2017), eq. 5.
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        pos_weight=pos_weight,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        alpha=(alpha, 0, 1, None),
        gamma=(gamma, 0, math.inf),
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_sigmoid_focal_loss, x, reduction)


def _sigmoid_focal_loss(x: SigmoidInputs) -> tuple[Array, float]:
    parameters = x["alpha"], x["gamma"], pos_weight_of(x)
    return in_classes(x, element_losses(_focal, _focal_derivative, x.logits, smoothed_labels(x), parameters))


def _focal(z: Array, y: Array, parameters: tuple[Any, ...]) -> Array:
    """``alpha_t u**gamma h`` with the cross-entropy h of y, and ``u = 1 - p_t``."""
    alpha, gamma, pos_weight = parameters
    u = y * jax.nn.sigmoid(-z) + (1 - y) * jax.nn.sigmoid(z)
    modulated: Array = above_zero(u) ** gamma * binary_cross_entropy_from_logits(z, y, pos_weight)
    return _alpha_t(alpha, y) * modulated


def _focal_derivative(z: Array, y: Array, parameters: tuple[Any, ...]) -> Array:
    """``alpha_t u**gamma (gamma h u' / u + h')``, where ``u' / u = (1 - 2 y) / (1 + y exp(-z) + (1 - y) exp(z))``."""
    z = clipped_for_exp(z)
    alpha, gamma, w = (*parameters[:2], 1 if parameters[2] is None else parameters[2])
    p, one_minus_p = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    u = y * one_minus_p + (1 - y) * p
    h = w * y * softplus(-z) + (1 - y) * softplus(z)
    of_log_u = (1 - 2 * y) / (1 + y * jnp.exp(-z) + (1 - y) * jnp.exp(z))
    modulated: Array = u**gamma * (gamma * h * of_log_u + (1 - y) * p - w * y * one_minus_p)
    return _alpha_t(alpha, y) * modulated


def _alpha_t(alpha: Array | None, y: Array) -> Array:
    return jnp.ones((), y.dtype) if alpha is None else y * alpha + (1 - y) * (1 - alpha)


def asymmetric_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma_pos: Hyperparameter = 1.0,
    gamma_neg: Hyperparameter = 4.0,
    clip: Hyperparameter = 0.05,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Focal loss with two exponents: ``-y (1 - p)**g+ log p - (1 - y) m**g- log(1 - m)``, ``m = max(p - clip, 0)``.

    For multi-label data with few positives. Negatives predicted below ``clip`` have loss and gradient 0, and a large
    ``gamma_neg`` down-weights the other easy negatives. The authors' code has the same defaults, but sums. It takes
    logits, not probabilities.

    Args:
        logits: log-odds, not probabilities; floating, ``[...]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[...]``.
        gamma_pos: focal exponent g+ of positives, at least 0.
        gamma_neg: focal exponent g- of negatives, at least 0.
        clip: shift of the probability of negatives, in [0, 1]; 0 is none.
        axis: the class axis of per-class weights; 1 for channel-first images.
        class_weights: factor of the loss of each class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, at least 0, rank of the labels; size-1 axes broadcast.
        where: bool mask, True for valid elements, rank of the labels; size-1 axes broadcast. Masked values may be NaN.
        label_smoothing: eps in [0, 1]; labels y become ``(1 - eps) y + eps / 2``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the labels for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, hyperparameters out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
        >>> labels = jnp.array([[1, 0, 1], [0, 1, 1]])
        >>> print(f"{jaxce.asymmetric_loss(logits, labels):.3f}")
        0.363
        >>> print(f"{jaxce.asymmetric_loss(logits, labels, gamma_pos=0.0, gamma_neg=2.0, clip=0.0):.3f}")
        0.540
        >>> print(f"{jaxce.asymmetric_loss(logits, labels, where=labels == 1, reduction='sum'):.3f}")
        2.152

    See Also:
        ``sigmoid_focal_loss``: one exponent for both.
        ``sigmoid_binary_cross_entropy``: the same with both exponents and ``clip`` 0.

    Source:
        Ben-Baruch et al., "Asymmetric Loss for Multi-Label Classification" (ICCV 2021), eq. 7.
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        gamma_pos=(gamma_pos, 0, math.inf),
        gamma_neg=(gamma_neg, 0, math.inf),
        clip=(clip, 0, 1),
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_asymmetric_loss, x, reduction)


def _asymmetric_loss(x: SigmoidInputs) -> tuple[Array, float]:
    parameters = x["gamma_pos"], x["gamma_neg"], x["clip"]
    return in_classes(x, element_losses(_asymmetric, _asymmetric_derivative, x.logits, smoothed_labels(x), parameters))


def _asymmetric(z: Array, y: Array, parameters: tuple[Any, ...]) -> Array:
    """``-y (1 - p)**g+ log p - (1 - y) m**g- log(1 - m)``, with ``m = max(p - clip, 0)``."""
    gamma_pos, gamma_neg, clip = parameters
    p, one_minus_p = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    m, one_minus_m = jnp.maximum(p - clip, 0), jnp.minimum(one_minus_p + clip, 1)
    nll_m = jnp.minimum(jnp.log1p(m / one_minus_m), softplus(z))  # the bound is the value without a clip
    positive, negative = above_zero(one_minus_p) ** gamma_pos * softplus(-z), above_zero(m) ** gamma_neg * nll_m
    return safe_multiply(y, positive) + safe_multiply(1 - y, negative)


def _asymmetric_derivative(z: Array, y: Array, parameters: tuple[Any, ...]) -> Array:
    """``-y (1-p)**g+ (1 - p - g+ p log p) + (1-y) m**g- (1 / (1-m) - g- log(1-m) / m) p (1-p)``."""
    z = clipped_for_exp(z)
    gamma_pos, gamma_neg, clip = parameters
    p, one_minus_p = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    m, one_minus_m = above_zero(p - clip), jnp.minimum(one_minus_p + clip, 1)
    positive: Array = one_minus_p**gamma_pos * (one_minus_p + gamma_pos * p * softplus(-z))
    of_m = m**gamma_neg * (1 / one_minus_m + gamma_neg * jnp.log1p(m / one_minus_m) / m)
    negative = jnp.where(p <= clip, 0, of_m * p * one_minus_p)
    return (1 - y) * negative - y * positive


def quality_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = None,
    gamma: Hyperparameter = 2.0,
    variant: Literal["quality", "varifocal"] = "quality",
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Focal loss of a quality y in [0, 1]: ``|y - p|**gamma h``, with the sigmoid p and the cross-entropy h.

    For detectors whose score is also the overlap of the box: y is the overlap, and 0 for the background. The variant
    ``"varifocal"`` is ``y h`` for y above 0, and ``alpha p**gamma h`` for background. It takes logits, and it averages;
    detectors sum and divide by the number of objects.

    Args:
        logits: log-odds, not probabilities; floating, ``[...]``.
        labels: quality in [0, 1], 0 for background; bool, integer or floating, ``[...]``.
        alpha: weight of elements with label 0, in [0, 1]; None is 1. VarifocalNet uses 0.75.
        gamma: focal exponent, at least 0; 0 is cross-entropy.
        variant: ``"quality"`` or ``"varifocal"``.
        axis: the class axis of per-class weights; 1 for channel-first images.
        class_weights: factor of the loss of each class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, at least 0, rank of the labels; size-1 axes broadcast.
        where: bool mask, True for valid elements, rank of the labels; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the labels for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape or outside [0, 1], an unknown variant, ``alpha`` or ``gamma`` out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
        >>> overlaps = jnp.array([[0.9, 0.0, 0.4], [0.0, 0.7, 0.0]])
        >>> print(f"{jaxce.quality_focal_loss(logits, overlaps):.3f}")
        0.039
        >>> total = jaxce.quality_focal_loss(logits, overlaps, variant="varifocal", alpha=0.75, reduction="sum")
        >>> print(f"{(total / overlaps.sum()):.3f}")
        0.591

    See Also:
        ``sigmoid_focal_loss``: for labels that say which class, not how well.
        ``sigmoid_binary_cross_entropy``: the same with gamma 0.

    Source:
        Li et al., "Generalized Focal Loss" (NeurIPS 2020), eq. 2.
        The variant: Zhang, Wang, Dayoub and Suenderhauf, "VarifocalNet" (CVPR 2021), eq. 2.
    """
    check_choice("variant", variant, ("quality", "varifocal"))
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        alpha=(alpha, 0, 1, None),
        gamma=(gamma, 0, math.inf),
        reduction=reduction,
    )
    return run_loss(_quality_focal_loss if variant == "quality" else _varifocal_loss, x, reduction)


def _quality_focal_loss(x: SigmoidInputs) -> tuple[Array, float]:
    loss = element_losses(_quality, _quality_derivative, x.logits, x.labels, x["gamma"])
    return in_classes(x, _weigh_background(x, loss))


def _weigh_background(x: SigmoidInputs, loss: Array) -> Array:
    alpha = x["alpha"]  # NaN if it is invalid, and then every loss is
    return loss if alpha is None else safe_multiply(jnp.where(x.labels == 0, alpha, 1 + 0 * alpha), loss)


def _quality(z: Array, y: Array, gamma: Any) -> Array:
    """``|y - p|**gamma h``, where ``p - y = (1 - y) p - y (1 - p)`` has the digits of a p near 1."""
    distance = jnp.abs((1 - y) * jax.nn.sigmoid(z) - y * jax.nn.sigmoid(-z))
    loss: Array = above_zero(distance) ** gamma * binary_cross_entropy_from_logits(z, y, None)
    return loss


def _quality_derivative(z: Array, y: Array, gamma: Any) -> Array:
    """``|d|**gamma (gamma p (1 - p) h / d + d)`` with ``d = p - y``."""
    z = clipped_for_exp(z)
    p, one_minus_p = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    d, h = (1 - y) * p - y * one_minus_p, y * softplus(-z) + (1 - y) * softplus(z)
    distance = above_zero(jnp.abs(d))
    derivative: Array = distance**gamma * d * (gamma * p * one_minus_p * h / distance**2 + 1)
    return derivative


def _varifocal_loss(x: SigmoidInputs) -> tuple[Array, float]:
    loss = element_losses(_varifocal, _varifocal_derivative, x.logits, x.labels, x["gamma"])
    return in_classes(x, _weigh_background(x, loss))


def _varifocal(z: Array, y: Array, gamma: Any) -> Array:
    """``y h`` for labels above 0, ``p**gamma softplus(z)`` for label 0; an invalid gamma makes all NaN."""
    background = above_zero(jax.nn.sigmoid(z)) ** gamma * softplus(z)
    return jnp.where(y == 0, background, y * binary_cross_entropy_from_logits(z, y, None) + 0 * gamma)


def _varifocal_derivative(z: Array, y: Array, gamma: Any) -> Array:
    """``y (p - y)``, and ``p**gamma (gamma (1 - p) softplus(z) + p)`` for label 0."""
    z = clipped_for_exp(z)
    p, one_minus_p = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    background = p**gamma * (gamma * one_minus_p * softplus(z) + p)
    return jnp.where(y == 0, background, y * ((1 - y) * p - y * one_minus_p) + 0 * gamma)
