"""Losses over independent yes-or-no questions: one label for each logit."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from jaxce._class_axis import broadcast_per_class
from jaxce._inputs import open_sigmoid
from jaxce._numerics import focal_modulation, is_off, safe_multiply, safe_multiply_no_select, safe_power
from jaxce._rows import no_sharing
from jaxce._types import Hyperparameter, Reduced, Reduction, SigmoidInputs
from jaxce._value_checks import raise_or_nan
from jaxce.reductions import run_loss


def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Sigmoid cross-entropy from logits: ``(1 - y) softplus(x) + pos_weight y softplus(-x)`` for each element.

    For binary and multi-label classification and binary masks: yes-or-no questions, each on its own. It is exact at
    both ends: no logit is large enough to overflow, and the gradient keeps its tails. Every element counts as one
    example; sample weights enter the divisor of the mean, class weights and ``pos_weight`` do not.

    Args:
        logits: log-odds, floating, ``[...]``.
        labels: answers from 0 to 1, bool, integer or floating, the shape of the logits; integers must be 0 or 1.
        axis: the axis along which ``pos_weight`` and ``class_weights`` lie.
        pos_weight: factor of the positive term, at least 0, a scalar or ``[classes]``.
        class_weights: factor of the whole loss of a class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, the rank of the logits; size-1 axes broadcast.
        where: elements to count, bool, the rank of the logits; size-1 axes broadcast. The others may hold anything.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) y + eps / 2``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the logits for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, weights that do not fit.

    Example:
        >>> logits = jnp.array([[2.0, -1.0, 0.5]])
        >>> print(f"{sigmoid_binary_cross_entropy(logits, jnp.array([[1, 0, 1]])):.3f}")
        0.305

    Source:
        Bishop, "Pattern Recognition and Machine Learning" (Springer, 2006), eq. 4.90, with eq. 4.87 put in.
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        pos_weight=pos_weight,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_sigmoid_binary_cross_entropy, x, reduction)


def _sigmoid_binary_cross_entropy(x: SigmoidInputs) -> tuple[Array, float]:
    y = _smoothed_labels(x)
    pos_weight = None if x.pos_weight is None else broadcast_per_class(x.pos_weight, y.ndim, x.axis)
    return in_classes(x, binary_cross_entropy_from_logits(x.logits, y, pos_weight))


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
    """Sigmoid cross-entropy that looks past the easy elements: ``-alpha_t (1 - p_t)**gamma log p_t``.

    For dense detection and rare positives, with ``p_t`` the probability of the right answer and ``alpha_t`` ``alpha``
    for yes, ``1 - alpha`` for no. Labels between are mixed as in torchvision: ``p_t = y p + (1 - y) (1 - p)``, beside
    the cross-entropy of y. The defaults are the paper's, and torchvision's but for the reduction.

    Args:
        logits: log-odds, floating, ``[...]``.
        labels: answers from 0 to 1, bool, integer or floating, the shape of the logits; integers must be 0 or 1.
        alpha: weight of yes, in [0, 1]; None weighs neither.
        gamma: focus, at least 0; 0 is cross-entropy.
        axis: the axis along which ``class_weights`` lie.
        class_weights: factor of the whole loss of a class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, the rank of the logits; size-1 axes broadcast.
        where: elements to count, bool, the rank of the logits; size-1 axes broadcast. The others may hold anything.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) y + eps / 2``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the logits for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, ``alpha`` or ``gamma`` out of range.

    Example:
        >>> logits = jnp.array([[2.0, -1.0, 0.5]])
        >>> print(f"{sigmoid_focal_loss(logits, jnp.array([[1, 0, 1]])):.3f}")
        0.011

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
        bounded=True,
    )
    return run_loss(_sigmoid_focal_loss, x, reduction)


def _sigmoid_focal_loss(x: SigmoidInputs) -> tuple[Array, float]:
    z, y, alpha = x.logits.astype(x.labels.dtype), _smoothed_labels(x), x["alpha"]
    one_minus_p_t = y * jax.nn.sigmoid(-z) + (1 - y) * jax.nn.sigmoid(z)
    alpha_t = jnp.ones((), y.dtype) if alpha is None else y * alpha + (1 - y) * (1 - alpha)
    focal = safe_power(one_minus_p_t, x["gamma"])
    return in_classes(x, alpha_t * safe_multiply(focal, binary_cross_entropy_from_logits(z, y, None)))


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
    """Multi-label focal loss, harder on easy negatives: ``-y (1 - p)**g+ log p - (1 - y) m**g- log(1 - m)``.

    For many labels of which few hold: ``m = max(p - clip, 0)`` leaves out the negatives that are sure already, and
    ``gamma_neg`` above ``gamma_pos`` shrinks the others faster than the positives. With both 0 and no ``clip`` it is
    ``sigmoid_binary_cross_entropy``. The three defaults are those of the authors' code, which sums.

    Args:
        logits: log-odds, floating, ``[...]``.
        labels: answers from 0 to 1, bool, integer or floating, the shape of the logits; integers must be 0 or 1.
        gamma_pos: focus of the positives, at least 0.
        gamma_neg: focus of the negatives, at least 0.
        clip: probability below which a negative costs nothing, in [0, 1].
        axis: the axis along which ``class_weights`` lie.
        class_weights: factor of the whole loss of a class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, the rank of the logits; size-1 axes broadcast.
        where: elements to count, bool, the rank of the logits; size-1 axes broadcast. The others may hold anything.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) y + eps / 2``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the logits for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, hyperparameters out of range.

    Example:
        >>> logits = jnp.array([[2.0, -1.0, 0.5]])
        >>> print(f"{asymmetric_loss(logits, jnp.array([[1, 0, 1]])):.3f}")
        0.065

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
        bounded=True,
    )
    return run_loss(_asymmetric_loss, x, reduction)


def _asymmetric_loss(x: SigmoidInputs) -> tuple[Array, float]:
    z, y = x.logits.astype(x.labels.dtype), _smoothed_labels(x)
    positive, negative = jax.nn.softplus(-z), jax.nn.softplus(z)
    if not is_off(x["clip"]):  # 1 - m = min(1 - p + clip, 1), in logarithms so that the tail of 1 - p is kept
        negative = -jnp.minimum(jnp.logaddexp(-negative, jnp.log(x["clip"])), 0)
    positive, negative = focal_modulation(positive, x["gamma_pos"]), focal_modulation(negative, x["gamma_neg"])
    return in_classes(x, safe_multiply(y, positive) + safe_multiply(1 - y, negative))


def _smoothed_labels(x: SigmoidInputs) -> Array:
    """``(1 - eps) y + eps / 2``."""
    eps = x["label_smoothing"]
    return x.labels if is_off(eps) else x.labels * (1 - eps) + eps / 2


def binary_cross_entropy(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Binary cross-entropy from probabilities: ``-y log p - (1 - y) log(1 - p)``, the logarithms clamped at -100.

    For models that end in a sigmoid and for probabilities from elsewhere. The clamp is PyTorch's: a certain mistake
    costs 100, and its slope is at most 1e12. From logits use ``sigmoid_binary_cross_entropy``, which needs no clamp.

    Args:
        probs: probabilities in [0, 1], floating, ``[...]``.
        labels: answers from 0 to 1, bool, integer or floating, the shape of the probabilities; integers 0 or 1.
        axis: the axis along which ``class_weights`` lie.
        class_weights: factor of the whole loss of a class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, the rank of the probabilities; size-1 axes broadcast.
        where: elements to count, bool, the rank of the probabilities; size-1 axes broadcast.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of ``probs`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer probabilities, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, probabilities outside [0, 1], weights that do not fit.

    Example:
        >>> probs = jnp.array([0.8, 0.7, 0.1])
        >>> print(f"{binary_cross_entropy(probs, jnp.array([1, 1, 0]), reduction='sum'):.3f}")
        0.685

    Source:
        Bishop, "Pattern Recognition and Machine Learning" (Springer, 2006), eq. 4.90.
    """
    x = open_sigmoid(
        probs,
        labels,
        name="probs",
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        reduction=reduction,
        filler=0.5,
    )
    p = x.logits.astype(x.labels.dtype)
    p = raise_or_nan("probs", p, ~((p < 0) | (p > 1)), "in [0, 1]")
    return run_loss(_binary_cross_entropy, dataclasses.replace(x, logits=p), reduction)


def _binary_cross_entropy(x: SigmoidInputs) -> tuple[Array, float]:
    return in_classes(x, clamped_cross_entropy(x.logits, x.labels))


def in_classes(x: SigmoidInputs, loss: Array) -> tuple[Array, float]:
    """Class weights multiply each element and, as in PyTorch, stay out of the divisor."""
    if x.class_weights is not None:
        loss = safe_multiply(broadcast_per_class(x.class_weights, loss.ndim, x.axis), loss)
    return loss, 1.0


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def binary_cross_entropy_from_logits(
    x: Array, y: Array, pos_weight: Array | None, product: Callable[[Array, Array], Array] = safe_multiply
) -> Array:
    """``(1 - y) softplus(x) + pos_weight y softplus(-x)``; ``0 * inf`` is 0 with the default ``product``."""
    product, x = safe_multiply_no_select if product is safe_multiply else product, x.astype(y.dtype)
    positive, negative = y if pos_weight is None else pos_weight * y, y - 1
    both = (positive - negative) * jnp.log1p(jnp.exp(-jnp.abs(x)))  # what is left of both terms; NaN if x is
    return product(positive, -jnp.minimum(x, 0)) - product(negative, jnp.maximum(x, 0)) + both


def _binary_cross_entropy_from_logits_jvp(
    product: Callable[[Array, Array], Array], primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    """Without ``pos_weight`` the slopes of the two terms along the labels would cancel: their difference is ``x``."""
    (x, y, pos_weight), (dx, dy, dw) = primals, tangents
    loss = binary_cross_entropy_from_logits(*no_sharing(x, y), pos_weight, product)
    x = x.astype(y.dtype)
    w = jnp.ones((), x.dtype) if pos_weight is None else pos_weight
    slope = jnp.zeros_like(x)
    if not isinstance(dx, SymbolicZero):
        slope += ((1 - y) * jax.nn.sigmoid(x) - w * y * jax.nn.sigmoid(-x)) * dx.astype(y.dtype)
    if not isinstance(dy, SymbolicZero):
        slope += (-x if pos_weight is None else product(w, jax.nn.softplus(-x)) - jax.nn.softplus(x)) * dy
    if dw is not None and not isinstance(dw, SymbolicZero):
        slope += product(y, jax.nn.softplus(-x)) * dw
    return loss, slope


binary_cross_entropy_from_logits.defjvp(_binary_cross_entropy_from_logits_jvp, symbolic_zeros=True)


@jax.custom_jvp
def clamped_cross_entropy(p: Array, y: Array) -> Array:
    """``-y log p - (1 - y) log(1 - p)`` with both logarithms clamped at -100, and PyTorch's derivatives."""
    return -(y * jnp.maximum(jnp.log(p), -100) + (1 - y) * jnp.maximum(jnp.log1p(-p), -100))


def _clamped_cross_entropy_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    """The slope is bounded where the logarithm is clamped, the one along the labels is not."""
    (p, y), (dp, dy) = primals, tangents
    slope = jnp.zeros_like(p)
    if not isinstance(dp, SymbolicZero):
        slope += _bounded_slope(p, y) * dp
    if not isinstance(dy, SymbolicZero):
        slope += (jnp.log1p(-p) - jnp.log(p)) * dy
    return clamped_cross_entropy(p, y), slope


clamped_cross_entropy.defjvp(_clamped_cross_entropy_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _bounded_slope(p: Array, y: Array) -> Array:
    return (p - y) / jnp.maximum(p * (1 - p), 1e-12)


@_bounded_slope.defjvp
def _bounded_slope_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Bounded again, as PyTorch bounds it."""
    (p, y), (dp, dy) = primals, tangents
    curvature = (p * p - 2 * p * y + y) / (p * (1 - p) + 1e-12) ** 2
    return _bounded_slope(p, y), curvature * dp - dy / jnp.maximum(p * (1 - p), 1e-12)
