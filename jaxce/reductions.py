"""Reductions of one number per example: means, sums, and totals that add over microbatches and devices.

A reduction is called as ``(values, weights) -> result``. The values are weighted and masked already. The weights are
the terms of the divisor of a mean.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike

from jaxce._debug import is_debugging
from jaxce._inputs import open_values
from jaxce._numerics import fill_masked, safe_divide, safe_multiply
from jaxce._types import AnyArray, ArrayOrTangent, AxisName, Hyperparameter, PerExample, Reduced, Reduction
from jaxce._value_checks import check_logits, is_concrete

Axes = int | tuple[int, ...] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Total:
    """Numerator and divisor of a mean, ``sum_i loss_i`` and ``sum_i weight_i``: totals add, means do not.

    ``reduction="total"`` returns this pytree. Totals of microbatches add with ``+``, those of ``vmap`` with ``sum()``,
    those of devices with ``psum``; divide once, by ``mean()``. ``c * total`` multiplies the losses, not the weight, so
    the mean becomes c times as large. Add totals of one loss only; of different losses, add the means.

    Args:
        loss: sum of the weighted losses, any shape.
        weight: sum of the weights, the same shape.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits, labels = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), jnp.array([0, 0, 0])
        >>> parts = [jaxce.cross_entropy(logits[i:j], labels[i:j], reduction="total") for i, j in [(0, 2), (2, 3)]]
        >>> print(sum(parts))
        Total(loss=1.75345, weight=3)
        >>> print(f"{sum(parts):.3f} {0.5 * sum(parts):.3f} {jaxce.cross_entropy(logits, labels):.3f}")
        0.584 0.292 0.584
        >>> each = jax.vmap(lambda x, y: jaxce.cross_entropy(x, y, reduction="total"))(logits, labels)
        >>> print(f"{each.sum().mean():.3f}")
        0.584

    See Also:
        ``Mean``: ``Mean(axis_name=...)`` divides the sums over devices at once.
        ``value_and_grad``: mean and gradient over microbatches, from a function that returns a total.
        ``reduce``: makes a total of your own losses.
    """

    loss: ArrayOrTangent
    weight: ArrayOrTangent
    __array_ufunc__: ClassVar[None] = None  # NumPy leaves ``number * total`` to the total

    @classmethod
    def zero(cls, dtype: DTypeLike = np.float32) -> "Total":
        """The total of no examples: ``total + Total.zero()`` is ``total``. Losses are float32 by default."""
        return cls(jnp.zeros((), dtype), jnp.zeros((), dtype))

    def __add__(self, other: "Total | int") -> "Total":
        if isinstance(other, int):
            return self if other == 0 else NotImplemented
        if not isinstance(other, Total):
            return NotImplemented
        return Total(self.loss + other.loss, self.weight + other.weight)

    __radd__ = __add__

    def __mul__(self, factor: Hyperparameter) -> "Total":
        return Total(self.loss * factor, self.weight) if _is_number(factor) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: Hyperparameter) -> "Total":
        return Total(self.loss / divisor, self.weight) if _is_number(divisor) else NotImplemented

    def sum(self, axis: Axes = None) -> "Total":
        """The total over axes of stacked totals, such as those of ``vmap`` and ``scan``; None is all axes."""
        return Total(jnp.sum(self.loss, axis), jnp.sum(self.weight, axis))

    def psum(self, axis_name: AxisName) -> "Total":
        """The total over all devices along a mesh axis, inside ``shard_map`` or ``vmap(axis_name=...)``."""
        return Total(lax.psum(self.loss, axis_name), lax.psum(self.weight, axis_name))

    def mean(self, empty: Hyperparameter = 0.0) -> Array:
        """``loss / weight``, and ``empty`` with gradient 0 where the weight is 0."""
        return safe_divide(self.loss, self.weight, empty)

    def __format__(self, spec: str) -> str:
        """The mean in the format ``spec``, and without one the text of ``repr``."""
        if not spec:
            return repr(self)
        loss, weight = (
            np.asarray(self.loss),
            np.asarray(self.weight),
        )  # `jax.debug.print` formats where JAX must not run
        return format(np.where(weight == 0, 0, loss / np.where(weight == 0, 1, weight))[()], spec)

    def __repr__(self) -> str:
        return f"Total(loss={_text(self.loss)}, weight={_text(self.weight)})"


def _is_number(factor: Any) -> bool:
    return isinstance(factor, int | float | np.number | np.ndarray | Array)


def _text(x: Any) -> str:
    """The numbers of a concrete array, six digits of each."""
    if not isinstance(x, AnyArray) or not is_concrete(x):
        return repr(x)
    return np.array2string(np.asarray(x), separator=", ", formatter={"float_kind": lambda v: f"{v:.6g}"})


@dataclasses.dataclass(frozen=True)
class Sum:
    """``sum_i value_i``, as a reduction.

    Pass it as ``reduction`` to sum over some axes of the examples, or over devices. ``Sum()`` is ``"sum"``. The axes
    are those of the examples: the class axis is no longer among them.

    Args:
        axis: axes of the examples to sum over; None is all.
        axis_name: mesh axes to sum over as well, inside ``shard_map``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> print(jaxce.Sum(axis=-1)(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.ones((2, 2))))
        [3. 7.]
        >>> logits, labels = jnp.zeros((2, 5, 3)), jnp.zeros((2, 5), int)
        >>> print(jaxce.cross_entropy(logits, labels, reduction=jaxce.Sum(axis=-1)))
        [5.493 5.493]

    See Also:
        ``Mean``: divides by the sum of the weights.
        ``Total``: holds both sums.
    """

    axis: Axes = None
    axis_name: AxisName | None = None

    def __call__(self, values: Array, weights: Array) -> Array:
        """The sum of the values."""
        total: Array = _total(values, weights, self.axis, self.axis_name).loss
        return total


@dataclasses.dataclass(frozen=True)
class Mean:
    """``sum_i value_i / sum_i weight_i``, as a reduction.

    Pass it as ``reduction`` for a mean per sequence, ``Mean(axis=-1)``, or over devices, ``Mean(axis_name="data")``.
    ``Mean()`` is ``"mean"``. It divides by the sum of the weights, not by the number of examples. The axes are those of
    the examples: the class axis is no longer among them.

    Args:
        axis: axes of the examples to reduce; None is all.
        axis_name: mesh axes over which numerator and divisor are summed before the division, inside ``shard_map``.
        empty: the mean if all weights are 0; ``jnp.nan`` is PyTorch's rule.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> print(jaxce.Mean()(jnp.array([2.0, 4.0]), jnp.array([1.0, 3.0])))
        1.5
        >>> logits, labels = jnp.zeros((2, 2, 3)), jnp.array([[0, 1], [-1, -1]])
        >>> print(jaxce.cross_entropy(logits, labels, ignore_index=-1, reduction=jaxce.Mean(axis=-1)))
        [1.099 0.   ]
        >>> print(jaxce.cross_entropy(logits, labels, ignore_index=-1, reduction=jaxce.Mean(-1, empty=jnp.nan)))
        [1.099   nan]

    See Also:
        ``Sum``: does not divide.
        ``Total``: divides later, after microbatches.
    """

    axis: Axes = None
    axis_name: AxisName | None = None
    empty: Hyperparameter = 0.0

    def __call__(self, values: Array, weights: Array) -> Array:
        """The sum of the values over the sum of the weights."""
        return _total(values, weights, self.axis, self.axis_name).mean(self.empty)


def reduce(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Reduced:
    """Reduces per-example losses of any kind: ``sum_i w_i v_i / sum_i w_i`` for ``"mean"``.

    For losses of your own: their weights, masks, microbatches and devices then follow the rules of this package. A
    masked value is 0 with gradient 0, also if it is NaN. The mean divides by the sum of the weights of unmasked values,
    not by their number.

    Args:
        values: one loss per example, floating, any shape ``[...]``.
        weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the weighted values ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for
        float64 values.

    Raises:
        TypeError: values that are not floating, a mask that is not bool.
        ValueError: weights or masks of another rank or size, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> values, weights = jnp.array([1.0, 2.0, jnp.nan]), jnp.array([3.0, 1.0, 1.0])
        >>> mask = ~jnp.isnan(values)
        >>> print(jaxce.reduce(values, weights=weights, where=mask))
        1.25
        >>> print(jaxce.reduce(values, weights=weights, where=mask, reduction="none"))
        [3. 2. 0.]
        >>> total = jaxce.reduce(values, weights=weights, where=mask, reduction="total")
        >>> print(total.loss, total.weight)
        5.0 4.0

    See Also:
        ``Mean``: a mean over some axes or over devices.
        ``Total``: sums over microbatches.

    Source:
        PyTorch, ``torch.nn.CrossEntropyLoss`` (documentation of 2.13), the mean over class indices.
    """
    x, sample_weights, mask = open_values(values, weights, where, reduction)
    return apply_reduction(*apply_weights(x, jnp.ones((), x.dtype), sample_weights, mask), reduction)


def run_loss(
    formula: Callable[[Any], tuple[PerExample, ArrayLike]],
    x: Any,
    reduction: Reduction,
    describe: Callable[[Any, PerExample], Any] | None = None,
) -> Reduced:
    """Evaluates ``formula(x)``, the loss and weight of each example, then weights, masks and reduces.

    Formula and reduction are one compiled program, also outside of `jit`. With ``describe``, the result is a pair of
    the reduced loss and ``describe(x, weights)``.
    """
    is_static = _is_static(reduction)
    loss, aux = _run_loss(formula, reduction if is_static else None, describe, x)
    if not is_static:
        values, weights = loss
        loss = apply_reduction(values, weights, reduction)
    return loss if describe is None else (loss, aux)


def _is_static(reduction: Reduction) -> bool:
    """Whether the reduction, with one inside of it, is of this package and hashable, so that it can be static."""
    if isinstance(reduction, str):
        return True
    try:
        is_own = type(reduction).__module__.startswith("jaxce.") and hash(reduction) is not None
    except TypeError:
        return False
    return is_own and _is_static(getattr(reduction, "reduction", "none"))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run_loss(
    formula: Callable[[Any], tuple[PerExample, ArrayLike]],
    reduction: Reduction | None,
    describe: Callable[[Any, PerExample], Any] | None,
    x: Any,
) -> tuple[Reduced, Any]:
    loss, weight = formula(x)
    if is_debugging():
        check_logits(x, ~jnp.isfinite(loss))
    terms = apply_weights(loss, jnp.asarray(weight, loss.dtype), x.sample_weights, x.mask)
    aux = None if describe is None else describe(x, terms[1])
    return terms if reduction is None else apply_reduction(*terms, reduction), aux


def apply_weights(
    values: Array, weights: Array, sample_weights: Array | None, mask: Array | None
) -> tuple[PerExample, PerExample]:
    """Values and weights of the examples, times the sample weights, 0 where masked."""
    if sample_weights is not None:  # masked first: a NaN value would enter the gradient of its weight
        values, weights = safe_multiply(sample_weights, fill_masked(values, mask)), sample_weights * weights
    return fill_masked(values, mask), fill_masked(jnp.broadcast_to(weights, values.shape), mask)


def apply_reduction(values: Array, weights: Array, reduction: Reduction) -> Reduced:
    """Calls the reduction, by its name or as a callable."""
    return (_NAMED[reduction] if isinstance(reduction, str) else reduction)(values, weights)


def needs_only_sums(reduction: Reduction) -> bool:
    """Whether the reduction depends only on the sums of the values and of the weights."""
    if isinstance(reduction, str):
        return reduction != "none"
    return isinstance(reduction, Mean | Sum) and type(reduction) in (Mean, Sum) and reduction.axis is None


def _total(values: Array, weights: Array, axis: Axes = None, axis_name: AxisName | None = None) -> Total:
    total = Total(jnp.sum(values, axis), jnp.sum(weights, axis))
    return total if axis_name is None else total.psum(axis_name)


def _values(values: Array, weights: Array) -> Array:
    return values


_NAMED: dict[str, Any] = {"mean": Mean(), "sum": Sum(), "none": _values, "total": _total}
