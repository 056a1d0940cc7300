"""Losses of margins: by how much the right scores must lie above the others."""

import math
from typing import Literal, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._class_axis import broadcast_mask, expand_class_axis, one_hot
from jaxce._inputs import check_choice, open_sigmoid, open_softmax
from jaxce._numerics import compute_dtype, fill_masked, safe_multiply, safe_power
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
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Hinge of a score that should win by a margin: ``w_y/C sum_{c != y} max(0, margin - x_y + x_c)**p``.

    The loss of support vector machines: what wins by the margin costs nothing and has no gradient. That formula, with
    every other class in the sum, is Weston and Watkins's, divided by ``C`` as in PyTorch's ``multi_margin_loss``.
    Crammer and Singer's looks at the best of them alone, ``w_y max(0, margin - x_y + max_{c != y} x_c)**p``.

    Args:
        logits: scores, any real numbers, floating, ``[..., classes]``.
        labels: class ids of any integer dtype, ``[...]``.
        margin: by how much the right score should win, at least 0.
        p: exponent of each violation, at least 1; 2 is the squared hinge.
        variant: ``"weston-watkins"`` or ``"crammer-singer"``.
        axis: the class axis of the logits; 1 for channel-first images.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, labels that are not integers, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, an unknown variant, ``p`` below 1.

    Example:
        >>> logits = jnp.array([[0.1, 0.2, 0.4, 0.8]])
        >>> print(f"{multiclass_hinge_loss(logits, jnp.array([3])):.3f}")
        0.325

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
    )
    formula = _weston_watkins if variant == "weston-watkins" else _crammer_singer
    return run_loss(formula, x, reduction)


def _weston_watkins(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    z, lead, mine = _opened_lead(x)
    return _where_told(x, z, lead, hinge(lead, mine, x["margin"], x["p"], x.axis))


def _crammer_singer(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    z, lead, mine = _opened_lead(x)
    best = jnp.max(jnp.where(mine, -jnp.inf, lead), x.axis)
    return _where_told(x, z, lead, safe_power(_positive(x["margin"] + best), x["p"]))


def _opened_lead(x: SoftmaxInputs) -> tuple[Array, Array, Array]:
    """The scores, by how much each class leads the right one, and which one that is."""
    z = fill_masked(x.logits, broadcast_mask(x.mask, x.logits, x.axis)).astype(compute_dtype(x.logits))
    return z, *logit_gap(z, cast(Ids, x.labels).ids, x.axis)


def _where_told(x: SoftmaxInputs, z: Array, lead: Array, loss: PerExample) -> tuple[PerExample, Array]:
    """The loss, weighted, and NaN where it cannot be told."""
    named, told, weight = cast(Ids, x.labels).valid, _numbers(lead, x.axis), target(x)[1]
    return safe_multiply(weight, only_valid(loss, z, told if named is None else told & named, x.axis)), weight


def multilabel_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Hinge between all labels that hold and all that do not: ``1/C sum_{i in Y, j not in Y} max(0, 1 - x_i + x_j)``.

    For several labels at once, each of which should score above every other by 1. Labels are multi-hot, where PyTorch's
    are lists of ids; in between, ``y_i (1 - y_j)`` weighs the pairs. The work grows with the square of the classes.

    Args:
        logits: scores, any real numbers, floating, ``[..., classes]``.
        labels: for each class whether it holds, bool, integers 0 or 1, or floating in between, ``[..., classes]``.
        axis: the class axis of the logits.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, weights that do not fit.

    Example:
        >>> logits, labels = jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([[1, 0, 0, 1]])
        >>> print(f"{multilabel_margin_loss(logits, labels):.3f}")
        0.850

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
        bounded=True,
    )
    return run_loss(_multilabel_margin_loss, x, reduction)


def _multilabel_margin_loss(x: SigmoidInputs) -> tuple[PerExample, float]:
    z, y = x.logits.astype(x.labels.dtype), x.labels
    return only_valid(multilabel_hinge(z, y, 1 - y, x.axis), z, _numbers(z + y, x.axis), x.axis), 1.0


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
    """Sigmoid cross-entropy of an example, mean over its classes: ``1/C sum_c w_c (softplus(x_c) - y_c x_c)``.

    ``sigmoid_binary_cross_entropy`` with one number, one weight and one mask for each example instead of each class.

    Args:
        logits: log-odds, floating, ``[..., classes]``.
        labels: for each class whether it holds, bool, integers 0 or 1, or floating in between, ``[..., classes]``.
        axis: the class axis of the logits.
        class_weights: factor of the terms of a class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than 0 and 1, weights that do not fit.

    Example:
        >>> logits = jnp.array([[2.0, -1.0]])
        >>> print(f"{multilabel_soft_margin_loss(logits, jnp.array([[1, 1]])):.3f}")
        0.720

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
        bounded=True,
    )
    return run_loss(_multilabel_soft_margin_loss, x, reduction)


def _multilabel_soft_margin_loss(x: SigmoidInputs) -> tuple[PerExample, float]:
    loss, weight = in_classes(x, binary_cross_entropy_from_logits(x.logits, x.labels, None))
    return jnp.sum(loss, x.axis) / loss.shape[x.axis], weight


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
    """Logistic loss of answers 1 and -1: ``log(1 + exp(-y x))``.

    ``sigmoid_binary_cross_entropy`` for labels that are signs. Integer labels of 0 raise: they would cost ``log 2``
    whatever the score.

    Args:
        logits: log-odds, floating, ``[...]``.
        labels: answers, 1 or -1, bool, integer or floating, the shape of the logits.
        axis: the axis along which ``class_weights`` lie.
        class_weights: factor of the whole loss of a class, at least 0, a scalar or ``[classes]``.
        sample_weights: weight of each element, the rank of the logits; size-1 axes broadcast.
        where: elements to count, bool, the rank of the logits; size-1 axes broadcast. The others may hold anything.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the shape of the logits for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: labels of another shape, integer labels other than -1 and 1, weights that do not fit.

    Example:
        >>> logits = jnp.array([2.0, -1.0])
        >>> print(f"{soft_margin_loss(logits, jnp.array([1, 1])):.3f}")
        0.720

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
        bounded=True,
    )
    return run_loss(_soft_margin_loss, x, reduction)


def _soft_margin_loss(x: SigmoidInputs) -> tuple[Array, float]:
    return in_classes(x, soft_margin(x.logits.astype(x.labels.dtype), x.labels))


def logit_gap(x: Array, ids: Array, axis: int) -> tuple[Array, Array]:
    """By how much each class leads the right one, and which one that is."""
    mine = one_hot(ids, x.shape[axis], axis)
    return jnp.where(mine, 0, x - jnp.sum(jnp.where(mine, x, 0), axis, keepdims=True)), mine


def hinge(lead: Array, mine: Array, margin: Array, p: Hyperparameter, axis: int) -> PerExample:
    """``1/C sum_{c != y} max(0, margin - x_y + x_c)**p`` along ``axis``."""
    missed = _positive(jnp.where(mine, 0, margin + lead))
    return jnp.sum(safe_power(missed, p), axis) / lead.shape[axis]


def multilabel_hinge(x: Array, inside: Array, outside: Array, axis: int) -> PerExample:
    """``1/C sum_ij inside_i outside_j max(0, 1 - x_i + x_j)`` along ``axis``.

    One class at a time, so that the pairs are never an array.
    """
    x, inside, outside = (replicate_axes(a, [axis]) for a in (x, inside, outside))

    @jax.checkpoint
    def add(loss: Array, i: Array) -> tuple[Array, None]:
        score, weight = (lax.dynamic_index_in_dim(a, i, axis) for a in (x, inside))
        missed = safe_multiply(outside, _positive(1 + (x - score)))
        return loss + safe_multiply(weight.squeeze(axis), jnp.sum(missed, axis)), None

    total: PerExample = lax.scan(add, jnp.zeros_like(jnp.sum(x, axis)), jnp.arange(x.shape[axis]))[0]
    return total / x.shape[axis]


def soft_margin(x: Array, y: Array) -> Array:
    """``log(1 + exp(-y x))`` for each element, with ``y`` 1 or -1."""
    return jax.nn.softplus(-y * x)


def hinge_of_distances(x: Array, y: Array, margin: Array) -> Array:
    """``x`` unless y is -1, and ``max(0, margin - x)`` unless it is 1; at the margin the slope is -1, as in PyTorch."""
    gap = margin - x
    missed = jnp.where(gap >= 0, gap, lax.stop_gradient(jnp.maximum(gap, 0)))
    return jnp.where(y != -1, x, 0) + jnp.where(y != 1, missed, 0)


def _positive(gap: Array) -> Array:
    """``max(0, gap)`` with slope 0 at 0, where a maximum would share it; like PyTorch's, it passes over NaN."""
    return jnp.where(gap > 0, gap, jnp.zeros((), gap.dtype))


def _numbers(x: Array, axis: int) -> Array:
    """Where no score of a row is NaN."""
    return ~jnp.any(jnp.isnan(x), axis)


def only_valid(loss: PerExample, x: Array, valid: Array | None, axis: int) -> PerExample:
    """The loss of rows ``x``, NaN in value and in the gradient of the whole row where it cannot be read."""
    if valid is None:
        return loss
    nothing = jnp.sum(jnp.where(expand_class_axis(valid, axis), 0, x), axis)
    return loss + jnp.where(valid, jnp.zeros((), x.dtype), jnp.nan) * nothing
