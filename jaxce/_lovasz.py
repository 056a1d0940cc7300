"""The Lovasz extension of the Jaccard loss, from sets of wrong pixels to real errors."""

from typing import Literal

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._numerics import safe_divide, safe_multiply
from jaxce._region_inputs import open_regions
from jaxce._region_sums import average_classes, in_rows, of_examples, region_logits, region_probs, sum_in_regions
from jaxce._types import Activation, Reduced, Reduction, RegionInputs
from jaxce.reductions import run_loss


def lovasz_softmax(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "skip",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Lovasz-Softmax: ``sum_i e_i (J_i - J_{i-1})`` of the sorted errors ``e = |y - p|``, mean over classes.

    ``J_i`` is the Jaccard loss if the i pixels with the largest errors are wrong. For hard predictions the loss is one
    minus intersection over union, and it is convex in the errors. It often follows training with ``cross_entropy``. It
    sorts the pixels, so it costs more than ``dice_loss``.

    Args:
        logits: scores of the pixels, floating, ``[batch, ..., classes]``; probabilities with ``activation="none"``.
        labels: class ids ``[batch, ...]``, or probabilities like the logits; binary for ``"sigmoid"`` or no ``axis``.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        activation: maps logits to probabilities: ``"softmax"``, ``"sigmoid"``, or ``"none"`` if they are probabilities.
        average: ``"macro"``, the mean over classes; or ``"none"``, one loss for each class.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        include_background: False leaves out class 0.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        where: bool mask, True for valid pixels, ``[batch, ...]``; with a class axis too for ``"sigmoid"``.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, probabilities outside [0, 1], unknown choices.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]]])
        >>> labels = jnp.array([[0, 1, 1, 255]])
        >>> print(f"{jaxce.lovasz_softmax(logits, labels, ignore_index=255):.3f}")
        0.182
        >>> print(f"{jaxce.lovasz_softmax(logits, labels, where=labels != 255, absent='count'):.3f}")
        0.182
        >>> print(f"{jaxce.lovasz_softmax(logits.transpose(0, 2, 1), labels, axis=1, ignore_index=255):.3f}")
        0.182

    See Also:
        ``lovasz_hinge``: for binary masks, with margins.
        ``jaccard_loss``: soft counts, without a sort.

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
        average=average,
        include_background=include_background,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return run_loss(_lovasz_softmax, x, reduction)


def _lovasz_softmax(x: RegionInputs) -> tuple[Array, Array]:
    z, y, n = region_logits(x)
    p = region_probs(z, x.activation, x.pixels.axis)
    return _averaged(x, _lovasz_extension(x, jnp.abs(y - p), y, n), y, n)


def lovasz_hinge(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = None,
    batch_axis: int | None = 0,
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Lovasz hinge: ``sum_i e_i (J_i - J_{i-1})`` of the sorted margin errors ``e = max(0, 1 - x (2 y - 1))``.

    For binary masks. ``J_i`` is the Jaccard loss if the i pixels with the largest errors are wrong. Scores beyond a
    margin of 1 have loss and gradient 0. The loss of an example without foreground is its largest error, or 0 with
    ``absent="skip"``.

    Args:
        logits: scores of the pixels, any real numbers, floating, ``[batch, ...]``.
        labels: 1 for foreground, 0 for background, or in between; bool, integer or floating, shaped like the logits.
        axis: the class axis; 1 for channel-first images, None for one binary mask.
        batch_axis: the axis of the examples, one region each; None makes one region of the whole batch.
        average: ``"macro"``, the mean over classes; or ``"none"``, one loss for each class.
        absent: classes without a labelled pixel: ``"count"`` or ``"skip"`` them in the mean over classes.
        include_background: False leaves out class 0.
        class_weights: weight of each class in the mean over classes, at least 0, ``[classes]``.
        sample_weights: weight of each pixel, at least 0, ``[batch, ...]``, with the class axis or without it.
        where: bool mask, True for valid pixels, ``[batch, ...]``, with the class axis or without it.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[batch]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, a mask that is not bool, weights that are not numbers.
        ValueError: shapes that do not fit, integer labels other than 0 and 1, unknown choices.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([[2.0, -1.0, 0.5], [0.3, 0.0, -3.0]]), jnp.array([[1, 0, 1], [0, 0, 0]])
        >>> print(f"{jaxce.lovasz_hinge(logits, labels):.3f}")
        0.775
        >>> print(f"{jaxce.lovasz_hinge(logits, labels, absent='skip'):.3f}")
        0.250
        >>> print(jaxce.lovasz_hinge(logits, labels, reduction="none"))
        [0.25 1.3 ]

    See Also:
        ``lovasz_softmax``: for exclusive classes.
        ``jaccard_loss``: soft counts, without a sort.

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
        average=average,
        include_background=include_background,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return run_loss(_lovasz_hinge, x, reduction)


def _lovasz_hinge(x: RegionInputs) -> tuple[Array, Array]:
    z, y, n = region_logits(x)
    errors = jnp.maximum(1 - z * (2 * y - 1), 0)
    return _averaged(x, _lovasz_extension(x, errors, y, n), y, n)


def _averaged(x: RegionInputs, losses: Array, y: Array, n: Array) -> tuple[Array, Array]:
    return of_examples(x, *average_classes(x.rule, losses, sum_in_regions(x, n * y), sum_in_regions(x, n)))


def _lovasz_extension(x: RegionInputs, errors: Array, y: Array, n: Array) -> Array:
    """``sum_i e_i (J_i - J_{i-1})`` with ``e_1 >= e_2 >= ...``, for each region and class; pixels have weight ``n``.

    ``J_i = 1 - I_i / U_i`` is the Jaccard loss if the first i pixels are wrong. As a sum of terms of at least 0::

        I_i = sum_{k > i} n_k y_k          U_i = sum_k n_k y_k + sum_{k <= i} n_k (1 - y_k)
        J_i - J_{i-1} = n_i y_i / U_{i-1} + n_i (1 - y_i) / U_i  I_i / U_{i-1}
    """
    e, y, n = (in_rows(x, a) for a in (errors, y, jnp.broadcast_to(n, errors.shape)))
    n = safe_divide(n, lax.stop_gradient(jnp.max(n, 1, keepdims=True, initial=0)), 0)  # the scale of n does not matter
    # Before JAX 0.10, `jnp.argsort` on an explicit mesh does not split its positions as the errors are split.
    positions = jnp.zeros_like(e, jnp.int32) + lax.broadcasted_iota(jnp.int32, (1, e.shape[1], 1), 1)
    _, order = lax.sort((-lax.stop_gradient(e), positions), dimension=1, num_keys=1)
    e, positive, negative = (jnp.take_along_axis(a, order, 1) for a in (e, n * y, n * (1 - y)))
    positives, false_pos = jnp.sum(positive, 1, keepdims=True), jnp.cumsum(negative, 1)
    intersection = jnp.pad(lax.cumsum(positive, 1, reverse=True)[:, 1:], ((0, 0), (0, 1), (0, 0)))
    before, union = positives + jnp.pad(false_pos[:, :-1], ((0, 0), (1, 0), (0, 0))), positives + false_pos
    step = safe_divide(positive, before, 0) + safe_divide(negative, union, 0) * safe_divide(intersection, before, 0)
    first = (before == 0) & (union > 0)  # the first false positive of an absent class takes J from 0 to 1
    return jnp.sum(safe_multiply(jnp.where(first, 1, step), e), 1)
