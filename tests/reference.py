"""The losses in float64 NumPy, written from the papers: nothing here is shared with the library.

Each returns one value and one weight per example; `reduced` turns them into what a reduction gives.
"""

import numpy as np


def _soft_labels(labels, classes, axis):
    """Class ids as one-hot rows; an id outside the range has no class, so its row is 0."""
    if np.issubdtype(np.asarray(labels).dtype, np.integer):
        return np.moveaxis((np.asarray(labels)[..., None] == np.arange(classes)).astype(float), -1, axis)
    return np.asarray(labels, float)


def _per_class(weights, ndim, axis, classes):
    weights = np.ones(classes) if weights is None else np.broadcast_to(np.asarray(weights, float), classes)
    return weights.reshape([classes if d == axis % ndim else 1 for d in range(ndim)])


def _xlogy(p, log_p):
    with np.errstate(invalid="ignore"):
        return np.where(p == 0, 0.0, p * log_p)


def _exclusive(log_p, log_z, labels, axis, class_weights, eps, z_loss, hard):
    classes, ndim = log_p.shape[axis], log_p.ndim
    w = _per_class(class_weights, ndim, axis, classes)
    p = _soft_labels(labels, classes, axis)
    weight = (w * p).sum(axis) if class_weights is not None else np.ones(p.sum(axis).shape)
    if hard:  # the definition for ids: the smoothed part is weighted class by class
        values = -(1 - eps) * (w * _xlogy(p, log_p)).sum(axis) - eps / classes * _xlogy(w + 0 * p, log_p).sum(axis)
    else:
        values = -(_xlogy(w * ((1 - eps) * p + eps / classes), log_p)).sum(axis)
    return values + weight * z_loss * log_z**2, weight


def _masked(values, weights, sample_weights, where):
    scale = np.ones(values.shape) if sample_weights is None else np.asarray(sample_weights, float)
    keep = np.broadcast_to(True if where is None else np.asarray(where), values.shape)
    values, weights = values * scale, np.broadcast_to(weights, values.shape) * scale
    return np.where(keep, values, 0.0), np.where(keep, weights, 0.0)


def _keep(labels, where, ignore_index):
    if ignore_index is None:
        return where
    present = np.asarray(labels).astype(object) != ignore_index
    return present.astype(bool) if where is None else present.astype(bool) & np.asarray(where)


def cross_entropy(
    logits,
    labels,
    *,
    axis=-1,
    class_weights=None,
    sample_weights=None,
    where=None,
    ignore_index=None,
    label_smoothing=0.0,
    z_loss=0.0,
):
    """Bishop, PRML, eq. 4.104 and 4.108."""
    x = np.asarray(logits, float)
    top = x.max(axis, keepdims=True)
    log_z = top + np.log(np.exp(x - top).sum(axis, keepdims=True))
    hard = np.issubdtype(np.asarray(labels).dtype, np.integer)
    args = (x - log_z, log_z.squeeze(axis), labels, axis, class_weights, label_smoothing, z_loss, hard)
    return _masked(*_exclusive(*args), sample_weights, _keep(labels, where, ignore_index))


def linear_logits(product, bias=None, logit_scale=None, logit_softcap=None):
    """Gemma 2, section 2, of scaled logits; a class that a bias of -inf closes stays closed."""
    x = np.asarray(product, float) + (0 if bias is None else bias)
    x = x if logit_scale is None else logit_scale * x
    capped = x if logit_softcap is None else logit_softcap * np.tanh(x / logit_softcap)
    return np.where(np.isneginf(x), x, capped)


def linear_cross_entropy(product, labels, *, bias=None, logit_scale=None, logit_softcap=None, **options):
    """The cross-entropy of the logits that a linear layer makes of ``hidden @ kernel``."""
    return cross_entropy(linear_logits(product, bias, logit_scale, logit_softcap), labels, **options)


def nll_loss(log_probs, labels, *, axis=-1, class_weights=None, sample_weights=None, where=None, ignore_index=None):
    """Bishop, PRML, eq. 4.108."""
    x = np.asarray(log_probs, float)
    hard = np.issubdtype(np.asarray(labels).dtype, np.integer)
    values, weights = _exclusive(x, 0.0, labels, axis, class_weights, 0.0, 0.0, hard)
    return _masked(values, weights, sample_weights, _keep(labels, where, ignore_index))


def sigmoid_binary_cross_entropy(
    logits,
    labels,
    *,
    axis=-1,
    pos_weight=None,
    class_weights=None,
    sample_weights=None,
    where=None,
    label_smoothing=0.0,
):
    """Bishop, PRML, eq. 4.87 and 4.90; softplus by its two ends."""
    x, y = np.asarray(logits, float), np.asarray(labels, float)
    y = y * (1 - label_smoothing) + label_smoothing / 2
    positive, every = (_per_class(w, x.ndim, axis, x.shape[axis]) for w in (pos_weight, class_weights))
    tail = np.log1p(np.exp(-np.abs(x)))
    values = (1 - y) * (np.maximum(x, 0) + tail) + positive * y * (np.maximum(-x, 0) + tail)
    return _masked(every * values, np.ones(x.shape), sample_weights, where)


def binary_cross_entropy(probs, labels, *, axis=-1, class_weights=None, sample_weights=None, where=None):
    """Bishop, PRML, eq. 4.90, with the logarithms clamped at -100."""
    p, y = np.asarray(probs, float), np.asarray(labels, float)
    with np.errstate(divide="ignore"):
        values = -(y * np.maximum(np.log(p), -100) + (1 - y) * np.maximum(np.log1p(-p), -100))
    every = _per_class(class_weights, p.ndim, axis, p.shape[axis])
    return _masked(every * values, np.ones(p.shape), sample_weights, where)


def reduced(values, weights, reduction):
    """What the named reductions make of per-example values and weights."""
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "total":
        return values.sum(), weights.sum()
    return values.sum() / weights.sum() if weights.sum() else 0.0


def slopes(function, arrays, step=1e-6):
    """The gradient of a scalar function of float64 arrays by central differences, one entry at a time."""
    result = []
    for k, array in enumerate(arrays):
        slope = np.zeros(np.shape(array))
        for index in np.ndindex(np.shape(array)):
            ends = []
            for sign in (1, -1):
                moved = [np.array(a, float) for a in arrays]
                moved[k][index] += sign * step
                ends.append(function(*moved))
            slope[index] = (ends[0] - ends[1]) / (2 * step)
        result.append(slope)
    return result
