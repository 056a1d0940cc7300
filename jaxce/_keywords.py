"""Answers to wrong keywords: names that are usual elsewhere, misspelt ones, and options passed by position."""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

USUAL = {
    "class_weights": "alpha class_weight weight weights",
    "sample_weights": "sample_weight weight weights",
    "where": "mask masks ignore_mask",
    "ignore_index": "ignore_class ignore_id ignore_label padding_idx",
    "label_smoothing": "epsilon eps smoothing smooth_eps",
    "axis": "dim class_axis",
    "reduction": "reduce size_average",
    "logits": "from_logits input inputs y_pred logit preds pred",
    "labels": "target targets y_true label sparse_labels",
}
"""Our keyword, and what it is called elsewhere."""


def answers_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """The same function. A call that does not fit its signature raises a ``TypeError`` in our words."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            answer = _answer(function, args, kwargs)
            if answer is None:
                raise
        raise TypeError(answer)

    call.__module__ = "jaxce"
    return call


def _answer(function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> str | None:
    """What is wrong with the arguments, or None if they fit the signature."""
    parameters = inspect.signature(function).parameters
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
        return None
    positional = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(args) > len(positional):
        expected = f"expected {len(positional)} ({', '.join(positional)}). Pass options by name."
        return f"{function.__name__}: got {len(args)} positional arguments; {expected}"
    unknown = next((name for name in kwargs if name not in parameters), None)
    if unknown is None:
        return None
    return f"{function.__name__}: got {unknown}=; {_cure(unknown, list(parameters), positional)}"


def _cure(unknown: str, known: list[str], positional: list[str]) -> str:
    if unknown == "from_logits":
        return f"there is no such switch: {positional[0]} are what the name says."
    ours = [name for name, theirs in USUAL.items() if name in known and unknown in theirs.split()]
    ours = ours or difflib.get_close_matches(unknown, known, 1, 0.7)
    if not ours:
        return f"expected one of {', '.join(known)}."
    return "use " + " or ".join(f"{name}=" if name not in positional else f"{name}, by position" for name in ours) + "."
