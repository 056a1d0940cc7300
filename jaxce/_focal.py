"""Cross-entropy reshaped: losses that are another function ``f`` of the surprise ``s = -log p`` of the right class."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._cross_entropy import cross_entropy_from_logits, log_probs
from jaxce._inputs import open_softmax
from jaxce._numerics import focal_modulation, is_off, safe_multiply
from jaxce._targets import target, target_probs, upcast_probs, weighted_class_sum
from jaxce._types import Hyperparameter, Ids, PerExample, Reduced, Reduction, SoftmaxInputs
from jaxce.reductions import run_loss


def focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Hyperparameter = 2.0,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Softmax cross-entropy that looks past the easy examples: ``-w_y (1 - p_y)**gamma log p_y``.

    For class imbalance and dense detection, where sure and right answers would outweigh the rest by their number. With
    probabilities q as labels each class has its own factor, ``-sum_c w_c q_c (1 - p_c)**gamma log p_c``. ``gamma`` 0 is
    ``cross_entropy``; the weight called alpha in detection is ``class_weights``. It is no proper score, so calibrate
    before reading the softmax as probabilities. For yes-or-no questions use ``sigmoid_focal_loss``.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        gamma: focus, at least 0; 2 is usual, 0 is cross-entropy.
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
        ValueError: shapes that do not fit, ids outside the classes, gamma below 0.

    Example:
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> print(f"{focal_loss(logits, jnp.array([0, 2]), gamma=2.0):.3f}")
        0.484

    Source:
        Lin, Goyal, Girshick, He and Dollar, "Focal Loss for Dense Object Detection" (ICCV 2017), eq. 4 and 5.
    """
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        gamma=(gamma, 0, math.inf),
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_focal_loss, x, reduction)


def _focal_loss(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    return _transformed(x, lambda nll: focal_modulation(nll, x["gamma"]))


def poly1_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: Hyperparameter = 1.0,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Softmax cross-entropy with its series in 1 - p begun anew: ``w_y (-log p_y + epsilon (1 - p_y))``.

    Cross-entropy is ``sum_j (1 - p)**j / j``; this changes the leading 1 to ``1 + epsilon``. Above 0 it keeps pushing
    answers that are right already, below 0 it lets them be. ``epsilon`` 0 is ``cross_entropy``.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        epsilon: coefficient, at least -1; 1 to 2 for images, -1 for detection, in the paper.
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
        ValueError: shapes that do not fit, ids outside the classes, epsilon below -1.

    Example:
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> print(f"{poly1_loss(logits, jnp.array([0, 2]), epsilon=1.0):.3f}")
        1.333

    Source:
        Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions" (ICLR 2022), eq. 6.
    """
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        epsilon=(epsilon, -1, math.inf),
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_poly1_loss, x, reduction)


def _poly1_loss(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    return _transformed(x, lambda nll: nll - x["epsilon"] * jnp.expm1(-nll))


def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: Hyperparameter = 0.7,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Between cross-entropy and mean absolute error: ``w_y (1 - p_y**q) / q``, for labels that may be wrong.

    No label costs more than ``1 / q``, so wrong ones cannot dominate. ``q`` 0 is ``cross_entropy``, which learns fast
    and believes every label; ``q`` 1 is ``1 - p_y``, the mean absolute error, which is robust and slow.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        q: in [0, 1]; 0.7 in the paper.
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
        ValueError: shapes that do not fit, ids outside the classes, q outside [0, 1].

    Example:
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> print(f"{generalized_cross_entropy(logits, jnp.array([0, 2]), q=0.7):.3f}")
        0.553

    Source:
        Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels" (NeurIPS
        2018), eq. 6.
    """
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        q=(q, 0, 1),
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
    )
    return run_loss(_generalized_cross_entropy, x, reduction)


def _generalized_cross_entropy(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    return _transformed(x, lambda nll: _box_cox(nll, x["q"]))


def _box_cox(s: Array, q: Any) -> Array:
    """``(1 - exp(-q s)) / q``, by its series where ``q s`` is small: at 0 it is ``s``."""
    if is_off(q):
        return s
    t = safe_multiply(q, s)
    small = (q == 0) | (t < 1e-3)
    q, t = jnp.where(small, 1, q), jnp.where(small, t, 0)
    return jnp.where(small, s * (1 - t / 2 + t**2 / 6 - t**3 / 24), -jnp.expm1(-q * s) / q)


def _transformed(x: SoftmaxInputs, f: Callable[[Array], Array]) -> tuple[PerExample, Array]:
    """``sum_c w_c q_c f(-log p_c)``; for ids without smoothing of one number per example, weighted after ``f``."""
    if isinstance(x.labels, Ids) and is_off(x["label_smoothing"]):
        unweighted, _ = target(dataclasses.replace(x, class_weights=None))
        weight = target(x)[1]
        return safe_multiply(weight, f(cross_entropy_from_logits(x, unweighted)[0])), weight
    x = upcast_probs(x)
    return weighted_class_sum(x, safe_multiply(target_probs(x, x["label_smoothing"]), f(-log_probs(x))))
