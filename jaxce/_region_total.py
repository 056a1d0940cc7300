"""The total of the counts of one region: totals of microbatches and devices add before the quotient."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._debug import is_debugging
from jaxce._numerics import safe_divide
from jaxce._region_sums import Counts, RegionFormula, losses_of_counts, of_examples, region_counts
from jaxce._types import (
    ArrayOrTangent,
    AxisName,
    Hyperparameter,
    Reduced,
    Reduction,
    RegionInputs,
    RegionRule,
)
from jaxce._value_checks import check_logits
from jaxce.reductions import run_loss


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class RegionTotal:
    """Soft counts of each class over a whole batch, ``TP, FP, FN``: they add, and the loss is a quotient of the sums.

    ``dice_loss``, ``tversky_loss`` and ``jaccard_loss`` return this pytree for ``batch_axis=None`` and
    ``reduction="total"``. Counts of microbatches add with ``+``, those of devices with its ``psum``. ``mean()`` is the
    loss of the whole batch, which ``value_and_grad`` does not take: it is not linear. The options are leaves, too, so
    don't sum the leaves of the pytree yourself.

    Args:
        tp: true positives ``sum p y`` of each class, ``[classes]``.
        fp: false positives ``sum p (1 - y)`` of each class, or as ``soft_counts`` says, ``[classes]``.
        fn: false negatives ``sum (1 - p) y`` of each class, or as ``soft_counts`` says, ``[classes]``.
        pixels: sum of the weights of the unmasked pixels, ``[1]``, or ``[classes]`` with a mask per class.
        rule: the options of the loss that follow the sums.
        formula: the loss as a function of the counts.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]]])
        >>> labels = jnp.array([[0, 1], [1, 1]])
        >>> parts = [jaxce.dice_loss(x, y, batch_axis=None, reduction="total") for x, y in zip(logits, labels)]
        >>> print(f"{sum(parts).mean():.3f} {jaxce.dice_loss(logits, labels, batch_axis=None):.3f}")
        0.245 0.245
        >>> total = sum(parts)
        >>> print(f"{(2 * total.tp / (2 * total.tp + total.fp + total.fn)).mean():.3f}")
        0.686

    See Also:
        ``dice_loss``: returns it.
        ``Total``: for losses that are means over examples.
    """

    tp: ArrayOrTangent
    fp: ArrayOrTangent
    fn: ArrayOrTangent
    pixels: ArrayOrTangent
    rule: RegionRule
    formula: RegionFormula = dataclasses.field(metadata={"static": True})

    def __add__(self, other: "RegionTotal | int") -> "RegionTotal":
        if isinstance(other, int):
            return self if other == 0 else NotImplemented
        if not isinstance(other, RegionTotal) or not self._is_of_one_loss(other):
            return NotImplemented
        return self._with(Counts(*map(jnp.add, self._counts, other._counts)))

    __radd__ = __add__

    def zero(self) -> "RegionTotal":
        """The total of no pixels with the same options, to start a scan."""
        return self._with(jax.tree.map(jnp.zeros_like, self._counts))

    def sum(self) -> "RegionTotal":
        """The total of stacked totals, such as those of ``vmap`` and ``scan``."""
        stacked = range(jnp.ndim(self.tp) - 1)
        first: RegionTotal = jax.tree.map(lambda a: a[(0,) * len(stacked)], self)
        return first._with(Counts(*(jnp.sum(a, stacked) for a in self._counts)))

    def psum(self, axis_name: AxisName) -> "RegionTotal":
        """The total over all devices along a mesh axis, inside ``shard_map`` or ``vmap(axis_name=...)``."""
        return self._with(lax.psum(self._counts, axis_name))

    def mean(self, empty: Hyperparameter = 0.0) -> Array:
        """The loss of the whole batch, and ``empty`` with gradient 0 where no class counts."""
        values, weights = losses_of_counts(self.formula, self.rule, self._counts)
        return safe_divide(values, weights, empty)

    @property
    def _counts(self) -> Counts:
        return Counts(self.tp, self.fp, self.fn, self.pixels)

    def _is_of_one_loss(self, other: "RegionTotal") -> bool:
        mine: Any = jax.tree.structure(self)
        return bool(mine == jax.tree.structure(other))

    def _with(self, counts: Counts) -> "RegionTotal":
        return RegionTotal(*counts, self.rule, self.formula)

    def __repr__(self) -> str:
        return f"RegionTotal(tp={self.tp}, fp={self.fp}, fn={self.fn}, pixels={self.pixels})"


@dataclasses.dataclass(frozen=True)
class _RegionLosses:
    """The loss and weight of each example, or of each example and class, by a formula of the counts."""

    formula: RegionFormula

    def __call__(self, x: RegionInputs) -> tuple[Array, Array]:
        return of_examples(x, *losses_of_counts(self.formula, x.rule, region_counts(x)))


def run_regions(formula: RegionFormula, x: RegionInputs, reduction: Reduction) -> Reduced:
    """Counts, evaluates the formula and reduces. The total of one region are its counts."""
    if x.batch_axis is None and reduction == "total":
        return _total(formula, x)
    return run_loss(_RegionLosses(formula), x, reduction)


@partial(jax.jit, static_argnums=0)
def _total(formula: RegionFormula, x: RegionInputs) -> RegionTotal:
    counts = Counts(*(a[0] for a in region_counts(x)))
    if is_debugging():
        check_logits(x, ~jnp.isfinite(counts.tp))
    return RegionTotal(*counts, x.rule, formula)
