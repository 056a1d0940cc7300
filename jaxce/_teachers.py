"""Argument checks of a teacher: a layer of its own, logits, or its likeliest classes."""

import dataclasses
import numbers
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._inputs import check_choice, floating, integer_labels, real_number, shards
from jaxce._numerics import compute_dtype, fill_rows, nan_where_invalid, wider
from jaxce._types import Hyperparameter, Hyperparameters, Ids, LinearInputs, LinearLogits, Shape, Size, Tail, TopK
from jaxce._value_checks import as_jax_array, check_ids, check_positive, find_invalid, max_sum_error, primal, say


def check_beta(beta: float, teacher: Any) -> None:
    """The weight of the teacher in a mixture, which the tail of a `TopK` may rule out."""
    if isinstance(beta, bool) or not isinstance(beta, numbers.Real):
        raise TypeError(f"beta: got a {type(beta).__name__}; expected a number of Python or NumPy, static under jit.")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta: got {beta}; expected a number in [0, 1].")
    if not isinstance(teacher, TopK):
        return
    check_choice("teacher.tail", teacher.tail, get_args(Tail))
    if (teacher.tail == "ignore" and beta > 0) or (teacher.tail == "renormalize" and beta == 1):
        raise ValueError(
            f'beta: got {beta} with tail="{teacher.tail}", which gives the other classes no probability; expected'
            ' beta=0, or tail="other".'
        )


def open_teacher(
    x: LinearInputs, teacher: ArrayLike | LinearLogits | TopK, temperature: Hyperparameter
) -> LinearInputs:
    """The inputs with the rows of the teacher, if it is no layer, and with the temperature."""
    tokens, layers, v = x.tokens, x.shared.layers, x.kernel_layout.index("v")
    examples, classes = tokens.hidden[0].shape[:-1], layers[0].kernel.shape[v]
    dtype = compute_dtype(wider(tokens.hidden[0], layers[0].kernel))
    t = as_jax_array(check_positive("temperature", real_number("temperature", temperature), dtype))
    if isinstance(teacher, LinearLogits):
        if layers[1].kernel.shape[v] != classes:
            raise ValueError(
                f"teacher.kernel: got {layers[1].kernel.shape[v]} classes; expected {classes}, those of kernel."
            )
    elif isinstance(teacher, TopK):
        tokens = dataclasses.replace(tokens, rows=_open_top_k(x, teacher, examples, classes))
    else:
        if teacher is None or isinstance(teacher, tuple | list | dict):
            expected = "a LinearLogits(hidden, kernel), a TopK(ids, log_probs), or logits"
            raise TypeError(f"teacher: got a {type(teacher).__name__}; expected {expected}.")
        logits = floating("teacher", teacher)
        if logits.shape != (*examples, classes):
            raise ValueError(f"teacher: got shape {logits.shape}; expected logits of shape {(*examples, classes)}.")
        tokens = dataclasses.replace(tokens, teacher_logits=logits)
    hyperparameters = Hyperparameters({"temperature": t}, frozenset())
    return x._replace(tokens=tokens, shared=dataclasses.replace(x.shared, hyperparameters=hyperparameters))


def _open_top_k(x: LinearInputs, teacher: TopK, examples: Shape, classes: Size) -> tuple[Ids, Array]:
    """The ids of each token, which differ, and their log-probabilities, whose probabilities sum to at most 1."""
    ids, log_p = integer_labels(teacher.ids, name="teacher.ids"), floating("teacher.log_probs", teacher.log_probs)
    if ids.shape[:-1] != examples or ids.ndim != len(examples) + 1:
        raise ValueError(f"teacher.ids: got shape {ids.shape}; expected k ids of each token: {(*examples, 'k')}.")
    if log_p.shape != ids.shape:
        raise ValueError(f"teacher.log_probs: got shape {log_p.shape}; expected that of teacher.ids: {ids.shape}.")
    mask = None if x.tokens.mask is None else jnp.broadcast_to(x.tokens.mask, examples)
    is_present = ~jnp.isneginf(log_p) & (True if mask is None else mask[..., None])
    fix = "An absent id has the log-probability -inf; to leave tokens out, pass where=."
    total = classes * shards(x.class_axis_name)
    checked = check_ids(ids, total, primal(is_present), "teacher.ids", lambda value, classes: fix)
    valid = [_check_sums(log_p, mask), _check_repeats(checked.ids, is_present, mask)]
    if teacher.tail == "renormalize":
        valid.append(_check_any(is_present, mask))
    for ok in valid:
        log_p = log_p if ok is None else nan_where_invalid(log_p, ok[..., None])
    return checked, log_p


def _check_any(is_present: Array, mask: Array | None) -> Array | None:
    ok, fix = jnp.any(is_present, -1), 'Mask such rows with where=, or use tail="other".'
    ok = ok if mask is None else ok | ~mask
    return find_invalid(
        ok, ok.astype(jnp.int32), say("teacher.ids", "without an id", lambda _: fix, "row", "number of ids")
    )


def _check_sums(log_p: Array, mask: Array | None) -> Array | None:
    sums = jnp.sum(jnp.exp(fill_rows(log_p, mask).astype(compute_dtype(log_p))), -1)
    ok = sums <= 1 + max_sum_error(log_p.dtype, 8)

    def fix(value: Any) -> str:
        return "" if np.isnan(value) else "Logits become log-probabilities with jax.nn.log_softmax."

    describe = say("teacher.log_probs", "above 1 or NaN", fix, "row sum", "sum of exp(log_probs)")
    return find_invalid(ok if mask is None else ok | ~mask, sums, describe)


def _check_repeats(ids: Array, is_present: Array, mask: Array | None) -> Array | None:
    place = lax.broadcasted_iota(ids.dtype, ids.shape, ids.ndim - 1)
    ordered = jnp.sort(jnp.where(is_present, ids, -1 - place), -1)
    repeats = ordered[..., 1:] == ordered[..., :-1]
    ok, repeated = ~jnp.any(repeats, -1), jnp.max(jnp.where(repeats, ordered[..., 1:], 0), -1, initial=0)
    describe = say("teacher.ids", "repeated in its row", noun="id")
    return find_invalid(ok if mask is None else ok | ~mask, repeated, describe)
