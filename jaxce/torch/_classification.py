"""PyTorch's losses over exclusive classes: its rules around the formulas of the core."""

import dataclasses
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from jaxce._class_axis import expand_class_axis, is_label, take_class, take_per_class
from jaxce._coefficients import Target
from jaxce._cross_entropy import cross_entropy_from_logits
from jaxce._linear import linear_losses
from jaxce._linear_formulas import SoftmaxFormula
from jaxce._linear_inputs import free_axes
from jaxce._numerics import compute_dtype, fill_masked
from jaxce._rows import class_dot
from jaxce._targets import target as coefficients
from jaxce._types import Hyperparameter, Layer, LinearInputs, Shared, SoftmaxInputs, Tokens
from jaxce.torch._arguments import (
    FLOATING,
    LinearCrossEntropyOptions,
    broadcast,
    check_bools,
    open_elements,
    open_reduction,
    open_smoothing,
    warn,
)
from jaxce.torch._labels import (
    Labels,
    TorchIds,
    TorchInputs,
    open_classes,
    open_linear,
    open_linear_labels,
    with_labels,
)
from jaxce.torch._reductions import apply_reduction, run_loss


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: Hyperparameter = 0.0,
) -> Array:
    """Softmax cross-entropy: ``w_y (log_z - x_y)`` for class ids, ``sum_c w_c p_c (log_z - x_c)`` for probabilities p.

    It takes logits, not probabilities: do not apply ``softmax`` first. A target of the shape of ``input`` holds
    probabilities, any other target holds class ids. With ids the mean divides by the sum of the labels' weights. With
    probabilities it divides by the number of examples.

    Args:
        input: logits, floating, ``[N, C, ...]``, or ``[C]`` without a batch.
        target: class ids of any integer dtype ``[N, ...]``, or floating probabilities ``[N, C, ...]``.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        ignore_index: id of the examples to ignore; only with ids.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: eps, at most 1, uniform over all classes; a negative one counts as 0.

    Returns:
        A scalar, or ``[N, ...]`` for ``"none"``; in the dtype of ``input``, or that promoted with the probabilities.

    Raises:
        TypeError: dtypes that PyTorch refuses, but for ids of any integer dtype.
        ValueError: wrong shapes, ids outside the classes, an ``ignore_index`` of at least 0 with probabilities, an
            unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> logits, ids = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), jnp.array([0, 2])
        >>> print(f"{F.cross_entropy(logits, ids):.3f}")
        0.861
        >>> print(f"{F.cross_entropy(logits, ids, weight=jnp.array([1.0, 1.0, 3.0]), label_smoothing=0.1):.3f}")
        1.240
        >>> print(*map("{:.3f}".format, F.cross_entropy(logits, jnp.array([0, -100]), reduction="none")))
        0.170 0.000

    See Also:
        ``nll_loss``: the same loss of log-probabilities.
        ``linear_cross_entropy``: with the last layer, chunk by chunk.
        ``jaxce.cross_entropy``: masks, sample weights, any class axis, classes split over devices.

    Source:
        PyTorch, ``torch.nn.functional.cross_entropy``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    x = open_classes(input, target, weight, ignore_index, probabilities=True)
    return run_loss(_cross_entropy, _with_smoothing(x, label_smoothing), reduction)


def _with_smoothing(x: TorchInputs, label_smoothing: Hyperparameter) -> TorchInputs:
    return dataclasses.replace(x, hyperparameters=open_smoothing(label_smoothing, compute_dtype(x.logits)))


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Negative log-likelihood of log-probabilities l: ``-w_y l_y``.

    It takes log-probabilities, such as those of ``log_softmax``: with logits or probabilities the result is no loss.
    The mean divides by the sum of the labels' weights.

    Args:
        input: log-probabilities, floating, ``[N, C, ...]``, or ``[C]`` without a batch.
        target: class ids of any integer dtype, ``[N, ...]``.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        ignore_index: id of the examples to ignore; only with ids.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``[N, ...]`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: dtypes that PyTorch refuses, but for ids of any integer dtype.
        ValueError: wrong shapes, ids outside the classes, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> log_probs, ids = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]])), jnp.array([0, 2])
        >>> print(f"{F.nll_loss(log_probs, ids):.3f}")
        0.434
        >>> print(f"{F.nll_loss(log_probs, ids, weight=jnp.array([1.0, 1.0, 3.0])):.3f}")
        0.472
        >>> print(*map("{:.3f}".format, F.nll_loss(log_probs, ids, ignore_index=2, reduction="none")))
        0.357 0.000

    See Also:
        ``cross_entropy``: the same loss of logits, in one step.
        ``jaxce.nll_loss``: masks, sample weights, any class axis.

    Source:
        PyTorch, ``torch.nn.functional.nll_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    x = open_classes(input, target, weight, ignore_index, probabilities=False)
    return run_loss(_nll, x, reduction)


def _nll(x: TorchInputs) -> tuple[Array, Array]:
    q, weights = coefficients(x)
    return -q.label_weight * _label_log_prob(x.logits, q.ids, cast(TorchIds, x.labels).valid, x.axis), weights


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _label_log_prob(log_p: Array, ids: Array, valid: Array | None, axis: int) -> Array:
    """``l_y`` of each example, in the computing dtype."""
    label = Target(ids=ids, label_weight=jnp.ones((), compute_dtype(log_p)))
    return class_dot(log_p, label, axis=axis)


@_label_log_prob.defjvp
def _label_log_prob_jvp(axis: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """``dl_y``, by a select, so that other classes have gradient 0, even if the weights of a mean sum to 0.

    For an invalid id it adds the tangents of all classes: its weight of NaN must reach the whole row.
    """
    (log_p, ids, valid), (d_log_p, *_) = primals, tangents
    label_log_prob, selected = _label_log_prob(log_p, ids, valid, axis), is_label(ids, d_log_p, axis)
    if valid is not None:
        selected |= ~expand_class_axis(valid, axis)
    return label_log_prob, jnp.sum(jnp.where(selected, d_log_p.astype(label_log_prob.dtype), 0), axis)


def linear_cross_entropy(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    *,
    linear_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: Hyperparameter = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Array:
    """Softmax cross-entropy of a linear layer: ``cross_entropy(input @ linear_weight.T + linear_bias, target)``.

    It saves memory for large vocabularies: with ids, one target per example and one device, the logits are computed
    chunk by chunk. Otherwise they are materialized. The logits of 16-bit inputs are float32.

    Args:
        input: features, floating, ``[N, D]``, or ``[D]`` without a batch.
        linear_weight: ``[C, D]``, or ``[C, ..., D]`` for several targets per example, in the dtype of ``input``.
        target: class ids of any integer dtype ``[N, ...]``, or floating probabilities ``[N, C, ...]``.
        linear_bias: ``[C, ...]``, in the dtype of ``input``.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: id of the examples to ignore; only with ids.
        label_smoothing: eps, at most 1, uniform over all classes; a negative one counts as 0.
        options: PyTorch's chunking options, which have no effect here.

    Returns:
        A scalar, or ``[N, ...]`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: dtypes that PyTorch refuses, but for ids of any integer dtype.
        ValueError: wrong shapes, ids outside the classes, an ``ignore_index`` with probabilities, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> hidden = jnp.array([[1.0, 2.0], [0.5, -1.0]])
        >>> kernel, ids = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), jnp.array([2, 0])
        >>> print(f"{F.linear_cross_entropy(hidden, kernel, ids):.3f}")
        0.436
        >>> print(f"{F.linear_cross_entropy(hidden, kernel, ids, linear_bias=jnp.ones(3), ignore_index=0):.3f}")
        0.408

    See Also:
        ``cross_entropy``: the same loss of given logits.
        ``jaxce.linear_cross_entropy``: chunks on several devices, soft caps, z-loss.

    Source:
        PyTorch, ``torch.nn.functional.linear_cross_entropy``.
    """
    reduction = open_reduction(reduction)
    x, w, b, dtype = open_linear(input, linear_weight, linear_bias, options)
    y = open_linear_labels(x.shape[:-1] + w.shape[:-1], target, weight, ignore_index, dtype)
    if isinstance(y.labels, TorchIds) and w.ndim == 2 and not free_axes(x, w):
        return _by_chunks(x, w, b, y.labels, y, reduction, label_smoothing)
    logits = jnp.tensordot(x, w, (-1, -1))
    logits = logits if b is None else logits + jnp.broadcast_to(b, logits.shape)
    return run_loss(_cross_entropy, _with_smoothing(with_labels(logits, y), label_smoothing), reduction)


def _by_chunks(
    x: Array, w: Array, b: Array | None, ids: TorchIds, y: Labels, reduction: str, label_smoothing: Hyperparameter
) -> Array:
    smoothing = open_smoothing(label_smoothing, x.dtype)
    layers = (Layer(kernel=w, bias=b),)
    shared = Shared(layers=layers, class_weights=y.class_weights, hyperparameters=smoothing)
    inputs = LinearInputs(Tokens(hidden=(x,), labels=ids), shared)
    values, *_ = linear_losses(inputs, SoftmaxFormula(_not_ignored_terms), only_sums=reduction != "none")
    one = jnp.ones(ids.ids.shape, x.dtype)
    weights = fill_masked(one if y.class_weights is None else take_per_class(y.class_weights, ids.ids), ids.not_ignored)
    if reduction == "mean":  # If every label is ignored, the mean is NaN with gradient 0.
        empty = jnp.sum(fill_masked(one, ids.not_ignored)) == 0
        values, weights = jnp.where(empty, jnp.nan, values), jnp.where(empty, 1, jnp.sum(weights))
    return apply_reduction(values, reduction, y.dtype, weights)


def _not_ignored_terms(x: SoftmaxInputs) -> tuple[Array, Array]:
    """Loss and weight of each example; the loss of an ignored label is 0."""
    loss, weights = _cross_entropy(x)
    return fill_masked(loss, cast(TorchIds, x.labels).not_ignored), weights


def _cross_entropy(x: SoftmaxInputs) -> tuple[Array, Array]:
    """Loss and weight of each example."""
    q, weights = coefficients(x)
    loss, log_z = cross_entropy_from_logits(x, q)
    loss *= jnp.where(log_z == jnp.inf, jnp.nan, jnp.ones((), loss.dtype))  # PyTorch computes inf - inf there.
    return loss + _zero_times_infinity(x, q, log_z), weights


@jax.custom_jvp
def _nan_product(weight: Array, gap: Array) -> Array:
    """``weight * gap`` for 0 times infinity, else 0. The core already has the derivative with respect to the gap."""
    return weight * jnp.where((weight == 0) & jnp.isinf(gap), gap, 0)


_nan_product.defjvps(lambda dw, _, weight, gap: dw * jnp.where((weight == 0) & jnp.isinf(gap), gap, 0), None)


def _zero_times_infinity(x: SoftmaxInputs, q: Target, log_z: Array) -> Array:
    """NaN, with its gradient, if PyTorch multiplies a coefficient of 0 by an infinite ``log_z - x_c``; else 0."""
    axis, total = x.axis, jnp.zeros((), q.dtype)
    gap = expand_class_axis(log_z, axis) - x.logits.astype(q.dtype)

    if q.ids is not None:
        total += _nan_product(q.label_weight, take_class(gap, q.ids, axis))
    if q.is_dense:
        total += jnp.sum(_nan_product(q.dense(gap, axis), gap), axis)
    return total


def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Array:
    """Terms of the Kullback-Leibler divergence ``p (log p - log q)`` from the model's ``log q`` and the target ``p``.

    The first argument holds log-probabilities; a negative result is a sign of probabilities there. ``"batchmean"`` is
    the divergence per example. ``"mean"``, the default, also divides by the number of classes, and warns.

    Args:
        input: log-probabilities ``log q``, floating, any shape.
        target: probabilities ``p``, or ``log p`` with ``log_target``; floating, broadcast with ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"batchmean"`` (the sum over the length of the first axis), ``"sum"`` or ``"none"``.
        log_target: whether the target holds logarithms.

    Returns:
        A scalar, or the common shape for ``"none"``, in the promoted dtype of both.

    Raises:
        TypeError: arguments that are not floating.
        ValueError: shapes that do not broadcast, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> log_q, p = jnp.log(jnp.array([[0.5, 0.5], [0.2, 0.8]])), jnp.array([[0.9, 0.1], [0.2, 0.8]])
        >>> print(f"{F.kl_div(log_q, p, reduction='batchmean'):.3f}")
        0.184
        >>> print(f"{F.kl_div(log_q, jnp.log(p), reduction='sum', log_target=True):.3f}")
        0.368

    See Also:
        ``log_softmax``: the log-probabilities of logits.
        ``jaxce.kl_divergence``: takes logits, one value per example, masks and weights.

    Source:
        PyTorch, ``torch.nn.functional.kl_div``.
        Kullback and Leibler, "On Information and Sufficiency" (Annals of Mathematical Statistics 22, 1951), eq. 2.4.
    """
    check_bools(log_target=log_target)
    per_row = reduction == "batchmean"
    if reduction == "mean" and size_average is None and reduce is None:
        text = "reduction: 'mean' divides by the number of elements, classes included; 'batchmean' by the batch size."
        warn(text, UserWarning)
    reduction = open_reduction("sum" if per_row else reduction, size_average, reduce)
    (log_q, p), dtype = open_elements(weak=True, input=(input, FLOATING), target=(target, FLOATING))
    rows = log_q.shape[0] if per_row and log_q.ndim else 1
    log_q, p = broadcast(input=log_q, target=p)
    terms = jnp.exp(p) * (p - log_q) if log_target else xlogy(p, p) - p * log_q
    loss = apply_reduction(terms, reduction, terms.dtype)
    return (loss / rows if per_row else loss).astype(dtype)
