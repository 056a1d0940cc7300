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


def binary_cross_entropy(
    probs, labels, *, axis=-1, class_weights=None, sample_weights=None, where=None, label_smoothing=0.0
):
    """Bishop, PRML, eq. 4.90, with the logarithms clamped at -100."""
    p, y = np.asarray(probs, float), np.asarray(labels, float) * (1 - label_smoothing) + label_smoothing / 2
    with np.errstate(divide="ignore"):
        values = -(y * np.maximum(np.log(p), -100) + (1 - y) * np.maximum(np.log1p(-p), -100))
    every = _per_class(class_weights, p.ndim, axis, p.shape[axis])
    return _masked(every * values, np.ones(p.shape), sample_weights, where)


def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _of_classes(terms_of, x, labels, axis, class_weights, sample_weights, where, ignore_index, label_smoothing):
    """``sum_c w_c terms_c(p, q)`` with p the softmax and q the smoothed labels, beside ``sum_c w_c labels_c``."""
    x = np.asarray(x, float)
    classes = x.shape[axis]
    w, y = _per_class(class_weights, x.ndim, axis, classes), _soft_labels(labels, classes, axis)
    q = (1 - label_smoothing) * y + label_smoothing / classes
    weight = (w * y).sum(axis) if class_weights is not None else np.ones(y.sum(axis).shape)
    values = (w * terms_of(_softmax(x, axis), q)).sum(axis)
    return _masked(values, weight, sample_weights, _keep(labels, where, ignore_index))


def _options(axis=-1, class_weights=None, sample_weights=None, where=None, ignore_index=None, label_smoothing=0.0):
    return axis, class_weights, sample_weights, where, ignore_index, label_smoothing


def focal_loss(logits, labels, *, gamma=2.0, **options):
    """Lin et al., ICCV 2017, eq. 4, for each class."""
    return _of_classes(lambda p, q: q * (1 - p) ** gamma * -np.log(p), logits, labels, *_options(**options))


def poly1_loss(logits, labels, *, epsilon=1.0, **options):
    """Leng et al., ICLR 2022, eq. 6, for each class."""
    return _of_classes(lambda p, q: q * (-np.log(p) + epsilon * (1 - p)), logits, labels, *_options(**options))


def generalized_cross_entropy(logits, labels, *, q=0.7, **options):
    """Zhang and Sabuncu, NeurIPS 2018, eq. 6, for each class."""
    return _of_classes(lambda p, y: y * (1 - p**q) / q, logits, labels, *_options(**options))


def kl_divergence(logits, labels, **options):
    """Kullback and Leibler, 1951, eq. 2.4."""
    with np.errstate(divide="ignore"):
        return _of_classes(lambda p, q: _xlogy(q, np.log(q)) - q * np.log(p), logits, labels, *_options(**options))


def js_divergence(logits, labels, *, beta=0.5, **options):
    """Lin, 1991, eq. 4.1, with the weight beta of the labels: ``H(m) - (1 - beta) H(p) - beta H(q)`` class by class."""

    def terms(p, q):
        h = [-_xlogy(r, np.log(np.where(r == 0, 1, r))) for r in (beta * q + (1 - beta) * p, p, q)]
        return h[0] - (1 - beta) * h[1] - beta * h[2]

    return _of_classes(terms, logits, labels, *_options(**options))


def brier_loss(logits, labels, *, class_weights=None, **options):
    """Brier, 1950, eq. 2, weighted by the weight of the label."""
    axis, _, sample_weights, where, ignore_index, _ = _options(**options)
    x = np.asarray(logits, float)
    values, _ = _of_classes(lambda p, q: (p - q) ** 2, x, labels, *_options(**{**options, **_UNWEIGHTED}))
    w = _per_class(class_weights, x.ndim, axis, x.shape[axis])
    weight = (w * _soft_labels(labels, x.shape[axis], axis)).sum(axis) if class_weights is not None else 1.0
    return _masked(weight * values, weight + 0 * values, sample_weights, _keep(labels, where, ignore_index))


_UNWEIGHTED = {"sample_weights": None, "where": None, "ignore_index": None}


def entropy(logits, labels, *, axis=-1, sample_weights=None, where=None):
    """Shannon, 1948, section 6; it has no labels."""
    p = _softmax(np.asarray(logits, float), axis)
    values = -_xlogy(p, np.log(p)).sum(axis)
    return _masked(values, np.ones(values.shape), sample_weights, where)


def _of_elements(positive, negative, x, y, axis=-1, class_weights=None, sample_weights=None, where=None, eps=0.0):
    x, y = np.asarray(x, float), np.asarray(y, float) * (1 - eps) + eps / 2
    values = _per_class(class_weights, x.ndim, axis, x.shape[axis]) * (y * positive + (1 - y) * negative)
    return _masked(values, np.ones(x.shape), sample_weights, where)


def sigmoid_focal_loss(
    logits, labels, *, alpha=0.25, gamma=2.0, pos_weight=None, label_smoothing=0.0, axis=-1, **options
):
    """Lin et al., ICCV 2017, eq. 5; labels in between as torchvision mixes them, the positive term weighted."""
    p = 1 / (1 + np.exp(-np.asarray(logits, float)))
    w = _per_class(pos_weight, p.ndim, axis, p.shape[axis])
    y = np.asarray(labels, float) * (1 - label_smoothing) + label_smoothing / 2
    right = p * y + (1 - p) * (1 - y)
    scale = (1 - right) ** gamma * (1 if alpha is None else alpha * y + (1 - alpha) * (1 - y))
    return _of_elements(-w * scale * np.log(p), -scale * np.log(1 - p), logits, y, axis=axis, **options)


def asymmetric_loss(logits, labels, *, gamma_pos=1.0, gamma_neg=4.0, clip=0.05, label_smoothing=0.0, **options):
    """Ben-Baruch et al., ICCV 2021, eq. 4 to 7."""
    p = 1 / (1 + np.exp(-np.asarray(logits, float)))
    shifted = np.maximum(p - clip, 0)
    positive, negative = -((1 - p) ** gamma_pos) * np.log(p), -(shifted**gamma_neg) * np.log(1 - shifted)
    return _of_elements(positive, negative, logits, labels, eps=label_smoothing, **options)


def quality_focal_loss(logits, labels, *, variant, alpha=None, gamma=2.0, **options):
    """Li et al., NeurIPS 2020, eq. 5; Zhang et al., CVPR 2021, eq. 2; the background weighted by alpha."""
    p, y = 1 / (1 + np.exp(-np.asarray(logits, float))), np.asarray(labels, float)
    scale = np.abs(y - p) ** gamma if variant == "quality" else np.where(y > 0, y, p**gamma)
    scale = scale * np.where(y == 0, 1 if alpha is None else alpha, 1)
    return _of_elements(-scale * np.log(p), -scale * np.log(1 - p), logits, y, **options)


def hinge_loss(logits, labels, *, p=1, **options):
    """Cortes and Vapnik, 1995, eq. 21, where the label is the sign 2 y - 1."""
    loss = np.maximum(0, 1 - (2 * np.asarray(labels, float) - 1) * np.asarray(logits, float)) ** p
    return _of_elements(loss, loss, logits, 0 * np.asarray(labels, float), **options)


def soft_margin_loss(logits, labels, **options):
    """Hastie et al., table 12.1, where the label is a sign."""
    loss = np.log1p(np.exp(-np.asarray(labels, float) * np.asarray(logits, float)))
    return _of_elements(loss, loss, logits, 0 * np.asarray(labels, float), **options)


def multilabel_soft_margin_loss(logits, labels, *, axis=-1, class_weights=None, sample_weights=None, where=None):
    """PyTorch's formula, one logarithm at a time."""
    x, y = np.asarray(logits, float), np.asarray(labels, float)
    terms = -y * np.log(1 / (1 + np.exp(-x))) - (1 - y) * np.log(np.exp(-x) / (1 + np.exp(-x)))
    values = (_per_class(class_weights, x.ndim, axis, x.shape[axis]) * terms).mean(axis)
    return _masked(values, np.ones(values.shape), sample_weights, where)


def multilabel_margin_loss(logits, labels, *, axis=-1, sample_weights=None, where=None):
    """PyTorch's formula, pair by pair."""
    x, y = (np.moveaxis(np.asarray(a, float), axis, -1) for a in (logits, labels))
    pairs = y[..., :, None] * (1 - y[..., None, :]) * np.maximum(0, 1 - x[..., :, None] + x[..., None, :])
    values = pairs.sum((-2, -1)) / x.shape[-1]
    return _masked(values, np.ones(values.shape), sample_weights, where)


def multiclass_hinge_loss(
    logits,
    labels,
    *,
    margin=1.0,
    p=1,
    variant="weston-watkins",
    axis=-1,
    class_weights=None,
    sample_weights=None,
    where=None,
    ignore_index=None,
):
    """Weston and Watkins, 1999; Crammer and Singer, 2001."""
    x = np.moveaxis(np.asarray(logits, float), axis, -1)
    mine = _soft_labels(labels, x.shape[-1], -1) > 0
    missed = np.maximum(0, margin + x - np.where(mine, x, 0).sum(-1, keepdims=True)) ** p * ~mine
    values = missed.sum(-1) / x.shape[-1] if variant == "weston-watkins" else missed.max(-1)
    weight = (np.ones(x.shape[-1]) if class_weights is None else class_weights) * mine
    weight = weight.sum(-1) if class_weights is not None else np.ones(values.shape)
    return _masked(weight * values, weight, sample_weights, _keep(labels, where, ignore_index))


def _regions(loss, x, labels, *, activation, absent, axis, average="macro", include_background=True, power=1, **masks):
    """``loss`` of a list of classes ``(w, p, y, n)`` in each example: of each class alone, or of all with weights."""
    x = np.asarray(x, float)
    classes, axis = x.shape[axis], axis % x.ndim
    hard = np.issubdtype(np.asarray(labels).dtype, np.integer) and np.ndim(labels) < x.ndim
    y = _soft_labels(labels, classes, axis) if hard else np.asarray(labels, float)
    p = {"softmax": lambda: _softmax(x, axis), "sigmoid": lambda: 1 / (1 + np.exp(-x)), "none": lambda: x}[activation]()
    per_class = masks.pop("class_weights", None)
    p, y, n = (np.moveaxis(a, axis, -1) for a in (p, y, _pixel_weights(labels, p.shape, axis, **masks)))
    w = np.ones(classes) if per_class is None else np.array(np.broadcast_to(per_class, classes), float)
    w[0] *= include_background
    values, weights = np.zeros((2, len(n), classes)) if average == "none" else np.zeros((2, len(n)))
    for i in range(len(n)):
        rows = [(w[c], *(a[i, ..., c][n[i, ..., c] != 0] for a in (p, y, n))) for c in range(classes)]
        rows = {c: r for c, r in enumerate(rows) if r[0] and r[1].size and (absent == "count" or r[2].any())}
        if average in ("micro", "volume"):
            rows = list(rows.values()) if average == "micro" else _by_volume(list(rows.values()), power)
            values[i], weights[i] = (loss(rows), 1) if rows else (0, 0)
            continue
        losses = {c: loss([(1.0, *r[1:])]) for c, r in rows.items()}
        if average == "macro" and rows:
            values[i], weights[i] = sum(w[c] * losses[c] for c in rows) / sum(w[c] for c in rows), 1
        for c in rows if average == "none" else ():
            values[i, c], weights[i, c] = w[c] * losses[c], w[c]
    return values, weights


def _by_volume(rows, power):
    """Sudre et al., DLMIA 2017: weights 1 / volume**2, the largest for absent classes; the sum of volumes is kept."""
    volumes = np.array([(n * y**power).sum() for _, _, y, n in rows])
    if not volumes.any():
        return rows
    inverse = 1 / np.where(volumes > 0, volumes, volumes[volumes > 0].min()) ** 2
    inverse *= volumes.sum() / (inverse * volumes).sum()
    return [(w * factor, *rest) for factor, (w, *rest) in zip(inverse, rows, strict=True)]


def _pixel_weights(labels, shape, axis, sample_weights=None, where=None, ignore_index=None):
    """The weights of pixels and classes, 0 where masked; masks and weights without a class axis get one."""
    n = np.ones(shape)
    for a in (sample_weights, _keep(labels, where, ignore_index)):
        if a is not None:
            n = n * (np.expand_dims(a, axis) if np.ndim(a) == len(shape) - 1 else a)
    return n


def _overlap(
    parts,
    *arguments,
    smooth=1.0,
    smooth_divisor=None,
    log_loss=False,
    soft_counts="product",
    activation="softmax",
    absent="count",
    axis=-1,
    exponent=1.0,
    **options,
):
    """One minus a quotient, of the overlap of predictions and labels and of their sizes."""
    power = 2 if soft_counts == "squared" else 1

    def loss(rows):
        both = sum(w * (n * (np.minimum(p, y) if soft_counts == "minimum" else p * y)).sum() for w, p, y, n in rows)
        predicted, labelled = (sum(r[0] * (r[3] * r[k] ** power).sum() for r in rows) for k in (1, 2))
        numerator, denominator = parts(both, predicted, labelled)
        quotient = (numerator + smooth) / (denominator + (smooth if smooth_divisor is None else smooth_divisor))
        return (-np.log(quotient) if log_loss else 1 - quotient) ** exponent

    return _regions(loss, *arguments, activation=activation, absent=absent, axis=axis, power=power, **options)


def tversky_loss(logits, labels, *, alpha=0.5, beta=0.5, gamma=1.0, **options):
    """Salehi et al., MLMI 2017, eq. 3; Abraham and Khan, ISBI 2019, eq. 5."""

    def parts(both, predicted, labelled):
        return both, both + alpha * (predicted - both) + beta * (labelled - both)

    return _overlap(parts, logits, labels, exponent=gamma, **options)


def dice_loss(logits, labels, **options):
    """Milletari et al., 3DV 2016, with plain sums, or squares in the divisor: by sizes and overlap."""
    return _overlap(lambda both, predicted, labelled: (2 * both, predicted + labelled), logits, labels, **options)


def jaccard_loss(logits, labels, **options):
    """Rahman and Wang, ISVC 2016: intersection over union."""
    return _overlap(lambda both, predicted, labelled: (both, predicted + labelled - both), logits, labels, **options)


def _extended(errors, y, n):
    """Berman et al., CVPR 2018, eq. 8: the errors sorted, times what each adds to the Jaccard loss of those so far."""
    order = np.argsort(-errors, kind="stable")
    total, before = 0.0, 0.0
    for k in range(len(order)):
        wrong = order[: k + 1]
        union = (n * y).sum() + (n * (1 - y))[wrong].sum()
        now = 1 - ((n * y).sum() - (n * y)[wrong].sum()) / union
        total, before = total + errors[order[k]] * (now - before), now
    return total


def lovasz_softmax(logits, labels, *, activation="softmax", absent="skip", axis=-1, **options):
    """Berman et al., CVPR 2018, eq. 11."""

    def loss(rows):
        ((_, p, y, n),) = rows
        return _extended(np.abs(y - p), y, n)

    return _regions(loss, logits, labels, activation=activation, absent=absent, axis=axis, **options)


def lovasz_hinge(logits, labels, *, absent="count", axis=-1, **options):
    """Yu and Blaschko, TPAMI 2020."""

    def loss(rows):
        ((_, x, y, n),) = rows
        return _extended(np.maximum(0, 1 - x * (2 * y - 1)), y, n)

    return _regions(loss, logits, labels, activation="none", absent=absent, axis=axis, **options)


def reduced(values, weights, reduction):
    """What the named reductions make of per-example values and weights."""
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "total":
        return values.sum(), weights.sum()
    return values.sum() / weights.sum() if weights.sum() else 0.0
