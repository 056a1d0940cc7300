"""Argument checks of axes, of arrays and of the mesh. Several class axes become one."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._types import AxisName, Shape


def one_class_axis(name: str, logits: Array, labels: Any, axis: int | tuple[int, ...]) -> tuple[Array, Any, int]:
    """The logits, labels and class axis. Several class axes become one, and so do those of probabilities as labels."""
    if not isinstance(axis, tuple):
        return logits, labels, class_axis(name, logits.shape, axis)
    shape, axes = logits.shape, [class_axis(name, logits.shape, d) for d in axis]
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"axis: got {axis} for {name} of shape {shape}; expected at least one axis, and each once.")
    first, others = min(axes), [d for d in range(len(shape)) if d not in axes]
    order = (*others[:first], *axes, *others[first:])

    def merge(a: Any) -> Any:
        a = a.transpose(order)
        return a.reshape(*a.shape[:first], math.prod(shape[d] for d in axes), *a.shape[first + len(axes) :])

    has_classes = getattr(labels, "shape", None) == shape and jnp.issubdtype(labels.dtype, jnp.floating)
    return merge(logits), merge(labels) if has_classes else labels, first


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
