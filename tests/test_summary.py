"""What `summarize` tells in compiled code, whole, in microbatches and over devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce
from jaxce._explain._summary import _top

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype(np.float32)
Y = RNG.integers(0, 5, 16).astype(np.int32)
Y[[3, 9]] = -1
DOCUMENTS = (np.arange(16) // 6).astype(np.int32)
WEIGHTS = RNG.uniform(0.5, 2, 5).astype(np.float32)
NONE = jaxce.cross_entropy(X, Y, class_weights=WEIGHTS, ignore_index=-1, reduction="none")


def summary(x=X, y=Y, groups=DOCUMENTS, top_k=6):
    options = {"class_weights": WEIGHTS, "ignore_index": -1, "groups": groups, "num_groups": 3}
    return jaxce.summarize(jaxce.cross_entropy, x, y, top_k=top_k, **options)


def assert_equal(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)


def test_totals_by_class_and_by_group():
    told, w = jax.jit(summary)(), np.where(Y < 0, 0, WEIGHTS[Y])
    for totals, ids, number in ((told.by_class, Y, 5), (told.by_group, DOCUMENTS, 3)):
        for c in range(number):
            np.testing.assert_allclose(totals.loss[c], np.asarray(NONE)[ids == c].sum(), rtol=2e-6)
            np.testing.assert_allclose(totals.weight[c], w[ids == c].sum(), rtol=2e-6)
    assert (told.counts["ignored"], told.firsts["ignored"]) == (2, 3)
    assert told.firsts["nan"] == -1


@pytest.mark.parametrize("cuts", [(4, 8), (1, 15), (3, 3)])
def test_microbatches_add(cuts):
    parts = [slice(0, cuts[0]), slice(*cuts), slice(cuts[1], 16)]
    assert_equal(sum(summary(X[p], Y[p], DOCUMENTS[p]) for p in parts if X[p].size), summary())


@pytest.mark.parametrize("axis_types", [AxisType.Auto, AxisType.Explicit])
def test_devices_add(axis_types):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_types,))
    rows = P("data")

    @partial(jax.shard_map, mesh=mesh, in_specs=(rows, rows, rows), out_specs=P())
    def every(x, y, groups):
        return summary(x, y, groups).psum("data")

    with jax.set_mesh(mesh):
        told = jax.jit(every)(*(jax.device_put(a, jax.NamedSharding(mesh, rows)) for a in (X, Y, DOCUMENTS)))
    assert_equal(told, summary())


@pytest.mark.parametrize("axis_types", [AxisType.Auto, AxisType.Explicit])
def test_split_arrays_need_nothing(axis_types):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_types,))
    with jax.set_mesh(mesh):
        split = [jax.device_put(a, jax.NamedSharding(mesh, P("data"))) for a in (X, Y, DOCUMENTS)]
        told = jax.jit(summary)(*split)
    assert_equal(told, summary())


def test_invalid_ids_and_nan_are_counted_and_named():
    y, x = Y.copy(), X.copy()
    y[[5, 11]], x[7], x[3] = (5, -7), np.nan, np.nan  # row 3 is masked
    told = jax.jit(lambda x, y: summary(x, y))(x, y)
    assert {name: int(n) for name, n in told.counts.items()} == {"masked": 0, "ignored": 2, "invalid": 2, "nan": 3}
    assert {name: int(n) for name, n in told.firsts.items()} == {"masked": -1, "ignored": 3, "invalid": 5, "nan": 5}
    assert told.top_indices[:3].tolist() == [5, 7, 11]
    assert np.isnan(told.top_losses).tolist() == [True] * 3 + [False] * 3
    assert "2 invalid, first: example 5." in str(told)
    finite = [c for c in range(5) if c != Y[7]]
    assert np.isfinite(told.by_class.loss).tolist() == [c in finite for c in range(5)]


def test_binary_labels_are_two_classes():
    labels = (RNG.random(X.shape) < 0.3).astype(np.float32)
    told = jax.jit(partial(jaxce.summarize, jaxce.sigmoid_binary_cross_entropy))(X, labels)
    losses = jaxce.sigmoid_binary_cross_entropy(X, labels, reduction="none")
    np.testing.assert_allclose(told.by_class.loss, [losses[labels < 0.5].sum(), losses[labels > 0.5].sum()], rtol=2e-6)
    bad = jax.jit(partial(jaxce.summarize, jaxce.sigmoid_binary_cross_entropy))(X, 255 * labels)
    assert bad.counts["invalid"] == bad.counts["nan"] == int(labels.sum())


def test_nan_of_either_sign_comes_first():
    losses, indices = _top(jnp.array([1.0, jnp.nan, -jnp.nan, 5.0]), 3)
    assert indices.tolist() == [1, 2, 3]
    assert np.isnan(losses).tolist() == [True, True, False]


def test_fewer_examples_than_asked():
    told = summary(X[:2], Y[:2], DOCUMENTS[:2])
    assert told.top_indices[2:].tolist() == [-1] * 4
    assert np.isneginf(told.top_losses[2:]).all()


def test_no_examples():
    told = summary(X[:0], Y[:0], DOCUMENTS[:0])
    assert {*map(int, told.firsts.values())} == {-1}
    assert_equal(told + summary(), summary())


def test_none_that_counts():
    told = summary(y=np.full(16, -1, np.int32))
    assert str(told).splitlines() == [
        "cross_entropy: no mean (0 / 0) over 16 examples.",
        "16 ignored, first: example 0.",
        "By class: no example counts.",
        "By group: no example counts.",
    ]


def test_a_summary_has_no_gradient_and_prints_when_traced():
    def loss(x):
        told = summary(x)
        assert str(told) == "Summary of cross_entropy, traced"
        return jaxce.cross_entropy(x, Y, ignore_index=-1), told

    (_, told), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(X)
    assert_equal(told, summary())
    assert np.isfinite(gradient).all()


def test_gradient_norms_are_those_of_each_example():
    told = jax.jit(summary)()
    p = np.exp(X.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    p_label = p[np.arange(16), Y]
    norms = np.where(Y < 0, 0, WEIGHTS[Y] * np.sqrt((p**2).sum(-1) - 2 * p_label + 1))
    order = np.argsort(-norms)[:6]
    assert told.top_norm_indices.tolist() == order.tolist()
    np.testing.assert_allclose(told.top_norms, norms[order], rtol=2e-6)
    assert f"Largest gradients: example {order[0]} has norm {norms[order[0]]:.4f}" in str(told)


def test_gradient_norms_of_split_classes():
    mesh = jax.make_mesh((5,), ("classes",), devices=jax.devices()[:5], axis_types=(AxisType.Auto,))
    told = jax.jit(
        jax.shard_map(
            lambda x: jaxce.summarize(jaxce.cross_entropy, x, Y % 5, class_axis_name="classes").top_norms,
            mesh=mesh,
            in_specs=P(None, "classes"),
            out_specs=P(),
        )
    )(X)
    np.testing.assert_allclose(told, jaxce.summarize(jaxce.cross_entropy, X, Y % 5).top_norms, rtol=2e-6)


def test_masked_and_ignored_are_counted_apart():
    where = np.arange(16) > 3  # example 3 is masked and ignored, 9 only ignored
    told = jaxce.summarize(jaxce.cross_entropy, X, Y, where=where, ignore_index=-1)
    assert {name: int(n) for name, n in told.counts.items()} == {"masked": 4, "ignored": 1, "invalid": 0, "nan": 0}


def test_regions_and_linear_layers_have_no_norms():
    layer = jaxce.summarize(jaxce.linear_cross_entropy, X, X[:5].T, Y % 5)
    regions = jaxce.summarize(jaxce.dice_loss, X[None], Y[None] % 5)
    assert layer.top_norms is regions.top_norms is (layer + layer).top_norms is None
    assert "gradients" not in str(layer + layer)


def test_norms_cost_five_passes_on_a_cpu():
    """XLA:CPU of JAX 0.10 does not fuse gradient and norm: five passes. `tests/on_tpu.py` counts those of TPUs."""
    x, y = jnp.zeros((256, 4000)), jnp.zeros(256, jnp.int32)

    def compiled(f):
        return jax.jit(jax.value_and_grad(f, has_aux=True)).lower(x).compile()

    plain = compiled(lambda x: (jaxce.cross_entropy(x, y), 0))
    told = compiled(lambda x: (jaxce.cross_entropy(x, y), jaxce.summarize(jaxce.cross_entropy, x, y)))
    extra = told.cost_analysis()["bytes accessed"] - plain.cost_analysis()["bytes accessed"]
    assert extra <= 5.1 * x.size * 4


def test_mistakes():
    with pytest.raises(ValueError, match=r"^num_groups: got None; expected the number"):
        jaxce.summarize(jaxce.cross_entropy, X, Y % 5, groups=DOCUMENTS)
    with pytest.raises(ValueError, match=r"^groups: got shape \(3,\); expected one per example, shape \(16,\)"):
        jaxce.summarize(jaxce.cross_entropy, X, Y % 5, groups=jnp.zeros(3, int), num_groups=2)
    with pytest.raises(TypeError):
        summary() + 1


def test_stacked_summaries_add():
    """Those of `scan`, of `vmap`, and of the microbatches of `value_and_grad`."""
    parts = [a.reshape(4, 4, *a.shape[1:]) for a in (X, Y, DOCUMENTS)]
    stacked = jax.lax.scan(lambda _, part: (None, summary(*part)), None, parts)[1]
    assert_equal(stacked.sum(), summary())
    assert_equal(jax.vmap(summary)(*parts).sum(), summary())
    assert repr(stacked) == f"4 parts, in sum:\n{summary()!r}"

    def loss_fn(kernel, x, y, groups):
        x = x @ kernel
        return jaxce.cross_entropy(x, y, ignore_index=-1, reduction="total"), summary(x, y, groups)

    (_, told), _ = jaxce.value_and_grad(loss_fn, has_aux=True, microbatches=4)(jnp.eye(5), X, Y, DOCUMENTS)
    order = np.arange(16).reshape(4, 4).T.reshape(-1)  # part i has the rows i, i + 4, ...
    assert_equal(told.sum(), summary(X[order], Y[order], DOCUMENTS[order]))


def test_regions_count_pixels():
    x, labels = RNG.normal(size=(4, 9, 3)).astype(np.float32), RNG.integers(0, 3, (4, 9))
    where = np.ones((4, 9), bool)
    where[2, 5:] = False
    labels[3, 7] = 5

    def told(rows):
        call = partial(jaxce.summarize, jaxce.dice_loss, where=where[rows], batch_axis=0, top_k=2)
        return jax.jit(call)(x[rows], labels[rows])

    whole = told(slice(4))
    assert (whole.size, whole.labeled) == (4, 36)
    assert {name: int(n) for name, n in whole.counts.items()} == {"masked": 4, "ignored": 0, "invalid": 1, "nan": 1}
    assert {name: int(n) for name, n in whole.firsts.items()} == {"masked": 23, "ignored": -1, "invalid": 34, "nan": 3}
    assert "4 masked, first: pixel 23." in repr(whole)
    assert_equal(told(slice(2)) + told(slice(2, 4)), whole)


INVALID = {
    "probabilities": (jaxce.cross_entropy, np.float32([[-0.5, 1.5], [0.5, 0.5]])),
    "binary integers": (jaxce.sigmoid_binary_cross_entropy, np.array([[-1, 1], [0, 1]])),
    "binary floats": (jaxce.sigmoid_binary_cross_entropy, np.float32([[1.5, 0], [0, 1]])),
    "signs": (jaxce.soft_margin_loss, np.array([[0, 1], [-1, 1]])),
}


@pytest.mark.parametrize("name", INVALID)
def test_every_invalid_label_is_counted(name):
    loss, labels = INVALID[name]
    told = jax.jit(lambda y: jaxce.summarize(loss, jnp.zeros((2, 2)), y))(labels)
    assert (told.counts["invalid"], told.firsts["invalid"]) == (told.counts["nan"], 0)
    assert told.counts["nan"] == 1


def test_a_batch_of_any_size_is_exported():
    (batch,) = jax.export.symbolic_shape("b")
    arguments = [jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype) for a in (X, Y, DOCUMENTS)]
    exported = jax.export.export(jax.jit(lambda *a: jax.tree.leaves(summary(*a))))(*arguments)
    for rows in (16, 3):
        assert_equal(
            exported.call(X[:rows], Y[:rows], DOCUMENTS[:rows]),
            jax.tree.leaves(summary(X[:rows], Y[:rows], DOCUMENTS[:rows])),
        )


def test_has_aux_is_left_out():
    with_aux = jaxce.summarize(jaxce.cross_entropy, X, abs(Y), has_aux=True)
    assert_equal(with_aux, jaxce.summarize(jaxce.cross_entropy, X, abs(Y)))
