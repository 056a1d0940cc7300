"""Masks: what is masked has value 0 and gradient 0, whatever it holds; NaN elsewhere shows."""

import jax
import jax.numpy as jnp
import numpy as np
from inputs import cast
from jax.experimental import checkify
from law import GRADIENT, LOSS, assert_same, law, masked, planted


@law()
def test_masked_examples_may_hold_anything(setting):
    """NaN, infinity, ids out of range: in logits, labels and weights, and in the tangent of such logits."""
    clean, valid = masked(setting, "sample_weights")
    tangent = jnp.where(valid, 1.0, jnp.nan)

    @jax.jit
    def every(arrays, labels):
        arrays = {"labels": labels} | arrays

        def loss(arrays, reduction="mean"):
            return clean.call(**arrays, reduction=reduction)

        along = jax.jvp(lambda x: loss(arrays | {"x": x}), (arrays["x"],), (tangent,))[1]
        fixed = {n: a for n, a in arrays.items() if n not in clean.arrays}
        return (
            loss(arrays, "none"),
            loss(arrays),
            jax.grad(lambda a: loss(fixed | a))({n: arrays[n] for n in clean.arrays}),
            along,
        )

    def outputs(inputs):
        return every({n: cast(a) for n, a in inputs.arrays.items()}, jnp.asarray(cast(inputs.labels)))

    values, mean, wanted, _ = outputs(clean)
    for value in (np.nan, np.inf, -np.inf):
        dirty = planted(clean, valid, value)
        got_values, got_mean, got, along = outputs(dirty)
        np.testing.assert_allclose(got_values, values, **LOSS)
        np.testing.assert_allclose(got_mean, mean, **LOSS)
        assert_same(got, wanted)
        for name in {"x", "labels"} & {*wanted}:
            np.testing.assert_array_equal(got[name][~valid], 0.0)
        np.testing.assert_allclose(along, jnp.sum(jnp.where(valid, wanted["x"], 0)), **GRADIENT)
    np.testing.assert_allclose(planted(clean, valid, np.nan).call(), mean, **LOSS)


@law()
def test_masked_nan_raises_nothing(setting):
    """Neither operation by operation under `debug_nans`, nor in a compiled program under `checkify`."""
    inputs = planted(*masked(setting), np.nan)
    x, labels = cast(inputs.x), cast(inputs.labels)
    both = jax.value_and_grad(lambda x: inputs.call(x=x, labels=labels))
    with jax.debug_nans(True):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(both(x)))
    error, _ = checkify.checkify(jax.jit(both), errors=checkify.nan_checks | checkify.div_checks)(x)
    assert error.get() is None


@law()
def test_nan_that_is_not_masked_shows(setting):
    inputs = setting.draw(shape=(4, 5))
    names = {"x", "labels"} & {*inputs.arrays} - ({"labels"} if setting.case.name == "entropy" else set())
    dirty = {name: np.where(np.arange(4)[:, None] == 2, np.nan, inputs.arrays[name]) for name in names}
    got = jax.jit(lambda dirty: {n: inputs.call(**{n: a}, reduction="none") for n, a in dirty.items()})(
        {name: cast(array) for name, array in dirty.items()}
    )
    for name, values in got.items():
        np.testing.assert_array_equal(np.isnan(values).reshape(4, -1).any(-1), np.arange(4) == 2, err_msg=name)


@law()
def test_masked_is_removed(setting):
    inputs = setting.draw("class_weights", "where", shape=(12, 5))
    rows = inputs.options["where"] if setting.case.example != "element" else np.arange(12) % 3 != 1
    where = rows if setting.case.example != "element" else np.broadcast_to(rows[:, None], (12, 5))
    removed = inputs.replace(x=inputs.x[rows], labels=inputs.labels[rows]).without("where")
    got, want = jax.jit(lambda x: (inputs.call(x=x, where=where), removed.call(x=x[rows])))(cast(inputs.x))
    np.testing.assert_allclose(got, want, **LOSS)
