"""A reduction to one total per group, such as a domain, a position or a bin."""

import dataclasses

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._class_axis import sum_per_class
from jaxce._numerics import nan_where_invalid
from jaxce._reduction_inputs import check_num_groups, open_groups
from jaxce._types import AxisName
from jaxce.reductions import Total


@dataclasses.dataclass(frozen=True)
class Grouped:
    """``sum_i value_i`` and ``sum_i weight_i`` over the examples i of each group, as a reduction to a ``Total``.

    Groups are domains, positions, segments, documents or bins. ``mean()`` gives the mean of each group, 0 for one
    without examples. Totals add over microbatches, which share the groups. Sum them for the mean of all.

    Args:
        ids: group of each example in [0, num_groups), integer, ``[...]``; size-1 axes broadcast. Masked ones are free.
        num_groups: number of groups, at least 1; static under ``jit``.
        axis_name: mesh axes over which to add, inside ``shard_map``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> logits, labels = jnp.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), jnp.array([0, 0, 0])
        >>> total = jaxce.cross_entropy(logits, labels, reduction=jaxce.Grouped(jnp.array([1, 0, 1]), num_groups=3))
        >>> print(total)
        Total(loss=[0.313262, 1.44019, 0], weight=[1, 2, 0])
        >>> print(total.mean())
        [0.313 0.72  0.   ]
        >>> print(f"{total.sum():.3f} {jaxce.cross_entropy(logits, labels):.3f}")
        0.584 0.584

    See Also:
        ``Mean``: ``Mean(axis=...)`` if groups are axes.
        ``summarize``: the totals by class and group, with the worst examples.
    """

    ids: ArrayLike
    num_groups: int
    axis_name: AxisName | None = None

    def __post_init__(self) -> None:
        check_num_groups(self.num_groups)

    def __call__(self, values: Array, weights: Array) -> Total:
        """The totals of the groups, ``[num_groups]``."""
        groups = open_groups(self.ids, self.num_groups, weights)
        ids = jnp.broadcast_to(groups.ids, values.shape)
        if groups.valid is not None:
            values, ids = nan_where_invalid(values, jnp.all(groups.valid)), jnp.clip(ids, 0, self.num_groups - 1)
        total = Total(*(sum_per_class(a, ids, self.num_groups) for a in (values, weights)))
        return total if self.axis_name is None else total.psum(self.axis_name)
