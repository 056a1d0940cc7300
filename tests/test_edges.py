"""The table of edges: infinities, huge logits, clamps, and zeros that meet them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxce

INF = np.inf


def ce(logits, labels, **options):
    return jaxce.cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), **options)


def gradient(logits, labels, **options):
    return jax.grad(lambda x: ce(x, labels, **options))(jnp.asarray(logits, jnp.float32))


ONE_HOT = np.float32([1.0, 0.0, 0.0])


@pytest.mark.parametrize("labels", [0, ONE_HOT], ids=["id", "one-hot"])
def test_an_impossible_class_that_is_not_the_label(labels):
    x = [1.0, 0.0, -INF]
    log_z = math.log(math.e + 1)
    np.testing.assert_allclose(ce(x, labels), log_z - 1, rtol=1e-6)
    p = math.e / (1 + math.e)
    np.testing.assert_allclose(gradient(x, labels), [p - 1, 1 - p, 0.0], rtol=1e-6)
    forward = jax.jacfwd(lambda x: ce(x, labels))(jnp.float32(x))
    np.testing.assert_allclose(forward, gradient(x, labels), rtol=1e-6)
    assert np.isfinite(jax.hessian(lambda x: ce(x, labels))(jnp.float32(x))).all()


@pytest.mark.parametrize("labels", [2, np.float32([0.5, 0.0, 0.5])], ids=["id", "probs"])
def test_an_impossible_label_costs_infinity(labels):
    assert ce([1.0, 0.0, -INF], labels) == INF
    assert np.isfinite(gradient([1.0, 0.0, -INF], labels)).all()


def test_smoothing_gives_every_class_a_part_so_an_impossible_one_costs_infinity():
    """As in PyTorch. A padded class keeps out of it with class weight 0."""
    x = [1.0, 0.0, -INF]
    assert ce(x, 0, label_smoothing=0.1) == INF
    assert np.isfinite(ce(x, 0, label_smoothing=0.1, class_weights=np.float32([1, 1, 0])))
    assert np.isfinite(gradient(x, 0, label_smoothing=0.1, class_weights=np.float32([1, 1, 0]))).all()


def test_a_class_of_weight_zero_counts_for_nothing_whatever_its_logit():
    weights = np.float32([0.0, 1.0, 1.0])
    x, ids = np.float32([[-INF, 0.0, 1.0], [2.0, 0.0, 1.0]]), np.array([0, 1])
    np.testing.assert_allclose(ce(x, ids, class_weights=weights), ce(x[1:], ids[1:]), rtol=1e-6)
    np.testing.assert_array_equal(gradient(x, ids, class_weights=weights)[0], 0)


def test_class_weights_of_many_classes():
    """Above 4,096 classes the label's weight is gathered, not found by comparing ids."""
    rng, ids = np.random.default_rng(0), np.array([0, 4999, 4096, 17])
    x, weights = rng.normal(size=(4, 5000)).astype(np.float32), rng.uniform(0.5, 2, 5000).astype(np.float32)
    losses = np.log(np.exp(np.float64(x)).sum(-1)) - x[np.arange(4), ids]
    w = np.float64(weights[ids])
    mean = (w * losses).sum() / w.sum()
    value, gradient = jax.value_and_grad(lambda w: ce(x, ids, class_weights=w))(weights)
    np.testing.assert_allclose(value, mean, rtol=2e-6)
    np.testing.assert_allclose(gradient[ids], (losses - mean) / w.sum(), rtol=2e-5, atol=2e-6)
    assert np.count_nonzero(gradient) == 4


def test_a_certain_class_that_is_not_the_label_costs_infinity():
    assert ce([INF, 0.0], 1) == INF


def test_all_classes_impossible_is_no_distribution():
    assert np.isnan(ce([-INF, -INF], 0))
    assert ce([[-INF, -INF], [0.0, 0.0]], [0, 0], where=np.array([False, True])) == np.float32(math.log(2))


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e38, 3e38])
def test_huge_logits(scale):
    x = np.float32([scale, -scale, 0.0])
    assert ce(x, 0) == 0
    np.testing.assert_array_equal(gradient(x, 0), 0)
    np.testing.assert_allclose(ce(x, 2), np.float32(scale), rtol=1e-6)
    np.testing.assert_array_equal(gradient(x, 2), [1.0, 0.0, -1.0])


def test_the_gradient_keeps_its_small_parts():
    x = np.float32([0.0, -50.0, -80.0])
    small = math.exp(-50), math.exp(-80)
    np.testing.assert_allclose(gradient(x, 0), [-sum(small), *small], rtol=1e-5)


def test_float32_keeps_a_tiny_loss():
    """Where other libraries have 0: ``1 + 2e-9`` is 1 in float32."""
    x = jnp.float32([20.0, 0.0, -5.0])
    others = np.exp([-20.0, -25.0])
    for label in (np.array(0), np.float32([1, 0, 0])):
        loss, gradient = jax.value_and_grad(jaxce.cross_entropy)(x, label)
        np.testing.assert_allclose(loss, np.log1p(others.sum()), rtol=1e-6)
        p = others / (1 + others.sum())
        np.testing.assert_allclose(gradient, [-p.sum(), *p], rtol=1e-6)


@pytest.mark.parametrize("y", [np.array(0), np.float32([1, 0, 0])], ids=["id", "one-hot"])
@pytest.mark.parametrize("rest", [[-50.0, -60.0], [-0.5, -60.0], [0.0, -60.0]], ids=str)
def test_a_sure_label_of_16_bits_keeps_its_small_loss_and_gradient(y, rest):
    """Of 1 - p nothing would be left in float32 where p is that near 1, and bfloat16 has room for what there is."""
    x, others = jnp.asarray([0.0, *rest], jnp.bfloat16), np.exp(np.float64(rest))
    loss, gradient = jax.value_and_grad(jaxce.cross_entropy)(x, y)
    np.testing.assert_allclose(loss, np.log1p(others.sum()), rtol=1e-5)
    p = others / (1 + others.sum())
    np.testing.assert_allclose(np.asarray(gradient, float), [-p.sum(), *p], rtol=2**-8)


@pytest.mark.parametrize(("x", "loss"), [(INF, 0.0), (-INF, INF), (1e4, 0.0), (-1e4, 1e4), (3e38, 0.0), (-3e38, 3e38)])
def test_sigmoid_at_both_ends(x, loss):
    for logit, label in ((x, 1), (-x, 0)):
        assert jaxce.sigmoid_binary_cross_entropy(np.float32(logit), np.array(label)) == np.float32(loss)
        got = jax.grad(lambda v, y=label: jaxce.sigmoid_binary_cross_entropy(v, np.array(y)))(jnp.float32(logit))
        assert got == (0.0 if loss == 0 else math.copysign(1.0, logit))


def test_sigmoid_tails_are_exact():
    x = np.float32([-60.0, -20.0, 20.0, 60.0])
    loss = jaxce.sigmoid_binary_cross_entropy(x, np.zeros(4, int), reduction="none")
    np.testing.assert_allclose(loss, np.log1p(np.exp(x.astype(float))), rtol=1e-6)
    got = jax.grad(lambda x: jaxce.sigmoid_binary_cross_entropy(x, np.zeros(4, int), reduction="sum"))(x)
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-x.astype(float))), rtol=1e-6)


def test_binary_cross_entropy_clamps_like_pytorch():
    """A certain mistake costs 100, and its gradient is that of PyTorch: bounded by 1e12."""
    p, y = np.float32([0.0, 1.0, 0.0, 1.0]), np.float32([1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(jaxce.binary_cross_entropy(p, y, reduction="none"), [100, 100, 0, 0])
    got = jax.grad(lambda p: jaxce.binary_cross_entropy(p, y, reduction="sum"))(p)
    np.testing.assert_allclose(got, [-1e12, 1e12, 0, 0])


def test_z_loss_is_the_square_of_the_log_normalizer():
    x = np.float32([[1.0, 2.0, 3.0]])
    log_z = np.log(np.exp(x.astype(float)).sum())
    np.testing.assert_allclose(ce(x, [0], z_loss=0.5), log_z - 1 + 0.5 * log_z**2, rtol=1e-6)
    weights = np.float32([4.0, 1.0, 1.0])
    np.testing.assert_allclose(
        ce(x, [0], z_loss=0.5, class_weights=weights, reduction="sum"), 4 * (log_z - 1 + 0.5 * log_z**2), rtol=1e-6
    )


def test_no_z_loss_of_an_infinite_square():
    x = np.float32([1e25, 0.0])
    assert ce(x, 0, z_loss=jnp.float32(0)) == 0
    assert ce([x], [0], z_loss=1.0, class_weights=np.float32([0, 1])) == 0
    assert ce(x, 0, z_loss=1.0) == INF


def test_full_smoothing_and_full_ignoring():
    x = np.float32([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    uniform = np.full((2, 3), 1 / 3, np.float32)
    np.testing.assert_allclose(ce(x, [0, 1], label_smoothing=1), ce(x, uniform), rtol=1e-6)
    assert ce(x, [7, 7], ignore_index=7) == 0
    np.testing.assert_array_equal(gradient(x, [7, 7], ignore_index=7), 0)


def test_ignore_index_may_be_a_class():
    x = np.float32([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert ce(x, [0, 1], ignore_index=1) == ce(x[:1], [0])


@pytest.mark.parametrize("loss", [jaxce.cross_entropy, jaxce.sigmoid_binary_cross_entropy])
def test_a_nan_that_counts_is_seen(loss):
    x = np.float32([[np.nan, 0.0], [1.0, 2.0]])
    labels = np.eye(2, dtype=np.float32)
    assert np.isnan(loss(x, labels))
    assert np.isnan(jax.grad(lambda x: loss(x, labels))(x)[0]).any()
    assert np.isfinite(jax.grad(lambda x: loss(x, labels))(x)[1]).all()


def test_jit_of_grad_of_jit_keeps_sixteen_bits():
    """What the backward pass keeps of 16-bit logits is the logits, not a float32 array of their size."""
    x = jax.ShapeDtypeStruct((64, 128), jnp.bfloat16)
    _, backward = jax.eval_shape(lambda x: jax.vjp(jax.jit(lambda x: ce16(x)), x), x)
    kept = [leaf for leaf in jax.tree.leaves(backward) if leaf.size >= 64 * 128]
    assert [leaf.dtype for leaf in kept] == [jnp.bfloat16]


def ce16(x):
    return jaxce.cross_entropy(x, jnp.zeros(x.shape[0], jnp.int32))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_masked_token_whose_tangent_is_nan_moves_nothing(reduction):
    keep = np.array([True, False, True])
    hidden, kernel = jnp.where(keep[:, None], 1.0, jnp.float32(-1)) * jnp.arange(1.0, 7).reshape(3, 2), jnp.eye(2, 4)

    def loss(x):
        return jnp.sum(jaxce.linear_cross_entropy(jnp.sqrt(x), kernel, np.arange(3), where=keep, reduction=reduction))

    gradient = jax.jit(lambda x: jax.jvp(loss, (x,), (jnp.ones_like(x),)))(hidden)[1]
    assert gradient == pytest.approx(
        float(jnp.sum(jnp.where(keep[:, None], jax.jit(jax.grad(loss))(hidden), 0))), rel=1e-5
    )


def test_a_reduction_of_ones_own_sees_every_token():
    class SumOfSquares(jaxce.Sum):
        def __call__(self, values, weights):
            return super().__call__(values**2, weights)

    hidden, kernel, labels = jnp.arange(6.0).reshape(3, 2), jnp.eye(2, 4), np.arange(3)
    fused = jaxce.linear_cross_entropy(hidden, kernel, labels, reduction=SumOfSquares())
    assert float(fused) == pytest.approx(float(jaxce.cross_entropy(hidden @ kernel, labels, reduction=SumOfSquares())))


@pytest.mark.parametrize("value", [0.0, np.inf, -1])
@pytest.mark.parametrize("name", ["logit_scale", "logit_softcap"])
def test_scale_and_softcap_are_above_zero(name, value):
    with pytest.raises(ValueError, match=name):
        jaxce.linear_cross_entropy(jnp.ones((1, 2)), jnp.eye(2), np.array([0]), **{name: value})
