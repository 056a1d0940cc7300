"""Losses of the margin of binary labels: logistic loss and hinge."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._elementwise import element_losses
from jaxce._inputs import open_sigmoid
from jaxce._numerics import safe_multiply
from jaxce._sigmoid import in_classes
from jaxce._types import Hyperparameter, Reduced, Reduction, SigmoidInputs
from jaxce.reductions import run_loss


def soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Logistic loss of labels 1 and -1: ``log(1 + exp(-y x))`` for each element.

    For labels 1 and -1 it is ``sigmoid_binary_cross_entropy`` of 1 and 0. Integer labels of 0 raise: map labels of 0
    and 1 to signs with ``2 * labels - 1``. Boolean labels are mapped to 1 and -1. It takes logits, not probabilities.

    Args:
        logits: log-odds, not probabilities; floating, ``[...]``.
        labels: 1 for positive, -1 for negative, or in between; bool, integer or floating, ``[...]``.
        axis: the class axis of per-class weights; 1 for channel-first images.
        class_weights: factor of the loss of each class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, at least 0, rank of the labels; size-1 axes broadcast.
        where: bool mask, True for valid elements, rank of the labels; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the labels for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than -1 and 1, weights that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 1, -1])
        >>> print(f"{jaxce.soft_margin_loss(logits, labels):.3f}")
        0.805
        >>> print(jaxce.soft_margin_loss(logits, labels, where=labels == 1, reduction="none"))
        [0.127 1.313 0.   ]

    See Also:
        ``sigmoid_binary_cross_entropy``: takes labels 0 and 1.
        ``hinge_loss``: 0 beyond the margin.

    Source:
        Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning" (Springer, 2nd ed., 2009), table 12.1.
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        reduction=reduction,
        negative_label=-1,
    )
    return run_loss(_soft_margin_loss, x, reduction)


def _soft_margin_loss(x: SigmoidInputs) -> tuple[Array, float]:
    return in_classes(x, element_losses(_soft_margin, _soft_margin_derivative, x.logits, x.labels, None))


def _soft_margin(z: Array, y: Array, _: None) -> Array:
    """``log(1 + exp(-y z))``, and log 2 for label 0."""
    return jax.nn.softplus(-safe_multiply(y, z))


def _soft_margin_derivative(z: Array, y: Array, _: None) -> Array:
    """``-y sigmoid(-y z)``."""
    return -y * jax.nn.sigmoid(-safe_multiply(y, z))


def hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    p: Hyperparameter = 1,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Hinge of binary labels: ``max(0, 1 - (2 y - 1) x)**p`` for each element.

    The loss of binary support vector machines, and of critics in GANs. Elements with a margin of 1 have loss and
    gradient 0, so the scores are not calibrated as probabilities. Labels are 0 and 1, as those of the other binary
    losses: signs become such labels with ``labels > 0``.

    Args:
        logits: scores, any real numbers, floating, ``[...]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[...]``.
        p: exponent of each violation, at least 1; 2 is the squared hinge.
        axis: the class axis of per-class weights; 1 for channel-first images.
        class_weights: factor of the loss of each class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, at least 0, rank of the labels; size-1 axes broadcast.
        where: bool mask, True for valid elements, rank of the labels; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the labels for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, ``p`` below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 1, 0])
        >>> print(jaxce.hinge_loss(logits, labels, reduction="none"))
        [0.  2.  1.5]
        >>> print(f"{jaxce.hinge_loss(logits, labels, p=2):.3f}")
        2.083

    See Also:
        ``multiclass_hinge_loss``: for exclusive classes.
        ``soft_margin_loss``: smooth, and calibrated.

    Source:
        Cortes and Vapnik, "Support-Vector Networks" (Machine Learning 20, 1995), eq. 21.
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        p=(p, 1, math.inf),
        reduction=reduction,
    )
    return run_loss(_hinge_loss, x, reduction)


def _hinge_loss(x: SigmoidInputs) -> tuple[Array, float]:
    return in_classes(x, element_losses(_hinge, _hinge_derivative, x.logits, x.labels, x["p"]))


def _hinge(z: Array, y: Array, p: Any) -> Array:
    """``max(0, 1 - (2 y - 1) z)**p``."""
    loss: Array = jnp.maximum(_violation(z, y), 0) ** p
    return loss


def _hinge_derivative(z: Array, y: Array, p: Any) -> Array:
    """``-(2 y - 1) p v**(p - 1)`` for a violation ``v = 1 - (2 y - 1) z`` above 0."""
    violation = _violation(z, y)
    is_beyond = violation <= 0  # False for NaN
    return jnp.where(is_beyond, 0, p * jnp.where(is_beyond, 1, violation) ** (p - 1)) * (1 - 2 * y)


def _violation(z: Array, y: Array) -> Array:
    return 1 - safe_multiply(2 * y - 1, z)
