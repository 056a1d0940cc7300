"""Focal losses of the sigmoid: binary cross-entropy with a factor that down-weights easy elements."""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._inputs import open_sigmoid
from jaxce._numerics import focal_modulation, is_off, safe_multiply, safe_power
from jaxce._sigmoid import binary_cross_entropy_from_logits, in_classes, smoothed_labels
from jaxce._types import Hyperparameter, Reduced, Reduction, SigmoidInputs
from jaxce.reductions import run_loss


def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = 0.25,
    gamma: Hyperparameter = 2.0,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Sigmoid cross-entropy that down-weights easy elements: ``-alpha_t (1 - p_t)**gamma log p_t``.

    For dense detection and rare positives. For positives ``p_t`` is p and ``alpha_t`` is ``alpha``, for negatives
    ``1 - p`` and ``1 - alpha``. In between they are interpolated, and ``-log p_t`` is the cross-entropy of y, as in
    torchvision. It takes logits, and it averages by default; detection often sums and divides by the number of objects.

    Args:
        logits: log-odds, not probabilities; floating, ``[...]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[...]``.
        alpha: weight of the positive class, in [0, 1]; None weights neither class.
        gamma: focal exponent, at least 0; 0 is cross-entropy.
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
        ``sigmoid_binary_cross_entropy``: the same with gamma 0 and alpha None.

    Source:
        Lin, Goyal, Girshick, He and Dollar, "Focal Loss for Dense Object Detection" (ICCV 2017), eq. 5.
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
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
    z, y, alpha = x.logits.astype(x.labels.dtype), smoothed_labels(x), x["alpha"]
    one_minus_p_t = y * jax.nn.sigmoid(-z) + (1 - y) * jax.nn.sigmoid(z)
    alpha_t = jnp.ones((), y.dtype) if alpha is None else y * alpha + (1 - y) * (1 - alpha)
    focal, h = safe_power(one_minus_p_t, x["gamma"]), binary_cross_entropy_from_logits(z, y, None)
    focal = jnp.where(jnp.isinf(h), lax.stop_gradient(focal), focal)  # its derivative is 0 there, and 0 * inf is NaN
    return in_classes(x, alpha_t * safe_multiply(focal, h))


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
    z, y = x.logits.astype(x.labels.dtype), smoothed_labels(x)
    positive, negative = jax.nn.softplus(-z), jax.nn.softplus(z)
    if not is_off(x["clip"]):  # log(1 - m) = min(log(1 - p + clip), 0), by logaddexp for small 1 - p
        negative = -jnp.minimum(jnp.logaddexp(-negative, jnp.log(x["clip"])), 0)
    positive, negative = focal_modulation(positive, x["gamma_pos"]), focal_modulation(negative, x["gamma_neg"])
    return in_classes(x, safe_multiply(y, positive) + safe_multiply(1 - y, negative))
