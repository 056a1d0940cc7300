"""Argument checks of a teacher: a layer of its own, logits, or its likeliest classes."""

import dataclasses
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike

from jaxce._axis_inputs import shards
from jaxce._class_axis import example_shape
from jaxce._debug import is_debugging
from jaxce._inputs import check_choice, floating, integer_labels, real_number
from jaxce._mixtures import check_beta
from jaxce._numerics import compute_dtype, fill_masked, nan_where_invalid, wider
from jaxce._sharding import axis_index
from jaxce._types import (
    AxisName,
    Hyperparameter,
    Hyperparameters,
    Ids,
    Inputs,
    LinearInputs,
    LinearLogits,
    Shape,
    SoftmaxInputs,
    Tail,
    TopK,
)
from jaxce._value_checks import (
    as_jax_array,
    check_finite_rows,
    check_ids,
    check_positive,
    find_invalid,
    max_sum_error,
    primal,
    say,
)


def check_beta_of_teacher(beta: float, teacher: Any) -> None:
    """The weight of the teacher in a mixture, which the tail of a `TopK` may rule out."""
    check_beta(beta)
    if not isinstance(teacher, TopK):
        return
    check_choice("teacher.tail", teacher.tail, get_args(Tail))
    if (teacher.tail == "ignore" and beta > 0) or (teacher.tail == "renormalize" and beta == 1):
        raise ValueError(
            f'beta: got {beta} with tail="{teacher.tail}", which gives the other classes no probability; expected'
            ' beta=0, or tail="other".'
        )


def open_linear_teacher(
    x: LinearInputs, teacher: ArrayLike | LinearLogits | TopK, temperature: Hyperparameter
) -> LinearInputs:
    """The inputs with the rows of the teacher, if it is no layer, and with the temperature."""
    tokens, layers, v = x.tokens, x.shared.layers, x.kernel_layout.index("v")
    examples, classes = tokens.hidden[0].shape[:-1], layers[0].kernel.shape[v]
    dtype = compute_dtype(wider(tokens.hidden[0], layers[0].kernel))
    if isinstance(teacher, LinearLogits):
        if layers[1].kernel.shape[v] != classes:
            raise ValueError(
                f"teacher.kernel: got {layers[1].kernel.shape[v]} classes; expected {classes}, those of kernel."
            )
    else:
        opened = _open_teacher(teacher, (*examples, classes), len(examples), tokens.mask, x.class_axis_name)
        kind = {"rows" if isinstance(teacher, TopK) else "teacher_logits": opened}
        tokens = dataclasses.replace(tokens, **kind)
    shared = dataclasses.replace(x.shared, hyperparameters=_open_temperature(temperature, dtype))
    return x._replace(tokens=tokens, shared=shared)


def open_with_teacher(
    x: Inputs, teacher: ArrayLike | TopK, temperature: Hyperparameter, class_axis_name: AxisName | None
) -> SoftmaxInputs:
    """The logits of a student with the teacher in the place of labels."""
    labels: Any = _open_teacher(teacher, x.logits.shape, x.axis, x.mask, class_axis_name)
    if is_debugging() and not isinstance(teacher, TopK):
        check_finite_rows("teacher", labels, x.mask, x.axis, jnp.asarray(True))
    return SoftmaxInputs(
        logits=x.logits,
        axis=x.axis,
        labels=labels,
        mask=x.mask,
        sample_weights=x.sample_weights,
        class_axis_name=class_axis_name,
        hyperparameters=_open_temperature(temperature, compute_dtype(x.logits)),
    )


def _open_temperature(temperature: Hyperparameter, dtype: DTypeLike) -> Hyperparameters:
    t = check_positive("temperature", real_number("temperature", temperature), dtype)
    return Hyperparameters({"temperature": as_jax_array(t)}, frozenset())


def _open_teacher(
    teacher: ArrayLike | TopK, shape: Shape, axis: int, mask: Array | None, class_axis_name: AxisName | None
) -> Any:
    """The teacher's logits, of the shape of the student's, or the ids and log-probabilities of its candidates."""
    if isinstance(teacher, TopK):
        return _open_top_k(teacher, shape, axis, mask, class_axis_name)
    if teacher is None or isinstance(teacher, tuple | list | dict):
        kind = "LinearLogits" if isinstance(teacher, LinearLogits) else type(teacher).__name__
        expected = "logits, a TopK(ids, log_probs), or for a linear student a LinearLogits(hidden, kernel)"
        raise TypeError(f"teacher: got a {kind}; expected {expected}.")
    logits = floating("teacher", teacher)
    if logits.shape != shape:
        raise ValueError(f"teacher: got shape {logits.shape}; expected logits of shape {shape}.")
    return logits


def _open_top_k(
    teacher: TopK, shape: Shape, axis: int, mask: Array | None, class_axis_name: AxisName | None
) -> tuple[Ids, Array]:
    """The ids of each example, which differ, and their log-probabilities, whose probabilities sum to at most 1."""
    ids, log_p = integer_labels(teacher.ids, name="teacher.ids"), floating("teacher.log_probs", teacher.log_probs)
    examples = shape[:axis] + shape[axis + 1 :]
    if ids.ndim != len(shape) or example_shape(ids, axis) != examples:
        several = ", ".join(map(str, (*shape[:axis], "k", *shape[axis + 1 :])))
        raise ValueError(f"teacher.ids: got shape {ids.shape}; expected k ids of each example: ({several}).")
    if log_p.shape != ids.shape:
        raise ValueError(f"teacher.log_probs: got shape {log_p.shape}; expected that of teacher.ids: {ids.shape}.")
    is_masked = jnp.zeros(examples, bool) if mask is None else ~jnp.broadcast_to(mask, examples)
    is_present = ~jnp.isneginf(log_p) & ~jnp.expand_dims(is_masked, axis)
    fix = "An absent id has the log-probability -inf; to leave examples out, pass where=."
    classes = shape[axis] * shards(class_axis_name)
    checked = check_ids(ids, classes, primal(is_present), "teacher.ids", lambda value, classes: fix)
    valid = [_check_sums(log_p, is_masked, axis), _check_repeats(checked.ids, is_present, axis)]
    if teacher.tail == "renormalize":
        valid.append(_check_any(is_present, is_masked, axis))
    for ok in valid:
        log_p = log_p if ok is None else nan_where_invalid(log_p, jnp.expand_dims(ok, axis))
    return checked, log_p


def _check_any(is_present: Array, is_masked: Array, axis: int) -> Array | None:
    ok, fix = jnp.any(is_present, axis) | is_masked, 'Mask such rows with where=, or use tail="other".'
    describe = say("teacher.ids", "without an id", lambda _: fix, "row", "number of ids")
    return find_invalid(ok, ok.astype(jnp.int32), describe)


def _check_sums(log_p: Array, is_masked: Array, axis: int) -> Array | None:
    p = jnp.exp(fill_masked(log_p, ~jnp.expand_dims(is_masked, axis)).astype(compute_dtype(log_p)))
    sums = jnp.sum(p, axis)

    def fix(value: Any) -> str:
        return "" if np.isnan(value) else "Logits become log-probabilities with jax.nn.log_softmax."

    describe = say("teacher.log_probs", "above 1 or NaN", fix, "row sum", "sum of exp(log_probs)")
    return find_invalid((sums <= 1 + max_sum_error(log_p.dtype, 8)) | is_masked, sums, describe)


def _check_repeats(ids: Array, is_present: Array, axis: int) -> Array | None:
    ordered = jnp.sort(jnp.where(is_present, ids, -1 - axis_index(ids, axis)), axis)
    before, after = (lax.slice_in_dim(ordered, i, ids.shape[axis] - 1 + i, axis=axis) for i in (0, 1))
    repeats = before == after
    repeated = jnp.max(jnp.where(repeats, after, 0), axis, initial=0)
    return find_invalid(~jnp.any(repeats, axis), repeated, say("teacher.ids", "repeated in its row", noun="id"))
