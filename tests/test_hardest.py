"""The reduction that keeps the hardest examples, against a sort in float64 NumPy."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hardest import kept, mean_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.experimental import checkify

import jaxce
from jaxce import Hardest, Mean, Total

RNG = np.random.default_rng(0)
N, L, C = 6, 8, 5
X = (2 * RNG.normal(size=(N, L, C))).astype(np.float32)
Y = RNG.integers(0, C, (N, L))
MASK = RNG.random((N, L)) < 0.7
CLASS_WEIGHTS = RNG.uniform(0.5, 2, C).astype(np.float32)

CHOICES = {
    "k": {"k": 7},
    "k of more than there are": {"k": 1000},
    "fraction": {"fraction": 0.3},
    "fraction of few": {"fraction": 0.001},
    "fraction 0 of at least 5": {"fraction": 0, "min_kept": 5},
    "whole": {"fraction": 1},
    "threshold": {"threshold": 1.5},
    "threshold of at least 9": {"threshold": 100.0, "min_kept": 9},
    "threshold, and enough without": {"threshold": 0.5, "min_kept": 2},
    "ratio": {"ratio": 3, "positives": Y == 4},
    "ratio of at least 2": {"ratio": 0.5, "positives": (Y == 4) & (np.arange(N) % 2 == 0)[:, None], "min_kept": 2},
    "ratio of a row": {"ratio": 0.25, "positives": np.arange(N)[:, None] == 2},
}
each_choice = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
each_axis = pytest.mark.parametrize("axis", [None, 1, -2, (0, 1), (0,)], ids=str)


def terms(loss, *args, **options):
    return loss(*args, reduction=lambda values, weights: (values, weights), **options)


def softmax(reduction, x=X, **options):
    return jaxce.cross_entropy(x, Y, reduction=reduction, **options)


IMAGES = RNG.normal(size=(4, 6, 6, 3)).astype(np.float32)
PIXELS = RNG.integers(0, 3, (4, 6, 6))
HIDDEN, KERNEL = RNG.normal(size=(N, L, 4)).astype(np.float32), RNG.normal(size=(4, C)).astype(np.float32)
LOSSES = {
    "cross_entropy": (jaxce.cross_entropy, (X, Y), {"where": MASK, "class_weights": CLASS_WEIGHTS}),
    "focal_loss": (jaxce.focal_loss, (X, Y), {"where": MASK}),
    "poly1_loss, some losses negative": (jaxce.poly1_loss, (X, Y), {"epsilon": -0.9}),
    "nll_loss of any sign": (jaxce.nll_loss, (X, Y), {"ignore_index": 1}),
    "sigmoid": (jaxce.sigmoid_binary_cross_entropy, (X[..., 0], Y > 2), {"where": MASK, "pos_weight": 3.0}),
    "dice_loss": (jaxce.dice_loss, (IMAGES, PIXELS), {"absent": "skip"}),
    "linear_cross_entropy": (jaxce.linear_cross_entropy, (HIDDEN, KERNEL, Y), {"where": MASK, "chunk_size": 8}),
    "reduce": (jaxce.reduce, (X[..., 0],), {"weights": np.abs(X[..., 1]), "where": MASK}),
}


@each_choice
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_keeps_what_a_sort_keeps(name, choice):
    loss, args, options = LOSSES[name]
    values, weights = terms(loss, *args, **options)
    choice = choice if np.shape(values) == (N, L) or "positives" not in choice else {"ratio": 1.0} | choice
    if np.shape(values) != (N, L) and "positives" in choice:
        choice = choice | {"positives": np.arange(4) < 2}
    got = loss(*args, reduction=Hardest(**choice), **options)
    np.testing.assert_allclose(got, mean_of(values, weights, **choice), rtol=1e-5)
    each = loss(*args, reduction=Hardest(**choice, reduction="none"), **options)
    np.testing.assert_allclose(each, kept(values, weights, **choice) * np.asarray(values, float), rtol=1e-5)


@each_axis
@each_choice
def test_sets_of_examples(choice, axis):
    values, weights = terms(jaxce.cross_entropy, X, Y, where=MASK)
    s = kept(values, weights, axis=axis, **choice)
    each, total = (softmax(Hardest(**choice, axis=axis, reduction=r), where=MASK) for r in ("none", "total"))
    np.testing.assert_allclose(each, s * np.asarray(values), rtol=1e-6)
    np.testing.assert_allclose((total.loss, total.weight), ((s * values).sum(), (s * weights).sum()), rtol=1e-6)
    two_levels = softmax(Hardest(**choice, axis=axis, reduction=Mean(axis=-1)), where=MASK)
    weight = (s * weights).sum(-1)
    np.testing.assert_allclose(two_levels, (s * values).sum(-1) / np.where(weight, weight, 1), rtol=1e-6)


@each_choice
def test_gradients_of_what_is_kept_alone(choice):
    values, weights = terms(jaxce.cross_entropy, X, Y, where=MASK)
    s = kept(values, weights, **choice)
    x = np.where(MASK[..., None], X, np.nan)

    def function(x):
        return softmax(Hardest(**choice), x, where=MASK)

    got = jax.grad(function)(x)
    probs = np.exp(X - X.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    want = (s * MASK / (s * MASK).sum())[..., None] * (probs - np.eye(C)[Y])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7)
    assert (np.asarray(got)[s == 0] == 0).all()
    chex.assert_trees_all_close(jax.jit(jax.grad(function))(x), got, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["k", "threshold", "ratio"])
def test_both_modes_and_second_derivatives(name):
    """The choice is constant, so the Hessian is that of the mean of the kept examples."""
    x, labels = X[0, :4], Y[0, :4]
    choice = {"k": {"k": 2}, "threshold": {"threshold": 1.0}, "ratio": {"ratio": 1, "positives": labels == labels[0]}}[
        name
    ]

    def function(x):
        return jaxce.cross_entropy(x, labels, reduction=Hardest(**choice))

    s = jnp.asarray(kept(*terms(jaxce.cross_entropy, x, labels), **choice), jnp.float32)

    def fixed(x):
        return jnp.sum(s * jaxce.cross_entropy(x, labels, reduction="none")) / jnp.sum(s)

    chex.assert_trees_all_close(jax.jacfwd(function)(x), jax.grad(fixed)(x), rtol=1e-5, atol=1e-7)
    chex.assert_trees_all_close(jax.hessian(function)(x), jax.hessian(fixed)(x), rtol=1e-5, atol=1e-7)

    def scanned(x):
        return jax.lax.scan(lambda total, row: (total + function(row), None), 0.0, jnp.stack([x, 2 * x]))[0]

    def unrolled(x):
        return function(x) + function(2 * x)

    chex.assert_trees_all_close(jax.hessian(scanned)(x), jax.hessian(unrolled)(x), rtol=1e-5, atol=1e-7)


def test_equal_losses_at_the_edge_share():
    values, weights = np.float32([3, 1, 1, 1, 0]), np.float32([1, 1, 1, 1, 1])
    each = jaxce.reduce(values, reduction=Hardest(k=2, reduction="none"))
    np.testing.assert_allclose(each, [3, 1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 4, 0, 3, 2]):
        np.testing.assert_allclose(jaxce.reduce(values[order], reduction=Hardest(k=2)), 2, rtol=1e-6)
    total = Hardest(k=2, reduction="total")(jnp.asarray(values), jnp.asarray(weights))
    np.testing.assert_allclose((total.loss, total.weight), (4, 2), rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        [0.0, -0.0, 0.0, -0.0],
        [-1.0, -2.0, -3.0, -0.5],
        [np.inf, 1.0, np.inf, 3e38],
        [1e-45, 0.0, 1e-30, -1e-45],
        [3.4e38, -3.4e38, 3.39e38, 0.0],
        [1.0, np.nextafter(np.float32(1), 2, dtype=np.float32), 1.0, 1.0],
    ],
    ids=str,
)
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_numbers_at_the_ends_of_float32(values, k):
    values = np.float32(values)
    got = jaxce.reduce(values, reduction=Hardest(k=k, reduction="sum"))
    with np.errstate(over="ignore"):
        want = np.float32(np.sort(values.astype(float))[::-1][:k].sum())
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-44)


def test_minus_infinity_is_kept_last():
    values = np.float32([1, -np.inf, 2])
    for k, want in ((2, 3), (3, -np.inf)):
        assert jaxce.reduce(values, reduction=Hardest(k=k, reduction="sum")) == want


@each_choice
def test_nan_stays_visible_and_masked_nan_does_not(choice):
    x = X.copy()
    x[2, 3] = np.nan
    keep = np.ones((N, L), bool)
    keep[2, 3] = False
    assert np.isfinite(softmax(Hardest(**choice), x, where=keep))
    for name in ("mean", "sum"):
        loss, gradient = jax.value_and_grad(lambda x, name=name: softmax(Hardest(**choice, reduction=name), x))(x)
        assert np.isnan(loss)
        assert np.isnan(gradient[2, 3]).all()
    each = softmax(Hardest(**choice, reduction="none"), x)
    assert np.isnan(each).sum() == 1
    hidden = jaxce.reduce(np.float32([1, np.nan]), weights=np.float32([1, 0]), reduction=Hardest(k=1))
    assert np.isnan(hidden), "a weight of 0 is no mask"


def test_an_invalid_id_is_nan_under_jit():
    ids = jnp.asarray(Y).at[0, 0].set(C)
    value_and_grad = jax.jit(jax.value_and_grad(lambda x, y: jaxce.cross_entropy(x, y, reduction=Hardest(k=3))))
    loss, gradient = value_and_grad(X, ids)
    assert np.isnan(loss)
    assert np.isnan(gradient[0, 0]).all()


@each_choice
def test_nothing_to_keep(choice):
    nothing = np.zeros((N, L), bool)
    loss, gradient = jax.value_and_grad(lambda x: softmax(Hardest(**choice), x, where=nothing))(X)
    assert loss == 0
    assert (np.asarray(gradient) == 0).all()
    choice = {name: np.zeros((0, L), bool) if name == "positives" else value for name, value in choice.items()}
    empty = functools.partial(jaxce.cross_entropy, X[:0], Y[:0])
    assert empty(reduction=Hardest(**choice)) == 0
    assert empty(reduction=Hardest(**choice, axis=-1, reduction="none")).shape == (0, L)
    assert np.isnan(empty(reduction=Hardest(**choice, reduction=Mean(empty=jnp.nan))))


def test_one_example_without_a_batch():
    loss = jaxce.cross_entropy(X[0, 0], Y[0, 0])
    for choice in ({"k": 3}, {"fraction": 0.2}, {"ratio": 1, "positives": np.array(True)}):
        np.testing.assert_allclose(jaxce.cross_entropy(X[0, 0], Y[0, 0], reduction=Hardest(**choice)), loss, rtol=1e-6)
    assert jaxce.cross_entropy(X[0, 0], Y[0, 0], reduction=Hardest(threshold=100.0)) == 0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits_choose_in_float32(dtype):
    x = jnp.asarray(X, dtype)
    values, weights = terms(jaxce.cross_entropy, x, Y)
    loss, gradient = jax.value_and_grad(lambda x: softmax(Hardest(fraction=0.25), x))(x)
    np.testing.assert_allclose(loss, mean_of(values, weights, fraction=0.25), rtol=1e-6)
    assert (loss.dtype, gradient.dtype) == (jnp.float32, dtype)


def test_float64_tells_apart_what_float32_does_not(x64):
    values = np.array([1, 1 + 1e-15, 1 + 2e-15, 1 + 3e-15, 0.5])
    each = jaxce.reduce(values, reduction=Hardest(k=2, reduction="none"))
    assert each.dtype == np.float64
    np.testing.assert_array_equal(np.asarray(each) != 0, [False, False, True, True, False])


@each_choice
def test_jit_and_vmap(choice):
    values, weights = terms(jaxce.cross_entropy, X, Y, where=MASK)

    def of_row(x, y, mask, positives):
        given = choice | ({"positives": positives} if "positives" in choice else {})
        return jaxce.cross_entropy(x, y, where=mask, reduction=Hardest(**given))

    positives = np.broadcast_to(choice.get("positives", True), (N, L))
    rows = jax.jit(jax.vmap(of_row))(X, Y, MASK, positives)
    want = [
        mean_of(values[i], weights[i], **choice | ({"positives": positives[i]} if "positives" in choice else {}))
        for i in range(N)
    ]
    np.testing.assert_allclose(rows, want, rtol=1e-5)


def test_a_schedule_of_the_fraction_is_traced_once():
    traces = []

    @jax.jit
    def step(x, fraction):
        traces.append(fraction)
        return softmax(Hardest(fraction=fraction), x)

    for fraction in (1.0, 0.5, 0.15):
        want = softmax(Hardest(fraction=fraction))
        np.testing.assert_allclose(step(X, jnp.float32(fraction)), want, rtol=1e-6)
        np.testing.assert_allclose(softmax(Hardest(fraction=jnp.float32(fraction))), want, rtol=1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("name", "wrong"), [("fraction", -0.1), ("fraction", 1.1), ("ratio", -1.0), ("threshold", np.nan)]
)
def test_a_wrong_number_raises_and_traced_it_is_nan(name, wrong):
    more = {"positives": Y > 2} if name == "ratio" else {}
    with pytest.raises(ValueError, match=f"{name}: got"):
        softmax(Hardest(**{name: wrong}, **more))
    traced = jax.jit(jax.value_and_grad(lambda x, number: softmax(Hardest(**{name: number}, **more), x)))
    loss, gradient = traced(X, jnp.float32(wrong))
    assert np.isnan(loss)
    assert np.isnan(gradient).any()


@given(
    hnp.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([-2.0, -0.0, 0.0, 0.25, 1.0, 1.5, 7.0])),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_ties_and_masks(values, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size)))
    weights = np.float32(data.draw(st.sampled_from([0.5, 1, 3])))
    choice = data.draw(
        st.one_of(
            st.integers(1, 50).map(lambda k: {"k": k}),
            st.floats(0, 1, width=32).map(lambda f: {"fraction": f}),
            st.tuples(st.sampled_from([-1.0, 0.0, 0.3, 2.0]), st.integers(1, 50)).map(
                lambda pair: {"threshold": pair[0], "min_kept": pair[1]}
            ),
            st.sampled_from([0, 0.5, 1, 3]).map(lambda r: {"ratio": r, "positives": np.arange(values.size) % 3 == 0}),
        )
    )
    padded = np.pad(values, (0, 40 - values.size))  # one shape, one program
    keep = np.pad(mask, (0, 40 - values.size))
    choice = choice | ({"positives": np.arange(40) % 3 == 0} if "positives" in choice else {})
    got = jaxce.reduce(padded, weights=np.full(40, weights), where=keep, reduction=Hardest(**choice, reduction="none"))
    want = kept(padded * weights, np.where(keep, weights, 0), **choice) * padded * weights
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_totals_of_microbatches():
    """Each microbatch chooses its own; the totals divide once."""
    parts = [slice(i, None, 2) for i in range(2)]
    totals = [
        jaxce.cross_entropy(X[i], Y[i], where=MASK[i], reduction=Hardest(fraction=0.5, reduction="total"))
        for i in parts
    ]

    def loss_fn(w, x, y, mask):
        return jaxce.cross_entropy(x * w, y, where=mask, reduction=Hardest(fraction=0.5, reduction="total"))

    step = jax.jit(jaxce.value_and_grad(loss_fn, microbatches=2))
    loss, gradient = step(jnp.ones(()), X, Y, MASK)
    np.testing.assert_allclose(loss, sum(totals).mean(), rtol=1e-6)
    want = jax.grad(lambda w: sum((loss_fn(w, X[i], Y[i], MASK[i]) for i in parts), Total.zero()).mean())(jnp.ones(()))
    np.testing.assert_allclose(gradient, want, rtol=1e-5)


def test_a_callable_inside_is_called_as_it_is():
    seen = []

    def telling(values, weights):
        seen.append(isinstance(values, jax.core.Tracer))
        return values.sum()

    for _ in range(2):
        softmax(Hardest(k=3, reduction=telling))
    assert seen == [False, False]
    assert softmax(Hardest(k=3, reduction=Mean(empty=jnp.array(2.0))), where=np.zeros((N, L), bool)) == 2
    twice = softmax(Hardest(k=20, reduction=Hardest(k=3)))
    np.testing.assert_allclose(twice, softmax(Hardest(k=3)), rtol=1e-6)


def test_equal_reductions_share_a_program():
    assert Hardest(k=3) == Hardest(k=3) != Hardest(k=4)
    assert len({Hardest(k=3), Hardest(k=3), Hardest(fraction=0.5)}) == 2
    with pytest.raises(AttributeError):
        Hardest(k=3).k = 4


def test_explain_and_summarize_account_for_what_is_kept():
    reduction = Hardest(fraction=0.25)
    told = jaxce.explain(jaxce.cross_entropy, X, Y, class_weights=CLASS_WEIGHTS, reduction=reduction)
    loss = softmax(reduction, class_weights=CLASS_WEIGHTS)
    np.testing.assert_allclose((told.value, told.total / told.divisor), (loss, loss), rtol=1e-6)
    np.testing.assert_allclose(told.added["class_weights"], loss - softmax(reduction), rtol=1e-5)
    assert (told.losses != 0).sum() == N * L // 4
    assert "worse than" not in str(told), "the hardest examples always are"
    summary = jax.jit(lambda x: jaxce.summarize(jaxce.cross_entropy, x, Y, reduction=reduction))(X)
    np.testing.assert_allclose(summary.total.mean(), softmax(reduction), rtol=1e-6)


def test_under_debug_nothing_is_found():
    with jaxce.debug():
        loss = jax.jit(lambda x: softmax(Hardest(fraction=0.25), x))(X)
    np.testing.assert_allclose(loss, softmax(Hardest(fraction=0.25)), rtol=1e-6)


def test_nothing_is_sorted():
    """Beside the losses there are two arrays of their size, or three without a gradient; no sort, no gather."""
    values = jax.ShapeDtypeStruct((16, 4096), jnp.float32)
    for axis in (None, -1):
        step = jax.jit(jax.grad(lambda v, axis=axis: jaxce.reduce(v, reduction=Hardest(fraction=0.25, axis=axis))))
        compiled = step.lower(values).compile()
        assert not re.search(r" (sort|gather|scatter|custom-call)\(", compiled.as_text())
        assert compiled.memory_analysis().temp_size_in_bytes <= 3.1 * 4 * values.size


def test_the_search_makes_no_nan_that_checks_would_find():
    """Candidates among the bits are NaN patterns, too."""
    values, mask = jnp.asarray([1.0, np.nan], jnp.float32), np.array([True, False])
    with jax.debug_nans(True):
        for choice in ({"k": 3}, {"threshold": 100.0}):
            loss = jax.value_and_grad(lambda v, c=choice: jaxce.reduce(v, where=mask, reduction=Hardest(**c)))(values)
            assert np.isfinite(loss[0])
    checked = checkify.checkify(lambda x: softmax(Hardest(threshold=100.0), x), errors=checkify.all_checks)
    error, loss = jax.jit(checked)(X)
    assert error.get() is None
    assert loss == 0


def test_export_with_a_symbolic_batch():
    n, *_ = jax.export.symbolic_shape("n")
    for reduction in (Hardest(fraction=0.5), Hardest(k=3, axis=-1), Hardest(threshold=1.0, min_kept=4)):
        step = jax.jit(lambda x, y, reduction=reduction: jaxce.cross_entropy(x, y, reduction=reduction))
        shapes = [jax.ShapeDtypeStruct((n, *a.shape[1:]), a.dtype) for a in (X, Y.astype(np.int32))]
        exported = jax.export.export(step)(*shapes)
        np.testing.assert_allclose(exported.call(X, Y.astype(np.int32)), step(X, Y), rtol=1e-6)
