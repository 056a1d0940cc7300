"""PyTorch's losses of binary labels: its rules around the formulas of the core."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxce._debug import is_debugging
from jaxce._sigmoid import binary_cross_entropy_from_logits, clamped_cross_entropy
from jaxce._value_checks import check_finite, raise_or_nan
from jaxce.torch._arguments import (
    FLOATING,
    REAL,
    REAL_OR_BOOL,
    broadcast,
    broadcast_into,
    open_elements,
    open_reduction,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from jaxce.torch._reductions import apply_reduction


def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Binary cross-entropy of probabilities p: ``-w (y log p + (1 - y) log(1 - p))``, both logarithms at least -100.

    It takes probabilities, not logits. ``binary_cross_entropy_with_logits`` is more accurate and takes logits. The mean
    divides by the number of elements, not by the weights.

    Args:
        input: probabilities in [0, 1], floating, any shape.
        target: probabilities of the positive class, in [0, 1], the shape and dtype of ``input``.
        weight: factor of each loss, real; broadcasts to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of ``input`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: a target of another dtype.
        ValueError: a target of another shape, values outside [0, 1], an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> probs, labels = jnp.array([0.8, 0.7, 0.1]), jnp.array([1.0, 1.0, 0.0])
        >>> print(f"{F.binary_cross_entropy(probs, labels):.3f}")
        0.228
        >>> print(f"{F.binary_cross_entropy(probs, labels, weight=jnp.array([2.0, 1.0, 1.0])):.3f}")
        0.303

    See Also:
        ``binary_cross_entropy_with_logits``: the same loss of logits.
        ``jaxce.binary_cross_entropy``: masks, and weights that enter the divisor.

    Source:
        PyTorch, ``torch.nn.functional.binary_cross_entropy``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    (p, y, w), dtype = open_elements(
        ("input",), input=(input, FLOATING), target=(target, FLOATING), weight=(weight, REAL_OR_BOOL)
    )
    require_same_dtype("target", target, dtype)
    require_same_shape("target", y, p.shape)
    p = raise_or_nan(
        "input", p, (p >= 0) & (p <= 1), "outside [0, 1]", "Logits go to binary_cross_entropy_with_logits."
    )
    y = raise_or_nan("target", y, (y >= 0) & (y <= 1), "outside [0, 1]")
    loss = clamped_cross_entropy(p, y)
    return apply_reduction(loss if w is None else loss * broadcast_into("weight", w, p.shape), reduction, dtype)


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

    It takes logits, not probabilities: do not apply ``sigmoid`` first. The mean divides by the number of elements, not
    by the weights.

    Args:
        input: log-odds, floating, any shape.
        target: probabilities of the positive class, floating, the shape of ``input``; their range is not checked.
        weight: factor of each loss, real; broadcasts to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: factor of the positive term, real; broadcasts to the shape of ``input`` from the right.

    Returns:
        A scalar, or the shape of ``input`` for ``"none"``, in the dtype of ``target``.

    Raises:
        TypeError: a target that is not floating.
        ValueError: a target of another shape, weights that do not broadcast, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> logits, labels = jnp.array([[2.0, -1.0], [0.5, 0.0]]), jnp.array([[1.0, 0.0], [1.0, 1.0]])
        >>> print(f"{F.binary_cross_entropy_with_logits(logits, labels):.3f}")
        0.402
        >>> print(f"{F.binary_cross_entropy_with_logits(logits, labels, pos_weight=jnp.array([1.0, 3.0])):.3f}")
        0.748

    See Also:
        ``binary_cross_entropy``: the same loss of probabilities.
        ``jaxce.sigmoid_binary_cross_entropy``: masks, smoothing, any class axis.

    Source:
        PyTorch, ``torch.nn.functional.binary_cross_entropy_with_logits``.
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
    loss += jnp.where(x == -jnp.inf, jnp.nan, jnp.zeros((), x.dtype))  # PyTorch computes inf - inf there.
    if is_debugging():
        check_finite("input", x, ~jnp.isfinite(loss))
    return apply_reduction(loss if w is None else broadcast_into("weight", w, x.shape) * loss, reduction, dtype)


def soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Logistic loss of labels 1 and -1: ``log(1 + exp(-y x))``.

    Labels of 0 and 1 belong to ``binary_cross_entropy_with_logits``: here a label of 0 costs ``log 2`` at every score.
    It is finite at every score, unlike PyTorch's, which overflows beyond the range of ``exp``.

    Args:
        input: scores, floating, any shape.
        target: 1 or -1, any dtype; broadcasts to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of ``input`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.
        ValueError: a target that does not broadcast, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> scores, signs = jnp.array([2.0, -1.0]), jnp.array([1.0, 1.0])
        >>> print(f"{F.soft_margin_loss(scores, signs):.3f}")
        0.720
        >>> print(*map("{:.3f}".format, F.soft_margin_loss(scores, signs, reduction="none")))
        0.127 1.313

    See Also:
        ``binary_cross_entropy_with_logits``: the same loss of labels 1 and 0.
        ``jaxce.soft_margin_loss``: masks and weights.

    Source:
        PyTorch, ``torch.nn.functional.soft_margin_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    (x, y), dtype = open_elements(("input",), input=(input, FLOATING), target=(target, REAL_OR_BOOL))
    return apply_reduction(jax.nn.softplus(-broadcast_into("target", y, x.shape) * x), reduction, dtype)


def multilabel_soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Sigmoid cross-entropy, mean over the classes: ``1/C sum_c w_c (softplus(x_c) - y_c x_c)``.

    It takes logits, not probabilities: do not apply ``sigmoid`` first. It is ``binary_cross_entropy_with_logits`` with
    one value per example. The mean divides by the number of examples, not by the weights.

    Args:
        input: log-odds, floating, ``[..., C]``; the classes are the last axis, also for images.
        target: probabilities of the positive class, real, ``[..., C]``; their range is not checked.
        weight: weight of each class, ``[C]``, or any shape that broadcasts.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``[...]`` for ``"none"``, in the promoted dtype of the arguments.

    Raises:
        TypeError: an input that is not floating, a bool target.
        ValueError: a scalar input, shapes that do not broadcast, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> logits, labels = jnp.array([[2.0, -1.0], [0.5, 0.0]]), jnp.array([[1.0, 1.0], [0.0, 1.0]])
        >>> print(f"{F.multilabel_soft_margin_loss(logits, labels):.3f}")
        0.777
        >>> print(f"{F.multilabel_soft_margin_loss(logits, labels, jnp.array([2.0, 1.0]), reduction='sum'):.3f}")
        2.104

    See Also:
        ``binary_cross_entropy_with_logits``: one value per element.
        ``jaxce.multilabel_soft_margin_loss``: masks, sample weights, any class axis.

    Source:
        PyTorch, ``torch.nn.functional.multilabel_soft_margin_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, old_name=False)
    target = np.asarray(target) if isinstance(target, int | float) else target
    weight = np.asarray(weight) if isinstance(weight, int | float) else weight
    (x, y, w), dtype = open_elements(
        weak=True, input=(input, FLOATING), target=(target, REAL), weight=(weight, REAL_OR_BOOL)
    )
    require_rank("input", x, 1)
    axis, classes = x.ndim - 1, x.shape[-1]
    x, y, w = broadcast(input=x, target=y, weight=jnp.ones((), x.dtype) if w is None else w)
    loss = w * binary_cross_entropy_from_logits(x, y, None, operator.mul)
    return apply_reduction(jnp.sum(loss, axis) / classes, reduction, dtype)
