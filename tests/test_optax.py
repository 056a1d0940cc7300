"""optax as a second oracle: equal where both define the same thing, and each difference by name with both numbers."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from absl.testing import parameterized
from jax import Array

from jaxce import cross_entropy, sigmoid_binary_cross_entropy

RTOL, ATOL = 2e-5, 1e-6
BATCH, CLASSES = (3, 4), 5
IDS = jax.random.randint(jax.random.key(1), BATCH, 0, CLASSES)
KEPT = jnp.arange(12).reshape(BATCH) % 3 > 0

Loss = Callable[..., Array]
of_ids = optax.softmax_cross_entropy_with_integer_labels
of_probs = optax.softmax_cross_entropy


def draw(*shape: int, seed: int = 0) -> Array:
    """Logits of a wide range."""
    return 3 * jax.random.normal(jax.random.key(seed), shape)


LOGITS, PROBS = draw(*BATCH, CLASSES), jax.nn.softmax(draw(*BATCH, CLASSES, seed=2))
MASKED_LOGITS = jnp.where(KEPT[..., None], LOGITS, jnp.nan)


class WhatBothDefine(chex.TestCase):
    """Equal in value and in every gradient, with and without jit."""

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(-1, 1)
    def test_ids(self, axis: int) -> None:
        self.assert_equal(
            lambda x: cross_entropy(x, IDS, axis=axis, reduction="none"),
            lambda x: of_ids(x, IDS, axis=axis),
            jnp.moveaxis(LOGITS, -1, axis),
        )

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(-1, 1)
    def test_ids_behind_a_mask_that_hides_nan(self, axis: int) -> None:
        self.assert_equal(
            lambda x: cross_entropy(x, IDS, axis=axis, where=KEPT, reduction="none"),
            lambda x: of_ids(x, IDS, axis=axis, where=KEPT),
            jnp.moveaxis(MASKED_LOGITS, -1, axis),
        )

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(-1, 1)
    def test_probabilities(self, axis: int) -> None:
        self.assert_equal(
            lambda x, p: cross_entropy(x, p, axis=axis, reduction="none"),
            lambda x, p: of_probs(x, p, axis=axis),
            jnp.moveaxis(LOGITS, -1, axis),
            jnp.moveaxis(PROBS, -1, axis),
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_probabilities_behind_a_mask_that_hides_nan(self) -> None:
        self.assert_equal(
            lambda x: cross_entropy(x, PROBS, where=KEPT, reduction="none"),
            lambda x: of_probs(x, PROBS, where=KEPT),
            MASKED_LOGITS,
        )

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters((-1, 0.1), (1, 0.1), (-1, 1.0))
    def test_label_smoothing(self, axis: int, eps: float) -> None:
        def theirs(x: Array) -> Array:
            return of_probs(x, optax.smooth_labels(jax.nn.one_hot(IDS, CLASSES, axis=axis), eps, axis=axis), axis=axis)

        self.assert_equal(
            lambda x: cross_entropy(x, IDS, axis=axis, label_smoothing=eps, reduction="none"),
            theirs,
            jnp.moveaxis(LOGITS, -1, axis),
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_label_smoothing_of_probabilities(self) -> None:
        self.assert_equal(
            lambda x, p: cross_entropy(x, p, label_smoothing=0.1, reduction="none"),
            lambda x, p: of_probs(x, optax.smooth_labels(p, 0.1)),
            LOGITS,
            PROBS,
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_sigmoid(self) -> None:
        self.assert_equal(
            lambda x, y: sigmoid_binary_cross_entropy(x, y, reduction="none"),
            optax.sigmoid_binary_cross_entropy,
            LOGITS,
            PROBS,
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_sigmoid_of_integer_labels(self) -> None:
        labels = (PROBS > 0.2).astype(jnp.int32)
        self.assert_equal(
            lambda x: sigmoid_binary_cross_entropy(x, labels, reduction="none"),
            lambda x: optax.sigmoid_binary_cross_entropy(x, labels),
            LOGITS,
        )

    def assert_equal(self, ours: Loss, theirs: Loss, *inputs: Array) -> None:
        """Values, and gradients along all inputs for one random cotangent."""
        cotangent = draw(*jax.eval_shape(theirs, *inputs).shape, seed=3)

        def both(loss: Loss) -> tuple[Array, tuple[Array, ...]]:
            value, pull = jax.vjp(self.variant(loss), *inputs)
            return value, pull(cotangent)

        chex.assert_trees_all_equal_shapes_and_dtypes(both(ours), both(theirs))
        chex.assert_trees_all_close(both(ours), both(theirs), rtol=RTOL, atol=ATOL)


def test_training_takes_the_same_path_in_one_trace() -> None:
    x, optimizer = draw(32, 6), optax.sgd(0.1, momentum=0.9)
    batches = jax.random.randint(jax.random.key(1), (5, 32), 0, 4)

    def train(loss: Loss) -> Array:
        chex.clear_trace_counter()

        @jax.jit
        @chex.assert_max_traces(1)
        def step(w: Array, state: optax.OptState, ids: Array) -> tuple[Array, optax.OptState]:
            updates, state = optimizer.update(jax.grad(lambda w: loss(x @ w, ids))(w), state)
            return optax.apply_updates(w, updates), state

        w = jnp.zeros((6, 4))
        state = optimizer.init(w)
        for ids in batches:
            w, state = step(w, state, ids)
        return w

    weights = train(cross_entropy)
    assert jnp.abs(weights).max() > 0.1
    chex.assert_trees_all_close(weights, train(lambda x, ids: of_ids(x, ids).mean()), rtol=RTOL, atol=ATOL)


# Where optax 0.2.8 differs. Each test shows both numbers.

X = jnp.array([0.0, 1.0, 2.5])
LOSS = math.log(1 + math.exp(1) + math.exp(2.5))
"""Of class 0; 2.766368."""


def test_difference_an_id_of_minus_1_wraps_to_the_last_class() -> None:
    assert of_ids(X, jnp.array(-1)) == of_ids(X, jnp.array(2))
    with pytest.raises(ValueError, match="id -1"):
        cross_entropy(X, jnp.array(-1))
    traced = jax.jit(jax.value_and_grad(cross_entropy))(X, jnp.array(-1))
    chex.assert_trees_all_equal(traced, (jnp.array(jnp.nan), jnp.full(3, jnp.nan)))


def test_difference_an_id_of_c_has_a_plausible_gradient() -> None:
    loss, gradient = jax.value_and_grad(of_ids)(X, jnp.array(3))
    assert jnp.isnan(loss)
    chex.assert_trees_all_close(gradient, jax.nn.softmax(X), rtol=RTOL)
    traced = jax.jit(jax.value_and_grad(cross_entropy))(X, jnp.array(3))
    chex.assert_trees_all_equal(traced, (jnp.array(jnp.nan), jnp.full(3, jnp.nan)))


def test_difference_a_common_offset_of_1e4_costs_digits() -> None:
    assert of_ids(X + 1e4, jnp.array(0)).item() == pytest.approx(2.766602, rel=1e-6)
    assert cross_entropy(X + 1e4, jnp.array(0)).item() == pytest.approx(LOSS, rel=1e-6)


def test_difference_nan_in_a_row_that_is_multiplied_by_0() -> None:
    x, ids, kept = jnp.stack([X, jnp.full(3, jnp.nan)]), jnp.array([0, 0]), jnp.array([True, False])
    loss, gradient = jax.value_and_grad(lambda x: jnp.sum(of_ids(x, ids) * kept.astype(x.dtype)))(x)
    assert jnp.isnan(loss)
    assert jnp.isnan(gradient[1]).all()
    loss, gradient = jax.value_and_grad(cross_entropy)(x, ids, where=kept)
    assert loss.item() == pytest.approx(LOSS, rel=1e-6)
    chex.assert_trees_all_close(gradient, jnp.stack([jax.nn.softmax(X) - jnp.eye(3)[0], jnp.zeros(3)]), rtol=RTOL)


def test_difference_nan_behind_a_where_is_back_in_the_gradient() -> None:
    x, labels, kept = jnp.array([[0.5], [jnp.nan]]), jnp.array([[1.0], [0.0]]), jnp.array([[True], [False]])
    theirs = jax.value_and_grad(lambda x: jnp.sum(jnp.where(kept, optax.sigmoid_binary_cross_entropy(x, labels), 0)))(x)
    ours = jax.value_and_grad(sigmoid_binary_cross_entropy)(x, labels, where=kept)
    loss, gradient = math.log1p(math.exp(-0.5)), -1 / (1 + math.exp(0.5))
    chex.assert_trees_all_close(theirs, (jnp.array(loss), jnp.array([[gradient], [jnp.nan]])), rtol=RTOL)
    chex.assert_trees_all_close(ours, (jnp.array(loss), jnp.array([[gradient], [0.0]])), rtol=RTOL)


def test_difference_masked_probabilities_have_a_nan_gradient() -> None:
    x, p, kept = jnp.stack([X, X]), jnp.stack([jnp.eye(3)[0]] * 2), jnp.array([True, False])
    theirs = jax.grad(lambda p: jnp.sum(of_probs(x, p, where=kept)))(p)
    ours = jax.grad(lambda p: cross_entropy(x, p, where=kept, reduction="sum"))(p)
    nll = -jax.nn.log_softmax(X)
    chex.assert_trees_all_close(theirs, jnp.stack([nll, jnp.full(3, jnp.nan)]), rtol=RTOL)
    chex.assert_trees_all_close(ours, jnp.stack([nll, jnp.zeros(3)]), rtol=RTOL)


def test_difference_the_mean_under_a_mask_divides_by_all_examples() -> None:
    x, ids, kept = jnp.stack([X, X, X]), jnp.array([0, 0, 0]), jnp.array([True, False, False])
    assert of_ids(x, ids, where=kept).mean().item() == pytest.approx(LOSS / 3, rel=1e-6)
    assert cross_entropy(x, ids, where=kept).item() == pytest.approx(LOSS, rel=1e-6)


def test_difference_probability_0_of_an_impossible_class_is_nan() -> None:
    x, p = jnp.array([0.0, 1.0, -jnp.inf]), jnp.array([1.0, 0.0, 0.0])
    assert jnp.isnan(of_probs(x, p))
    assert cross_entropy(x, p).item() == pytest.approx(math.log1p(math.e), rel=1e-6)


def test_difference_a_16_bit_loss_is_rounded_to_16_bits() -> None:
    x, ids = X.astype(jnp.bfloat16), jnp.array(0)
    theirs, ours = of_ids(x, ids), cross_entropy(x, ids)
    assert (theirs.dtype, theirs.item()) == (jnp.bfloat16, 2.765625)
    assert ours.dtype == jnp.float32
    assert ours.item() == pytest.approx(LOSS, rel=1e-6)
    assert jax.grad(cross_entropy)(x, ids).dtype == jnp.bfloat16
