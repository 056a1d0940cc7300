"""Every message, word for word: each names the argument, what came, what was expected, and the usual fix."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.experimental import checkify
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce
from jaxce import Grouped, Hardest

X = np.zeros((2, 3), np.float32)
Y = np.zeros(2, np.int32)
IMAGE = np.zeros((2, 3, 4, 4), np.float32)
PIXELS = np.zeros((2, 4, 4), np.int32)
H = np.zeros((2, 4), np.float32)
W = np.zeros((4, 3), np.float32)

ce, nll, linear, reduce = jaxce.cross_entropy, jaxce.nll_loss, jaxce.linear_cross_entropy, jaxce.reduce
sigmoid, bce, balanced = jaxce.sigmoid_binary_cross_entropy, jaxce.binary_cross_entropy, jaxce.balanced_class_weights


def on_a_mesh(hidden, kernel, **options):
    with jax.set_mesh(jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)):
        return jax.jit(lambda h, w: linear(h, w, np.zeros(len(hidden), np.int32), **options))(hidden, kernel)


def one_total(x, y):
    return ce(x, y, reduction="total")


def step(**options):
    return jaxce.value_and_grad(lambda kernel, hidden, labels: one_total(hidden @ kernel, labels), **options)


def step_on_a_mesh(microbatches):
    with jax.set_mesh(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))):
        rows = jax.device_put(np.ones((16, 3), np.float32), P("data"))
        return jax.jit(step(microbatches=microbatches))(jnp.ones((3, 3)), rows, np.zeros(16, np.int32))


MISTAKES = {
    "ids with the class axis kept, channel first": lambda: ce(IMAGE, PIXELS[:, None], axis=1),
    "ids with the class axis kept, channel last": lambda: ce(X, Y[:, None]),
    "channel-first logits with the default axis": lambda: ce(IMAGE, PIXELS),
    "one-hot integers": lambda: ce(X, np.eye(3, dtype=np.int32)[:2]),
    "one-hot booleans": lambda: ce(X, np.eye(3, dtype=bool)[:2]),
    "boolean labels": lambda: ce(X, Y == 0),
    "float ids": lambda: ce(X, Y.astype(np.float32)),
    "probabilities of the wrong shape": lambda: ce(X, np.ones((3, 3), np.float32)),
    "channel-first logits of as many classes as examples": lambda: ce(IMAGE[:, :2], PIXELS),
    "labels of the wrong batch": lambda: ce(X, np.zeros(3, np.int32)),
    "labels of the wrong rank": lambda: ce(X, np.zeros((2, 5, 7), np.int32)),
    "complex labels": lambda: ce(X, Y.astype(np.complex64)),
    "labels that are names": lambda: ce(X, np.array(["cat", "dog"])),
    "labels before logits": lambda: ce(Y, X),
    "binary labels before logits": lambda: sigmoid(np.eye(3, dtype=int)[:2], X),
    "a box of Flax": lambda: linear(H, nn.Partitioned(W, (None, "model")), Y),
    "an ignored id that the labels do not hold": lambda: ce(X, np.array([0, -1], np.int8), ignore_index=255),
    "a traced axis": lambda: jax.jit(lambda axis: ce(X, Y, axis=axis))(1),
    "another reduction of one array": lambda: ce(X, Y, reduction=jnp.max),
    "sample weights below 0": lambda: ce(X, Y, sample_weights=np.array([-1.0, 1])),
    "a reduction of one array": lambda: ce(X, Y, reduction=jnp.mean),
    "weight": lambda: ce(X, Y, weight=np.ones(3)),
    "mask": lambda: ce(X, Y, mask=Y == 0),
    "from_logits": lambda: sigmoid(X, X, from_logits=True),
    "ignore_label": lambda: ce(X, Y, ignore_label=0),
    "smoothing": lambda: ce(X, Y, smoothing=0.1),
    "dim": lambda: ce(X, Y, dim=1),
    "target": lambda: ce(X, target=Y),
    "a misspelt keyword": lambda: ce(X, Y, label_smothing=0.1),
    "a keyword without a likeness": lambda: jaxce.entropy(X, temperature=2.0),
    "options by position": lambda: ce(X, Y, np.ones(3)),
    "labels as a list": lambda: ce(X, [0, 0]),
    "integer logits": lambda: ce(X.astype(np.int32), Y),
    "integer log-probabilities": lambda: nll(X.astype(np.int32), Y),
    "no class axis": lambda: ce(np.float32(1.0), Y),
    "no classes": lambda: ce(np.zeros((2, 0), np.float32), Y),
    "axis outside": lambda: ce(X, Y, axis=2),
    "axis of another type": lambda: ce(X, Y, axis=1.0),
    "a class axis given twice": lambda: ce(X, Y, axis=(1, -1)),
    "no class axes": lambda: ce(X, Y, axis=()),
    "ids of several class axes": lambda: ce(IMAGE, Y, axis=(1, 2)),
    "id -1": lambda: ce(X, np.array([0, -1])),
    "id -100": lambda: ce(X, np.array([-100, 1])),
    "id C": lambda: ce(X, np.array([0, 3], np.uint8)),
    "id outside in an image": lambda: ce(IMAGE, PIXELS + 255 * (PIXELS == 0), axis=1),
    "id with one class": lambda: ce(IMAGE[:, :1], PIXELS + 1, axis=1),
    "class weights of the wrong length": lambda: ce(X, Y, class_weights=np.ones(2)),
    "class weights for each example": lambda: ce(X, Y, class_weights=np.ones((2, 3))),
    "class weights that are bool": lambda: ce(X, Y, class_weights=np.ones(3, bool)),
    "sample weights that would broadcast": lambda: ce(X, Y, sample_weights=np.ones((2, 1))),
    "sample weights of the wrong length": lambda: ce(X, Y, sample_weights=np.ones(3)),
    "sample weights that miss an axis": lambda: ce(IMAGE, PIXELS, axis=1, sample_weights=np.ones((4, 4))),
    "sample weights that are bool": lambda: ce(X, Y, sample_weights=np.ones(2, bool)),
    "mask as a list": lambda: ce(X, Y, where=[True, False]),
    "mask of numbers": lambda: ce(X, Y, where=np.ones(2)),
    "mask of the wrong rank": lambda: ce(X, Y, where=np.ones((2, 1), bool)),
    "ignore index with probabilities": lambda: ce(X, X, ignore_index=0),
    "ignore index that is no integer": lambda: ce(X, Y, ignore_index=1.5),
    "ignore index that is a bool": lambda: ce(X, Y, ignore_index=True),
    "label smoothing above 1": lambda: ce(X, Y, label_smoothing=1.2),
    "label smoothing below 0": lambda: ce(X, Y, label_smoothing=-0.1),
    "label smoothing for each class": lambda: ce(X, Y, label_smoothing=jnp.ones(3)),
    "z-loss below 0": lambda: ce(X, Y, z_loss=-1.0),
    "z-loss that is not a number": lambda: ce(X, Y, z_loss=float("nan")),
    "class weights below 0": lambda: ce(X, Y, class_weights=np.array([1.0, -1.0, 1.0])),
    "sample weights that are NaN": lambda: ce(X, Y, sample_weights=np.array([1.0, np.nan])),
    "pos_weight below 0": lambda: sigmoid(X, X, pos_weight=-1.0),
    "probabilities below 0": lambda: ce(X, X - 1),
    "logits and probabilities swapped": lambda: ce(np.eye(3, dtype=np.float32), X[[0, 1, 1]] - 1),
    "binary labels as one class": lambda: ce(X[:, :1], np.float32([[0], [1]])),
    "probabilities of several classes at once": lambda: ce(X, X + 1),
    "rows of zeros as labels": lambda: ce(X, X),
    "sigmoid labels of 0 and 255 as floats": lambda: sigmoid(X, X + 255),
    "sigmoid labels that are signs": lambda: sigmoid(X, X - 1),
    "unknown reduction": lambda: ce(X, Y, reduction="avg"),
    "reduction class for object": lambda: ce(X, Y, reduction=jaxce.Mean),
    "kernel of the other layout": lambda: linear(H, W.T, Y),
    "kernel of other features": lambda: linear(H, W[:3], Y, kernel_layout="vd"),
    "kernel without classes": lambda: linear(H, W[:, :0], Y),
    "kernel layout that is unknown": lambda: linear(H, W, Y, kernel_layout="nk"),
    "integer kernel": lambda: linear(H, W.astype(np.int8), Y),
    "integer hidden states": lambda: linear(H.astype(np.int32), W, Y),
    "hidden states without an axis": lambda: linear(np.float32(1), W, Y),
    "bias of the wrong length": lambda: linear(H, W, Y, bias=np.ones(4)),
    "labels of tokens as floats": lambda: linear(H, W, Y.astype(np.float32)),
    "labels of tokens as bools": lambda: linear(H, W, Y == 0),
    "labels of tokens that are probabilities": lambda: linear(H, W, X),
    "labels of tokens with a last axis": lambda: linear(H, W, Y[:, None]),
    "labels of other tokens": lambda: linear(H, W, np.zeros(3, np.int32)),
    "id outside of the kernel": lambda: linear(H, W, np.array([0, 3])),
    "mask of tokens of numbers": lambda: linear(H, W, Y, where=np.ones(2)),
    "chunks of no token": lambda: linear(H, W, Y, chunk_size=0),
    "chunks of half a token": lambda: linear(H, W, Y, chunk_size=0.5),
    "logit scale 0": lambda: linear(H, W, Y, logit_scale=0),
    "logit scale 0 of NumPy": lambda: linear(H, W, Y, logit_scale=np.float32(0)),
    "logit softcap 0 of JAX": lambda: linear(H, W, Y, logit_softcap=jnp.float32(0)),
    "no label smoothing": lambda: linear(H, W, Y, label_smoothing=None),
    "complex label smoothing": lambda: linear(H, W, Y, label_smoothing=np.complex64(1j)),
    "logit softcap below 0": lambda: linear(H, W, Y, logit_softcap=-1.0),
    "logit softcap without end": lambda: linear(H, W, Y, logit_softcap=np.inf),
    "logit softcap for each class": lambda: linear(H, W, Y, logit_softcap=np.ones(3)),
    "specs without a mesh": lambda: linear(H, W, Y, in_specs=(P(), P())),
    "specs that are names": lambda: on_a_mesh(H, W, in_specs=("data", "model")),
    "specs of one array": lambda: on_a_mesh(H, W, in_specs=P("data")),
    "specs of an axis that is not there": lambda: on_a_mesh(H, W, in_specs=(P("batch"), P())),
    "specs of more axes than there are": lambda: on_a_mesh(H, W, in_specs=(P(), P(None, None, "model"))),
    "specs of the other layout": lambda: on_a_mesh(H, W.T, kernel_layout="vd", in_specs=(P(), P(None, "model"))),
    "no specs under a trace": lambda: on_a_mesh(H, W),
    "no specs under a trace of the other layout": lambda: on_a_mesh(H, W.T, kernel_layout="vd"),
    "tokens that the mesh does not divide": lambda: on_a_mesh(H, W, in_specs=(P("data"), P())),
    "classes that the mesh does not divide": lambda: on_a_mesh(H, W, in_specs=(P(), P(None, "model"))),
    "sigmoid labels (N,) for logits (N, 1)": lambda: sigmoid(X[:, :1], Y),
    "sigmoid labels (N, 1) for logits (N,)": lambda: sigmoid(X[:, 0], Y[:, None]),
    "sigmoid labels that are ids": lambda: sigmoid(X, Y),
    "sigmoid labels of the wrong shape": lambda: sigmoid(X, np.zeros((2, 4), np.float32)),
    "sigmoid labels of 0 and 255": lambda: sigmoid(X, np.full((2, 3), 255, np.uint8)),
    "sigmoid labels that are complex": lambda: sigmoid(X, X.astype(np.complex64)),
    "pos_weight of the wrong length": lambda: sigmoid(X, X, pos_weight=np.ones(2)),
    "sigmoid mask for each example": lambda: sigmoid(X, X, where=np.ones(2, bool)),
    "probabilities above 1": lambda: bce(X + 2, X),
    "integer probabilities": lambda: bce(X.astype(np.int32), X),
    "values that are integers": lambda: reduce(Y),
    "weights that would broadcast": lambda: reduce(X, weights=np.ones(3)),
    "counting floats": lambda: balanced(X, 3),
    "counting for no classes": lambda: balanced(Y, 0),
    "counting an id outside": lambda: balanced(np.array([0, 3]), 3),
    "unknown scheme": lambda: balanced(Y, 3, scheme="cubic"),
    "beta above 1": lambda: balanced(Y, 3, scheme="effective", beta=1.5),
    "gamma below 0": lambda: jaxce.focal_loss(X, Y, gamma=-1.0),
    "gamma for each class": lambda: jaxce.focal_loss(X, Y, gamma=np.ones(3)),
    "q above 1": lambda: jaxce.generalized_cross_entropy(X, Y, q=1.5),
    "epsilon below -1": lambda: jaxce.poly1_loss(X, Y, epsilon=-2.0),
    "alpha above 1": lambda: jaxce.sigmoid_focal_loss(X, X, alpha=2.0),
    "quality of an unknown variant": lambda: jaxce.quality_focal_loss(X, X, variant="focal"),
    "views along the class axis": lambda: jaxce.js_divergence_of_views(X, view_axis=1),
    "no views": lambda: jaxce.js_divergence_of_views(X[:0]),
    "beta of a divergence above 1": lambda: jaxce.js_divergence(X, Y, beta=1.5),
    "clip above 1": lambda: jaxce.asymmetric_loss(X, X, clip=5),
    "entropy of integers": lambda: jaxce.entropy(Y),
    "hinge of probabilities": lambda: jaxce.multiclass_hinge_loss(X, X),
    "hinge of booleans": lambda: jaxce.multiclass_hinge_loss(X, Y == 0),
    "hinge of an unknown variant": lambda: jaxce.multiclass_hinge_loss(X, Y, variant="vapnik"),
    "hinge to the power 0": lambda: jaxce.multiclass_hinge_loss(X, Y, p=0),
    "multi-label margin of lists of ids": lambda: jaxce.multilabel_margin_loss(X, np.array([[2, -1, 0], [0, 1, -1]])),
    "multi-label labels that are ids": lambda: jaxce.multilabel_soft_margin_loss(X, Y),
    "multi-label mask for each class": lambda: jaxce.multilabel_margin_loss(X, X, where=X == 0),
    "signs of 0": lambda: jaxce.soft_margin_loss(X, np.eye(3, dtype=np.int32)[:2]),
    "region labels of channel-first images": lambda: jaxce.dice_loss(IMAGE, PIXELS),
    "region of an unknown activation": lambda: jaxce.dice_loss(IMAGE, PIXELS, axis=1, activation="tanh"),
    "region of an unknown rule for the absent": lambda: jaxce.lovasz_hinge(X, Y, absent="present"),
    "region of a mask without a class axis": lambda: jaxce.dice_loss(IMAGE[:, 0], PIXELS),
    "region of a mask with one class": lambda: jaxce.dice_loss(IMAGE[:, :1], PIXELS + 1, axis=1),
    "region of several classes at once": lambda: jaxce.dice_loss(X, np.ones((2, 3), np.float32)),
    "region without a class axis": lambda: jaxce.dice_loss(IMAGE, PIXELS, axis=None),
    "region of a binary mask as ids": lambda: jaxce.dice_loss(X, Y, activation="sigmoid"),
    "region of probabilities that are logits": lambda: jaxce.jaccard_loss(X - 1, Y, activation="none"),
    "region with ignored binary labels": lambda: jaxce.dice_loss(X, X, activation="sigmoid", ignore_index=255),
    "region of an unknown average": lambda: jaxce.dice_loss(X, Y, average="mean"),
    "region of sorted errors with summed counts": lambda: jaxce.lovasz_softmax(X, Y, average="micro"),
    "region of unknown counts": lambda: jaxce.jaccard_loss(X, Y, soft_counts="squares"),
    "region without background and without classes": lambda: jaxce.lovasz_hinge(X, X, include_background=False),
    "region over devices outside of shard_map": lambda: jaxce.dice_loss(X, Y, axis_name="data"),
    "smooth divisor below 0": lambda: jaxce.dice_loss(X, Y, smooth_divisor=-1),
    "batch axis that is the class axis": lambda: jaxce.dice_loss(X, Y, batch_axis=1),
    "batch axis outside": lambda: jaxce.dice_loss(X, Y, batch_axis=2),
    "batch axis of a single example": lambda: jaxce.dice_loss(X[0], 0),
    "batch axis outside of a mask without classes": lambda: jaxce.lovasz_hinge(X, X, batch_axis=-3),
    "class weights of one mask": lambda: jaxce.lovasz_hinge(X, X, class_weights=np.ones(1)),
    "binary labels that are signs": lambda: jaxce.lovasz_hinge(X, X - 1),
    "smooth below 0": lambda: jaxce.tversky_loss(X, Y, smooth=-1),
    "the same argument twice": lambda: step(argnums=(0, -3))(jnp.ones((3, 3)), X, Y),
    "microbatches that devices do not divide": lambda: step_on_a_mesh(4),
    "microbatches that do not divide": lambda: step(microbatches=3)(W, H, Y),
    "microbatches of a number": lambda: step(microbatches=2)(W, {"scale": 1.0}, Y),
    "microbatches without a batch": lambda: step(microbatches=2)(W, hidden=H, labels=Y),
    "microbatches of half a row": lambda: step(microbatches=0.5)(W, H, Y),
    "no microbatches": lambda: step(microbatches=0)(W, H, Y),
    "gradient of an argument that is missing": lambda: step(argnums=3)(W, H, Y),
    "gradient over an unknown axis": lambda: step(axis_name="data")(W, H, Y),
    "gradient of a mean": lambda: jaxce.value_and_grad(lambda x: ce(x, Y))(X),
    "gradient of a total and more": lambda: jaxce.value_and_grad(lambda x: ce(x, Y, reduction="total", has_aux=True))(
        X
    ),
    "gradient of a total without more": lambda: step(has_aux=True)(W, H, Y),
    "gradient of many totals": lambda: jaxce.value_and_grad(jax.vmap(one_total))(X, Y),
    "gradient of a weight": lambda: jaxce.value_and_grad(
        lambda w: ce(X, X + 1 / 3, class_weights=w, reduction="total")
    )(X[0]),
    "hardest by nothing": lambda: Hardest(),
    "hardest by two numbers": lambda: Hardest(k=3, fraction=0.5),
    "hardest half of an example": lambda: Hardest(k=0.5),
    "hardest of none": lambda: Hardest(k=0),
    "hardest k and more": lambda: Hardest(k=3, min_kept=5),
    "hardest percent": lambda: reduce(X, reduction=Hardest(fraction=25)),
    "hardest along no axis": lambda: reduce(X, reduction=Hardest(k=3, axis=(0, 2))),
    "negatives for no positives": lambda: Hardest(ratio=3.0),
    "positives for no negatives": lambda: Hardest(k=3, positives=X > 0),
    "positives that are numbers": lambda: reduce(X, reduction=Hardest(ratio=1, positives=X)),
    "positives of another shape": lambda: reduce(X, reduction=Hardest(ratio=1, positives=Y > 0)),
    "no groups": lambda: Grouped(Y, 0),
    "groups that are numbers": lambda: ce(X, Y, reduction=Grouped(X[:, 0], 2)),
    "groups of another shape": lambda: ce(X, Y, reduction=Grouped(Y[:1, None], 2)),
    "a group too many": lambda: ce(X, Y, reduction=Grouped(Y + 2, 2)),
    "a group below 0": lambda: ce(X, Y, reduction=Grouped(Y - 1, 2)),
}

ANNOTATED_AWAY = {
    "hardest half of an example",
    "no label smoothing",
    "a box of Flax",
    "a traced axis",
    "labels as a list",
    "mask as a list",
    "axis of another type",
    "region of an unknown average",
    "region of sorted errors with summed counts",
    "region of unknown counts",
    "ignore index that is no integer",
    "kernel layout that is unknown",
    "chunks of half a token",
    "logit scale 0 of NumPy",
    "logit softcap for each class",
    "specs that are names",
    "specs of one array",
    "unknown scheme",
    "unknown reduction",
    "microbatches of half a row",
    "hinge of an unknown variant",
    "quality of an unknown variant",
    "region of an unknown activation",
    "region of an unknown rule for the absent",
    "gamma for each class",
}
"""Mistakes that the run-time annotation checks of the second pass report before the library can."""


def snapshot():
    """Name, type and text of every message, as `messages.txt` holds them."""
    lines = (pathlib.Path(__file__).parent / "messages.txt").read_text().splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return {name: tuple(line.strip().split(": ", 1)) for name, line in pairs}


def test_every_mistake_has_its_message():
    assert set(snapshot()) == set(MISTAKES)


@pytest.mark.parametrize("name", MISTAKES)
def test_message(name, request):
    if name in ANNOTATED_AWAY and request.config.getoption("--jaxtyping-packages", None):
        pytest.skip("the annotations speak first")
    kind, text = snapshot()[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        MISTAKES[name]()
    text_found = str(caught.value).replace("PartitionSpec(", "P(")  # as JAX writes it since 0.10
    assert (type(caught.value).__name__, text_found) == (kind, text)


ONLY_VALUES_SHOW = {
    "sigmoid labels of 0 and 255",
    "sigmoid labels of 0 and 255 as floats",
    "sigmoid labels that are signs",
    "binary labels that are signs",
    "class weights below 0",
    "sample weights that are NaN",
    "sample weights below 0",
    "binary labels as one class",
    "rows of zeros as labels",
}
SHAPED = ("labels", "weights", "mask", "kernel", "hidden", "bias")
STATIC = [n for n in MISTAKES if any(word in n for word in SHAPED) and n not in ONLY_VALUES_SHOW]


@pytest.mark.parametrize("name", STATIC)
def test_what_shapes_and_dtypes_show_raises_under_a_trace_too(name, request):
    if name in ANNOTATED_AWAY and request.config.getoption("--jaxtyping-packages", None):
        pytest.skip("the annotations speak first")
    with pytest.raises((TypeError, ValueError)):
        jax.jit(MISTAKES[name])()


def test_what_only_values_show_is_nan_under_a_trace():
    traced = {
        "sigmoid": jax.value_and_grad(lambda x, y: sigmoid(x, y))(X, jnp.ones((2, 3), jnp.int32)),
        "labels": jax.jit(jax.value_and_grad(lambda x, y: sigmoid(x, y)))(X, jnp.full((2, 3), 255)),
        "probs": jax.jit(jax.value_and_grad(lambda x, y: bce(x, y)))(X - 0.5, X),
    }
    assert np.isfinite(traced.pop("sigmoid")[1]).all()
    for name, (value, gradient) in traced.items():
        assert np.isnan(value), name
        assert np.isnan(gradient).all(), name
    assert np.isnan(jax.jit(lambda y: balanced(y, 3))(jnp.array([0, 3]))).all()


def test_checkify_finds_the_nan_of_a_bad_value():
    for loss, labels in ((lambda y: sigmoid(X, y), jnp.full((2, 3), 255)), (lambda p: bce(p, X), X - 0.5)):
        error, _ = jax.jit(checkify.checkify(loss, errors=checkify.nan_checks))(labels)
        assert "nan generated by primitive" in error.get()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_ids_of_any_integer_dtype_never_wrap(dtype):
    logits = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    ids = np.array([0, 7, 120], dtype)
    want = ce(logits, ids.astype(np.int32))
    for y in (ids, jnp.asarray(ids)):
        assert ce(logits, y) == want
        assert ce(logits, y, ignore_index=-100) == want  # -100 is 156 in eight unsigned bits
        assert ce(logits, y, ignore_index=2**70) == want
        assert ce(logits, y, ignore_index=120) == ce(logits[:2], ids[:2])
    largest = np.array([0, 7, np.iinfo(dtype).max], dtype)
    if np.iinfo(dtype).max >= 300:
        with pytest.raises(ValueError, match=f"id {np.iinfo(dtype).max} at position"):
            ce(logits, largest)


@pytest.mark.parametrize("loss", [ce, lambda x, y, **options: linear(x, jnp.eye(300), y, **options)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16, np.int32, np.uint32])
def test_a_traced_ignored_id_never_wraps(dtype, loss):
    """It is ignored in no other number of bits: -100 is 156 in eight of them, and -1 is the largest in 32."""
    logits = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    last = 120 if dtype == np.int8 else 156
    y, ids = np.array([0, 7, last], dtype), jnp.asarray([-100, -1, 2**16 + 7, last])
    got = jax.jit(jax.vmap(lambda i: loss(logits, y, ignore_index=i)))(ids)
    whole, part = ce(logits, y), ce(logits[:2], y[:2])
    np.testing.assert_allclose(got, [whole, whole, whole, part], rtol=2e-6)
    np.testing.assert_allclose(jax.jit(lambda i: loss(logits, y, ignore_index=i))(jnp.uint8(last)), part, rtol=2e-6)


def test_a_traced_ignored_id_is_one_number():
    with pytest.raises(ValueError, match=r"ignore_index: got shape \(2,\); expected one integer id"):
        jax.jit(lambda ids: ce(X, Y, ignore_index=ids))(jnp.array([0, 1]))


def test_a_64_bit_id_is_not_cut_to_32_bits():
    with pytest.raises(ValueError, match=f"id {2**32 + 1} at position"):
        ce(X, np.array([0, 2**32 + 1]))
    assert ce(X, np.array([0, 2**32 + 1]), ignore_index=2**32 + 1) == ce(X[:1], Y[:1])


def test_a_mask_that_is_traced_hides_a_bad_id_too():
    masked = jax.jit(lambda keep: ce(X, np.array([0, 9]), where=keep))
    assert masked(jnp.array([True, False])) == ce(X[:1], Y[:1])
    assert np.isnan(masked(jnp.array([True, True])))


def test_objects_that_turn_into_arrays_are_arrays(request):
    if request.config.getoption("--jaxtyping-packages", None):
        pytest.skip("the annotations know no such objects")

    class Parameter:
        def __jax_array__(self):
            return jnp.asarray(X)

    assert ce(Parameter(), Y) == ce(X, Y)
    assert ce(np.ones(3, np.float32), 2) == ce(np.ones(3, np.float32), np.array(2))
