"""Several class axes count as one: held against optax, against one axis, and through explanations."""

import inspect
import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

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
    """A reshape is free; only axes that lie apart or in another order move."""
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


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    "call",
    [
        lambda axes: jaxce.dice_loss(X, ids(axes), axis=axes),
        lambda axes: jaxce.log_probs(X, ids(axes), axis=axes),
        lambda axes: jaxce.sigmoid_binary_cross_entropy(X, np.ones_like(X), axis=axes),
        lambda axes: jaxce.js_divergence_of_views(X, axis=axes),
        lambda axes: jaxce.explain(jaxce.dice_loss, X, ids(axes), axis=axes),
        lambda axes: jaxce.summarize(jaxce.js_divergence_of_views, X, axis=axes),
    ],
)
def test_other_losses_say_that_they_take_one(call):
    with pytest.raises(TypeError, match="axis: got a tuple; expected one integer"):
        call((1, 3))


def test_class_orders_differ():
    """The order of the axes is the order of the ids, as in ``jnp.ravel_multi_index``."""
    i, j = np.array([[0, 2, 1, 0, 2], [1, 1, 0, 2, 0]]), np.array([[3, 0, 1, 2, 2], [0, 1, 3, 3, 1]])
    losses = [
        jaxce.cross_entropy(X, jnp.ravel_multi_index(pair, shape), axis=axes, reduction="none")
        for pair, shape, axes in (((i, j), (3, 4), (1, 3)), ((j, i), (4, 3), (3, 1)))
    ]
    for a, b in itertools.pairwise(losses):
        np.testing.assert_allclose(a, b, rtol=1e-6)
