"""Divergences between a teacher's distribution and the softmax of logits, or of a linear layer without its logits."""

import dataclasses
import math
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from jaxce._axis_inputs import check_integer
from jaxce._class_axis import (
    expand_class_axis,
    is_label,
    is_local_class,
    local_ids,
    mask_rows,
    max_over_classes,
    psum_classes,
)
from jaxce._inputs import open_logits
from jaxce._linear import linear_losses
from jaxce._linear_formulas import RowsOfLogits, softmax_inputs
from jaxce._linear_inputs import open_linear
from jaxce._log_probs import log_probs_of_candidates
from jaxce._numerics import at_least_zero, compute_dtype
from jaxce._row_losses import row_losses
from jaxce._sharding import axis_index, is_explicit
from jaxce._teachers import check_beta_of_teacher, open_linear_teacher, open_with_teacher
from jaxce._types import (
    AxisName,
    Hyperparameter,
    Ids,
    LinearLogits,
    Logits,
    PerExample,
    Reduced,
    Reduction,
    Shared,
    SoftmaxInputs,
    Terms,
    Tokens,
    TopK,
)
from jaxce._value_checks import max_sum_error
from jaxce.reductions import apply_reduction, apply_weights, needs_only_sums, run_loss


def distillation_loss(
    logits: ArrayLike,
    teacher: ArrayLike | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    class_axis_name: AxisName | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Divergence of the softmax q of logits from a teacher's p: ``T**2 sum_c p_c (log p_c - log q_c)``.

    For a student that learns from a larger model. The teacher is logits, or its k likeliest classes. T is the
    temperature of both, and ``T**2`` keeps the size of the gradients. The teacher has gradients, too: use
    ``jax.lax.stop_gradient`` if it shares arrays with the student.

    Args:
        logits: unnormalized log-probabilities, not probabilities; floating, ``[..., classes]``.
        teacher: logits ``[..., classes]``, or a ``TopK`` of log-probabilities at the temperature, ``[..., k]``.
        temperature: T, above 0; larger ones give unlikely classes more weight.
        beta: 0 for KL(p, q), 1 for KL(q, p), between them a Jensen-Shannon divergence that vanishes toward both ends.
        axis: the class axis; 1 for channel-first images.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        class_axis_name: inside ``shard_map``, the mesh axis that splits the classes; ids stay global.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 logits.

    Raises:
        TypeError: integer logits, ids that are not integers, a mask that is not bool.
        ValueError: shapes that do not fit, a beta outside [0, 1], a beta that the tail of a ``TopK`` rules out.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> teacher = jnp.array([[1.0, 1.0, -3.0], [-1.0, 2.0, 1.0]])
        >>> print(jaxce.distillation_loss(logits, teacher, reduction="none"))
        [0.449 0.132]
        >>> print(f"{jaxce.distillation_loss(logits, teacher, temperature=2.0, beta=0.5):.3f}")
        0.105
        >>> likeliest = jaxce.TopK(jnp.array([[0, 1], [1, 2]]), jnp.log(jnp.array([[0.5, 0.4], [0.7, 0.2]])))
        >>> print(f"{jaxce.distillation_loss(logits, likeliest):.3f}")
        0.188

    See Also:
        ``linear_kl_divergence``: the same without the logits in memory.
        ``kl_divergence``: from probabilities, with class weights and smoothing.
        ``TopK``: the rules for classes that a teacher does not name.

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531, 2015), section 2.
        The mixture: Agarwal et al., "On-Policy Distillation of Language Models" (arXiv 2306.13649, 2024), eq. 1.
    """
    check_beta_of_teacher(beta, teacher)
    check_integer("axis", axis)
    inputs = open_logits(logits, axis=axis, sample_weights=sample_weights, where=where, reduction=reduction)
    x = open_with_teacher(inputs, teacher, temperature, class_axis_name)
    formula = _Divergence(float(beta), teacher.tail if isinstance(teacher, TopK) else None)
    return run_loss(formula.in_blocks if class_axis_name is None else formula, x, reduction)


def linear_kl_divergence(
    hidden: ArrayLike,
    kernel: ArrayLike,
    teacher: ArrayLike | LinearLogits | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    bias: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Divergence of a linear layer's softmax q from a teacher's p: ``T**2 sum_c p_c (log p_c - log q_c)``.

    For distillation over large vocabularies: the logits of student and teacher exist for one chunk of tokens at a time.
    The teacher is a layer split as the student's is, logits, or its k likeliest classes. Its gradients exist, too: use
    ``jax.lax.stop_gradient`` for arrays that both share. T is the temperature of both.

    Args:
        hidden: outputs of the last layer, floating, ``[..., features]``; 16-bit products are accumulated in float32.
        kernel: weights of the layer, floating, ``[features, classes]``; see ``kernel_layout``.
        teacher: a ``LinearLogits``, logits ``[..., classes]``, or a ``TopK`` of log-probabilities at the temperature.
        temperature: T, above 0; larger ones give unlikely classes more weight.
        beta: 0 for KL(p, q), 1 for KL(q, p), between them a Jensen-Shannon divergence that vanishes toward both ends.
        bias: added to the logits, ``[classes]``; ``-inf`` excludes a class, such as padding of the vocabulary.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        logit_scale: factor of the logits, above 0: an inverse temperature.
        logit_softcap: cap, above 0; scaled logits become ``cap tanh(logits / cap)``.
        kernel_layout: ``"dv"``, or ``"vd"`` for a kernel ``[classes, features]``, such as a tied embedding.
        chunk_size: most tokens per chunk, at least 1; None chooses from shapes and backend.
        class_axis_name: inside ``shard_map``, the mesh axis that splits the classes; ids stay global.
        in_specs: ``PartitionSpec`` of ``hidden`` and of ``kernel``, needed under ``jit`` on an automatic mesh.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for float64 inputs.

    Raises:
        TypeError: inputs that are not floating, ids that are not integers, a mask that is not bool.
        ValueError: shapes that do not fit, a beta outside [0, 1], a beta that the tail of a ``TopK`` rules out.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> hidden = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> kernel = jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        >>> teacher = jaxce.LinearLogits(jnp.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]]), jnp.eye(3))
        >>> print(jaxce.linear_kl_divergence(hidden, kernel, teacher, reduction="none"))
        [1.15  0.541]
        >>> print(f"{jaxce.linear_kl_divergence(hidden, kernel, teacher, temperature=2.0, beta=1.0):.3f}")
        1.079
        >>> likeliest = jaxce.TopK(jnp.array([[0, 1], [2, 0]]), jnp.log(jnp.array([[0.7, 0.2], [0.9, 0.05]])))
        >>> print(jaxce.linear_kl_divergence(hidden, kernel, likeliest, reduction="none"))
        [1.206 0.518]

    See Also:
        ``distillation_loss``: takes the logits themselves.
        ``linear_log_probs``: the log-probabilities of a teacher's candidates.
        ``TopK``: the rules for classes that a teacher does not name.

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531, 2015), section 2.
        The mixture: Agarwal et al., "On-Policy Distillation of Language Models" (arXiv 2306.13649, 2024), eq. 1.
    """
    check_beta_of_teacher(beta, teacher)
    layers = {"{}": LinearLogits(hidden, kernel, bias, logit_scale, logit_softcap)}
    if isinstance(teacher, LinearLogits):
        layers["teacher.{}"] = teacher
    x = open_linear(
        layers,
        kernel_layout=kernel_layout,
        sample_weights=sample_weights,
        where=where,
        chunk_size=chunk_size,
        class_axis_name=class_axis_name,
        in_specs=in_specs,
        reduction=reduction,
    )
    formula = _LinearDivergence(_Divergence(float(beta), teacher.tail if isinstance(teacher, TopK) else None))
    x = open_linear_teacher(x, teacher, temperature)
    losses, weights, _ = linear_losses(x, formula, needs_only_sums(reduction))
    return apply_reduction(losses, weights, reduction)


@dataclasses.dataclass(frozen=True)
class _Divergence:
    """The divergence of logits from a teacher in the place of labels, whose ``tail`` is None but for a `TopK`."""

    beta: float
    tail: str | None

    def __call__(self, x: SoftmaxInputs) -> tuple[PerExample, float]:
        return self.of_rows(x), 1.0

    def in_blocks(self, x: SoftmaxInputs) -> tuple[PerExample, float]:
        """For logits that are an array; those of a linear layer are in chunks already."""
        return row_losses(self.of_rows, x), 1.0

    def of_rows(self, x: SoftmaxInputs) -> PerExample:
        t, dtype = x["temperature"], compute_dtype(x.logits)
        student = mask_rows(x.logits, x.mask, x.axis).astype(dtype) / t
        if self.tail is None:
            teacher = mask_rows(x.labels, x.mask, x.axis).astype(dtype) / t
            log_p, log_q = (_log_softmax(a, x.axis, x.class_axis_name) for a in (teacher, student))
            over_shards = x.class_axis_name
        else:
            log_p, log_q = _over_candidates(dataclasses.replace(x, logits=student), self.tail)
            over_shards = None
        divergence = psum_classes(jnp.sum(_divergence(log_p, log_q, self.beta), x.axis), over_shards)
        scaled: PerExample = t**2 * (divergence if self.tail == "ignore" else at_least_zero(divergence))
        return scaled


@dataclasses.dataclass(frozen=True)
class _LinearDivergence(RowsOfLogits):
    """The divergence of the logits of the first layer; the teacher is the second, or has rows."""

    formula: _Divergence

    def losses(self, logits: Logits, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> Terms:
        student, *layers = logits
        teacher: Any = layers[0] if layers else tokens.rows or tokens.teacher_logits
        x = dataclasses.replace(softmax_inputs(student, tokens, shared, class_axis_name), labels=teacher)
        values, weight = self.formula(x)
        values, _ = apply_weights(values, jnp.asarray(weight, values.dtype), x.sample_weights, x.mask)
        return values, None


def _divergence(log_p: Array, log_q: Array, beta: float) -> Array:
    """The terms of KL(p, q) for a beta of 0, of KL(q, p) for 1, else of both against their mixture m."""
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    if beta == 0:
        return _kl_terms(p, log_p, log_q)
    if beta == 1:
        return _kl_terms(q, log_q, log_p)
    log_m = _log_add_exp(log_p + math.log(beta), log_q + math.log1p(-beta))
    return beta * _kl_terms(p, log_p, log_m) + (1 - beta) * _kl_terms(q, log_q, log_m)


def _log_add_exp(a: Array, b: Array) -> Array:
    """``log(exp(a) + exp(b))`` with finite derivatives, also where both are ``-inf``; then 0."""
    top = lax.stop_gradient(jnp.maximum(a, b))
    is_none = jnp.isneginf(top)
    top = jnp.where(is_none, 0, top)
    return top + jnp.log(jnp.where(is_none, 1, jnp.exp(a - top) + jnp.exp(b - top)))


def _kl_terms(p: Array, log_p: Array, log_q: Array) -> Array:
    """``p (log p - log q)``, 0 where p is 0."""
    return p * jnp.where(p == 0, 0, log_p - log_q)


def _log_softmax(x: Array, axis: int, axis_name: AxisName | None) -> Array:
    m = jnp.expand_dims(max_over_classes(x, axis, axis_name), axis)
    return (x - m) - jnp.log(psum_classes(jnp.sum(jnp.exp(x - m), axis, keepdims=True), axis_name))


def _over_candidates(x: SoftmaxInputs, tail: str) -> tuple[Array, Array]:
    """Log-probabilities of a teacher's candidates, by teacher and student, and with a tail of all other classes."""
    ids, given = cast(tuple[Ids, Array], x.labels)
    log_p = mask_rows(given, x.mask, x.axis).astype(x.logits.dtype)
    is_absent = jnp.isneginf(log_p)
    log_q, log_z = log_probs_of_candidates(dataclasses.replace(x, labels=ids))
    log_q = jnp.where(is_absent, -jnp.inf, log_q)
    if tail == "ignore":
        return log_p, log_q
    local = jnp.where(is_absent, -1, local_ids(ids.ids, x.logits.shape[x.axis], x.class_axis_name))
    log_q_rest = _log_sum_exp_without(x.logits, local, x.axis, x.class_axis_name) - log_z
    if tail == "renormalize":
        log_p, log_p_rest = jax.nn.log_softmax(log_p, x.axis), jnp.full_like(log_q_rest, -jnp.inf)
    else:
        log_p_rest = _log_rest(log_p, x.axis)
        is_rounding = log_p_rest <= jnp.log(max_sum_error(given.dtype, 8))
        log_p_rest = jnp.where(jnp.isneginf(log_q_rest) & is_rounding, -jnp.inf, log_p_rest)
    pairs = (log_p, log_p_rest), (log_q, log_q_rest)
    log_p, log_q = (jnp.concatenate([a, jnp.expand_dims(b, x.axis)], x.axis) for a, b in pairs)
    return log_p, log_q


def _log_rest(log_p: Array, axis: int) -> Array:
    """``log(1 - sum_k p_k)``, the probability of all other classes, with the digits that the likeliest leaves.

    A rest below the least candidate's probability may be a rounding; it counts as that probability, up to eps.
    """
    at_top = axis_index(log_p, axis) == jnp.argmax(log_p, axis, keepdims=True)
    top = jnp.sum(jnp.where(at_top, log_p, 0), axis)
    rest = -jnp.expm1(top) - jnp.sum(jnp.where(at_top, 0, jnp.exp(log_p)), axis)
    least = jnp.min(jnp.where(jnp.isneginf(log_p), jnp.inf, log_p), axis)
    least = lax.stop_gradient(jnp.minimum(jnp.exp(least), jnp.finfo(log_p.dtype).eps))
    return jnp.log(jnp.where(rest > least, rest, least))


def _log_sum_exp_without(x: Array, ids: Array, axis: int, axis_name: AxisName | None) -> Array:
    """The logsumexp over the classes that are none of the ids; ``-inf`` without any."""
    x = jnp.where(_is_any(ids, x, axis), -jnp.inf, x)
    m = max_over_classes(x, axis, axis_name)
    m = jnp.where(jnp.isneginf(m), 0, m)
    s = psum_classes(jnp.sum(jnp.exp(x - expand_class_axis(m, axis)), axis), axis_name)
    return jnp.where(s == 0, -jnp.inf, m + jnp.log(jnp.where(s == 0, 1, s)))


def _is_any(ids: Array, x: Array, axis: int) -> Array:
    """Whether each class of ``x`` is one of the ids along ``axis``; ids of other shards, or below 0, are none."""
    if is_explicit():  # an explicit mesh permits no scatter across its shards
        return jnp.any(jax.vmap(lambda one: is_label(one, x, axis), axis)(ids), 0)
    at = jnp.where(is_local_class(ids, x, axis), ids, x.shape[axis])
    return jnp.put_along_axis(jnp.zeros_like(x, bool), at, True, axis, inplace=False, mode="drop")
