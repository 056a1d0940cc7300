"""The fix that a message proposes gives the right number: each is followed, and compared with float64 NumPy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from flax import linen as nn
from test_errors import snapshot

import jaxce
from jaxce import Grouped, Hardest

RNG = np.random.default_rng(0)
X, IMAGE = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 3), (2, 3, 4, 4)))
H, W = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 4), (4, 3)))
Y, PIXELS = np.array([2, 0]), RNG.integers(0, 3, (2, 4, 4))
MASK = PIXELS > 0
ONE_HOT, PROBS = np.eye(3, dtype=int)[Y], RNG.dirichlet(np.ones(3), 2).astype(np.float32)
BITS = RNG.integers(0, 2, (2, 3))
FIRST = np.array([True, False])
VOID = np.where(FIRST[:, None], BITS, -1)

ce, linear, sigmoid, dice = (
    getattr(jaxce, f"{name}")
    for name in ("cross_entropy", "linear_cross_entropy", "sigmoid_binary_cross_entropy", "dice_loss")
)


def mean_of(loss, x, labels, axis=-1, **options):
    """The reference's mean."""
    values, weights = getattr(reference, loss)(np.asarray(x, float), labels, axis=axis, **options)
    return values.sum() / weights.sum()


def softmax_loss(x, labels, axis=-1):
    return mean_of("cross_entropy", x, labels, axis)


def binary(x, labels):
    return mean_of("sigmoid_binary_cross_entropy", x, np.asarray(labels, float))


def region(x, labels, axis=-1, activation="softmax"):
    return mean_of("dice_loss", x, labels, axis, activation=activation)


def mask_region(x, labels):
    """Dice of one class: a mask of each example."""
    return region(np.asarray(x)[..., None], np.asarray(labels, float)[..., None], activation="sigmoid")


CURES = {
    "ids with the class axis kept, channel first": (
        "labels[:, 0]",
        lambda: ce(IMAGE, PIXELS[:, None][:, 0], axis=1),
        softmax_loss(IMAGE, PIXELS, 1),
    ),
    "ids with the class axis kept, channel last": (
        "labels[..., 0]",
        lambda: ce(X, Y[:, None][..., 0]),
        softmax_loss(X, Y),
    ),
    "channel-first logits with the default axis": (
        "axis=1",
        lambda: ce(IMAGE, PIXELS, axis=1),
        softmax_loss(IMAGE, PIXELS, 1),
    ),
    "one-hot integers": ("jnp.argmax(labels, 1)", lambda: ce(X, jnp.argmax(ONE_HOT, 1)), softmax_loss(X, Y)),
    "one-hot booleans": (
        "labels.astype(jnp.float32)",
        lambda: ce(X, (ONE_HOT > 0).astype(jnp.float32)),
        softmax_loss(X, Y),
    ),
    "boolean labels": (
        "labels.astype(jnp.int32)",
        lambda: ce(X, FIRST.astype(jnp.int32)),
        softmax_loss(X, np.array([1, 0])),
    ),
    "float ids": (
        "labels.astype(jnp.int32)",
        lambda: ce(X, Y.astype(np.float32).astype(jnp.int32)),
        softmax_loss(X, Y),
    ),
    "channel-first logits of as many classes as examples": (
        "axis=1 or axis=0",
        lambda: ce(IMAGE[:, :2], PIXELS % 2, axis=1),
        softmax_loss(IMAGE[:, :2], PIXELS % 2, 1),
    ),
    "binary labels as one class": (
        "sigmoid_binary_cross_entropy",
        lambda: sigmoid(X[:, :1], np.float32([[0], [1]])),
        binary(X[:, :1], [[0], [1]]),
    ),
    "logits and probabilities swapped": (
        "jax.nn.softmax",
        lambda: ce(X, jax.nn.softmax(2 * X)),
        softmax_loss(X, np.exp(2.0 * X) / np.exp(2.0 * X).sum(1, keepdims=True)),
    ),
    "labels of the wrong batch": ("axis=0", lambda: ce(X.T, Y, axis=0), softmax_loss(X, Y)),
    "labels as a list": ("jnp.asarray(...)", lambda: ce(X, jnp.asarray([2, 0])), softmax_loss(X, Y)),
    "labels that are names": (
        "np.unique(labels, return_inverse=True)[1]",
        lambda: ce(X, np.unique(np.array(["cat", "ant"]), return_inverse=True)[1]),
        softmax_loss(X, np.array([1, 0])),
    ),
    "integer logits": ("logits.astype(jnp.float32)", lambda: ce(BITS.astype(jnp.float32), Y), softmax_loss(BITS, Y)),
    "integer kernel": (
        "kernel.astype(jnp.float32)",
        lambda: linear(H, W.astype(jnp.float32), Y),
        softmax_loss(H @ W, Y),
    ),
    "id -1": ("ignore_index=-1", lambda: ce(X, np.array([2, -1]), ignore_index=-1), softmax_loss(X[:1], Y[:1])),
    "id -100": ("ignore_index=-100", lambda: ce(X, np.array([2, -100]), ignore_index=-100), softmax_loss(X[:1], Y[:1])),
    "id C": ("where=", lambda: ce(X, np.array([2, 3]), where=FIRST), softmax_loss(X[:1], Y[:1])),
    "id with one class": (
        "sigmoid_binary_cross_entropy on logits[:, 0]",
        lambda: sigmoid(IMAGE[:, :1][:, 0], MASK),
        binary(IMAGE[:, 0], MASK),
    ),
    "an ignored id that the labels do not hold": (
        "labels.astype(jnp.uint8)",
        lambda: ce(X, np.array([2, -1], np.int8).astype(jnp.uint8), ignore_index=255),
        softmax_loss(X[:1], Y[:1]),
    ),
    "sample weights that are bool": ("where=", lambda: ce(X, Y, where=FIRST), softmax_loss(X[:1], Y[:1])),
    "ignore index with probabilities": ("where=", lambda: ce(X, PROBS, where=FIRST), softmax_loss(X[:1], PROBS[:1])),
    "a reduction of one array": ('"mean"', lambda: ce(X, Y, reduction="mean"), softmax_loss(X, Y)),
    "another reduction of one array": (
        'reduction="none" and reduce',
        lambda: jnp.max(ce(X, Y, reduction="none")),
        reference.cross_entropy(X.astype(float), Y)[0].max(),
    ),
    "sample weights below 0": (
        'multiply the losses of reduction="none"',
        lambda: jnp.sum(np.float32([-1, 1]) * ce(X, Y, reduction="none")),
        np.dot([-1, 1], reference.cross_entropy(X.astype(float), Y)[0]),
    ),
    "sample weights that are NaN": (
        'multiply the losses of reduction="none"',
        lambda: jnp.sum(np.float32([0, 1]) * ce(X, Y, reduction="none")),
        reference.cross_entropy(X.astype(float), Y)[0][1],
    ),
    "negatives for no positives": (
        "labels > 0",
        lambda: ce(X, Y, reduction=Hardest(ratio=1, positives=Y > 0)),
        softmax_loss(X, Y),
    ),
    "positives that are numbers": (
        "positives > 0",
        lambda: jaxce.reduce(X, reduction=Hardest(ratio=0, positives=BITS.astype(np.float32) > 0)),
        X[BITS > 0].mean(dtype=float),
    ),
    "a group too many": (
        "num_groups=3",
        lambda: ce(X, Y, reduction=Grouped(np.array([2, 2]), num_groups=3)).mean()[2],
        softmax_loss(X, Y),
    ),
    "a group below 0": (
        "Mask examples without a group with where=",
        lambda: ce(X, Y, where=FIRST, reduction=Grouped(np.array([1, -1]), 2)).mean()[1],
        softmax_loss(X[:1], Y[:1]),
    ),
    "reduction class for object": ("Mean()", lambda: ce(X, Y, reduction=jaxce.Mean()), softmax_loss(X, Y)),
    "unknown reduction": ("Mean()", lambda: ce(X, Y, reduction=jaxce.Mean()), softmax_loss(X, Y)),
    "kernel of the other layout": (
        'kernel_layout="vd"',
        lambda: linear(H, W.T, Y, kernel_layout="vd"),
        softmax_loss(H @ W, Y),
    ),
    "a box of Flax": (
        "kernel.unbox()",
        lambda: linear(H, nn.Partitioned(W, (None, None)).unbox(), Y),
        softmax_loss(H @ W, Y),
    ),
    "labels of tokens that are probabilities": (
        "cross_entropy(hidden @ kernel, labels)",
        lambda: ce(H @ W, PROBS),
        softmax_loss(H @ W, PROBS),
    ),
    "labels of tokens with a last axis": (
        "labels[..., 0]",
        lambda: linear(H, W, Y[:, None][..., 0]),
        softmax_loss(H @ W, Y),
    ),
    "sigmoid labels that are ids": ("jax.nn.one_hot", lambda: sigmoid(X, jax.nn.one_hot(Y, 3)), binary(X, ONE_HOT)),
    "sigmoid labels of 0 and 255": ("labels > 0", lambda: sigmoid(X, 255 * BITS > 0), binary(X, BITS)),
    "sigmoid labels of 0 and 255 as floats": ("labels > 0", lambda: sigmoid(X, 255.0 * BITS > 0), binary(X, BITS)),
    "sigmoid labels that are signs": (
        "(labels + 1) / 2",
        lambda: sigmoid(X, (np.float32(2 * BITS - 1) + 1) / 2),
        binary(X, BITS),
    ),
    "probabilities above 1": ("sigmoid_binary_cross_entropy", lambda: sigmoid(X, BITS), binary(X, BITS)),
    "probabilities below 0": (
        "jax.nn.softmax",
        lambda: ce(X, jax.nn.softmax(2 * X)),
        softmax_loss(X, np.exp(2.0 * X) / np.exp(2.0 * X).sum(1, keepdims=True)),
    ),
    "probabilities of several classes at once": (
        "sigmoid_binary_cross_entropy",
        lambda: sigmoid(X, np.float32(BITS)),
        binary(X, BITS),
    ),
    "rows of zeros as labels": (
        "where=",
        lambda: ce(X, PROBS * FIRST[:, None], where=FIRST),
        softmax_loss(X[:1], PROBS[:1]),
    ),
    "signs of 0": (
        "2 * labels - 1",
        lambda: jaxce.soft_margin_loss(X, 2 * BITS - 1),
        np.log1p(np.exp(-(2 * BITS - 1) * X.astype(float))).mean(),
    ),
    "hinge of probabilities": (
        "jnp.argmax(labels, 1)",
        lambda: jaxce.multiclass_hinge_loss(X, jnp.argmax(np.float32(ONE_HOT), 1)),
        mean_of("multiclass_hinge_loss", X, Y, variant="weston-watkins"),
    ),
    "region labels of channel-first images": ("axis=1", lambda: dice(IMAGE, PIXELS, axis=1), region(IMAGE, PIXELS, 1)),
    "region of a mask without a class axis": (
        'activation="sigmoid" (and axis=None',
        lambda: dice(IMAGE[:, 0], MASK.astype(int), axis=None, activation="sigmoid"),
        mask_region(IMAGE[:, 0], MASK),
    ),
    "region of a mask with one class": (
        "on logits[:, 0]",
        lambda: dice(IMAGE[:, :1][:, 0], MASK.astype(int), axis=None, activation="sigmoid"),
        mask_region(IMAGE[:, 0], MASK),
    ),
    "region without a class axis": (
        'activation="sigmoid"',
        lambda: dice(IMAGE, MASK[:, None] | (IMAGE > 0), axis=None, activation="sigmoid"),
        mask_region(IMAGE, MASK[:, None] | (IMAGE > 0)),
    ),
    "region of several classes at once": (
        'activation="sigmoid"',
        lambda: dice(X, np.float32(BITS), activation="sigmoid"),
        region(X, BITS.astype(float), activation="sigmoid"),
    ),
    "region of probabilities that are logits": ('"softmax"', lambda: dice(X, Y), region(X, Y)),
    "binary labels that are signs": (
        "(labels + 1) / 2",
        lambda: dice(X, (np.float32(2 * BITS - 1) + 1) / 2, axis=None, activation="sigmoid"),
        mask_region(X, BITS),
    ),
    "region with ignored binary labels": (
        "labels.astype(jnp.int32)",
        lambda: dice(
            X, np.float32([BITS[0], 255 + 0 * BITS[1]]).astype(int), axis=None, activation="sigmoid", ignore_index=255
        ),
        mask_region(X[:1], BITS[:1]),
    ),
    "mask of numbers": (
        "sample_weights",
        lambda: ce(X, Y, sample_weights=np.array([1.0, 0.0])),
        softmax_loss(X[:1], Y[:1]),
    ),
    "weight": ("class_weights=", lambda: ce(X, Y, class_weights=np.ones(3)), softmax_loss(X, Y)),
    "mask": ("where=", lambda: ce(X, Y, where=FIRST), softmax_loss(X[:1], Y[:1])),
    "ignore_label": ("ignore_index=", lambda: ce(X, Y, ignore_index=0), softmax_loss(X[:1], Y[:1])),
    "dim": ("axis=", lambda: ce(X, Y, axis=1), softmax_loss(X, Y)),
    "target": ("labels, by position", lambda: ce(X, Y), softmax_loss(X, Y)),
}
"""For the name of a message in `messages.txt`: a piece of it, the call that follows it, and the right number."""

MORE_CURES = [
    (
        "sigmoid labels that are signs",
        "where=labels >= 0",
        lambda: sigmoid(X, VOID, where=VOID >= 0),
        mean_of("sigmoid_binary_cross_entropy", X[:1], BITS[:1].astype(float)),
    ),
    (
        "sigmoid labels of 0 and 255",
        "where=labels != 255",
        lambda: sigmoid(X, 256 + VOID - 256 * (VOID >= 0), where=VOID >= 0),
        mean_of("sigmoid_binary_cross_entropy", X[:1], BITS[:1].astype(float)),
    ),
    (
        "rows of zeros as labels",
        "sigmoid_binary_cross_entropy",
        lambda: sigmoid(X, np.float32(BITS)),
        binary(X, BITS),
    ),
    (
        "logits and probabilities swapped",
        "Logits come first",
        lambda: ce(X, PROBS),
        softmax_loss(X, PROBS),
    ),
]
"""Other readings of a message: what else the labels may mean."""

SAME_CURE = {
    *("integer log-probabilities", "integer hidden states", "values that are integers", "entropy of integers"),
    *("mask as a list", "labels of tokens as floats", "labels of tokens as bools", "hinge of booleans"),
    *(
        "id outside in an image",
        "id outside of the kernel",
        "counting an id outside",
        "multi-label labels that are ids",
    ),
    *("region of a binary mask as ids", "smoothing", "a misspelt keyword"),
    *("options by position", "mask of tokens of numbers"),
}
"""Messages with the cure of another."""

ELSEWHERE = {
    *("no specs under a trace", "no specs under a trace of the other layout"),
    *("tokens that the mesh does not divide", "classes that the mesh does not divide"),
    *("microbatches of a number", "microbatches that do not divide", "microbatches that devices do not divide"),
    *("gradient of a mean", "gradient of a weight", "gradient of a total and more"),
}
"""Messages whose cures other tests follow: specs and padding in `test_linear_sharded.py`, `test_value_and_grad.py`."""

PROPOSES = re.compile(
    r"\b([Uu]se|[Pp]ass|multiply|write|goe?s? to|becomes?|fits?|[Dd]rops?|Pad|such as|[Nn]eed|Mask|divide|binary)\b"
    r"|\(\.{3}\)"
)


def test_every_message_that_proposes_a_fix_is_followed():
    proposing = {name for name, (_, text) in snapshot().items() if PROPOSES.search(text)}
    followed = {*CURES, *SAME_CURE, *ELSEWHERE}
    assert proposing == followed, (
        f"follow their fix in CURES, or name them in SAME_CURE: {sorted(proposing ^ followed)}"
    )


@pytest.mark.parametrize(
    ("name", "fix", "call", "number"), [*((name, *cure) for name, cure in CURES.items()), *MORE_CURES]
)
def test_the_fix_gives_the_right_number(name, fix, call, number):
    assert fix in snapshot()[name][1]
    np.testing.assert_allclose(call(), number, rtol=2e-6)
