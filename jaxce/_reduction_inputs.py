"""Argument checks of the reductions that choose or group examples."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxce._axis_inputs import check_integer, one_axis
from jaxce._inputs import array, check_example_shape, real_number
from jaxce._types import AnyArray, Bound, Hyperparameter, Ids, Shape
from jaxce._value_checks import as_jax_array, check_ids, check_number

Axes: TypeAlias = int | tuple[int, ...] | None

RANGES: dict[str, tuple[Bound, Bound]] = {"fraction": (0, 1), "threshold": (-np.inf, np.inf), "ratio": (0, 1_000_000)}
"""The numbers that choose, with their closed ranges; of them and ``k`` exactly one is given."""


def check_choice_of(k: int | None, positives: ArrayLike | None, min_kept: int | None, **numbers: Any) -> None:
    """Exactly one of the numbers and ``k``, and only what goes with it."""
    given = [name for name, value in (("k", k), *numbers.items()) if value is not None]
    if len(given) != 1:
        got = f"got {' and '.join(given)}" if given else "none is given"
        raise ValueError(f"fraction, k, threshold, ratio: {got}; expected exactly one of them.")
    for name, count in (("k", k), ("min_kept", min_kept)):
        if count is not None:
            check_integer(name, count)
            if count < 1:
                raise ValueError(f"{name}: got {count}; expected at least 1.")
    if given == ["k"] and min_kept is not None:
        raise ValueError(f"min_kept: got {min_kept} with k={k}; expected None, since k examples are kept.")
    if given == ["ratio"] and positives is None:
        raise ValueError("positives: got None with ratio; expected a bool mask of the examples, such as labels > 0.")
    if given != ["ratio"] and positives is not None:
        raise ValueError(f"positives: got a mask with {given[0]}; expected None. Only ratio takes them.")


def open_number(name: str, value: Hyperparameter, dtype: DTypeLike) -> AnyArray:
    """The number that chooses, in its range."""
    return check_number(name, real_number(name, value), *RANGES[name], dtype)


def open_positives(positives: ArrayLike, examples: Shape) -> Array:
    """The mask of the positive examples."""
    mask = array("positives", positives)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"positives: got dtype {mask.dtype}; expected bool. Use positives > 0.")
    check_example_shape("positives", mask.shape, examples)
    return as_jax_array(mask)


def open_axes(axis: Axes | Sequence[int], examples: Shape) -> tuple[int, ...]:
    """The axes of the examples, counted from the first; None is all."""
    if axis is None:
        return tuple(range(len(examples)))
    axes = axis if isinstance(axis, Sequence) else (axis,)
    return tuple(one_axis("axis", "losses", examples, d) for d in axes)


def check_num_groups(num_groups: int) -> None:
    """The number of groups, which is a shape."""
    check_integer("num_groups", num_groups)
    if num_groups < 1:
        raise ValueError(f"num_groups: got {num_groups}; expected at least 1.")


def open_groups(ids: ArrayLike, num_groups: int, weights: Array) -> Ids:
    """The group of each example. Those of examples without weight may be any number."""
    groups = array("ids", ids)
    if not jnp.issubdtype(groups.dtype, jnp.integer):
        raise TypeError(f"ids: got dtype {groups.dtype}; expected an integer dtype.")
    check_example_shape("ids", groups.shape, weights.shape)
    return check_ids(groups, num_groups, weights != 0, "ids", _group_hint)


def _group_hint(value: Any, num_groups: Any) -> str:
    if value < 0:
        return "Mask examples without a group with where=."
    return f"Pass num_groups={value + 1} or more, or mask examples without a group with where=."
