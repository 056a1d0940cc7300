"""Hypothesis looks for shapes, masks and extreme values that break a relation which needs no oracle."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxce

settings.register_profile("jaxce", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("jaxce")

SPECIAL = [0.0, -0.0, 1e-45, 88.7, 104.0, 1e4, 1e8, 3e38, -3e38, -np.inf]
N, C = 4, 3
numbers = st.floats(-50, 50, width=32) | st.sampled_from(SPECIAL)
logits = hnp.arrays(np.float32, (N, C), elements=numbers)
calm = hnp.arrays(np.float32, (N, C), elements=st.floats(-50, 50, width=32))
ids = hnp.arrays(np.int32, N, elements=st.integers(0, C - 1))
any_ids = hnp.arrays(np.int32, N, elements=st.integers(-3, C + 2) | st.sampled_from([-100, 255, 2**31 - 1]))
masks = hnp.arrays(bool, N)

traced = jax.jit(lambda x, y, keep: jaxce.cross_entropy(x, y, where=keep, reduction="none"))
gradients = jax.jit(jax.grad(lambda x, y, keep: jaxce.cross_entropy(x, y, where=keep, reduction="sum")))
binary = jax.jit(lambda x, y: jaxce.sigmoid_binary_cross_entropy(x, y, reduction="none"))


@given(logits, any_ids, masks)
def test_a_row_is_finite_masked_or_nan(x, y, keep):
    """No row is a plausible number that it should not be: masked is 0, a bad id is NaN, the rest is never negative."""
    loss, gradient = np.asarray(traced(x, y, keep)), np.asarray(gradients(x, y, keep))
    bad = (y < 0) | (y >= C)
    assert (loss[~keep] == 0).all()
    assert (gradient[~keep] == 0).all()
    assert np.isnan(loss[keep & bad]).all()
    assert np.isnan(gradient[keep & bad]).all()
    nowhere = np.isneginf(x).all(1)
    fine = keep & ~bad & ~nowhere
    assert (loss[fine] >= 0).all()
    assert np.isfinite(gradient[fine]).all()
    np.testing.assert_allclose(gradient[fine].sum(1), 0, atol=1e-5)


@given(hnp.arrays(np.float32, (N, C), elements=numbers | st.sampled_from([np.nan, np.inf])), ids, masks)
def test_what_is_masked_never_shows(x, y, keep):
    other = np.where(keep[:, None], x, np.float32(1))
    np.testing.assert_array_equal(traced(x, y, keep), traced(other, y, keep))
    np.testing.assert_array_equal(gradients(x, y, keep), gradients(other, y, keep))


@given(calm, ids, st.floats(-1e3, 1e3, width=16))
def test_a_common_offset(x, y, offset):
    x = np.round(x * 8) / 8  # so that adding the offset rounds nothing away
    offset = np.round(offset * 8) / 8
    keep = np.ones(N, bool)
    np.testing.assert_allclose(traced(x + np.float32(offset), y, keep), traced(x, y, keep), rtol=2e-6, atol=1e-6)


@given(calm, ids, st.permutations(range(N)))
def test_the_order_of_examples(x, y, order):
    order = np.array(order)
    keep = np.ones(N, bool)
    np.testing.assert_array_equal(traced(x[order], y[order], keep), traced(x, y, keep)[order])


@given(
    hnp.arrays(np.float32, N, elements=st.floats(-30, 30, width=32)),
    hnp.arrays(np.int32, N, elements=st.integers(0, 1)),
)
def test_two_classes_are_one_sigmoid(x, y):
    two = np.stack([np.zeros(N, np.float32), x], -1)
    np.testing.assert_allclose(traced(two, y, np.ones(N, bool)), binary(x, y), rtol=2e-6, atol=2e-6)


@given(
    hnp.arrays(np.float32, N, elements=numbers | st.just(np.inf)),
    hnp.arrays(np.float32, N, elements=st.floats(0, 1, width=32)),
)
def test_sigmoid_is_never_nan_and_never_negative(x, y):
    loss = np.asarray(binary(x, y))
    assert not np.isnan(loss).any()
    assert (loss >= 0).all()


@given(
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
    st.integers(1, 4),
    st.data(),
)
@settings(max_examples=25)
def test_any_shape_and_any_axis(shape, classes, data):
    axis = data.draw(st.integers(0, len(shape)))
    full = (*shape[:axis], classes, *shape[axis:])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=full).astype(np.float32), rng.integers(0, classes, shape)
    got = jaxce.cross_entropy(x, y, axis=axis, reduction="none")
    log_p = x - np.log(np.exp(x).sum(axis, keepdims=True))
    want = -np.take_along_axis(log_p, np.expand_dims(y, axis), axis).squeeze(axis)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert got.dtype == jnp.float32
