"""Options of the region losses: averages over classes, soft counts, smoothing, masks per class, totals of counts."""

import itertools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce

RNG = np.random.default_rng(0)
SHAPE = BATCH, HEIGHT, WIDTH, CLASSES = 4, 4, 8, 4
X = (2 * RNG.normal(size=SHAPE)).astype(np.float32)
IDS = RNG.integers(0, CLASSES - 1, SHAPE[:-1])  # the last class is absent everywhere
IDS[1, :3] = 0  # and in the second example others are, too
BITS = RNG.integers(0, 2, SHAPE)
SOFT = RNG.dirichlet(np.ones(CLASSES), SHAPE[:-1]).astype(np.float32)
KEEP = RNG.random(SHAPE[:-1]) < 0.8
KEEP[2] = False  # nothing counts in the third example
PIXEL_WEIGHTS = RNG.uniform(0.5, 2, SHAPE[:-1]).astype(np.float32)
MASKS = {"where": KEEP, "sample_weights": PIXEL_WEIGHTS, "class_weights": np.float32([1.0, 0.5, 2.0, 0.25])}

LOSSES = {
    "dice_loss": {"smooth": 0.5},
    "tversky_loss": {"alpha": 0.3, "beta": 0.8, "gamma": 0.75},
    "jaccard_loss": {"smooth": 0.25},
}
each_loss = pytest.mark.parametrize("loss", LOSSES)
CHOICES = [
    {"average": average, "soft_counts": counts, "log_loss": log, **rest}
    for average, counts, log, rest in itertools.product(
        ("macro", "micro", "volume", "none"),
        ("product", "squared", "minimum"),
        (False, True),
        ({}, {"include_background": False, "absent": "skip", "smooth_divisor": 1.25}),
    )
]


def inputs(labels):
    return {"ids": (IDS, "softmax"), "soft": (SOFT, "softmax"), "bits": (BITS, "sigmoid")}[labels]


@each_loss
@pytest.mark.parametrize("labels", ["ids", "soft", "bits"])
def test_every_choice_is_the_reference(loss, labels):
    y, activation = inputs(labels)
    own = {"activation": activation, **LOSSES[loss], **MASKS}

    @jax.jit
    def every(x):
        return [getattr(jaxce, loss)(x, y, reduction=lambda v, w: (v, w), **own, **choice) for choice in CHOICES]

    for (got, got_weights), choice in zip(every(X), CHOICES, strict=True):
        want, weights = getattr(reference, loss)(X, y, **own, **choice)
        assert got.shape == want.shape == ((BATCH, CLASSES) if choice["average"] == "none" else (BATCH,))
        np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-6, err_msg=str(choice))
        np.testing.assert_array_equal(got[2], 0)
        np.testing.assert_allclose(got_weights.sum(), weights.sum(), rtol=1e-6)


@each_loss
@pytest.mark.parametrize("labels", ["ids", "soft", "bits"])
def test_every_gradient_is_the_reference(loss, labels, x64):
    """Along one direction of the logits, the pixel weights and the soft labels, by differences."""
    y, activation = inputs(labels)
    own = {"activation": activation, **LOSSES[loss], "where": KEEP}
    rng = np.random.default_rng(1)
    x, w = X.astype(float), PIXEL_WEIGHTS.astype(float)
    arrays = (x, w, y.astype(float)) if labels == "soft" else (x, w)
    along = [rng.normal(size=a.shape) for a in arrays]
    if labels == "soft":
        along[2] -= along[2].mean(-1, keepdims=True)  # rows still sum to 1
    first = 3 * [*LOSSES].index(loss) + ["ids", "soft", "bits"].index(labels)  # each choice at one loss or more
    choices = [choice for choice in CHOICES[first % 6 :: 6] if choice["soft_counts"] != "minimum" or labels != "bits"]

    def value(call, choice, x, w, labels=y):
        return call(x, labels, sample_weights=w, **own, **choice)

    @jax.jit
    def every(*arrays):
        fs = [partial(value, partial(getattr(jaxce, loss), reduction="sum"), choice) for choice in choices]
        both = [(jax.jvp(f, arrays, tuple(along))[1], jax.grad(f, range(len(arrays)))(*arrays)) for f in fs]
        return [(forward, sum(map(jnp.vdot, gradients, along))) for forward, gradients in both]

    for (forward, backward), choice in zip(every(*arrays), choices, strict=True):
        up, down = (
            value(getattr(reference, loss), choice, *(a + 1e-6 * s * d for a, d in zip(arrays, along, strict=True)))[0]
            for s in (1, -1)
        )
        want = (up - down).sum() / 2e-6
        np.testing.assert_allclose([forward, backward], want, rtol=2e-6, atol=2e-8, err_msg=str(choice))


@pytest.mark.parametrize(
    ("loss", "choice"), list(zip(LOSSES, [CHOICES[0], CHOICES[9], CHOICES[28]], strict=True)), ids=str
)
def test_second_derivatives_in_a_scan(loss, choice, x64):
    """Hessian-vector products of a sum over a scan, against differences of the gradient."""
    x, v = X[:2].astype(float), np.random.default_rng(2).normal(size=X[:2].shape)
    call = partial(getattr(jaxce, loss), reduction="sum", where=KEEP[:2], **LOSSES[loss], **choice)

    def in_scan(x):
        return jax.lax.scan(lambda s, i: (s + call(x * (1 + i), IDS[:2]), None), 0.0, jnp.arange(2.0))[0]

    gradient = jax.jit(jax.grad(in_scan))
    got = jax.jit(lambda x: jax.jvp(jax.grad(in_scan), (x,), (v,))[1])(x)
    want = (gradient(x + 1e-5 * v) - gradient(x - 1e-5 * v)) / 2e-5
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
    reverse = jax.jit(jax.grad(lambda x: jnp.vdot(jax.grad(in_scan)(x), v)))(x)
    np.testing.assert_allclose(reverse, want, rtol=1e-5, atol=1e-7)


@each_loss
def test_nothing_of_a_masked_pixel_enters(loss):
    x = np.where(KEEP[..., None], X, np.nan).astype(np.float32)
    call = partial(getattr(jaxce, loss), labels=IDS, where=KEEP, reduction="sum", **LOSSES[loss])
    fs = [partial(call, **choice) for choice in CHOICES[::5]]

    @jax.jit
    def every(x):
        return [(*jax.jvp(f, (x,), (x,)), jax.grad(f)(x)) for f in fs]

    filled = jax.jit(lambda x: [f(x) for f in fs])(np.where(KEEP[..., None], X, 7))
    for (value, along, gradient), want in zip(every(x), filled, strict=True):
        np.testing.assert_allclose(value, want, rtol=1e-6)
        assert np.isfinite(along)
        np.testing.assert_array_equal(gradient[~KEEP], 0)
        assert np.isfinite(gradient).all()


def test_the_v_net_divisor():
    """Milletari et al.: 1 - 2 sum p y / (sum p**2 + sum y**2), 0 for soft labels that are met."""
    p = np.asarray(jax.nn.softmax(X)).astype(float)
    y = np.eye(CLASSES)[IDS]
    pixels = (1, 2)
    want = 1 - 2 * (p * y).sum(pixels) / ((p**2).sum(pixels) + (y**2).sum(pixels))
    got = jaxce.dice_loss(X, IDS, smooth=0.0, soft_counts="squared", average="none", reduction="none")
    np.testing.assert_allclose(got, want, rtol=2e-6)
    for counts in ("squared", "minimum"):
        assert jaxce.dice_loss(SOFT, SOFT, activation="none", soft_counts=counts) < 1e-7
    assert jaxce.dice_loss(SOFT, SOFT, activation="none") > 0.1


def test_minimum_and_product_agree_for_hard_labels():
    for loss in LOSSES:
        f = partial(getattr(jaxce, loss), labels=IDS, **LOSSES[loss])
        both = [jax.value_and_grad(partial(f, soft_counts=counts))(X) for counts in ("product", "minimum")]
        chex.assert_trees_all_close(*both, rtol=1e-5, atol=1e-8)


def test_generalized_dice_weights_counts_by_volume():
    """Sudre et al.: 1 - 2 sum_c w_c TP_c / sum_c w_c (P_c + Y_c), w_c = 1 / Y_c**2."""
    ids = np.random.default_rng(3).integers(0, CLASSES, IDS.shape)
    p, y = np.asarray(jax.nn.softmax(X)).astype(float), np.eye(CLASSES)[ids]
    tp, sizes, volume = (a.sum((1, 2)) for a in (p * y, p + y, y))
    want = 1 - 2 * (tp / volume**2).sum(-1) / (sizes / volume**2).sum(-1)
    got = jaxce.dice_loss(X, ids, smooth=0.0, average="volume", reduction="none")
    np.testing.assert_allclose(got, want, rtol=2e-6)


def test_the_caller_says_what_a_class_costs_that_is_neither_predicted_nor_labelled():
    p, y = jnp.zeros((1, 5)), jnp.zeros((1, 5), int)
    empty = partial(jaxce.dice_loss, p, y, axis=None, activation="none")
    assert empty() == empty(smooth=0.0) == empty(smooth=1e-5) == 0
    assert empty(smooth=0.0, smooth_divisor=1e-5) == 1
    np.testing.assert_allclose(empty(smooth=1.0, smooth_divisor=4.0), 0.75)


def test_the_logarithm_of_a_tiny_overlap():
    """-log of a Dice of 1e-6: one minus the loss would keep no more than a digit."""
    x, y = np.float64([[[-14.0], [-15.0]]]), np.ones((1, 2, 1), int)
    p = 1 / (1 + np.exp(-x))
    want = -np.log(2 * p.sum() / (p.sum() + 2))
    got = jaxce.dice_loss(x.astype(np.float32), y, activation="sigmoid", smooth=0.0, log_loss=True)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert jaxce.dice_loss(jnp.zeros((1, 2)), y[..., 0], axis=None, activation="none", smooth=0.0, log_loss=True) > 1e38


@pytest.mark.parametrize("loss", [*LOSSES, "lovasz_softmax", "lovasz_hinge"])
def test_one_loss_for_each_class(loss):
    """The mean over the classes is that of the losses of the classes, which are those of class weights 0 and 1."""
    call = getattr(jaxce, loss)
    x, y = (X, BITS) if loss == "lovasz_hinge" else (X, IDS)
    call = partial(call, axis=-1)
    each = call(x, y, average="none", reduction="none")
    assert each.shape == (BATCH, CLASSES)
    for c, one in enumerate(np.eye(CLASSES, dtype=np.float32)):
        alone = call(x, y, class_weights=one, reduction="none")
        np.testing.assert_allclose(each[:, c], alone, rtol=2e-6)
    np.testing.assert_allclose(
        call(x, y, average="none", reduction=jaxce.Mean(axis=-1)), call(x, y, reduction="none"), rtol=2e-6
    )
    without = call(x, y, include_background=False, reduction="none")
    np.testing.assert_allclose(without, call(x, y, class_weights=np.float32([0, 1, 1, 1]), reduction="none"), rtol=2e-6)
    assert call(x, y, average="none", batch_axis=None, reduction="none").shape == (CLASSES,)


@pytest.mark.parametrize("loss", [*LOSSES, "lovasz_softmax", "lovasz_hinge"])
def test_binary_labels_have_an_ignored_value_and_a_mask_per_class(loss):
    labels = np.where(np.random.default_rng(4).random(SHAPE) < 0.2, 255, BITS).astype(np.uint8)
    own = {} if loss == "lovasz_hinge" else {"activation": "sigmoid"}
    call = partial(getattr(jaxce, loss), axis=-1, average="none", reduction="none", **own)
    x = np.where(labels == 255, np.nan, X).astype(np.float32)
    got = call(x, labels, ignore_index=255, where=KEEP)
    rows = [
        [
            call(X[i, ..., c][valid].reshape(1, -1, 1), BITS[i, ..., c][valid].reshape(1, -1, 1))[0, 0]
            if (valid := (labels[i, ..., c] != 255) & KEEP[i]).any()
            else 0.0
            for c in range(CLASSES)
        ]
        for i in range(BATCH)
    ]
    np.testing.assert_allclose(got, rows, rtol=3e-6)
    np.testing.assert_allclose(call(x, BITS, where=(labels != 255) & KEEP[..., None]), rows, rtol=3e-6)
    first = jnp.moveaxis(jnp.asarray(x), -1, 1), np.moveaxis(labels, -1, 1)
    np.testing.assert_allclose(call(*first, axis=1, ignore_index=255, where=KEEP), rows, rtol=3e-6)
    weights = np.random.default_rng(5).uniform(0.5, 2, SHAPE).astype(np.float32)
    by_weight = call(X, BITS, sample_weights=weights * (labels != 255) * KEEP[..., None])
    of_one = call(X, BITS, sample_weights=weights, where=(labels != 255) & KEEP[..., None])
    np.testing.assert_allclose(by_weight, of_one, rtol=3e-6)
    told = jaxce.explain(getattr(jaxce, loss), X, labels, axis=-1, ignore_index=255, where=KEEP, average="none", **own)
    assert told.classes["pixels"] == ((labels == 1) & KEEP[..., None]).sum((0, 1, 2)).tolist()
    mask = labels[..., 0]
    one = call(X[..., 0], mask, axis=None, ignore_index=255)
    want = [
        call(X[i, ..., 0][mask[i] != 255][None], BITS[i, ..., 0][mask[i] != 255][None], axis=None)[0] for i in range(4)
    ]
    np.testing.assert_allclose(one, want, rtol=3e-6)


@pytest.mark.parametrize(
    ("loss", "choice"), list(zip(LOSSES, [CHOICES[0], CHOICES[19], CHOICES[41]], strict=True)), ids=str
)
def test_counts_of_microbatches_are_those_of_the_whole_batch(loss, choice):
    own = LOSSES[loss] | choice
    call = partial(getattr(jaxce, loss), batch_axis=None, **own)

    def whole(x):
        return jnp.sum(call(x, IDS, where=KEEP, reduction="none"))

    def total(x, y, where):
        return call(x, y, where=where, reduction="total")

    def of_parts(x):
        return jnp.sum(sum(total(x[i : i + 1], IDS[i : i + 1], KEEP[i : i + 1]) for i in range(BATCH)).mean())

    def of_vmap(x):
        return jnp.sum(jax.vmap(total)(x, IDS, KEEP).sum().mean())

    def of_scan(x):
        first = total(x[0], IDS[0], KEEP[0]).zero()

        def add(so_far, rows):
            return so_far + jax.checkpoint(total)(*rows), None

        return jnp.sum(jax.lax.scan(add, first, (x, IDS, KEEP))[0].mean())

    want = jax.jit(jax.value_and_grad(whole))(X)
    for way in (of_parts, of_vmap, of_scan):
        chex.assert_trees_all_close(jax.jit(jax.value_and_grad(way))(X), want, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "choice"), list(zip(LOSSES, [CHOICES[0], CHOICES[25], CHOICES[41]], strict=True)), ids=str
)
@pytest.mark.parametrize("spec", [P("data"), P(None, None, "data")], ids=str)
def test_counts_are_summed_over_devices(spec, loss, choice):
    """A batch, and an image, in parts on four devices."""
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])
    specs = spec, spec, spec
    for batch_axis in (None, 0)[: 1 + (spec[0] is None)]:
        call = partial(getattr(jaxce, loss), batch_axis=batch_axis, **LOSSES[loss], **choice)

        def at_once(x, y, keep, call=call):
            return call(x, y, where=keep, axis_name="data", reduction="none")

        def by_total(x, y, keep, call=call):
            return call(x, y, where=keep, reduction="total").psum("data").mean()

        def whole(x, call=call):
            return jnp.sum(call(x, IDS, where=KEEP, reduction="none"))

        want = jax.jit(jax.value_and_grad(whole))(X)
        for way in (at_once, by_total) if batch_axis is None else (at_once,):
            split = jax.shard_map(way, mesh=mesh, in_specs=specs, out_specs=P())
            loss_of = jax.jit(jax.value_and_grad(lambda x, split=split: jnp.sum(split(x, IDS, KEEP))))
            chex.assert_trees_all_close(loss_of(X), want, rtol=2e-5, atol=1e-7)


def test_a_total_prints_and_adds_like_other_totals():
    total = jaxce.dice_loss(X, IDS, batch_axis=None, reduction="total")
    assert isinstance(total, jaxce.RegionTotal)
    assert repr(total).startswith("RegionTotal(tp=")
    np.testing.assert_allclose(0 + total.tp + total.fn, np.bincount(IDS.ravel(), minlength=CLASSES), rtol=1e-5)
    assert total.pixels == IDS.size
    with pytest.raises(TypeError):
        total + 1
    with pytest.raises(TypeError):
        total + jaxce.jaccard_loss(X, IDS, batch_axis=None, reduction="total")
    np.testing.assert_array_equal((total.zero() + total).mean(), total.mean())
    nothing = jaxce.dice_loss(X, IDS, batch_axis=None, where=np.zeros_like(KEEP), reduction="total")
    assert nothing.mean() == 0
    assert np.isnan(nothing.mean(empty=jnp.nan))
    np.testing.assert_array_equal(sum([nothing, total]).mean(), total.mean())


@pytest.mark.usefixtures("unannotated")
def test_value_and_grad_takes_no_total_of_counts():
    def loss_fn(x, y):
        return jaxce.dice_loss(x, y, batch_axis=None, reduction="total")

    with pytest.raises(TypeError, match=r"returned a RegionTotal; expected a Total. .* with a batch_axis"):
        jaxce.value_and_grad(loss_fn)(X, IDS)


def test_soft_f1_and_mcc_from_the_counts():
    """As in docs/choosing.md: from the counts of binary labels, for hard predictions the correlation."""
    x, y = (np.where(X > 0, 40.0, -40.0)).astype(np.float32), BITS
    total = jaxce.dice_loss(x, y, activation="sigmoid", batch_axis=None, reduction="total")
    assert total.tp.shape == (CLASSES,)
    tp, fp, fn = total.tp, total.fp, total.fn
    tn = total.pixels - tp - fp - fn
    mcc = (tp * tn - fp * fn) / jnp.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    want = [np.corrcoef(X[..., c].ravel() > 0, y[..., c].ravel())[0, 1] for c in range(CLASSES)]
    np.testing.assert_allclose(mcc, want, rtol=1e-4, atol=1e-6)
