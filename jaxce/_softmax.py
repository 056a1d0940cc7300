"""Losses over exclusive classes: one right class for each example, or probabilities that sum to 1."""

import math

from jax.typing import ArrayLike

from jaxce._inputs import is_off, open_softmax
from jaxce._labels import target
from jaxce._log_normalizer import surprise_of_log_probs, surprise_of_logits
from jaxce._types import AxisName, Hyperparameter, Reduced, Reduction
from jaxce.reductions import close


def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Softmax cross-entropy from logits, ``sum_c w_c p_c (log_z - x_c)``, or ``w_y (log_z - x_y)`` for class ids.

    DOC
    """
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        class_axis_name=class_axis_name,
        ranges={"label_smoothing": (label_smoothing, 0, 1), "z_loss": (z_loss, 0, math.inf)},
        reduction=reduction,
    )
    q, weight = target(x, label_smoothing)
    loss, log_z = surprise_of_logits(x.logits, q)
    if not is_off(z_loss):
        loss += weight * z_loss * log_z**2
    return close(x, loss, weight, reduction)


def nll_loss(
    log_probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Negative log-likelihood from log-probabilities, ``-w_y log p_y``.

    DOC
    """
    x = open_softmax(
        log_probs,
        labels,
        name="log_probs",
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    q, weight = target(x)
    return close(x, surprise_of_log_probs(x.logits, q), weight, reduction)
