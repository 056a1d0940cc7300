"""The losses beside those of other libraries: values and gradients, the peers in float64 on the same float32 numbers.

What a peer computes with one call is asked of it where it is installed. The others (Keras, torchvision, timm, MONAI,
segmentation_models, kornia, the authors of a paper) are their formulas, written anew in PyTorch for its gradients. Few
peers have masks: what ours leaves out is NaN to it, and is not given to the peer at all.
"""

import importlib.util
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
MASK = {"holes": "kept", "gaps": "kept_elements"}
"""Logits with NaN in some examples, and in some elements, beside what is kept of them."""

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
needs_sklearn = pytest.mark.skipif(not importlib.util.find_spec("sklearn"), reason="scikit-learn is not installed")


def rows(seed):
    """Examples of five classes."""
    rng = np.random.default_rng(seed)
    a = labelled(rng, 2.5 * rng.normal(size=(6, 5)), rng.integers(0, 5, 6), np.arange(6) % 3 > 0)
    a["sparse"] = np.where(a["probs"] < a["probs"].max(1, keepdims=True) / 3, 0, a["probs"])
    a["sparse"] /= a["sparse"].sum(1, keepdims=True)
    a["hard"][0] = np.eye(5)[0]
    a["signs"] = 2 * a["hard"] - 1
    a["sample"] = rng.uniform(0.5, 2, 6)
    a["kept_elements"] = rng.random((6, 5)) < 0.6
    a["gaps"] = np.where(a["kept_elements"], a["x"], np.nan)
    return in_32_bits(a)


def images(seed):
    """Three of four classes, channel first; the first has no pixel of the last class, and none in its last mask."""
    rng = np.random.default_rng(seed)
    x, ids = 2 * rng.normal(size=(3, 4, 3, 5)), rng.integers(0, 4, (3, 3, 5))
    ids[0] %= 3
    a = labelled(rng, x, ids, rng.random(ids.shape) < 0.7)
    a["hard"][0, -1] = 0
    a["ignored"] = np.where(a["kept"], ids, 255)
    return in_32_bits(a)


def labelled(rng, x, ids, kept):
    """Logits, the classes along axis 1, with labels of every kind."""
    classes = x.shape[1]
    return {
        "x": x,
        "ids": ids,
        "one_hot": np.moveaxis(np.eye(classes)[ids], -1, 1),
        "probs": np.moveaxis(rng.dirichlet(np.ones(classes), ids.shape), -1, 1),
        "answers": rng.uniform(0.05, 0.95, x.shape),
        "hard": rng.integers(0, 2, x.shape).astype(float),
        "weights": rng.uniform(0.5, 2, classes),
        "kept": kept,
        "holes": np.where(kept[:, None], x, np.nan),
    }


def in_32_bits(arrays):
    """What float64 then holds exactly."""
    dtypes = {"f": np.float32, "i": np.int32, "b": np.bool_}
    return {name: a.astype(dtypes[a.dtype.kind]) for name, a in arrays.items()}


def cotangent(shape):
    return np.random.default_rng(9).normal(size=shape).astype(np.float32)


def in_jax(losses, along):
    """Values and gradients of all of them, from one compiled program."""

    def outputs(loss, a):
        value, pull = jax.vjp(lambda moving: loss(SimpleNamespace(**(a | moving))), {n: a[n] for n in along if n in a})
        return value, pull(jnp.asarray(cotangent(value.shape), value.dtype))[0]

    return jax.jit(lambda a: [outputs(loss, a) for loss in losses])


def in_torch(losses, along):
    """The same of PyTorch in float64."""
    import torch

    torch.set_num_threads(1)  # the arrays are tiny: threads would wait for each other
    dtypes = {"f": torch.float64, "i": torch.int64, "b": torch.bool}

    def outputs(loss, arrays):
        a = {n: torch.tensor(v, dtype=dtypes[v.dtype.kind], requires_grad=n in along) for n, v in arrays.items()}
        value, moving = loss(SimpleNamespace(**a)), {n: a[n] for n in along if n in a}
        direction = torch.tensor(cotangent(value.shape), dtype=value.dtype)
        slopes = torch.autograd.grad(value, [*moving.values()], direction, allow_unused=True, materialize_grads=True)
        return value.detach(), dict(zip(moving, slopes, strict=True))

    return lambda arrays: [outputs(loss, arrays) for loss in losses]


def in_optax(losses, along):
    """Under x64, so that its rounding is no part of the comparison."""
    compiled = in_jax(losses, along)

    def outputs(arrays):
        with jax.enable_x64(True):
            return compiled({n: a.astype(float) if a.dtype.kind == "f" else a for n, a in arrays.items()})

    return outputs


def assert_equal(peer, draw, *pairs, along=ALONG):
    """Each pair is ours and theirs, of the same arrays; gradients are for one random cotangent."""
    ours, theirs = in_jax([mine for mine, _ in pairs], along), peer([other for _, other in pairs], along)
    for seed in SEEDS:
        arrays = draw(seed)
        for number, (got, want) in enumerate(zip(ours(arrays), theirs(arrays), strict=True)):
            where = f"pair {number}, seed {seed}"
            np.testing.assert_allclose(got[0], want[0], **VALUE, err_msg=where)
            assert got[1].keys() == want[1].keys()
            for name in want[1]:
                np.testing.assert_allclose(got[1][name], want[1][name], **SLOPE, err_msg=f"{where}, along {name}")


def ours_of(loss, labels, x="x", **options):
    """Ours for every example; an option that is the name of an array stands for it."""

    def call(a):
        given = {n: getattr(a, v) if isinstance(v, str) and hasattr(a, v) else v for n, v in options.items()}
        return loss(getattr(a, x), getattr(a, labels), **({"reduction": "none"} | given))

    return call


def same(loss, theirs, labels, x="x", **options):
    """A pair with the same options, for every example; or the mean of those that are kept."""
    mask = MASK.get(x)

    def peer(a):
        z, y = getattr(a, x), getattr(a, "one_hot" if labels == "ids" else labels)
        given = {n: getattr(a, v) if isinstance(v, str) else v for n, v in options.items()}
        return theirs(z[getattr(a, mask)], y[getattr(a, mask)], **given).mean() if mask else theirs(z, y, **given)

    masked = {"where": mask, "reduction": "mean"} if mask else {}
    return ours_of(loss, labels, x, **masked, **options), peer


def same_regions(loss, theirs, labels, x="x", **options):
    """A pair for every image, or for the batch; theirs is of one region, ``[classes, pixels]``, without what is masked."""
    batched, masked = options.get("batch_axis", 0) is not None, {"where": "kept"} if x in MASK else {}

    def peer(a):
        z, y = getattr(a, x), getattr(a, "one_hot" if labels in ("ids", "ignored") else labels)
        kept = a.kept if x in MASK else a.kept | True
        if not batched:
            return theirs(z.movedim(1, 0)[:, kept], y.movedim(1, 0)[:, kept])
        return stacked([theirs(z_i[:, k], y_i[:, k]) for z_i, y_i, k in zip(z, y, kept, strict=True)])

    if labels == "ignored":
        masked = {"ignore_index": 255}
    return ours_of(loss, labels, x, axis=1, **masked, **options), peer


def stacked(tensors):
    import torch

    return torch.stack(tensors)


# Cross-entropy reshaped.


@needs_torch
def test_focal_loss_is_that_of_keras_and_kornia():
    def theirs(x, q, gamma=2.0, class_weights=1.0):
        """A factor for each class, and their alpha for all classes or for each."""
        p = x.softmax(-1)
        return (class_weights * (1 - p) ** gamma * -(q * p.log())).sum(-1)

    assert_equal(
        in_torch,
        rows,
        same(jaxce.focal_loss, theirs, "ids"),
        same(jaxce.focal_loss, theirs, "ids", gamma=0.5, class_weights="weights"),
        same(jaxce.focal_loss, theirs, "probs", gamma=3.0),
        same(jaxce.focal_loss, theirs, "probs", class_weights="weights"),
        same(jaxce.focal_loss, theirs, "ids", "holes"),
        along=(*ALONG, "weights"),
    )


def test_poly1_loss_is_optaxs():
    ours, theirs = jaxce.poly1_loss, optax.losses.poly_loss_cross_entropy
    pairs = [same(ours, theirs, kind, epsilon=e) for kind, e in (("ids", 2.0), ("probs", 1.0), ("probs", -1.0))]
    assert_equal(in_optax, rows, *pairs)


@needs_torch
def test_generalized_cross_entropy_is_that_of_keras():
    def theirs(x, y, q=0.7):
        return ((1 - x.softmax(-1) ** q) / q * y).sum(-1)

    ours = jaxce.generalized_cross_entropy
    assert_equal(
        in_torch,
        rows,
        same(ours, theirs, "ids"),
        same(ours, theirs, "probs", q=0.3),
        same(ours, theirs, "ids", "holes"),
        (ours_of(ours, "ids", q=1.0), lambda t: (t.x.softmax(-1) - t.one_hot).abs().sum(-1) / 2),
    )


@pytest.mark.parametrize("labels", ["ids", "probs"])
def test_generalized_cross_entropy_begins_at_cross_entropy(labels):
    """For a small q it is ``s - q s**2 / 2`` of a surprise s below 20: a relative 1e-5, and twice that in its slope."""
    both = [ours_of(jaxce.generalized_cross_entropy, labels, q=1e-6), ours_of(jaxce.cross_entropy, labels)]
    for seed in SEEDS:
        (value, slopes), (limit, slopes_there) = in_jax(both, ("x",))(rows(seed))
        np.testing.assert_allclose(value, limit, rtol=1e-5)
        np.testing.assert_allclose(slopes["x"], slopes_there["x"], rtol=2e-5, atol=1e-6)


# Divergences.


@needs_torch
def test_kl_divergence_is_pytorchs():
    """Its mean is the one by example, ``batchmean``. PyTorch has no slope along labels of 0: the sparse ones stay."""
    from torch.nn.functional import kl_div

    def theirs(x, q):
        return kl_div(x.log_softmax(-1), q, reduction="none").sum(-1)

    mean = ours_of(jaxce.kl_divergence, "probs", reduction="mean")
    assert_equal(
        in_torch,
        rows,
        (mean, lambda t: kl_div(t.x.log_softmax(-1), t.probs, reduction="batchmean")),
        *(same(jaxce.kl_divergence, theirs, kind) for kind in ("ids", "probs", "sparse")),
        same(jaxce.kl_divergence, theirs, "probs", "holes"),
    )


def test_kl_divergence_is_optaxs():
    def theirs(x, q):
        return optax.losses.kl_divergence(jax.nn.log_softmax(x), q)

    assert_equal(in_optax, rows, *(same(jaxce.kl_divergence, theirs, kind) for kind in ("ids", "probs", "sparse")))


@needs_torch
def test_js_divergence_is_the_mean_of_two_of_pytorchs_kl_div():
    from torch.nn.functional import kl_div

    def theirs(x, q):
        p = x.softmax(-1)
        return sum(kl_div(((p + q) / 2).log(), side, reduction="none").sum(-1) for side in (p, q)) / 2

    pairs = [same(jaxce.js_divergence, theirs, kind) for kind in ("ids", "probs", "sparse")]
    assert_equal(in_torch, rows, *pairs, same(jaxce.js_divergence, theirs, "probs", "holes"))


def test_js_divergence_and_entropy_are_scipys():
    for seed in SEEDS:
        a = rows(seed)
        p = scipy.special.softmax(a["x"].astype(float), -1)
        for labels in ("one_hot", "probs", "sparse"):
            want = [scipy.spatial.distance.jensenshannon(*pair) ** 2 for pair in zip(p, a[labels], strict=True)]
            np.testing.assert_allclose(jaxce.js_divergence(a["x"], a[labels], reduction="none"), want, **VALUE)
        np.testing.assert_allclose(jaxce.entropy(a["x"], reduction="none"), scipy.stats.entropy(p, axis=-1), **VALUE)


@needs_torch
def test_entropy_is_that_of_pytorchs_categorical():
    from torch.distributions import Categorical

    def ours(x, _, **options):
        return jaxce.entropy(x, **options)

    def theirs(x, _):
        return Categorical(logits=x).entropy()

    assert_equal(in_torch, rows, same(ours, theirs, "ids"), same(ours, theirs, "ids", "holes"))


@needs_torch
def test_brier_loss_is_a_squared_error():
    from torch.nn.functional import mse_loss

    def theirs(x, q):
        return mse_loss(x.softmax(-1), q, reduction="none").sum(-1)

    pairs = [same(jaxce.brier_loss, theirs, *kind) for kind in (("ids",), ("probs",), ("ids", "holes"))]
    assert_equal(in_torch, rows, *pairs)


@needs_sklearn
def test_brier_loss_of_two_classes_is_twice_scikit_learns():
    from sklearn.metrics import brier_score_loss

    for seed in SEEDS:
        a = rows(seed)
        x, y, weights = a["x"][:, :2], a["ids"] % 2, a["sample"]
        p = scipy.special.softmax(x.astype(float), -1)[:, 1]
        np.testing.assert_allclose(jaxce.brier_loss(x, y), 2 * brier_score_loss(y, p), **VALUE)
        weighed = 2 * brier_score_loss(y, p, sample_weight=weights)
        np.testing.assert_allclose(jaxce.brier_loss(x, y, sample_weights=weights), weighed, **VALUE)


# Sigmoid losses.


@needs_torch
def test_sigmoid_focal_loss_is_that_of_torchvision():
    from torch.nn.functional import binary_cross_entropy_with_logits

    def theirs(x, y, alpha=0.25, gamma=2.0):
        p = x.sigmoid()
        right = p * y + (1 - p) * (1 - y)
        balance = 1 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
        return balance * (1 - right) ** gamma * binary_cross_entropy_with_logits(x, y, reduction="none")

    assert_equal(
        in_torch,
        rows,
        same(jaxce.sigmoid_focal_loss, theirs, "hard"),
        same(jaxce.sigmoid_focal_loss, theirs, "hard", alpha=None),
        same(jaxce.sigmoid_focal_loss, theirs, "answers", alpha=0.7, gamma=1.5),
        same(jaxce.sigmoid_focal_loss, theirs, "answers", alpha=None, gamma=0.5),
        same(jaxce.sigmoid_focal_loss, theirs, "answers", "gaps"),
        along=(*ALONG, "hard"),
    )


def test_sigmoid_focal_loss_is_optaxs():
    """But for the slope along hard labels, where optax's passes through a derivative of JAX that is wrong at 0."""
    ours, theirs = jaxce.sigmoid_focal_loss, optax.losses.sigmoid_focal_loss
    pairs = [same(ours, theirs, kind, alpha=alpha) for kind in ("hard", "answers") for alpha in (None, 0.25)]
    assert_equal(in_optax, rows, *pairs, same(ours, theirs, "answers", alpha=0.7, gamma=1.5))


@pytest.mark.parametrize(("label", "slope"), [(0.0, -0.808), (1.0, -0.167)])
def test_sigmoid_focal_loss_has_the_right_slope_along_hard_labels(label, slope):
    """By hand: ``2 m (1 - 2 p) s - m**2 x`` with m the probability of the wrong answer and s its cross-entropy."""
    got = jax.grad(lambda y: jaxce.sigmoid_focal_loss(jnp.float32(0.7), y, alpha=None, gamma=2.0))(label)
    assert got == pytest.approx(slope, abs=6e-4)


@needs_torch
def test_asymmetric_loss_is_that_of_its_authors_and_of_timm():
    """For labels of 0 and 1; between them theirs mixes the exponents, not the terms."""

    def theirs(x, y, gamma_pos=1.0, gamma_neg=4.0, clip=0.05):
        p = x.sigmoid()
        right = p * y + (1 - p + clip).clamp(max=1) * (1 - y)
        return -((1 - right) ** (gamma_pos * y + gamma_neg * (1 - y))) * right.log()

    assert_equal(
        in_torch,
        rows,
        same(jaxce.asymmetric_loss, theirs, "hard"),
        same(jaxce.asymmetric_loss, theirs, "hard", gamma_pos=0.0, clip=0.2),
        same(jaxce.asymmetric_loss, theirs, "hard", gamma_pos=2.0, gamma_neg=1.0, clip=0.0),
        same(jaxce.asymmetric_loss, theirs, "hard", "gaps"),
    )


# Regions.


def of_sizes(p, y, smooth=0.0):
    """Dice of each class as MONAI, segmentation_models and kornia have it, for probabilities ``[..., pixels]``."""
    return 1 - (2 * (p * y).sum(-1) + smooth) / (p.sum(-1) + y.sum(-1) + smooth)


def of_union(p, y, smooth=0.0):
    """Intersection over union as segmentation_models has it; MONAI doubles both, and there ``smooth`` counts half."""
    both = (p * y).sum(-1)
    return 1 - (both + smooth) / (p.sum(-1) + y.sum(-1) - both + smooth)


def of_errors(p, y, smooth=0.0):
    """Tversky as they have it, here with an alpha of 0.3 for false positives and a beta of 0.7 for false negatives."""
    both = (p * y).sum(-1)
    return 1 - (both + smooth) / (both + 0.3 * (p * (1 - y)).sum(-1) + 0.7 * ((1 - p) * y).sum(-1) + smooth)


REGIONS = pytest.mark.parametrize(
    ("ours", "options", "formula"),
    [
        (jaxce.dice_loss, {}, of_sizes),
        (jaxce.jaccard_loss, {}, of_union),
        (jaxce.tversky_loss, {"alpha": 0.3, "beta": 0.7}, of_errors),
    ],
    ids=["dice", "jaccard", "tversky"],
)


@needs_torch
@REGIONS
def test_regions_are_those_of_monai(ours, options, formula):
    """Whose absent classes count; its ``batch=True`` is our ``batch_axis=None``."""
    options = options | {"smooth": 0.5}

    def exclusive(x, y):
        return formula(x.softmax(0), y, 0.5).mean()

    def independent(x, y):
        return formula(x.sigmoid(), y, 0.5).mean()

    assert_equal(
        in_torch,
        images,
        *(same_regions(ours, exclusive, kind, **options) for kind in ("ids", "probs")),
        *(same_regions(ours, independent, kind, activation="sigmoid", **options) for kind in ("hard", "answers")),
        *(same_regions(ours, exclusive, kind, "holes", **options) for kind in ("probs", "ignored")),
        same_regions(ours, exclusive, "ids", "holes", batch_axis=None, **options),
    )


@needs_torch
@REGIONS
def test_regions_are_those_of_segmentation_models(ours, options, formula):
    """Whose absent classes cost nothing. It divides by all classes nevertheless; here, by those that are present."""

    def theirs(x, y):
        present = y.sum(1) > 0
        return (formula(x.softmax(0), y) * present).sum() / present.sum()

    options = options | {"smooth": 0.0, "absent": "skip"}
    assert_equal(in_torch, images, *(same_regions(ours, theirs, "ids", x, **options) for x in ("x", "holes")))


@needs_torch
def test_regions_are_those_of_kornia_and_keras():
    """Kornia's ``micro`` Dice and its Tversky know no classes, those of Keras no images; gamma is that of one class."""

    def micro(loss, formula, first=1, **options):
        options |= {"smooth": 0.0, "axis": None, "activation": "none", "reduction": "none"}
        return (
            lambda a: loss(jax.nn.softmax(a.x, 1), a.probs, **options),
            lambda t: formula(t.x.softmax(1).flatten(first), t.probs.flatten(first)),
        )

    def macro(t):
        return (of_sizes(t.x.softmax(1).flatten(2), t.one_hot.flatten(2)) * t.weights).sum(1) / t.weights.sum()

    errors = {"alpha": 0.3, "beta": 0.7}
    assert_equal(
        in_torch,
        images,
        micro(jaxce.dice_loss, of_sizes),
        micro(jaxce.dice_loss, of_sizes, 0, batch_axis=None),
        micro(jaxce.tversky_loss, of_errors, **errors),
        micro(jaxce.tversky_loss, lambda p, y: of_errors(p, y) ** 0.75, 0, batch_axis=None, gamma=0.75, **errors),
        (ours_of(jaxce.dice_loss, "ids", smooth=0.0, axis=1, class_weights="weights"), macro),
        along=(*ALONG, "weights"),
    )


@pytest.mark.skipif(not hasattr(optax.losses, "dice_loss"), reason="this optax has no dice_loss")
def test_dice_and_tversky_are_optaxs():
    """Its ``smooth`` is added once to an intersection that Dice counts twice."""

    def theirs(labels, **options):
        return lambda a: optax.losses.dice_loss(
            jnp.moveaxis(a.x, 1, -1), jnp.moveaxis(getattr(a, labels), 1, -1), **options
        )

    errors = {"alpha": 0.3, "beta": 0.7}
    assert_equal(
        in_optax,
        images,
        (ours_of(jaxce.dice_loss, "ids", axis=1, smooth=2.0), theirs("one_hot", smooth=1.0)),
        (ours_of(jaxce.dice_loss, "probs", axis=1, smooth=0.5), theirs("probs", smooth=0.25)),
        (ours_of(jaxce.tversky_loss, "probs", axis=1, **errors), theirs("probs", smooth=1.0, **errors)),
    )


def extended(errors, foreground):
    """The Lovasz extension by sets: for the worst pixels one by one, what the Jaccard loss of them all grows by."""
    order, mine = errors.argsort(descending=True).tolist(), {*foreground.nonzero().flatten().tolist()}
    worst = [{*order[:k]} for k in range(len(order) + 1)]
    costs = [len(wrong) / max(len(wrong | mine), 1) for wrong in worst]
    return sum(errors[i] * (after - before) for i, before, after in zip(order, costs, costs[1:], strict=False))


@needs_torch
def test_lovasz_softmax_is_algorithm_1():
    def every(x, y):
        return stacked([extended((y_c - p_c).abs(), y_c) for p_c, y_c in zip(x.softmax(0), y, strict=True)]).mean()

    def present(x, y):
        losses = zip(x.softmax(0), y, strict=True)
        return stacked([extended((y_c - p_c).abs(), y_c) for p_c, y_c in losses if y_c.any()]).mean()

    assert_equal(
        in_torch,
        images,
        same_regions(jaxce.lovasz_softmax, present, "ids"),
        same_regions(jaxce.lovasz_softmax, every, "ids", absent="count"),
        same_regions(jaxce.lovasz_softmax, present, "ids", "holes", batch_axis=None),
        same_regions(jaxce.lovasz_softmax, present, "ignored", "holes"),
    )


@needs_torch
def test_lovasz_hinge_is_algorithm_1():
    """The last mask of the first image is empty, which costs its largest error."""

    def of_mask(x, y):
        return extended((1 - x * (2 * y - 1)).clamp(min=0), y)

    def of_masks(x, y):
        return stacked([of_mask(*both) for both in zip(x, y, strict=True)]).mean()

    def alone(t):
        return stacked([of_mask(x.flatten(), y.flatten()) for x, y in zip(t.x[:, -1], t.hard[:, -1], strict=True)])

    assert_equal(
        in_torch,
        images,
        (lambda a: jaxce.lovasz_hinge(a.x[:, -1], a.hard[:, -1], reduction="none"), alone),
        same_regions(jaxce.lovasz_hinge, of_masks, "hard"),
        same_regions(jaxce.lovasz_hinge, of_masks, "hard", "holes"),
        same_regions(jaxce.lovasz_hinge, of_masks, "hard", "holes", batch_axis=None),
    )


@needs_sklearn
def test_lovasz_softmax_of_certain_answers_is_scikit_learns_jaccard_score():
    from sklearn.metrics import jaccard_score

    for seed in SEEDS:
        a = images(seed)
        said, right = a["x"].argmax(1), a["ids"]
        certain = np.moveaxis(np.eye(4, dtype=np.float32)[said], -1, 1)
        got = jaxce.lovasz_softmax(certain, right, axis=1, activation="none", reduction="none")
        both = [(y.ravel(), p.ravel()) for y, p in zip(right, said, strict=True)]
        scores = np.array([jaccard_score(y, p, labels=np.unique(y), average="macro") for y, p in both])
        np.testing.assert_allclose(got, 1 - scores, **VALUE)


# Margins.


@needs_torch
def test_multiclass_hinge_loss_is_pytorchs_multi_margin_loss():
    from torch.nn.functional import multi_margin_loss

    def theirs(x, y, class_weights=None, reduction="none", **options):
        return multi_margin_loss(x, y.argmax(1), weight=class_weights, reduction=reduction, **options)

    ours = jaxce.multiclass_hinge_loss
    total = ours_of(ours, "ids", p=2, class_weights="weights", reduction="sum")
    assert_equal(
        in_torch,
        rows,
        same(ours, theirs, "ids"),
        same(ours, theirs, "ids", p=2, margin=0.5),
        same(ours, theirs, "ids", margin=2.0, class_weights="weights"),
        (total, lambda t: theirs(t.x, t.one_hot, t.weights, "sum", p=2)),
        same(ours, theirs, "ids", "holes"),
    )


def test_multiclass_hinge_loss_of_crammer_and_singer_is_optaxs():
    def theirs(x, y, variant):
        return optax.losses.multiclass_hinge_loss(x, y.argmax(1))

    assert_equal(in_optax, rows, same(jaxce.multiclass_hinge_loss, theirs, "ids", variant="crammer-singer"))


@needs_sklearn
def test_multiclass_hinge_loss_of_crammer_and_singer_is_scikit_learns():
    from sklearn.metrics import hinge_loss

    for seed in SEEDS:
        a = rows(seed)
        x, ids, weights = a["x"], a["ids"], a["sample"]
        got = jaxce.multiclass_hinge_loss(x, ids, variant="crammer-singer", sample_weights=weights)
        np.testing.assert_allclose(got, hinge_loss(ids, x, labels=np.arange(5), sample_weight=weights), **VALUE)


@needs_torch
def test_multilabel_margin_loss_is_pytorchs():
    """Whose labels are ids, and -1 behind the last of them."""
    from torch.nn.functional import multilabel_margin_loss

    def theirs(x, y):
        ids = y.argsort(descending=True, stable=True)
        return multilabel_margin_loss(x, ids.where(y.gather(1, ids) > 0, -1), reduction="none")

    pairs = [same(jaxce.multilabel_margin_loss, theirs, "hard", x) for x in ("x", "holes")]
    assert_equal(in_torch, rows, *pairs)


@needs_torch
def test_multilabel_soft_margin_loss_is_pytorchs():
    from torch.nn.functional import multilabel_soft_margin_loss

    def theirs(x, y, class_weights=None):
        return multilabel_soft_margin_loss(x, y, class_weights, reduction="none")

    ours = jaxce.multilabel_soft_margin_loss
    pairs = [same(ours, theirs, "answers", class_weights="weights"), same(ours, theirs, "answers", "holes")]
    assert_equal(in_torch, rows, same(ours, theirs, "hard"), *pairs, along=(*ALONG, "hard", "weights"))


@needs_torch
def test_soft_margin_loss_is_pytorchs():
    """PyTorch has no slope along the labels, so that one is of its softplus."""
    from torch.nn.functional import soft_margin_loss, softplus

    def theirs(x, y):
        return soft_margin_loss(x, y, reduction="none")

    assert_equal(in_torch, rows, *(same(jaxce.soft_margin_loss, theirs, "signs", x) for x in ("x", "gaps")))
    by_hand = same(jaxce.soft_margin_loss, lambda x, y: softplus(-y * x), "signs")
    assert_equal(in_torch, rows, by_hand, along=("x", "signs"))


@needs_sklearn
def test_inverse_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    for seed in SEEDS:
        labels = images(seed)["ids"]
        want = compute_class_weight("balanced", classes=np.arange(4), y=labels.ravel())
        np.testing.assert_allclose(jaxce.balanced_class_weights(labels, 4), want, **VALUE)
