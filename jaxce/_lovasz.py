"""The Jaccard loss extended from sets of wrong pixels to errors that are numbers."""

from typing import Literal

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._numerics import safe_divide, safe_multiply
from jaxce._region_inputs import open_regions
from jaxce._region_sums import in_rows, over_classes, region_logits, region_probs
from jaxce._types import Activation, Reduced, Reduction, RegionInputs
from jaxce.reductions import run_loss


def lovasz_softmax(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    absent: Literal["count", "skip"] = "skip",
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Lovasz-Softmax: ``sum_i e_i (J_i - J_{i-1})`` of the sorted errors ``|y - p|`` of each class, mean of classes.

    Errors are sorted, largest first, and each pays for what it adds to the Jaccard loss ``J_i`` of the set of the first
    i. For hard predictions it is one minus intersection over union, and between them it is convex in the errors; often
    used to finish a training begun with ``cross_entropy``. It sorts the pixels, which costs more than Dice does.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities ``[batch, ..., classes]``; where classes do not exclude
            each other (``"sigmoid"``, or no ``axis``) answers like the logits, bool, integer or floating.
        axis: the class axis of the logits; 1 for channel-first images, None without one.
        batch_axis: the axis of the examples, whose regions are compared one by one; None makes one region of all.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``: what makes the logits probabilities.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"``.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, ``[batch, ...]``; size-1 axes broadcast.
        where: pixels to count, bool ``[batch, ...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        reduction: over the examples: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean()``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> logits, labels = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]]), jnp.array([[0, 1, 1]])
        >>> print(f"{lovasz_softmax(logits, labels):.3f}")
        0.182

    Source:
        Berman, Triki and Blaschko, "The Lovasz-Softmax Loss" (CVPR 2018), eq. 8 and 11, algorithm 1.
    """
    x = open_regions(
        logits,
        labels,
        axis=axis,
        batch_axis=batch_axis,
        activation=activation,
        absent=absent,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return run_loss(_lovasz_softmax, x, reduction)


def _lovasz_softmax(x: RegionInputs) -> tuple[Array, Array]:
    p, y, n = region_probs(x)
    return over_classes(x, _lovasz_extension(x, jnp.abs(y - p), y, n), y, n)


def lovasz_hinge(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = None,
    batch_axis: int | None = 0,
    absent: Literal["count", "skip"] = "count",
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Lovasz hinge: the Jaccard loss of margin errors ``max(0, 1 - x (2 y - 1))``, extended from sets to numbers.

    For binary masks, with ``sum_i e_i (J_i - J_{i-1})`` of the sorted errors as in ``lovasz_softmax``. Scores that win
    by a margin of 1 cost nothing. An example without foreground costs its largest error, or nothing with
    ``absent="skip"``.

    Args:
        logits: scores of the pixels, floating, ``[batch, ...]``.
        labels: answers from 0 to 1, bool, integer or floating, the shape of the logits; integers must be 0 or 1.
        axis: the class axis of the logits, where there are several masks; None without one.
        batch_axis: the axis of the examples, whose regions are compared one by one; None makes one region of all.
        absent: masks without a labelled pixel: ``"count"`` or ``"skip"``.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, ``[batch, ...]`` without the class axis; size-1 axes broadcast.
        where: pixels to count, bool, ``[batch, ...]`` without the class axis; size-1 axes broadcast.
        reduction: over the examples: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean()``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, weights that are not numbers, a mask that is not bool.
        ValueError: shapes that do not fit, integer labels other than 0 and 1, unknown choices.

    Example:
        >>> logits, labels = jnp.array([[2.0, -1.0, 0.5]]), jnp.array([[1, 0, 1]])
        >>> print(f"{lovasz_hinge(logits, labels):.3f}")
        0.250

    Source:
        Yu and Blaschko, "The Lovasz Hinge: A Novel Convex Surrogate for Submodular Losses" (TPAMI 42, 2020).
    """
    x = open_regions(
        logits,
        labels,
        axis=axis,
        batch_axis=batch_axis,
        activation="sigmoid",
        absent=absent,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=None,
        reduction=reduction,
    )
    return run_loss(_lovasz_hinge, x, reduction)


def _lovasz_hinge(x: RegionInputs) -> tuple[Array, Array]:
    z, y, n = region_logits(x)
    errors = jnp.maximum(1 - z * (2 * y - 1), 0)
    return over_classes(x, _lovasz_extension(x, errors, y, n), y, n)


def _lovasz_extension(x: RegionInputs, errors: Array, y: Array, n: Array) -> Array:
    """``sum_i e_i (J_i - J_{i-1})``, the errors of each region sorted; pixels count ``n`` times.

    ``J`` is one minus intersection over union. Its steps are written out, and both are sums of what is still to come or
    has come: as differences they would round away.
    """
    e, y, n = (in_rows(x, a) for a in (errors, y, jnp.broadcast_to(n, errors.shape)))
    n = safe_divide(n, lax.stop_gradient(jnp.max(n, 1, keepdims=True, initial=0)), 0)  # the scale of n does not matter
    # `jnp.argsort`, whose positions are not split as an explicit mesh splits the errors, before JAX 0.10.
    places = jnp.zeros_like(e, jnp.int32) + lax.broadcasted_iota(jnp.int32, (1, e.shape[1], 1), 1)
    _, order = lax.sort((-lax.stop_gradient(e), places), dimension=1, num_keys=1)
    e, inside, outside = (jnp.take_along_axis(a, order, 1) for a in (e, n * y, n * (1 - y)))
    everything, alarms = jnp.sum(inside, 1, keepdims=True), jnp.cumsum(outside, 1)
    intersection = jnp.pad(lax.cumsum(inside, 1, reverse=True)[:, 1:], ((0, 0), (0, 1), (0, 0)))
    before, union = everything + jnp.pad(alarms[:, :-1], ((0, 0), (1, 0), (0, 0))), everything + alarms
    step = safe_divide(inside, before, 0) + safe_divide(outside, union, 0) * safe_divide(intersection, before, 0)
    first = (before == 0) & (union > 0)  # of an absent class: from no error to all the loss there is
    return jnp.sum(safe_multiply(jnp.where(first, 1, step), e), 1)
