"""PyTorch's hinge losses: its rules around the formulas of the core."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._class_axis import one_hot, take_per_class
from jaxce._margins import hinge, logit_gap, multilabel_hinge, only_valid
from jaxce._types import Hyperparameter
from jaxce.torch._arguments import (
    FLOATING,
    REAL_OR_BOOL,
    broadcast,
    check_p,
    open_elements,
    open_number,
    open_reduction,
)
from jaxce.torch._labels import open_label_sets, open_row_ids, open_rows
from jaxce.torch._reductions import apply_reduction


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

    The label's score should exceed every other score by the margin. The mean divides by the number of examples, not by
    the weights. It takes no ``ignore_index``.

    Args:
        input: scores, floating, ``[N, C]``, or ``[C]`` without a batch.
        target: class ids of any integer dtype, ``[N]``.
        p: exponent of each violation, 1 or 2.
        margin: margin between the scores, any number.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of ``target`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: ids that are not integers, a weight of another dtype.
        ValueError: wrong shapes, ids outside the classes, another ``p``, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> scores, ids = jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([3])
        >>> print(f"{F.multi_margin_loss(scores, ids):.3f}")
        0.325
        >>> print(f"{F.multi_margin_loss(scores, ids, p=2, margin=0.5, weight=jnp.array([1.0, 1.0, 1.0, 2.0])):.3f}")
        0.005

    See Also:
        ``multilabel_margin_loss``: several labels per example.
        ``jaxce.multiclass_hinge_loss``: masks, any class axis, Crammer and Singer's variant.

    Source:
        PyTorch, ``torch.nn.functional.multi_margin_loss``.
        Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition" (ESANN 1999).
    """
    reduction = open_reduction(reduction, size_average, reduce)
    x, y, w, dtype = open_rows(input, target, weight)
    ids = open_row_ids(x, y)
    loss = hinge(*logit_gap(x, ids.ids, 1), open_number("margin", margin, x.dtype), check_p(p), axis=1)
    loss = loss if w is None else take_per_class(w, ids.ids) * loss
    return apply_reduction(only_valid(loss, x, ids.valid, 1).reshape(y.shape), reduction, dtype)


def multilabel_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Multi-label hinge: ``1/C sum_{i in Y, j not in Y} max(0, 1 - (x_i - x_j))``.

    The score of every label should exceed that of every other class by 1. The target lists ids and ends with -1; it is
    not multi-hot. Time grows with the square of the classes, memory does not.

    Args:
        input: scores, floating, ``[N, C]``, or ``[C]`` without a batch.
        target: class ids of each example, then -1, then any ids in [-1, C); any integer dtype, ``[N, C]``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``[N]`` for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: ids that are not integers.
        ValueError: wrong shapes, ids outside [-1, C), an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> scores, ids = jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([[3, 0, -1, 1]])
        >>> print(f"{F.multilabel_margin_loss(scores, ids):.3f}")
        0.850
        >>> print(*map("{:.3f}".format, F.multilabel_margin_loss(scores, jnp.array([[3, -1, 0, 1]]), reduction="none")))
        0.325

    See Also:
        ``multi_margin_loss``: one label per example.
        ``jaxce.multilabel_margin_loss``: multi-hot labels, masks, any class axis.

    Source:
        PyTorch, ``torch.nn.functional.multilabel_margin_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    x, y, _, dtype = open_rows(input, target)
    ids, listed = open_label_sets(x, y, jnp.shape(input))
    loss = _multilabel_margin(x, ids.ids, listed)
    loss = only_valid(loss, x, None if ids.valid is None else jnp.all(ids.valid, -1), 1)
    return apply_reduction(loss.reshape(jnp.shape(input)[:-1]), reduction, dtype)


@jax.jit
def _multilabel_margin(x: Array, ids: Array, listed: Array) -> Array:
    """The loss of each row; without `jit`, loops would compile again at every call."""
    counts = _label_counts(x, ids, listed)
    return multilabel_hinge(x, counts, (counts == 0).astype(x.dtype), 1)


def _label_counts(x: Array, ids: Array, listed: Array) -> Array:
    """The number of times that each row of ids lists each class, computed column by column."""

    def add(counts: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        return counts + (one_hot(column[0], x.shape[1], -1) & column[1][:, None]).astype(x.dtype), None

    return lax.scan(add, lax.stop_gradient(jnp.zeros_like(x)), (ids.T, listed.T))[0]


def hinge_embedding_loss(
    input: ArrayLike,
    target: ArrayLike,
    margin: Hyperparameter = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Hinge of distances: ``x`` for a target of 1, ``max(0, margin - x)`` for a target of -1.

    It takes distances between pairs: similar pairs have the target 1, and dissimilar pairs should be at least the
    margin apart. For any other target it adds both terms, as PyTorch does.

    Args:
        input: distances, floating, any shape.
        target: 1 or -1, any dtype; broadcast with ``input``.
        margin: smallest distance of dissimilar pairs, any number.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.
        ValueError: shapes that do not broadcast, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> distances, targets = jnp.array([0.2, 0.7]), jnp.array([1, -1])
        >>> print(f"{F.hinge_embedding_loss(distances, targets):.3f}")
        0.250
        >>> print(*map("{:.3f}".format, F.hinge_embedding_loss(distances, targets, margin=2.0, reduction="none")))
        0.200 1.300

    See Also:
        ``soft_margin_loss``: the logistic loss of scores.

    Source:
        PyTorch, ``torch.nn.functional.hinge_embedding_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    (x, y), dtype = open_elements(("input",), input=(input, FLOATING), target=(target, REAL_OR_BOOL))
    x, y = broadcast(input=x, target=y)
    gap = open_number("margin", margin, x.dtype) - x
    # At the margin the derivative is -1, as in PyTorch.
    violation = jnp.where(gap >= 0, gap, lax.stop_gradient(jnp.maximum(gap, 0)))
    return apply_reduction(jnp.where(y != -1, x, 0) + jnp.where(y != 1, violation, 0), reduction, dtype)
