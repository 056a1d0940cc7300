"""The tables of an explanation: the worst examples, the classes, and the positions of a sequence."""

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


def example_table(
    call: Call, losses: np.ndarray, weights: np.ndarray, mask: np.ndarray, top_k: int, decode: Decode
) -> Column:
    """The ``top_k`` examples with the highest losses, NaN first; masked ones are left out."""
    flat, counts = losses.reshape(-1), np.ones(losses.size, bool) if call.kind == "region" else mask.reshape(-1)
    order = np.argsort(-np.where(np.isnan(flat), np.inf, flat), kind="stable")
    worst = order[counts[order]][:top_k]
    places = [np.unravel_index(i, losses.shape) for i in worst] if losses.ndim else [()] * len(worst)
    columns: Column = {"example": [int(p[0]) if len(p) == 1 else tuple(map(int, p)) for p in places]}
    if call.kind == "softmax":
        columns |= _softmax_columns(call, worst, decode)
    if call.kind == "linear":
        columns |= _linear_columns(call, worst, decode)
    if call.kind == "sigmoid":
        columns |= _sigmoid_columns(call, worst, losses.shape)
    columns |= {"weight": weights.reshape(-1)[worst].tolist(), "loss": flat[worst].tolist()}
    return columns | {"share": _shares(flat[worst], flat.sum())}


def _shares(losses: Any, total: float) -> list[float]:
    """The part of each loss in the total; 0 where there is no total."""
    shares = np.nan_to_num(np.asarray(losses, np.float64) / (total or 1.0), posinf=0.0, neginf=0.0)
    return [float(share) for share in shares]


def rows_of(call: Call) -> np.ndarray:
    """The input with one row of classes for each example."""
    x = np.asarray(call[call.input])
    return np.moveaxis(x, call.axis or 0, -1).reshape(-1, call.classes)


def _names(ids: Any, decode: Decode) -> list[Any]:
    return [int(i) if decode is None else decode(int(i)) for i in ids]


def _softmax_columns(call: Call, worst: np.ndarray, decode: Decode) -> Column:
    """Label, its probability and ``-log p``; the scores of a hinge; the rows themselves if classes are few."""
    x = rows_of(call)[worst].astype(np.float64)
    log_p = x if call.input == "log_probs" else _log_softmax(x)
    rows: Column = {call.input: x.tolist(), "softmax": np.exp(log_p).tolist()} if call.classes <= FEW else {}
    if call["labels"] is None:
        return rows
    y, at = np.asarray(call["labels"]), np.arange(len(worst))
    soft = np.issubdtype(y.dtype, np.floating) or y.ndim == np.ndim(call[call.input])
    q = np.moveaxis(y, call.axis or 0, -1).reshape(-1, call.classes)[worst].astype(np.float64) if soft else None
    ids = y.reshape(-1)[worst] if q is None else q.argmax(-1)
    columns: Column = {"label": _names(ids, decode)} | ({} if q is None else {"q[label]": q[at, ids].tolist()}) | rows
    if "margin" in call.parameters:
        columns.pop("softmax", None)
        others = np.where(np.arange(call.classes) == ids[:, None], -np.inf, x)
        return columns | {"x[label]": x[at, ids].tolist(), "best other": others.max(-1).tolist()}
    nll = -log_p[at, ids] if q is None else -np.sum(np.where(q == 0, 0, q * log_p), -1)
    return columns | {"p[label]": np.exp(log_p[at, ids]).tolist(), "-log p": nll.tolist()}


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - np.max(x, -1, keepdims=True)
    log_p: np.ndarray = shifted - np.log(np.sum(np.exp(shifted), -1, keepdims=True))
    return log_p


PLAIN = ("class_weights", "sample_weights", "label_smoothing", "z_loss")


def _linear_columns(call: Call, worst: np.ndarray, decode: Decode) -> Column:
    """Label, prediction and ``-log p`` of tokens, from the loss without its weights: no logits are materialized."""
    nll, aux = call.run(PLAIN, reduction="none", has_aux=True)
    nll, predicted = (np.asarray(a).reshape(-1)[worst] for a in (nll, aux.argmax))
    labels = _names(np.asarray(call["labels"]).reshape(-1)[worst], decode)
    columns: Column = {"label": labels, "predicted": _names(predicted, decode)}
    return columns | {"p[label]": np.exp(-nll.astype(np.float64)).tolist(), "-log p": nll.tolist()}


def _sigmoid_columns(call: Call, worst: np.ndarray, shape: tuple[int, ...]) -> Column:
    """Logit, probability, label and both terms of the cross-entropy; rows if an example has several labels."""
    x, y = (np.asarray(call[name]).astype(np.float64) for name in (call.input, "labels"))
    if shape != x.shape:
        x, y = (np.moveaxis(a, call.axis or 0, -1).reshape(-1, call.classes)[worst] for a in (x, y))
        return {"p": _sigmoid(x).tolist(), "y": y.tolist()} if call.classes <= FEW else {}
    x, y = x.reshape(-1)[worst], y.reshape(-1)[worst]
    p = x if call.input == "probs" else _sigmoid(x)
    q = np.where(np.min(np.asarray(call["labels"]), initial=0) < 0, (y + 1) / 2, y)  # signs as labels of 0 and 1
    with np.errstate(divide="ignore"):
        log_p, log_not = (np.log(p), np.log1p(-p)) if call.input == "probs" else (-_softplus(-x), -_softplus(x))
    terms = {"-y log p": -np.where(q == 0, 0, q * log_p), "-(1-y) log(1-p)": -np.where(q == 1, 0, (1 - q) * log_not)}
    columns = ({} if call.input == "probs" else {"logit": x}) | {"p": p, "y": y} | terms
    return {name: column.tolist() for name, column in columns.items()}


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0.0, x))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-_softplus(-x)))


def has_errors(call: Call, mask: np.ndarray) -> np.ndarray | None:
    """Whether the prediction of each example or pixel is not its labels, False where masked; None without logits."""
    if call.kind == "linear" or call["labels"] is None:
        return None
    x, y, axis = np.asarray(call[call.input]), np.asarray(call["labels"]), call.axis or 0
    if not call.is_binary:
        wrong = x.argmax(axis) != (y.argmax(axis) if y.ndim == x.ndim else y)
    else:
        wrong = positive(call) != (y > 0.5)
    return np.asarray(mask & (wrong if wrong.shape == mask.shape else wrong.any(axis)))


def positive(call: Call) -> np.ndarray:
    """Whether each probability is above 1/2."""
    is_probability = call.input == "probs" or call["activation"] == "none"
    above: np.ndarray = np.asarray(call[call.input]) > (0.5 if is_probability else 0)
    return above


def class_table(call: Call, losses: np.ndarray, weights: np.ndarray, mask: np.ndarray, decode: Decode) -> Column:
    """The classes with the largest shares of the loss; empty for losses without a class for each example."""
    if call["labels"] is None:
        return {}
    if call.kind == "region":
        columns = _region_classes(call, losses, mask)
    elif call.kind == "sigmoid":
        columns = _sigmoid_classes(call, losses, mask) if losses.shape == np.shape(call["labels"]) else {}
    else:
        columns = _softmax_classes(call, losses, weights, mask)
    if not columns:
        return {}
    size = sum((np.asarray(columns[name]) for name in columns if name.startswith("share")), np.zeros(call.classes))
    order = np.sort(np.argsort(-size, kind="stable")[:MOST_CLASSES])
    return {"class": _names(order, decode)} | {name: [column[c] for c in order] for name, column in columns.items()}


def _softmax_classes(call: Call, losses: np.ndarray, weights: np.ndarray, mask: np.ndarray) -> Column:
    """Examples, weight, mean loss and share of each class, by the likeliest label."""
    y = np.asarray(call["labels"])
    ids = (y if y.shape == losses.shape else y.argmax(call.axis)).reshape(-1)[mask.reshape(-1)]
    values, w = losses[mask], weights[mask]
    sums, totals = (np.bincount(ids, a, call.classes) for a in (values, w))
    means = np.divide(sums, totals, out=np.zeros_like(sums), where=totals != 0)
    counts: Column = {"examples": np.bincount(ids, minlength=call.classes).tolist(), "weight": totals.tolist()}
    return counts | {"mean loss": means.tolist(), "share": _shares(sums, losses.sum())}


def _sigmoid_classes(call: Call, losses: np.ndarray, mask: np.ndarray) -> Column:
    """The number of positive and negative labels of each class, and the share of the loss of either."""
    y = np.where(mask, np.asarray(call["labels"]), 0) > 0.5
    masks = {"positive": y & mask, "negative": ~y & mask}
    others = tuple(d for d in range(losses.ndim) if d != call.axis)
    counts = {f"{name}s": np.atleast_1d(m.sum(others)).tolist() for name, m in masks.items()}
    parts = {name: np.where(m, losses, 0).sum(others) for name, m in masks.items()}
    return counts | {f"share of {name}s": _shares(np.atleast_1d(a), losses.sum()) for name, a in parts.items()}


def _region_classes(call: Call, losses: np.ndarray, mask: np.ndarray) -> Column:
    """True and false positives and false negatives of thresholded predictions, overlap, and the share of the loss."""
    predicted, labelled = _region_masks(call, mask)
    pixels = tuple(range(predicted.ndim - 1))
    tp, fp, fn = (a.sum(pixels) for a in (predicted & labelled, predicted & ~labelled, labelled & ~predicted))
    dice, iou = (
        np.divide(f * tp, d, out=np.ones(len(tp)), where=d > 0) for f, d in ((2, 2 * tp + fp + fn), (1, tp + fp + fn))
    )
    columns = {"pixels": labelled.sum(pixels), "TP": tp, "FP": fp, "FN": fn, "Dice": dice, "IoU": iou}
    parts = _region_parts(call, losses)
    shares = {} if parts is None else {"share": _shares(parts, losses.sum())}
    return {name: column.tolist() for name, column in columns.items()} | shares


def _region_masks(call: Call, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether a pixel is predicted and labelled as each class, which is the last axis; False where masked."""
    x, y, axis = np.asarray(call["logits"]), np.asarray(call["labels"]), call.axis
    if axis is None:
        return (positive(call) & mask)[..., None], ((y > 0.5) & mask)[..., None]
    if call.is_binary:
        both = positive(call), y > 0.5
    else:
        ids = (x.argmax(axis), y.argmax(axis) if y.ndim == x.ndim else y)
        both = tuple(np.expand_dims(a, axis) == _class_ids(call) for a in ids)
    predicted, labelled = (np.moveaxis(a, axis, -1) & mask[..., None] for a in both)
    return predicted, labelled


def _class_ids(call: Call) -> np.ndarray:
    shape = [1] * np.ndim(call["logits"])
    shape[call.axis or 0] = call.classes
    return np.arange(call.classes).reshape(shape)


def _region_parts(call: Call, losses: np.ndarray) -> np.ndarray | None:
    """The part of each class in the sum of the losses, ``w_c L_c / sum_c w_c`` of each region, from a call for each."""
    if call.axis is None:
        return np.array([losses.sum()])
    if call.classes > MOST_REGION_CLASSES:
        return None
    w = np.ones(call.classes) if call["class_weights"] is None else np.asarray(call["class_weights"], np.float64)
    alone = [call.terms(class_weights=np.eye(call.classes, dtype=np.float32)[c]) for c in range(call.classes)]
    values, counted = (np.stack([np.asarray(pair[i], np.float64) for pair in alone], -1) * w for i in (0, 1))
    total = counted.sum(-1, keepdims=True)
    parts = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    return np.asarray(parts.reshape(-1, call.classes).sum(0))


def position_table(call: Call, losses: np.ndarray, weights: np.ndarray) -> Column:
    """The loss by position along the last axis of the tokens, in at most ``MOST_POSITIONS`` groups."""
    if call.kind != "linear" or losses.ndim < 1 or losses.shape[-1] < 2:
        return {}
    values, w = (a.reshape(-1, losses.shape[-1]).sum(0) for a in (losses, weights))
    groups = np.array_split(np.arange(len(values)), min(MOST_POSITIONS, len(values)))
    sums, totals = (np.array([a[g].sum() for g in groups]) for a in (values, w))
    means = np.divide(sums, totals, out=np.zeros_like(sums), where=totals != 0)
    places = [f"{g[0]}-{g[-1]}" if len(g) > 1 else f"{g[0]}" for g in groups]
    return {
        "position": places,
        "weight": totals.tolist(),
        "mean loss": means.tolist(),
        "share": _shares(sums, losses.sum()),
    }
