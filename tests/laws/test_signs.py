"""Losses that cannot be negative are at least 0, to the last bit, and are differentiable as if nothing bounded them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import draw, draw_labels, draw_log_probs, draw_probs
from law import law

import jaxce

SHAPE, AXIS = (64, 33), -1
DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)
NEAR = (0.0, 1e-7, 1e-4)
"""Relative distances of probabilities from the model's own: there a loss is smaller than the rounding of its terms."""


def of_model(case, x):
    """The probabilities of the model, which are the labels that its loss is smallest for."""
    x = np.asarray(x.astype(jnp.float32), np.float64)
    if case.draw_input is draw_probs:
        return x
    if case.draw_input is draw_log_probs or case.shift_invariant or case.example == "region":
        e = np.exp(x - x.max(AXIS, keepdims=True))
        return e / e.sum(AXIS, keepdims=True)
    return 1 / (1 + np.exp(-x))


def labels_of(case, kind, x):
    """Labels at random, and labels that agree with the model as far as their kind permits."""
    rng = np.random.default_rng(0)
    yield draw_labels(rng, kind, x.shape, AXIS)
    p = of_model(case, x)
    if kind == "ids":
        yield p.argmax(AXIS)
    elif kind == "hard":
        yield (p > 0.5).astype(np.int32)
    elif kind == "signs":
        yield np.where(p > 0.5, 1, -1)
    else:
        for distance in NEAR:
            near = p * (1 + distance * rng.normal(size=p.shape))
            near = near / near.sum(AXIS, keepdims=True) if kind == "probs" else near.clip(0, 1)
            yield near.astype(np.float32)


def logits(case, dtype):
    drawn = [scale * case.draw_input(np.random.default_rng(1), SHAPE, AXIS) for scale in (1, 10)]
    if case.draw_input is draw_log_probs:
        drawn = [np.minimum(x, 0) for x in drawn]
    elif case.draw_input is draw_probs:
        drawn = [drawn[0]]
    return jnp.asarray(np.concatenate(drawn), dtype)


@law()
def test_no_loss_is_negative(setting):
    """With no option, and with all but the class weights of a KL divergence: they weigh its negative terms, too."""
    case, kind, given = setting.case, setting.kind, []
    for x in (logits(case, dtype) for dtype in DTYPES):
        labels = [*labels_of(case, kind, x)]
        given.append((jnp.concatenate([x] * len(labels)), jnp.asarray(np.concatenate(labels))))
    drawn = draw(case, kind, case.allowed(kind), shape=given[0][0].shape)
    drawn = drawn.without("where", "ignore_index", *["class_weights"] * (case.name == "kl_divergence"))
    calls = [drawn.replace(options=options) for options in ({}, drawn.options)]
    losses = jax.jit(lambda given: [call.call(x=x, labels=y, reduction="none") for x, y in given for call in calls])
    for loss in losses(given):
        assert float(jnp.min(loss)) >= 0


@pytest.mark.parametrize("beta", [0.0, 0.125, 0.5, 1.0])
def test_no_divergence_from_a_teacher_is_negative(beta):
    """Of teachers at a relative distance from the student, and of the student itself."""
    for dtype in DTYPES:
        student = jnp.asarray(3 * np.random.default_rng(1).normal(size=SHAPE), dtype)
        noise = jnp.asarray(np.random.default_rng(2).normal(size=SHAPE), jnp.float32)
        teachers = [student.astype(jnp.float32) + distance * noise for distance in NEAR]
        student, teacher = jnp.concatenate([student] * len(teachers)), jnp.concatenate(teachers)
        eye = jnp.eye(SHAPE[-1], dtype=dtype)
        losses = jax.jit(
            lambda x, t, eye=eye: [
                jaxce.distillation_loss(x, t, beta=beta, temperature=2.0, reduction="none"),
                jaxce.linear_kl_divergence(x, eye, t, beta=beta, reduction="none"),
            ]
        )
        for loss in losses(student, teacher):
            assert float(jnp.min(loss)) >= 0


@pytest.mark.parametrize("loss", [jaxce.kl_divergence, jaxce.js_divergence, jaxce.distillation_loss])
def test_a_loss_at_its_bound_has_its_gradient_and_curvature(loss, x64):
    """Rounding makes some of the sums negative; the first derivative is 0 there, and the second is not."""
    x = jnp.asarray(np.random.default_rng(1).normal(size=(64, 5)))
    labels = x if loss is jaxce.distillation_loss else jax.nn.softmax(x)

    def total(x):
        return loss(x, labels, reduction="sum")

    np.testing.assert_allclose(jax.jit(jax.grad(total))(x), 0, atol=1e-15)
    v = jnp.asarray(np.random.default_rng(2).normal(size=x.shape))
    p = jax.nn.softmax(x)
    curvature = p * (v - (p * v).sum(-1, keepdims=True)) / (4 if loss is jaxce.js_divergence else 1)
    np.testing.assert_allclose(
        jax.jit(lambda x, v: jax.jvp(jax.grad(total), (x,), (v,))[1])(x, v), curvature, rtol=1e-9
    )
