"""Class weights from counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxce

LABELS = np.repeat(np.arange(4), [8, 4, 2, 1])


def test_inverse_is_scikit_learns_balanced():
    """`compute_class_weight("balanced")`: n / (C n_c); the numbers are those of scikit-learn 1.9."""
    np.testing.assert_allclose(jaxce.balanced_class_weights(LABELS, 4), [0.46875, 0.9375, 1.875, 3.75])


def test_every_class_weighs_the_same_in_sum():
    counts = np.bincount(LABELS)
    np.testing.assert_allclose(np.asarray(jaxce.balanced_class_weights(LABELS, 4)) * counts, np.full(4, 15 / 4))


def test_sqrt():
    np.testing.assert_allclose(
        jaxce.balanced_class_weights(LABELS, 4, scheme="sqrt"), np.sqrt([0.46875, 0.9375, 1.875, 3.75]), rtol=1e-6
    )


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.999, 0.9999])
def test_effective_number(beta):
    """Cui et al. 2019: (1 - beta) / (1 - beta**n), scaled to sum to the number of classes."""
    n = np.bincount(LABELS).astype(float)
    weights = (1 - beta) / (1 - beta**n)
    want = weights / weights.sum() * 4
    np.testing.assert_allclose(jaxce.balanced_class_weights(LABELS, 4, scheme="effective", beta=beta), want, rtol=1e-5)


def test_effective_between_none_and_inverse():
    none = jaxce.balanced_class_weights(LABELS, 4, scheme="effective", beta=0)
    np.testing.assert_allclose(none, np.ones(4))
    inverse = jaxce.balanced_class_weights(LABELS, 4, scheme="effective", beta=1)
    np.testing.assert_allclose(inverse, 4 * (1 / np.array([8, 4, 2, 1])) / (15 / 8), rtol=1e-6)


@pytest.mark.parametrize("scheme", ["inverse", "sqrt", "effective"])
def test_absent_classes_weigh_nothing_and_change_nothing(scheme):
    some = jaxce.balanced_class_weights(LABELS, 4, scheme=scheme)
    more = jaxce.balanced_class_weights(LABELS, 6, scheme=scheme)
    np.testing.assert_allclose(more, [*some, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("scheme", ["inverse", "sqrt", "effective"])
def test_no_labels_at_all(scheme):
    np.testing.assert_array_equal(jaxce.balanced_class_weights(np.zeros(0, int), 3, scheme=scheme), np.zeros(3))


def test_masked_and_ignored_labels_are_not_counted():
    want = jaxce.balanced_class_weights(LABELS, 4)
    more = np.concatenate([LABELS, [0, 9, -1, -1]])
    got = jaxce.balanced_class_weights(more, 4, where=np.arange(len(more)) < len(LABELS))
    np.testing.assert_allclose(got, want)
    np.testing.assert_allclose(jaxce.balanced_class_weights(np.append(LABELS, [-1, -1]), 4, ignore_index=-1), want)


def test_any_rank_any_integer_dtype_and_jit():
    want = jaxce.balanced_class_weights(LABELS[:12], 4)
    for dtype in (np.uint8, np.int16, np.int64):
        labels = LABELS[:12].reshape(3, 2, 2).astype(dtype)
        np.testing.assert_allclose(jaxce.balanced_class_weights(labels, 4), want)
        np.testing.assert_allclose(jax.jit(lambda y: jaxce.balanced_class_weights(y, 4))(labels), want)
        keep = np.array([True, True, False]).reshape(3, 1, 1)
        np.testing.assert_allclose(
            jaxce.balanced_class_weights(labels, 4, where=keep), jaxce.balanced_class_weights(LABELS[:8], 4)
        )


def test_the_dtype_follows_x64():
    assert jaxce.balanced_class_weights(LABELS, 4).dtype == jnp.float32
    with jax.enable_x64(True):
        assert jaxce.balanced_class_weights(LABELS, 4).dtype == jnp.float64
