"""The base of PyTorch's loss classes: frozen dataclass pytrees.

Arrays are leaves, everything else is static. Losses pass through ``jit``, can be closed over and held by modules, and
hash by their static part.
"""

import dataclasses
import inspect
from functools import partial
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxce.torch._arguments import WEIGHTS, check_loss, legacy_reduction

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False)
def frozen(kind: type[T]) -> type[T]:
    """A frozen dataclass with the equality, hash and text of `Loss`."""
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(kind)


@frozen
class Loss:
    """A function of `functional` with its options."""

    function: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        """Registers every subclass as a pytree, those of users too."""
        jax.tree_util.register_pytree_with_keys(cls, _flatten, partial(_unflatten, cls))

    def __post_init__(self, *legacy: bool | None) -> None:
        weights = tuple(name for name in WEIGHTS if name in vars(self))
        check_loss(type(self).__name__, legacy, vars(self), weights)
        if any(flag is not None for flag in legacy):
            object.__setattr__(self, "reduction", legacy_reduction(*legacy))
        arrays = tuple(n for n, value in vars(self).items() if n in weights or isinstance(value, Array | np.ndarray))
        object.__setattr__(self, "_leaves", arrays)

    def _value(self, *inputs: ArrayLike, **others: ArrayLike | None) -> Array:
        known = inspect.signature(type(self).function).parameters
        options = {name: value for name, value in fields(self).items() if name in known}
        value: Array = type(self).function(*inputs, **others, **options)
        return value

    def __hash__(self) -> int:
        return hash((type(self), _flatten(self)[1]))

    def __eq__(self, other: object) -> bool:
        """Compares the static part and the arrays: losses are keys of compiled programs."""
        if type(other) is not type(self):
            return False
        (mine, static), (theirs, others) = _flatten(self), _flatten(other)
        return static == others and all(_is_same(a, b) for (_, a), (_, b) in zip(mine, theirs, strict=True))

    def __repr__(self) -> str:
        options = (f"{name}={_text(value)}" for name, value in fields(self).items())
        return f"{type(self).__name__}({', '.join(options)})"


def fields(loss: Any) -> dict[str, Any]:
    """The options by name."""
    return {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}


def _flatten(loss: Any) -> tuple[list[tuple[jax.tree_util.GetAttrKey, Any]], tuple[tuple[str, Any], ...]]:
    """The arrays, and the static part: the other options, and the names of those that were arrays at the start."""
    options, leaves = fields(loss), loss._leaves
    static = tuple((name, None if name in leaves else value) for name, value in options.items())
    return [(jax.tree_util.GetAttrKey(name), options[name]) for name in leaves], (*static, ("_leaves", leaves))


def _unflatten(kind: Any, static: tuple[tuple[str, Any], ...], children: Any) -> Any:
    """A loss made without `__init__`: under JAX's transformations the leaves may be any objects."""
    loss, arrays = object.__new__(kind), dict(static) | dict(zip(dict(static)["_leaves"], children, strict=True))
    for name, value in arrays.items():
        object.__setattr__(loss, name, value)
    return loss


def _is_same(a: Any, b: Any) -> bool:
    if any(isinstance(x, jax.core.Tracer) or not isinstance(x, Array | np.ndarray) for x in (a, b)):
        return a is b or (type(a) is type(b) and not isinstance(a, Array) and bool(a == b))
    return a.shape == b.shape and a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def _text(value: Any) -> str:
    """Arrays by dtype and shape, such as ``float32[3]``."""
    if isinstance(value, Array | np.ndarray):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return repr(value)


@frozen
class PairLoss(Loss):
    """A loss of an input and a target."""

    def __call__(self, input: ArrayLike, target: ArrayLike) -> Array:
        """Returns the value of the function with these options."""
        return self._value(input, target)
