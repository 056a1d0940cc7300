"""Argument checks of whole numbers, axes and mesh axes. Several class axes become one."""

import math
from typing import Any

import jax
from jax import Array

from jaxce._sharding import class_split
from jaxce._types import AxisName, Shape


def class_axes(
    name: str, x: Array, axis: int | tuple[int, ...], class_axis_name: AxisName | None = None
) -> tuple[int, ...]:
    """The class axes of ``x``, counted from its first axis. The mesh may split the first of several."""
    if isinstance(axis, list):
        raise TypeError(f"axis: got a list; expected one integer, or several as a tuple: axis={tuple(axis)}.")
    given = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(class_axis(name, x.shape, d) for d in given)
    if not axes or len({*axes}) < len(axes):
        raise ValueError(f"axis: got {axis} for {name} of shape {x.shape}; expected at least one axis, and each once.")
    if len(axes) > 1 and class_axis_name is not None:
        expected = "expected one class axis. Reshape the logits before devices split them."
        raise ValueError(f"class_axis_name: got {class_axis_name!r} with the class axes {axes}; {expected}")
    if split := [d for d in axes[1:] if class_split(x, d) is not None]:
        text = f"axis: got the class axes {axes} of {name} that a mesh splits along axis {split[0]}; expected a split"
        fix = f"Reshard the logits, or give axis {split[0]} first and count the ids so."
        raise ValueError(f"{text} of the first alone, axis {axes[0]}. {fix}")
    return axes


def merge_class_axes(x: Array, labels: Any, axes: tuple[int, ...]) -> tuple[Array, Any, int]:
    """The logits and the labels with all class axes as one, and this axis. Labels that are ids have none of them."""
    if len(axes) == 1:
        return x, labels, axes[0]
    first, others = min(axes), [d for d in range(x.ndim) if d not in axes]
    order = (*others[:first], *axes, *others[first:])
    shape = [x.shape[d] for d in others]
    shape.insert(first, math.prod(x.shape[d] for d in axes))
    if labels is not None and labels.ndim == x.ndim:
        labels = labels.transpose(order).reshape(shape)
    return x.transpose(order).reshape(shape), labels, first


def class_axis(name: str, shape: Shape, axis: int) -> int:
    axis = one_axis("axis", name, shape, axis)
    if shape[axis] == 0:
        raise ValueError(f"{name}: got shape {shape}, without classes along axis {axis}; expected at least one.")
    return axis


def one_axis(keyword: str, name: str, shape: Shape, axis: int) -> int:
    check_integer(keyword, axis)
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{keyword}: got {axis} for {name} of shape {shape}; expected one of its {len(shape)} axes.")
    return axis % len(shape)


def shards(axis_name: AxisName | None, keyword: str = "class_axis_name") -> int:
    """The number of devices along a mesh axis."""
    try:
        return 1 if axis_name is None else int(jax.lax.axis_size(axis_name))
    except (NameError, TypeError):
        expected = "expected a mesh axis of the surrounding shard_map"
        raise ValueError(f"{keyword}: got {axis_name!r}; {expected}.") from None


def check_integer(name: str, value: object) -> None:
    """The value must be one integer, of Python or NumPy."""
    if isinstance(value, jax.core.Tracer):
        raise TypeError(f"{name}: got a traced value; expected one Python integer, static under jit.")
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: got a {type(value).__name__}; expected one integer.")
