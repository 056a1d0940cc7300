"""Losses over exclusive classes: one right class for each example, or probabilities that sum to 1."""

import math
from typing import Literal

from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from jaxce._cross_entropy import cross_entropy_from_logits, nll_from_log_probs
from jaxce._inputs import open_softmax
from jaxce._linear import linear_losses
from jaxce._linear_inputs import open_linear
from jaxce._numerics import is_off, safe_multiply
from jaxce._targets import target
from jaxce._types import AxisName, Hyperparameter, PerExample, Reduced, Reduction, SoftmaxInputs
from jaxce.reductions import apply_reduction, needs_only_sums, run_loss


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
    """Softmax cross-entropy from logits: ``w_y (log_z - x_y)`` for ids, ``sum_c w_c p_c (log_z - x_c)`` for labels p.

    The loss of classifiers, segmentation and language models. The logarithm is natural, ``log_z = logsumexp(x)``, and
    the mean divides by the sum of the weights of the examples that count, as PyTorch's does for class ids. An id
    outside the class range raises where its value is at hand, and under a trace gives NaN in value and gradient. A
    single class leaves nothing to choose (the loss is 0): for yes-or-no questions use ``sigmoid_binary_cross_entropy``.

    Args:
        logits: unnormalized log-probabilities, floating, ``[..., classes]``; 16-bit ones are reduced in float32.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        axis: the class axis of the logits; 1 for channel-first images.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) p + eps / classes``.
        z_loss: coefficient, at least 0, of ``log_z**2``, which is added to each loss.
        class_axis_name: inside ``shard_map``, the mesh axis over which the classes are split; ids stay global.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, bool labels, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> print(f"{cross_entropy(logits, jnp.array([0, 2]), label_smoothing=0.1):.3f}")
        0.927

    Source:
        Bishop, "Pattern Recognition and Machine Learning" (Springer, 2006), eq. 4.108, with eq. 4.104 put in.
        Smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (CVPR 2016), section 7.
        z-loss: Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways" (JMLR 24, 2023), section 5.
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
        label_smoothing=(label_smoothing, 0, 1),
        z_loss=(z_loss, 0, math.inf),
        reduction=reduction,
    )
    return run_loss(_cross_entropy, x, reduction)


def _cross_entropy(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    q, weight = target(x, x["label_smoothing"])
    loss, log_z = cross_entropy_from_logits(x, q)
    if not is_off(x["z_loss"]):
        loss += safe_multiply(weight * x["z_loss"], log_z**2)
    return loss, weight


def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: bool = False,
    reduction: Reduction = "mean",
) -> Reduced:
    """Softmax cross-entropy of a linear layer, ``cross_entropy(hidden @ kernel + bias, labels)``, without its logits.

    For language models and other large vocabularies: the logits, the largest array of training, exist for one chunk of
    tokens at a time. A reduction to one number computes its gradients along the way and no logit twice. ``"none"`` and
    ``Mean(axis=...)`` compute the logits again for the gradient. With few classes ``cross_entropy`` is simpler.

    Args:
        hidden: outputs of the last layer, floating, ``[..., features]``; 16-bit products are accumulated in float32.
        kernel: weights of the layer, floating, ``[features, classes]``; see ``kernel_layout``.
        labels: class ids of any integer dtype, ``[...]``.
        bias: added to the logits, ``[classes]``; ``-inf`` closes a class, as in a padded vocabulary.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each token, ``[...]``; size-1 axes broadcast.
        where: tokens to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer.
        label_smoothing: eps in [0, 1]; the label becomes ``(1 - eps) p + eps / classes``.
        z_loss: coefficient, at least 0, of ``log_z**2``, which is added to each loss.
        logit_scale: a number above 0 that multiplies the logits: an inverse temperature.
        logit_softcap: a number above 0; scaled logits become ``cap tanh(logits / cap)``.
        kernel_layout: ``"dv"``, or ``"vd"`` for a kernel ``[classes, features]``, such as a tied embedding.
        chunk_size: tokens at a time, at most; by default some hundreds to thousands, from shapes and backend.
        class_axis_name: inside ``shard_map``, the mesh axis over which the classes are split; ids stay global.
        in_specs: ``PartitionSpec`` of ``hidden`` and of ``kernel``, needed under ``jit`` on an automatic mesh.
        has_aux: whether to return ``(loss, LinearAux)``, with ``log_z``, argmax and entropy of each token.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 inputs.

    Raises:
        TypeError: inputs that are not floating, labels that are not integers, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, a mesh that hides how the arrays are split.

    Example:
        >>> hidden, embedding = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> print(f"{linear_cross_entropy(hidden, embedding, jnp.array([2]), kernel_layout='vd'):.3f}")
        0.408

    Source:
        Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training" (arXiv 2410.10989, 2024), section 3.2, for
        gradients in the forward pass. Softcap: Gemma Team, "Gemma 2" (arXiv 2408.00118, 2024), section 2.
    """
    x = open_linear(
        hidden,
        kernel,
        labels,
        kernel_layout=kernel_layout,
        bias=bias,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        logit_scale=logit_scale,
        logit_softcap=logit_softcap,
        chunk_size=chunk_size,
        class_axis_name=class_axis_name,
        in_specs=in_specs,
        label_smoothing=(label_smoothing, 0, 1),
        z_loss=(z_loss, 0, math.inf),
        reduction=reduction,
    )
    losses, weights, aux = linear_losses(x, _cross_entropy, needs_only_sums(reduction), has_aux)
    loss = apply_reduction(losses, weights, reduction)
    return (loss, aux) if has_aux else loss


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
    """Negative log-likelihood from log-probabilities l: ``-w_y l_y`` for ids, ``-sum_c w_c p_c l_c`` for labels p.

    For models that end in ``log_softmax``, or whose log-probabilities come from elsewhere. They are taken as they are:
    nothing checks that they are normalized. From logits use ``cross_entropy``, which is also more accurate.

    Args:
        log_probs: log-probabilities, floating, ``[..., classes]``.
        labels: class ids of any integer dtype ``[...]``, or floating probabilities ``[..., classes]``.
        axis: the class axis of the log-probabilities; 1 for channel-first images.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, ``[...]``; size-1 axes broadcast.
        where: examples to count, bool ``[...]``; size-1 axes broadcast. The others may hold anything.
        ignore_index: the id that means "no label", any integer; only with ids.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 inputs.

    Raises:
        TypeError: integer log-probabilities, bool labels, float labels shaped like ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> log_probs = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]]))
        >>> print(f"{nll_loss(log_probs, jnp.array([0, 2])):.3f}")
        0.434

    Source:
        Bishop, "Pattern Recognition and Machine Learning" (Springer, 2006), eq. 4.108.
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
    return run_loss(_negative_log_likelihood, x, reduction)


def _negative_log_likelihood(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    q, weight = target(x)
    return nll_from_log_probs(x, q), weight
