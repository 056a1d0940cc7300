"""Totals per group, against sums in float64 NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxce
from jaxce import Grouped, Total

RNG = np.random.default_rng(0)
N, L, C, G = 6, 8, 5, 4
X = (2 * RNG.normal(size=(N, L, C))).astype(np.float32)
Y, IDS = RNG.integers(0, C, (N, L)), RNG.integers(0, G - 1, (N, L))
MASK = RNG.random((N, L)) < 0.7
HIDDEN, KERNEL = RNG.normal(size=(N, L, 4)).astype(np.float32), RNG.normal(size=(4, C)).astype(np.float32)


def sums(values, weights, ids, groups):
    ids = np.broadcast_to(ids, np.shape(values))
    return [np.array([np.asarray(a, float)[ids == g].sum() for g in range(groups)]) for a in (values, weights)]


LOSSES = {
    "cross_entropy": (jaxce.cross_entropy, (X, Y), {"where": MASK, "class_weights": np.float32([1, 2, 1, 3, 0.5])}),
    "sigmoid": (jaxce.sigmoid_binary_cross_entropy, (X[..., 0], Y > 2), {"where": MASK}),
    "linear_cross_entropy": (jaxce.linear_cross_entropy, (HIDDEN, KERNEL, Y), {"where": MASK, "chunk_size": 8}),
    "reduce": (jaxce.reduce, (X[..., 0],), {"weights": np.abs(X[..., 1]), "where": MASK}),
}


@pytest.mark.parametrize(
    "ids",
    [IDS, np.arange(N)[:, None] % G, np.arange(L)[None] // 2, IDS.astype(np.uint8)],
    ids=["each", "row", "position", "uint8"],
)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name, ids):
    loss, args, options = LOSSES[name]
    values, weights = loss(*args, reduction=lambda values, weights: (values, weights), **options)
    want_loss, want_weight = sums(values, weights, ids, G)

    def total(*args):
        return loss(*args, reduction=Grouped(ids, G), **options)

    for got in (total(*args), jax.jit(total)(*args)):
        np.testing.assert_allclose(got.loss, want_loss, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got.weight, want_weight, rtol=1e-5)
        means = want_loss / np.where(want_weight, want_weight, 1)
        np.testing.assert_allclose(got.mean(), means, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got.sum().mean(), loss(*args, **options), rtol=1e-5)


def test_gradients_of_the_mean_of_means():
    """Groups of equal weight, however many examples they have; the gradients are those of the examples' own means."""
    x = np.where(MASK[..., None], X, np.nan)

    def macro(x):
        return jnp.sum(jaxce.cross_entropy(x, Y, where=MASK, reduction=Grouped(IDS, G)).mean())

    def by_hand(x):
        return sum(jaxce.cross_entropy(x, Y, where=MASK & (g == IDS)) for g in range(G))

    chex.assert_trees_all_close(jax.jit(jax.grad(macro))(x), jax.grad(by_hand)(x), rtol=1e-5, atol=1e-7)
    few = X[:1, :3], Y[:1, :3], IDS[:1, :3]

    def curved(x):
        return jnp.sum(jaxce.cross_entropy(x, few[1], reduction=Grouped(few[2], G)).mean() ** 2)

    def curved_by_hand(x):
        return sum(jaxce.cross_entropy(x, few[1], where=few[2] == g) ** 2 for g in range(G))

    chex.assert_trees_all_close(jax.hessian(curved)(few[0]), jax.hessian(curved_by_hand)(few[0]), rtol=1e-5, atol=1e-6)


def test_microbatches_vmap_and_scan_add():
    want = jaxce.cross_entropy(X, Y, where=MASK, reduction=Grouped(IDS, G))

    def of_row(x, y, mask, ids):
        return jaxce.cross_entropy(x, y, where=mask, reduction=Grouped(ids, G))

    rows = jax.vmap(of_row)(X, Y, MASK, IDS)
    assert rows.loss.shape == (N, G)
    start = Total(jnp.zeros(G), jnp.zeros(G))
    scanned, _ = jax.lax.scan(lambda total, row: (total + of_row(*row), None), start, (X, Y, MASK, IDS))
    parts = [of_row(*(a[i] for a in (X, Y, MASK, IDS))) for i in range(N)]
    for got in (rows.sum(axis=0), scanned, sum(parts)):
        chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-6)
    psummed = jax.vmap(lambda *row: of_row(*row).psum("rows"), axis_name="rows")(X, Y, MASK, IDS)
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[0], psummed), want, rtol=1e-5, atol=1e-6)

    def loss_fn(w, *row):
        return of_row(row[0] * w, *row[1:]).sum()

    loss, _ = jaxce.value_and_grad(loss_fn, microbatches=2)(jnp.ones(()), X, Y, MASK, IDS)
    np.testing.assert_allclose(loss, jaxce.cross_entropy(X, Y, where=MASK), rtol=1e-5)


def test_ids_of_masked_examples_are_free():
    ids = np.where(MASK, IDS, -7)
    want = jaxce.cross_entropy(X, Y, where=MASK, reduction=Grouped(IDS, G))
    got = jaxce.cross_entropy(X, Y, where=MASK, reduction=Grouped(ids, G))
    traced = jax.jit(lambda x, ids: jaxce.cross_entropy(x, Y, where=MASK, reduction=Grouped(ids, G)))(X, ids)
    chex.assert_trees_all_close((got, traced), (want, want), rtol=1e-6)


@pytest.mark.parametrize("wrong", [-1, G, 2**31 - 1])
def test_a_wrong_id_raises_and_traced_all_is_nan(wrong):
    ids = IDS.copy()
    ids[MASK.nonzero()[0][0], MASK.nonzero()[1][0]] = wrong

    def mean(x, ids):
        total = jaxce.cross_entropy(x, Y, where=MASK, reduction=Grouped(ids, G))
        return total.sum().mean(), total

    with pytest.raises(ValueError, match="ids: 1 of 48 ids is outside"):
        mean(X, ids)
    with pytest.raises(ValueError, match="ids: 1 of 48 ids is outside"):
        jax.grad(lambda x: mean(x, ids)[0])(X)
    (loss, total), gradient = jax.jit(jax.value_and_grad(mean, has_aux=True))(X, ids)
    assert np.isnan(loss)
    assert np.isnan(total.loss[total.weight > 0]).all()
    assert np.isnan(gradient[MASK]).all()
    with pytest.raises(ValueError, match=f"id {wrong} at position"), jaxce.debug():
        jax.block_until_ready(jax.jit(mean)(X, ids))


def test_counts_beyond_24_bits_are_exact():
    """A group of 2**25 ones weighs 2**25, not what float32 counts to."""
    total = jax.jit(lambda v: jaxce.reduce(v, reduction=Grouped(jnp.zeros(v.shape, jnp.int32), 2)))(
        np.ones(2**25, np.float32)
    )
    np.testing.assert_array_equal(total.weight, [2**25, 0])
    np.testing.assert_array_equal(total.loss, [2**25, 0])


def test_empty_batches_and_single_examples():
    total = jaxce.cross_entropy(X[:0], Y[:0], reduction=Grouped(IDS[:0], G))
    np.testing.assert_array_equal(total.mean(), np.zeros(G))
    one = jaxce.cross_entropy(X[0, 0], Y[0, 0], reduction=Grouped(2, G))
    np.testing.assert_allclose(one.loss, np.eye(G)[2] * float(jaxce.cross_entropy(X[0, 0], Y[0, 0])))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bit_logits_are_summed_in_float32(dtype):
    total = jaxce.cross_entropy(jnp.asarray(X, dtype), Y, reduction=Grouped(IDS, G))
    assert total.loss.dtype == jnp.float32
    np.testing.assert_allclose(total.sum().mean(), jaxce.cross_entropy(jnp.asarray(X, dtype), Y), rtol=1e-6)


def test_float64(x64):
    values = RNG.normal(size=(N, L))
    total = jaxce.reduce(values, reduction=Grouped(IDS, G))
    np.testing.assert_allclose(total.loss, sums(values, values, IDS, G)[0], rtol=1e-14, atol=1e-14)
    assert total.loss.dtype == np.float64


@given(st.lists(st.tuples(st.integers(-3, 9), st.booleans(), st.integers(0, 9)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_ids_and_masks(rows):
    ids, mask, values = (np.array(a) for a in zip(*(rows + [(-1, False, 0)] * (20 - len(rows))), strict=True))
    mask &= (ids >= 0) & (ids < 5)
    total = jaxce.reduce(values.astype(np.float32), where=mask, reduction=Grouped(ids, 5))
    want = sums(values * mask, mask, np.where(mask, ids, 0), 5)
    np.testing.assert_array_equal([total.loss, total.weight], want)


def test_export_with_a_symbolic_batch():
    n, *_ = jax.export.symbolic_shape("n")
    step = jax.jit(lambda x, y: jaxce.cross_entropy(x, y, reduction=Grouped(y % 3, 3)))
    shapes = [jax.ShapeDtypeStruct((n, *a.shape[1:]), a.dtype) for a in (X, Y.astype(np.int32))]
    chex.assert_trees_all_close(
        jax.export.export(step)(*shapes).call(X, Y.astype(np.int32)), step(X, Y.astype(np.int32)), rtol=1e-6
    )


def test_the_text_of_a_total_of_groups():
    total = jaxce.reduce(np.float32([1, 2, 6]), reduction=Grouped(np.array([0, 1, 1]), 3))
    assert str(total) == "Total(loss=[1, 8, 0], weight=[1, 2, 0])"
    assert f"{total.sum():.2f}" == "3.00"


def calibration_error(probs, labels, bins):
    """Guo et al. 2017, equations 2 and 3: bins ((m - 1) / M, m / M], the gap of accuracy and confidence in each."""
    confidence, right = probs.max(-1).ravel(), (probs.argmax(-1) == labels).ravel()
    of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [
        abs(right[of == b].mean() - confidence[of == b].mean()) * (of == b).sum()
        for b in range(bins)
        if (of == b).any()
    ]
    return sum(gaps) / confidence.size


@pytest.mark.parametrize("bins", [5, 15])
def test_expected_calibration_error(bins):
    """The recipe of docs/choosing.md; totals of microbatches add before the absolute value."""
    probs = np.asarray(jax.nn.softmax(X, -1))

    def by_bin(probs, labels):
        confidence, right = probs.max(-1), probs.argmax(-1) == labels
        ids = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
        return jaxce.reduce(confidence - right.astype(confidence.dtype), reduction=Grouped(ids, bins))

    total = by_bin(jnp.asarray(probs[:2]), Y[:2]) + by_bin(jnp.asarray(probs[2:]), Y[2:])
    got = jnp.sum(jnp.abs(total.loss)) / jnp.sum(total.weight)
    np.testing.assert_allclose(got, calibration_error(probs, Y, bins), rtol=1e-5)
