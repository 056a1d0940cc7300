"""From one number per example to the number that is trained on: means, sums, and totals that add up.

A reduction is called as ``(values, weights) -> result``. The values are weighted and masked already; the weights are
what each example counts in the divisor of a mean.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._inputs import open_values
from jaxce._numerics import fill_masked, safe_divide, safe_multiply
from jaxce._types import ArrayOrTangent, AxisName, Hyperparameter, PerExample, Reduced, Reduction

Axes = int | tuple[int, ...] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Total:
    """The two halves of a mean, ``sum_i loss_i`` and ``sum_i weight_i``, which add where means do not.

    Add the totals of microbatches with ``+`` or ``sum`` and those of devices with ``psum``; take the mean once, at the
    end. A pytree.

    Args:
        loss: sum of the weighted losses, any shape.
        weight: sum of the weights, the same shape.

    Example:
        >>> parts = [Total(jnp.array(6.0), jnp.array(2.0)), Total(jnp.array(1.0), jnp.array(1.0))]
        >>> print(f"{sum(parts).mean():.3f}")
        2.333
    """

    loss: ArrayOrTangent
    weight: ArrayOrTangent

    def __add__(self, other: "Total | int") -> "Total":
        if isinstance(other, int):
            return self if other == 0 else NotImplemented
        if not isinstance(other, Total):
            return NotImplemented
        return Total(self.loss + other.loss, self.weight + other.weight)

    __radd__ = __add__

    def psum(self, axis_name: AxisName) -> "Total":
        """The total over all devices along a mesh axis, inside ``shard_map`` or ``vmap(axis_name=...)``."""
        return Total(lax.psum(self.loss, axis_name), lax.psum(self.weight, axis_name))

    def mean(self, empty: Hyperparameter = 0.0) -> Array:
        """``loss / weight``, and ``empty`` with gradient 0 where the weight is 0."""
        return safe_divide(self.loss, self.weight, empty)


@dataclasses.dataclass(frozen=True)
class Sum:
    """``sum_i value_i`` as a reduction.

    Args:
        axis: axes of the examples to sum over; all by default.
        axis_name: mesh axes to sum over as well, inside ``shard_map``.

    Example:
        >>> print(Sum(axis=-1)(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.ones((2, 2))))
        [3. 7.]
    """

    axis: Axes = None
    axis_name: AxisName | None = None

    def __call__(self, values: Array, weights: Array) -> Array:
        """The sum of the values."""
        total: Array = _total(values, weights, self.axis, self.axis_name).loss
        return total


@dataclasses.dataclass(frozen=True)
class Mean:
    """``sum_i value_i / sum_i weight_i`` as a reduction.

    Args:
        axis: axes of the examples to reduce; all by default. ``axis=-1`` gives a mean for each sequence, say.
        axis_name: mesh axes over which numerator and divisor are summed before they are divided, inside ``shard_map``.
        empty: what the mean of nothing is; 0 by default, ``jnp.nan`` for PyTorch's rule.

    Example:
        >>> print(Mean()(jnp.array([2.0, 4.0]), jnp.array([1.0, 3.0])))
        1.5
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
    """Reduces anybody's per-example losses as the losses here are reduced: ``sum_i w_i v_i / sum_i w_i`` for a mean.

    For losses of your own, so that their weights, masks, microbatches and devices follow the same rules. A masked value
    is 0 with gradient 0, whatever it holds.

    Args:
        values: one loss per example, floating, any shape ``[...]``.
        weights: weight of each example, ``[...]``, size-1 axes broadcast; 1 by default.
        where: examples to count, bool ``[...]``, size-1 axes broadcast; all by default.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; the weighted values ``[...]`` for ``"none"``; a ``Total`` for ``"total"``. float32, or float64 for
        float64 values.

    Raises:
        TypeError: values that are not floating, a mask that is not bool.
        ValueError: weights or masks of another rank or size, an unknown reduction.

    Example:
        >>> values = jnp.array([1.0, 2.0, jnp.nan])
        >>> print(f"{reduce(values, weights=jnp.array([3.0, 1.0, 1.0]), where=~jnp.isnan(values)):.3f}")
        1.250

    Source:
        PyTorch, ``torch.nn.CrossEntropyLoss`` (documentation of 2.13), the mean over class indices.
    """
    x, sample_weights, mask = open_values(values, weights, where, reduction)
    return apply_reduction(*apply_weights(x, jnp.ones((), x.dtype), sample_weights, mask), reduction)


def run_loss(formula: Callable[[Any], tuple[PerExample, ArrayLike]], x: Any, reduction: Reduction) -> Reduced:
    """Ends a loss: ``formula(x)``, loss and weight of each example, then weighted, masked and reduced.

    Formula and reduction are one compiled program, also outside of `jit`.
    """
    if _is_static(reduction):
        return _run_loss(formula, reduction, x)
    values, weights = _run_loss(formula, None, x)
    return apply_reduction(values, weights, reduction)


def _is_static(reduction: Reduction) -> bool:
    """Whether the reduction is one of this module and hashable, so that it can be part of the compiled program."""
    try:
        return isinstance(reduction, str) or (type(reduction) in (Mean, Sum) and hash(reduction) is not None)
    except TypeError:
        return False


@partial(jax.jit, static_argnums=(0, 1))
def _run_loss(formula: Callable[[Any], tuple[PerExample, ArrayLike]], reduction: Reduction | None, x: Any) -> Reduced:
    loss, weight = formula(x)
    terms = apply_weights(loss, jnp.asarray(weight, loss.dtype), x.sample_weights, x.mask)
    return terms if reduction is None else apply_reduction(*terms, reduction)


def apply_weights(
    values: Array, weights: Array, sample_weights: Array | None, mask: Array | None
) -> tuple[PerExample, PerExample]:
    """Values and weights of the examples, times the sample weights, 0 where masked."""
    if sample_weights is not None:
        values, weights = safe_multiply(sample_weights, fill_masked(values, mask)), sample_weights * weights
    return fill_masked(values, mask), fill_masked(jnp.broadcast_to(weights, values.shape), mask)


def apply_reduction(values: Array, weights: Array, reduction: Reduction) -> Reduced:
    """Calls the reduction, of whichever kind."""
    return (_NAMED[reduction] if isinstance(reduction, str) else reduction)(values, weights)


def needs_only_sums(reduction: Reduction) -> bool:
    """Whether the sums of the values and of the weights are all that the reduction looks at."""
    if isinstance(reduction, str):
        return reduction != "none"
    plain = type(reduction) is Mean or type(reduction) is Sum
    return plain and isinstance(reduction, Mean | Sum) and reduction.axis is None


def _total(values: Array, weights: Array, axis: Axes = None, axis_name: AxisName | None = None) -> Total:
    total = Total(jnp.sum(values, axis), jnp.sum(weights, axis))
    return total if axis_name is None else total.psum(axis_name)


def _values(values: Array, weights: Array) -> Array:
    return values


_NAMED: dict[str, Any] = {"mean": Mean(), "sum": Sum(), "none": _values, "total": _total}
