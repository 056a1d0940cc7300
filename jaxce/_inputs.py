"""Argument checks and conversion: the functions ``open_*`` return records, and no formula raises.

Invalid shapes and dtypes raise while tracing, invalid values when they are concrete. Traced values become NaN.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Bool, Float

from jaxce._axis_inputs import check_integer, class_axes, class_axis, merge_class_axes, one_axis, shards
from jaxce._class_axis import broadcast_mask, example_shape
from jaxce._debug import is_debugging
from jaxce._hints import BINARY_FIX, argmax_hint, axes_text, dtype_hint, id_hint, label_hint, without_axes
from jaxce._numerics import compute_dtype, fill_masked, is_off
from jaxce._types import (
    REDUCTION_NAMES,
    AnyArray,
    AxisName,
    Bounded,
    Hyperparameter,
    Hyperparameters,
    Ids,
    Inputs,
    Probs,
    Reduction,
    Shape,
    SigmoidInputs,
    Size,
    SoftmaxInputs,
)
from jaxce._value_checks import (
    as_jax_array,
    check_binary_labels,
    check_ids,
    check_label_rows,
    check_log_probs,
    check_not_probabilities,
    check_number,
    check_weights,
    without_ignored,
)


def open_softmax(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...],
    class_weights: ArrayLike | None,
    sample_weights: ArrayLike | None,
    where: ArrayLike | None,
    ignore_index: int | Array | None,
    reduction: Reduction,
    class_axis_name: AxisName | None = None,
    name: str = "logits",
    only_ids: bool = False,
    normalized: bool = True,
    binary_fix: str = BINARY_FIX,
    **hyperparameters: Bounded,
) -> SoftmaxInputs:
    """Logits of exclusive classes with their labels: ids, or unless ``only_ids`` probabilities along ``axis``.

    Rows of probabilities must sum to 1 if ``normalized``. ``binary_fix`` says in messages what takes binary labels.
    """
    check_reduction(reduction)
    refuse_swapped(name, logits, labels)
    x = floating(name, logits)
    axes = class_axes(name, x, axis, class_axis_name)
    y = _label_array(name, labels, x.shape, axes, binary_fix, only_ids)
    of_one_class = without_axes(name, x.ndim, axes)
    x, y, axis = merge_class_axes(x, y, axes)
    examples, dtype = example_shape(x, axis), compute_dtype(x)
    checked_labels: Ids | Probs
    if jnp.issubdtype(y.dtype, jnp.floating):
        mask = open_mask(where, examples)
        refuse_ignore_index(ignore_index)
        checked_labels = check_label_rows(as_jax_array(y), mask, axis, class_axis_name, normalized, binary_fix)
    else:
        checked_labels, mask = ids_and_mask(
            y,
            x.shape[axis] * shards(class_axis_name),
            where,
            ignore_index,
            f"With one class every loss is 0; for binary labels {binary_fix} on {of_one_class}.",
        )
    if is_debugging() and normalized and class_axis_name is None:
        (check_log_probs if name == "log_probs" else check_not_probabilities)(x, mask, axis)
    return SoftmaxInputs(
        logits=x,
        axis=axis,
        labels=checked_labels,
        mask=mask,
        class_weights=weight_per_class("class_weights", class_weights, x.shape[axis], dtype),
        sample_weights=per_example("sample_weights", sample_weights, examples, mask, dtype),
        class_axis_name=class_axis_name,
        hyperparameters=open_hyperparameters(dtype, **hyperparameters),
    )


def open_logits(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...],
    sample_weights: ArrayLike | None,
    where: ArrayLike | None,
    reduction: Reduction,
) -> Inputs:
    """Logits of exclusive classes without labels."""
    check_reduction(reduction)
    x = floating("logits", logits)
    x, _, axis = merge_class_axes(x, None, class_axes("logits", x, axis))
    examples = example_shape(x, axis)
    mask = open_mask(where, examples)
    weights = per_example("sample_weights", sample_weights, examples, mask, compute_dtype(x))
    return Inputs(logits=x, axis=axis, mask=mask, sample_weights=weights)


def open_sigmoid(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int,
    class_weights: ArrayLike | None,
    sample_weights: ArrayLike | None,
    where: ArrayLike | None,
    reduction: Reduction,
    pos_weight: ArrayLike | None = None,
    name: str = "logits",
    filler: float = 0.0,
    negative_label: int = 0,
    rows: bool = False,
    **hyperparameters: Bounded,
) -> SigmoidInputs:
    """Logits with one binary label each. Each is an example; with ``rows`` each row of classes is one example.

    Labels of the negative class are ``negative_label``. Masked logits become ``filler`` and masked labels 1.
    """
    check_reduction(reduction)
    refuse_swapped(name, logits, labels)
    x = floating(name, logits)
    if x.ndim or rows:
        axis = class_axis(name, x.shape, axis) if rows else one_axis("axis", name, x.shape, axis)
    y = binary_label_array(name, labels, x.shape)
    dtype, classes = compute_dtype(x), x.shape[axis : axis + 1]
    examples = example_shape(x, axis) if rows else x.shape
    mask = open_mask(where, examples)
    logit_mask = broadcast_mask(mask, x, axis) if rows else mask
    return SigmoidInputs(
        name=name,
        logits=fill_masked(x, logit_mask, filler),
        axis=axis,
        mask=mask,
        labels=check_binary_labels(fill_masked(as_jax_array(y), logit_mask, 1.0), dtype, negative_label),
        class_weights=weight_per_class("class_weights", class_weights, classes, dtype),
        sample_weights=per_example("sample_weights", sample_weights, examples, mask, dtype),
        pos_weight=weight_per_class("pos_weight", pos_weight, classes, dtype),
        hyperparameters=open_hyperparameters(dtype, **hyperparameters),
    )


def open_values(
    values: ArrayLike, weights: ArrayLike | None, where: ArrayLike | None, reduction: Reduction
) -> tuple[Array, Array | None, Array | None]:
    """Per-example values in the computing dtype, with their weights and mask."""
    check_reduction(reduction)
    x = floating("values", values)
    mask = open_mask(where, x.shape)
    x = fill_masked(x, mask).astype(compute_dtype(x))
    return x, per_example("weights", weights, x.shape, mask, x.dtype), mask


def open_ids(
    labels: ArrayLike, classes: int, where: ArrayLike | None, ignore_index: int | Array | None
) -> tuple[Ids, Bool[Array, "..."] | None]:
    """Class ids without logits, with their mask."""
    check_integer("num_classes", classes)
    if classes < 1:
        raise ValueError(f"num_classes: got {classes}; expected at least 1.")
    return ids_and_mask(integer_labels(labels), classes, where, ignore_index)


def integer_labels(labels: ArrayLike, fix: str = "", name: str = "labels") -> AnyArray:
    """Labels that must be class ids."""
    y = array(name, labels)
    if not jnp.issubdtype(y.dtype, jnp.integer):
        got = f"{name}: got {y.dtype} of shape {y.shape}"
        raise TypeError(f"{got}; expected class ids of an integer dtype.{fix}")
    return y


def ids_and_mask(
    labels: AnyArray, classes: Size, where: ArrayLike | None, ignore_index: int | Array | None, one_class_fix: str = ""
) -> tuple[Ids, Bool[Array, "..."] | None]:
    """Checked class ids, and their mask, False also where the id is ``ignore_index``."""
    mask = without_ignored(labels, ignore_index, check_mask(where, labels.shape))

    def hint(value: int, classes: Size) -> str:
        return one_class_fix if classes == 1 and one_class_fix else id_hint(value, labels.dtype, ignore_index)

    return check_ids(labels, classes, mask, "labels", hint), None if mask is None else as_jax_array(mask)


def open_mask(where: ArrayLike | None, examples: Shape) -> Bool[Array, "..."] | None:
    """The mask of the examples as a JAX array."""
    mask = check_mask(where, examples)
    return None if mask is None else as_jax_array(mask)


def open_hyperparameters(dtype: DTypeLike, **hyperparameters: Bounded) -> Hyperparameters:
    """Hyperparameters in their ranges; each is a number of Python or NumPy, or an array of shape ()."""
    on: dict[str, AnyArray | None] = {}
    off = set()
    for name, (value, low, high, *or_none) in hyperparameters.items():
        if value is None and or_none:
            on[name] = None
            continue
        number = check_number(name, real_number(name, value), low, high, dtype)
        if is_off(value):
            off.add(name)
        else:
            on[name] = number
    return Hyperparameters(on, frozenset(off))


def real_number(name: str, value: Hyperparameter | None) -> AnyArray:
    """One real number, as an array of shape ()."""
    number = array(name, value, "one real number.")
    if not any(jnp.issubdtype(number.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(f"{name}: got dtype {number.dtype}; expected one real number.")
    if number.ndim:
        raise ValueError(f"{name}: got shape {number.shape}; expected one number.")
    return number


def check_reduction(reduction: Reduction) -> None:
    """The reduction must be one of the names or a callable."""
    if isinstance(reduction, type):
        fix = '"total"' if reduction.__name__ == "Total" else f"{reduction.__name__}()"
        raise TypeError(f"reduction: got the class {reduction.__name__}; write {fix}.")
    name, module = (getattr(reduction, key, "") for key in ("__name__", "__module__"))
    if module.split(".")[0] in ("jax", "numpy"):
        write = f'"{name}"' if name in ("mean", "sum") else 'reduction="none" and reduce its result'
        raise TypeError(f"reduction: got the function {name}, which takes no weights; write {write}.")
    if reduction not in REDUCTION_NAMES and not callable(reduction):
        expected = f"one of {REDUCTION_NAMES} or a callable such as Mean()"
        raise ValueError(f"reduction: got {reduction!r}; expected {expected}.")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """The value must be one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}; expected one of {choices}.")


def array(name: str, value: Any, expected: str = "an array. Wrap it in jnp.asarray(...).") -> AnyArray:
    """The argument as an array, in its own dtype."""
    if isinstance(value, Array | np.ndarray):
        return value
    if isinstance(value, bool | int | float | complex | np.generic):
        return np.asarray(value)
    if hasattr(value, "__jax_array__"):
        return jnp.asarray(value)
    if hasattr(value, "unbox"):
        expected = f"an array. Use {name}.unbox()."
    raise TypeError(f"{name}: got a {type(value).__name__}; expected {expected}")


def floating(name: str, value: ArrayLike) -> Float[Array, "..."]:
    x = array(name, value)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name}: got dtype {x.dtype}; expected a floating dtype. Use {name}.astype(jnp.float32).")
    return as_jax_array(x)


def _label_array(
    name: str, labels: ArrayLike, shape: Shape, axes: tuple[int, ...], binary_fix: str, only_ids: bool = False
) -> AnyArray:
    """Labels of exclusive classes: floating ones have the shape of the logits, integer ones lack the class axes."""
    y = array("labels", labels)
    examples = tuple(n for d, n in enumerate(shape) if d not in axes)
    where_from = f"{name} of shape {shape} with the class {axes_text(axes)}"
    if only_ids and not jnp.issubdtype(y.dtype, jnp.integer):
        text = f"labels: got {y.dtype} of shape {y.shape} for {where_from}; expected class ids of an integer dtype"
        raise TypeError(f"{text}.{argmax_hint(axes)}")
    if jnp.issubdtype(y.dtype, jnp.floating):
        if y.shape == examples and y.shape != shape:
            raise TypeError(
                f"labels: got {y.dtype} of shape {y.shape} for {where_from}; floating labels are probabilities of"
                f" shape {shape}. If these are class ids, use labels.astype(jnp.int32)."
            )
        if y.shape != shape:
            raise ValueError(f"labels: got probabilities of shape {y.shape} for {where_from}; expected shape {shape}.")
    elif not jnp.issubdtype(y.dtype, jnp.integer):
        text = f"labels: got dtype {y.dtype}; expected integer class ids or floating probabilities."
        raise TypeError(f"{text}{dtype_hint(y, shape, binary_fix)}")
    elif y.shape != examples:
        text = f"labels: got class ids of shape {y.shape} for {where_from}; expected shape {examples}."
        raise ValueError(f"{text}{label_hint(y.shape, shape, axes, binary_fix)}")
    return y


def refuse_swapped(name: str, logits: ArrayLike, labels: ArrayLike) -> None:
    """Integers in the place of the logits and floats in that of the labels are swapped."""
    first, second = array(name, logits), array("labels", labels)
    if jnp.issubdtype(first.dtype, jnp.integer) and jnp.issubdtype(second.dtype, jnp.floating):
        raise TypeError(f"{name}: got {first.dtype} with {second.dtype} labels; they look swapped: {name} come first.")


def binary_label_array(name: str, labels: ArrayLike, shape: Shape) -> AnyArray:
    """Binary labels: exactly one for each logit."""
    y = array("labels", labels)
    if not (y.dtype == jnp.bool_ or jnp.issubdtype(y.dtype, jnp.integer) or jnp.issubdtype(y.dtype, jnp.floating)):
        raise TypeError(f"labels: got dtype {y.dtype}; expected bool, integer or floating.")
    if y.shape != shape:
        hint = ""
        if jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == len(shape) - 1:
            hint = " Class ids become binary labels with jax.nn.one_hot(labels, classes)."
        if y.size == np.prod(shape):
            hint = f" The sizes agree: labels.reshape({name}.shape) if the order does too."
        raise ValueError(f"labels: got shape {y.shape} for {name} of shape {shape}; expected the same shape.{hint}")
    return y


def refuse_ignore_index(ignore_index: int | Array | None, what: str = "probabilities as labels") -> None:
    if ignore_index is not None:
        raise ValueError(
            f"ignore_index: got {ignore_index} with {what}; expected None, as only class ids can be"
            " ignored. Mask examples with where=."
        )


def check_mask(where: ArrayLike | None, examples: Shape) -> AnyArray | None:
    """The mask of the examples. A NumPy array remains one, because its values are concrete under a trace too."""
    if where is None:
        return None
    mask = array("where", where)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"where: got dtype {mask.dtype}; expected bool. Numeric weights go to sample_weights.")
    check_example_shape("where", mask.shape, examples)
    return mask


def per_example(
    name: str, value: ArrayLike | None, examples: Shape, mask: Array | None, dtype: DTypeLike
) -> Array | None:
    """Weights of the examples, 0 where masked."""
    if value is None:
        return None
    weights = _weights(name, value, " A bool mask goes to where=.")
    check_example_shape(name, weights.shape, examples)
    return check_weights(name, fill_masked(weights, mask).astype(dtype))


def weight_per_class(name: str, value: ArrayLike | None, classes: Size | Shape, dtype: DTypeLike) -> Array | None:
    """Weights of the classes, at least 0, ``[classes]``; if ``classes`` is a shape, a scalar is allowed too."""
    weights = per_class(name, value, classes, dtype)
    return None if weights is None else check_weights(name, weights)


def per_class(name: str, value: ArrayLike | None, classes: Size | Shape, dtype: DTypeLike) -> Array | None:
    """Numbers ``[classes]``; if ``classes`` is a shape, a scalar is allowed too."""
    if value is None:
        return None
    weights = _weights(name, value)
    shapes = {(), classes} if isinstance(classes, tuple) else {(classes,)}
    if weights.shape not in shapes:
        expected = " or ".join(str(shape) for shape in sorted(shapes))
        raise ValueError(f"{name}: got shape {weights.shape}; expected {expected}, one weight per class.")
    return weights.astype(dtype)


def _weights(name: str, value: ArrayLike, hint: str = "") -> Array:
    weights = array(name, value)
    if not (jnp.issubdtype(weights.dtype, jnp.floating) or jnp.issubdtype(weights.dtype, jnp.integer)):
        raise TypeError(f"{name}: got dtype {weights.dtype}; expected real numbers.{hint}")
    return as_jax_array(weights)


def check_example_shape(name: str, shape: Shape, examples: Shape) -> None:
    """The shape must have the rank of the examples, and each axis their size or 1."""
    if len(shape) == len(examples) and all(d in (1, n) for d, n in zip(shape, examples, strict=True)):
        return
    hint = " Size-1 axes broadcast, missing ones do not." if len(shape) != len(examples) else ""
    raise ValueError(f"{name}: got shape {shape}; expected one per example, shape {examples}.{hint}")
