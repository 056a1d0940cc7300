"""One row per public loss: how to draw valid inputs for it, its options, and its float64 reference.

A law in `laws.py` takes a row, a kind of labels and a set of options, and holds for all of them.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import reference

import jaxce

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
    "margin": 1.5,
    "p": 2,
}
OPTIONS = (*PER_CLASS, "sample_weights", "where", "ignore_index", *HYPERPARAMETERS)


@dataclasses.dataclass(frozen=True)
class Case:
    """A public loss. `family` says what an example is: a "row" of classes, an "element", or a "region" of rows.

    `label_kinds` are those it takes, `any_axis` says whether its classes may lie along any axis, and `elsewhere` are
    the keywords that say how it is computed and not what, which have tests of their own. One that `looks_up` a class by
    its id can be checked for ids out of bounds.
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
    looks_up: bool = True

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
    def masked(self) -> tuple[int, ...]:
        """The shape of a mask."""
        return mask_shape(self.case, self.x.shape, self.axis)

    @property
    def examples(self) -> tuple[int, ...]:
        """The shape of the loss without a reduction."""
        return self.masked[:1] if self.case.family == "region" else self.masked


def mask_shape(case: Case, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape of the input, or without its classes."""
    axis %= len(shape)
    return shape if case.family == "element" else shape[:axis] + shape[axis + 1 :]


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
    examples = mask_shape(case, shape, axis)
    classes = shape[axis]
    if kind == "ids":
        labels = rng.integers(0, classes, examples)
    elif kind == "probs":
        labels = np.moveaxis(rng.dirichlet(np.ones(classes), examples), -1, axis)
    elif kind == "hard":
        labels = rng.integers(0, 2, shape)
    elif kind == "signs":
        labels = 2 * rng.integers(0, 2, shape) - 1
    else:
        labels = rng.uniform(0.05, 0.95, shape)
    values: dict[str, Any] = {
        "class_weights": rng.uniform(0.5, 2.0, classes),
        "sample_weights": rng.uniform(0.5, 2.0, (*examples[:-1], 1) if len(examples) > 1 else examples),
        "where": rng.random(examples) < 0.7,
        "pos_weight": rng.uniform(0.5, 2.0, classes),
        "ignore_index": IGNORED,
        "bias": rng.normal(size=classes),
        **HYPERPARAMETERS,
    }
    if "where" in options and values["where"].size:
        values["where"].flat[0] = False
        values["where"].flat[-1] = True
    if "ignore_index" in options and labels.size > 1:
        labels.flat[labels.size // 2] = IGNORED
    rounded = {k: _float32(v) for k, v in values.items()}
    return Sample(
        case,
        _float32(x),
        _float32(labels),
        {k: rounded[k] for k in OPTIONS if k in options and k in case.options},
        axis,
    )


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


def _shaped(loss: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """A loss over regions, the examples along the first axis that has no classes, or a variant of another loss."""

    @functools.wraps(loss)
    def call(logits: Any, labels: Any, *, axis: int, **options: Any) -> Any:
        batch = {"batch_axis": int(axis % logits.ndim == 0)} if loss in REGIONS else {}
        return loss(logits, labels, axis=axis, **batch, **fixed, **options)

    return call


REGIONS = (
    jaxce.dice_loss,
    jaxce.tversky_loss,
    jaxce.jaccard_loss,
    jaxce.lovasz_softmax,
    jaxce.lovasz_hinge,
)


@functools.wraps(jaxce.entropy)
def _entropy(logits: Any, labels: Any, **options: Any) -> Any:
    return jaxce.entropy(logits, **options)


_SHARED = ("class_weights", "sample_weights", "where")
_SOFTMAX = (*_SHARED, "ignore_index", "label_smoothing")


def _row(name: str, *options: str, kinds: tuple[str, ...] = ("ids", "probs"), **changed: Any) -> Case:
    """A loss of logits whose reference has its name."""
    given = {"family": "row", "draw_input": _logits, "looks_up": "ids" in kinds} | changed
    variant = given.pop("variant", {})
    loss = getattr(jaxce, name)
    loss = _shaped(loss, **variant) if variant or loss in REGIONS else loss
    wanted = functools.partial(getattr(reference, name), **variant)
    elsewhere = ("variant", "activation", "absent", "batch_axis", *given.pop("elsewhere_too", ()))
    elsewhere = tuple(e for e in elsewhere if e in inspect.signature(loss).parameters)
    return Case(loss, wanted, options=options, label_kinds=kinds, elsewhere=elsewhere, **given)


CASES = [
    Case(
        jaxce.cross_entropy,
        reference.cross_entropy,
        "row",
        _logits,
        (*_SHARED, "ignore_index", "label_smoothing", "z_loss"),
        ("ids", "probs"),
        shifts=True,
    ),
    Case(
        _linear,
        reference.linear_cross_entropy,
        "row",
        _logits,
        (*_SHARED, "ignore_index", "label_smoothing", "z_loss", "bias", "logit_scale", "logit_softcap"),
        ("ids",),
        any_axis=False,
        elsewhere=("kernel_layout", "chunk_size", "in_specs", "has_aux"),
    ),
    Case(jaxce.nll_loss, reference.nll_loss, "row", _log_probs, (*_SHARED, "ignore_index"), ("ids", "probs")),
    Case(
        jaxce.sigmoid_binary_cross_entropy,
        reference.sigmoid_binary_cross_entropy,
        "element",
        _logits,
        (*_SHARED, "label_smoothing", "pos_weight"),
        ("hard", "soft"),
        looks_up=False,
    ),
    Case(
        jaxce.binary_cross_entropy,
        reference.binary_cross_entropy,
        "element",
        _probs,
        _SHARED,
        ("hard", "soft"),
        looks_up=False,
    ),
    _row("focal_loss", *_SOFTMAX, "gamma", shifts=True),
    _row("poly1_loss", *_SOFTMAX, "epsilon", shifts=True),
    _row("generalized_cross_entropy", *_SOFTMAX, "q", shifts=True),
    _row("kl_divergence", *_SOFTMAX, shifts=True, looks_up=False),
    _row("js_divergence", *_SOFTMAX, shifts=True, looks_up=False),
    _row("brier_loss", *_SOFTMAX, shifts=True, looks_up=False),
    Case(_entropy, reference.entropy, "row", _logits, _SHARED[1:], ("probs",), shifts=True, looks_up=False),
    _row("sigmoid_focal_loss", *_SHARED, "label_smoothing", "alpha", "gamma", family="element", kinds=("hard", "soft")),
    _row(
        "asymmetric_loss",
        *(*_SHARED, "label_smoothing", "gamma_pos", "gamma_neg", "clip"),
        family="element",
        kinds=("hard", "soft"),
    ),
    _row("soft_margin_loss", *_SHARED, family="element", kinds=("signs", "soft")),
    _row("multilabel_soft_margin_loss", *_SHARED, kinds=("hard", "soft")),
    _row("multilabel_margin_loss", *_SHARED[1:], kinds=("hard", "soft"), shifts=True),
    *(
        _row(
            "multiclass_hinge_loss",
            *_SHARED,
            "ignore_index",
            "margin",
            "p",
            kinds=("ids",),
            variant={"variant": v},
            looks_up=False,
        )
        for v in ("weston-watkins", "crammer-singer")
    ),
    _row(
        "dice_loss",
        *_SHARED,
        "ignore_index",
        "smooth",
        family="region",
        looks_up=False,
        variant={"activation": "softmax"},
    ),
    _row(
        "tversky_loss",
        *(*_SHARED, "ignore_index", "alpha", "beta", "gamma", "smooth"),
        family="region",
        looks_up=False,
        draw_input=_probs,
        variant={"activation": "none", "absent": "skip"},
    ),
    _row(
        "jaccard_loss",
        *(*_SHARED, "smooth"),
        family="region",
        kinds=("hard", "soft"),
        variant={"activation": "sigmoid"},
        elsewhere_too=("ignore_index",),
    ),
    _row("lovasz_softmax", *_SHARED, "ignore_index", family="region", looks_up=False),
    _row("lovasz_hinge", *_SHARED, family="region", kinds=("hard", "soft")),
]

ROWS = [(case, kind) for case in CASES for kind in case.label_kinds]


def option_sets(case: Case, kind: str) -> list[tuple[str, ...]]:
    """No option, each alone, and all together."""
    allowed = case.allowed(kind)
    return [(), *((option,) for option in allowed), allowed]
