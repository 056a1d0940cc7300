"""Arguments for one call of a loss, drawn at random: float64 values that float32 holds exactly."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import reference

CLASSES = 5
IGNORED = -100
PER_CLASS = ("bias", "class_weights", "pos_weight")
HYPERPARAMETERS = {
    "label_smoothing": 0.125,
    "z_loss": 0.0625,
    "logit_scale": 0.75,
    "logit_softcap": 4.0,
    "gamma": 1.5,
    "gamma_pos": 0.5,
    "gamma_neg": 2.5,
    "clip": 0.125,
    "epsilon": 2.0,
    "q": 0.5,
    "alpha": 0.75,
    "beta": 0.25,
    "smooth": 0.5,
    "smooth_divisor": 1.25,
    "margin": 1.5,
    "p": 2,
}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The arguments of one call of `case`, a row of `cases.py`, in float64 and plain integers."""

    case: Any
    x: np.ndarray
    labels: np.ndarray
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    axis: int = -1

    def call(
        self, x: Any = None, labels: Any = None, reduction: Any = "mean", dtype: Any = jnp.float32, **changed: Any
    ) -> Any:
        """The library's loss of these arguments, cast to `dtype`."""
        x = self.x if x is None else x
        labels = self.labels if labels is None else labels
        options = {name: cast(value, dtype) for name, value in (self.options | changed).items()}
        return self.case.call(cast(x, dtype), cast(labels, dtype), axis=self.axis, reduction=reduction, **options)

    def expected(self, reduction: str = "mean", **changed: Any) -> Any:
        """The reference's number for the same arguments."""
        arguments = {"x": self.x, "labels": self.labels, **self.options, **changed}
        return reference.reduced(*self.case.expected(axis=self.axis, **arguments), reduction)

    def replace(self, **changed: Any) -> "Inputs":
        return dataclasses.replace(self, **changed)

    def without(self, *names: str) -> "Inputs":
        """The same call with fewer options."""
        return self.replace(options={name: value for name, value in self.options.items() if name not in names})

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arguments with a derivative, by name."""
        labels = {"labels": self.labels} if self.labels.dtype.kind == "f" else {}
        weights = {name: self.options[name] for name in (*PER_CLASS, "sample_weights") if name in self.options}
        return {"x": self.x, **labels, **weights}

    @property
    def mask_shape(self) -> tuple[int, ...]:
        return mask_shape(self.case, self.x.shape, self.axis)

    @property
    def loss_shape(self) -> tuple[int, ...]:
        """The shape of the loss without a reduction."""
        return self.mask_shape[:1] if self.case.example == "region" else self.mask_shape


def mask_shape(case: Any, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape of the input, without its classes unless every element is an example."""
    return shape if case.example == "element" else tuple(np.delete(shape, axis).tolist())


def cast(value: Any, dtype: Any = jnp.float32) -> Any:
    """Floating NumPy arrays become JAX arrays of `dtype`; everything else stays."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return jnp.asarray(value, dtype)
    return value


def draw(
    case: Any,
    kind: str,
    options: tuple[str, ...] = (),
    shape: tuple[int, ...] = (3, 4, CLASSES),
    axis: int = -1,
    seed: int = 0,
) -> Inputs:
    """Arguments for one call."""
    rng = np.random.default_rng([seed, len(shape), sum(map(ord, case.name + kind))])
    x = case.draw_input(rng, shape, axis)
    examples = mask_shape(case, shape, axis)
    labels = draw_labels(rng, kind, shape, axis)
    values = HYPERPARAMETERS | {
        "class_weights": rng.uniform(0.5, 2.0, shape[axis]),
        "sample_weights": rng.uniform(0.5, 2.0, (*examples[:-1], 1) if len(examples) > 1 else examples),
        "where": rng.random(examples) < 0.7,
        "pos_weight": rng.uniform(0.5, 2.0, shape[axis]),
        "ignore_index": IGNORED,
        "bias": rng.normal(size=shape[axis]),
    }
    if "where" in options and values["where"].size:
        values["where"].flat[0] = False
        values["where"].flat[-1] = True
    if "ignore_index" in options and labels.size > 1:
        labels.flat[labels.size // 2] = IGNORED
    chosen = {name: rounded(value) for name, value in values.items() if name in options and name in case.options}
    return Inputs(case, rounded(x), rounded(labels), chosen, axis)


def draw_labels(rng: np.random.Generator, kind: str, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Labels of a kind of `cases.py` for an input of a shape."""
    examples = tuple(np.delete(shape, axis).tolist())
    if kind == "ids":
        return rng.integers(0, shape[axis], examples)
    if kind == "probs":
        return np.moveaxis(rng.dirichlet(np.ones(shape[axis]), examples), -1, axis)
    if kind == "soft":
        return rng.uniform(0.05, 0.95, shape)
    return {"hard": 1, "signs": 2}[kind] * rng.integers(0, 2, shape) - (kind == "signs")


def rounded(value: Any) -> Any:
    """The same values, rounded to float32, so that float32 and float64 compute on equal inputs."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.float32).astype(np.float64)
    return value


def draw_logits(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return 3 * rng.normal(size=shape)


def draw_log_probs(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    rows = rng.dirichlet(np.ones(shape[axis]), tuple(np.delete(shape, axis)))
    return np.log(np.moveaxis(rows, -1, axis) + 1e-3)


def draw_probs(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return rng.uniform(0.02, 0.98, shape)
