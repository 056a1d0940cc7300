"""Several class axes count as one: held against optax, against one axis, and through explanations."""

import functools
import inspect
import itertools
import pathlib
from typing import get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxce

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
AXES = [(1, 3), (3, 1), (2, 3), (-1, -3), (0, 1, 2), (0, 1, 2, 3), (2,)]


def others(axes):
    return tuple(d for d in range(4) if d not in {axis % 4 for axis in axes})


def ids(axes):
    classes = np.prod([X.shape[d] for d in axes])
    return RNG.integers(0, classes, [X.shape[d] for d in others(axes)]).astype(np.int32)


def rows(a, axes):
    """The class axes last, as one."""
    return np.transpose(a, (*others(axes), *(d % 4 for d in axes))).reshape(*(a.shape[d] for d in others(axes)), -1)


def takes_several(f):
    known = inspect.signature(f).parameters.get("axis")
    return known is not None and tuple[int, ...] in get_args(known.annotation)


LOSSES = [name for name in jaxce.__all__ if inspect.isfunction(getattr(jaxce, name))]
SEVERAL = sorted(name for name in LOSSES if takes_several(getattr(jaxce, name)))


def test_the_losses_of_rows_take_several():
    taking = "brier_loss cross_entropy entropy focal_loss generalized_cross_entropy js_divergence kl_divergence"
    assert [*taking.split(), "multiclass_hinge_loss", "nll_loss", "poly1_loss"] == SEVERAL


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_ids_are_those_of_optax(axes):
    y = ids(axes)
    want = optax.softmax_cross_entropy_with_integer_labels(X, y, axis=axes)
    np.testing.assert_allclose(jaxce.cross_entropy(X, y, axis=axes, reduction="none"), want, rtol=1e-5)


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_probabilities_are_those_of_optax(axes):
    p = np.asarray(jax.nn.softmax(RNG.normal(size=X.shape).astype(np.float32), axes))
    want = optax.softmax_cross_entropy(X, p, axis=axes)
    np.testing.assert_allclose(jaxce.cross_entropy(X, p, axis=axes, reduction="none"), want, rtol=1e-5)
    log_q = jax.nn.log_softmax(X, axes)
    divergence = jaxce.kl_divergence(X, p, axis=axes, reduction="none")
    np.testing.assert_allclose(divergence, optax.kl_divergence(log_q, p, axis=axes), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("axes", [(1, 3), (3, 1), (1, 2)], ids=str)
def test_they_are_one_axis(name, axes):
    """In value and gradient, with weights and masks of the examples; logits of one class axis are the reference."""
    loss = getattr(jaxce, name)
    known = inspect.signature(loss).parameters
    y, merged = ids(axes), rows(X, axes)
    where = RNG.random(y.shape) < 0.7
    weights = RNG.random(y.shape).astype(np.float32)
    options = {"where": where, "sample_weights": weights}
    if "class_weights" in known:
        options["class_weights"] = RNG.random(merged.shape[-1]).astype(np.float32)
    labels = () if "labels" not in known else (y,)
    if labels and name.endswith("divergence"):
        q = np.asarray(jax.nn.softmax(RNG.normal(size=X.shape).astype(np.float32), axes))
        labels, merged_labels = (q,), (rows(q, axes),)
    else:
        merged_labels = labels
    whole = jax.value_and_grad(lambda x: loss(x, *labels, axis=axes, **options))
    value, gradient = jax.jit(whole)(X)
    want, want_gradient = jax.value_and_grad(lambda x: loss(x, *merged_labels, **options))(merged)
    np.testing.assert_allclose(value, want, rtol=2e-6)
    np.testing.assert_allclose(rows(gradient, axes), want_gradient, rtol=2e-5, atol=1e-7)


def test_neighbours_are_not_transposed():
    """Only axes that lie apart or in another order move."""
    text = str(jax.make_jaxpr(lambda x: jaxce.cross_entropy(x, ids((1, 2)), axis=(1, 2)))(X))
    assert "transpose" not in text
    assert "transpose" in str(jax.make_jaxpr(lambda x: jaxce.cross_entropy(x, ids((2, 1)), axis=(2, 1)))(X))


def test_explanations_and_summaries():
    y = ids((1, 3))
    told = jaxce.explain(jaxce.cross_entropy, X, y, axis=(1, 3))
    flat = jaxce.explain(jaxce.cross_entropy, rows(X, (1, 3)), y)
    assert told.value == jaxce.cross_entropy(X, y, axis=(1, 3))
    np.testing.assert_allclose(told.value, flat.value, rtol=1e-6)
    assert [*told.examples["label"]] == [*flat.examples["label"]]
    summary = jax.jit(lambda x: jaxce.summarize(jaxce.cross_entropy, x, y, axis=(1, 3)))(X)
    np.testing.assert_allclose(summary.total.mean(), told.value, rtol=1e-6)
    assert summary.by_class.loss.shape == (12,)


ONE_AXIS = [name for name in LOSSES if "axis" in inspect.signature(getattr(jaxce, name)).parameters]


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", sorted({*ONE_AXIS} - {*SEVERAL}))
def test_other_losses_say_that_they_take_one(name):
    loss = getattr(jaxce, name)
    second = {"js_divergence_of_views": (), "distillation_loss": (X,)}.get(name, (ids((1, 3)),))
    calls = [lambda: loss(X, *second, axis=(1, 3))]
    if name not in ("log_probs", "distillation_loss"):
        calls.append(lambda: jaxce.explain(loss, X, *second, axis=(1, 3)))
    for call in calls:
        with pytest.raises(TypeError, match="axis: got a tuple; expected one integer"):
            call()


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("loss", "labels", "match"),
    [
        (
            jaxce.cross_entropy,
            np.zeros((2, 12, 5), np.float32),
            r"got probabilities of shape \(2, 12, 5\) .* shape \(2, 3",
        ),
        (jaxce.cross_entropy, np.zeros((2, 12)), r"class axes \(1, 3\); expected shape \(2, 3, 5, 4\)\.$"),
        (jaxce.cross_entropy, np.zeros((2, 12), int), r"with the class axes \(1, 3\); expected shape \(2, 5\)\.$"),
        (jaxce.cross_entropy, np.zeros(X.shape, bool), r"with labels\.astype\(jnp\.float32\)"),
        (
            jaxce.multiclass_hinge_loss,
            np.zeros(X.shape, np.float32),
            r"\(1, 3\); expected class ids of an integer dtype\.$",
        ),
    ],
)
def test_errors_are_about_the_arrays_as_they_were_given(loss, labels, match):
    for call in (loss, functools.partial(jaxce.explain, loss)):
        with pytest.raises((TypeError, ValueError), match=match):
            call(X, labels, axis=(1, 3))


def test_swapped_arguments_and_one_class():
    with pytest.raises(TypeError, match="look swapped"):
        jaxce.explain(jaxce.cross_entropy, ids((1, 3)), X, axis=(1, 3))
    with pytest.raises(ValueError, match=r"on jnp\.squeeze\(logits, \(1, 3\)\)"):
        jaxce.cross_entropy(X[:, :1, :, :1], 1 + np.zeros((2, 5), int), axis=(1, 3))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
def test_a_mesh_may_split_examples_and_the_first_class_axis(kind):
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind, kind))
    x, y = RNG.normal(size=(2, 4, 6, 8)).astype(np.float32), RNG.integers(0, 32, (2, 6))
    loss = functools.partial(jaxce.cross_entropy, axis=(1, 3))
    want = jax.jit(jax.value_and_grad(loss))(x, y)
    with jax.set_mesh(mesh):
        for spec in (P("data"), P(None, "model"), P("data", "model")):
            given = (jax.device_put(a, NamedSharding(mesh, P(*spec[: 2 * (a.ndim == 4) or 1]))) for a in (x, y))
            got = jax.jit(jax.value_and_grad(loss))(*given)
            chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), rtol=2e-5, atol=1e-7)
        second = jax.device_put(x, NamedSharding(mesh, P(None, None, None, "model")))
        if kind == AxisType.Explicit:
            with pytest.raises(ValueError, match=r"class axes \(1, 3\) of logits that a mesh splits along axis 3;"):
                jax.jit(loss)(second, y)
        else:
            np.testing.assert_allclose(jax.jit(loss)(second, y), want[0], rtol=2e-6)


def test_a_shard_has_one_class_axis():
    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    x, y = np.zeros((2, 3, 5, 8), np.float32), np.zeros((2, 5), int)
    loss = functools.partial(jaxce.cross_entropy, axis=(1, 3), class_axis_name="model")
    mapped = jax.shard_map(loss, mesh=mesh, in_specs=(P(None, None, None, "model"), P()), out_specs=P())
    with pytest.raises(ValueError, match=r"class_axis_name: got 'model' with the class axes \(1, 3\); expected one"):
        mapped(x, y)


def test_the_conventions_name_the_losses():
    text = (pathlib.Path(__file__).parent.parent / "docs" / "conventions.md").read_text()
    entry = text[text.index("- **Several class axes**") :].partition("\n- ")[0]
    assert {name for name in LOSSES if f"`{name}`" in entry} == {*SEVERAL}


def test_class_orders_differ():
    """The order of the axes is the order of the ids, as in ``jnp.ravel_multi_index``."""
    i, j = np.array([[0, 2, 1, 0, 2], [1, 1, 0, 2, 0]]), np.array([[3, 0, 1, 2, 2], [0, 1, 3, 3, 1]])
    losses = [
        jaxce.cross_entropy(X, jnp.ravel_multi_index(pair, shape), axis=axes, reduction="none")
        for pair, shape, axes in (((i, j), (3, 4), (1, 3)), ((j, i), (4, 3), (3, 1)))
    ]
    for a, b in itertools.pairwise(losses):
        np.testing.assert_allclose(a, b, rtol=1e-6)
