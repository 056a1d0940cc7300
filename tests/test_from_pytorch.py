"""``jaxce.torch`` gives PyTorch's numbers: stored for every option, and computed again if PyTorch is installed.

Special numbers are among them: at kinks, at infinity and at NaN, with NaN wherever PyTorch has NaN.
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from from_pytorch_rows import rows
from from_pytorch_values import ONCE, PATH, VERSION, Arrays, Case, call_torch, pack, stored_cases, tensors
from jax import Array

import jaxce.torch
from jaxce.torch import functional, nn

STORED = dict(np.load(PATH))
OUTCOMES: dict[str, list[tuple[Case, Arrays]]] = {}
for _case, _outputs in stored_cases():
    OUTCOMES.setdefault(str(_case.row), []).append((_case, _outputs))
FIRST = {row: pair for row, pairs in OUTCOMES.items() for pair in pairs if pair[0].first}
PRECISE = {row: pair for row, pair in FIRST.items() if pair[0].precise}

LAYERS = {
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "cross_entropy": "CrossEntropyLoss",
    "gaussian_nll_loss": "GaussianNLLLoss",
    "hinge_embedding_loss": "HingeEmbeddingLoss",
    "huber_loss": "HuberLoss",
    "kl_div": "KLDivLoss",
    "l1_loss": "L1Loss",
    "mse_loss": "MSELoss",
    "multi_margin_loss": "MultiMarginLoss",
    "multilabel_margin_loss": "MultiLabelMarginLoss",
    "multilabel_soft_margin_loss": "MultiLabelSoftMarginLoss",
    "nll_loss": "NLLLoss",
    "poisson_nll_loss": "PoissonNLLLoss",
    "smooth_l1_loss": "SmoothL1Loss",
    "soft_margin_loss": "SoftMarginLoss",
}
WITHOUT_CLASS = [row for row in OUTCOMES if row.startswith(("huber_loss", "l1_loss", "mse_loss")) and "weight" in row]
"""Options that the classes lack: weights, and ``batchmean`` with deprecated arguments."""
WITHOUT_CLASS.append("kl_div-legacy-batchmean")

FLOAT32 = {"value": 2e-6, "gradient": 2e-5, "second": 1e-4}
FLOAT64 = {"value": 1e-12, "gradient": 1e-12, "second": 1e-11}
"""How large the relative error may be: each derivative subtracts, and divides by small numbers, once more."""
ORDERS = ("value", "gradient", "second")
FLOOR = 4
"""The absolute error that always may be, in units of rounding of 1, or of the largest number among the value and the
derivatives up to the order in question: a loss near 0 is a difference of numbers near 1, and so are derivatives."""

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiling is nearly all of the work here, and this halves it."""

DIFFERENT = {
    "soft_margin_loss-at_plus_1000": "finite; PyTorch's exponential overflows",
    "soft_margin_loss-at_minus_1000": "finite; PyTorch's exponential overflows",
    "soft_margin_loss-at_plus_inf": "the derivative is 1, PyTorch's is infinity over infinity",
    "soft_margin_loss-at_minus_inf": "the derivative is 1, PyTorch's is infinity over infinity",
    "cross_entropy-no_classes": "raises, as nothing can be right",
    "binary_cross_entropy_with_logits-at_nan": "the second derivative at NaN is NaN, PyTorch's a number",
    "binary_cross_entropy_with_logits-weight_0_at_nan": "the second derivative at NaN is NaN, PyTorch's 0",
    "smooth_l1_loss-beta_0.5-at_nan": "the second derivative at NaN is that of the parabola, PyTorch's 0",
    "smooth_l1_loss-beta_0.5-inf_of_both": "the second derivative at NaN is that of the parabola, PyTorch's 0",
    "huber_loss-delta_0.5-at_nan": "the second derivative at NaN is that of the parabola, PyTorch's 0",
    "huber_loss-delta_0.5-inf_of_both": "the second derivative at NaN is that of the parabola, PyTorch's 0",
    "softplus-at_threshold_3": "at the threshold the second derivative is still that of the curve",
    "softplus-threshold_negative": "at the threshold the second derivative is still that of the curve",
    "softplus-beta_0": "the derivative for beta 0 is 0 / 0, PyTorch's is 1/2 though the value is infinite",
}
"""Rows of special numbers that differ from PyTorch, and why."""


def differing(row: str) -> contextlib.AbstractContextManager[Any]:
    """A row on the list must differ, or the list would not be true."""
    return pytest.raises((AssertionError, ValueError)) if row in DIFFERENT else contextlib.nullcontext()


needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
every_row = pytest.mark.parametrize("row", [*OUTCOMES])


@every_row
def test_stored_values(row: str) -> None:
    """All of special numbers. Of other rows every value, and gradients of all reductions or of all shapes.

    Their second derivatives are held in float64.
    """
    cases = [case for case, _ in OUTCOMES[row]]
    orders = [2 if row not in PRECISE else int(case.central or case.shape == case.row.shapes[0]) for case in cases]
    with differing(row):
        got = compiled(cases, cases[0].row.dtype, orders)
        for actual, (case, expected), order in zip(got, OUTCOMES[row], orders, strict=True):
            wanted = {name: x for name, x in expected.items() if ORDERS.index(name.split()[0]) <= order}
            assert_close(actual, wanted, case, FLOAT32)


@pytest.mark.parametrize("row", PRECISE)
def test_stored_values_in_float64(row: str, x64: None) -> None:
    case, expected = PRECISE[row]
    with differing(row):
        assert_close(compiled([case], "float64", [2])[0], expected, case, FLOAT64)


@pytest.mark.parametrize("row", [row for row in FIRST if row not in DIFFERENT])
def test_stored_values_without_jit_and_of_the_class(row: str) -> None:
    case, expected = FIRST[row]
    value, inputs = {"value": expected["value"]}, in_jax(case.inputs, "float32")
    assert_close({"value": call(case, inputs)}, value, case, FLOAT32)
    if case.row.function in LAYERS and row not in WITHOUT_CLASS:
        assert_close({"value": call(case, inputs, LAYERS[case.row.function])}, value, case, FLOAT32)


@pytest.mark.asks_torch_too
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_mean_of_many_does_not_overflow_in_16_bits(dtype: str) -> None:
    logits = jnp.broadcast_to(jnp.array([0, 20, 0], dtype), (4096, 3))
    loss, gradient = jax.value_and_grad(functional.cross_entropy)(logits, jnp.zeros(4096, int))
    assert (loss, loss.dtype) == (20, dtype)
    expected = np.exp([-20, 0, -20]) / np.sum(np.exp([-20, 0, -20])) - np.eye(3)[0]
    assert within_one_step(np.asarray(gradient), np.broadcast_to(expected / 4096, (4096, 3)), 0)
    if importlib.util.find_spec("torch") and dtype == "float16":
        torch = importlib.import_module("torch")
        theirs = torch.tensor([[0.0, 20.0, 0.0]] * 4096, dtype=torch.float16)
        assert torch.nn.functional.cross_entropy(theirs, torch.zeros(4096, dtype=torch.int64)).isinf()


def compiled(cases: list[Case], dtype: str, orders: list[int]) -> list[dict[str, Array]]:
    """The outputs of jaxce for some cases, from one compiled function; 16 bits are compiled with the usual options."""

    def every(inputs: list[Any]) -> list[dict[str, Array]]:
        return [outputs(case, *arrays, n) for case, arrays, n in zip(cases, inputs, orders, strict=True)]

    arrays = [(in_jax(case.inputs, dtype), in_jax(case.directions, dtype)) for case in cases]
    options = quick_options() if jnp.finfo(dtype).bits > 16 else None
    return jax.jit(every, compiler_options=options)(arrays)


@functools.cache
def quick_options() -> dict[str, Any]:
    """As far as the installed XLA knows them."""
    known = {}
    for name, value in QUICK.items():
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            jax.jit(jnp.negative, compiler_options={name: value})(0)
            known[name] = value
    return known


def in_jax(arrays: Arrays, dtype: str) -> dict[str, Array]:
    """Numbers in a dtype; ids as they are."""
    return {name: jnp.asarray(x, dtype if x.dtype.kind == "f" else x.dtype) for name, x in arrays.items()}


def outputs(case: Case, inputs: dict[str, Array], directions: dict[str, Array], order: int) -> dict[str, Array]:
    """The value, its gradients, and the derivatives of these along the directions, up to an order."""
    if case.along and not order:
        return {"value": call(case, inputs)}
    if not case.along:
        return {"value": call(case, case.inputs)}  # one_hot counts the classes, so it needs to see the ids

    def directional(differentiated: dict[str, Array]) -> tuple[Array | float, tuple[Array, dict[str, Array]]]:
        value, pull = jax.vjp(lambda differentiated: call(case, inputs | differentiated), differentiated)
        (gradient,) = pull(jnp.asarray(case.cotangent(value.shape), value.dtype))
        return sum(jnp.vdot(gradient[n], directions[n]) for n in directions), (value, gradient)

    differentiated, second = {name: inputs[name] for name in case.along}, {}
    if case.twice and order == 2:
        second, (value, gradient) = jax.grad(directional, has_aux=True)(differentiated)
    else:
        _, (value, gradient) = directional(differentiated)
    named = {f"gradient {n}": g for n, g in gradient.items()} | {f"second {n}": h for n, h in second.items()}
    return {"value": value, **named}


def call(case: Case, arrays: dict[str, Any], layer: str = "") -> Array:
    """The value of the function or of the class; either must warn if PyTorch does."""
    arguments = arrays | case.options
    if "dtype" in arguments and arrays["input"].dtype == jnp.float64:
        arguments["dtype"] = jnp.float64
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if layer:
            inputs = [arguments.pop(name) for name in ("input", "target", "var") if name in arguments]
            value = getattr(nn, layer)(**arguments)(*inputs)
        else:
            value = getattr(functional, case.row.function)(arguments.pop("input"), **arguments)
    assert {w.category for w in caught} == ({case.warns} if case.warns else set()), f"{case}: {caught}"
    return value


def assert_close(actual: dict[str, Array], expected: Arrays, case: Case, rtols: dict[str, float]) -> None:
    """Compares shapes, dtypes and numbers; NaN equals NaN."""
    assert actual.keys() == expected.keys()
    for name, x in expected.items():
        y, what, dtype = np.asarray(actual[name]), f"{case}: {name}", case.row.dtype
        if name == "value":
            dtype = jnp.asarray(0).dtype if case.row.function == "one_hot" else case.options.get("dtype", dtype)
        dtype = jnp.dtype("float64" if rtols is FLOAT64 and dtype in ("float32", np.float32) else dtype)
        assert (y.shape, y.dtype) == (x.shape, dtype), what
        unit = np.finfo("float64" if dtype == "float64" else "float32").eps
        before = [z for n, z in expected.items() if ORDERS.index(n.split()[0]) <= ORDERS.index(name.split()[0])]
        floor = FLOOR * unit * max(np.max(np.abs(z), initial=1, where=np.isfinite(z)) for z in before)
        if dtype.itemsize == 2:
            assert within_one_step(y, x, floor), f"{what}: {y} for {x}"
        else:
            np.testing.assert_allclose(y, x, rtols[name.split()[0]], floor, err_msg=what)


def within_one_step(y: np.ndarray, x: np.ndarray, floor: float) -> bool:
    """Whether 16-bit numbers are those nearest to x, or their neighbours."""
    finfo, numbers = jnp.finfo(y.dtype), y.astype(np.float64)
    with np.errstate(divide="ignore"):
        step = float(finfo.eps) * 2.0 ** np.floor(np.log2(np.abs(x))) + float(finfo.smallest_subnormal)
    return bool(np.all((np.abs(numbers - x) <= step + floor) | (numbers == x.astype(y.dtype).astype(np.float64))))


def test_the_file_holds_every_row_and_nothing_else() -> None:
    assert STORED["version"] == VERSION
    assert f"PyTorch {VERSION}" in jaxce.torch.__doc__
    assert STORED["names"].tolist() == [*OUTCOMES] == [str(row) for row in rows()]


@needs_torch
def test_the_script_would_store_the_same_values_again() -> None:
    for name, numbers in pack().items():
        if numbers.dtype.kind == "f":
            np.testing.assert_allclose(numbers, STORED[name], rtol=1e-6, atol=1e-9)
        else:
            np.testing.assert_array_equal(numbers, STORED[name])


@needs_torch
def test_pytorch_differentiates_along_nothing_else() -> None:
    torch = importlib.import_module("torch")
    for case in (pairs[0][0] for pairs in OUTCOMES.values()):
        x = tensors(case)
        for tensor in [a for name, a in x.items() if a.is_floating_point() and name not in case.along]:
            tensor.requires_grad_()
            with pytest.raises(RuntimeError, match=r"not differentiable|does not require grad"):
                torch.autograd.grad(call_torch(case, x).sum(), tensor)
            tensor.requires_grad_(False)


@needs_torch
@pytest.mark.parametrize("function", ONCE)
def test_pytorch_has_no_second_derivative(function: str) -> None:
    case, _ = OUTCOMES[f"{function}-legacy"][0]
    x = tensors(case)
    x["input"].requires_grad_()
    (gradient,) = importlib.import_module("torch").autograd.grad(call_torch(case, x), x["input"], create_graph=True)
    with pytest.raises(RuntimeError, match=r"derivative for .* is not implemented"):
        gradient.sum().backward()


@needs_torch
@pytest.mark.parametrize("row", [row for row, pairs in OUTCOMES.items() if pairs[0][0].row.dtype != "float32"])
def test_pytorch_returns_16_bits_too(row: str) -> None:
    torch = importlib.import_module("torch")
    for case, _ in OUTCOMES[row]:
        dtype = getattr(torch, case.row.dtype)
        x = {name: a.to(dtype) if a.is_floating_point() else a for name, a in tensors(case).items()}
        with pytest.raises(NotImplementedError) if case.row.function in ONCE else contextlib.nullcontext():
            assert call_torch(case, x).dtype == (torch.float64 if "dtype" in case.options else dtype)


@needs_torch
@pytest.mark.parametrize("name", functional.__all__)
def test_signatures(name: str) -> None:
    theirs = getattr(importlib.import_module("torch").nn.functional, name)
    with contextlib.suppress(ValueError):  # those in C have none
        assert parameters(getattr(functional, name)) == parameters(theirs)


@needs_torch
@pytest.mark.parametrize("name", LAYERS.values())
def test_signatures_of_classes(name: str) -> None:
    assert parameters(getattr(nn, name)) == parameters(getattr(importlib.import_module("torch").nn, name))


def parameters(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults."""
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values() if p.name[0] != "_"]
