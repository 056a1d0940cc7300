"""Regions: what counts, what is absent, what is ignored, and how pixels are gathered, against the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxce

RNG = np.random.default_rng(0)
BATCH, HEIGHT, WIDTH, CLASSES = 3, 4, 5, 4
X = (2 * RNG.normal(size=(BATCH, HEIGHT, WIDTH, CLASSES))).astype(np.float32)
IDS = RNG.integers(0, CLASSES - 1, (BATCH, HEIGHT, WIDTH))  # the last class is absent everywhere
IDS[1, :3] = 0  # and in the second example others are, too
ANSWERS = RNG.integers(0, 2, X.shape)
KEEP = RNG.random(IDS.shape) < 0.8
PIXEL_WEIGHTS = RNG.uniform(0.5, 2, IDS.shape).astype(np.float32)
CLASS_WEIGHTS = np.float32([1.0, 0.5, 2.0, 0.25])

OVERLAP = {"dice_loss": {"smooth": 0.5}, "tversky_loss": {"alpha": 0.3, "beta": 0.8, "gamma": 0.75}, "jaccard_loss": {}}
OF_CLASSES = {**OVERLAP, "lovasz_softmax": {}}
each_loss = pytest.mark.parametrize("loss", [*OF_CLASSES, "lovasz_hinge"])
each_of_classes = pytest.mark.parametrize("loss", OF_CLASSES)


def inputs(loss, activation):
    """Logits or probabilities with their labels, and the options that are only this loss's."""
    if loss == "lovasz_hinge":
        return X, ANSWERS, {"axis": -1}
    x = np.asarray(jax.nn.softmax(X)) if activation == "none" else X
    own = {"activation": activation} | OF_CLASSES[loss]
    return x, (ANSWERS if activation == "sigmoid" else IDS), own


def expected(loss, x, labels, batch, reduction, **options):
    """The reference works example by example; the batch as one region is one example."""
    if not batch:
        x, labels = x[None], labels[None]
        options |= {k: options[k][None] for k in ("where", "sample_weights") if k in options}
    values, weights = getattr(reference, loss)(x, labels, **options)
    return reference.reduced(values, weights, reduction) if batch or reduction == "mean" else values[0]


@pytest.mark.parametrize(
    ("loss", "activation"),
    [*((loss, a) for loss in OF_CLASSES for a in ("softmax", "sigmoid", "none")), ("lovasz_hinge", "sigmoid")],
)
def test_every_choice_with_every_other(loss, activation):
    x, labels, own = inputs(loss, activation)
    masks = {"where": KEEP, "sample_weights": PIXEL_WEIGHTS, "class_weights": CLASS_WEIGHTS}
    chosen = [(a, b, m) for a in ("count", "skip") for b in (0, None) for m in ({}, masks)]

    @jax.jit
    def every(x):
        call = getattr(jaxce, loss)
        return [call(x, labels, absent=a, batch_axis=b, reduction="none", **own, **m) for a, b, m in chosen]

    for got, (absent, batch_axis, mask) in zip(every(x), chosen, strict=True):
        want = expected(loss, x, labels, batch_axis is not None, "none", absent=absent, **own, **mask)
        np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-6, err_msg=f"{absent} {batch_axis} {[*mask]}")


@pytest.mark.parametrize(
    ("loss", "activation"),
    [*((loss, a) for loss in OF_CLASSES for a in ("softmax", "sigmoid", "none")), ("lovasz_hinge", "sigmoid")],
)
def test_the_gradient_of_every_choice(loss, activation, x64):
    """Along one direction at a time, by differences of the reference."""
    x, labels, own = inputs(loss, activation)
    x, labels = np.asarray(x[:2, :2, :2], float), labels[:2, :2, :2]
    direction = np.random.default_rng(1).normal(size=x.shape)
    direction *= 1e-2 if activation == "none" else 1.0
    masks = {"where": KEEP[:2, :2, :2], "class_weights": CLASS_WEIGHTS}
    chosen = [(a, b) for a in ("count", "skip") for b in (0, None)]

    @jax.jit
    def every(x):
        call = getattr(jaxce, loss)
        losses = [lambda x, a=a, b=b: call(x, labels, absent=a, batch_axis=b, **own, **masks) for a, b in chosen]
        return [jnp.vdot(jax.grad(one)(x), direction) for one in losses]

    for got, (absent, batch_axis) in zip(every(jnp.asarray(x)), chosen, strict=True):
        options = {"absent": absent, **own, **masks}
        up, down = (
            expected(loss, x + step * direction, labels, batch_axis is not None, "mean", **options)
            for step in (1e-6, -1e-6)
        )
        np.testing.assert_allclose(got, (up - down) / 2e-6, rtol=1e-6, atol=1e-8, err_msg=f"{absent} {batch_axis}")


@each_loss
def test_a_weight_of_a_pixel_is_its_repetition(loss):
    x, labels, own = inputs(loss, "softmax")
    times = RNG.integers(0, 4, WIDTH)
    times[0] = 1
    weights = np.broadcast_to(times.astype(np.float32), IDS.shape)
    call = getattr(jaxce, loss)
    repeated = call(x.repeat(times, 2), labels.repeat(times, 2), **own)
    np.testing.assert_allclose(call(x, labels, sample_weights=weights, **own), repeated, rtol=3e-6)
    np.testing.assert_allclose(call(x, labels, sample_weights=weights[:1, :1], **own), repeated, rtol=3e-6)


@each_of_classes
def test_the_void_pixels_of_a_segmentation_mask_are_not_there(loss):
    """As masks are stored: eight unsigned bits, with 255 for pixels that have no class."""
    labels = np.where(KEEP, IDS, 255).astype(np.uint8)
    call = getattr(jaxce, loss)
    got = call(X, labels, ignore_index=255, reduction="none")
    rows = [call(X[i][KEEP[i]][None], IDS[i][KEEP[i]][None], reduction="none")[0] for i in range(BATCH)]
    np.testing.assert_allclose(got, rows, rtol=3e-6)
    with pytest.raises(ValueError, match=r"id 255 at position .* ignore_index="):
        call(X, labels)


@each_loss
def test_one_example_under_vmap_is_the_batch(loss):
    x, labels, own = inputs(loss, "softmax")
    call = getattr(jaxce, loss)
    one = jax.vmap(lambda x, y: call(x, y, batch_axis=None, **own))
    np.testing.assert_allclose(one(x, labels), call(x, labels, reduction="none", **own), rtol=3e-6)


@each_loss
def test_channel_first_and_a_batch_that_is_last(loss):
    x, labels, own = inputs(loss, "softmax")
    call, want = getattr(jaxce, loss), getattr(jaxce, loss)(x, labels, reduction="none", **own)
    full = labels.ndim == x.ndim
    own.pop("axis", None)
    first = call(np.moveaxis(x, -1, 1), np.moveaxis(labels, -1, 1) if full else labels, axis=1, reduction="none", **own)
    np.testing.assert_allclose(first, want, rtol=3e-6)
    moved = np.moveaxis(labels, 0, -2 if full else -1)
    last = call(np.moveaxis(x, 0, -2), moved, axis=-1, batch_axis=2, reduction="none", **own)
    np.testing.assert_allclose(last, want, rtol=3e-6)


@each_loss
def test_a_binary_mask_needs_no_class_axis(loss):
    own = {} if loss == "lovasz_hinge" else {"activation": "sigmoid", **OF_CLASSES[loss]}
    call, x, y = getattr(jaxce, loss), X[..., 0], ANSWERS[..., 0]
    want = call(x[..., None], y[..., None], axis=-1, where=KEEP, **own)
    for labels in (y, y == 1, y.astype(np.float32)):
        assert call(x, labels, axis=None, where=KEEP, **own) == want
    if own:
        p = np.asarray(jax.nn.sigmoid(x))
        np.testing.assert_allclose(call(p, y, axis=None, where=KEEP, **own | {"activation": "none"}), want, rtol=3e-6)


def test_the_numbers_of_a_small_mask():
    """Two pixels found of three, one of them right: worked by hand."""
    found, truth = np.float32([[1, 1, 0, 0]]), np.array([[1, 0, 1, 1]])
    options = {"axis": None, "activation": "none", "smooth": 0}
    np.testing.assert_allclose(jaxce.dice_loss(found, truth, **options), 1 - 2 / 5, rtol=1e-6)
    np.testing.assert_allclose(jaxce.jaccard_loss(found, truth, **options), 1 - 1 / 4, rtol=1e-6)
    np.testing.assert_allclose(jaxce.tversky_loss(found, truth, alpha=0.2, beta=0.8, **options), 1 - 1 / 2.8, rtol=1e-6)
    np.testing.assert_allclose(
        jaxce.tversky_loss(found, truth, gamma=2, **options | {"smooth": 1}), (1 - 2 / 3.5) ** 2, rtol=1e-6
    )
    np.testing.assert_allclose(jaxce.lovasz_softmax(found, truth, axis=None, activation="none"), 1 - 1 / 4, rtol=1e-6)
    hinge = jaxce.lovasz_hinge(np.float32([[3.0, -0.5, -2.0]]), np.array([[1, 0, 1]]))
    np.testing.assert_allclose(hinge, 3 * 1 / 2 + 0.5 * (2 / 3 - 1 / 2), rtol=1e-6)


@each_of_classes
def test_what_is_found_exactly_costs_nothing(loss):
    call, smooth = getattr(jaxce, loss), {} if loss == "lovasz_softmax" else {"smooth": 0.0}
    found = np.eye(CLASSES, dtype=np.float32)[IDS]
    for absent in ("count", "skip"):  # an absent class without predictions has loss 0
        assert call(found, IDS, activation="none", absent=absent, **smooth) == 0
    gradient = jax.grad(lambda x: call(x, IDS, absent="count", **smooth))(jnp.asarray(200 * found))
    assert np.isfinite(gradient).all()


@each_loss
@pytest.mark.parametrize("scale", [1e4, 3e38])
def test_huge_scores(loss, scale):
    x, labels, own = inputs(loss, "softmax")
    call = getattr(jaxce, loss)
    for sign in (1, -1):
        value, gradient = jax.value_and_grad(lambda x: call(x, labels, **own))(jnp.asarray(sign * scale * np.sign(x)))
        assert np.isfinite(value) or (loss == "lovasz_hinge" and scale > 1e38)
        assert np.isfinite(gradient).all()


def test_the_steps_of_a_large_image_do_not_round_away():
    """A million pixels, of which the Jaccard loss is a sum of a million small steps."""
    rng = np.random.default_rng(0)
    p = np.float32(16 * rng.permutation(10**6)[None] + 3) / 2**24  # no two errors are equal, and none is rounded
    y = rng.random(p.shape) < 0.01
    errors = np.abs(y - p.astype(float))[0]
    order = np.argsort(-errors)
    truth = y[0][order]
    steps = np.diff(1 - (truth.sum() - truth.cumsum()) / (truth.sum() + (~truth).cumsum()), prepend=0)
    gradient = np.zeros(p.shape)
    gradient[0, order] = steps * np.where(truth, -1, 1)
    loss = jax.jit(jax.value_and_grad(lambda p, y: jaxce.lovasz_softmax(p, y, axis=None, activation="none")))
    value, got = loss(p, y)
    np.testing.assert_allclose(value, errors[order] @ steps, rtol=2e-6)
    np.testing.assert_allclose(got, gradient, rtol=2e-5, atol=1e-15)  # the rounding of `steps`, which are differences


def test_regions_without_a_pixel_that_counts_leave_the_mean():
    keep = KEEP.copy()
    keep[1] = False
    for loss in OF_CLASSES:
        call = getattr(jaxce, loss)
        whole = call(X, IDS, where=keep)
        np.testing.assert_allclose(whole, call(X[::2], IDS[::2], where=keep[::2]), rtol=2e-6)
        total = call(X, IDS, where=keep, reduction="total")
        assert total.weight == 2
        assert call(X, IDS, where=np.zeros_like(keep), reduction=jaxce.Mean(empty=7.0)) == 7


def test_the_gradient_where_everything_is_found():
    """Each miss still costs what it costs: nothing is lost at 0, where one minus an index would round."""
    truth, found = np.array([[1, 0, 0]]), jnp.float32([[1, 0, 0]])
    options = {"axis": None, "activation": "none"}
    for loss, want in (("dice_loss", 1 / 3), ("jaccard_loss", 1 / 2), ("tversky_loss", 1 / 4)):
        call = getattr(jaxce, loss)
        gradient = jax.grad(lambda p, call=call: call(p, truth, **options))(found)
        np.testing.assert_allclose(gradient, [[-want, want, want]], rtol=1e-6, err_msg=loss)
    np.testing.assert_array_equal(jax.grad(lambda p: jaxce.tversky_loss(p, truth, gamma=2, **options))(found), 0)
    almost = jnp.float32([[1, 1e-6, 0]])
    loss, gradient = jax.value_and_grad(lambda p: jaxce.tversky_loss(p, truth, gamma=0.75, **options))(almost)
    missed, half = 0.5e-6, 0.5
    np.testing.assert_allclose(loss, (missed / (2 + missed)) ** 0.75, rtol=1e-5)
    np.testing.assert_allclose(gradient[0, 1], 0.75 * (missed / 2) ** -0.25 * half * 2 / (2 + missed) ** 2, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-19, 1e-10, 1.0, 1e10, 1e20])
def test_lovasz_does_not_see_the_scale_of_the_weights(scale):
    p, y, options = jnp.float32([[0.9, 0.3, 0.6]]), jnp.float32([[0, 0, 1]]), {"axis": None, "activation": "none"}
    weights = np.full(p.shape, scale, np.float32)
    got = jax.value_and_grad(lambda y: jaxce.lovasz_softmax(p, y, sample_weights=weights, **options))(y)
    np.testing.assert_allclose(got[0], 0.65, rtol=1e-6)
    np.testing.assert_allclose(got[1], [[-0.5, -0.175, 0.375]], rtol=1e-5)


def test_lovasz_with_weights_that_differ_much():
    """Nearly all of the first pixel's error is owed as soon as there is any."""
    weights = np.float32([[1e-8, 1]])
    got = jaxce.lovasz_softmax(
        np.float32([[0.9, 0.4]]),
        np.array([[0, 0]]),
        axis=None,
        activation="none",
        absent="count",
        sample_weights=weights,
    )
    np.testing.assert_allclose(got, 0.9, rtol=1e-6)


def test_infinite_scores_of_the_lovasz_hinge():
    assert jaxce.lovasz_hinge(np.float32([[np.inf, np.inf]]), np.array([[0, 0]])) == np.inf
    weights = np.float32([[0, 1]])
    assert jaxce.lovasz_hinge(np.float32([[np.inf, -3]]), np.array([[0, 0]]), sample_weights=weights) == 0


@each_loss
def test_a_batch_axis_counts_in_the_shape_that_came(loss):
    own = {"axis": None} | ({} if loss == "lovasz_hinge" else {"activation": "sigmoid"})
    call, x, y = getattr(jaxce, loss), X[..., 0], ANSWERS[..., 0]
    for axis in range(3):
        want = call(x, y, batch_axis=axis, reduction="none", **own)
        assert want.shape == x.shape[axis : axis + 1]
        np.testing.assert_array_equal(call(x, y, batch_axis=axis - 3, reduction="none", **own), want)
