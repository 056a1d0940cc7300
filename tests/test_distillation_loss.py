"""`distillation_loss`: the numbers of float64 for every teacher and axis, masks, meshes, and mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from test_distillation import CLOSE, KINDS, TAILS, K, V, dense, dense_top_k, exactly

import jaxce

RNG = np.random.default_rng(2)
SHAPE = (2, V, 3, 4)
X, Y = (2 * RNG.normal(size=SHAPE).astype(np.float32) for _ in range(2))
KEEP, WEIGHTS = RNG.random((2, 3, 4)) > 0.3, RNG.uniform(0.5, 2, (2, 3, 4)).astype(np.float32)
COTANGENTS = RNG.normal(size=(2, 3, 4)).astype(np.float32)
BETAS = {"layer": 0.3, "ignore": 0.0, "renormalize": 0.3}


def teacher_of(kind, y=Y, axis=1):
    if kind not in TAILS:
        return y
    log_probs = jax.nn.log_softmax(y, axis)
    ids = np.argsort(-y, axis).take(range(K), axis)
    return jaxce.TopK(ids, np.asarray(jnp.take_along_axis(log_probs, ids, axis)), kind)


def reference(x, teacher, beta, t):
    """The loss of each example, with the classes along axis 1."""
    x = jnp.moveaxis(x, 1, -1)
    if not isinstance(teacher, jaxce.TopK):
        return dense(x, jnp.moveaxis(teacher, 1, -1), beta, t)
    ids, log_probs = (jnp.moveaxis(a, 1, -1) for a in (teacher.ids, teacher.log_probs))
    return dense_top_k(x, ids, log_probs, teacher.tail, beta, t)


EACH = [(kind, beta) for kind in ("logits", *TAILS) for beta in (0.0, 0.3, 1.0)]
MEANT = [
    (kind, beta) for kind, beta in EACH if not ((kind == "ignore" and beta) or (kind == "renormalize" and beta == 1))
]


@pytest.mark.parametrize(("kind", "beta"), MEANT)
def test_value_and_gradients_against_float64(kind, beta):
    """Along student, teacher and temperature; and a Hessian-vector product."""
    teacher = teacher_of(kind)

    def loss(x, y, t):
        given = y if kind == "logits" else jaxce.TopK(teacher.ids, y, kind)
        options = {"temperature": t, "beta": beta, "axis": 1, "reduction": "none"}
        return jnp.sum(COTANGENTS * jaxce.distillation_loss(x, given, **options))

    def exact(x, y, t):
        given = y if kind == "logits" else jaxce.TopK(teacher.ids, y, kind)
        losses = reference(x, given, beta, t)
        return jnp.sum(jnp.asarray(COTANGENTS, losses.dtype) * losses)

    def derivatives(f, x, y, t):
        second = jax.jvp(lambda x: jax.grad(f)(x, y, t), (x,), (jnp.cos(x),))[1]
        return jax.value_and_grad(f, (0, 1, 2))(x, y, t), second

    given = X, teacher if kind == "logits" else teacher.log_probs, np.float32(1.7)
    got, want = (
        jax.jit(functools.partial(derivatives, loss))(*given),
        exactly(functools.partial(derivatives, exact), *given),
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ["logits", *TAILS])
def test_masked_examples_hold_anything(kind):
    def loss(x, teacher, where):
        options = {"where": where, "sample_weights": WEIGHTS, "axis": 1}
        return jaxce.distillation_loss(x, teacher, **options)

    def dirty(a):
        fill = np.nan if a.dtype.kind == "f" else 99
        return np.where(KEEP[:, None], a, np.asarray(fill, a.dtype))

    teacher = teacher_of(kind)
    losses = np.asarray(reference(X, teacher, 0.0, 1.0))
    want = np.sum((losses * WEIGHTS)[KEEP]) / np.sum(WEIGHTS[KEEP])
    for run in (jax.value_and_grad(loss), jax.jit(jax.value_and_grad(loss))):
        value, gradient = run(dirty(X), jax.tree.map(dirty, teacher), KEEP)
        np.testing.assert_allclose(value, want, rtol=2e-5)
        np.testing.assert_array_equal(np.moveaxis(gradient, 1, -1)[~KEEP], 0)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("mesh_kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("spec", [P("data"), P("data", "model")], ids=["examples", "classes"])
@pytest.mark.parametrize("kind", ["logits", *TAILS])
def test_eight_devices_have_the_numbers_of_one(mesh_kind, spec, kind):
    x, y = X.reshape(2, V, 12).transpose(2, 1, 0)[:8, :, 0], Y.reshape(2, V, 12).transpose(2, 1, 0)[:8, :, 0]
    teacher = teacher_of(kind, y)
    run = jax.value_and_grad(functools.partial(jaxce.distillation_loss, beta=BETAS.get(kind, 0.3)))
    want = run(x, teacher)
    with jax.set_mesh(jax.make_mesh((4, 2), ("data", "model"), axis_types=(mesh_kind,) * 2)):
        put = jax.device_put(teacher, spec if kind == "logits" else P("data"))
        got = jax.device_get(jax.jit(run)(jax.device_put(x, spec), put))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@pytest.mark.parametrize("kind", ["logits", *TAILS])
def test_classes_of_a_shard_map(kind):
    x, teacher = X[0].reshape(V, 12).T, teacher_of(kind, Y[0].reshape(V, 12).T)
    by_class = P(None, "model")
    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    specs = {"in_specs": (by_class, by_class if kind == "logits" else P()), "out_specs": P()}
    local = functools.partial(jaxce.distillation_loss, class_axis_name="model")
    mapped = jax.jit(jax.shard_map(local, mesh=mesh, **specs))
    np.testing.assert_allclose(mapped(x, teacher), jaxce.distillation_loss(x, teacher), rtol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "layer"])
def test_vmap_and_the_linear_twin(kind):
    """The same numbers over examples one at a time, and from a linear layer."""
    x, teacher = X[0].reshape(V, 12).T, teacher_of(kind, Y[0].reshape(V, 12).T)
    whole = jaxce.distillation_loss(x, teacher, reduction="none")
    np.testing.assert_allclose(jax.vmap(jaxce.distillation_loss)(x, teacher), whole, rtol=1e-5)
    linear = jaxce.linear_kl_divergence(x, np.eye(V, dtype=np.float32), teacher, reduction="none")
    np.testing.assert_allclose(linear, whole, **CLOSE)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
def test_16_bits_are_reduced_in_float32(dtype):
    x, y = (jnp.asarray(a, dtype) for a in (X, Y))
    value, gradient = jax.value_and_grad(functools.partial(jaxce.distillation_loss, axis=1))(x, y)
    want = exactly(lambda x, y: reference(x, y, 0.0, 1.0).mean(), *(np.asarray(a, np.float32) for a in (x, y)))
    np.testing.assert_allclose(value, want, rtol=1e-5)
    assert value.dtype == jnp.float32
    assert gradient.dtype == dtype


@pytest.mark.usefixtures("unannotated")
def test_mistakes():
    for teacher, message in (
        (Y[:, :3], r"teacher: got shape \(2, 3, 3, 4\); expected logits of shape \(2, 8, 3, 4\)"),
        (jaxce.LinearLogits(X, Y), r"teacher: got a LinearLogits; expected logits, a TopK\(ids, log_probs\), or for a"),
        (teacher_of("other", axis=-1), r"teacher\.ids: got shape .*; expected k ids of each example: \(2, k, 3, 4\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            jaxce.distillation_loss(X, teacher, axis=1)
    with pytest.raises(ValueError, match=r"logits: 1 of 24 rows is not finite"), jaxce.debug():
        jax.jit(functools.partial(jaxce.distillation_loss, axis=1))(jnp.asarray(X).at[0, 0, 0, 0].set(jnp.nan), Y)
