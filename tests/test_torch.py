"""PyTorch's numbers: stored for every combination of options, live if it is installed, and jaxce's differences."""

import functools
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from torch_values import (
    IGNORE_INDEX,
    PATH,
    REDUCTIONS,
    VERSION,
    Arrays,
    Case,
    Row,
    cases,
    draw,
    pack,
    rows,
    torch_outputs,
    unpack,
)

import jaxce
from jaxce import Mean, binary_cross_entropy, cross_entropy, sigmoid_binary_cross_entropy

STORED = dict(np.load(PATH))
RTOL = {"value": 2e-6, "gradient": 2e-5}
ATOL = 5e-7
"""Both in float32: a loss near 0 is a difference of numbers near 1."""

TORCH = importlib.util.find_spec("torch")
needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
asks_torch_too = pytest.mark.asks_torch_too
ROWS = [*rows()]
every_row = pytest.mark.parametrize("row", ROWS, ids=str)


@every_row
def test_equals_the_stored_values(row: Row) -> None:
    """Every value, and the gradient of one reduction in each shape; the next row has the next reduction."""
    stored = list(unpack(row, STORED[str(row)]))
    outputs = program(row)([arrays(inputs) for _, inputs, _ in stored])
    for actual, (case, _, expected) in zip(outputs, stored, strict=True):
        assert_close(actual, expected, case)


@every_row
@needs_torch
def test_equals_live_torch(row: Row) -> None:
    asked = [(case, draw(case, seed=1)) for case in cases(row)]
    for actual, (case, inputs) in zip(program(row)([arrays(x) for _, x in asked]), asked, strict=True):
        assert_close(actual, torch_outputs(case, inputs), case)


@needs_torch
def test_the_script_would_store_the_same_values_again() -> None:
    for row in rows():
        np.testing.assert_allclose(pack(row), STORED[str(row)], rtol=1e-6, atol=1e-9, err_msg=str(row))


def test_the_file_holds_every_row_and_nothing_else() -> None:
    assert set(STORED) == {"version", *map(str, rows())}
    assert STORED["version"] == VERSION


@functools.cache
def program(row: Row) -> Callable[[list[dict[str, Array]]], list[dict[str, Array]]]:
    """The outputs of jaxce for all cases of a row, as one compiled function of their inputs."""
    return jax.jit(lambda given: [outputs(case, arrays) for case, arrays in zip(cases(row), given, strict=True)])


def arrays(inputs: Arrays) -> dict[str, Array]:
    return {name: jnp.asarray(x) for name, x in inputs.items()}


def has_gradient(case: Case) -> bool:
    """Whether the gradient is compared: of three rows in turn, each has a third of the shapes with each reduction."""
    shape = [c.shape for c in cases(case.row) if c.reduction == case.reduction].index(case.shape)
    return (shape + REDUCTIONS.index(case.reduction) + ROWS.index(case.row)) % len(REDUCTIONS) == 0


def outputs(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """The value, and the gradients of the inputs that PyTorch differentiates."""
    row, fixed = case.row, dict(arrays)
    cotangent = fixed.pop("cotangent")
    options: dict[str, Any] = {"axis": case.axis, "reduction": reduction_of_torch(case)}
    if row.over_classes:
        options["ignore_index"] = IGNORE_INDEX.get(row.ignored)
    if row.loss in ("cross_entropy", "sigmoid_binary_cross_entropy"):
        options["label_smoothing"] = row.label_smoothing

    def loss(differentiated: dict[str, Array]) -> Array:
        given = fixed | differentiated
        return getattr(jaxce, row.loss)(given.pop("scores"), given.pop("labels"), **given, **options)

    differentiated = {name: fixed.pop(name) for name in row.differentiable}
    if not has_gradient(case):
        return {"value": loss(differentiated)}
    value, pull = jax.vjp(loss, differentiated)
    return {"value": value, **pull(cotangent)[0]}


def reduction_of_torch(case: Case) -> str | Callable[[Array, Array], Array]:
    """The reduction by name, but for a mean PyTorch's rules: of nothing NaN, of weighted probabilities over N."""
    if case.reduction != "mean":
        return case.reduction
    if case.row.over_classes and case.row.class_weights and case.row.labels == "probabilities":
        return lambda values, weights: jnp.sum(values) / values.size
    return Mean(empty=jnp.nan)


def assert_close(actual: dict[str, Array], expected: Arrays, case: Case) -> None:
    """Value and gradients, each within its tolerance."""
    assert actual.keys() == (expected.keys() if has_gradient(case) else {"value"})
    for name in actual:
        number, what = expected[name], "value" if name == "value" else "gradient"
        np.testing.assert_allclose(actual[name], number, RTOL[what], ATOL, err_msg=f"{case}: {name}")


# Intended differences. Each test states both numbers; PyTorch's is checked if it is installed.

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 1.5, 1.0]], np.float32)
IDS = np.array([0, 2], np.int64)
ONE_HOT = np.eye(3, dtype=np.float32)[IDS]


def torch_gives(
    number: float, loss: str, *inputs: np.ndarray | None, dtype: str = "float32", gradient: np.ndarray | None = None
) -> Any:
    """The number of PyTorch, to four digits; if it is installed, its value and gradient are checked."""
    if TORCH:
        torch = importlib.import_module("torch")
        scores, *others = (None if x is None else torch.tensor(x) for x in inputs)
        scores = scores.to(getattr(torch, dtype)).requires_grad_()
        value = getattr(torch.nn.functional, loss)(scores, *others)
        np.testing.assert_allclose(value.detach().float(), number, rtol=1e-4)
        if gradient is not None:
            value.backward()
            np.testing.assert_allclose(scores.grad, gradient, rtol=1e-4)
    return pytest.approx(number, rel=1e-4, nan_ok=True)


@asks_torch_too
def test_difference_1_the_class_axis_is_last() -> None:
    logits, ids = np.array([[[0.0, 1.0], [2.0, 0.0]]], np.float32), np.array([[0, 0]])
    assert cross_entropy(logits, ids) == pytest.approx(0.72009, rel=1e-4)
    assert cross_entropy(logits, ids, axis=1) == torch_gives(1.22009, "cross_entropy", logits, ids)


@asks_torch_too
def test_difference_2_no_id_is_ignored_by_default() -> None:
    ids = np.array([0, -100])
    with pytest.raises(ValueError, match="ignore_index=-100"):
        cross_entropy(LOGITS, ids)
    assert jnp.isnan(jax.jit(cross_entropy)(LOGITS, ids))
    assert cross_entropy(LOGITS, ids, ignore_index=-100) == torch_gives(0.16985, "cross_entropy", LOGITS, ids)


@asks_torch_too
@pytest.mark.parametrize(
    ("ids", "weights", "theirs"),
    [(np.array([-100, -100]), None, 0.0), (IDS, np.array([0.0, 2.0, 0.0], np.float32), math.nan)],
    ids=["all ignored", "weight 0"],
)
def test_difference_3_a_mean_of_nothing_is_0(ids: np.ndarray, weights: np.ndarray | None, theirs: float) -> None:
    nan = torch_gives(math.nan, "cross_entropy", LOGITS, ids, weights, gradient=np.full_like(LOGITS, theirs))
    for reduction, value in (("mean", 0.0), (Mean(empty=jnp.nan), nan)):
        options = {"class_weights": weights, "ignore_index": -100, "reduction": reduction}
        loss, gradient = jax.value_and_grad(cross_entropy)(jnp.asarray(LOGITS), ids, **options)
        assert loss == value
        np.testing.assert_array_equal(gradient, 0)


@asks_torch_too
def test_difference_4_probabilities_are_divided_by_their_weight() -> None:
    weights = np.array([1.0, 2.0, 3.0], np.float32)
    over_n = torch_gives(1.85532, "cross_entropy", LOGITS, ONE_HOT, weights)
    from_ids = torch_gives(0.92766, "cross_entropy", LOGITS, IDS, weights)
    assert cross_entropy(LOGITS, ONE_HOT, class_weights=weights) == from_ids
    assert cross_entropy(LOGITS, IDS, class_weights=weights) == from_ids
    assert cross_entropy(LOGITS, ONE_HOT, class_weights=weights, reduction="sum") / len(LOGITS) == over_n


@asks_torch_too
@pytest.mark.parametrize(
    ("loss", "name", "scores"),
    [
        (sigmoid_binary_cross_entropy, "binary_cross_entropy_with_logits", LOGITS),
        (binary_cross_entropy, "binary_cross_entropy", 1 / (1 + np.exp(-LOGITS))),
    ],
    ids=["logits", "probabilities"],
)
def test_difference_5_sample_weights_enter_the_divisor(
    loss: Callable[..., Array], name: str, scores: np.ndarray
) -> None:
    weights = np.array([[3.0], [1.0]], np.float32)
    over_n = torch_gives(1.06484, name, scores, ONE_HOT, weights)
    assert loss(scores, ONE_HOT, sample_weights=weights) == pytest.approx(1.06484 / 2, rel=1e-4)
    assert loss(scores, ONE_HOT, sample_weights=weights, reduction="sum") / LOGITS.size == over_n


@asks_torch_too
def test_difference_6_sixteen_bit_logits_give_a_float32_loss() -> None:
    logits = np.array([0.0, 3.0], np.float32)
    loss = cross_entropy(jnp.asarray(logits, jnp.bfloat16), 0)
    assert loss.dtype == jnp.float32
    assert loss == pytest.approx(3.048587, rel=1e-6)
    assert loss != torch_gives(3.046875, "cross_entropy", logits, np.array(0), dtype="bfloat16")


@asks_torch_too
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_difference_7_any_integer_dtype_is_an_id(dtype: str) -> None:
    assert cross_entropy(LOGITS, IDS.astype(dtype)) == torch_gives(0.67506, "cross_entropy", LOGITS, IDS)
    if TORCH and dtype != "uint8":
        with pytest.raises(RuntimeError, match="expected target dtype to be Long or Byte"):
            torch_gives(0.67506, "cross_entropy", LOGITS, IDS.astype(dtype))


@asks_torch_too
def test_difference_beyond_the_list_probability_0_of_an_impossible_class_is_nothing() -> None:
    logits = LOGITS + np.array([[0, -np.inf, 0], [0, 0, 0]], np.float32)
    torch_gives(math.nan, "cross_entropy", logits, ONE_HOT)
    from_ids = torch_gives(0.61443, "cross_entropy", logits, IDS)
    assert cross_entropy(logits, IDS) == from_ids
    assert cross_entropy(logits, ONE_HOT) == from_ids


@asks_torch_too
def test_difference_beyond_the_list_an_ignored_row_of_nan_has_gradient_0() -> None:
    logits, ids = np.array([LOGITS[0], [np.nan] * 3], np.float32), np.array([0, -100])
    expected = np.array([[-0.156205, 0.114195, 0.042010], [np.nan] * 3])
    number = torch_gives(0.16985, "cross_entropy", logits, ids, gradient=expected)
    loss, gradient = jax.value_and_grad(cross_entropy)(jnp.asarray(logits), ids, ignore_index=-100)
    assert loss == number
    np.testing.assert_allclose(gradient, np.nan_to_num(expected), rtol=1e-4)
