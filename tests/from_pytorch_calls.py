"""The calls of ``from_pytorch_mistakes.py`` one by one, those of a table of dtypes, and the means to run them."""

import contextlib
import dataclasses
import functools
import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from from_pytorch_mistakes import CALLS, FAMILIES, GOOD

from jaxce.torch import functional, nn

DTYPES = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "b": "bool"}
DTYPES |= {f"{kind[0]}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}

OF_INPUT_AND_TARGET = """
cross_entropy: f16 f32 f32 f64 - - / f32 bf16 f32 f64 - - / f32 f32 f32 f64 - - / f64 f64 f64 f64
binary_cross_entropy: f16 - - - - - / - bf16 - - - - / - - f32 - - - / - - - f64
binary_cross_entropy_with_logits: f16 bf16 f32 f64 - - / f16 bf16 f32 f64 - - / f16 bf16 f32 f64 - - / f16 bf16 f32 f64
kl_div: f16 f32 f32 f64 - - / f32 bf16 f32 f64 - - / f32 f32 f32 f64 - - / f64 f64 f64 f64
multilabel_soft_margin_loss: f16 f32 f32 f64 f16 - / f32 bf16 f32 f64 bf16 - / f32 f32 f32 f64 f32 - /
    f64 f64 f64 f64 f64
poisson_nll_loss: f16 f32 f32 f64 f16 f16 / f32 bf16 f32 f64 bf16 bf16 / f32 f32 f32 f64 f32 f32 /
    f64 f64 f64 f64 f64 f64 / f32 f32 f32 f64 f32 f32 / f32 f32 f32 f64 f32
l1_loss: f16 f32 f32 f64 f16 - / f32 bf16 f32 f64 bf16 - / f32 f32 f32 f64 f32 - / f64 f64 f64 f64 f64 - /
    f16 bf16 f32 f64 ?
mse_loss|smooth_l1_loss: f16 f32 f32 f64 f16 f16 / f32 bf16 f32 f64 bf16 bf16 / f32 f32 f32 f64 f32 f32 /
    f64 f64 f64 f64 f64 f64 / f16 bf16 f32 f64 - - / f16 bf16 f32 f64
soft_margin_loss|huber_loss: f16 f16 f16 f16 f16 f16 / bf16 bf16 bf16 bf16 bf16 bf16 / f32 f32 f32 f32 f32 f32 /
    f64 f64 f64 f64 f64 f64
hinge_embedding_loss: f16 f16 f16 f16 f16 f16 / bf16 bf16 bf16 bf16 bf16 bf16 / f32 f32 f32 f32 f32 f32 /
    f64 f64 f64 f64 f64 f64 / ? ? ? ? ? ?
gaussian_nll_loss: f16 f32 f32 f64 f16 - / f32 bf16 f32 f64 bf16 - / f32 f32 f32 f64 f32 - / f64 f64 f64 f64 f64 - /
    f32 f32 f32 f64 f32
"""
"""The dtype of the loss by that of the input (rows) and of the target (columns): f16, bf16, f32, f64, i64, bool.

``-`` is refused, as is all that is left out at the end; ``?`` is left open: PyTorch's integer losses.
"""

GAP = re.compile(r"(?<![A-Za-z0-9])_(?![A-Za-z0-9])")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call as text, and PyTorch's verdict."""

    text: str
    verdict: str

    @property
    def name(self) -> str:
        return self.text.split("(")[0]

    @property
    def loss(self) -> Callable[..., Any]:
        return getattr(functional, self.name, None) or getattr(nn, self.name)

    @property
    def wide(self) -> bool:
        """Whether the call has 64-bit arguments, so that JAX needs x64."""
        return bool(re.search(r"f64|float64|\*\*", self.text))

    def opened(self) -> tuple[dict[int, np.ndarray], Callable[[dict[int, Any]], tuple[list, dict]]]:
        """The arrays, and a function that puts others in their places."""
        leaves, tree = jax.tree.flatten(eval("record" + self.text.removeprefix(self.name), dict(WORDS)))
        arrays = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray)}
        return arrays, lambda given: tree.unflatten([given.get(i, leaf) for i, leaf in enumerate(leaves)])

    def run(self, trace: Callable[..., Any] | None = None) -> Any:
        """Calls `jaxce.torch`, with the arrays traced by ``trace`` if there is one."""
        arrays, filled = self.opened()

        def applied(arrays: dict[int, jax.Array]) -> Any:
            args, kwargs = filled(arrays)
            return self.loss(*args, **kwargs)

        with quiet(), jax.enable_x64(self.wide):
            return (trace(applied) if trace else applied)(jax.tree.map(jnp.asarray, arrays))

    def output(self, in_jax: bool = True) -> tuple[tuple[int, ...], str]:
        """The shape and dtype that the verdict names, the dtype as JAX holds it or as it is."""
        short, shape = re.search(r"(\w+)\((.*)\)", self.verdict).groups()
        with jax.enable_x64(self.wide):
            dtype = str(jax.dtypes.canonicalize_dtype(DTYPES[short])) if in_jax else DTYPES[short]
        if shape == "...":
            return np.broadcast_shapes(*(x.shape for x in self.opened()[0].values())), dtype
        return tuple(map(int, filter(None, shape.split(",")))), dtype


def make(dtype: np.dtype, *given: Any) -> np.ndarray:
    """An array of a dtype, of the values in a list, or else of a shape."""
    filler = 0.5 if jnp.issubdtype(dtype, jnp.floating) else 0
    return np.array(given[0], dtype) if given and isinstance(given[0], list) else np.full(given, filler, dtype)


WORDS = {short: functools.partial(make, jnp.dtype(name)) for short, name in DTYPES.items()}
WORDS |= {name: jnp.dtype(name) for name in DTYPES.values()} | {"nan": np.nan, "inf": np.inf}
WORDS |= {"record": lambda *args, **kwargs: (list(args), kwargs)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def members(names: str) -> list[str]:
    """Names with ``|`` between, families spelled out."""
    return [m for name in names.split("|") for m in (members(FAMILIES[name]) if name in FAMILIES else [name])]


def good(name: str) -> str:
    return GOOD.get(name, "f32(2,3),f32(2,3)")


def calls() -> Iterator[Call]:
    """Every call of both tables."""
    for line in re.sub(r"\n    ", " ", CALLS).strip().split("\n"):
        if not line.startswith(" "):
            names, arguments = line.split("(", 1)
            continue
        verdict, fillers = line.strip().split(": ", 1)
        for filler, name in itertools.product(fillers.split(), members(names)):
            filled = GAP.sub(lambda _, filler=filler: filler, f"({arguments}").replace("GOOD", good(name))
            yield Call(name + filled, verdict)
    kinds = [*itertools.product(["f16", "bf16", "f32", "f64", "i64", "b"], repeat=2)]
    for line in re.sub(r"\n    ", " ", OF_INPUT_AND_TARGET).strip().split("\n"):
        names, cells = line.split(": ")
        for name, ((x, y), cell) in itertools.product(
            members(names), itertools.zip_longest(kinds, cells.replace("/", "").split(), fillvalue="-")
        ):
            rest = ",1.0" if name == "gaussian_nll_loss" else ""
            if cell != "?":
                yield Call(f"{name}({x}(2,3),{y}(2,3){rest})", "raises" if cell == "-" else f"{cell}()")


TABLE = {call.text: call for call in calls()}
