"""The public losses, one row each: a new loss is one more row, and every law in `laws/` then runs on it.

A row names the loss, what an example is, the kinds of labels, the options, and last what is special. The float64
reference has the loss's name and stands in `reference.py`.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import reference
from inputs import draw_log_probs, draw_logits, draw_probs

import jaxce

SHARED = "class_weights sample_weights where"
SOFTMAX = f"{SHARED} ignore_index label_smoothing"
LINEAR = f"{SOFTMAX} z_loss bias logit_scale logit_softcap"
SIGMOID = f"{SHARED} label_smoothing"
OVERLAP = f"{SHARED} ignore_index smooth smooth_divisor"

EXECUTION = (
    *("activation", "variant", "absent", "batch_axis", "kernel_layout", "chunk_size", "in_specs", "has_aux"),
    *("average", "include_background", "soft_counts", "log_loss", "axis_name"),
)
"""Keywords that the laws do not vary; each has tests of its own."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A public loss. `example` says what an example is: a "row" of classes, an "element", or a "region" of rows.

    `labels` are the kinds of labels: "ids", "probs" (rows that sum to 1), "hard" (0 or 1), "soft" (0 to 1), "signs"
    (-1 or 1). `fixed` are arguments of every call. The loss is `shift_invariant` if a number added to all logits
    changes nothing, and `checks_index` if `checkify.index_checks` names an invalid id.
    """

    name: str
    example: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    draw_input: Callable[..., Any] = draw_logits
    fixed: tuple[tuple[str, Any], ...] = ()
    shift_invariant: bool = False
    any_axis: bool = True
    checks_index: bool = False

    def __str__(self) -> str:
        return "-".join((self.name, *(str(value) for _, value in self.fixed)))

    @property
    def loss(self) -> Callable[..., Any]:
        return getattr(jaxce, self.name)

    @property
    def keywords(self) -> set[str]:
        """The options of the loss by its signature."""
        parameters = inspect.signature(self.loss).parameters.values()
        named = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        return named - {"axis", "reduction", "class_axis_name", *EXECUTION, *dict(self.fixed)}

    def call(self, x: Any, labels: Any, *, axis: int, **options: Any) -> Any:
        """The loss of an array of logits or probabilities, whatever arguments it has."""
        options |= dict(self.fixed)
        if self.name == "linear_cross_entropy":  # the hidden states are the logits; the last chunk is padded
            return self.loss(x, jnp.eye(x.shape[axis], dtype=x.dtype), labels, chunk_size=3, **options)
        if self.name == "entropy":
            return self.loss(x, axis=axis, **options)
        if self.example == "region":  # the examples lie along the first axis that is not the classes'
            options["batch_axis"] = int(axis % x.ndim == 0)
        return self.loss(x, labels, axis=axis, **options)

    def expected(self, x: Any, labels: Any, *, axis: int, **options: Any) -> Any:
        """The reference's value and weight of each example."""
        return getattr(reference, self.name)(x, labels, axis=axis, **options, **dict(self.fixed))

    def allowed(self, kind: str) -> tuple[str, ...]:
        """The options that have a meaning with this kind of labels."""
        return tuple(o for o in self.options if o != "ignore_index" or kind == "ids")


def row(name: str, example: str, labels: str, options: str, *, fixed: str = "", **rest: Any) -> Case:
    """A row of the table; `fixed` is written `name=value name=value`."""
    pairs = [pair.split("=") for pair in fixed.split()]
    typed = tuple((name, float(value) if value[0].isdigit() else value) for name, value in pairs)
    return Case(name, example, tuple(labels.split()), tuple(options.split()), fixed=typed, **rest)


shifted = functools.partial(row, shift_invariant=True)

CASES = [
    # loss                             example    labels        options
    shifted("cross_entropy", "row", "ids probs", f"{SOFTMAX} z_loss", checks_index=True),
    row("linear_cross_entropy", "row", "ids", LINEAR, any_axis=False, checks_index=True),
    row("nll_loss", "row", "ids probs", f"{SHARED} ignore_index", draw_input=draw_log_probs, checks_index=True),
    shifted("focal_loss", "row", "ids probs", f"{SOFTMAX} gamma", checks_index=True),
    shifted("poly1_loss", "row", "ids probs", f"{SOFTMAX} epsilon", checks_index=True),
    shifted("generalized_cross_entropy", "row", "ids probs", f"{SOFTMAX} q", checks_index=True),
    shifted("kl_divergence", "row", "ids probs", SOFTMAX),
    shifted("js_divergence", "row", "ids probs", SOFTMAX, fixed="beta=0.5"),
    shifted("js_divergence", "row", "ids probs", SOFTMAX, fixed="beta=0.25"),
    shifted("brier_loss", "row", "ids probs", SOFTMAX),
    shifted("entropy", "row", "probs", "sample_weights where"),
    row("multiclass_hinge_loss", "row", "ids", f"{SHARED} ignore_index margin p", fixed="variant=weston-watkins"),
    row("multiclass_hinge_loss", "row", "ids", f"{SHARED} ignore_index margin p", fixed="variant=crammer-singer"),
    shifted("multilabel_margin_loss", "row", "hard soft", "sample_weights where"),
    row("multilabel_soft_margin_loss", "row", "hard soft", SHARED),
    row("sigmoid_binary_cross_entropy", "element", "hard soft", f"{SIGMOID} pos_weight"),
    row("binary_cross_entropy", "element", "hard soft", SIGMOID, draw_input=draw_probs),
    row("sigmoid_focal_loss", "element", "hard soft", f"{SIGMOID} pos_weight alpha gamma"),
    row("asymmetric_loss", "element", "hard soft", f"{SIGMOID} gamma_pos gamma_neg clip"),
    row("quality_focal_loss", "element", "hard soft", f"{SHARED} alpha gamma", fixed="variant=quality"),
    row("quality_focal_loss", "element", "hard soft", f"{SHARED} alpha gamma", fixed="variant=varifocal"),
    row("hinge_loss", "element", "hard soft", f"{SHARED} p"),
    row("soft_margin_loss", "element", "signs soft", SHARED),
    row("dice_loss", "region", "ids probs", OVERLAP, fixed="activation=softmax"),
    row("dice_loss", "region", "ids probs", OVERLAP, fixed="average=volume soft_counts=squared"),
    row(
        *("tversky_loss", "region", "ids probs", f"{OVERLAP} alpha beta gamma"),
        fixed="activation=none absent=skip soft_counts=minimum",
        draw_input=draw_probs,
    ),
    row("jaccard_loss", "region", "hard soft", OVERLAP, fixed="activation=sigmoid average=micro"),
    row("lovasz_softmax", "region", "ids probs", f"{SHARED} ignore_index"),
    row("lovasz_hinge", "region", "hard soft", f"{SHARED} ignore_index"),
]
