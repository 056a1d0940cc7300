"""Cross-entropy and NLL over exclusive classes: one class per example, or probabilities that sum to 1."""

import math
from typing import Literal

from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from jaxce._cross_entropy import cross_entropy_from_logits, describe, nll_from_log_probs
from jaxce._inputs import open_softmax
from jaxce._linear import linear_losses
from jaxce._linear_formulas import SoftmaxFormula
from jaxce._linear_inputs import open_linear
from jaxce._numerics import is_off, safe_multiply
from jaxce._targets import target
from jaxce._types import AxisName, Hyperparameter, LinearLogits, PerExample, Reduced, Reduction, SoftmaxInputs
from jaxce.reductions import apply_reduction, needs_only_sums, run_loss


def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: bool = False,
    reduction: Reduction = "mean",
) -> Reduced:
    """Softmax cross-entropy: ``w_y (log_z - x_y)`` for ids y, ``sum_c w_c p_c (log_z - x_c)`` for probabilities p.

    The loss of classifiers, segmentation and language models, in nats; ``log_z = logsumexp(x)``. It takes logits, not
    probabilities: do not apply softmax first. As in PyTorch, the mean divides by the sum of the weights, not by the
    number of examples. An id outside the class range raises if it is concrete; traced, its loss and gradient are NaN.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
        axis: the class axis; 1 for channel-first images. A tuple of axes counts as one.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        label_smoothing: eps in [0, 1]; labels p become ``(1 - eps) p + eps / classes``.
        z_loss: coefficient, at least 0; ``z_loss log_z**2`` times the weight of the example is added to each loss.
        class_axis_name: inside ``shard_map``, the mesh axis that splits the classes; ids stay global.
        has_aux: True returns ``(loss, CrossEntropyAux)``: ``log_z``, argmax, entropy and z-loss of each example.
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
        >>> print(f"{jaxce.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=0.1):.3f}")
        0.927
        >>> print(jaxce.cross_entropy(logits, labels, where=labels >= 0, reduction="none"))
        [0.17  1.551 0.   ]
        >>> weights = jnp.array([1.0, 2.0, 4.0])
        >>> print(f"{jaxce.cross_entropy(logits, labels, ignore_index=-1, class_weights=weights):.3f}")
        1.275
        >>> images, pixels = jnp.zeros((2, 3, 4, 4)), jnp.zeros((2, 4, 4), int)
        >>> print(f"{jaxce.cross_entropy(images, pixels, axis=1):.3f}")
        1.099

    See Also:
        ``linear_cross_entropy``: for large vocabularies, without the logits in memory.
        ``nll_loss``: takes log-probabilities.
        ``focal_loss``: down-weights easy examples.
        ``sigmoid_binary_cross_entropy``: for binary labels, and for classes that do not exclude each other.

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
    return run_loss(_cross_entropy, x, reduction, describe if has_aux else None)


def _cross_entropy(x: SoftmaxInputs) -> tuple[PerExample, Array]:
    q, weight = target(x)
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
    ignore_index: int | Array | None = None,
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

    For language models and other large vocabularies; each token is an example. The logits, the largest array of
    training, exist for one chunk of tokens at a time. A reduction to one number computes its gradients in the forward
    pass; ``"none"`` and ``Mean(axis=...)`` recompute the logits. With few classes ``cross_entropy`` is simpler.

    Args:
        hidden: outputs of the last layer, floating, ``[..., features]``; 16-bit products are accumulated in float32.
        kernel: weights of the layer, floating, ``[features, classes]``; see ``kernel_layout``.
        labels: class ids, integer, ``[...]`` with no class axis.
        bias: added to the logits, ``[classes]``; ``-inf`` excludes a class, such as padding of the vocabulary.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        label_smoothing: eps in [0, 1]; labels p become ``(1 - eps) p + eps / classes``.
        z_loss: coefficient, at least 0; ``z_loss log_z**2`` times the weight of the example is added to each loss.
        logit_scale: factor of the logits, above 0: an inverse temperature.
        logit_softcap: cap, above 0; scaled logits become ``cap tanh(logits / cap)``.
        kernel_layout: ``"dv"``, or ``"vd"`` for a kernel ``[classes, features]``, such as a tied embedding.
        chunk_size: most tokens per chunk, at least 1; None chooses from shapes and backend.
        class_axis_name: inside ``shard_map``, the mesh axis that splits the classes; ids stay global.
        in_specs: ``PartitionSpec`` of ``hidden`` and of ``kernel``, needed under ``jit`` on an automatic mesh.
        has_aux: True returns ``(loss, CrossEntropyAux)``: ``log_z``, argmax, entropy and z-loss of each example.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 inputs.

    Raises:
        TypeError: inputs that are not floating, labels that are not integers, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, no ``in_specs`` on an automatic mesh.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> hidden = jnp.array([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
        >>> embedding = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> labels = jnp.array([2, 1, -1])
        >>> print(f"{jaxce.linear_cross_entropy(hidden, embedding.T, labels, ignore_index=-1):.3f}")
        0.635
        >>> tied = dict(kernel_layout="vd", ignore_index=-1)
        >>> print(f"{jaxce.linear_cross_entropy(hidden, embedding, labels, logit_softcap=30.0, **tied):.3f}")
        0.636
        >>> total = jaxce.linear_cross_entropy(hidden, embedding, labels, reduction="total", **tied)
        >>> print(f"{total.loss:.3f} {total.weight:.1f}")
        1.270 2.0

    See Also:
        ``cross_entropy``: takes the logits themselves.
        ``CrossEntropyAux``: the record that ``has_aux`` returns.
        ``Total``: sums over microbatches and devices.

    Source:
        Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training" (arXiv 2410.10989, 2024), section 3.2, for
        gradients in the forward pass.
        Softcap: Gemma Team, "Gemma 2" (arXiv 2408.00118, 2024), section 2.
    """
    x = open_linear(
        {"{}": LinearLogits(hidden, kernel, bias, logit_scale, logit_softcap)},
        labels,
        kernel_layout=kernel_layout,
        class_weights=class_weights,
        sample_weights=sample_weights,
        where=where,
        ignore_index=ignore_index,
        chunk_size=chunk_size,
        class_axis_name=class_axis_name,
        in_specs=in_specs,
        label_smoothing=(label_smoothing, 0, 1),
        z_loss=(z_loss, 0, math.inf),
        reduction=reduction,
    )
    formula = SoftmaxFormula(_cross_entropy, has_aux)
    losses, weights, aux = linear_losses(x, formula, needs_only_sums(reduction))
    loss = apply_reduction(losses, weights, reduction)
    return (loss, aux) if has_aux else loss


def nll_loss(
    log_probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Negative log-likelihood of log-probabilities l: ``-w_y l_y`` for ids y, ``-sum_c w_c p_c l_c`` for labels p.

    For models that end in ``log_softmax``, and for log-probabilities from elsewhere. Probabilities or logits give a
    wrong number without an error: the function does not check that its argument is normalized. From logits,
    ``cross_entropy`` is more accurate. The mean divides by the sum of the weights.

    Args:
        log_probs: log-probabilities, floating, ``[..., classes]``; they must be normalized.
        labels: class ids, integer, ``[...]`` with no class axis; or probabilities, floating, ``[..., classes]``.
        axis: the class axis; 1 for channel-first images. A tuple of axes counts as one.
        class_weights: weight of each class, at least 0, ``[classes]``.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 inputs.

    Raises:
        TypeError: integer log-probabilities, bool labels, floating labels of the shape of ids, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, ``ignore_index`` with probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> log_probs = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]]))
        >>> print(f"{jaxce.nll_loss(log_probs, jnp.array([0, 2])):.3f}")
        0.434
        >>> print(f"{jaxce.nll_loss(log_probs, jnp.array([0, 2]), class_weights=jnp.array([1.0, 1.0, 3.0])):.3f}")
        0.472
        >>> print(jaxce.nll_loss(log_probs, jnp.array([0, -100]), ignore_index=-100, reduction="none"))
        [0.357 0.   ]

    See Also:
        ``cross_entropy``: takes logits.
        ``binary_cross_entropy``: takes probabilities of binary labels.

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
