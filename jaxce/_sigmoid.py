"""Binary cross-entropy from logits and from probabilities: one independent label for each logit."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._class_axis import broadcast_per_class
from jaxce._inputs import open_sigmoid
from jaxce._numerics import clamped_at_zero, is_off, is_zero_tangent, safe_multiply, safe_multiply_no_select
from jaxce._rows import no_sharing
from jaxce._types import Hyperparameter, Reduced, Reduction, SigmoidInputs
from jaxce._value_checks import check_probabilities
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
    """Sigmoid cross-entropy: ``(1 - y) softplus(x) + pos_weight y softplus(-x)`` for each element.

    For binary and multi-label classification and binary masks: one independent label for each logit. It takes logits,
    not probabilities: do not apply sigmoid first. Every element is an example, and no logit overflows. The mean divides
    by the sum of the sample weights; class weights and ``pos_weight`` do not enter the divisor.

    Args:
        logits: log-odds, not probabilities; floating, ``[...]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[...]``.
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
        ValueError: labels of another shape, integer labels other than 0 and 1, weights that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
        >>> labels = jnp.array([[1, 0, 1], [0, 1, 1]])
        >>> print(f"{jaxce.sigmoid_binary_cross_entropy(logits, labels):.3f}")
        0.675
        >>> print(f"{jaxce.sigmoid_binary_cross_entropy(logits, labels, pos_weight=3.0, label_smoothing=0.1):.3f}")
        1.692
        >>> print(f"{jaxce.sigmoid_binary_cross_entropy(logits, labels, where=jnp.array([[True], [False]])):.3f}")
        0.305
        >>> print(jaxce.sigmoid_binary_cross_entropy(logits, labels, reduction=jaxce.Mean(axis=-1)))
        [0.305 1.044]

    See Also:
        ``binary_cross_entropy``: takes probabilities.
        ``sigmoid_focal_loss``: down-weights easy elements.
        ``multilabel_soft_margin_loss``: one loss for each row of classes.
        ``cross_entropy``: for exclusive classes.

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
    y = smoothed_labels(x)
    return in_classes(x, binary_cross_entropy_from_logits(x.logits, y, pos_weight_of(x)))


def pos_weight_of(x: SigmoidInputs) -> Array | None:
    """``pos_weight`` of the rank of the labels, or a scalar, or None."""
    return None if x.pos_weight is None else broadcast_per_class(x.pos_weight, x.labels.ndim, x.axis)


def smoothed_labels(x: SigmoidInputs) -> Array:
    """``(1 - eps) y + eps / 2``."""
    eps = x.label_smoothing
    return x.labels if is_off(eps) else x.labels * (1 - eps) + eps / 2


def binary_cross_entropy(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Reduction = "mean",
) -> Reduced:
    """Binary cross-entropy of probabilities: ``-y log p - (1 - y) log(1 - p)``, with logarithms clamped at -100.

    For models that end in a sigmoid, and for probabilities from elsewhere. It takes probabilities, not logits: a value
    outside [0, 1] raises if concrete, and is NaN if traced. The clamp is PyTorch's: a confident error costs 100, and no
    gradient exceeds 1e12. From logits ``sigmoid_binary_cross_entropy`` is exact and needs no clamp.

    Args:
        probs: probabilities in [0, 1], floating, ``[...]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[...]``.
        axis: the class axis of per-class weights; 1 for channel-first images.
        class_weights: factor of the loss of each class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, at least 0, rank of the labels; size-1 axes broadcast.
        where: bool mask, True for valid elements, rank of the labels; size-1 axes broadcast. Masked values may be NaN.
        label_smoothing: eps in [0, 1]; labels y become ``(1 - eps) y + eps / 2``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the labels for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer probabilities, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, probabilities outside [0, 1], weights that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> probs, labels = jnp.array([0.8, 0.7, 0.1]), jnp.array([1, 1, 0])
        >>> print(f"{jaxce.binary_cross_entropy(probs, labels):.3f}")
        0.228
        >>> print(f"{jaxce.binary_cross_entropy(probs, labels, sample_weights=jnp.array([1.0, 2.0, 1.0])):.3f}")
        0.260
        >>> print(jaxce.binary_cross_entropy(jnp.array([0.0]), jnp.array([1]), reduction="none"))
        [100.]

    See Also:
        ``sigmoid_binary_cross_entropy``: takes logits.
        ``nll_loss``: takes log-probabilities of exclusive classes.

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
        label_smoothing=(label_smoothing, 0, 1),
        reduction=reduction,
        filler=0.5,
    )
    p = check_probabilities("probs", x.logits.astype(x.labels.dtype), "Logits go to sigmoid_binary_cross_entropy.")
    return run_loss(_binary_cross_entropy, dataclasses.replace(x, logits=p), reduction)


def _binary_cross_entropy(x: SigmoidInputs) -> tuple[Array, float]:
    return in_classes(x, clamped_cross_entropy(x.logits, smoothed_labels(x)))


def in_classes(x: SigmoidInputs, loss: Array) -> tuple[Array, float]:
    """``w_c loss``, with weight 1 for every element: as in PyTorch, class weights do not enter the divisor."""
    if x.class_weights is not None:
        loss = safe_multiply(broadcast_per_class(x.class_weights, loss.ndim, x.axis), loss)
    return loss, 1.0


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def binary_cross_entropy_from_logits(
    x: Array, y: Array, pos_weight: Array | None, product: Callable[[Array, Array], Array] = safe_multiply
) -> Array:
    """``(1 - y) softplus(x) + pos_weight y softplus(-x)``; ``0 * inf`` is 0 with the default ``product``.

    Computed with ``softplus(x) = max(x, 0) + log1p(exp(-|x|))``. With another product, labels may lie beyond [0, 1].
    """
    may_be_negative, x = product is not safe_multiply, x.astype(y.dtype)
    product = product if may_be_negative else safe_multiply_no_select
    positive, negative = y if pos_weight is None else pos_weight * y, y - 1
    log_terms = (positive - negative) * jnp.log1p(jnp.exp(jnp.minimum(x, -x)))  # NaN if x is
    loss = product(positive, -jnp.minimum(x, 0)) - product(negative, jnp.maximum(x, 0)) + log_terms
    return loss if may_be_negative else clamped_at_zero(loss)


def _binary_cross_entropy_from_logits_jvp(
    product: Callable[[Array, Array], Array], primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    """``((1 - y) sigmoid(x) - w y sigmoid(-x)) dx + (w softplus(-x) - softplus(x)) dy + y softplus(-x) dw``.

    Without ``pos_weight`` w is 1, and the factor of dy is ``-x``, without cancellation.
    """
    (x, y, pos_weight), (dx, dy, dw) = primals, tangents
    loss = binary_cross_entropy_from_logits(*no_sharing(x, y), pos_weight, product)
    x = x.astype(y.dtype)
    w = jnp.ones((), x.dtype) if pos_weight is None else pos_weight
    d_loss = jnp.zeros_like(x)
    if not is_zero_tangent(dx):
        d_loss += ((1 - y) * jax.nn.sigmoid(x) - w * y * jax.nn.sigmoid(-x)) * dx.astype(y.dtype)
    if not is_zero_tangent(dy):
        d_loss += (-x if pos_weight is None else product(w, jax.nn.softplus(-x)) - jax.nn.softplus(x)) * dy
    if pos_weight is not None and not is_zero_tangent(dw):
        d_loss += product(y, jax.nn.softplus(-x)) * dw
    return loss, d_loss


binary_cross_entropy_from_logits.defjvp(_binary_cross_entropy_from_logits_jvp, symbolic_zeros=True)


@jax.custom_jvp
def clamped_cross_entropy(p: Array, y: Array) -> Array:
    """``-y log p - (1 - y) log(1 - p)`` with both logarithms clamped at -100, and PyTorch's derivatives."""
    return clamped_at_zero(-(y * jnp.maximum(jnp.log(p), -100) + (1 - y) * jnp.maximum(jnp.log1p(-p), -100)))


def _clamped_cross_entropy_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    """``(p - y) / max(p (1 - p), 1e-12) dp + (log(1 - p) - log p) dy``, the latter without a clamp."""
    (p, y), (dp, dy) = primals, tangents
    d_loss = jnp.zeros_like(p)
    if not is_zero_tangent(dp):
        d_loss += _clamped_gradient(p, y) * dp
    if not is_zero_tangent(dy):
        d_loss += (jnp.log1p(-p) - jnp.log(p)) * dy
    return clamped_cross_entropy(p, y), d_loss


clamped_cross_entropy.defjvp(_clamped_cross_entropy_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _clamped_gradient(p: Array, y: Array) -> Array:
    return (p - y) / jnp.maximum(p * (1 - p), 1e-12)


@_clamped_gradient.defjvp
def _clamped_gradient_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """The second derivative, bounded as PyTorch bounds it."""
    (p, y), (dp, dy) = primals, tangents
    curvature = (p * p - 2 * p * y + y) / (p * (1 - p) + 1e-12) ** 2
    return _clamped_gradient(p, y), curvature * dp - dy / jnp.maximum(p * (1 - p), 1e-12)
