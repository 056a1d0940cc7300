"""A call of a loss, as its signature knows it, and the error of a call that raises."""

import dataclasses
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxce._axis_inputs import check_integer, class_axes, merge_class_axes
from jaxce._hardest import Hardest
from jaxce._inputs import floating
from jaxce._numerics import is_off
from jaxce._types import Reduction
from jaxce._value_checks import without_ignored

MODIFIERS = ("class_weights", "sample_weights", "pos_weight", "label_smoothing", "z_loss")
"""Options that `explain` turns off one at a time, to say what each adds."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A loss with its arguments by name.

    ``kind`` says what an example is, by the parameters of the loss: a row of exclusive classes for "softmax", a token
    for "linear", binary labels for "sigmoid", and the pixels of a region for "region".
    """

    loss: Callable[..., Any]
    given: dict[str, Any]

    @property
    def name(self) -> str:
        return str(getattr(self.loss, "__name__", self.loss))

    @property
    def kind(self) -> str:
        names = self.parameters
        if "hidden" in names:
            return "linear"
        if "batch_axis" in names:
            return "region"
        return "softmax" if "ignore_index" in names or "labels" not in names else "sigmoid"

    @property
    def is_binary(self) -> bool:
        """Whether the labels are binary, one for each score; `lovasz_hinge` has no ``activation``."""
        binary_region = self.kind == "region" and (self["axis"] is None or self["activation"] in (None, "sigmoid"))
        return self.kind == "sigmoid" or binary_region

    @property
    def has_ids(self) -> bool:
        """Whether labels are class ids, without a class axis."""
        return not self.is_binary and bool(jnp.issubdtype(jnp.result_type(self["labels"]), jnp.integer))

    @property
    def threshold(self) -> float:
        """The score at which positive and negative are equally likely: 1/2 for probabilities, 0 for logits."""
        return 0.5 if self.input == "probs" or self["activation"] == "none" else 0.0

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The options that are given and that can be turned off."""
        return tuple(n for n in MODIFIERS if self.given.get(n) is not None and not is_off(self.given[n]))

    @property
    def parameters(self) -> Any:
        return inspect.signature(self.loss).parameters

    @property
    def input(self) -> str:
        """The name of the first parameter: "logits", "probs", "log_probs" or "hidden"."""
        return str(next(iter(self.parameters)))

    def __getitem__(self, name: str) -> Any:
        """An argument, its default, or None for a loss without it."""
        known = self.parameters.get(name)
        return self.given.get(name, None if known is None or known.default is known.empty else known.default)

    @property
    def axis(self) -> int | None:
        """The class axis, counted from the first axis; None without one."""
        axis, ndim = self["axis"], np.ndim(self[self.input])
        is_of_elements = self.kind == "sigmoid" and not self.name.startswith("multilabel")
        if ndim == 1 and is_of_elements and not any(np.ndim(self[name]) for name in ("class_weights", "pos_weight")):
            return None
        return None if axis is None or ndim == 0 else axis % ndim

    @property
    def classes(self) -> int:
        """The number of classes, 1 without a class axis."""
        if self.kind == "linear":
            return int(np.shape(self["kernel"])[self["kernel_layout"] == "dv"])
        return 1 if self.axis is None else int(np.shape(self[self.input])[self.axis])

    def last(self, name: str) -> np.ndarray:
        """Logits or labels as a NumPy array with the class axis last; labels that are ids remain."""
        a = np.asarray(self[name])
        if name == "labels" and self.has_ids:
            return a
        return a[..., None] if self.axis is None else np.moveaxis(a, self.axis, -1)

    def spelled(self, name: str) -> str:
        """The name of an argument in the signature of the loss."""
        return name

    def value(self) -> Any:
        """The result of the call itself."""
        return self.loss(**self.given)

    def run(self, without: tuple[str, ...] = (), **changed: Any) -> Any:
        """The loss alone, ``without`` some of the arguments and with others changed."""
        alone = {"has_aux": False} if "has_aux" in self.parameters else {}
        return self.loss(**{n: value for n, value in (self.given | alone | changed).items() if n not in without})

    def terms(self, **changed: Any) -> tuple[Any, Any]:
        """The weighted loss of each example and its weight in the divisor."""
        values, weights = self.run(reduction=self.of_kept(lambda values, weights: (values, weights)), **changed)
        return values, weights

    def of_kept(self, reduction: Reduction) -> Reduction:
        """The reduction; of the examples that count, if the call keeps the hardest alone."""
        own = self["reduction"]
        return dataclasses.replace(own, reduction=reduction) if isinstance(own, Hardest) else reduction

    def mask(self, shape: tuple[int, ...], xp: Any = np, ignored: bool = True) -> Any:
        """Whether each example of ``shape`` counts, or each pixel of regions, by ``where`` and ``ignore_index``.

        Without ``ignored``, by ``where`` alone.
        """
        if self.kind == "region":
            return self.region_mask(xp, ignored).any(-1)
        mask = xp.broadcast_to(True if self["where"] is None else xp.asarray(self["where"]), shape)
        index = self["ignore_index"] if ignored else None
        return mask if index is None else without_ignored(xp.asarray(self["labels"]), index, mask)

    def region_mask(self, xp: Any = np, ignored: bool = True) -> Any:
        """`mask` with a last axis: of size 1, or of the classes if these have masks of their own."""
        shape, axis = np.shape(self["logits"]), self.axis

        def with_classes_last(a: Any) -> Any:
            has_classes = axis is not None and a.ndim == len(shape)
            return xp.moveaxis(a, axis, -1) if has_classes else a[..., None]

        mask = with_classes_last(xp.asarray(True if self["where"] is None else self["where"]))
        if ignored and self["ignore_index"] is not None:
            mask = without_ignored(with_classes_last(xp.asarray(self["labels"])), self["ignore_index"], mask)
        pixels = shape if axis is None else (*shape[:axis], *shape[axis + 1 :])
        return xp.broadcast_to(mask, (*pixels, mask.shape[-1]))


def name_arguments(loss: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Call:
    """The call with its arguments by name; functions that are no loss of this package raise."""
    names = inspect.signature(loss).parameters if callable(loss) else {}
    if "reduction" not in names or {"f", "teacher"} & {*names} or not {"axis", "hidden"} & {*names}:
        raise TypeError(f"loss: got {loss!r}; expected a loss of jaxce, such as jaxce.cross_entropy.")
    try:
        call = Call(loss, dict(inspect.signature(loss).bind(*args, **options).arguments))
    except TypeError:
        loss(*args, **options)  # the loss has its own answers to wrong keywords
        raise
    if isinstance(call["axis"], tuple):
        call.value()  # its errors are about the arrays as they were given
        x = floating(call.input, call[call.input])
        x, labels, axis = merge_class_axes(x, call["labels"], class_axes(call.input, x, call["axis"]))
        return Call(loss, call.given | {call.input: x, "axis": axis} | ({} if labels is None else {"labels": labels}))
    return call


def value_of(call: Call) -> Any:
    """The result of the call; shapes that do not fit are drawn in a note of the error."""
    try:
        return call.value()
    except (TypeError, ValueError) as error:
        if drawing := draw_shapes(call):
            error.add_note(drawing)
        raise


def check_count(name: str, number: Any) -> None:
    """The number of something: at least 1."""
    check_integer(name, number)
    if number < 1:
        raise ValueError(f"{name}: got {number}; expected at least 1.")


def check_groups(groups: Any, num_groups: int | None, shape: tuple[int, ...]) -> None:
    """Groups must come with their number, one for each example."""
    if groups is None:
        return
    if num_groups is None:
        raise ValueError("num_groups: got None; expected the number of groups, which shapes depend on.")
    check_count("num_groups", num_groups)
    if not jnp.issubdtype(jnp.result_type(groups), jnp.integer):
        raise TypeError(f"groups: got dtype {jnp.result_type(groups)}; expected an integer dtype.")
    if np.shape(groups) != shape:
        raise ValueError(f"groups: got shape {np.shape(groups)}; expected one per example, shape {shape}.")


def check_concrete(call: Call) -> None:
    """`explain` reads values, so it cannot run in compiled code."""
    for name, value in call.given.items():
        if isinstance(value, jax.core.Tracer):
            name = call.spelled(name)
            raise TypeError(f"{name}: got a traced array; explain needs values. Inside jit, use jaxce.summarize.")


def draw_shapes(call: Call) -> str:
    """The shapes of logits and labels, one under the other, with a mark where they differ; empty if they fit."""
    shapes = [getattr(call.given.get(name), "shape", None) for name in (call.input, "labels")]
    if not shapes[0] or shapes[1] is None or not isinstance(call["axis"], int | None):
        return ""
    x, y = [*shapes[0]], [*shapes[1]]
    axis = (-1 if call["axis"] is None else call["axis"]) % len(x)
    expected = [*x]
    if call.has_ids:
        expected[axis] = None
        y[axis:axis] = [None] if len(y) < len(x) else []
    extra = sum(n is not None for n in y) - sum(n is not None for n in expected)
    rank = max(len(x), len(y))
    wrong = [a != b for a, b in itertools.zip_longest(y, expected)]
    if not any(wrong):
        return ""
    top = [f"C={n}" if d == axis and call.kind != "linear" else str(n) for d, n in enumerate(x)] + [""] * (
        rank - len(x)
    )
    bottom = ["" if n is None else str(n) for n in y] + [""] * (rank - len(y))
    marks = ["^" * max(len(b), 1) if w else "" for b, w in zip(bottom, wrong, strict=True)]
    names = [call.spelled(name) for name in (call.input, "labels")]
    widths = [max(map(len, column)) + 2 for column in zip(top, bottom, marks, strict=True)]
    reason = {1: "  one axis too many"}.get(extra, f"  {extra} axes too many" if extra > 1 else "")
    return "\n".join(
        (f"{name:<{max(map(len, (*names, 'labels')))}}" + "".join(map(str.rjust, cells, widths))).rstrip() + end
        for name, cells, end in ((names[0], top, ""), (names[1], bottom, ""), ("", marks, reason))
    )
