"""Argument checks by PyTorch's rules: dtypes, shapes, options and reductions.

`_labels` checks the labels of classes. No other module of `jaxce.torch` raises.
"""

import dataclasses
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxce._axis_inputs import one_axis
from jaxce._inputs import array, check_choice, open_hyperparameters
from jaxce._numerics import compute_dtype
from jaxce._types import AnyArray, Hyperparameter, Hyperparameters, Shape
from jaxce._value_checks import as_jax_array, is_concrete

Kinds: TypeAlias = tuple[Any, ...]
FLOATING: Kinds = (jnp.floating,)
REAL: Kinds = (jnp.floating, jnp.integer)
REAL_OR_BOOL: Kinds = (jnp.floating, jnp.integer, jnp.bool_)

WEIGHTS = ("weight", "pos_weight")
"""The arguments that are arrays or None, of the functions as of the classes."""


def open_reduction(
    reduction: str, size_average: bool | None = None, reduce: bool | None = None, *, old_name: bool = True
) -> str:
    """The current name of the reduction; the deprecated arguments override it.

    Most functions also take the old name of the mean, "elementwise_mean".
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    check_choice("reduction", reduction, ("none", "mean", "sum", *(["elementwise_mean"] if old_name else [])))
    if reduction == "elementwise_mean":
        text = "reduction: got 'elementwise_mean', which is deprecated; write reduction='mean'."
        warn(text, DeprecationWarning)
        return "mean"
    return reduction


def legacy_reduction(size_average: bool | None, reduce: bool | None) -> str:
    """The reduction that the deprecated arguments stand for, with a warning."""
    check_flags(size_average=size_average, reduce=reduce)
    averaged = size_average is None or size_average
    reduction = "none" if reduce is not None and not reduce else "mean" if averaged else "sum"
    text = f"size_average, reduce: both are deprecated; write reduction={reduction!r}."
    warn(text, DeprecationWarning)
    return reduction


def warn(text: str, category: type[Warning]) -> None:
    """Warns with the line of the user's code that called the library."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jaxce."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def open_elements(
    result: tuple[str, ...] = (),
    *,
    weak: bool = False,
    floating: bool = True,
    **arguments: tuple[ArrayLike | None, Kinds],
) -> tuple[list[Any], np.dtype[Any]]:
    """The arguments in the computing dtype, and the dtype of the result.

    Each argument comes with the kinds of dtype that PyTorch takes; weights may be None. The result has the promoted
    dtype of the arguments in ``result``, by default of all. With ``weak``, scalars do not take part in the promotion.
    Unless ``floating`` is False, one argument must be floating.
    """
    given = {name: pair for name, pair in arguments.items() if pair[0] is not None or name not in WEIGHTS}
    arrays = {name: of_kind(name, value, kinds) for name, (value, kinds) in given.items()}
    if floating and not any(jnp.issubdtype(x.dtype, jnp.floating) for x in arrays.values()):
        name, x = next(iter(arrays.items()))
        raise TypeError(f"{name}: got dtype {x.dtype}; expected a floating dtype, here or in another argument.")
    dtype = compute_dtype(promoted(*(x.dtype for x in arrays.values())))
    opened = [arrays[name].astype(dtype) if name in arrays else None for name in arguments]
    named = [x for name, x in arrays.items() if name in (result or arrays)]
    strong = [x for x in named if x.ndim and jnp.issubdtype(x.dtype, jnp.floating)]
    return opened, promoted(*(x.dtype for x in (strong if weak and strong else named)))


def promoted(*dtypes: Any) -> np.dtype[Any]:
    """PyTorch's promoted dtype of the floating dtypes; float32 if none is floating."""
    floats: set[np.dtype[Any]] = {np.dtype(dtype) for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)}
    if len(floats) == 1:
        return floats.pop()
    return np.dtype(np.float64 if np.dtype(np.float64) in floats else np.float32)


def as_array(name: str, value: ArrayLike | None) -> AnyArray:
    """The argument as an array; Python numbers are refused, as PyTorch refuses them."""
    if value is None or (isinstance(value, bool | int | float) and not isinstance(value, np.generic)):
        raise TypeError(f"{name}: got {value!r}; expected an array. Wrap it in jnp.asarray(...).")
    return array(name, value)


def of_kind(name: str, value: ArrayLike | None, kinds: Kinds) -> Array:
    """The argument as a JAX array of one of these kinds of dtype."""
    x = as_array(name, value)
    if not any(jnp.issubdtype(x.dtype, kind) for kind in kinds):
        words = {FLOATING: "a floating dtype", REAL: "real numbers", REAL_OR_BOOL: "real numbers or bool"}[kinds]
        fix = f" Use {name}.astype(jnp.float32)." if kinds == FLOATING else ""
        raise TypeError(f"{name}: got dtype {x.dtype}; expected {words}.{fix}")
    return as_jax_array(x)


def is_floating(dtype: DTypeLike) -> bool:
    """Whether this is a floating dtype; False if it is no dtype."""
    try:
        return bool(jnp.issubdtype(dtype, jnp.floating))
    except TypeError:
        return False


def require_rank(name: str, x: Array, least: int) -> None:
    """The array must have at least this many axes."""
    if x.ndim < least:
        raise ValueError(f"{name}: got shape {x.shape}; expected at least {least} axis.")


def require_same_shape(name: str, x: AnyArray, shape: Shape) -> None:
    """The array must have exactly this shape."""
    if x.shape != shape:
        raise ValueError(f"{name}: got shape {x.shape}; expected {shape}, the shape of input.")


def require_same_dtype(name: str, x: ArrayLike, dtype: np.dtype[Any]) -> None:
    """The array must have exactly this dtype."""
    if (given := as_jax_array(array(name, x)).dtype) != dtype:
        raise TypeError(f"{name}: got dtype {given}; expected {dtype}. Use {name}.astype(input.dtype).")


def broadcast(*, quiet: bool = True, **arrays: Array) -> list[Array]:
    """The arrays in their common shape; unless ``quiet``, different shapes warn."""
    (first, x), *others = arrays.items()
    shape = x.shape
    for name, y in others:
        if not quiet and y.shape != x.shape:
            text = f"{name}: got shape {y.shape} for {first} of shape {x.shape}, which broadcasts: was that meant?"
            warn(text, UserWarning)
        try:
            shape = jnp.broadcast_shapes(shape, y.shape)
        except (TypeError, ValueError):
            text = f"{name}: got shape {y.shape}; expected one that broadcasts with {shape}."
            raise ValueError(text) from None
    return [jnp.broadcast_to(y, shape) for y in arrays.values()]


def broadcast_into(name: str, x: Array, shape: Shape) -> Array:
    """The array broadcast to exactly this shape."""
    if x.ndim > len(shape) or any(n not in (1, m) for n, m in zip(x.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{name}: got shape {x.shape}; expected one that broadcasts to {shape}, the shape of input.")
    return jnp.broadcast_to(x, shape)


def open_smoothing(label_smoothing: Hyperparameter, dtype: DTypeLike) -> Hyperparameters:
    """The smoothing, at most 1; a negative one counts as 0, as in PyTorch."""
    check_number("label_smoothing", label_smoothing, lambda eps: not eps > 1, "at most 1")
    if isinstance(label_smoothing, Array | np.ndarray):
        label_smoothing = jnp.where(label_smoothing > 0, label_smoothing, 0)
    else:
        label_smoothing = jnp.asarray(label_smoothing, dtype) if label_smoothing > 0 else 0.0
    return open_hyperparameters(dtype, label_smoothing=(label_smoothing, 0, 1))


def check_flags(**flags: Any) -> None:
    """The options must be Python values."""
    for name, value in flags.items():
        if isinstance(value, Array | np.ndarray):
            raise TypeError(f"{name}: got an array; expected a Python value.")


def check_bools(**flags: bool) -> None:
    """The options must be bools."""
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name}: got {value!r}; expected a bool.")


def check_p(p: int) -> int:
    """The exponent of `multi_margin_loss`, 1 or 2."""
    check_flags(p=p)
    if p not in (1, 2):
        raise ValueError(f"p: got {p!r}; expected 1 or 2.")
    return int(p)


def open_number(
    name: str,
    value: Hyperparameter,
    dtype: DTypeLike,
    ok: Callable[[Any], bool] = lambda value: True,
    expected: str = "",
) -> Array:
    """One number in this dtype; a concrete one must be ``ok``. Without a bound NaN passes, as in PyTorch."""
    check_number(name, value, ok, expected)
    return jnp.asarray(value, dtype)


def check_number(
    name: str, value: Hyperparameter, ok: Callable[[Any], bool] = lambda value: True, expected: str = ""
) -> None:
    """A Python number or an array of shape (), in its range if it is concrete."""
    if not isinstance(value, Array | np.ndarray):
        check_scalar(name, value)
    elif value.ndim:
        raise ValueError(f"{name}: got shape {value.shape}; expected one number.")
    if is_concrete(value) and not ok(value):
        raise ValueError(f"{name}: got {value}; expected a number {expected}.")


def check_scalar(name: str, value: object) -> None:
    """The option must be a Python or NumPy number."""
    if not isinstance(value, int | float | np.generic):
        raise TypeError(f"{name}: got a {type(value).__name__}; expected a number.")


def check_loss(kind: str, legacy: tuple[Any, ...], options: Mapping[str, Any], leaves: tuple[str, ...]) -> None:
    """The options of a class: arrays or None for its weights, Python values or scalars for the rest."""
    rest = {"size_average": legacy, **{name: (value,) for name, value in options.items() if name not in leaves}}
    for name, values in rest.items():
        if any(isinstance(v, Array | np.ndarray) and (v.ndim or name == "size_average") for v in values):
            fix = f"First create the loss, then call it: {kind}()(input, target)."
            raise TypeError(f"{name}: got an array; expected a Python value. {fix}")
    for name in leaves:
        if options[name] is not None and not isinstance(options[name], Array | np.ndarray):
            kind = type(options[name]).__name__
            raise TypeError(f"{name}: got a {kind}; expected an array or None. Use jnp.asarray(...).")


def check_one_axis(name: str, value: ArrayLike | None) -> None:
    """The array must have one axis."""
    if value is not None and array(name, value).ndim != 1:
        raise ValueError(f"{name}: got shape {jnp.shape(value)}; expected one axis, [C].")


def check_layer(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the options of `LinearCrossEntropyLoss`; returns ``out_features`` and ``dtype`` in their normal form."""
    for name in ("in_features", "num_classes", "out_features"):
        sizes = loss[name] if name == "out_features" else (loss[name],)
        if not isinstance(sizes, tuple | list) or not all(isinstance(n, int) for n in sizes):
            expected = "a tuple of integers" if name == "out_features" else "an integer"
            raise TypeError(f"{name}: got {loss[name]!r}; expected {expected}.")
        if any(n < 0 for n in sizes):
            raise ValueError(f"{name}: got {loss[name]!r}; expected no negative size.")
    eps, weight, classes = loss["label_smoothing"], loss["weight"], loss["num_classes"]
    check_number("label_smoothing", eps, lambda number: not (number < 0 or number > 1), "in [0, 1]")
    if weight is not None and array("weight", weight).shape != (classes,):
        raise ValueError(f"weight: got shape {jnp.shape(weight)}; expected ({classes},), one weight per class.")
    if loss["device"] is not None:
        raise ValueError(f"device: got {loss['device']!r}; expected None. Place the weights with jax.device_put.")
    if loss["dtype"] is not None and not is_floating(loss["dtype"]):
        raise TypeError(f"dtype: got {loss['dtype']!r}; expected a floating dtype.")
    dtype = None if loss["dtype"] is None else jnp.dtype(loss["dtype"])
    return {"out_features": tuple(loss["out_features"]), "dtype": dtype}


def check_linear(loss: Mapping[str, Any], linear_weight: ArrayLike, linear_bias: ArrayLike | None) -> None:
    """The layer's weights must have the sizes, dtype and bias of the `LinearCrossEntropyLoss`."""
    w = array("linear_weight", linear_weight)
    shape = (loss["num_classes"], *loss["out_features"], loss["in_features"])
    if w.shape != shape:
        raise ValueError(f"linear_weight: got shape {w.shape}; expected {shape}.")
    if loss["dtype"] is not None:
        require_same_dtype("linear_weight", w, jnp.dtype(loss["dtype"]))
    if (linear_bias is not None) != loss["bias"]:
        came, expected = ("None", "an array") if linear_bias is None else ("an array", "None")
        raise ValueError(f"linear_bias: got {came}; expected {expected}, as bias={loss['bias']}.")


def open_variance(var: Array, shape: Shape) -> Array:
    """Variances: one per element, one per row, or the same along one axis."""
    if var.shape == shape:
        return var
    if var.shape == shape[:-1]:
        return var[..., None]
    if var.ndim != len(shape) or sum(v for n, v in zip(shape, var.shape, strict=True) if n != v) != 1:
        expected = f"{shape}, {shape[:-1]}, or {shape} with one axis of size 1"
        raise ValueError(f"var: got shape {var.shape}; expected {expected}.")
    return var


@dataclasses.dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """PyTorch's chunking options for ``linear_cross_entropy``; they have no effect here.

    Args:
        allow_retain_graph: whether PyTorch may run the backward pass twice.
        batch_chunk_size: rows in a chunk.
        chunking_method: ``"auto"``, ``"aspect_ratio"``, ``"aspect_ratio:N"`` or None.
        acc_policy: ``"auto"``, ``"accurate"``, ``"balanced"`` or ``"compact"``.
        acc_dtype: dtype of PyTorch's accumulators.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: DTypeLike | None = None

    def __post_init__(self) -> None:
        check_choice("acc_policy", self.acc_policy, ("auto", "accurate", "balanced", "compact"))
        if not re.fullmatch(r"auto|aspect_ratio(:0*[1-9]\d*)?", self.chunking_method or "auto"):
            expected = "None, 'auto', 'aspect_ratio' or 'aspect_ratio:N'"
            raise ValueError(f"chunking_method: got {self.chunking_method!r}; expected {expected}.")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size: got {size!r}; expected a positive integer or None.")
        if self.acc_dtype is not None and not is_floating(self.acc_dtype):
            raise ValueError(f"acc_dtype: got {self.acc_dtype!r}; expected a floating dtype or None.")


def open_dim(dim: int | None, shape: Shape) -> int:
    """The class dimension, at least 0; for None, PyTorch guesses it from the rank. A scalar counts as one class."""
    if dim is None:
        dim = 0 if len(shape) in (0, 1, 3) else 1
        text = f"dim: got None, which stands for {dim} here; write dim={dim}."
        warn(text, UserWarning)
    return one_axis("dim", "input", shape or (1,), dim)


def open_activation(input: ArrayLike, dtype: DTypeLike | None, kinds: Kinds) -> tuple[Array, np.dtype[Any]]:
    """The input of an activation in the computing dtype, and the dtype of the result."""
    if dtype is not None and not is_floating(dtype):
        raise TypeError(f"dtype: got {dtype}; expected a floating dtype.")
    x = of_kind("input", input, kinds)
    result = promoted(x.dtype) if dtype is None else jnp.dtype(dtype)
    return x.astype(compute_dtype(result)), result
