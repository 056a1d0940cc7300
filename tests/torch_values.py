"""PyTorch's values and gradients for every option that it shares with jaxce; a script that writes ``torch_values.npz``.

Only outputs are stored: inputs are drawn again from the name of the case. They are float32 numbers, and PyTorch
computes on them in float64, so a stored number is PyTorch's formula without PyTorch's rounding.
"""

import dataclasses
import itertools
import sys
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

VERSION = "2.13.0"
"""The PyTorch of all stored values, those of ``jaxce.torch`` too."""
PATH = Path(__file__).with_suffix(".npz")

Arrays: TypeAlias = dict[str, np.ndarray]
Shape: TypeAlias = tuple[int, ...]

SOFTMAX_SHAPES: tuple[Shape, ...] = ((5,), (3, 4), (0, 4), (2, 4, 3), (2, 3, 1, 3), (2, 3, 2, 1, 2))
SIGMOID_SHAPES: tuple[Shape, ...] = ((), *SOFTMAX_SHAPES)
"""Logits as PyTorch lays them out: ``[classes]``, or ``[batch, classes, ...]``."""

REDUCTIONS = ("none", "sum", "mean")
IGNORE_INDEX = {"inside": 1, "outside": -100, "everything": 255}
"""The id that is ignored: a class, no class, and one that every example has."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A function and one choice of each option, for all shapes and reductions."""

    loss: Literal["cross_entropy", "nll_loss", "sigmoid_binary_cross_entropy", "binary_cross_entropy"]
    labels: Literal["ids", "probabilities"]
    class_weights: bool
    pos_weight: bool = False
    ignored: Literal["nothing", "inside", "outside", "everything"] = "nothing"
    label_smoothing: float = 0.0

    def __str__(self) -> str:
        options = {"class_weights": self.class_weights, "pos_weight": self.pos_weight}
        words = [self.loss, self.labels, *(name for name, on in options.items() if on)]
        if self.ignored != "nothing":
            words.append(f"ignored_{self.ignored}")
        return "-".join(words) + (f"-smoothing_{self.label_smoothing:g}" if self.label_smoothing else "")

    @property
    def over_classes(self) -> bool:
        """Whether the classes exclude each other."""
        return self.loss in ("cross_entropy", "nll_loss")

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The inputs that PyTorch differentiates; it refuses all other class weights, and pos_weight."""
        if self.labels == "ids":
            return ("scores",)
        weights = ("class_weights",) if self.over_classes and self.class_weights else ()
        return ("scores", "labels", *weights)


@dataclasses.dataclass(frozen=True)
class Case:
    """One call: a row, a shape and a reduction."""

    row: Row
    shape: Shape
    reduction: Literal["none", "sum", "mean"]

    def __str__(self) -> str:
        return f"{self.row}-{self.reduction}-{self.shape}"

    @property
    def axis(self) -> int:
        """The class axis of PyTorch: 1, or 0 without a batch."""
        return min(1, max(0, len(self.shape) - 1))


def rows() -> Iterator[Row]:
    """Every combination of options; PyTorch's sigmoid loss has no smoothing, so its labels are smoothed beforehand."""
    smoothings, off_on = (0.0, 0.1, 1.0), (False, True)
    ignored = ("nothing", "inside", "outside", "everything")
    for weights, skipped, eps in itertools.product(off_on, ignored, smoothings):
        yield Row("cross_entropy", "ids", weights, ignored=skipped, label_smoothing=eps)
    for weights, eps in itertools.product(off_on, smoothings):
        yield Row("cross_entropy", "probabilities", weights, label_smoothing=eps)
    for weights, skipped in itertools.product(off_on, ignored):
        yield Row("nll_loss", "ids", weights, ignored=skipped)
    for labels, weights, pos, eps in itertools.product(("ids", "probabilities"), off_on, off_on, smoothings[:2]):
        yield Row("sigmoid_binary_cross_entropy", labels, weights, pos_weight=pos, label_smoothing=eps)
    for labels, weights in itertools.product(("ids", "probabilities"), off_on):
        yield Row("binary_cross_entropy", labels, weights)


def cases(row: Row) -> Iterator[Case]:
    """Every shape with every reduction."""
    shapes = SOFTMAX_SHAPES if row.over_classes else SIGMOID_SHAPES
    yield from (Case(row, shape, reduction) for shape in shapes for reduction in REDUCTIONS)


def draw(case: Case, seed: int = 0) -> Arrays:
    """The inputs of a case. The stream of ``RandomState`` is frozen: NumPy promises the same numbers for ever."""
    rng = np.random.RandomState(zlib.crc32(f"{case}{seed}".encode()))
    row, shape, axis = case.row, case.shape, case.axis
    classes, examples = shape[axis : axis + 1], shape[:axis] + shape[axis + 1 :]
    scores = np.asarray(3 * rng.standard_normal(shape))
    if row.loss == "nll_loss":
        scores = log_softmax(scores, axis)
    if row.loss == "binary_cross_entropy":
        scores = np.asarray(1 / (1 + np.exp(-scores)))
        scores.flat[1::6], scores.flat[3::6] = 0, 1
    inputs = {"scores": scores}
    if row.over_classes:
        inputs["labels"] = draw_ids(rng, row, examples, *classes)
        if row.labels == "probabilities":
            inputs["labels"] = np.exp(log_softmax(2 * rng.standard_normal(shape), axis))
            inputs["labels"].flat[2::7] = 0
    else:
        inputs["labels"] = rng.randint(0, 2, shape) if row.labels == "ids" else rng.uniform(0, 1, shape)
    if row.class_weights:
        inputs["class_weights"] = np.asarray(rng.uniform(0.2, 3, classes))
        if row.over_classes:
            inputs["class_weights"][-1] = 0
    if row.pos_weight:
        inputs["pos_weight"] = np.asarray(rng.uniform(0.2, 3, classes))
    values = examples if row.over_classes else shape
    inputs["cotangent"] = rng.standard_normal(values if case.reduction == "none" else ())
    dtypes = {"i": np.int32, "f": np.float32}
    return {name: np.asarray(x, dtypes[np.asarray(x).dtype.kind]) for name, x in inputs.items()}


def draw_ids(rng: np.random.RandomState, row: Row, examples: Shape, classes: int) -> np.ndarray:
    """Class ids, some or all of them ignored; unless all are, the first is 0 and is not ignored."""
    ids = np.asarray(rng.randint(0, classes, examples))
    ignored = np.asarray(rng.uniform(0, 1, examples)) < 0.4
    if row.ignored == "everything":
        return np.full(examples, IGNORE_INDEX["everything"])
    if row.ignored != "nothing":
        ids[ignored] = IGNORE_INDEX[row.ignored]
    ids.flat[:1] = 0
    return ids


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Logarithms of probabilities."""
    return x - np.log(np.sum(np.exp(x), axis, keepdims=True))


def torch_outputs(case: Case, inputs: Arrays) -> Arrays:
    """The value PyTorch gives, and its gradient along every input that it differentiates."""
    import torch

    torch.set_num_threads(1)  # the arrays are tiny: more threads wait for each other ten times as long as they work
    row, functional = case.row, torch.nn.functional
    dtypes = {"i": torch.int64, "f": torch.float64}
    x = {name: torch.tensor(a, dtype=dtypes[a.dtype.kind]) for name, a in inputs.items()}
    for name in row.differentiable:
        x[name].requires_grad_()
    weight = x.get("class_weights")
    options: dict[str, Any] = {"reduction": case.reduction}
    if row.over_classes:
        options |= {"weight": weight, "ignore_index": IGNORE_INDEX.get(row.ignored, -100)}
        options |= {"label_smoothing": row.label_smoothing} if row.loss == "cross_entropy" else {}
        value = getattr(functional, row.loss)(x["scores"], x["labels"], **options)
    else:
        along = (-1,) + (1,) * (len(case.shape) - 2) if len(case.shape) > 1 else case.shape
        options["weight"] = None if weight is None else weight.reshape(along)
        labels = x["labels"].to(torch.float64) * (1 - row.label_smoothing) + row.label_smoothing / 2
        if row.loss == "sigmoid_binary_cross_entropy":
            options["pos_weight"] = x["pos_weight"].reshape(along) if row.pos_weight else None
            value = functional.binary_cross_entropy_with_logits(x["scores"], labels, **options)
        else:
            value = functional.binary_cross_entropy(x["scores"], labels, **options)
    gradients = torch.autograd.grad(value, [x[name] for name in row.differentiable], x["cotangent"])
    return named(case, [value.detach().numpy(), *(g.numpy() for g in gradients)])


def named(case: Case, outputs: list[np.ndarray]) -> Arrays:
    """Value and gradients by name."""
    return dict(zip(("value", *case.row.differentiable), outputs, strict=True))


def output_shapes(case: Case, inputs: Arrays) -> list[Shape]:
    """The shapes of the value and of the gradients, in the stored order."""
    return [inputs["cotangent"].shape, *(inputs[name].shape for name in case.row.differentiable)]


def unpack(row: Row, stored: np.ndarray) -> Iterator[tuple[Case, Arrays, Arrays]]:
    """The cases of a row with their inputs, and the outputs out of the one flat array that holds them."""
    start = 0
    for case in cases(row):
        inputs, outputs = draw(case), []
        for shape in output_shapes(case, inputs):
            stop = start + int(np.prod(shape))
            outputs.append(stored[start:stop].reshape(shape))
            start = stop
        yield case, inputs, named(case, outputs)
    assert start == stored.size, f"{row}: {stored.size - start} stored numbers are left over"


def pack(row: Row) -> np.ndarray:
    """All outputs of a row, in one flat array."""
    outputs = (output for case in cases(row) for output in torch_outputs(case, draw(case)).values())
    return np.concatenate([output.ravel() for output in outputs]).astype(np.float32)


def main() -> None:
    """Writes the file."""
    installed = {d.name: d.version for d in metadata.distributions()}.get("torch", "missing")
    if installed.partition("+")[0] != VERSION:
        sys.exit(f"torch: {installed}; the stored values are those of {VERSION}.")
    np.savez_compressed(PATH, version=np.array(VERSION), **{str(row): pack(row) for row in rows()})
    print(f"{PATH.name}: {sum(1 for row in rows() for _ in cases(row))} cases, {PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
