"""The tables of an explanation: the worst examples, the classes, and the positions of a sequence."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxce._explain._call import Call
from jaxce._explain._record import Column

FEW = 6
"""Up to this many classes a table shows whole rows of logits and probabilities."""

MOST_CLASSES = 10
"""Rows of the table of classes: those with the largest shares."""

MOST_REGION_CLASSES = 32
"""Up to this many classes of regions are measured one by one, with a call of the loss for each."""

MOST_POSITIONS = 8
"""Rows of the table of positions."""

Decode = Callable[[int], str] | None


@dataclasses.dataclass(frozen=True)
class Terms:
    """A call with the weighted loss and the weight of each example, and the mask of examples or pixels."""

    call: Call
    losses: np.ndarray
    weights: np.ndarray
    mask: np.ndarray

    def shares(self, losses: Any) -> np.ndarray:
        """The part of each loss in the total; 0 where there is no total."""
        return np.nan_to_num(np.asarray(losses) / (self.losses.sum() or 1.0), posinf=0.0, neginf=0.0)

    def means(self, sums: np.ndarray, totals: np.ndarray) -> dict[str, Any]:
        """Columns for sums of losses and of weights."""
        means = np.divide(sums, totals, out=np.zeros(len(sums)), where=totals != 0)
        return {"weight": totals, "mean loss": means, "share": self.shares(sums)}


def as_lists(columns: dict[str, Any]) -> Column:
    """The columns as lists of plain Python values."""
    return {name: a.tolist() if isinstance(a, np.ndarray) else a for name, a in columns.items()}


def _names(ids: Any, decode: Decode) -> list[Any]:
    return [int(i) if decode is None else decode(int(i)) for i in ids]


def example_table(terms: Terms, top_k: int, decode: Decode) -> Column:
    """The ``top_k`` examples with the highest losses, NaN first; masked ones are left out."""
    call, losses = terms.call, terms.losses.reshape(-1)
    order = np.argsort(-np.where(np.isnan(losses), np.inf, losses), kind="stable")
    worst = (order if call.kind == "region" else order[terms.mask.reshape(-1)[order]])[:top_k]
    places = [np.unravel_index(i, terms.losses.shape) for i in worst] if terms.losses.ndim else [()] * len(worst)
    columns: dict[str, Any] = {"example": [int(p[0]) if len(p) == 1 else tuple(map(int, p)) for p in places]}
    if call.kind == "softmax":
        columns |= _softmax_columns(call, worst, decode)
    if call.kind == "linear":
        columns |= _linear_columns(call, worst, decode)
    if call.kind == "sigmoid":
        columns |= _sigmoid_columns(call, worst, terms.losses.ndim)
    columns |= {"weight": terms.weights.reshape(-1)[worst], "loss": losses[worst], "share": terms.shares(losses[worst])}
    return as_lists(columns)


def _softmax_columns(call: Call, worst: np.ndarray, decode: Decode) -> dict[str, Any]:
    """Label, its probability and ``-log p``; the scores of a hinge; the rows themselves if classes are few."""
    x = call.last(call.input).reshape(-1, call.classes)[worst].astype(np.float64)
    log_p = x if call.input == "log_probs" else x - np.logaddexp.reduce(x, -1, keepdims=True)
    rows = {call.input: x, "softmax": np.exp(log_p)} if call.classes <= FEW else {}
    if call["labels"] is None:
        return rows
    if call.has_ids:
        ids = np.asarray(call["labels"]).reshape(-1)[worst]
        q = (np.arange(call.classes) == ids[:, None]).astype(np.float64)
        columns = {"label": _names(ids, decode), **rows}
    else:
        q = call.last("labels").reshape(-1, call.classes)[worst].astype(np.float64)
        ids = q.argmax(-1)
        columns = {"label": _names(ids, decode), "q[label]": q.max(-1), **rows}
    at = (np.arange(len(ids)), ids)
    if "margin" in call.parameters:
        columns.pop("softmax", None)
        return columns | {"x[label]": x[at], "best other": np.where(q == 1, -np.inf, x).max(-1)}
    return columns | {"p[label]": np.exp(log_p[at]), "-log p": -np.sum(np.where(q == 0, 0, q * log_p), -1)}


def _linear_columns(call: Call, worst: np.ndarray, decode: Decode) -> dict[str, Any]:
    """Label, prediction and ``-log p`` of tokens, from the loss without its weights: no logits are materialized."""
    losses, aux = call.run(call.modifiers, reduction="none", has_aux=True)
    labels, predicted, nll = (np.asarray(a).reshape(-1)[worst] for a in (call["labels"], aux.argmax, losses))
    columns = {"label": _names(labels, decode), "predicted": _names(predicted, decode)}
    return columns | {"p[label]": np.exp(-nll.astype(np.float64)), "-log p": nll.astype(np.float64)}


def _sigmoid_columns(call: Call, worst: np.ndarray, ndim: int) -> dict[str, Any]:
    """Logit, probability, label and both terms of the cross-entropy; rows if an example has several labels."""
    x, y = (
        call.last(name) if ndim < np.ndim(call["labels"]) else np.asarray(call[name]) for name in (call.input, "labels")
    )
    sign = np.min(y, initial=0) < 0  # labels of 1 and -1
    x, y = (a.astype(np.float64).reshape(-1, *a.shape[ndim:])[worst] for a in (x, y))
    is_probs = call.input == "probs"
    log_p, log_not = (np.log(x), np.log1p(-x)) if is_probs else (-np.logaddexp(0, -x), -np.logaddexp(0, x))
    if x.ndim > 1:
        return {"p": np.exp(log_p), "y": y} if call.classes <= FEW else {}
    q = (y + 1) / 2 if sign else y
    terms = {"-y log p": -np.where(q == 0, 0, q * log_p), "-(1-y) log(1-p)": -np.where(q == 1, 0, (1 - q) * log_not)}
    return ({} if is_probs else {"logit": x}) | {"p": np.exp(log_p), "y": y} | terms


def has_errors(terms: Terms) -> np.ndarray | None:
    """Whether the prediction of each example or pixel is not its label, False where masked; None without logits."""
    call = terms.call
    if call.kind == "linear" or call["labels"] is None:
        return None
    if not call.is_binary:
        wrong = np.not_equal(*_predicted_ids(call))
    else:
        x, y = np.asarray(call[call.input]), np.asarray(call["labels"])
        wrong = (x > call.threshold) != (y > 0.5)
    return np.asarray(terms.mask & (wrong if wrong.ndim == terms.mask.ndim else wrong.any(call.axis)))


def _predicted_ids(call: Call) -> tuple[np.ndarray, np.ndarray]:
    """The class with the highest score and the likeliest label, of each example or pixel."""
    y = call.last("labels")
    return np.asarray(call.last(call.input).argmax(-1)), y if call.has_ids else np.asarray(y.argmax(-1))


def class_table(terms: Terms, decode: Decode) -> Column:
    """The classes with the largest shares of the loss; empty for losses without a class for each example."""
    call = terms.call
    if call["labels"] is None or (call.kind == "sigmoid" and terms.losses.ndim < np.ndim(call["labels"])):
        return {}
    of_kind = {"region": _region_classes, "sigmoid": _sigmoid_classes}.get(call.kind, _softmax_classes)
    columns = of_kind(terms)
    size = sum((columns[name] for name in columns if name.startswith("share")), np.zeros(call.classes))
    order = np.sort(np.argsort(-size, kind="stable")[:MOST_CLASSES])
    return as_lists({"class": _names(order, decode)} | {name: column[order] for name, column in columns.items()})


def _softmax_classes(terms: Terms) -> dict[str, np.ndarray]:
    """Examples, weight, mean loss and share of each class, by the likeliest label."""
    call, mask = terms.call, terms.mask
    y = call.last("labels")
    ids = (y if call.has_ids else y.argmax(-1))[mask]
    sums, totals = (np.bincount(ids, a[mask], call.classes) for a in (terms.losses, terms.weights))
    return {"examples": np.bincount(ids, minlength=call.classes), **terms.means(sums, totals)}


def _sigmoid_classes(terms: Terms) -> dict[str, np.ndarray]:
    """The number of positive and negative labels of each class, and the share of the loss of either."""
    others = tuple(d for d in range(terms.losses.ndim) if d != terms.call.axis)
    y = np.asarray(terms.call["labels"]) > 0.5
    masks = {"positives": y & terms.mask, "negatives": ~y & terms.mask}
    counts = {name: np.atleast_1d(mask.sum(others)) for name, mask in masks.items()}
    parts = {name: np.atleast_1d(np.where(mask, terms.losses, 0).sum(others)) for name, mask in masks.items()}
    return counts | {f"share of {name}": terms.shares(part) for name, part in parts.items()}


def _region_classes(terms: Terms) -> dict[str, np.ndarray]:
    """True and false positives and false negatives of thresholded predictions, overlap, and the share of the loss."""
    call = terms.call
    if call.is_binary:
        both = call.last("logits") > call.threshold, call.last("labels") > 0.5
    else:
        both = tuple(ids[..., None] == np.arange(call.classes) for ids in _predicted_ids(call))
    predicted, labelled = (a & call.region_mask() for a in both)
    pixels = tuple(range(predicted.ndim - 1))
    tp, fp, fn = (a.sum(pixels) for a in (predicted & labelled, predicted & ~labelled, labelled & ~predicted))
    union = np.maximum(tp + fp + fn, 1)
    dice, iou = (np.where(tp + fp + fn == 0, 1, a) for a in (2 * tp / (tp + union), tp / union))
    columns = {"pixels": labelled.sum(pixels), "TP": tp, "FP": fp, "FN": fn, "Dice": dice, "IoU": iou}
    has_shares = call.classes <= MOST_REGION_CLASSES and call["average"] in ("macro", "none")
    return columns | ({"share": terms.shares(_region_parts(terms))} if has_shares else {})


def _region_parts(terms: Terms) -> np.ndarray:
    """The part of each class in the sum of the losses, ``w_c L_c / sum_c w_c`` of each region, from a call for each."""
    call = terms.call
    if call.axis is None:
        return np.array([terms.losses.sum()])
    w = np.ones(call.classes) if call["class_weights"] is None else np.asarray(call["class_weights"], np.float64)
    alone = [call.terms(class_weights=one) for one in np.eye(call.classes, dtype=np.float32)]
    values, counted = (np.stack([np.asarray(pair[i]) for pair in alone], -1) * w for i in (0, 1))
    total = counted.sum(-1, keepdims=True)
    parts = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    return np.asarray(parts.reshape(-1, call.classes).sum(0))


def position_table(terms: Terms) -> Column:
    """The loss by position along the last axis of the tokens, in at most ``MOST_POSITIONS`` groups."""
    if terms.call.kind != "linear" or terms.losses.ndim < 1 or terms.losses.shape[-1] < 2:
        return {}
    values, weights = (a.reshape(-1, a.shape[-1]).sum(0) for a in (terms.losses, terms.weights))
    groups = np.array_split(np.arange(len(values)), min(MOST_POSITIONS, len(values)))
    sums, totals = (np.array([a[g].sum() for g in groups]) for a in (values, weights))
    places = [f"{g[0]}-{g[-1]}" if len(g) > 1 else f"{g[0]}" for g in groups]
    return as_lists({"position": places} | terms.means(sums, totals))
