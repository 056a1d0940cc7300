"""Losses of single elements at the points where formulas change: logits of 0, infinite logits, labels in between."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxce

LOSSES = {
    "binary_cross_entropy": jaxce.sigmoid_binary_cross_entropy,
    "focal": partial(jaxce.sigmoid_focal_loss, alpha=None),
    "asymmetric": jaxce.asymmetric_loss,
    "asymmetric without exponents": partial(jaxce.asymmetric_loss, gamma_pos=0.0, gamma_neg=0.0, clip=0.0),
    "quality": jaxce.quality_focal_loss,
    "varifocal": partial(jaxce.quality_focal_loss, variant="varifocal"),
    "soft margin": jaxce.soft_margin_loss,
}
each_loss = pytest.mark.parametrize("name", LOSSES)


@each_loss
@pytest.mark.parametrize("label", [0.0, 0.3, 1.0])
def test_second_derivatives_at_a_logit_of_zero(name, label, x64):
    """A network whose last layer starts at 0 has such logits; beside 0 the derivatives are the same."""
    if name == "soft margin":
        label = 2 * label - 1

    def loss(z, y):
        return LOSSES[name](z[None], y[None], reduction="sum")

    def second(z):
        arguments = jnp.float64(z), jnp.float64(label)
        both = (
            jax.jit(jax.hessian(loss, (0, 1)))(*arguments),
            jax.jit(jax.jacrev(jax.grad(loss, (0, 1)), 0))(*arguments),
        )
        return np.array(jax.tree.leaves(both))

    np.testing.assert_allclose(second(0.0), (second(1e-5) + second(-1e-5)) / 2, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["soft margin", "quality", "varifocal", "focal", "hinge"])
def test_the_gradient_of_a_label_that_an_infinite_logit_meets(name):
    loss = LOSSES.get(name, jaxce.hinge_loss)
    for z, y in ((jnp.inf, 1.0), (-jnp.inf, -1.0 if name == "soft margin" else 0.0)):
        value, gradients = jax.value_and_grad(loss, (0, 1))(jnp.array([z]), jnp.array([y]))
        assert value == 0
        assert np.isfinite(np.array(gradients)).all()


def test_a_label_in_the_middle_has_no_margin():
    z = jnp.array([jnp.inf, -jnp.inf, 1e30])
    value, gradient = jax.value_and_grad(lambda z: jaxce.soft_margin_loss(z, jnp.zeros(3)))(z)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(gradient, 0)


def test_a_class_of_neither_distribution_has_a_finite_gradient():
    q = jnp.array([[0.5, 0.0, 0.25, 0.25]])
    for beta in (0.0, 0.5, 1.0):
        of_both = jax.grad(partial(jaxce.js_divergence, beta=beta), (0, 1))(jnp.array([[1.0, -jnp.inf, 0.0, 0.0]]), q)
        assert np.isfinite(np.array(of_both)).all()


def test_a_fraction_in_binary_keeps_what_it_says():
    values = jnp.arange(100.0)
    for fraction, n in ((0.84, 75), (0.53, 100), (0.29, 100), (0.07, 100), (0.5, 3)):
        total = jaxce.reduce(values[:n], reduction=jaxce.Hardest(fraction=fraction, reduction="total"))
        assert total.weight == int(fraction * n + 1e-9)
