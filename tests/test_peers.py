"""The losses beside those of other libraries: values and gradients, the peers in float64 on the same float32 numbers.

What a peer computes with one call is asked of it where it is installed. The others (Keras, torchvision, timm, MONAI,
segmentation_models, kornia, the authors of a paper) are their formulas, written anew in PyTorch for its gradients. Few
peers have masks: what ours leaves out is NaN to it, and is not given to the peer at all.
"""

import importlib.util
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

import jaxce

VALUE = {"rtol": 2e-6, "atol": 1e-6}
SLOPE = {"rtol": 2e-5, "atol": 1e-6}
SEEDS = range(3)
ALONG = ("x", "probs", "answers", "holes", "gaps")
MASK = {"x": None, "holes": "kept", "gaps": "kept_elements"}
"""Logits, those with NaN in some examples, and those with NaN in some elements, beside what is kept of them."""

needs_sklearn = pytest.mark.skipif(not importlib.util.find_spec("sklearn"), reason="scikit-learn is not installed")
needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")


def torch(name=""):
    """Imported by the tests that need it."""
    return importlib.import_module(f"torch{name}")


def F():
    return torch(".nn.functional")


def draw(shape, seed):
    """Logits, their classes along axis 1, and labels of every kind; the last class is absent from the first example."""
    rng, (n, classes, *pixels) = np.random.default_rng(seed), shape
    x, ids, kept = 2.5 * rng.normal(size=shape), rng.integers(0, classes, (n, *pixels)), rng.random((n, *pixels)) < 0.7
    ids[0], kept[0], kept[1:2, ..., :1] = ids[0] % (classes - 1), True, False
    probs = np.moveaxis(rng.dirichlet(np.ones(classes), ids.shape), -1, 1)
    sparse = np.where(probs < probs.max(1, keepdims=True) / 3, 0, probs)
    hard, kept_elements = rng.integers(0, 2, shape).astype(float), rng.random(shape) < 0.6
    hard[0, -1] = 0
    arrays = {"x": x, "holes": np.where(kept[:, None], x, np.nan), "gaps": np.where(kept_elements, x, np.nan)}
    arrays |= {"ids": ids, "ignored": np.where(kept, ids, 255), "one_hot": np.moveaxis(np.eye(classes)[ids], -1, 1)}
    arrays |= {"probs": probs, "sparse": sparse / sparse.sum(1, keepdims=True)}
    arrays |= {"answers": rng.uniform(0.05, 0.95, shape), "hard": hard, "signs": 2 * hard - 1}
    arrays |= {"weights": rng.uniform(0.5, 2, classes), "sample": rng.uniform(0.5, 2, n)}
    arrays |= {"kept": kept, "kept_elements": kept_elements}
    dtypes = {"f": np.float32, "i": np.int32, "b": np.bool_}
    return {name: a.astype(dtypes[a.dtype.kind]) for name, a in arrays.items()}


rows, images = partial(draw, (6, 5)), partial(draw, (3, 4, 3, 5))


def cotangent(shape):
    return np.random.default_rng(9).normal(size=shape).astype(np.float32)


def in_jax(losses, along):
    """Values and gradients of all of them, from one compiled program."""

    def outputs(loss, a):
        value, pull = jax.vjp(lambda moving: loss(SimpleNamespace(**(a | moving))), {n: a[n] for n in along})
        return value, pull(jnp.asarray(cotangent(value.shape), value.dtype))[0]

    return jax.jit(lambda a: [outputs(loss, a) for loss in losses])


def in_optax(losses, along):
    """Under x64, so that its rounding is no part of the comparison."""
    compiled = in_jax(losses, along)

    def outputs(arrays):
        with jax.enable_x64(True):
            return compiled({n: a.astype(float) if a.dtype.kind == "f" else a for n, a in arrays.items()})

    return outputs


def in_torch(losses, along):
    t = torch()
    t.set_num_threads(1)  # the arrays are tiny: threads would wait for each other
    dtypes = {"f": t.float64, "i": t.int64, "b": t.bool}

    def outputs(loss, arrays):
        a = {n: t.tensor(v, dtype=dtypes[v.dtype.kind], requires_grad=n in along) for n, v in arrays.items()}
        value, moving = loss(SimpleNamespace(**a)), {n: a[n] for n in along}
        direction = t.tensor(cotangent(value.shape), dtype=value.dtype)
        slopes = t.autograd.grad(value, [*moving.values()], direction, allow_unused=True, materialize_grads=True)
        return value.detach(), dict(zip(moving, slopes, strict=True))

    return lambda arrays: [outputs(loss, arrays) for loss in losses]


def ours(loss, labels, x, **options):
    return lambda a: loss(getattr(a, x), getattr(a, labels), **named(a, options))


def named(a, options):
    """Strings that are names of arrays stand for them."""
    return {n: getattr(a, v) if isinstance(v, str) and hasattr(a, v) else v for n, v in options.items()}


def of(labels, x="x", **options):
    """A pair for every example, or the mean of those that are kept; theirs has the same options."""
    mask = MASK[x]
    masked = {"where": mask, "reduction": "mean"} if mask else {"reduction": "none"}

    def peer(theirs, a):
        z, y = getattr(a, x), getattr(a, "one_hot" if labels == "ids" else labels)
        return theirs(z[getattr(a, mask)], y[getattr(a, mask)]).mean() if mask else theirs(z, y, **named(a, options))

    return lambda loss, theirs: (ours(loss, labels, x, **(masked | options)), partial(peer, theirs))


def over(labels, x="x", **options):
    """A pair for every image, or for the batch; theirs is of one region, ``[classes, pixels]``, of kept pixels alone."""
    masked = {"ignore_index": 255} if labels == "ignored" else {"where": MASK[x]}

    def peer(theirs, a):
        z, y = getattr(a, x), getattr(a, "one_hot" if labels in ("ids", "ignored") else labels)
        kept = getattr(a, MASK[x]) if MASK[x] else a.kept | True
        if options.get("batch_axis", 0) is None:
            return theirs(z.movedim(1, 0)[:, kept], y.movedim(1, 0)[:, kept], **options)
        return torch().stack([theirs(z_i[:, k], y_i[:, k], **options) for z_i, y_i, k in zip(z, y, kept, strict=True)])

    shared = {"axis": 1, "reduction": "none"} | masked | options
    return lambda loss, theirs: (ours(loss, labels, x, **shared), partial(peer, theirs))


ROWS = []


def beside(loss, *kinds, where=in_torch, draw=rows, along=ALONG):
    """What is decorated is the peer of a loss, and is asked each kind of question."""

    def note(theirs):
        pairs = [kind(loss, theirs) for kind in kinds]
        marks, name = needs_torch if where is in_torch else (), f"{loss.__name__}-{theirs.__name__}"
        ROWS.append(pytest.param(where, draw, along, pairs, id=name, marks=marks))
        return theirs

    return note


in_optax_beside = partial(beside, where=in_optax)


@beside(jaxce.focal_loss, of("ids"), of("ids", gamma=0.5), of("probs", gamma=3.0), of("ids", "holes"))
@beside(jaxce.focal_loss, of("probs", class_weights="weights"), along=(*ALONG, "weights"))
def keras_and_kornia(x, q, gamma=2.0, class_weights=1.0):
    """A factor for each class, and their alpha."""
    p = x.softmax(-1)
    return -(class_weights * q * (1 - p) ** gamma * p.log()).sum(-1)


@beside(jaxce.poly1_loss, of("ids", epsilon=2.0), of("probs", epsilon=1.0), of("probs", epsilon=-1.0), where=in_optax)
def optax_poly(x, q, epsilon):
    return optax.losses.poly_loss_cross_entropy(x, q, epsilon=epsilon)


@beside(jaxce.generalized_cross_entropy, of("ids"), of("probs", q=0.3), of("ids", "holes"))
def keras(x, y, q=0.7):
    return ((1 - x.softmax(-1) ** q) / q * y).sum(-1)


@beside(jaxce.generalized_cross_entropy, of("ids", q=1.0))
def half_of_the_absolute_error(x, y, q):
    return (x.softmax(-1) - y).abs().sum(-1) / 2


@beside(jaxce.generalized_cross_entropy, of("ids", q=1e-7), of("probs", q=1e-7))
def cross_entropy(x, y, q):
    """Which is ``q s**2 / 2`` above for a surprise s, here below 20: a relative 1e-6, and twice that in the slope."""
    return F().cross_entropy(x, y, reduction="none")


KINDS = [of(kind, reduction="none") for kind in ("ids", "probs", "sparse")]


@beside(jaxce.kl_divergence, *KINDS, of("probs", reduction="mean"), of("probs", "holes"))
def pytorch_by_example(x, q, reduction="batchmean"):
    """PyTorch has no slope along labels of 0, so the sparse ones stay where they are."""
    return F().kl_div(x.log_softmax(-1), q, reduction=reduction.replace("mean", "batchmean")).sum(-1)


@beside(jaxce.kl_divergence, *KINDS, where=in_optax)
def optax_kl(x, q, reduction):
    return optax.losses.kl_divergence(jax.nn.log_softmax(x), q)


@beside(jaxce.js_divergence, *KINDS, of("probs", "holes"))
def two_of_kl_div(x, q, reduction="none"):
    p = x.softmax(-1)
    return sum(F().kl_div(((p + q) / 2).log(), side, reduction=reduction).sum(-1) for side in (p, q)) / 2


@beside(jaxce.brier_loss, of("ids"), of("probs"), of("ids", "holes"))
def mse_loss(x, q):
    return F().mse_loss(x.softmax(-1), q, reduction="none").sum(-1)


def entropy(x, labels, **options):
    return jaxce.entropy(x, **options)


@beside(entropy, of("ids"), of("ids", "holes"))
def categorical(x, y):
    return torch(".distributions").Categorical(logits=x).entropy()


VISION = [of("hard"), of("hard", alpha=None), of("answers", alpha=0.7, gamma=1.5), of("answers", "gaps")]


@beside(jaxce.sigmoid_focal_loss, *VISION, along=(*ALONG, "hard"))
def torchvision(x, y, alpha=0.25, gamma=2.0):
    p = x.sigmoid()
    right = p * y + (1 - p) * (1 - y)
    balance = 1 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    return balance * (1 - right) ** gamma * F().binary_cross_entropy_with_logits(x, y, reduction="none")


@beside(jaxce.sigmoid_focal_loss, *VISION[:3], where=in_optax)
def optax_focal(x, y, alpha=0.25, gamma=2.0):
    """Its slope along hard labels passes through a derivative of JAX that is wrong at 0, and is not compared."""
    return optax.losses.sigmoid_focal_loss(x, y, alpha=alpha, gamma=gamma)


@beside(jaxce.asymmetric_loss, of("hard"), of("hard", gamma_pos=0.0, clip=0.2), of("hard", "gaps"))
@beside(jaxce.asymmetric_loss, of("hard", gamma_pos=2.0, gamma_neg=1.0, clip=0.0))
def authors_and_timm(x, y, gamma_pos=1.0, gamma_neg=4.0, clip=0.05):
    """Between labels of 0 and 1 it mixes the exponents, not the terms, so that no slope along them is compared."""
    p = x.sigmoid()
    right = p * y + (1 - p + clip).clamp(max=1) * (1 - y)
    return -((1 - right) ** (gamma_pos * y + gamma_neg * (1 - y))) * right.log()


@beside(jaxce.multiclass_hinge_loss, of("ids"), of("ids", p=2, margin=0.5), of("ids", "holes"))
@beside(jaxce.multiclass_hinge_loss, of("ids", p=2, class_weights="weights", reduction="sum"))
def multi_margin_loss(x, y, class_weights=None, reduction="none", **options):
    return F().multi_margin_loss(x, y.argmax(1), weight=class_weights, reduction=reduction, **options)


@beside(jaxce.multiclass_hinge_loss, of("ids", variant="crammer-singer"), where=in_optax)
def optax_hinge(x, y, variant):
    return optax.losses.multiclass_hinge_loss(x, y.argmax(1))


@beside(jaxce.multilabel_margin_loss, of("hard"), of("hard", "holes"))
def multilabel_margin_loss(x, y):
    """PyTorch's labels are ids, and -1 behind the last of them."""
    ids = y.argsort(descending=True, stable=True)
    return F().multilabel_margin_loss(x, ids.where(y.gather(1, ids) > 0, -1), reduction="none")


@beside(jaxce.multilabel_soft_margin_loss, of("hard"), of("answers", "holes"), along=(*ALONG, "hard"))
@beside(jaxce.multilabel_soft_margin_loss, of("answers", class_weights="weights"), along=(*ALONG, "weights"))
def multilabel_soft_margin_loss(x, y, class_weights=None):
    return F().multilabel_soft_margin_loss(x, y, class_weights, reduction="none")


@beside(jaxce.soft_margin_loss, of("signs"), of("signs", "gaps"))
def soft_margin_loss(x, y):
    return F().soft_margin_loss(x, y, reduction="none")


@beside(jaxce.soft_margin_loss, of("signs"), along=("x", "signs"))
def softplus(x, y):
    """Along the labels PyTorch's own has no slope."""
    return F().softplus(-y * x)


def mean_over_classes(p, y, formula, absent):
    """MONAI's. Where absent classes cost nothing segmentation_models still counts them; here they are not counted."""
    counted = y.any(1) | (absent == "count")
    return (formula(p, y) * counted).sum() / counted.sum()


def regions(loss, **options):
    """What is asked of a formula of one class, for MONAI's ways and for those of segmentation_models."""

    def note(formula):
        def theirs(x, y, smooth, activation="softmax", absent="count", **_):
            p = x.sigmoid() if activation == "sigmoid" else x.softmax(0)
            return mean_over_classes(p, y, partial(formula, smooth=smooth), absent)

        kinds = [over(kind, smooth=0.5) for kind in ("ids", "probs")] + []
        return beside(loss, *kinds, draw=images)(theirs)
