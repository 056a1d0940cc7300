"""Reductions: means that divide once, totals that add, and `reduce` for losses of your own."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxce
from jaxce import Mean, Sum, Total

VALUES = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]], np.float32)
WEIGHTS = np.array([[1.0, 1.0, 0.0], [3.0, 0.5, 0.5]], np.float32)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("mean", 51 / 6),
        ("sum", 51.0),
        ("none", VALUES * WEIGHTS),
        (Mean(), 51 / 6),
        (Mean(axis=-1), np.array([3 / 2, 48 / 4])),
        (Mean(axis=(0,)), np.array([25 / 4, 10 / 1.5, 16 / 0.5])),
        (Sum(axis=-1), np.array([3.0, 48.0])),
        (Sum(), 51.0),
        (lambda v, w: (v * 2, w), (VALUES * WEIGHTS * 2, WEIGHTS)),
    ],
)
def test_reduce(reduction, expected):
    got = jaxce.reduce(VALUES, weights=WEIGHTS, reduction=reduction)
    chex.assert_trees_all_close(got, jax.tree.map(np.float32, expected), rtol=1e-6)


def test_reduce_without_weights_is_numpy():
    assert jaxce.reduce(VALUES) == VALUES.mean()
    assert jaxce.reduce(VALUES, reduction="sum") == VALUES.sum()
    total = jaxce.reduce(VALUES, reduction="total")
    assert (total.loss, total.weight) == (VALUES.sum(), VALUES.size)


def test_size_one_axes_broadcast_and_count():
    total = jaxce.reduce(
        VALUES, weights=np.array([[1.0], [2.0]]), where=np.array([[True, True, False]]), reduction="total"
    )
    assert (total.loss, total.weight) == (3 + 2 * 24, 2 * (1 + 2))


def test_reduce_is_differentiable_in_values_and_weights():
    gradients = jax.grad(lambda v, w: jaxce.reduce(v, weights=w), argnums=(0, 1))(VALUES, WEIGHTS)
    total = WEIGHTS.sum()
    mean = (VALUES * WEIGHTS).sum() / total
    chex.assert_trees_all_close(gradients, (WEIGHTS / total, (VALUES - mean) / total), rtol=1e-5)


@pytest.mark.parametrize("hidden", [np.nan, np.inf])
def test_a_masked_value_is_not_there(hidden):
    values = VALUES.copy()
    values[1, 1] = hidden
    keep = np.isfinite(values)
    loss, gradients = jax.value_and_grad(lambda v: jaxce.reduce(v, weights=WEIGHTS, where=keep))(values)
    assert loss == (51 - 8) / 5.5
    np.testing.assert_allclose(gradients, np.where(keep, WEIGHTS, 0) / 5.5, rtol=1e-6)


def test_a_weight_of_zero_takes_an_infinite_loss_away_but_never_a_nan():
    assert jaxce.reduce(np.array([1.0, np.inf]), weights=np.array([1.0, 0.0])) == 1
    assert np.isnan(jaxce.reduce(np.array([1.0, np.nan]), weights=np.array([1.0, 0.0])))


@pytest.mark.parametrize("empty", [0.0, 7.0, np.nan])
def test_the_mean_of_nothing(empty):
    nothing = np.zeros((2, 3), bool)
    loss, gradients = jax.value_and_grad(lambda v: jaxce.reduce(v, where=nothing, reduction=Mean(empty=empty)))(VALUES)
    np.testing.assert_equal(np.asarray(loss), np.float32(empty))
    np.testing.assert_array_equal(gradients, 0)
    rows = np.array([[True], [False]])
    np.testing.assert_allclose(jaxce.reduce(VALUES, where=rows, reduction=Mean(axis=1, empty=empty)), [7 / 3, empty])


def test_totals_add_and_mean_once():
    parts = [jaxce.reduce(row, weights=w, reduction="total") for row, w in zip(VALUES, WEIGHTS, strict=True)]
    assert sum(parts).mean() == jaxce.reduce(VALUES, weights=WEIGHTS)
    assert (parts[0] + parts[1]).mean() == sum(parts).mean()
    assert Total(jnp.zeros(()), jnp.zeros(())).mean() == 0
    assert np.isnan(Total(jnp.zeros(()), jnp.zeros(())).mean(empty=jnp.nan))
    with pytest.raises(TypeError):
        parts[0] + 1
    with pytest.raises(TypeError):
        parts[0] + parts[1].loss


def test_total_is_a_pytree_that_scans():
    def step(total, row):
        return total + jaxce.reduce(row, reduction="total"), None

    start = Total(jnp.zeros(()), jnp.zeros(()))
    total, _ = jax.jit(lambda rows: jax.lax.scan(step, start, rows))(VALUES)
    assert total.mean() == VALUES.mean()


def test_the_total_of_nothing_starts_a_sum(x64):
    """float32 like the losses, also where JAX's own default is float64."""

    def step(total, row):
        return total + jaxce.reduce(row, reduction="total"), None

    assert float(jax.lax.scan(step, Total.zero(), VALUES)[0].mean()) == VALUES.mean()
    total, _ = jax.lax.scan(step, Total.zero(np.float64), VALUES.astype(float))
    assert (total.loss.dtype, float(total.mean())) == (np.float64, VALUES.mean())
    assert Total.zero().mean() == 0


@pytest.mark.parametrize("factor", [0.5, 2, np.float32(0.5), np.int32(2), jnp.float32(0.5)], ids=repr)
def test_a_number_multiplies_the_losses_under_every_reduction(factor):
    """``c * total`` is the total of c times the losses; c times the examples would not change the mean."""
    with jax.numpy_dtype_promotion("standard"):
        total = jaxce.reduce(VALUES, weights=WEIGHTS, reduction="total")
        want = jaxce.reduce(factor * VALUES, weights=WEIGHTS, reduction="total")
        for got in (factor * total, total * factor, total / (1 / factor)):
            assert isinstance(got, Total)
            chex.assert_trees_all_close(got, want)
            np.testing.assert_allclose(got.mean(), factor * total.mean())
        assert jax.jit(lambda t, c: (c * t).weight)(total, factor) == WEIGHTS.sum()


def test_what_a_total_is_not_multiplied_with():
    total = jaxce.reduce(VALUES, reduction="total")
    for wrong in (lambda: total * total, lambda: total / total, lambda: 1 / total, lambda: total * "2"):
        with pytest.raises(TypeError):
            wrong()


def test_the_sum_of_stacked_totals():
    totals = jax.vmap(lambda v, w: jaxce.reduce(v, weights=w, reduction="total"))(VALUES, WEIGHTS)
    assert totals.sum().mean() == jaxce.reduce(VALUES, weights=WEIGHTS)
    stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), totals)
    np.testing.assert_array_equal(stacked.sum(axis=0).loss, 3 * totals.loss)
    np.testing.assert_array_equal(stacked.sum(1).weight, [6, 12])


def test_images_mapped_one_by_one():
    """The mean of the means counts an image of ignored pixels as 0, and every other image alike."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 5, 4, 4)).astype(np.float32), rng.integers(0, 5, (8, 4, 4))
    labels[0], labels[1, 1:] = 255, 255

    def image(reduction):
        each = functools.partial(jaxce.cross_entropy, axis=0, ignore_index=255, reduction=reduction)
        return jax.vmap(each)(logits, labels)

    batch = jaxce.cross_entropy(logits, labels, axis=1, ignore_index=255)
    np.testing.assert_allclose(image("total").sum().mean(), batch, rtol=1e-6)
    assert image("mean")[0] == 0
    assert image("mean").mean() < 0.9 * batch


def test_the_text_of_a_total():
    total = jaxce.reduce(VALUES, weights=WEIGHTS, reduction="total")
    assert (f"{total:.3f}", f"{total:8.2e}", str(total), f"{total}") == (
        *("8.500", "8.50e+00"),
        *("Total(loss=51, weight=6)", "Total(loss=51, weight=6)"),
    )
    assert repr(Total(jnp.array([1 / 3, 2e9]), jnp.ones(2))) == "Total(loss=[0.333333, 2e+09], weight=[1, 1])"
    assert f"{Total.zero():.1f} {Total(jnp.float32(jnp.nan), jnp.float32(1)):.1f}" == "0.0 nan"
    assert str(Total(None, "data")) == "Total(loss=None, weight='data')"
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{Total(jnp.ones(2), jnp.ones(2)):.3f}"


def test_the_text_of_a_traced_total(capfd):
    """A tracer has no numbers; `jax.debug.print` has them."""
    seen = []

    @jax.jit
    def traced(values):
        total = jaxce.reduce(values, reduction="total")
        seen.append(repr(total))
        jax.debug.print("{total:.2f} {total}", total=total)
        return total

    jax.block_until_ready(traced(VALUES))
    jax.effects_barrier()
    assert re.fullmatch(r"Total\(loss=\S*Tracer\S*, weight=\S*Tracer\S*\)", seen[0])
    assert capfd.readouterr().out.strip() == "10.50 Total(loss=63, weight=6)"


def test_psum_over_a_mapped_axis():
    total = jax.vmap(lambda v, w: jaxce.reduce(v, weights=w, reduction="total").psum("rows"), axis_name="rows")
    np.testing.assert_allclose(total(VALUES, WEIGHTS).mean(), 51 / 6, rtol=1e-6)
    mean = jax.vmap(lambda v, w: jaxce.reduce(v, weights=w, reduction=Mean(axis_name="rows")), axis_name="rows")
    np.testing.assert_allclose(mean(VALUES, WEIGHTS), 51 / 6, rtol=1e-6)
    summed = jax.vmap(lambda v: jaxce.reduce(v, reduction=Sum(axis_name="rows")), axis_name="rows")
    np.testing.assert_allclose(summed(VALUES), VALUES.sum(), rtol=1e-6)


def test_a_mean_of_shard_means_is_another_number():
    """The mistake that `Total` and `axis_name` are for: shards with unequal padding."""
    means = [jaxce.reduce(row, weights=w) for row, w in zip(VALUES, WEIGHTS, strict=True)]
    assert np.mean(means) == (1.5 + 12) / 2 != 51 / 6


def test_reductions_are_frozen_and_hashable():
    assert {Mean(), Mean(axis=None), Sum()} == {Mean(), Sum()}
    assert Mean(axis=-1) != Mean()
    with pytest.raises(AttributeError):
        Mean().axis = 1
    static = jax.jit(lambda v, r: jaxce.reduce(v, reduction=r), static_argnums=1)
    assert static(VALUES, Sum()) == VALUES.sum()


def test_a_mean_per_sequence_of_a_loss():
    rng = np.random.default_rng(0)
    logits, ids = rng.normal(size=(4, 6, 5)).astype(np.float32), rng.integers(0, 5, (4, 6))
    keep = np.arange(6) < np.array([[6], [3], [1], [0]])
    got = jaxce.cross_entropy(logits, ids, where=keep, reduction=Mean(axis=-1))
    rows = [jaxce.cross_entropy(logits[i][keep[i]], ids[i][keep[i]]) for i in range(4)]
    np.testing.assert_allclose(got, rows, rtol=1e-6)


def test_counts_beyond_24_bits_are_exact():
    """A mean over 2**25 ones divides by 2**25, not by where float32 stops counting."""
    assert jax.jit(lambda v: jaxce.reduce(v, reduction="total").weight)(np.zeros(2**25, np.float32)) == 2**25


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_masked_nan_under_debug_nans(dtype):
    values, keep = jnp.asarray([1.0, np.nan], dtype), np.array([True, False])
    with jax.debug_nans(True):
        assert jaxce.reduce(values, where=keep) == 1
        np.testing.assert_array_equal(
            jax.grad(lambda v: jaxce.reduce(v, where=keep))(values), jnp.asarray([1, 0], dtype)
        )


def test_a_reduction_that_cannot_be_hashed_or_is_another_is_called_as_it_is():
    x, ids = jnp.zeros((4, 3)), jnp.arange(4) % 3
    nothing = np.zeros(4, bool)
    assert jaxce.cross_entropy(x, ids, where=nothing, reduction=jaxce.Mean(empty=jnp.array(2.0))) == 2
    seen = []

    class Telling(jaxce.Mean):
        def __call__(self, values, weights):
            seen.append(isinstance(values, jax.core.Tracer))
            return super().__call__(values, weights)

    for _ in range(2):
        jaxce.cross_entropy(x, ids, reduction=Telling())
    assert seen == [False, False]
