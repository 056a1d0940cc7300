"""``has_aux=True`` of the dense cross-entropy: ``log_z``, argmax, entropy and z-loss of each example."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from test_sharded import largest_collective, mesh_of

import jaxce
from jaxce import CrossEntropyAux

N, C = 16, 8
RNG = np.random.default_rng(0)
X = (3 * RNG.normal(size=(N, C))).astype(np.float32)
IDS = RNG.integers(0, C, N)
PROBS = RNG.dirichlet(np.ones(C), N).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2, C).astype(np.float32)
KEEP = np.arange(N) % 5 != 0
SAMPLE = RNG.uniform(0.5, 2, N).astype(np.float32)
EVERYTHING = {"class_weights": WEIGHTS, "sample_weights": SAMPLE, "where": KEEP, "z_loss": 0.125}

each_label = pytest.mark.parametrize("labels", [IDS, PROBS], ids=["ids", "probs"])


def expected(x, labels, z_loss=0.0, class_weights=None, sample_weights=1.0, where=True):
    """The record in float64, with the classes along the last axis."""
    x, w = np.asarray(x, float), np.ones(x.shape[-1]) if class_weights is None else class_weights
    with np.errstate(invalid="ignore"):
        log_z = np.log(np.exp(x).sum(-1))
        p = np.exp(x - log_z[..., None])
        entropy = log_z - np.where(p > 0, p * x, 0).sum(-1)
    weight = sample_weights * (w[labels] if labels.ndim < x.ndim else (w * labels).sum(-1))
    return CrossEntropyAux(*(np.where(where, a, 0) for a in (log_z, x.argmax(-1), entropy, weight * z_loss * log_z**2)))


def assert_near(got, want, rtol=2e-6):
    assert got.argmax.dtype == np.int32
    for name, a, b in zip(CrossEntropyAux._fields, got, want, strict=True):
        np.testing.assert_allclose(np.asarray(a, float), b, rtol=rtol, atol=rtol, err_msg=name)


@each_label
@pytest.mark.parametrize("reduction", ["mean", "none", "total", jaxce.Mean(axis=0), lambda v, w: v.sum() + w.max()])
def test_against_float64(labels, reduction):
    """The loss is that without ``has_aux``; masked rows hold NaN."""
    x = np.where(KEEP[:, None], X, np.nan)
    loss, aux = jaxce.cross_entropy(x, labels, reduction=reduction, has_aux=True, **EVERYTHING)
    assert_near(aux, expected(X, labels, **EVERYTHING))
    chex.assert_trees_all_equal(loss, jaxce.cross_entropy(x, labels, reduction=reduction, **EVERYTHING))


@each_label
def test_the_z_loss_is_what_it_adds_to_each_loss(labels):
    with_z, aux = jaxce.cross_entropy(X, labels, reduction="none", has_aux=True, **EVERYTHING)
    without, off = jaxce.cross_entropy(X, labels, reduction="none", has_aux=True, **EVERYTHING | {"z_loss": 0.0})
    np.testing.assert_allclose(with_z - aux.z_loss, without, rtol=1e-5, atol=1e-6)
    assert aux.z_loss[KEEP].min() > 0
    np.testing.assert_array_equal(off.z_loss, 0)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_any_class_axis_with_a_mask_that_broadcasts(axis):
    x, ids = RNG.normal(size=(4, 5, C)).astype(np.float32), RNG.integers(0, C, (4, 5))
    keep = np.arange(5)[None] < 3
    got = jaxce.cross_entropy(np.moveaxis(x, -1, axis), ids, axis=axis, where=keep, z_loss=0.5, has_aux=True)[1]
    assert_near(got, expected(x, ids, z_loss=0.5, where=keep))


def test_one_example():
    assert_near(jaxce.cross_entropy(X[0], IDS[0], has_aux=True)[1], [a[0] for a in expected(X[:1], IDS[:1])])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits_are_reduced_in_float32(dtype):
    x = jnp.asarray(X, dtype)
    aux = jaxce.cross_entropy(x, IDS, z_loss=0.125, has_aux=True)[1]
    assert {a.dtype for a in (aux.log_z, aux.entropy, aux.z_loss)} == {np.dtype(np.float32)}
    assert_near(aux, expected(np.asarray(x, float), IDS, z_loss=0.125))


def test_float64(x64):
    aux = jaxce.cross_entropy(X.astype(float), IDS, z_loss=0.125, has_aux=True)[1]
    assert_near(aux, expected(X, IDS, z_loss=0.125), rtol=1e-13)


def test_equal_maxima_infinities_and_nan():
    x = np.array([[1.0, 2.0, 2.0], [-np.inf, 0.0, -np.inf], [1e4, 1e4, -1e4], [0.0, np.inf, 1.0], [0.0, np.nan, 1.0]])
    aux = jaxce.cross_entropy(x.astype(np.float32), np.zeros(5, int), has_aux=True)[1]
    np.testing.assert_array_equal(aux.argmax, [1, 1, 0, 1, 0])
    np.testing.assert_allclose(aux.log_z[1:], [0, 1e4 + np.log(2), np.inf, np.nan], rtol=1e-6)
    np.testing.assert_allclose(aux.entropy[1:], [0, np.log(2), np.nan, np.nan], rtol=1e-6)


def test_an_invalid_id_tells_of_its_logits():
    """As in the linear layer: only the loss is NaN."""
    ids = np.where(np.arange(N) == 3, C, IDS)
    loss, aux = jax.jit(lambda y: jaxce.cross_entropy(X, y, z_loss=0.1, reduction="none", has_aux=True))(ids)
    np.testing.assert_array_equal(np.isnan(loss), ids == C)
    assert_near(aux._replace(z_loss=0), expected(X, IDS)._replace(z_loss=0))


def test_it_has_no_gradient():
    def loss(x, w, z):
        loss, aux = jaxce.cross_entropy(x, IDS, class_weights=w, z_loss=z, has_aux=True)
        return loss + jnp.sum(aux.log_z + aux.entropy + aux.z_loss)

    def without(x, w, z):
        return jaxce.cross_entropy(x, IDS, class_weights=w, z_loss=z)

    given = X, WEIGHTS, jnp.float32(0.125)
    got, want = (jax.jit(jax.grad(f, (0, 1, 2)))(*given) for f in (loss, without))
    chex.assert_trees_all_close(got, want, rtol=1e-6)
    tangent = jax.jvp(lambda x: jaxce.cross_entropy(x, IDS, z_loss=0.1, has_aux=True)[1].z_loss, (X,), (X,))[1]
    np.testing.assert_array_equal(tangent, 0)


def test_a_masked_nan_under_debug_nans():
    x = jnp.where(KEEP[:, None], X, jnp.nan)
    with jax.debug_nans(True):
        assert_near(jaxce.cross_entropy(x, IDS, where=KEEP, has_aux=True)[1], expected(X, IDS, where=KEEP))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_linear_layer_has_the_same_record(reduction):
    hidden, kernel = RNG.normal(size=(N, 4)).astype(np.float32), RNG.normal(size=(4, C)).astype(np.float32)
    options = EVERYTHING | {"reduction": reduction, "has_aux": True}
    got = jaxce.linear_cross_entropy(hidden, kernel, IDS, chunk_size=5, **options)
    chex.assert_trees_all_close(got, jaxce.cross_entropy(hidden @ kernel, IDS, **options), rtol=2e-6, atol=2e-6)


def test_batches_mapped_and_scanned():
    def each(x, y):
        return jaxce.cross_entropy(x, y, z_loss=0.125, has_aux=True)[1]

    batch = X.reshape(4, 4, C), IDS.reshape(4, 4)
    want = expected(*batch, z_loss=0.125)
    assert_near(jax.vmap(each)(*batch), want)
    assert_near(jax.lax.scan(lambda carry, given: (carry, each(*given)), None, batch)[1], want)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_blocks_of_one_cpu(one_cpu, axis, dtype):
    x = jnp.asarray(RNG.normal(size=(3, 70 + one_cpu, C)), dtype)
    ids, keep = RNG.integers(0, C, x.shape[:2]), np.arange(x.shape[1])[None] % 3 > 0
    masked = jnp.moveaxis(jnp.where(keep[..., None], x, jnp.nan), -1, axis)
    got = jax.jit(lambda x: jaxce.cross_entropy(x, ids, axis=axis, where=keep, has_aux=True)[1])(masked)
    assert_near(got, expected(np.asarray(x, float), ids, where=keep))


@each_label
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("spec", [P("data", None), P(None, "model"), P("data", "model")], ids=str)
def test_sharded_arrays_under_plain_jit(kind, spec, labels):
    """No array of the size of the logits crosses devices, and ``argmax`` gathers nothing."""

    def function(x, y):
        return jaxce.cross_entropy(x, y, has_aux=True, **EVERYTHING)

    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, spec))
        y = jax.device_put(labels, NamedSharding(mesh, spec if labels.ndim == 2 else P(spec[0])))
        compiled = jax.jit(jax.value_and_grad(function, has_aux=True)).lower(x, y).compile()
        (_, aux), _ = compiled(x, y)
    assert_near(jax.device_get(aux), expected(X, labels, **EVERYTHING))
    assert largest_collective(compiled) <= N


@pytest.mark.parametrize("check_vma", [True, False])
def test_classes_split_inside_shard_map(check_vma):
    """Of equal maxima on two shards, the first is the argmax."""
    x = np.round(X)

    def local(x, y):
        return jaxce.cross_entropy(x, y, class_axis_name="model", z_loss=0.125, reduction="none", has_aux=True)[1]

    specs = {"in_specs": (P("data", "model"), P("data")), "out_specs": P("data"), "check_vma": check_vma}
    got = jax.jit(jax.shard_map(local, mesh=mesh_of(AxisType.Auto), **specs))(x, IDS)
    assert_near(got, expected(x, IDS, z_loss=0.125))
    assert (np.sort(x)[:, -1] == np.sort(x)[:, -2]).any()
