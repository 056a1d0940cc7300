"""A call of a loss of `jaxce.torch`: PyTorch's arguments by the names of the core."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxce._class_axis import take_per_class
from jaxce._explain._call import Call, name_arguments
from jaxce._numerics import compute_dtype
from jaxce._softmax import linear_cross_entropy

LOSSES = {
    "cross_entropy": ("softmax", "logits", 1),
    "nll_loss": ("softmax", "log_probs", 1),
    "linear_cross_entropy": ("linear", "hidden", -1),
    "multi_margin_loss": ("softmax", "logits", -1),
    "binary_cross_entropy": ("sigmoid", "probs", 1),
    "binary_cross_entropy_with_logits": ("sigmoid", "logits", 1),
    "soft_margin_loss": ("sigmoid", "logits", 1),
    "multilabel_soft_margin_loss": ("sigmoid", "logits", -1),
    "multilabel_margin_loss": ("sigmoid", "logits", -1),
}
"""The kind of each loss, the core's name of its input, and the class axis. Other losses have no classes."""


@dataclasses.dataclass(frozen=True)
class TorchCall(Call):
    """A function of `jaxce.torch` with its arguments by the core's names; ``call`` is the user's own.

    The tables read arguments in the core's form: labels in the shape of the scores or of the examples, and multi-hot
    instead of sets of ids. The loss itself takes them as they are.
    """

    call: Callable[[], Any]

    @property
    def kind(self) -> str:
        return LOSSES[self.name][0]

    @property
    def parameters(self) -> Any:
        names = {"input": LOSSES[self.name][1], "target": "labels", "linear_weight": "kernel", "linear_bias": "bias"}
        names["weight"] = "sample_weights" if self.name.startswith("binary") else "class_weights"
        return {names.get(name, name): p for name, p in inspect.signature(self.loss).parameters.items()}

    def spelled(self, name: str) -> str:
        known = self.parameters.get(name)
        return name if known is None else str(known.name)

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if name == "ignore_index" and name in self.parameters:
            return None if not self.has_ids else -100 if value is None else value
        if name == "axis":
            axis, ndim = LOSSES[self.name][2], np.ndim(self.given[self.input])
            return None if ndim < 2 and self.kind == "sigmoid" and axis == 1 else axis % max(ndim, 1)
        return self._in_core_form(name, value) if name in (self.input, "labels") else value

    def _in_core_form(self, name: str, value: Any) -> Any:
        x, y = (np.shape(self.given[n]) for n in (self.input, "labels"))
        if self.name == "multilabel_margin_loss" and name == "labels":
            ids = jnp.atleast_2d(value)
            is_listed, rows = jnp.cumprod(ids >= 0, 1) > 0, jnp.arange(len(ids))[:, None]
            return jnp.zeros(ids.shape, bool).at[rows, ids].max(is_listed).reshape(x)
        if self.kind == "sigmoid":
            return value if x == y else jnp.broadcast_to(value, jnp.broadcast_shapes(x, y))
        one = self._examples if len(y) <= 1 and math.prod(self._examples) == math.prod(y) == 1 else y
        return value if name != "labels" or y == one else np.reshape(value, one)

    @property
    def _examples(self) -> tuple[int, ...]:
        """The shape of the examples of exclusive classes."""
        x = np.shape(self.given[self.input])
        return (*x[: self["axis"]], *x[self["axis"] + 1 :])

    def value(self) -> Any:
        return self.call()

    def run(self, without: tuple[str, ...] = (), **changed: Any) -> Any:
        if changed.pop("has_aux", False):
            names = ("hidden", "kernel", "labels", "bias", "ignore_index")
            options: Any = {name: self[name] for name in names} | changed
            return linear_cross_entropy(**options, kernel_layout="vd", has_aux=True)
        return self.loss(**{self.spelled(n): value for n, value in (self.given | changed).items() if n not in without})

    def terms(self, **changed: Any) -> tuple[Any, Any]:
        values = self.run(reduction="none", **changed)
        values = values.reshape(values.shape if self.is_binary else self._examples).astype(compute_dtype(values))
        weights, w = jnp.ones((), values.dtype), self["class_weights"]
        if w is not None and self["ignore_index"] is not None:
            weights = take_per_class(jnp.asarray(w, values.dtype), jnp.asarray(self["labels"]))
        return values, jnp.where(self.mask(values.shape, jnp), weights, 0)


def open_call(loss: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Call:
    """The call with its arguments by the names of the core; a class of `jaxce.torch.nn` is called with its options."""
    if isinstance(loss, functools.partial):
        return open_call(loss.func, (*loss.args, *args), loss.keywords | options)
    function = getattr(type(loss), "function", loss)
    name = getattr(function, "__name__", "")
    if not str(getattr(function, "__module__", "")).startswith("jaxce.torch."):
        return name_arguments(loss, args, options)
    known = inspect.signature(function).parameters
    if name not in LOSSES:
        expected = ", ".join(LOSSES)
        raise TypeError(f"loss: got {name}; of jaxce.torch, explain takes losses of classes: {expected}.")
    own = {} if function is loss else {n: value for n, value in vars(loss).items() if n in known}
    given = own | inspect.signature(loss).bind(*args, **options).arguments
    given["reduction"] = _reduction(given)
    call = TorchCall(function, {}, functools.partial(loss, *args, **options))
    call.given.update({core: given[p.name] for core, p in call.parameters.items() if p.name in given})
    if call.kind == "linear" and (not call.has_ids or np.ndim(call["kernel"]) != 2):
        raise TypeError("target, linear_weight: explain takes class ids and a matrix [C, D].")
    return call


def _reduction(given: dict[str, Any]) -> str:
    """The reduction by its current name, from the deprecated arguments if there are any; they are taken out."""
    averaged, reduced = given.pop("size_average", None), given.pop("reduce", None)
    if averaged is None and reduced is None:
        reduction = str(given.get("reduction", "mean"))
        return "mean" if reduction == "elementwise_mean" else reduction
    return "none" if reduced is False else "sum" if averaged is False else "mean"
