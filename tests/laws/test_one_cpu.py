"""The ways of one CPU device, fused and in blocks of rows, where a loss has rows of its own to sum.

The other losses are built on these, or sum nothing by rows. The session has eight devices, so small arrays are
set to take these ways; a shape must be asked for nowhere else, or its compiled program is another way's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from inputs import cast, draw
from jax.experimental import checkify
from law import GRADIENT, LOSS, assert_same, by_differences, gradients, law, masked, planted

import jaxce


def sums_rows(case):
    return case.name in (
        "cross_entropy",
        "linear_cross_entropy",
        "nll_loss",
        "js_divergence",
        "kl_divergence",
        "entropy",
    )


@law(options="ends", where=sums_rows)
def test_value_and_gradients_are_the_reference(setting, one_cpu):
    """With all options along three axes, without any along one of them."""
    shapes = [((40 + one_cpu, 5), -1), ((2, 2, 33 + one_cpu, 2), 1), ((6, 34 + one_cpu), 0)]
    if not setting.case.any_axis:
        shapes = shapes[:1]
    elif not setting.options:
        shapes = [shapes[CASES.index(setting.case) % 3]]
    every = [setting.draw(shape=shape, axis=axis) for shape, axis in shapes]
    given = [[cast(inputs.x, dtype) for dtype in (jnp.float32, jnp.bfloat16)] for inputs in every]

    @jax.jit
    def run(given):
        return [([d.call(x=x) for x in xs], gradients(d)) for d, xs in zip(every, given, strict=True)]

    for inputs, xs, (values, got) in zip(every, given, run(given), strict=True):
        want = [inputs.expected(x=np.asarray(x.astype(jnp.float32), float)) for x in xs]
        np.testing.assert_allclose(values, want, **LOSS)
        assert_same(got, by_differences(inputs))


@law(options="all", where=sums_rows)
def test_nothing_is_computed_from_masked_rows(setting, one_cpu):
    clean, valid = masked(setting, shape=(43 + one_cpu, 5))

    @jax.jit
    def run(xs):
        return [jax.value_and_grad(lambda x: clean.call(x=x))(x) for x in xs]

    def outputs(*every):
        return run([cast(d.x, dtype) for d, dtype in zip(every, (jnp.float32, jnp.bfloat16), strict=True)])

    got = outputs(*(planted(clean, valid, value) for value in (np.nan, -np.inf)))
    jax.tree.map(np.testing.assert_array_equal, got, outputs(clean, clean))


@law(options="all", where=sums_rows)
def test_both_modes_and_second_derivatives(setting, one_cpu):
    inputs = setting.draw(shape=(45 + one_cpu, 5))
    v = np.random.default_rng(0).normal(size=inputs.x.shape).astype(np.float32)

    def derivatives(x, v):
        def loss(x):
            return inputs.call(x=x, dtype=x.dtype)

        gradient, along = jax.jvp(jax.grad(loss), (x,), (v,))
        return jnp.vdot(gradient, v), jax.jvp(loss, (x,), (v,))[1], along

    reverse, forward, second = jax.jit(derivatives)(cast(inputs.x), v)
    np.testing.assert_allclose(reverse, forward, **GRADIENT)
    with jax.enable_x64(True):
        exact = jax.jit(derivatives)(cast(inputs.x, jnp.float64), jnp.asarray(v, jnp.float64))[2]
    np.testing.assert_allclose(second, exact, rtol=2e-4, atol=2e-6)


IN_A_SCAN = {
    "ids": lambda x, y: jaxce.cross_entropy(x, y[:, 0]),
    "entropy": lambda x, y: jnp.mean(jaxce.log_probs(x, y[:, 0]).entropy),
    "log_z": lambda x, y: jnp.mean(jaxce.log_probs(x, y[:, 0]).log_z),
    "binary": lambda x, y: jaxce.sigmoid_binary_cross_entropy(x, y),
    "focal": lambda x, y: jaxce.sigmoid_focal_loss(x, y),
    "asymmetric": lambda x, y: jaxce.asymmetric_loss(x, y),
    "divergence": lambda x, y: jaxce.js_divergence(x, y[:, 0]),
    "several labels": lambda x, y: jaxce.multilabel_soft_margin_loss(x, y),
}
"""Losses with a written derivative, of logits and ids of 0 or 1."""


@pytest.mark.parametrize("name", IN_A_SCAN)
def test_second_derivatives_in_a_scan(name, one_cpu):
    """Up to 0.10, JAX takes them from the value that a rule computes again, without its rule."""
    rng, loss = np.random.default_rng(0), IN_A_SCAN[name]
    x, v = (rng.normal(size=(3, 51 + one_cpu, 4)).astype(np.float32) for _ in range(2))
    y = rng.integers(0, 2, x.shape)

    def scanned(x):
        return jax.lax.scan(lambda total, xy: (total + jnp.sin(loss(*xy)), None), jnp.zeros((), x.dtype), (x, y))[0]

    def one_by_one(x):
        return sum(jnp.sin(loss(*xy)) for xy in zip(x, y, strict=True))

    got, want = (jax.jit(lambda x, f=f: jax.jvp(jax.grad(f), (x,), (v,))[1])(x) for f in (scanned, one_by_one))
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-6)


def test_no_index_is_out_of_bounds(one_cpu):
    inputs = draw(CASES[0], "ids", shape=(47 + one_cpu, 5))
    checked = checkify.checkify(jax.jit(lambda x: inputs.call(x=x)), errors=checkify.index_checks)
    assert checked(cast(inputs.x))[0].get() is None


def test_rows_go_in_blocks_where_nothing_fuses(one_cpu):
    inputs = draw(CASES[0], "ids", shape=(49 + one_cpu, 5))
    text = jax.jit(lambda x: inputs.call(x=x)).lower(cast(inputs.x)).as_text()
    fused = one_cpu == 0 and jax.__version_info__ >= (0, 10, 2)
    assert ("while" in text) != fused


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_constant_logits_have_the_loss_of_an_argument(one_cpu, offset):
    """XLA simplifies what it computes of constants."""
    x, y, w = jnp.full((1, 19 + one_cpu), offset, jnp.float32), jnp.zeros(1, jnp.int32), jnp.ones(19 + one_cpu)

    def loss(w):
        return jaxce.cross_entropy(x, y, class_weights=w, reduction="sum")

    value, gradient = jax.jit(lambda: jax.value_and_grad(loss)(w))()
    np.testing.assert_allclose(value, np.log(19 + one_cpu), rtol=1e-6)
    np.testing.assert_allclose(gradient, np.log(19 + one_cpu) * (np.arange(19 + one_cpu) == 0), rtol=1e-6)


def test_one_example_is_one_block(one_cpu):
    inputs = draw(CASES[0], "ids", shape=(51 + one_cpu,))
    np.testing.assert_allclose(jax.jit(lambda x: inputs.call(x=x))(cast(inputs.x)), inputs.expected(), **LOSS)
