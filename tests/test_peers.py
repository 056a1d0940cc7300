"""The losses beside those of other libraries: values and gradients, the peers in float64 on the same float32 numbers.

What a peer computes with one call is asked of it where it is installed. The others (Keras, torchvision, timm, MONAI,
segmentation_models, kornia, the authors of a paper) are their formulas, written anew in PyTorch for its gradients. Few
peers have masks: what ours leaves out is NaN to it, and is not given to the peer at all.
"""

import importlib
import importlib.util
from functools import partial, wraps
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special, stats
from scipy.spatial.distance import jensenshannon

import jaxce

VALUE = {"rtol": 2e-6, "atol": 1e-6}
GRADIENT = {"rtol": 2e-5, "atol": 1e-6}
SEEDS = range(3)
ALONG = ("x", "probs", "soft", "holes", "gaps")
MASK = {"x": None, "holes": "kept", "gaps": "kept_elements"}
"""Logits, those with NaN in some examples, and those with NaN in some elements, beside what is kept of them."""

needs_sklearn = pytest.mark.skipif(not importlib.util.find_spec("sklearn"), reason="scikit-learn is not installed")
needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")


def torch():
    return importlib.import_module("torch")  # by the tests that need it


def draw(shape, seed):
    """Logits, their classes along axis 1, and labels of every kind; the last class is absent from the first example."""
    rng, (n, classes, *pixels) = np.random.default_rng(seed), shape
    x, ids, kept = 2.5 * rng.normal(size=shape), rng.integers(0, classes, (n, *pixels)), rng.random((n, *pixels)) < 0.7
    ids[0], kept.flat[0], kept.flat[1] = ids[0] % (classes - 1), True, False
    probs = np.moveaxis(rng.dirichlet(np.ones(classes), ids.shape), -1, 1)
    sparse = np.where(probs < probs.max(1, keepdims=True) / 3, 0, probs)
    hard, kept_elements = rng.integers(0, 2, shape).astype(float), rng.random(shape) < 0.6
    hard[0, -1] = 0
    arrays = {"x": x, "holes": np.where(kept[:, None], x, np.nan), "gaps": np.where(kept_elements, x, np.nan)}
    arrays |= {"ids": ids, "ignored": np.where(kept, ids, 255), "one_hot": np.moveaxis(np.eye(classes)[ids], -1, 1)}
    arrays |= {"probs": probs, "sparse": sparse / sparse.sum(1, keepdims=True)}
    arrays |= {"soft": rng.uniform(0.05, 0.95, shape), "hard": hard, "signs": 2 * hard - 1}
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
        value, pull = jax.vjp(lambda primals: loss(SimpleNamespace(**(a | primals))), {n: a[n] for n in along})
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
        value, primals = loss(SimpleNamespace(**a)), {n: a[n] for n in along}
        direction = t.tensor(cotangent(value.shape), dtype=value.dtype)
        gradients = t.autograd.grad(value, [*primals.values()], direction, allow_unused=True, materialize_grads=True)
        return value.detach(), dict(zip(primals, gradients, strict=True))

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
    """A pair for every image, or for the batch; theirs is of one region ``[classes, pixels]``, of kept pixels alone."""
    masked = {"ignore_index": 255} if labels == "ignored" else {"where": MASK[x]}

    def peer(theirs, a):
        z, y = getattr(a, x), getattr(a, "one_hot" if labels in ("ids", "ignored") else labels)
        kept = getattr(a, MASK[x]) if MASK[x] else a.kept | True
        of_region = partial(theirs, **named(a, options))
        if options.get("batch_axis", 0) is None:
            return of_region(z.movedim(1, 0)[:, kept], y.movedim(1, 0)[:, kept])
        return torch().stack([of_region(z_i[:, k], y_i[:, k]) for z_i, y_i, k in zip(z, y, kept, strict=True)])

    shared = {"axis": 1, "reduction": "none"} | masked | options
    return lambda loss, theirs: (ours(loss, labels, x, **shared), partial(peer, theirs))


PEERS = []


def beside(loss, *kinds, where=in_torch, draw=rows, along=ALONG, marks=needs_torch):
    """What is decorated is a peer of the loss; each kind of question is asked of both."""

    def note(theirs):
        pairs = [kind(loss, theirs) for kind in kinds]
        who = "optax" if where is in_optax else theirs.__name__
        PEERS.append(pytest.param(where, draw, along, pairs, id=f"{loss.__name__}-{who}", marks=marks))
        return theirs

    return note


@beside(jaxce.focal_loss, of("ids"), of("ids", gamma=0.5), of("probs", gamma=3.0), of("ids", "holes"))
@beside(jaxce.focal_loss, of("probs", class_weights="weights"), along=(*ALONG, "weights"))
def keras_and_kornia(x, q, gamma=2.0, class_weights=1.0):
    """A factor for each class, and their alpha."""
    p = x.softmax(-1)
    return -(class_weights * q * (1 - p) ** gamma * p.log()).sum(-1)


@beside(jaxce.generalized_cross_entropy, of("ids"), of("probs", q=0.3), of("ids", "holes"))
def keras(x, y, q=0.7):
    return ((1 - x.softmax(-1) ** q) / q * y).sum(-1)


@beside(jaxce.generalized_cross_entropy, of("ids", q=1.0), of("ids", q=1e-7), of("probs", q=1e-7))
def absolute_error_and_cross_entropy(x, y, q):
    """At its ends. A cross-entropy s below 20 exceeds it by ``q s / 2``: a relative 1e-6 at most."""
    error = (x.softmax(-1) - y).abs().sum(-1) / 2
    return error if q == 1 else torch().nn.functional.cross_entropy(x, y, reduction="none")


KINDS = [of("ids"), of("probs"), of("sparse"), of("probs", "holes")]
"""PyTorch has no gradient along labels of 0, so the sparse ones do not move."""


@beside(jaxce.kl_divergence, *KINDS, of("probs", reduction="mean"))
def kl_div(x, q, reduction="none"):
    terms = torch().nn.functional.kl_div(x.log_softmax(-1), q, reduction=reduction.replace("mean", "batchmean"))
    return terms.sum(-1) if reduction == "none" else terms


@beside(jaxce.js_divergence, *KINDS)
def two_of_kl_div(x, q):
    p = x.softmax(-1)
    return sum(torch().nn.functional.kl_div(((p + q) / 2).log(), side, reduction="none").sum(-1) for side in (p, q)) / 2


@beside(jaxce.brier_loss, of("ids"), of("probs"), of("ids", "holes"))
def mse_loss(x, q):
    return torch().nn.functional.mse_loss(x.softmax(-1), q, reduction="none").sum(-1)


@beside(wraps(jaxce.entropy)(lambda x, y, **options: jaxce.entropy(x, **options)), of("ids"), of("ids", "holes"))
def categorical(x, y):
    return torch().distributions.Categorical(logits=x).entropy()


FOCAL = [of("hard", alpha=0.25), of("hard", alpha=None), of("soft", alpha=0.7, gamma=1.5)]


@beside(jaxce.sigmoid_focal_loss, *FOCAL, of("hard"), of("soft", "gaps"), along=(*ALONG, "hard"))
def torchvision(x, y, alpha=0.25, gamma=2.0):
    p = x.sigmoid()
    right = p * y + (1 - p) * (1 - y)
    balance = 1 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    return (
        balance * (1 - right) ** gamma * torch().nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none")
    )


@beside(jaxce.asymmetric_loss, of("hard"), of("hard", gamma_pos=0.0, clip=0.2), of("hard", "gaps"))
@beside(jaxce.asymmetric_loss, of("hard", gamma_pos=2.0, gamma_neg=1.0, clip=0.0))
def authors_and_timm(x, y, gamma_pos=1.0, gamma_neg=4.0, clip=0.05):
    """Between labels of 0 and 1 theirs mixes the exponents, not the terms, so no gradient along them is compared."""
    p = x.sigmoid()
    right = p * y + (1 - p + clip).clamp(max=1) * (1 - y)
    return -((1 - right) ** (gamma_pos * y + gamma_neg * (1 - y))) * right.log()


@beside(jaxce.multiclass_hinge_loss, of("ids"), of("ids", p=2, margin=0.5), of("ids", "holes"))
@beside(jaxce.multiclass_hinge_loss, *(of("ids", p=p, class_weights="weights", reduction="sum") for p in (1, 2)))
def multi_margin_loss(x, y, class_weights=None, reduction="none", **options):
    return torch().nn.functional.multi_margin_loss(x, y.argmax(1), weight=class_weights, reduction=reduction, **options)


@beside(jaxce.multilabel_margin_loss, of("hard"), of("hard", "holes"))
def multilabel_margin_loss(x, y):
    """PyTorch's labels are ids, and -1 behind the last of them."""
    ids = y.argsort(descending=True, stable=True)
    return torch().nn.functional.multilabel_margin_loss(x, ids.where(y.gather(1, ids) > 0, -1), reduction="none")


@beside(jaxce.multilabel_soft_margin_loss, of("hard"), of("soft", "holes"), along=(*ALONG, "hard"))
@beside(jaxce.multilabel_soft_margin_loss, of("soft", class_weights="weights"), along=(*ALONG, "weights"))
def multilabel_soft_margin_loss(x, y, class_weights=None):
    return torch().nn.functional.multilabel_soft_margin_loss(x, y, class_weights, reduction="none")


@beside(jaxce.soft_margin_loss, of("signs"), of("signs", "gaps"))
def soft_margin_loss(x, y):
    return torch().nn.functional.soft_margin_loss(x, y, reduction="none")


# PyTorch gives it no gradient along the labels.
beside(jaxce.soft_margin_loss, of("signs"), along=("x", "signs"))(lambda x, y: torch().nn.functional.softplus(-y * x))

beside_optax = partial(beside, where=in_optax, marks=())
POLY = [of("ids", epsilon=2.0), of("probs", epsilon=1.0), of("probs", epsilon=-1.0)]
beside_optax(jaxce.poly1_loss, *POLY)(optax.losses.poly_loss_cross_entropy)
beside_optax(jaxce.kl_divergence, *KINDS[:3])(lambda x, q: optax.losses.kl_divergence(jax.nn.log_softmax(x), q))
# Along hard labels nothing is compared: there optax's gradient passes through a derivative of JAX that is wrong at 0.
beside_optax(jaxce.sigmoid_focal_loss, *FOCAL)(optax.losses.sigmoid_focal_loss)
beside_optax(jaxce.multiclass_hinge_loss, of("ids", variant="crammer-singer"))(
    lambda x, y, variant: optax.losses.multiclass_hinge_loss(x, y.argmax(1))
)


# Of regions: formulas of a class, for probabilities and labels ``[..., pixels]``.


def mean_of_classes(formula):
    """MONAI counts absent classes; to segmentation_models they cost nothing and yet count, where here they do not."""

    @wraps(formula)
    def theirs(x, y, activation="softmax", absent="count", batch_axis=0, class_weights=1, **options):
        losses = formula(x.sigmoid() if activation == "sigmoid" else x.softmax(0), y, **options)
        counted = class_weights * (y.any(1) | (absent == "count"))
        return (losses * counted).sum() / counted.sum()

    return theirs


def regions(loss, **options):
    """A loss by its formula beside MONAI's and segmentation_models's, and as in kornia and Keras, without classes."""

    @wraps(loss)
    def as_one(x, y, axis, **options):
        return loss(jax.nn.softmax(x, axis), y, axis=None, activation="none", **options)

    def note(formula):
        ask, skip = partial(over, smooth=0.5, **options), partial(over, smooth=0.0, absent="skip", **options)
        yes_no = partial(ask, activation="sigmoid")
        kinds = [ask("ids"), ask("probs", "holes"), ask("ignored", "holes"), ask("probs", "holes", batch_axis=None)]
        kinds += [skip("ids"), skip("ignored", "holes"), yes_no("hard"), yes_no("soft"), yes_no("hard", "holes")]
        kinds += [ask("probs", class_weights="weights")]
        beside(loss, *kinds, draw=images, along=(*ALONG, "weights"))(mean_of_classes(formula))
        whole = [over("probs", smooth=0.0, **options), over("probs", smooth=0.0, batch_axis=None, **options)]

        @beside(as_one, *whole, draw=images)
        def without_classes(x, y, batch_axis=0, **options):
            return formula(x.softmax(0).flatten(), y.flatten(), **options)

        return formula

    return note


@regions(jaxce.dice_loss)
def by_sizes(p, y, smooth):
    return 1 - (2 * (p * y).sum(-1) + smooth) / (p.sum(-1) + y.sum(-1) + smooth)


@regions(jaxce.jaccard_loss)
def by_union(p, y, smooth):
    """As in segmentation_models; MONAI doubles both, so that its ``smooth`` counts half."""
    both = (p * y).sum(-1)
    return 1 - (both + smooth) / (p.sum(-1) + y.sum(-1) - both + smooth)


@regions(jaxce.tversky_loss, alpha=0.3, beta=0.7)
@regions(jaxce.tversky_loss, alpha=1.5, beta=0.5, gamma=0.75)
def by_errors(p, y, smooth, alpha, beta, gamma=1):
    """Gamma is the exponent of one class, as in the paper; segmentation_models has it for the mean of classes."""
    both = (p * y).sum(-1)
    divisor = both + alpha * (p * (1 - y)).sum(-1) + beta * ((1 - p) * y).sum(-1)
    return (1 - (both + smooth) / (divisor + smooth)) ** gamma


def extended(errors, mine):
    """The Lovasz extension by sets: for the worst pixels one by one, what the Jaccard loss of them all grows by."""
    order, mine = errors.argsort(descending=True).tolist(), {*mine.nonzero().flatten().tolist()}
    worst = [{*order[:k]} for k in range(len(order) + 1)]
    costs = [len(wrong) / max(len(wrong | mine), 1) for wrong in worst]
    return sum(errors[i] * (after - before) for i, before, after in zip(order, costs, costs[1:], strict=False))


@beside(jaxce.lovasz_softmax, over("ids", absent="skip"), over("ids", "holes", absent="count"), draw=images)
@beside(jaxce.lovasz_softmax, over("ignored", "holes", absent="skip", batch_axis=None), draw=images)
@mean_of_classes
def algorithm_1(p, y):
    return torch().stack([extended((y_c - p_c).abs(), y_c) for p_c, y_c in zip(p, y, strict=True)])


@beside(jaxce.lovasz_hinge, over("hard"), over("hard", "holes"), over("hard", "holes", batch_axis=None), draw=images)
def of_margins(x, y, batch_axis=0):
    """An empty mask costs its largest error."""
    errors = (1 - x * (2 * y - 1)).clamp(min=0)
    return torch().stack([extended(e_c, y_c) for e_c, y_c in zip(errors, y, strict=True)]).mean()


no_dice = pytest.mark.skipif(not hasattr(optax.losses, "dice_loss"), reason="this optax has no dice_loss")
in_optax_images = partial(beside_optax, draw=images, marks=no_dice)


def optax_dice(x, y, axis, **options):
    return optax.losses.dice_loss(jnp.moveaxis(x, axis, -1), jnp.moveaxis(y, axis, -1), **options)


# Optax adds ``smooth`` once, to an intersection that Dice counts twice.
in_optax_images(jaxce.dice_loss, of("ids", axis=1, smooth=2.0), of("probs", axis=1, smooth=0.5))(
    lambda x, y, axis, smooth: optax_dice(x, y, axis, smooth=smooth / 2)
)
in_optax_images(jaxce.tversky_loss, of("probs", axis=1, smooth=1.0, alpha=0.3, beta=0.7))(optax_dice)


@pytest.mark.parametrize(("where", "draw", "along", "pairs"), PEERS)
def test_equals_its_peer_in_value_and_gradient(where, draw, along, pairs):
    ours, theirs = in_jax([mine for mine, _ in pairs], along), where([peer for _, peer in pairs], along)
    for seed in SEEDS:
        arrays = draw(seed)
        for number, (got, want) in enumerate(zip(ours(arrays), theirs(arrays), strict=True)):
            at = f"pair {number}, seed {seed}"
            np.testing.assert_allclose(got[0], want[0], **VALUE, err_msg=at)
            for name in along:
                np.testing.assert_allclose(got[1][name], want[1][name], **GRADIENT, err_msg=f"{at}, along {name}")


@pytest.mark.parametrize(("label", "gradient"), [(0.0, -0.808), (1.0, -0.167)])
def test_sigmoid_focal_loss_has_a_gradient_along_hard_labels(label, gradient):
    """By hand: ``2 m (1 - 2 p) s - m**2 x`` with m the probability of the wrong answer and s its cross-entropy."""
    got = jax.grad(lambda y: jaxce.sigmoid_focal_loss(jnp.float32(0.7), y, alpha=None, gamma=2.0))(label)
    assert got == pytest.approx(gradient, abs=6e-4)


def drawn(draw):
    return [SimpleNamespace(**draw(seed)) for seed in SEEDS]


def test_js_divergence_and_entropy_are_scipys():
    for a in drawn(rows):
        p = special.softmax(a.x.astype(float), -1)
        np.testing.assert_allclose(jaxce.entropy(a.x, reduction="none"), stats.entropy(p, axis=-1), **VALUE)
        for q in (a.one_hot, a.probs, a.sparse):
            got = jaxce.js_divergence(a.x, q, reduction="none")
            np.testing.assert_allclose(got, jensenshannon(p, q, axis=-1) ** 2, **VALUE)


@needs_sklearn
def test_brier_and_hinge_losses_are_scikit_learns():
    """Which halves the Brier score of two classes."""
    from sklearn.metrics import brier_score_loss, hinge_loss

    for a in drawn(rows):
        x, y, weights = a.x[:, :2], a.ids % 2, a.sample
        half = brier_score_loss(y, special.softmax(x.astype(float), -1)[:, 1], sample_weight=weights)
        np.testing.assert_allclose(jaxce.brier_loss(x, y, sample_weights=weights), 2 * half, **VALUE)
        got = jaxce.multiclass_hinge_loss(a.x, a.ids, variant="crammer-singer", sample_weights=weights)
        np.testing.assert_allclose(got, hinge_loss(a.ids, a.x, labels=range(5), sample_weight=weights), **VALUE)


@needs_sklearn
def test_lovasz_softmax_of_certain_predictions_is_one_less_scikit_learns_jaccard_score():
    from sklearn.metrics import jaccard_score

    for a in drawn(images):
        said = a.x.argmax(1)
        certain = np.moveaxis(np.eye(4, dtype=np.float32)[said], -1, 1)
        got = jaxce.lovasz_softmax(certain, a.ids, axis=1, activation="none", reduction="none")
        both = [(y.ravel(), p.ravel()) for y, p in zip(a.ids, said, strict=True)]
        scores = np.array([jaccard_score(y, p, labels=np.unique(y), average="macro") for y, p in both])
        np.testing.assert_allclose(got, 1 - scores, **VALUE)


@needs_sklearn
def test_inverse_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    for a in drawn(images):
        want = compute_class_weight("balanced", classes=np.arange(4), y=a.ids.ravel())
        np.testing.assert_allclose(jaxce.balanced_class_weights(a.ids, 4), want, **VALUE)
