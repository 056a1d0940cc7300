"""PyTorch's losses of margins."""

import operator

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._class_axis import one_hot, take_per_class
from jaxce._margins import hinge, hinge_of_distances, logit_gap, multilabel_hinge, only_valid, soft_margin
from jaxce._sigmoid import binary_cross_entropy_from_logits
from jaxce._types import Hyperparameter
from jaxce.torch._arguments import (
    FLOATING,
    NAMES,
    REAL,
    REAL_OR_BOOL,
    broadcast,
    broadcast_into,
    check_number,
    check_p,
    open_elements,
    open_reduction,
    require_rank,
)
from jaxce.torch._labels import open_label_sets, open_row_ids, open_rows
from jaxce.torch._reductions import close


def soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Logistic loss of answers 1 and -1: ``log(1 + exp(-y x))``.

    Stable at every score, where PyTorch's overflows beyond the range of ``exp``.

    Args:
        input: scores, floating, any shape.
        target: 1 or -1, any dtype; broadcast to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of ``input`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.
        ValueError: a target that does not broadcast, an unknown reduction.

    Example:
        >>> print(f"{F.soft_margin_loss(jnp.array([2.0, -1.0]), jnp.array([1.0, 1.0])):.3f}")
        0.720

    Source:
        PyTorch 2.13, ``torch.nn.functional.soft_margin_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    (x, y), dtype = open_elements(("input",), input=(input, FLOATING), target=(target, REAL_OR_BOOL))
    return close(soft_margin(x, broadcast_into("target", y, x.shape)), reduction, dtype)


def multilabel_soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Sigmoid cross-entropy, mean over the classes: ``1/C sum_c w_c (softplus(x_c) - y_c x_c)``.

    ``binary_cross_entropy_with_logits`` with one value per example.

    Args:
        input: log-odds, floating, ``[..., C]``.
        target: answers in [0, 1], real, ``[..., C]``.
        weight: weight of each class, ``[C]``, or whatever broadcasts.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``[...]`` for ``"none"``, in the dtype to which the arguments promote.

    Raises:
        TypeError: an input that is not floating, a bool target.
        ValueError: a scalar input, shapes that do not broadcast, an unknown reduction.

    Example:
        >>> print(f"{F.multilabel_soft_margin_loss(jnp.array([[2.0, -1.0]]), jnp.array([[1.0, 1.0]])):.3f}")
        0.720

    Source:
        PyTorch 2.13, ``torch.nn.functional.multilabel_soft_margin_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, names=NAMES)
    target = np.asarray(target) if isinstance(target, int | float) else target
    weight = np.asarray(weight) if isinstance(weight, int | float) else weight
    (x, y, w), dtype = open_elements(
        weak=True, input=(input, FLOATING), target=(target, REAL), weight=(weight, REAL_OR_BOOL)
    )
    require_rank("input", x, 1)
    axis, classes = x.ndim - 1, x.shape[-1]
    x, y, w = broadcast(input=x, target=y, weight=jnp.ones((), x.dtype) if w is None else w)
    loss = w * binary_cross_entropy_from_logits(x, y, None, operator.mul)
    return close(jnp.sum(loss, axis) / classes, reduction, dtype)


def multi_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    p: int = 1,
    margin: Hyperparameter = 1.0,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Multi-class hinge: ``w_y/C sum_{c != y} max(0, margin - x_y + x_c)**p``.

    Every wrong class is held at a margin from the right one. The mean divides by the number of examples, whatever their
    weights.

    Args:
        input: scores, floating, ``[N, C]``, or ``[C]`` without a batch.
        target: class ids of any integer dtype, ``[N]``.
        p: 1 or 2.
        margin: a number.
        weight: weight of each class, ``[C]``, in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of ``target`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: ids that are not integers, a weight of another dtype.
        ValueError: shapes that do not fit, ids outside the classes, another ``p``, an unknown reduction.

    Example:
        >>> print(f"{F.multi_margin_loss(jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([3])):.3f}")
        0.325

    Source:
        PyTorch 2.13, ``torch.nn.functional.multi_margin_loss``.
        Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition" (ESANN 1999).
    """
    reduction = open_reduction(reduction, size_average, reduce)
    check_number("margin", margin)
    x, y, w, dtype = open_rows(input, target, weight)
    read = open_row_ids(x, y)
    loss = hinge(*logit_gap(x, read.ids, 1), jnp.asarray(margin, x.dtype), check_p(p), axis=1)
    loss = loss if w is None else take_per_class(w, read.ids) * loss
    return close(only_valid(loss, x, read.valid, 1).reshape(y.shape), reduction, dtype)


def multilabel_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Multi-label hinge: ``1/C sum_{i in Y, j not in Y} max(0, 1 - (x_i - x_j))``.

    Every class of an example is held at a margin of 1 from every other. The work grows with the square of the classes.

    Args:
        input: scores, floating, ``[N, C]``, or ``[C]`` without a batch.
        target: for each example its class ids, then -1, then anything in [-1, C); any integer dtype, ``[N, C]``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``[N]`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: ids that are not integers.
        ValueError: shapes that do not fit, ids outside [-1, C), an unknown reduction.

    Example:
        >>> scores, ids = jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([[3, 0, -1, 1]])
        >>> print(f"{F.multilabel_margin_loss(scores, ids):.3f}")
        0.850

    Source:
        PyTorch 2.13, ``torch.nn.functional.multilabel_margin_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    x, y, _, dtype = open_rows(input, target)
    read, listed = open_label_sets(x, y, jnp.shape(input))
    valid = None if read.valid is None else jnp.all(read.valid, -1)
    times_listed = _times_listed(x, read.ids, listed)
    loss = multilabel_hinge(x, times_listed, (times_listed == 0).astype(x.dtype), 1)
    loss = only_valid(loss, x, valid, 1)
    return close(loss.reshape(jnp.shape(input)[:-1]), reduction, dtype)


def hinge_embedding_loss(
    input: ArrayLike,
    target: ArrayLike,
    margin: Hyperparameter = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Hinge of distances: ``x`` where the target is 1, ``max(0, margin - x)`` where it is -1.

    A target that is neither counts both terms, as in PyTorch.

    Args:
        input: distances, floating, any shape.
        target: 1 or -1, any dtype; broadcast with ``input``.
        margin: a number.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.
        ValueError: shapes that do not broadcast, an unknown reduction.

    Example:
        >>> print(f"{F.hinge_embedding_loss(jnp.array([0.2, 0.7]), jnp.array([1, -1])):.3f}")
        0.250

    Source:
        PyTorch 2.13, ``torch.nn.functional.hinge_embedding_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    check_number("margin", margin)
    (x, y), dtype = open_elements(("input",), input=(input, FLOATING), target=(target, REAL_OR_BOOL))
    x, y = broadcast(input=x, target=y)
    return close(hinge_of_distances(x, y, jnp.asarray(margin, x.dtype)), reduction, dtype)


def _times_listed(x: Array, ids: Array, listed: Array) -> Array:
    """How often each class of rows ``x`` is among their ids, one column of ids at a time."""

    def add(counts: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        return counts + (one_hot(column[0], x.shape[1], -1) & column[1][:, None]).astype(x.dtype), None

    return lax.scan(add, lax.stop_gradient(jnp.zeros_like(x)), (ids.T, listed.T))[0]
