"""Losses that apply a function ``f`` to ``s = -log p_y``, the negative log-likelihood of the label."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._cross_entropy import cross_entropy_from_logits, log_probs
from jaxce._inputs import open_softmax
from jaxce._numerics import focal_modulation, is_off, safe_multiply
from jaxce._row_losses import row_losses
from jaxce._targets import target, target_probs, upcast_probs, weighted_class_sum
from jaxce._types import Hyperparameter, Ids, PerExample, Reduced, Reduction, SoftmaxInputs
from jaxce.reductions import run_loss


def focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Hyperparameter = 2.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Softmax cross-entropy that down-weights easy examples: ``-w_y (1 - p_y)**gamma log p_y``.

    For class imbalance with many easy examples; the paper's alpha is ``class_weights``. It takes logits, not
    probabilities. With probabilities q as labels, each class has its own factor:
    ``-sum_c w_c q_c (1 - p_c)**gamma log p_c``. It is not a proper scoring rule, so calibrate the softmax before you
    use it as probabilities.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
        gamma: focal exponent, at least 0; 0 is cross-entropy.
        axis: the class axis; 1 for channel-first images. A tuple of axes counts as one.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        label_smoothing: eps in [0, 1]; labels p become ``(1 - eps) p + eps / classes``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, bool labels, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, gamma below 0.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]])
        >>> labels = jnp.array([0, 2, -1])
        >>> print(jaxce.focal_loss(logits, labels, ignore_index=-1, reduction="none"))
        [0.004 0.964 0.   ]
        >>> print(f"{jaxce.focal_loss(logits, labels, ignore_index=-1, gamma=0.0):.3f}")
        0.861
        >>> print(f"{jaxce.focal_loss(logits, labels, ignore_index=-1, label_smoothing=0.1):.3f}")
        0.546

    See Also:
        ``cross_entropy``: the same with gamma 0.
        ``sigmoid_focal_loss``: for binary labels, as in detection.
        ``balanced_class_weights``: computes weights against imbalance.

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
    return _transformed(x, lambda nll, x: focal_modulation(nll, x["gamma"]))


def poly1_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: Hyperparameter = 1.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Cross-entropy with another first coefficient in ``1 - p_y``: ``w_y (-log p_y + epsilon (1 - p_y))``.

    Cross-entropy is the series ``sum_j (1 - p)**j / j``; this loss adds ``epsilon`` to its first coefficient. A
    positive ``epsilon`` raises the gradient of confident correct examples, a negative one lowers it. Tune it: the best
    value depends on the data. It takes logits, not probabilities.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
        epsilon: coefficient, at least -1; the paper uses 1 to 2 for images, -1 for detection; 0 is cross-entropy.
        axis: the class axis; 1 for channel-first images. A tuple of axes counts as one.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        label_smoothing: eps in [0, 1]; labels p become ``(1 - eps) p + eps / classes``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, bool labels, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, epsilon below -1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]])
        >>> labels = jnp.array([0, 2, -1])
        >>> print(f"{jaxce.poly1_loss(logits, labels, ignore_index=-1):.3f}")
        1.333
        >>> print(jaxce.poly1_loss(logits, labels, ignore_index=-1, epsilon=-1.0, reduction="none"))
        [0.014 0.763 0.   ]

    See Also:
        ``cross_entropy``: the same with epsilon 0.
        ``focal_loss``: lowers the gradient of easy examples further.

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
    return _transformed(x, lambda nll, x: nll - x["epsilon"] * jnp.expm1(-nll))


def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: Hyperparameter = 0.7,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Generalized cross-entropy, for noisy labels: ``w_y (1 - p_y**q) / q``.

    For training sets with wrong labels: an example costs at most ``w_y / q``. With ``q`` 0 it is ``cross_entropy``, and
    it learns fast. With ``q`` 1 it is ``1 - p_y``, half the absolute error: robust, but slow to learn. It takes logits,
    not probabilities.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
        q: exponent, in [0, 1]; the paper uses 0.7.
        axis: the class axis; 1 for channel-first images. A tuple of axes counts as one.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        label_smoothing: eps in [0, 1]; labels p become ``(1 - eps) p + eps / classes``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, bool labels, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, q outside [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]])
        >>> labels = jnp.array([0, 2, -1])
        >>> print(f"{jaxce.generalized_cross_entropy(logits, labels, ignore_index=-1):.3f}")
        0.553
        >>> print(jaxce.generalized_cross_entropy(logits, labels, ignore_index=-1, q=1.0, reduction="none"))
        [0.156 0.788 0.   ]

    See Also:
        ``cross_entropy``: the same with q 0.
        ``js_divergence``: bounded, too, and symmetric.
        ``brier_loss``: bounded, too, and a proper scoring rule.

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
    return _transformed(x, lambda nll, x: _box_cox(nll, x["q"]))


def _box_cox(s: Array, q: Any) -> Array:
    """``(1 - exp(-q s)) / q``, and its series ``s (1 - q s / 2 + ...)`` for ``q s < 1e-3``."""
    if is_off(q):
        return s
    t = safe_multiply(q, s)
    small = (q == 0) | (t < 1e-3)
    q, t = jnp.where(small, 1, q), jnp.where(small, t, 0)
    return jnp.where(small, s * (1 - t / 2 + t**2 / 6 - t**3 / 24), -jnp.expm1(-q * s) / q)


def _transformed(x: SoftmaxInputs, f: Callable[[Array, SoftmaxInputs], Array]) -> tuple[PerExample, Array]:
    """``sum_c w_c q_c f(-log p_c)``. For ids without smoothing this is ``w_y f(-log p_y)``, one number per example."""
    x = upcast_probs(x)
    weight = target(x)[1]
    if isinstance(x.labels, Ids) and is_off(x.label_smoothing):
        unweighted, _ = target(dataclasses.replace(x, class_weights=None))
        return safe_multiply(weight, f(cross_entropy_from_logits(x, unweighted)[0], x)), weight
    return row_losses(partial(_over_all_classes, f), x), weight


def _over_all_classes(f: Callable[[Array, SoftmaxInputs], Array], x: SoftmaxInputs) -> PerExample:
    return weighted_class_sum(x, safe_multiply(target_probs(x), f(-log_probs(x), x)))
