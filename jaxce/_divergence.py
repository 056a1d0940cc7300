"""Divergences between labels ``q`` and the softmax ``p``, the Brier score, and the entropy of ``p``."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._class_axis import broadcast_mask
from jaxce._cross_entropy import log_probs
from jaxce._inputs import open_logits, open_softmax
from jaxce._mixtures import check_beta, open_views
from jaxce._numerics import at_least_zero, compute_dtype, fill_masked, safe_multiply
from jaxce._row_losses import row_losses
from jaxce._targets import target, target_probs, upcast_probs, weighted_class_sum
from jaxce._types import Hyperparameter, Inputs, PerExample, Reduced, Reduction, SoftmaxInputs
from jaxce.reductions import run_loss


def entropy(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Entropy of the softmax p, in nats: ``-sum_c p_c log p_c``.

    The uncertainty of a model, from 0 to ``log(classes)``. Subtract it from a loss as an exploration bonus or against
    over-confidence; add it on unlabelled data. It takes logits, not probabilities. A class with logit ``-inf`` adds 0.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        axis: the class axis; 1 for channel-first images. A tuple of axes counts as one.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: shapes that do not fit, no classes.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
        >>> print(jaxce.entropy(logits, reduction="none"))
        [1.099 0.002]
        >>> print(f"{jaxce.entropy(logits, where=jnp.array([True, False])):.3f}")
        1.099
        >>> print(f"{jaxce.entropy(logits.T, axis=0):.3f}")
        0.551

    See Also:
        ``kl_divergence``: the difference of two distributions.
        ``CrossEntropyAux``: has the entropy too, without a gradient.

    Source:
        Shannon, "A Mathematical Theory of Communication" (Bell System Technical Journal 27, 1948), section 6.
    """
    x = open_logits(logits, axis=axis, sample_weights=sample_weights, where=where, reduction=reduction)
    return run_loss(_entropy, x, reduction)


def _entropy(x: Inputs) -> tuple[PerExample, float]:
    return row_losses(_entropy_of_rows, x), 1.0


def _entropy_of_rows(x: Inputs) -> PerExample:
    log_p = log_probs(x)
    return jnp.sum(safe_multiply(jnp.exp(log_p), -log_p), x.axis)


def kl_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Kullback-Leibler divergence of labels q from the softmax p: ``sum_c w_c q_c (log q_c - log p_c)``.

    For distillation, and for the votes of annotators. It is ``cross_entropy`` minus the entropy of the labels: 0 for
    equal distributions, with the same gradient for the logits. The first argument is logits or log-probabilities, not
    probabilities; the second is probabilities or ids. A label probability of 0 adds 0 and has a finite gradient.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
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
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> teacher = jnp.array([[0.5, 0.5, 0.0], [0.1, 0.6, 0.3]])
        >>> print(f"{jaxce.kl_divergence(logits, teacher):.3f}")
        0.265
        >>> print(jaxce.kl_divergence(logits, teacher, reduction="none"))
        [0.477 0.053]
        >>> print(f"{jaxce.kl_divergence(logits, teacher, class_weights=jnp.array([1.0, 2.0, 1.0])):.3f}")
        0.417

    See Also:
        ``cross_entropy``: the same without the entropy of the labels.
        ``js_divergence``: symmetric and bounded.

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
    return row_losses(_kl_of_rows, x), target(x)[1]


def _kl_of_rows(x: SoftmaxInputs) -> PerExample:
    q = target_probs(x)
    return _bounded(x, _kl_terms(q, log_probs(x)))


def _bounded(x: SoftmaxInputs, terms: Array) -> PerExample:
    """``sum_c w_c term_c``, at least 0 without class weights; with them a divergence may be negative."""
    divergence = weighted_class_sum(x, terms)
    return at_least_zero(divergence) if x.class_weights is None else divergence


def js_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    beta: float = 0.5,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Jensen-Shannon divergence of labels q and the softmax p: ``KL(q, m)/2 + KL(p, m)/2`` with ``m = (p + q)/2``.

    For noisy labels. By ``beta`` it is ``b KL(q, m) + (1 - b) KL(p, m)`` with ``m = b q + (1 - b) p``, without class
    weights at most ``log 2`` per example. Its gradient vanishes for a confident wrong prediction. The first argument is
    logits, not probabilities.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
        beta: 0 for KL(q, p), 1 for KL(p, q), between them a Jensen-Shannon divergence that vanishes toward both ends.
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
        ValueError: shapes that do not fit, ids outside the classes, a beta outside [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> teacher = jnp.array([[0.5, 0.5, 0.0], [0.1, 0.6, 0.3]])
        >>> print(f"{jaxce.js_divergence(logits, teacher):.3f}")
        0.058
        >>> print(jaxce.js_divergence(logits, jnp.array([0, 2]), reduction="none"))
        [0.057 0.412]
        >>> print(f"{jaxce.js_divergence(logits, teacher, beta=0.25):.3f}")
        0.045

    See Also:
        ``js_divergence_of_views``: of several views of an example, without labels.
        ``kl_divergence``: not symmetric, and not bounded.
        ``generalized_cross_entropy``: bounded, for noisy ids.

    Source:
        Lin, "Divergence Measures Based on the Shannon Entropy" (IEEE Transactions on Information Theory 37, 1991), eq.
        4.1.
    """
    check_beta(beta)
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
    return run_loss(_kl_divergence if beta == 0 else _Mixed(float(beta)), x, reduction)


@dataclasses.dataclass(frozen=True)
class _Mixed:
    """``beta KL(q, m) + (1 - beta) KL(p, m)`` for a beta above 0, and KL(p, q) for 1."""

    beta: float

    def __call__(self, x: SoftmaxInputs) -> tuple[PerExample, Array]:
        x = upcast_probs(x)
        return row_losses(self.of_rows, x), target(x)[1]

    def of_rows(self, x: SoftmaxInputs) -> PerExample:
        q, log_p = target_probs(x), log_probs(x)
        p = jnp.exp(log_p)
        if self.beta == 1:
            log_p, log_q = jnp.where(p == 0, 0, log_p), jnp.log(jnp.where(p == 0, 1, q))
            return _bounded(x, safe_multiply(p, log_p - log_q))
        log_m = _log(self.beta * q + (1 - self.beta) * p)
        return at_least_zero(
            weighted_class_sum(x, self.beta * _kl_terms(q, log_m) + (1 - self.beta) * _kl_terms(p, log_m))
        )


def js_divergence_of_views(
    logits: ArrayLike,
    *,
    view_axis: int = 0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Jensen-Shannon divergence of several softmax distributions: ``mean_v KL(p_v, m)`` with ``m = mean_v p_v``.

    For consistency between augmented views of an example, without labels, as in AugMix. It is 0 for equal predictions,
    and at most the logarithm of the number of views. All views have gradients. It takes logits, not probabilities.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[views, ..., classes]``.
        view_axis: the axis of the views.
        axis: the class axis; 1 for channel-first images.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool.
        ValueError: shapes that do not fit, no classes, one axis for both views and classes.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> clean = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> augmented = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> print(jaxce.js_divergence_of_views(jnp.stack([clean, augmented]), reduction="none"))
        [0.051 0.   ]
        >>> print(f"{12 * jaxce.js_divergence_of_views(jnp.stack([clean, augmented, augmented])):.3f}")
        0.261

    See Also:
        ``js_divergence``: of labels and one prediction.
        ``entropy``: the uncertainty of one prediction.

    Source:
        Hendrycks et al., "AugMix" (ICLR 2020), eq. 1.
    """
    x = open_views(
        logits, view_axis=view_axis, axis=axis, sample_weights=sample_weights, where=where, reduction=reduction
    )
    return run_loss(_js_divergence_of_views, x, reduction)


def _js_divergence_of_views(x: Inputs) -> tuple[PerExample, float]:
    z = fill_masked(x.logits, broadcast_mask(x.mask, x.logits[0], x.axis)).astype(compute_dtype(x.logits))
    p = jax.nn.softmax(z, 1 + x.axis)
    log_m = _log(jnp.mean(p, 0))
    return at_least_zero(jnp.sum(jnp.mean(_kl_terms(p, log_m[None]), 0), x.axis)), 1.0


def brier_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Brier score of the softmax p against labels q: ``w_y sum_c (p_c - q_c)**2``.

    The squared error of the probabilities, from 0 to 2 without weights. It is a proper scoring rule: calibrated
    probabilities minimize it. It is bounded, so its gradient vanishes for a confident wrong prediction. It takes
    logits, not probabilities.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
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
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]])
        >>> labels = jnp.array([0, 2, -1])
        >>> print(f"{jaxce.brier_loss(logits, labels, ignore_index=-1):.3f}")
        0.519
        >>> print(jaxce.brier_loss(logits, labels, where=labels >= 0, reduction="none"))
        [0.039 0.998 0.   ]
        >>> print(f"{jaxce.brier_loss(logits, jnp.eye(3)):.3f}")
        0.126

    See Also:
        ``cross_entropy``: a proper scoring rule without a bound.
        ``generalized_cross_entropy``: bounded, but not proper.

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
    weight = target(x)[1]
    return safe_multiply(weight, row_losses(_brier_of_rows, x)), weight


def _brier_of_rows(x: SoftmaxInputs) -> PerExample:
    return jnp.sum((jnp.exp(log_probs(x)) - target_probs(x)) ** 2, x.axis)


def _kl_terms(q: Array, log_p: Array) -> Array:
    """``q (log q - log p)`` with ``0 log 0 = 0``, and finite derivatives there."""
    return safe_multiply(q, _log(q) - log_p)


def _log(p: Array) -> Array:
    """``log p``; constant 0 below sqrt(tiny), as ``p log p`` vanishes there and its second derivative overflows."""
    return jnp.log(jnp.where(p <= jnp.finfo(p.dtype).tiny ** 0.5, 1, p))
