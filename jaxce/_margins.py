"""Margin losses: scores of the labels must exceed the others by a margin."""

import math
from typing import Literal, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._class_axis import expand_class_axis, mask_rows, one_hot
from jaxce._inputs import check_choice, open_sigmoid, open_softmax
from jaxce._numerics import compute_dtype, safe_multiply, safe_power
from jaxce._sharding import replicate_axes
from jaxce._sigmoid import binary_cross_entropy_from_logits, in_classes
from jaxce._targets import target
from jaxce._types import Hyperparameter, Ids, PerExample, Reduced, Reduction, SigmoidInputs, SoftmaxInputs
from jaxce.reductions import run_loss


def multiclass_hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Hyperparameter = 1.0,
    p: Hyperparameter = 1,
    variant: Literal["weston-watkins", "crammer-singer"] = "weston-watkins",
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Multi-class hinge: ``w_y/C sum_{c != y} max(0, margin - x_y + x_c)**p``.

    The loss of support vector machines: examples that win by the margin have loss and gradient 0. The formula is Weston
    and Watkins's, divided by ``C`` as in PyTorch's ``multi_margin_loss``. Crammer and Singer's takes the best other
    class alone: ``w_y max(0, margin - x_y + max_{c != y} x_c)**p``. The scores are not calibrated as probabilities.

    Args:
        logits: scores, any real numbers, floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis.
        margin: required lead of the label over each other class, at least 0.
        p: exponent of each violation, at least 1; 2 is the squared hinge.
        variant: ``"weston-watkins"`` or ``"crammer-singer"``.
        axis: the class axis; 1 for channel-first images. A tuple of axes counts as one.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, labels that are not integers, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, an unknown variant, ``p`` below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([[0.1, 0.2, 0.4, 0.8], [3.0, 0.0, 0.0, 2.5]]), jnp.array([3, 0])
        >>> print(f"{jaxce.multiclass_hinge_loss(logits, labels):.3f}")
        0.225
        >>> print(jaxce.multiclass_hinge_loss(logits, labels, variant="crammer-singer", reduction="none"))
        [0.6 0.5]
        >>> print(f"{jaxce.multiclass_hinge_loss(logits, labels, p=2, sample_weights=jnp.array([3.0, 1.0])):.3f}")
        0.130

    See Also:
        ``multilabel_margin_loss``: for several labels per example.
        ``cross_entropy``: has a gradient for every example.

    Source:
        Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition" (ESANN 1999).
        Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines" (JMLR 2,
        2001).
    """
    check_choice("variant", variant, ("weston-watkins", "crammer-singer"))
    x = open_softmax(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        margin=(margin, 0, math.inf),
        p=(p, 1, math.inf),
        reduction=reduction,
        only_ids=True,
        normalized=False,
    )
    formula = _weston_watkins if variant == "weston-watkins" else _crammer_singer
    return run_loss(formula, x, reduction)


def _weston_watkins(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    z, gap, at_label = _scores_and_gaps(x)
    return _weighted_or_nan(x, z, gap, hinge(gap, at_label, x["margin"], x["p"], x.axis))


def _crammer_singer(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    z, gap, at_label = _scores_and_gaps(x)
    largest = jnp.max(jnp.where(at_label, -jnp.inf, gap), x.axis)
    return _weighted_or_nan(x, z, gap, safe_power(_positive_part(x["margin"] + largest), x["p"]))


def _scores_and_gaps(x: SoftmaxInputs) -> tuple[Array, Array, Array]:
    """The scores ``z``, ``z_c - z_y``, and ``[c = y]``."""
    z = mask_rows(x.logits, x.mask, x.axis).astype(compute_dtype(x.logits))
    return z, *logit_gap(z, cast(Ids, x.labels).ids, x.axis)


def _weighted_or_nan(x: SoftmaxInputs, z: Array, gap: Array, loss: PerExample) -> tuple[PerExample, Array]:
    """``w_y loss``, and NaN for an invalid id, or for a score or a margin that is NaN."""
    valid_ids, valid_scores, weight = cast(Ids, x.labels).valid, _no_nan(x["margin"] + gap, x.axis), target(x)[1]
    valid = valid_scores if valid_ids is None else valid_scores & valid_ids
    return safe_multiply(weight, only_valid(loss, z, valid, x.axis)), weight


def multilabel_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Multi-label hinge: ``1/C sum_{i in Y, j not in Y} max(0, 1 - x_i + x_j)`` for the set Y of labels.

    For several labels per example: each should score above every other class by 1. Labels are multi-hot; PyTorch's are
    lists of ids. Labels in between weight the pairs by ``y_i (1 - y_j)``. The cost grows with the square of the number
    of classes.

    Args:
        logits: scores, any real numbers, floating, ``[..., classes]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[..., classes]``.
        axis: the class axis; 1 for channel-first images.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, weights that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[0.1, 0.2, 0.4, 0.8], [2.0, 0.0, 0.0, 0.5]])
        >>> labels = jnp.array([[1, 0, 0, 1], [1, 0, 0, 0]])
        >>> print(f"{jaxce.multilabel_margin_loss(logits, labels):.3f}")
        0.425
        >>> print(jaxce.multilabel_margin_loss(logits, labels, reduction="none"))
        [0.85 0.  ]
        >>> print(f"{jaxce.multilabel_margin_loss(logits, labels, where=jnp.array([False, True])):.3f}")
        0.000

    See Also:
        ``multiclass_hinge_loss``: for one label per example.
        ``multilabel_soft_margin_loss``: smooth, and linear in the classes.

    Source:
        PyTorch, ``torch.nn.MultiLabelMarginLoss`` (documentation of 2.13).
        Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition" (ESANN 1999), for one label.
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        class_weights=None,
        sample_weights=sample_weights,
        where=where,
        reduction=reduction,
        rows=True,
    )
    return run_loss(_multilabel_margin_loss, x, reduction)


def _multilabel_margin_loss(x: SigmoidInputs) -> tuple[PerExample, float]:
    z, y = x.logits.astype(x.labels.dtype), x.labels
    return only_valid(multilabel_hinge(z, y, 1 - y, x.axis), z, _no_nan(z + y, x.axis), x.axis), 1.0


def multilabel_soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Sigmoid cross-entropy, mean over the classes: ``1/C sum_c w_c (softplus(x_c) - y_c x_c)`` per example.

    For several labels per example, with one loss, one weight and one mask for each row of classes. It takes logits, not
    probabilities. Class weights do not enter a divisor: the sum over classes is divided by ``C``.

    Args:
        logits: scores, any real numbers, floating, ``[..., classes]``.
        labels: 1 for positive, 0 for negative, or in between; bool, integer or floating, ``[..., classes]``.
        axis: the class axis; 1 for channel-first images.
        class_weights: factor of the terms of each class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, weights that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
        >>> labels = jnp.array([[1, 0, 1], [0, 1, 1]])
        >>> print(f"{jaxce.multilabel_soft_margin_loss(logits, labels):.3f}")
        0.675
        >>> print(jaxce.multilabel_soft_margin_loss(logits, labels, reduction="none"))
        [0.305 1.044]
        >>> print(f"{jaxce.multilabel_soft_margin_loss(logits, labels, sample_weights=jnp.array([3.0, 1.0])):.3f}")
        0.490

    See Also:
        ``sigmoid_binary_cross_entropy``: one loss for each element.
        ``multilabel_margin_loss``: the hinge.

    Source:
        PyTorch, ``torch.nn.MultiLabelSoftMarginLoss`` (documentation of 2.13).
    """
    x = open_sigmoid(
        logits,
        labels,
        axis=axis,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        reduction=reduction,
        rows=True,
    )
    return run_loss(_multilabel_soft_margin_loss, x, reduction)


def _multilabel_soft_margin_loss(x: SigmoidInputs) -> tuple[PerExample, float]:
    loss, weight = in_classes(x, binary_cross_entropy_from_logits(x.logits, x.labels, None))
    return jnp.sum(loss, x.axis) / loss.shape[x.axis], weight


def logit_gap(x: Array, ids: Array, axis: int) -> tuple[Array, Array]:
    """``x_c - x_y``, exactly 0 for ``c = y``, and ``[c = y]``."""
    at_label = one_hot(ids, x.shape[axis], axis)
    return jnp.where(at_label, 0, x - jnp.sum(jnp.where(at_label, x, 0), axis, keepdims=True)), at_label


def hinge(gap: Array, at_label: Array, margin: Array, p: Hyperparameter, axis: int) -> PerExample:
    """``1/C sum_{c != y} max(0, margin - x_y + x_c)**p`` along ``axis``."""
    violation = _positive_part(jnp.where(at_label, 0, margin + gap))
    return jnp.sum(safe_power(violation, p), axis) / gap.shape[axis]


def multilabel_hinge(x: Array, positive: Array, negative: Array, axis: int) -> PerExample:
    """``1/C sum_ij positive_i negative_j max(0, 1 - x_i + x_j)`` along ``axis``.

    A scan over the classes i, so that the pairs are never an array.
    """
    x, positive, negative = (replicate_axes(a, [axis]) for a in (x, positive, negative))

    @jax.checkpoint
    def add(loss: Array, i: Array) -> tuple[Array, None]:
        score, weight = (lax.dynamic_index_in_dim(a, i, axis) for a in (x, positive))
        violation = safe_multiply(negative, _positive_part(1 + (x - score)))
        return loss + safe_multiply(weight.squeeze(axis), jnp.sum(violation, axis)), None

    total: PerExample = lax.scan(add, jnp.zeros_like(jnp.sum(x, axis)), jnp.arange(x.shape[axis]))[0]
    return total / x.shape[axis]


def _positive_part(x: Array) -> Array:
    """``max(0, x)`` with derivative 0 at 0, and 0 for NaN, as in PyTorch; `jnp.maximum` has derivative 1/2 and NaN."""
    return jnp.where(x > 0, x, jnp.zeros((), x.dtype))


def _no_nan(x: Array, axis: int) -> Array:
    """Whether a row has no NaN."""
    return ~jnp.any(jnp.isnan(x), axis)


def only_valid(loss: PerExample, x: Array, valid: Array | None, axis: int) -> PerExample:
    """The loss of rows ``x``; NaN in value, and in the gradient of the whole row, for invalid ones."""
    if valid is None:
        return loss
    zero = jnp.sum(jnp.where(expand_class_axis(valid, axis), 0, x), axis)
    return loss + jnp.where(valid, jnp.zeros((), x.dtype), jnp.nan) * zero
