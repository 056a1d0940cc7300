"""A reduction that keeps the hardest examples: top-k, bootstrapped and OHEM losses, hard-negative mining."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._numerics import nan_where_invalid, safe_multiply
from jaxce._reduction_inputs import Axes, check_choice_of, open_axes, open_number, open_positives
from jaxce._types import AnyArray, AxisName, Hyperparameter, PerExample, Reduced, Reduction
from jaxce.reductions import Mean, Sum, apply_reduction

Count = Callable[[Array], Array]
"""The number of True entries of each set of examples, int32, with axes of size 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardest:
    """``sum_i s_i value_i / sum_i s_i weight_i``, as a reduction; ``s_i`` is 1 for the hardest examples, 0 for others.

    The hardest have the largest values of ``"none"``; masked examples are never chosen. Equal ones at the edge share
    what is left, so their order does not matter. Only kept examples have a gradient. Wrong labels are hard, too: keep
    few examples only if the labels are clean.

    Args:
        fraction: part of the valid examples in [0, 1], rounded down to a number of examples.
        k: number of examples, at least 1; all if fewer are valid.
        threshold: keeps all examples whose loss exceeds this number times their weight.
        ratio: keeps all positives, and this number of negatives for each, at least 0.
        positives: bool mask of the positive examples, ``[...]``; size-1 axes broadcast. It belongs to ``ratio``.
        min_kept: least number of examples, of negatives with ``ratio``; None is 1 with ``fraction``, else 0.
        axis: axes of the examples within which to choose, such as those of an image; None is all.
        axis_name: mesh axes over which to choose, and over which ``"mean"`` and ``"sum"`` add, inside ``shard_map``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), jnp.array([0, 0, 0, 1])
        >>> print(jaxce.cross_entropy(logits, labels, reduction=jaxce.Hardest(k=2, reduction="none")))
        [0.    0.313 1.313 0.   ]
        >>> print(f"{jaxce.cross_entropy(logits, labels, reduction=jaxce.Hardest(fraction=0.5)):.3f}")
        0.813
        >>> hard = jaxce.Hardest(threshold=0.7, min_kept=2, reduction="total")
        >>> print(jaxce.cross_entropy(logits, labels, reduction=hard))
        Total(loss=1.62652, weight=2)

    See Also:
        ``Mean``: of all examples.
        ``focal_loss``: down-weights easy examples instead of dropping them.
        ``Total``: of the kept examples; each microbatch then chooses its own.
    """

    fraction: Hyperparameter | None = None
    k: int | None = None
    threshold: Hyperparameter | None = None
    ratio: Hyperparameter | None = None
    positives: ArrayLike | None = None
    min_kept: int | None = None
    axis: Axes = None
    axis_name: AxisName | None = None
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_choice_of(self.k, self.positives, self.min_kept, **self._numbers)

    @property
    def _numbers(self) -> dict[str, Hyperparameter | None]:
        return {"fraction": self.fraction, "threshold": self.threshold, "ratio": self.ratio}

    def __call__(self, values: Array, weights: Array) -> Reduced:
        """The reduction of the kept values and weights."""
        given = {name: open_number(name, a, values.dtype) for name, a in self._numbers.items() if a is not None}
        positives = None if self.positives is None else open_positives(self.positives, values.shape)
        least = self.k or self.min_kept or int(self.fraction is not None)
        axes = open_axes(self.axis, values.shape)
        s = _kept(values, weights, given, positives, least, axes, self.axis_name)
        return apply_reduction(safe_multiply(s, values), s * weights, self._over_devices)

    @property
    def _over_devices(self) -> Reduction:
        """The reduction of the kept examples, those of other devices included."""
        if self.reduction == "mean":
            return Mean(axis_name=self.axis_name)
        return Sum(axis_name=self.axis_name) if self.reduction == "sum" else self.reduction


@partial(jax.jit, static_argnames=("least", "axes", "axis_name"))
def _kept(
    values: PerExample,
    weights: PerExample,
    given: dict[str, AnyArray],
    positives: Array | None,
    least: int,
    axes: tuple[int, ...],
    axis_name: AxisName | None,
) -> PerExample:
    """The factor of each example: 1 if it is kept, 0 if not, and a part of 1 for equal ones at the edge."""
    values, weights = lax.stop_gradient((values, weights))
    valid, always = weights != 0, jnp.isnan(values)

    def count(found: Array) -> Array:
        found = jnp.sum(found, axes, dtype=np.int32, keepdims=True)
        return found if axis_name is None else lax.psum(found, axis_name)

    def times(number: AnyArray, counted: Array) -> Array:
        """Rounded down, but 0.84 of 75 is 63, though 0.84 is less in binary."""
        not_below = 1 + 4 * jnp.finfo(values.dtype).eps
        return jnp.floor(number * counted.astype(values.dtype) * not_below).astype(np.int32)

    wanted = jnp.full_like(count(valid), least)
    if "fraction" in given:
        wanted = jnp.maximum(times(given["fraction"], count(valid)), least)
    if "threshold" in given:
        always = always | valid & (values > given["threshold"] * weights)
        wanted = least - count(always)
    if "ratio" in given and positives is not None:
        always = always | valid & positives
        wanted = jnp.maximum(times(given["ratio"], count(always)), least)
    s = jnp.where(always, 1, _hardest(values, valid & ~always, wanted, count))
    for number in given.values():
        s = nan_where_invalid(s, jnp.asarray(number == number))
    return s


def _hardest(values: PerExample, among: Array, wanted: Array, count: Count) -> PerExample:
    """The factor by which each of the ``wanted`` largest values ``among`` the examples is kept."""
    x = jnp.where(among, jnp.maximum(values, jnp.finfo(values.dtype).min), -jnp.inf)
    wanted = jnp.clip(wanted, 0, count(among))
    edge = _kth_largest(x, wanted, count)
    above, equal = count(x > edge), count(x == edge)
    part = (wanted - above).astype(x.dtype) / jnp.maximum(equal, 1).astype(x.dtype)
    return jnp.where(x > edge, 1, jnp.where(x == edge, part, 0))


def _kth_largest(x: PerExample, k: Array, count: Count) -> Array:
    """The k-th largest number of each set, and NaN for k = 0, by a search over the bits of a float.

    An integer with the order of the floats is found bit by bit: a bit is 1 if at least k numbers are as large. So there
    is no sort, and devices exchange one count for each bit.
    """
    bits = jnp.finfo(x.dtype).bits
    unsigned = np.dtype(f"uint{bits}")
    sign, one = unsigned.type(1 << (bits - 1)), unsigned.type(1)

    def as_float(ordered: Array) -> Array:
        return lax.bitcast_convert_type(jnp.where(ordered >= sign, ordered ^ sign, ~ordered), x.dtype)

    def step(i: Array, found: Array) -> Array:
        candidate = found | one << (bits - 1 - i).astype(unsigned)
        return jnp.where(count(x >= as_float(candidate)) >= k, candidate, found)

    return as_float(lax.fori_loop(0, bits, step, (0 * k).astype(unsigned)))
