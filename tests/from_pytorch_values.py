"""PyTorch's values and gradients for the functions of ``jaxce.torch``; as a script, writes them to ``*_values.npz``.

Only outputs are stored: inputs are drawn again from the name of the row. They are numbers that the row's dtype holds,
and PyTorch computes on them in float64, so a stored number is PyTorch's formula without PyTorch's rounding.
"""

import dataclasses
import functools
import itertools
import sys
import warnings
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from from_pytorch_rows import Options, Row, Shape, rows
from torch_values import VERSION

PATH = Path(__file__).with_suffix(".npz")
Arrays: TypeAlias = dict[str, np.ndarray]

FIXED = {
    "binary_cross_entropy": ("weight",),
    "binary_cross_entropy_with_logits": ("weight", "pos_weight"),
    "soft_margin_loss": ("target",),
    "hinge_embedding_loss": ("target",),
}
"""Inputs that PyTorch refuses to differentiate. So it does class weights with ids."""
ONCE = ("multi_margin_loss", "multilabel_margin_loss")
"""PyTorch has no second derivative of these."""
BROADCASTING = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
"""These warn if input and target differ in shape."""
SCALES = (0.1, 1.0, 30.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One call: a row, a shape, and the options that choose the reduction."""

    row: Row
    shape: Shape
    call: Options

    def __str__(self) -> str:
        return f"{self.row}-{self.shape}-{self.call}"

    @functools.cached_property
    def inputs(self) -> Arrays:
        """The arrays by name; every reduction has the same ones."""
        arrays = {name: x for name, x in self.row.arguments.items() if isinstance(x, str | list)}
        return {name: self.round(self.draw(name, x)) for name, x in arrays.items()}

    @functools.cached_property
    def options(self) -> Options:
        """The arguments that are no arrays."""
        return {name: x for name, x in self.row.arguments.items() if name not in self.inputs} | self.call

    def draw(self, name: str, recipe: str | list[Any]) -> np.ndarray:
        """One input. The stream of ``RandomState`` is frozen: NumPy promises the same numbers for ever."""
        if not isinstance(recipe, str):
            return np.asarray(recipe)
        kind, where = recipe.split("/")
        axis = class_axis(self.shape)
        return np.asarray(KINDS[kind](self.random(name), place(where, self.shape), self.shape[axis : axis + 1], axis))

    def round(self, x: np.ndarray) -> np.ndarray:
        """Numbers that the row's dtype holds, as float32; ids as int32, or as the bytes they are."""
        if x.dtype.kind != "f":
            return x if x.dtype == np.uint8 else x.astype(np.int32)
        return x.astype(ml_dtypes.bfloat16 if self.row.dtype == "bfloat16" else self.row.dtype).astype(np.float32)

    def random(self, what: str) -> np.random.RandomState:
        """The numbers of one input of this row in this shape."""
        return np.random.RandomState(zlib.crc32(f"{self.row}-{self.shape}-{what}".encode()))

    def cotangent(self, shape: Shape) -> np.ndarray:
        """The cotangent of the value: a different number for every element."""
        return self.round(np.asarray(self.random(f"cotangent {self.call}").standard_normal(shape)))

    @functools.cached_property
    def directions(self) -> Arrays:
        """The directions of the second derivatives."""
        names = self.along if self.twice else ()
        return {n: self.round(np.asarray(self.random(f"d{n}").standard_normal(self.inputs[n].shape))) for n in names}

    @functools.cached_property
    def along(self) -> tuple[str, ...]:
        """The inputs that PyTorch differentiates."""
        by_id = self.inputs.get("target", np.zeros(())).dtype.kind != "f"
        fixed = (*FIXED.get(self.row.function, ()), *(["weight"] if by_id else []))
        return tuple(name for name, x in self.inputs.items() if x.dtype.kind == "f" and name not in fixed)

    @property
    def central(self) -> bool:
        """Whether second derivatives are stored for this reduction: only the middle one, usually the mean."""
        return self.call == self.row.calls[(len(self.row.calls) - 1) // 2] and self.row.dtype == "float32"

    @property
    def twice(self) -> bool:
        """Whether second derivatives are stored."""
        return self.central and self.row.function not in ONCE

    @property
    def first(self) -> bool:
        """Whether this is the one case of its row that is also tried without jit."""
        return self.central and self.shape == self.row.shapes[0]

    @property
    def precise(self) -> bool:
        """Whether float64 numbers are stored: of one case in every row that draws its inputs."""
        return self.first and any(isinstance(x, str) for x in self.row.arguments.values())

    @property
    def warns(self) -> type[Warning] | None:
        """The warning of jaxce; PyTorch's warnings are all a UserWarning."""
        if any(self.call.get(name) is not None for name in ("size_average", "reduce")):
            return DeprecationWarning
        mean = self.row.function == "kl_div" and self.call.get("reduction", "mean") == "mean"
        shapes = {self.inputs[name].shape for name in ("input", "target") if name in self.inputs}
        uneven = self.row.function in BROADCASTING and len(shapes) > 1
        return UserWarning if mean or uneven or self.options.get("dim", 0) is None else None


def all_cases(row: Row) -> list[Case]:
    """Every shape with every reduction."""
    return [Case(row, shape, call) for shape, call in itertools.product(row.shapes, row.calls)]


def class_axis(shape: Shape) -> int:
    """1, or 0 without a batch."""
    return min(1, max(0, len(shape) - 1))


def place(where: str, shape: Shape) -> Shape:
    """The shape of an input, out of the shape of the row."""
    axis = class_axis(shape)
    places = {
        "same": shape,
        "examples": shape[:axis] + shape[axis + 1 :],
        "classes": shape[axis : axis + 1],
        "last": shape[-1:],
        "column": shape[:-1] + (1,) * len(shape[-1:]),
        "first": shape[:-1],
        "scalar": (),
        "features": (*shape[:axis], 3),
        "matrix": (*shape[axis:], 3),
        "bias": shape[axis:],
    }
    return places[where]


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Logarithms of probabilities."""
    return x - np.log(np.sum(np.exp(x), axis if np.ndim(x) > axis else None, keepdims=True))


def class_weights(rng: np.random.RandomState, shape: Shape, *_: Any) -> np.ndarray:
    """Positive numbers, and 0 for the last class."""
    weights = rng.uniform(0.2, 3, shape)
    weights[-1] = 0
    return weights


def probabilities(rng: np.random.RandomState, shape: Shape, _: Shape, axis: int) -> np.ndarray:
    """Some of them 0."""
    x = np.exp(log_softmax(2 * rng.standard_normal(shape), axis))
    x.flat[2::7] = 0
    return x


def ids(rng: np.random.RandomState, shape: Shape, classes: Shape, _: int, ignored: int | None = None) -> np.ndarray:
    """Class ids, some of them ignored; the first is 0 and is not ignored."""
    x, skipped = np.asarray(rng.randint(0, *classes, shape)), np.asarray(rng.uniform(0, 1, shape)) < 0.4
    if ignored is not None:
        x[skipped] = ignored
    x.flat[:1] = 0
    return x


def label_sets(rng: np.random.RandomState, shape: Shape, _: Shape, axis: int) -> np.ndarray:
    """Some class ids in any order, then -1, then ids that do not count."""
    x = np.argsort(rng.uniform(0, 1, shape), axis)
    for row in x.reshape(-1, shape[axis]):
        row[rng.randint(0, shape[axis])] = -1
    return x


def scaled(rng: np.random.RandomState, shape: Shape, *_: Any) -> np.ndarray:
    """Tiny, usual and large logits, one after the other along the batch."""
    return rng.standard_normal(shape) * np.reshape(SCALES, (-1, *(1 for _ in shape[1:])))


KINDS: dict[str, Any] = {
    "normal": lambda rng, shape, *_: 3 * rng.standard_normal(shape),
    "unit": lambda rng, shape, *_: rng.standard_normal(shape),
    "positive": lambda rng, shape, *_: rng.uniform(0.2, 3, shape),
    "interior": lambda rng, shape, *_: rng.uniform(0.02, 0.98, shape),
    "binary": lambda rng, shape, *_: rng.randint(0, 2, shape) * 1.0,
    "signs": lambda rng, shape, *_: rng.randint(0, 2, shape) * 2.0 - 1,
    "others": lambda rng, shape, *_: rng.randint(-2, 3, shape) / 2.0,
    "log_probabilities": lambda rng, shape, _, axis: log_softmax(3 * rng.standard_normal(shape), axis),
    "probabilities": probabilities,
    "class_weights": class_weights,
    "scaled": scaled,
    "ids": ids,
    "ids_inside": functools.partial(ids, ignored=1),
    "ids_outside": functools.partial(ids, ignored=-7),
    "ids_default": functools.partial(ids, ignored=-100),
    "ids_255": lambda rng, shape, *_: np.full(shape, 255),
    "bytes": lambda rng, shape, classes, _: np.asarray(rng.randint(0, *classes, shape), np.uint8),
    "six_ids": lambda rng, shape, *_: rng.randint(0, 6, shape),
    "zeros": lambda rng, shape, *_: np.zeros(shape, int),
    "no_labels": lambda rng, shape, *_: np.full(shape, -1),
    "label_sets": label_sets,
    "all_labels": lambda rng, shape, _, axis: np.argsort(rng.uniform(0, 1, shape), axis),
}
"""Draws of an input: each is given the stream, the shape, the number of classes and their axis."""


def torch_outputs(case: Case) -> Arrays:
    """The value PyTorch gives, its gradients, and the derivatives of these along the directions."""
    import torch

    torch.set_num_threads(1)  # the arrays are tiny: more threads wait for each other ten times as long as they work
    x = tensors(case)
    leaves = [x[name].requires_grad_() for name in case.along]
    value = call_torch(case, x)
    if not leaves:
        return {"value": value.numpy()}
    cotangent = as_tensor(case.cotangent(tuple(value.shape)))
    gradients = torch.autograd.grad(value, leaves, cotangent, create_graph=case.twice)
    outputs = [value, *gradients]
    if case.twice:
        directional = sum((g * as_tensor(case.directions[n])).sum() for n, g in zip(case.along, gradients, strict=True))
        zeros = [torch.zeros_like(m) for m in leaves]
        second = torch.autograd.grad(directional, leaves, allow_unused=True) if directional.requires_grad else zeros
        # Autograd returns None for an independent input. Adding zeros gives memory to PyTorch's lazy zeros.
        outputs += [zero if c is None else zero + c for zero, c in zip(zeros, second, strict=True)]
    return dict(zip(output_names(case), (output.detach().numpy() for output in outputs), strict=True))


def as_tensor(x: np.ndarray) -> Any:
    """Ids as long or byte, numbers as float64."""
    import torch

    return torch.tensor(x, dtype={"i": torch.int64, "f": torch.float64, "u": torch.uint8}[x.dtype.kind])


def tensors(case: Case) -> dict[str, Any]:
    """The inputs by name."""
    return {name: as_tensor(x) for name, x in case.inputs.items()}


def call_torch(case: Case, inputs: dict[str, Any]) -> Any:
    """The value. PyTorch must warn if jaxce does."""
    import torch

    # The dtype that a softmax is computed in is here float64, as everything is.
    options = case.options | ({"dtype": torch.float64} if "dtype" in case.options else {})
    first, *others = inputs.items()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = getattr(torch.nn.functional, case.row.function)(first[1], **dict(others), **options)
    assert {w.category for w in caught} == ({UserWarning} if case.warns else set()), f"{case}: {caught}"
    return value


def output_names(case: Case) -> list[str]:
    """The value, gradients and second derivatives, in the stored order."""
    return ["value", *(f"gradient {n}" for n in case.along), *(f"second {n}" for n in case.along if case.twice)]


def pack() -> Arrays:
    """The file: names of the rows, shapes of the values, all numbers as float32, and for some the rounding error."""
    shapes: list[int] = []
    high, low = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for case in (case for row in rows() for case in all_cases(row)):
        outputs = torch_outputs(case)
        shapes += [outputs["value"].ndim, *outputs["value"].shape]
        numbers = np.concatenate([output.ravel() for output in outputs.values()]).astype(np.float64)
        with np.errstate(invalid="ignore"):
            high.append(numbers.astype(np.float32))
            low += [np.nan_to_num(numbers - high[-1]).astype(np.float32)] * case.precise
    names = np.array([str(row) for row in rows()])
    numbers = {"high": np.concatenate(high), "low": np.concatenate(low)}
    return {"version": np.array(VERSION), "names": names, "shapes": np.array(shapes, np.int8), **numbers}


def unpack(stored: Arrays) -> Iterator[tuple[Case, Arrays]]:
    """The cases with their outputs; precise ones in float64."""
    shapes, high, low = iter(stored["shapes"].tolist()), Cursor(stored["high"]), Cursor(stored["low"])
    for case in (case for row in rows() for case in all_cases(row)):
        value = tuple(itertools.islice(shapes, next(shapes)))
        sizes = [value, *(case.inputs[name].shape for name in case.along * (1 + case.twice))]
        numbers = [high.take(shape) for shape in sizes]
        if case.precise:
            numbers = [np.float64(x) + low.take(x.shape) for x in numbers]
        yield case, dict(zip(output_names(case), numbers, strict=True))
    left_over = len(high.numbers) - high.start, len(low.numbers) - low.start, len([*shapes])
    assert left_over == (0, 0, 0), f"stored numbers are left over: {left_over}"


@functools.cache
def stored_cases() -> list[tuple[Case, Arrays]]:
    """All cases of the file with their outputs."""
    return [*unpack(dict(np.load(PATH)))]


@dataclasses.dataclass
class Cursor:
    """Takes one array after the other out of a flat one."""

    numbers: np.ndarray
    start: int = 0

    def take(self, shape: Shape) -> np.ndarray:
        """The next array."""
        self.start += (size := int(np.prod(shape)))
        return self.numbers[self.start - size : self.start].reshape(shape)


def main() -> None:
    """Writes the file."""
    installed = {d.name: d.version for d in metadata.distributions()}.get("torch", "missing")
    if installed.partition("+")[0] != VERSION:
        sys.exit(f"torch: {installed}; the stored values are those of {VERSION}.")
    np.savez_compressed(PATH, **pack())
    count = sum(len(all_cases(row)) for row in rows())
    print(f"{PATH.name}: {len([*rows()])} rows, {count} cases, {PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
