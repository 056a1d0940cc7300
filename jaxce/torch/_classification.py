"""PyTorch's losses of classes and probabilities: its rules around the formulas of the core."""

import dataclasses
import operator
from typing import cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._class_axis import expand_class_axis, take_class, take_per_class
from jaxce._coefficients import Target
from jaxce._cross_entropy import cross_entropy_from_logits, nll_from_log_probs
from jaxce._divergence import kl_term, kl_term_of_logs
from jaxce._linear import linear_losses
from jaxce._linear_inputs import free_axes
from jaxce._numerics import compute_dtype, fill_masked
from jaxce._sigmoid import binary_cross_entropy_from_logits, clamped_cross_entropy
from jaxce._targets import target as coefficients
from jaxce._types import Hyperparameter, Layer, LinearInputs, SoftmaxInputs, Tokens
from jaxce._value_checks import raise_or_nan
from jaxce.torch._arguments import (
    FLOATING,
    REAL,
    REAL_OR_BOOL,
    LinearCrossEntropyOptions,
    broadcast,
    broadcast_into,
    check_bools,
    open_elements,
    open_reduction,
    open_smoothing,
    require_same_dtype,
    require_same_shape,
    warn,
)
from jaxce.torch._labels import (
    Labels,
    OpenedClasses,
    TorchIds,
    open_classes,
    open_linear,
    open_linear_labels,
    with_labels,
)
from jaxce.torch._reductions import close, close_classes


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

    A target of the shape of ``input`` holds probabilities, any other class ids. The mean divides by the sum of the
    weights of the examples that count with ids, by the number of examples with probabilities.

    Args:
        input: logits, floating, ``[N, C, ...]``, or ``[C]`` without a batch.
        target: class ids of any integer dtype ``[N, ...]``, or floating probabilities ``[N, C, ...]``.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        ignore_index: the id that does not count; with probabilities a negative one, which has no effect.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: eps, at most 1, uniform over all classes; below 0 there is none.

    Returns:
        A scalar, or ``[N, ...]`` for ``"none"``; in the dtype of ``input``, or that promoted with the probabilities.

    Raises:
        TypeError: dtypes that PyTorch refuses, but for ids of any integer dtype.
        ValueError: shapes that do not fit, ids outside the classes, an unknown reduction.

    Example:
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> print(f"{F.cross_entropy(logits, jnp.array([0, -100])):.3f}")
        0.170

    Source:
        PyTorch 2.13, ``torch.nn.functional.cross_entropy``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    opened = open_classes(input, target, weight, ignore_index, probabilities=True)
    return _cross_entropy(opened, reduction, label_smoothing)


def _cross_entropy(opened: OpenedClasses, reduction: str, label_smoothing: Hyperparameter) -> Array:
    smoothing = open_smoothing(label_smoothing, compute_dtype(opened.logits))
    loss, weights = _terms(dataclasses.replace(opened, hyperparameters=smoothing))
    return close_classes(opened, loss, weights, reduction)


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

    What ``cross_entropy`` is after ``log_softmax``. The mean divides by the sum of the weights of the examples that
    count.

    Args:
        input: log-probabilities, floating, ``[N, C, ...]``, or ``[C]`` without a batch.
        target: class ids of any integer dtype, ``[N, ...]``.
        weight: weight of each class, ``[C]``, in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        ignore_index: the id that does not count.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``[N, ...]`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: dtypes that PyTorch refuses, but for ids of any integer dtype.
        ValueError: shapes that do not fit, ids outside the classes, an unknown reduction.

    Example:
        >>> log_probs = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]]))
        >>> print(f"{F.nll_loss(log_probs, jnp.array([0, 2])):.3f}")
        0.434

    Source:
        PyTorch 2.13, ``torch.nn.functional.nll_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    opened = open_classes(input, target, weight, ignore_index, probabilities=False)
    q, weights = coefficients(opened)
    loss = nll_from_log_probs(opened, q) + _zero_times_infinity(opened, q, jnp.zeros((), q.dtype))
    return close_classes(opened, loss, weights, reduction)


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

    The last layer of a language model together with its loss. With class ids and one target per example the logits are
    made of one chunk of examples at a time, and computed in float32 for 16-bit inputs. On a mesh of several devices
    they are made as a whole: there use ``jaxce.linear_cross_entropy``.

    Args:
        input: features, floating, ``[N, D]``, or ``[D]`` without a batch.
        linear_weight: ``[C, D]``, or ``[C, ..., D]`` for several targets per example, in the dtype of ``input``.
        target: class ids of any integer dtype ``[N, ...]``, or floating probabilities ``[N, C, ...]``.
        linear_bias: ``[C, ...]``, in the dtype of ``input``.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: the id that does not count, -100 by default; only with ids.
        label_smoothing: eps, at most 1, uniform over all classes; below 0 there is none.
        options: PyTorch's way of cutting the batch into chunks, which has no influence on the result.

    Returns:
        A scalar, or ``[N, ...]`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: dtypes that PyTorch refuses, but for ids of any integer dtype.
        ValueError: shapes that do not fit, ids outside the classes, an ``ignore_index`` with probabilities.

    Example:
        >>> hidden, kernel = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> print(f"{F.linear_cross_entropy(hidden, kernel, jnp.array([2])):.3f}")
        0.408

    Source:
        PyTorch 2.13, ``torch.nn.functional.linear_cross_entropy``.
    """
    reduction = open_reduction(reduction)
    x, w, b, dtype = open_linear(input, linear_weight, linear_bias, options)
    y = open_linear_labels(x.shape[:-1] + w.shape[:-1], target, weight, ignore_index, dtype)
    if isinstance(y.read, TorchIds) and w.ndim == 2 and not free_axes(x, w):
        return _by_chunks(x, w, b, y.read, y, reduction, label_smoothing)
    logits = jnp.tensordot(x, w, (-1, -1))
    logits = logits if b is None else logits + jnp.broadcast_to(b, logits.shape)
    return _cross_entropy(with_labels(logits, y), reduction, label_smoothing)


def _by_chunks(
    x: Array, w: Array, b: Array | None, ids: TorchIds, y: Labels, reduction: str, label_smoothing: Hyperparameter
) -> Array:
    class_weights = None if y.class_weights is None else y.class_weights.astype(x.dtype)
    tokens = Tokens(hidden=x, labels=ids)
    layer = Layer(
        kernel=w, bias=b, class_weights=class_weights, hyperparameters=open_smoothing(label_smoothing, x.dtype)
    )
    opened = LinearInputs(tokens, layer)
    values, *_ = linear_losses(opened, _present_terms, only_sums=reduction != "none", has_aux=False)
    one = jnp.ones(ids.ids.shape, x.dtype)
    w_y = one if class_weights is None else take_per_class(class_weights, ids.ids)
    weights = fill_masked(w_y, ids.present)
    if reduction == "mean":  # of nothing but ignored labels it is NaN, with gradient 0
        nothing = jnp.sum(fill_masked(one, ids.present)) == 0
        values, weights = jnp.where(nothing, jnp.nan, values), jnp.where(nothing, 1, jnp.sum(weights))
    return close(values, reduction, y.dtype, weights)


def _present_terms(x: SoftmaxInputs) -> tuple[Array, Array]:
    """Loss and weight of each example, the loss 0 where the label is ignored."""
    loss, weights = _terms(x)
    return fill_masked(loss, cast(TorchIds, x.labels).present), weights


def _terms(x: SoftmaxInputs) -> tuple[Array, Array]:
    """Loss and weight of each example."""
    q, weights = coefficients(x, x["label_smoothing"])
    loss, log_z = cross_entropy_from_logits(x, q)
    loss *= jnp.where(log_z == jnp.inf, jnp.nan, jnp.ones((), loss.dtype))  # PyTorch subtracts infinities there
    return loss + _zero_times_infinity(x, q, log_z), weights


@jax.custom_jvp
def _nan_product(weight: Array, gap: Array) -> Array:
    """``weight * gap`` where that is 0 times infinity, else 0. The core has its derivative along the gap already."""
    return weight * jnp.where((weight == 0) & jnp.isinf(gap), gap, 0)


_nan_product.defjvps(lambda dw, _, weight, gap: dw * jnp.where((weight == 0) & jnp.isinf(gap), gap, 0), None)


def _zero_times_infinity(x: SoftmaxInputs, q: Target, log_z: Array) -> Array:
    """NaN where PyTorch multiplies a coefficient of 0 by an infinite ``log_z - x_c``, with its gradient; else 0."""
    axis, total = x.axis, jnp.zeros((), q.dtype)
    gap = expand_class_axis(log_z, axis) - x.logits.astype(q.dtype)

    if q.ids is not None:
        total += _nan_product(q.label_weight, take_class(gap, q.ids, axis))
    if q.is_dense:
        total += jnp.sum(_nan_product(q.dense(gap, axis), gap), axis)
    return total


def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Binary cross-entropy of probabilities p: ``-w (y log p + (1 - y) log(1 - p))``, the logarithms clamped at -100.

    The weights do not enter the divisor of the mean, which is the number of elements.

    Args:
        input: probabilities in [0, 1], floating, any shape.
        target: answers in [0, 1], the shape and dtype of ``input``.
        weight: factors, real; broadcast to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of ``input`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: a target of another dtype.
        ValueError: a target of another shape, values outside [0, 1], an unknown reduction.

    Example:
        >>> probs = jnp.array([0.8, 0.7, 0.1])
        >>> print(f"{F.binary_cross_entropy(probs, jnp.array([1.0, 1.0, 0.0])):.3f}")
        0.228

    Source:
        PyTorch 2.13, ``torch.nn.functional.binary_cross_entropy``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    (p, y, w), dtype = open_elements(
        ("input",), input=(input, FLOATING), target=(target, FLOATING), weight=(weight, REAL_OR_BOOL)
    )
    require_same_dtype("target", target, dtype)
    require_same_shape("target", y, p.shape)
    p = raise_or_nan("input", p, (p >= 0) & (p <= 1), "in [0, 1]; logits go to binary_cross_entropy_with_logits")
    y = raise_or_nan("target", y, (y >= 0) & (y <= 1), "in [0, 1]")
    loss = clamped_cross_entropy(p, y)
    return close(loss if w is None else loss * broadcast_into("weight", w, p.shape), reduction, dtype)


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> Array:
    """Sigmoid cross-entropy of logits: ``w ((1 - y) softplus(x) + pos_weight y softplus(-x))``.

    The weights do not enter the divisor of the mean, which is the number of elements.

    Args:
        input: log-odds, floating, any shape.
        target: answers, floating, the shape of ``input``; usually in [0, 1], but nothing checks that.
        weight: factors, real; broadcast to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: factors of the positive term, real; broadcast to the shape of ``input`` from the right.

    Returns:
        A scalar, or the shape of ``input`` for ``"none"``, in the dtype of ``target``.

    Raises:
        TypeError: a target that is not floating.
        ValueError: a target of another shape, weights that do not broadcast, an unknown reduction.

    Example:
        >>> logits = jnp.array([2.0, -1.0, 0.5])
        >>> print(f"{F.binary_cross_entropy_with_logits(logits, jnp.array([1.0, 0.0, 1.0])):.3f}")
        0.305

    Source:
        PyTorch 2.13, ``torch.nn.functional.binary_cross_entropy_with_logits``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    (x, y, w, pos_w), dtype = open_elements(
        ("target",),
        input=(input, FLOATING),
        target=(target, FLOATING),
        weight=(weight, REAL_OR_BOOL),
        pos_weight=(pos_weight, REAL),
    )
    require_same_shape("target", y, x.shape)
    pos_w = None if pos_w is None else broadcast_into("pos_weight", pos_w, x.shape)
    loss = binary_cross_entropy_from_logits(x, y, pos_w, operator.mul)
    loss += jnp.where(x == -jnp.inf, jnp.nan, jnp.zeros((), x.dtype))  # PyTorch subtracts infinities there
    return close(loss if w is None else broadcast_into("weight", w, x.shape) * loss, reduction, dtype)


def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Array:
    """Terms of the Kullback-Leibler divergence ``p (log p - log q)`` from the model's ``log q`` and the target ``p``.

    The divergence per example is ``"batchmean"``. The default ``"mean"`` divides by the number of classes, too, and
    warns, as PyTorch's does.

    Args:
        input: log-probabilities ``log q``, floating, any shape.
        target: probabilities ``p``, or ``log p`` with ``log_target``; floating, broadcast with ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"batchmean"`` (the sum over the length of the first axis), ``"sum"`` or ``"none"``.
        log_target: whether the target holds logarithms.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype to which the two promote.

    Raises:
        TypeError: arguments that are not floating.
        ValueError: shapes that do not broadcast, an unknown reduction.

    Example:
        >>> log_q, p = jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[0.9, 0.1]])
        >>> print(f"{F.kl_div(log_q, p, reduction='batchmean'):.3f}")
        0.368

    Source:
        PyTorch 2.13, ``torch.nn.functional.kl_div``.
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
    term = kl_term_of_logs(log_q, p) if log_target else kl_term(log_q, p)
    loss = close(term, reduction, term.dtype)
    return (loss / rows if per_row else loss).astype(dtype)
