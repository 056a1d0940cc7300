"""The worked numbers of the literature by name, to the digits in which they are printed; logarithms are natural."""

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jax.scipy.special import entr, rel_entr

from jaxce import Mean, binary_cross_entropy, cross_entropy, nll_loss, sigmoid_binary_cross_entropy

FIVE = jnp.array([-0.3830, -0.0102, -1.4235, -0.5212, 0.9011])
THREE_BY_FOUR = jnp.array(
    [[0.0054, -0.8030, -0.5758, -0.6518], [-0.5518, 0.3904, 0.5296, 0.4973], [0.1608, 0.5822, 0.9536, -0.3173]]
)
THREE_IDS = jnp.array([0, 2, 3])
IMBALANCED = jnp.array([0.13859937, 0.5821059, 0.63871904, 2.30220396, 7.1588294, 0.0])


def digits(*numbers: float) -> Any:
    """Numbers as printed: four digits after the point, the last of them cut off or rounded."""
    return pytest.approx(numbers if len(numbers) > 1 else numbers[0], abs=1e-4)


def test_five_classes_and_one_example() -> None:
    assert jax.nn.softmax(FIVE).tolist() == digits(0.1372, 0.1992, 0.0485, 0.1195, 0.4956)
    assert cross_entropy(FIVE, 4) == digits(0.7020)


def test_the_logarithm_is_natural() -> None:
    p = jax.nn.softmax(FIVE)[4]
    assert cross_entropy(FIVE, 4) == pytest.approx(-math.log(p), rel=1e-6)
    assert -math.log10(p) == digits(0.3049)
    assert cross_entropy(FIVE, 4) / math.log(10) == digits(0.3049)
    assert cross_entropy(FIVE, 4) != digits(0.3049)


def test_three_examples_of_four_classes() -> None:
    log_probs = jax.nn.log_softmax(THREE_BY_FOUR)
    assert nll_loss(log_probs, THREE_IDS, reduction="none").tolist() == digits(0.9255, 1.1561, 2.1558)
    assert cross_entropy(THREE_BY_FOUR, THREE_IDS, reduction="none").tolist() == digits(0.9255, 1.1561, 2.1558)
    assert nll_loss(log_probs, THREE_IDS) == digits(1.4125)
    assert cross_entropy(THREE_BY_FOUR, THREE_IDS) == digits(1.4125)


@pytest.mark.parametrize(("weights", "number"), [([1.0, 1.0, 1.0], 1.4803), ([1.0, 2.0, 3.0], 1.6075)], ids=str)
def test_channel_first_logits_with_weights_and_an_ignored_id(weights: list[float], number: float) -> None:
    logits, ids = jnp.array([[[0.0, 1.0], [0.0, 0.0], [0.0, 1.0]]]), jnp.array([[0, 1]])
    options = {"axis": 1, "class_weights": jnp.array(weights), "ignore_index": 255}
    assert cross_entropy(logits, ids, **options) == digits(number)
    total = cross_entropy(logits, ids, **options, reduction="total")
    assert total.weight == sum(weights[:2])
    assert total.loss / total.weight == digits(number)


def test_the_divisor_is_the_sum_of_the_weights() -> None:
    logits, ids = jnp.array([[[0.0, 1.0], [0.0, 0.0], [0.0, 1.0]]]), jnp.array([[0, 1]])
    total = cross_entropy(logits, ids, axis=1, class_weights=jnp.array([1.0, 2.0, 3.0]), reduction="total")
    assert total.weight == 3
    assert total.mean() == digits(1.6075)
    assert total.loss / ids.size == digits(2.4113)


def test_four_pixels_of_three_classes_with_weights() -> None:
    logits = jnp.array([[[0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.5]]])
    ids = jnp.array([[0, 1, 2, 2]])
    assert cross_entropy(logits, ids, axis=1, class_weights=jnp.array([1.0, 2.0, 3.0])) == digits(1.5472)


def test_three_binary_questions_from_probabilities_and_from_logits() -> None:
    probs, labels = jnp.array([0.8, 0.7, 0.1]), jnp.array([1, 1, 0])
    logits = jnp.log(probs) - jnp.log1p(-probs)
    for loss, scores in ((binary_cross_entropy, probs), (sigmoid_binary_cross_entropy, logits)):
        each = loss(scores, labels, reduction="none").tolist()
        assert each == pytest.approx([-math.log(0.8), -math.log(0.7), -math.log(0.9)], rel=1e-6)
        assert loss(scores, labels, reduction="sum") == digits(0.6852)


def test_a_class_of_weight_zero_counts_for_nothing() -> None:
    logits = jnp.sin(jnp.arange(24.0)).reshape(4, 6)
    ids, kept = jnp.array([0, 5, 4, 5]), jnp.array([0, 2])

    def mean(x: Array, ids: Array) -> Array:
        return cross_entropy(x, ids, class_weights=IMBALANCED)

    loss, gradient = jax.value_and_grad(mean)(logits, ids)
    assert loss == pytest.approx(mean(logits[kept], ids[kept]).item(), rel=1e-6)
    total = cross_entropy(logits, ids, class_weights=IMBALANCED, reduction="total")
    assert total.weight == pytest.approx(0.13859937 + 7.1588294, rel=1e-6)
    assert not gradient[1::2].any()
    assert gradient[kept].all()
    assert mean(logits, jnp.full(4, 5)) == 0
    assert jnp.isnan(cross_entropy(logits, jnp.full(4, 5), class_weights=IMBALANCED, reduction=Mean(empty=jnp.nan)))


def test_the_error_for_a_kept_class_axis_says_what_to_write() -> None:
    logits, labels = jnp.zeros((2, 3, 4, 5)), jnp.zeros((2, 1, 4, 5), int)
    with pytest.raises(ValueError, match="Drop the class axis") as error:
        cross_entropy(logits, labels, axis=1)
    for fix, ids in {"labels[:, 0]": labels[:, 0], "jnp.squeeze(labels, 1)": jnp.squeeze(labels, 1)}.items():
        assert fix in str(error.value)
        assert cross_entropy(logits, ids, axis=1) == pytest.approx(math.log(3), rel=1e-6)


def test_one_class_leaves_nothing_to_lose() -> None:
    logits = jnp.array([[-7.0], [0.0], [1e4]])
    for labels in (jnp.zeros(3, int), jnp.ones((3, 1))):
        loss, gradient = jax.value_and_grad(cross_entropy)(logits, labels)
        assert loss == 0
        assert not gradient.any()


def test_one_class_with_binary_labels_points_to_the_sigmoid_loss() -> None:
    logits, labels = jnp.array([[-1.0], [2.0]]), jnp.array([0, 1])
    with pytest.raises(ValueError, match=r"sigmoid_binary_cross_entropy on logits\[\.\.\., 0\]"):
        cross_entropy(logits, labels)
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(-2))) / 2
    assert sigmoid_binary_cross_entropy(logits[..., 0], labels) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_log_sum_exp_neither_overflows_nor_underflows(offset: float) -> None:
    for logits, expected in (([0.0, 0.0], math.log(2)), ([0.0, 1.0, 3.0], math.log(1 + math.e + math.e**3))):
        x = jnp.array(logits) + offset
        loss, gradient = jax.value_and_grad(cross_entropy)(x, 0)
        assert loss == pytest.approx(expected, rel=1e-6)
        p = [math.exp(logit - expected) for logit in logits]
        assert gradient.tolist() == pytest.approx([p[0] - 1, *p[1:]], rel=1e-6)


def test_log_sum_exp_across_the_whole_range() -> None:
    x = jnp.array([1e4, -1e4])
    for label, (loss, expected) in enumerate([(0.0, [0.0, 0.0]), (2e4, [1.0, -1.0])]):
        value, gradient = jax.value_and_grad(cross_entropy)(x, label)
        assert value == loss
        assert gradient.tolist() == expected


def test_cross_entropy_is_entropy_plus_relative_entropy() -> None:
    p, q = jax.nn.softmax(THREE_BY_FOUR[::-1]), jax.nn.softmax(THREE_BY_FOUR)
    expected = jnp.sum(entr(p), axis=-1) + jnp.sum(rel_entr(p, q), axis=-1)
    chex.assert_trees_all_close(cross_entropy(THREE_BY_FOUR, p, reduction="none"), expected, rtol=2e-6)
    assert cross_entropy(jnp.log(p), p) == pytest.approx(jnp.sum(entr(p)).item() / 3, rel=2e-6)


def test_softmax_then_log_then_pick() -> None:
    picked = -jnp.log(jax.nn.softmax(THREE_BY_FOUR))[jnp.arange(3), THREE_IDS]
    chex.assert_trees_all_close(cross_entropy(THREE_BY_FOUR, THREE_IDS, reduction="none"), picked, rtol=2e-6)


def test_one_hot_rows_are_ids() -> None:
    def both(labels: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(cross_entropy)(
            THREE_BY_FOUR, labels, class_weights=IMBALANCED[:4], label_smoothing=0.1
        )

    chex.assert_trees_all_close(both(jax.nn.one_hot(THREE_IDS, 4)), both(THREE_IDS), rtol=2e-6, atol=1e-7)
