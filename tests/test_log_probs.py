"""`log_probs` and `linear_log_probs`: the numbers of float64, candidates, masks, meshes, and memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce

RNG = np.random.default_rng(0)
N, D, V, K = 24, 8, 16, 3
H, W, BIAS = (RNG.normal(size=shape).astype(np.float32) for shape in ((N, D), (D, V), (V,)))
LABELS, CANDIDATES = RNG.integers(0, V, N), RNG.integers(0, V, (N, K))
KEEP = np.arange(N) % 4 > 0
CLOSE = {"rtol": 2e-5, "atol": 2e-6}
COTANGENTS = [RNG.normal(size=shape).astype(np.float32) for shape in ((N,), (N,), (N,))]


def reference(x, labels):
    """In float64: ``x_y - log_z``, ``log_z`` and the entropy."""
    m = x.max(-1, keepdims=True)
    log_z = m + jnp.log(jnp.exp(x - m).sum(-1, keepdims=True))
    p = jnp.exp(x - log_z)
    entropy = -jnp.where(p > 0, p * jnp.where(p > 0, x - log_z, 0), 0).sum(-1)
    taken = jnp.take_along_axis(x, labels if labels.ndim == x.ndim else labels[:, None], -1) - log_z
    return taken if labels.ndim == x.ndim else taken[:, 0], log_z[:, 0], entropy


def weighted(told, cotangents):
    return sum(jnp.sum(jnp.asarray(c, a.dtype) * a) for c, a in zip(cotangents, told[:3], strict=True))


def exactly(function, *arguments):
    """Value and gradients in float64."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        return jax.device_get(function(*(jnp.asarray(a, float) for a in arguments)))


def assert_close(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(a, float), b, **CLOSE)


def cotangents_of(labels):
    first = RNG.normal(size=labels.shape).astype(np.float32)
    return [first, *COTANGENTS[1:]]


@pytest.mark.parametrize("labels", [LABELS, CANDIDATES], ids=["ids", "candidates"])
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_value_and_gradients_are_those_of_float64(labels, chunk_size):
    """Each result with cotangents of its own; the chunk does not divide the tokens."""
    cotangents = cotangents_of(labels)

    def dense(h, w, b):
        return weighted(reference(0.7 * (h @ w + b), labels), cotangents)

    def linear(h, w, b):
        told = jaxce.linear_log_probs(h, w, labels, bias=b, logit_scale=0.7, chunk_size=chunk_size)
        return weighted(told, cotangents)

    def of_logits(h, w, b):
        return weighted(jaxce.log_probs(0.7 * (h @ w + b[None]), labels), cotangents)

    want = exactly(jax.value_and_grad(dense, (0, 1, 2)), H, W, BIAS)
    for function in (linear, of_logits):
        assert_close(jax.jit(jax.value_and_grad(function, (0, 1, 2)))(H, W, BIAS), want)
        assert_close(jax.jit(jax.jacfwd(function, (0, 1, 2)))(H, W, BIAS), want[1])
    values = exactly(lambda h, w: reference(h @ w, labels), H, W)
    for told in (jaxce.linear_log_probs(H, W, labels, chunk_size=chunk_size), jaxce.log_probs(H @ W, labels)):
        assert_close(told[:3], values)
        np.testing.assert_array_equal(told.argmax, (H @ W).argmax(-1))


@pytest.mark.parametrize("name", ["log_prob", "log_z", "entropy"])
def test_second_derivatives(name):
    """A Hessian-vector product, in both orders of the modes, against float64."""
    t = RNG.normal(size=H.shape).astype(np.float32)
    at = ["log_prob", "log_z", "entropy"].index(name)

    def twice(loss, h, t):
        return jax.jvp(jax.grad(loss), (h,), (t,))[1], jax.grad(lambda h: jax.jvp(loss, (h,), (t,))[1])(h)

    def dense(h):
        return jnp.sum(jnp.asarray(COTANGENTS[0], h.dtype) * reference(h @ jnp.asarray(W, h.dtype), LABELS)[at])

    want = exactly(functools.partial(twice, dense), H, t)
    for function in (
        lambda h: jaxce.linear_log_probs(h, W, LABELS, chunk_size=7),
        lambda h: jaxce.log_probs(h @ W, LABELS),
    ):
        got = jax.jit(functools.partial(twice, lambda h, f=function: jnp.sum(COTANGENTS[0] * f(h)[at])))(H, t)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("labels", [LABELS, CANDIDATES], ids=["ids", "candidates"])
def test_masked_tokens_hold_anything(labels):
    """They have 0 in all results and gradients."""
    dirty, ids = np.where(KEEP[:, None], H, np.nan), np.where(KEEP.reshape(-1, *[1] * (labels.ndim - 1)), labels, 77)

    @jax.jit
    def run(h, ids):
        def loss(h):
            told = jaxce.linear_log_probs(h, W, ids, where=KEEP, chunk_size=5)
            return weighted(told, cotangents), told

        return jax.grad(loss, has_aux=True)(h)

    cotangents = cotangents_of(labels)
    gradient, told = run(dirty, ids)
    for a, b in zip(jax.tree.leaves((gradient, told)), jax.tree.leaves(run(H, labels)), strict=True):
        np.testing.assert_array_equal(a[KEEP], b[KEEP])
        np.testing.assert_array_equal(a[~KEEP], 0)
    of_logits = jaxce.log_probs(jnp.asarray(dirty @ W), ids, where=KEEP)
    assert_close(of_logits, jax.tree.map(lambda a: np.asarray(a, float), told))


def test_ignored_ids_are_masked():
    ids = np.where(KEEP, LABELS, -100)
    for got in (jaxce.log_probs(H @ W, ids, ignore_index=-100), jaxce.linear_log_probs(H, W, ids, ignore_index=-100)):
        assert_close(got, jax.tree.map(np.asarray, jaxce.log_probs(H @ W, LABELS, where=KEEP)))


def test_the_values_beside_derivatives():
    """A derivative computes ``log_z`` and entropy in another way than the value alone."""
    for labels in (LABELS, CANDIDATES):
        x = np.concatenate([50 * (H @ W)[:1], (H @ W)[1:]])
        alone = jax.jit(jaxce.log_probs)(x, labels)
        beside = jax.jit(lambda x, labels=labels: jax.vjp(lambda x: jaxce.log_probs(x, labels)[:3], x)[0])(x)
        for a, b in zip(alone[:3], beside, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_invalid_ids_are_nan_under_jit():
    """In value and gradient of their own log-probability alone."""
    bad = CANDIDATES.copy()
    bad[3, 1], bad[5, 0] = V, -1
    for call in (lambda y: jaxce.log_probs(H @ W, y), lambda y: jaxce.linear_log_probs(H, W, y)):
        told = jax.jit(call)(bad)
        np.testing.assert_array_equal(np.isnan(told.log_prob), bad != CANDIDATES)
        assert np.isfinite(told.entropy).all()
        with pytest.raises(ValueError, match=r"labels: 2 of 72 ids are outside \[0, 16\); first: id 16 at"):
            call(bad)
    gradient = jax.jit(jax.grad(lambda h, y: jaxce.linear_log_probs(h, W, y).log_prob.sum()))(H, bad)
    np.testing.assert_array_equal(np.isnan(gradient).any(-1), (bad != CANDIDATES).any(-1))


def test_excluded_classes_have_no_entropy():
    """A bias of ``-inf`` excludes a class, as if it were cut off."""
    bias = np.where(np.arange(V) >= 12, -np.inf, BIAS).astype(np.float32)
    ids = LABELS % 12

    def loss(w, b, **options):
        told = jaxce.linear_log_probs(H, w, ids, bias=b, chunk_size=5, **options)
        return weighted(told, COTANGENTS), told

    (_, told), gradient = jax.value_and_grad(loss, has_aux=True)(W, bias)
    (_, cut), cut_gradient = jax.value_and_grad(loss, has_aux=True)(W[:, :12], bias[:12])
    assert_close(told, jax.tree.map(np.asarray, cut))
    assert_close(gradient[:, :12], cut_gradient)
    np.testing.assert_array_equal(gradient[:, 12:], 0)
    assert jaxce.linear_log_probs(H, W, np.full(N, 13), bias=bias).log_prob.max() == -np.inf


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits(dtype):
    h, w = (jnp.asarray(a, dtype) for a in (H, W))
    told = jax.jit(jaxce.linear_log_probs)(h, w, LABELS)
    assert {a.dtype for a in told[:3]} == {jnp.dtype(jnp.float32)}
    values = exactly(lambda h, w: reference(h @ w, LABELS), *(a.astype(jnp.float32) for a in (h, w)))
    assert_close(told[:3], values)
    assert jax.grad(lambda h: jaxce.linear_log_probs(h, w, LABELS).entropy.sum())(h).dtype == dtype


def test_any_axis_of_logits():
    x, y = RNG.normal(size=(2, 5, 3, 4)).astype(np.float32), RNG.integers(0, 5, (2, 2, 3, 4))
    moved = jaxce.log_probs(np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1))
    told = jax.jit(functools.partial(jaxce.log_probs, axis=1))(x, y)
    np.testing.assert_allclose(np.moveaxis(told.log_prob, 1, -1), moved.log_prob, **CLOSE)
    np.testing.assert_allclose(told.entropy, moved.entropy, **CLOSE)
    one = jaxce.log_probs(x, y[:, 0], axis=1)
    np.testing.assert_allclose(one.log_prob, told.log_prob[:, 0], **CLOSE)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("split", [P(None, None), P(None, "model")], ids=["tokens", "classes"])
@pytest.mark.parametrize("labels", [LABELS, CANDIDATES], ids=["ids", "candidates"])
def test_eight_devices_have_the_numbers_of_one(kind, split, labels):
    mesh, cotangents = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2), cotangents_of(labels)

    def loss(h, w, **options):
        told = jaxce.linear_log_probs(h, w, labels, chunk_size=4, **options)
        return weighted(told, cotangents), told

    run = jax.value_and_grad(loss, (0, 1), has_aux=True)
    want = run(H, W)
    with jax.set_mesh(mesh):
        arrays = jax.device_put(H, P("data")), jax.device_put(W, split)
        options = {} if kind == AxisType.Explicit else {"in_specs": (P("data"), split)}
        assert_close(jax.jit(functools.partial(run, **options))(*arrays), want)
        x = jax.device_put(H @ W, P("data", split[1]))
        assert_close(jax.jit(jaxce.log_probs)(x, labels), want[0][1])


def test_classes_of_a_shard_map():
    def local(x, labels):
        return jaxce.log_probs(x, labels, class_axis_name="model")

    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    specs = {"in_specs": (P(None, "model"), P()), "out_specs": P()}
    assert_close(
        jax.jit(jax.shard_map(local, mesh=mesh, **specs))(H @ W, CANDIDATES), jaxce.log_probs(H @ W, CANDIDATES)
    )


def test_vmap_and_scan():
    h, y = H.reshape(2, 12, D), LABELS.reshape(2, 12)
    mapped = jax.vmap(lambda h, y: jaxce.linear_log_probs(h, W, y, chunk_size=5))(h, y)
    looped = jax.lax.scan(lambda _, hy: (None, jaxce.linear_log_probs(hy[0], W, hy[1])), None, (h, y))[1]
    whole = jax.tree.map(np.asarray, jaxce.linear_log_probs(h, W, y))
    assert_close(mapped, whole)
    assert_close(looped, whole)


def test_the_logits_are_never_whole():
    """Value and gradient need one chunk of logits in memory."""
    tokens, classes, features = 4096, 8192, 64
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((tokens, features), (features, classes))]
    labels = jax.ShapeDtypeStruct((tokens,), jnp.int32)

    def loss(h, w, y):
        told = jaxce.linear_log_probs(h, w, y, chunk_size=256)
        return jnp.sum(told.log_prob) - 0.01 * jnp.sum(told.entropy)

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*shapes, labels).compile()
    logits = 4 * tokens * classes
    assert compiled.memory_analysis().temp_size_in_bytes < 0.4 * logits


def test_the_policy_gradient_of_a_group():
    """GRPO with an entropy bonus: clipped ratios of log-probabilities, against the formula from whole logits."""
    old, advantages = RNG.normal(size=N).astype(np.float32) * 0.1, RNG.normal(size=N).astype(np.float32)

    def objective(told):
        gain = jnp.asarray(advantages, told[0].dtype)
        ratio = jnp.exp(told[0] - jax.lax.stop_gradient(told[0]) + old.astype(told[0].dtype))
        clipped = jnp.minimum(ratio * gain, jnp.clip(ratio, 0.8, 1.2) * gain)
        return -jnp.mean(clipped) - 0.01 * jnp.mean(told[2])

    want = exactly(jax.grad(lambda h: objective(reference(h @ jnp.asarray(W, float), LABELS))), H)
    got = jax.grad(lambda h: objective(jaxce.linear_log_probs(h, W, LABELS, chunk_size=7)))(H)
    assert_close(got, want)


def test_second_derivatives_on_one_cpu(one_cpu):
    """The way of one CPU device, within the loop over chunks and within a scan."""
    h, t = (RNG.normal(size=(25 + one_cpu, D)).astype(np.float32) for _ in range(2))
    y = RNG.integers(0, V, 25 + one_cpu)

    def loss(h, which=jaxce.linear_log_probs):
        told = which(h, y) if which is not jaxce.linear_log_probs else which(h, W, y, chunk_size=7)
        return weighted(told, [np.ones(len(h), np.float32)] * 3)

    def scanned(h):
        return jax.lax.scan(lambda c, _: (c + loss(h, lambda h, y: jaxce.log_probs(h @ W, y)), None), 0.0, length=1)[0]

    def dense(h):
        return weighted(reference(h @ jnp.asarray(W, h.dtype), y), [np.ones(len(h))] * 3)

    want = exactly(lambda h, t: jax.jvp(jax.grad(dense), (h,), (t,))[1], h, t)
    for function in (loss, scanned):
        got = jax.jit(lambda h, t, f=function: jax.jvp(jax.grad(f), (h,), (t,))[1])(h, t)
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


def test_the_argmax_of_logits_that_are_a_product():
    """A kernel that multiplies and adds at once does not round the product, and another kernel does."""
    x, b = RNG.normal(size=(4000, 5)).astype(np.float32), np.float32([0.1, 0.2, 0.3, 0.4, 0.5])

    @jax.jit
    def run(x, b):
        logits = 3.3 * x + b[None]
        labels = np.zeros(len(x), int)
        aux = jaxce.cross_entropy(2.5 * jnp.tanh(logits / 10), labels, has_aux=True)[1]
        return logits, jaxce.log_probs(logits, labels).argmax, aux.argmax

    logits, *every = jax.device_get(run(x, b))
    for argmax in every:
        assert 0 <= argmax.min() <= argmax.max() < 5
        np.testing.assert_allclose(np.take_along_axis(logits, argmax[:, None], 1)[:, 0], logits.max(1), rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_large_and_confident_logits_keep_their_digits(offset):
    """In value and gradient: a common offset changes nothing, and a loss of 1e-7 is not 0."""
    x = np.round(RNG.normal(size=(6, 5)) * 64) / 64 if offset < 1e8 else np.zeros((6, 5))
    labels = RNG.integers(0, 5, 6)
    got = jax.jit(jax.vjp, static_argnums=0)(lambda x: jaxce.log_probs(x, labels)[:3:2], jnp.float32(x + offset))
    want = exactly(lambda x: reference(x, labels), x)
    np.testing.assert_allclose(got[0][0], want[0], rtol=1e-6)
    np.testing.assert_allclose(got[0][1], want[2], rtol=1e-6)
    for i, cotangents in enumerate(((np.ones(6), np.zeros(6)), (np.zeros(6), np.ones(6)))):
        gradient = got[1](tuple(map(jnp.float32, cotangents)))[0]
        exact = exactly(jax.grad(lambda x, i=i: reference(x, labels)[2 * i].sum()), x)
        np.testing.assert_allclose(gradient, exact, rtol=1e-5, atol=1e-6)
    confident = jnp.float32([[17.0, 0.0, 0.0]])
    value, gradient = jax.value_and_grad(lambda x: jaxce.log_probs(x, np.array([0])).log_prob[0])(confident)
    np.testing.assert_allclose(value, -2 * np.exp(-17.0), rtol=1e-5)
    np.testing.assert_allclose(gradient[0], np.exp(-17.0) * np.array([2, -1, -1]), rtol=1e-5)


def test_options_of_the_layer():
    """A kernel of the other layout, a cap and a scale, in value and gradient of both linear functions."""
    cotangents = cotangents_of(LABELS)

    def dense(h, w):
        return weighted(reference(3 * jnp.tanh(0.7 * (h @ w.T) / 3), LABELS), cotangents)

    def linear(h, w):
        options = {"kernel_layout": "vd", "logit_scale": 0.7, "logit_softcap": 3.0, "chunk_size": 5}
        return weighted(jaxce.linear_log_probs(h, w, LABELS, **options), cotangents)

    def of_rows(h, w):
        def f(x, y, *cotangents):
            return sum(c * a for c, a in zip(cotangents, jaxce.log_probs(x, y)[:3], strict=True))

        options = {"kernel_layout": "vd", "logit_scale": 0.7, "logit_softcap": 3.0, "chunk_size": 5}
        return jaxce.linear_loss(f, h, w, LABELS, *cotangents, reduction="sum", **options)

    want = exactly(jax.value_and_grad(dense, (0, 1)), H, W.T)
    for function in (linear, of_rows):
        assert_close(jax.jit(jax.value_and_grad(function, (0, 1)))(H, W.T), want)
