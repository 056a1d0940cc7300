"""Derivatives: the reference's by finite differences, and the same in every mode, order and transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import HYPERPARAMETERS, cast
from jax.flatten_util import ravel_pytree
from law import EXACT, assert_same, by_differences, differences, law


@pytest.mark.of_every_loss
@law()
def test_every_gradient_is_the_reference(setting, thin):
    """In float64 with each option alone; in float32 with none and with all. Each example has its own cotangent."""
    drawn = {name: setting.draw(*options, shape=(2, 2, 4)) for name, options in setting.choices(thin).items()}
    weights = np.random.default_rng(1).normal(size=drawn["plain"].loss_shape)

    def gradients_of(names, dtype):
        def loss(arrays):
            losses = [drawn[name].call(**arrays[name], reduction="none", dtype=dtype) for name in names]
            return sum((jnp.asarray(weights, dtype) * values).sum() for values in losses)

        return jax.jit(jax.grad(loss))({n: {k: cast(a, dtype) for k, a in drawn[n].arrays.items()} for n in names})

    want = {name: by_differences(inputs, weights) for name, inputs in drawn.items()}
    with jax.enable_x64(True):
        assert_same(gradients_of(drawn, jnp.float64), want, {"rtol": 1e-7, "atol": 1e-8})
    ends = ("plain", "everything")
    assert_same(gradients_of(ends, jnp.float32), {name: want[name] for name in ends})


@law(options="all")
def test_a_traced_hyperparameter_is_the_number(setting, x64):
    """Its value, and its gradient against finite differences."""
    inputs = setting.draw(shape=(2, 2, 4))
    numbers = {name: np.float64(v) for name, v in inputs.options.items() if name in HYPERPARAMETERS}
    value, got = jax.jit(jax.value_and_grad(lambda given: inputs.call(**given, dtype=jnp.float64)))(numbers)
    np.testing.assert_allclose(value, inputs.expected(), **EXACT)
    for name, number in numbers.items():
        (want,) = differences(lambda v, n=name: inputs.expected(**{n: v}), [number])
        np.testing.assert_allclose(got[name], want, rtol=1e-6, atol=1e-8, err_msg=name)


@law(options="all")
def test_forward_mode_is_reverse_mode(setting):
    inputs = setting.draw(shape=(2, 3))
    arrays = {name: cast(a) for name, a in inputs.arrays.items()}

    def call(arrays):
        return inputs.call(**arrays, reduction="none")

    assert_same(*jax.jit(lambda arrays: (jax.jacfwd(call)(arrays), jax.jacrev(call)(arrays)))(arrays))


@law(options="all")
def test_second_derivatives_agree_in_every_order_of_the_modes(setting, x64):
    """The Hessian is symmetric, and it is that of finite differences of the gradient."""
    inputs = setting.draw(shape=(2, 3))
    flat, unravel = ravel_pytree({name: jnp.asarray(a) for name, a in inputs.arrays.items()})
    steps = 1e-6 * np.concatenate([np.eye(flat.size), -np.eye(flat.size)])
    s, t = np.random.default_rng(0).normal(size=(2, flat.size))

    def loss(v):
        return inputs.call(**unravel(v), dtype=jnp.float64)

    gradient = jax.grad(loss)

    @jax.jit
    def every(v, s, t):
        along = jax.grad(lambda v: jax.jvp(loss, (v,), (t,))[1])(v), jax.grad(lambda v: gradient(v) @ t)(v)
        twice = jax.jvp(lambda v: jax.jvp(loss, (v,), (s,))[1], (v,), (t,))[1]
        return along, twice, jax.jacfwd(gradient)(v), jax.vmap(gradient)(v[None] + steps)

    along, twice, hessian, ends = every(flat, s, t)
    for product in along:
        np.testing.assert_allclose(product, hessian @ t, **EXACT)
    np.testing.assert_allclose(twice, s @ hessian @ t, **EXACT)
    np.testing.assert_allclose(hessian, hessian.T, **EXACT)
    forward, backward = ends.reshape(2, flat.size, flat.size)
    np.testing.assert_allclose(hessian, (forward - backward) / 2e-6, rtol=1e-6, atol=1e-8)


@law(options="all")
def test_the_gradient_of_every_transformation_is_the_same(setting):
    inputs = setting.draw()

    def loss(x):
        return inputs.call(x=x)

    def scanned(x):
        return jax.lax.scan(lambda total, _: (total + loss(x) / 3, None), jnp.float32(0), None, length=3)[0]

    @jax.jit
    def every(x):
        _, pushed = jax.linearize(loss, x)
        transposed = jax.linear_transpose(pushed, x)(jnp.float32(1))[0]
        return jax.grad(loss)(x), jax.grad(jax.checkpoint(loss))(x), jax.grad(scanned)(x), transposed

    want, *others = every(cast(inputs.x))
    for other in others:
        assert_same(other, want)


@law()
def test_ids_have_no_gradient_and_probabilities_have(setting):
    inputs = setting.draw()
    labels = jnp.asarray(cast(inputs.labels))
    gradient = jax.eval_shape(jax.grad(lambda y: inputs.call(labels=y), allow_int=True), labels)
    assert gradient.dtype == (jnp.float32 if labels.dtype == jnp.float32 else jax.dtypes.float0)
