"""Distances between two distributions over the classes, and the entropy of one."""

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from jaxce._cross_entropy import log_probs
from jaxce._inputs import open_logits, open_softmax
from jaxce._numerics import safe_multiply
from jaxce._targets import target, target_probs, upcast_probs, weighted_class_sum
from jaxce._types import Hyperparameter, Inputs, PerExample, Reduced, Reduction, SoftmaxInputs
from jaxce.reductions import run_loss


def entropy(
    logits: ArrayLike,
    *,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Entropy of the softmax, in nats: ``-sum_c p_c log p_c``.

    How unsure the model is, from 0 to ``log(classes)``: a bonus in reinforcement learning, a penalty on unlabelled data
    and on overconfidence. A class of logit ``-inf`` adds nothing.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``.
        axis: the class axis of the logits; 1 for channel-first images.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: shapes that do not fit, no classes.

    Example:
        >>> logits = jnp.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
        >>> print(f"{entropy(logits):.3f}")
        0.551

    Source:
        Shannon, "A Mathematical Theory of Communication" (Bell System Technical Journal 27, 1948), section 6.
    """
    x = open_logits(logits, axis=axis, sample_weights=sample_weights, where=where, reduction=reduction)
    return run_loss(_entropy, x, reduction)


def _entropy(x: Inputs) -> tuple[PerExample, float]:
    log_p = log_probs(x)
    return jnp.sum(safe_multiply(jnp.exp(log_p), -log_p), x.axis), 1.0


def kl_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Kullback-Leibler divergence of labels q from the softmax p: ``sum_c w_c q_c (log q_c - log p_c)``.

    For distributions as labels: a teacher's, an annotator's. It is ``cross_entropy`` less the entropy of the labels: 0
    where both agree, with the same gradient along the logits. Log-probabilities are logits, too. A class of probability
    0 in the labels adds nothing, and has a finite slope.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        axis: the class axis of the logits; 1 for channel-first images.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) p + eps / classes``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, bool labels, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> logits, teacher = jnp.array([[2.0, 0.0, -1.0]]), jnp.array([[0.5, 0.5, 0.0]])
        >>> print(f"{kl_divergence(logits, teacher):.3f}")
        0.477

    Source:
        Kullback and Leibler, "On Information and Sufficiency" (Annals of Mathematical Statistics 22, 1951), eq. 2.4.
    """
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_kl_divergence, x, reduction)


def _kl_divergence(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    x = upcast_probs(x)
    q = target_probs(x, x["label_smoothing"])
    return weighted_class_sum(x, _relative(q, log_probs(x)))


def js_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Jensen-Shannon divergence of labels q and the softmax p: ``KL(q, m)/2 + KL(p, m)/2`` with ``m = (p + q)/2``.

    Symmetric, and at most ``log 2`` however wrong a prediction is: for consistency between two views, and for labels
    that may be wrong. Class weights multiply the terms of their class.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        axis: the class axis of the logits; 1 for channel-first images.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) p + eps / classes``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, bool labels, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> logits, teacher = jnp.array([[2.0, 0.0, -1.0]]), jnp.array([[0.5, 0.5, 0.0]])
        >>> print(f"{js_divergence(logits, teacher):.3f}")
        0.102

    Source:
        Lin, "Divergence Measures Based on the Shannon Entropy" (IEEE Transactions on Information Theory 37, 1991), eq.
        4.1.
    """
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_js_divergence, x, reduction)


def _js_divergence(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    x = upcast_probs(x)
    q, p = target_probs(x, x["label_smoothing"]), jnp.exp(log_probs(x))
    log_m = _log((p + q) / 2)
    return weighted_class_sum(x, (_relative(q, log_m) + _relative(p, log_m)) / 2)


def brier_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Brier score of the softmax p against labels q: ``w_y sum_c (p_c - q_c)**2``.

    The squared error of the probabilities, from 0 to 2: a proper score, so it rewards calibration, and a bounded one,
    so a wrong label costs little. Far from the label its slope vanishes, where that of ``cross_entropy`` does not.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        axis: the class axis of the logits; 1 for channel-first images.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) p + eps / classes``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, bool labels, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> print(f"{brier_loss(logits, jnp.array([0, 2])):.3f}")
        0.519

    Source:
        Brier, "Verification of Forecasts Expressed in Terms of Probability" (Monthly Weather Review 78, 1950), eq. 2.
    """
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_brier_loss, x, reduction)


def _brier_loss(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    x = upcast_probs(x)
    p, q = jnp.exp(log_probs(x)), target_probs(x, x["label_smoothing"])
    weight = target(x)[1]
    return safe_multiply(weight, jnp.sum((p - q) ** 2, x.axis)), weight


def _relative(q: Array, log_p: Array) -> Array:
    """``q (log q - log p)`` with ``0 log 0 = 0``, and finite slopes there."""
    return safe_multiply(q, _log(q) - log_p)


def _log(p: Array) -> Array:
    """``log p``, and 0 with slope 0 near 0, where it is multiplied by p and its curvature would overflow."""
    return jnp.log(jnp.where(p <= jnp.finfo(p.dtype).tiny ** 0.5, 1, p))


def kl_term(log_q: Array, p: Array) -> Array:
    """``p (log p - log q)`` with ``0 log 0 = 0``, and PyTorch's slopes."""
    return xlogy(p, p) - p * log_q


def kl_term_of_logs(log_q: Array, log_p: Array) -> Array:
    """``p (log p - log q)`` from both logarithms."""
    return jnp.exp(log_p) * (log_p - log_q)
