"""If PyTorch raises, `jaxce.torch` raises: shapes, dtypes, options and values, against stored verdicts.

The verdicts stand in `from_pytorch_mistakes.py`; if PyTorch is installed, it is run again.
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from from_pytorch_calls import TABLE, Call, calls, quiet
from jaxtyping import TypeCheckError

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")


def each(wanted: Callable[[Call], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", [*filter(wanted, TABLE.values())], ids=lambda call: call.text)


def refuse(call: Call, trace: Callable[..., Any] | None = None) -> None:
    """The call must raise an error of ours that begins with the argument."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call.run(trace)
    if isinstance(caught.value, TypeCheckError):
        pytest.skip("the annotations raise first")
    args, kwargs = call.opened()[1]({})
    signature = inspect.signature(call.loss)
    with contextlib.suppress(TypeError):
        signature.bind(*args, **kwargs)
        assert type(caught.value) in (TypeError, ValueError)
        argument, _, rest = str(caught.value).partition(": ")
        assert argument in signature.parameters
        assert re.match(r"got |id |\d+ of \d+ |\S+ (at position .* )?is ", rest)


BUT_NOT_ANNOTATED = re.compile(r"p=[12]\.0|Loss\(1\.0\)|reduction=None|out_features=\[2\]")


def accept(call: Call, trace: Callable[..., Any] | None = None) -> Any:
    """The output; skips if annotations are checked and are narrower than PyTorch."""
    try:
        return call.run(trace)
    except TypeCheckError:
        assert BUT_NOT_ANNOTATED.search(call.text)
        pytest.skip("the annotations raise first")


def test_no_call_stands_twice() -> None:
    assert len(TABLE) == len([*calls()]) > 400


@each(lambda call: call.verdict == "raises" or call.verdict.startswith("narrower"))
def test_raises_where_pytorch_raises_under_a_trace_too(call: Call) -> None:
    refuse(call)
    if call.name.islower():
        refuse(call, jax.jit)


@each(lambda call: call.verdict == "raises by value")
def test_wrong_values_raise_or_are_nan_under_a_trace(call: Call) -> None:
    refuse(call)
    if call.name != "one_hot":  # its integers have no NaN
        assert np.isnan(call.run(jax.jit))


@each(lambda call: re.fullmatch(r"\w+\(.*\)( by value)?", call.verdict) is not None)
def test_accepts_what_pytorch_accepts(call: Call) -> None:
    made = accept(call, None if call.verdict.endswith("value") else lambda f: functools.partial(jax.eval_shape, f))
    assert (made.shape, str(made.dtype)) == call.output()


@each(lambda call: call.verdict.startswith("wider"))
def test_accepts_more_than_pytorch(call: Call) -> None:
    as_in_pytorch = re.sub(r"\b[iu]\d+\(", "i64(", re.sub(r"\bb?f16\(", "f32(", call.text))
    made, expected = call.run(), Call(as_in_pytorch, "").run()
    assert (made.shape, str(made.dtype)) == call.output()
    np.testing.assert_allclose(np.asarray(made, np.float32), np.asarray(expected, np.float32), rtol=1e-2)


@each(lambda call: call.verdict == "built")
def test_builds_what_pytorch_builds(call: Call) -> None:
    accept(call)


@needs_torch
@pytest.mark.parametrize("name", sorted({call.name for call in TABLE.values()}))
def test_pytorch_gives_the_stored_verdicts(name: str) -> None:
    wrong = {call.text: verdict for call in TABLE.values() if call.name == name and (verdict := ask(call))}
    assert not wrong


def ask(call: Call) -> str | None:
    """PyTorch's outcome if it differs from the stored verdict."""
    torch = importlib.import_module("torch")
    args, kwargs = call.opened()[1]({})
    args, kwargs = jax.tree.map(functools.partial(to_torch, torch), (args, kwargs))
    loss = getattr(torch.nn.functional, call.name, None) or getattr(torch.nn, call.name)
    expected = call.verdict.removesuffix(" by value").removeprefix("narrower ")
    try:
        with quiet():
            made = loss(*args, **kwargs)
    except Exception as error:
        return None if expected == "raises" or expected.startswith("wider") else f"{type(error).__name__}: {error}"
    if expected == "built":
        return None
    if expected == "raises" or expected.startswith("wider"):
        return f"accepted: {made}"
    made = tuple(made.shape), str(made.dtype).removeprefix("torch.")
    return None if made == call.output(in_jax=False) else f"{made}"


def to_torch(torch: Any, x: Any) -> Any:
    """Arrays and dtypes as PyTorch's."""
    if isinstance(x, np.dtype):
        return getattr(torch, x.name)
    if isinstance(x, np.ndarray):
        return torch.tensor(x.astype(np.float32) if x.dtype == jnp.bfloat16 else x).to(getattr(torch, x.dtype.name))
    return x
