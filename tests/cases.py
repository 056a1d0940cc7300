"""One row per public loss: how to draw valid inputs for it, its options, and its float64 reference.

A law in `laws.py` takes a row, a kind of labels and a set of options, and holds for all of them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import reference

import jaxce

CLASSES = 5
IGNORED = -100

PER_CLASS = ("bias", "class_weights", "pos_weight")
OPTIONS = (
    *PER_CLASS,
    "sample_weights",
    "where",
    "ignore_index",
    "label_smoothing",
    "z_loss",
    "logit_scale",
    "logit_softcap",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A public loss. `family` says what its labels are: exclusive classes, or an answer for each element.

    `label_kinds` are those it takes, `any_axis` says whether its classes may lie along any axis, and `elsewhere` are
    the keywords that say how it is computed and not what, which have tests of their own.
    """

    loss: Callable[..., Any]
    reference: Callable[..., Any]
    family: str
    draw_input: Callable[[np.random.Generator, tuple[int, ...], int], np.ndarray]
    options: tuple[str, ...]
    label_kinds: tuple[str, ...]
    shifts: bool = False
    any_axis: bool = True
    elsewhere: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.loss.__name__

    def allowed(self, kind: str) -> tuple[str, ...]:
        """The options that can be meant with this kind of labels."""
        return tuple(o for o in self.options if not (o == "ignore_index" and kind == "probs"))


@dataclasses.dataclass(frozen=True)
class Sample:
    """Arguments of one call, in float64 and plain integers."""

    case: Case
    x: np.ndarray
    labels: np.ndarray
    options: dict[str, Any]
    axis: int

    def call(
        self, x: Any = None, labels: Any = None, reduction: Any = "mean", dtype: Any = jnp.float32, **changed: Any
    ):
        """The library's loss on these arguments, cast to `dtype`."""
        x = self.x if x is None else x
        labels = self.labels if labels is None else labels
        options = {k: cast(v, dtype) for k, v in {**self.options, **changed}.items()}
        return self.case.loss(cast(x, dtype), cast(labels, dtype), axis=self.axis, reduction=reduction, **options)

    def expected(self, reduction: str = "mean", **changed: Any) -> Any:
        """The reference's answer on the same arguments."""
        arguments = {"x": self.x, "labels": self.labels, "axis": self.axis, **self.options, **changed}
        x, labels = arguments.pop("x"), arguments.pop("labels")
        return reference.reduced(*self.case.reference(x, labels, **arguments), reduction)

    @property
    def moving(self) -> dict[str, np.ndarray]:
        """The arguments with a derivative, by name."""
        arrays = {"x": self.x, **({"labels": self.labels} if self.labels.dtype.kind == "f" else {})}
        return arrays | {k: v for k, v in self.options.items() if k in (*PER_CLASS, "sample_weights")}

    @property
    def examples(self) -> tuple[int, ...]:
        """The shape of the loss without a reduction."""
        shape = self.x.shape
        axis = self.axis % len(shape)
        return shape[:axis] + shape[axis + 1 :] if self.case.family == "softmax" else shape


def cast(value: Any, dtype: Any) -> Any:
    """Floating NumPy arrays become JAX arrays of `dtype`; everything else stays."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return jnp.asarray(value, dtype)
    return value


def draw(
    case: Case,
    kind: str,
    options: tuple[str, ...] = (),
    shape: tuple[int, ...] = (3, 4, CLASSES),
    axis: int = -1,
    seed: int = 0,
) -> Sample:
    """Arguments for one call; float64 values that float32 holds exactly."""
    rng = np.random.default_rng([seed, len(shape), sum(map(ord, case.name + kind))])
    x = case.draw_input(rng, shape, axis)
    examples = tuple(np.delete(shape, axis)) if case.family == "softmax" else shape
    classes = shape[axis]
    if kind == "ids":
        labels = rng.integers(0, classes, examples)
    elif kind == "probs":
        labels = np.moveaxis(rng.dirichlet(np.ones(classes), examples), -1, axis)
    elif kind == "hard":
        labels = rng.integers(0, 2, shape)
    else:
        labels = rng.uniform(0.05, 0.95, shape)
    values: dict[str, Any] = {
        "class_weights": rng.uniform(0.5, 2.0, classes),
        "sample_weights": rng.uniform(0.5, 2.0, (*examples[:-1], 1) if len(examples) > 1 else examples),
        "where": rng.random(examples) < 0.7,
        "label_smoothing": 0.125,
        "z_loss": 0.0625,
        "pos_weight": rng.uniform(0.5, 2.0, classes),
        "ignore_index": IGNORED,
        "bias": rng.normal(size=classes),
        "logit_scale": 0.75,
        "logit_softcap": 4.0,
    }
    if "where" in options and values["where"].size:
        values["where"].flat[0] = False
        values["where"].flat[-1] = True
    if "ignore_index" in options and labels.size > 1:
        labels.flat[labels.size // 2] = IGNORED
    rounded = {k: _float32(v) for k, v in values.items()}
    return Sample(case, _float32(x), _float32(labels), {k: rounded[k] for k in OPTIONS if k in options}, axis)


def _float32(value: Any) -> Any:
    """The same values, rounded to float32, so that every dtype above it computes on equal inputs."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.float32).astype(np.float64)
    return value


def _logits(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return 3 * rng.normal(size=shape)


def _log_probs(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return np.log(np.moveaxis(rng.dirichlet(np.ones(shape[axis]), tuple(np.delete(shape, axis))), -1, axis) + 1e-3)


def _probs(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return rng.uniform(0.02, 0.98, shape)


@functools.wraps(jaxce.linear_cross_entropy)
def _linear(logits: Any, labels: Any, *, axis: int, **options: Any) -> Any:
    """The loss of a layer that hands its hidden states on, in several chunks, some with a padded last one."""
    kernel = jnp.eye(logits.shape[axis], dtype=logits.dtype)
    return jaxce.linear_cross_entropy(logits, kernel, labels, chunk_size=3, **options)


_SHARED = ("class_weights", "sample_weights", "where")
CASES = [
    Case(
        jaxce.cross_entropy,
        reference.cross_entropy,
        "softmax",
        _logits,
        (*_SHARED, "ignore_index", "label_smoothing", "z_loss"),
        ("ids", "probs"),
        shifts=True,
    ),
    Case(
        _linear,
        reference.linear_cross_entropy,
        "softmax",
        _logits,
        (*_SHARED, "ignore_index", "label_smoothing", "z_loss", "bias", "logit_scale", "logit_softcap"),
        ("ids",),
        any_axis=False,
        elsewhere=("kernel_layout", "chunk_size", "in_specs", "has_aux"),
    ),
    Case(jaxce.nll_loss, reference.nll_loss, "softmax", _log_probs, (*_SHARED, "ignore_index"), ("ids", "probs")),
    Case(
        jaxce.sigmoid_binary_cross_entropy,
        reference.sigmoid_binary_cross_entropy,
        "sigmoid",
        _logits,
        (*_SHARED, "label_smoothing", "pos_weight"),
        ("hard", "soft"),
    ),
    Case(jaxce.binary_cross_entropy, reference.binary_cross_entropy, "sigmoid", _probs, _SHARED, ("hard", "soft")),
]

ROWS = [(case, kind) for case in CASES for kind in case.label_kinds]


def option_sets(case: Case, kind: str) -> list[tuple[str, ...]]:
    """No option, each alone, and all together."""
    allowed = case.allowed(kind)
    return [(), *((option,) for option in allowed), allowed]
