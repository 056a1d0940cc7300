"""Log-probabilities of given ids, with ``log_z`` and entropy: from logits, or from a linear layer."""

import dataclasses
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from jaxce._candidates import open_candidates
from jaxce._class_axis import expand_class_axis, is_local_class, local_ids, mask_rows, psum_classes, take_class
from jaxce._cross_entropy import cross_entropy_from_logits, describe_logits, log_z_and_entropy
from jaxce._linear import linear_losses
from jaxce._linear_formulas import RowsOfLogits, softmax_inputs
from jaxce._linear_inputs import open_linear
from jaxce._numerics import fill_masked, nan_where_invalid
from jaxce._targets import target
from jaxce._types import (
    AxisName,
    Hyperparameter,
    Ids,
    LinearLogits,
    Logits,
    LogProbs,
    Shared,
    SoftmaxInputs,
    Terms,
    Tokens,
)


def log_probs(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    class_axis_name: AxisName | None = None,
) -> LogProbs:
    """Log-probabilities ``log_prob = x_y - log_z`` of ids y under the softmax, with ``log_z``, entropy and argmax.

    For policies, preferences and scores of sequences: sum the log-probabilities of the tokens. Several ids of each
    example are candidates along the class axis, such as the most likely ones of a teacher. They are not normalized
    again: the probability of all other classes remains.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        labels: class ids, integer, ``[...]`` with no class axis; or k candidates of each example, ``[..., k]``.
        axis: the class axis; 1 for channel-first images.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        class_axis_name: inside ``shard_map``, the mesh axis that splits the classes; ids stay global.

    Returns:
        A ``LogProbs``, 0 where masked. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, labels that are not integers, a mask that is not bool.
        ValueError: labels of another shape, ids outside the classes.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> print(jaxce.log_probs(logits, jnp.array([0, 2])).log_prob)
        [-0.17  -1.551]
        >>> print(jaxce.log_probs(logits, jnp.array([[0, 1], [1, 2]])).log_prob)
        [[-0.17  -2.17 ]
         [-0.551 -1.551]]
        >>> print(jaxce.log_probs(logits, jnp.array([0, -1]), ignore_index=-1).entropy)
        [0.524 0.   ]

    See Also:
        ``linear_log_probs``: the same without the logits in memory.
        ``cross_entropy``: the mean of the negated log-probabilities, with weights and smoothing.
        ``entropy``: the entropy alone.

    Source:
        Goodfellow, Bengio and Courville, "Deep Learning" (MIT Press, 2016), section 6.2.2.3, the softmax.
    """
    x = open_candidates(
        logits, labels, axis=axis, where=where, ignore_index=ignore_index, class_axis_name=class_axis_name
    )
    told: LogProbs = _log_probs(x)
    return told


@jax.jit
def _log_probs(x: SoftmaxInputs) -> LogProbs:
    (log_prob, log_z, entropy), argmax = _of_rows(x)
    return LogProbs(log_prob, log_z, entropy, argmax)


def _of_rows(x: SoftmaxInputs) -> tuple[tuple[Array, Array, Array], Array]:
    """``x_y - log_z``, ``log_z`` and the entropy of each row, and its likeliest class, 0 where masked."""
    m, log_s, entropy = log_z_and_entropy(x.logits, x.mask, x.axis, x.class_axis_name)
    labels: Any = x.labels
    if labels.ids.ndim == x.logits.ndim:
        log_prob = _gaps_of_candidates(x, labels, m, log_s)
    else:  # with the small digits of a confident prediction
        log_prob = fill_masked(-cross_entropy_from_logits(x, target(x)[0])[0], x.mask)
    argmax = describe_logits(x)[1]
    log_z, entropy = (fill_masked(a, x.mask) for a in (m + log_s, entropy))
    return (log_prob, log_z, entropy), argmax


def log_probs_of_candidates(x: SoftmaxInputs) -> tuple[Array, Array]:
    """Log-probabilities of the candidates along the class axis, and ``log_z``; masked examples hold any number."""
    m, log_s, _ = log_z_and_entropy(x.logits, x.mask, x.axis, x.class_axis_name)
    return _gaps_of_candidates(x, cast(Ids, x.labels), m, log_s), m + log_s


def _gaps_of_candidates(x: SoftmaxInputs, labels: Ids, m: Array, log_s: Array) -> Array:
    """``(x_k - m) - log_s`` of each candidate k, along the class axis."""
    logits = mask_rows(x.logits, x.mask, x.axis).astype(m.dtype)
    local = local_ids(labels.ids, logits.shape[x.axis], x.class_axis_name)

    def gap(ids: Array) -> Array:
        taken = take_class(logits, ids, x.axis) - m
        return jnp.where(is_local_class(ids, logits, x.axis), taken, 0)

    log_prob = psum_classes(jax.vmap(gap, x.axis, x.axis)(local), x.class_axis_name) - expand_class_axis(log_s, x.axis)
    if labels.valid is not None:
        log_prob = nan_where_invalid(log_prob, labels.valid)
    return mask_rows(log_prob, x.mask, x.axis)


@dataclasses.dataclass(frozen=True)
class _LogProbsFormula(RowsOfLogits):
    """The log-probabilities of the labels of each token."""

    def losses(self, logits: Logits, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> Terms:
        return _of_rows(softmax_inputs(logits[0], tokens, shared, class_axis_name))


def linear_log_probs(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
) -> LogProbs:
    """``log_probs(hidden @ kernel + bias, labels)``: log-probability, ``log_z`` and entropy of each token.

    For policies and preferences over large vocabularies: the logits exist for one chunk of tokens at a time. The
    backward pass computes them again, once for all results. Of the logits' memory remains one chunk.

    Args:
        hidden: outputs of the last layer, floating, ``[..., features]``; 16-bit products are accumulated in float32.
        kernel: weights of the layer, floating, ``[features, classes]``; see ``kernel_layout``.
        labels: class ids, integer, ``[...]`` with no class axis; or k candidates of each example, ``[..., k]``.
        bias: added to the logits, ``[classes]``; ``-inf`` excludes a class, such as padding of the vocabulary.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        ignore_index: class id that means "no label", any integer; examples with it are masked.
        logit_scale: factor of the logits, above 0: an inverse temperature.
        logit_softcap: cap, above 0; scaled logits become ``cap tanh(logits / cap)``.
        kernel_layout: ``"dv"``, or ``"vd"`` for a kernel ``[classes, features]``, such as a tied embedding.
        chunk_size: most tokens per chunk, at least 1; None chooses from shapes and backend.
        class_axis_name: inside ``shard_map``, the mesh axis that splits the classes; ids stay global.
        in_specs: ``PartitionSpec`` of ``hidden`` and of ``kernel``, needed under ``jit`` on an automatic mesh.

    Returns:
        A ``LogProbs``, 0 where masked. float32, or float64 for float64 inputs.

    Raises:
        TypeError: inputs that are not floating, labels that are not integers, a mask that is not bool.
        ValueError: shapes that do not fit, ids outside the classes, no ``in_specs`` on an automatic mesh.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> hidden = jnp.array([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
        >>> embedding = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> tied = dict(kernel_layout="vd", ignore_index=-1)
        >>> policy = jaxce.linear_log_probs(hidden, embedding, jnp.array([2, 1, -1]), **tied)
        >>> print(policy.log_prob, policy.entropy)
        [-0.408 -0.862  0.   ] [0.832 1.017 0.   ]
        >>> print(jaxce.linear_log_probs(hidden, embedding.T, jnp.array([2, 1, 0]), logit_scale=0.5).log_prob)
        [-0.68  -0.958 -1.104]

    See Also:
        ``log_probs``: takes the logits themselves.
        ``linear_cross_entropy``: the mean loss, with its gradients in the forward pass.
        ``linear_loss``: any function of the logits of a token.

    Source:
        Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training" (arXiv 2410.10989, 2024), section 3.2, for
        the chunks.
    """
    x = open_linear(
        {"{}": LinearLogits(hidden, kernel, bias, logit_scale, logit_softcap)},
        labels,
        kernel_layout=kernel_layout,
        where=where,
        ignore_index=ignore_index,
        chunk_size=chunk_size,
        class_axis_name=class_axis_name,
        in_specs=in_specs,
        candidates=True,
    )
    (log_prob, log_z, entropy), _, argmax = linear_losses(x, _LogProbsFormula(), only_sums=False)
    return LogProbs(log_prob, log_z, entropy, argmax)
