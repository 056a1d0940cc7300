"""`linear_kl_divergence`: the numbers of float64, the three tails, masks, 16 bits, meshes, and memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce

RNG = np.random.default_rng(0)
N, D, E, V, K = 16, 4, 3, 8, 3
H, W, TH, TW, BIAS = (RNG.normal(size=s).astype(np.float32) for s in ((N, D), (D, V), (N, E), (E, V), (V,)))
WEIGHTS, KEEP = RNG.uniform(0.5, 2, N).astype(np.float32), RNG.random(N) > 0.3
BETAS = [0.0, 0.3, 1.0]
TAILS = ["other", "renormalize", "ignore"]
CLOSE = {"rtol": 3e-5, "atol": 3e-6}
each_beta = pytest.mark.parametrize("beta", BETAS)


def kl(p, q):
    return jnp.sum(jnp.where(p > 0, p * (jnp.log(jnp.where(p > 0, p, 1)) - jnp.log(q)), 0), -1)


def divergence(p, q, beta):
    if beta in (0, 1):
        return kl(p, q) if beta == 0 else kl(q, p)
    m = beta * p + (1 - beta) * q
    return beta * kl(p, m) + (1 - beta) * kl(q, m)


def dense(student, teacher, beta=0.0, temperature=1.0):
    """From whole logits of both."""
    p, q = (jax.nn.softmax(a / temperature) for a in (teacher, student))
    return temperature**2 * divergence(p, q, beta)


def dense_top_k(student, ids, log_probs, tail, beta=0.0, temperature=1.0):
    p, q = jnp.exp(log_probs), jax.nn.softmax(student / temperature)
    q_k = jnp.take_along_axis(q, ids, -1)
    rest = 1 - q_k.sum(-1, keepdims=True)
    if tail == "renormalize":
        p, q = (p / p.sum(-1, keepdims=True)), jnp.concatenate([q_k, rest], -1)
        p = jnp.concatenate([p, jnp.zeros_like(rest)], -1)
    elif tail == "other":
        p, q = jnp.concatenate([p, 1 - p.sum(-1, keepdims=True)], -1), jnp.concatenate([q_k, rest], -1)
    else:
        q = q_k
    return temperature**2 * divergence(p, q, beta)


def exactly(f, *args):
    """In float64."""
    with jax.enable_x64(True):
        return jax.device_get(f(*(jax.tree.map(lambda a: np.asarray(a, np.float64), a) for a in args)))


def teacher_top_k(temperature=1.0):
    log_probs = jax.nn.log_softmax(jnp.asarray(TH @ TW) / temperature)
    values, ids = jax.lax.top_k(log_probs, K)
    return np.asarray(ids), np.asarray(values)


def assert_close(got, want, **close):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **(close or CLOSE))


ARRAYS = {"hidden": H, "kernel": W, "bias": BIAS}
COTANGENTS = RNG.normal(size=N).astype(np.float32)


def layer_loss(arrays, teacher, reduction="none", **options):
    loss = jaxce.linear_kl_divergence(
        arrays["hidden"], arrays["kernel"], teacher, bias=arrays["bias"], chunk_size=5, reduction=reduction, **options
    )
    return jnp.sum(loss * COTANGENTS) if reduction == "none" else loss


def logits_of(arrays):
    return arrays["hidden"] @ arrays["kernel"] + arrays["bias"][None]


@each_beta
@pytest.mark.parametrize("kind", ["layer", "logits"])
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_value_and_gradients_against_float64(beta, kind, reduction):
    """Those of student, teacher and temperature."""

    def loss(arrays, teacher, t):
        given = jaxce.LinearLogits(*teacher) if kind == "layer" else teacher[0] @ teacher[1]
        return layer_loss(arrays, given, reduction, beta=beta, temperature=t)

    def reference(arrays, teacher, t):
        losses = dense(logits_of(arrays), teacher[0] @ teacher[1], beta, t)
        return jnp.sum(losses * jnp.asarray(COTANGENTS, losses.dtype)) if reduction == "none" else jnp.sum(losses)

    given = ARRAYS, (TH, TW), np.float32(1.7)
    want = exactly(jax.value_and_grad(reference, (0, 1, 2)), *given)
    assert_close(jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*given), want)
    assert_close(jax.value_and_grad(loss, (0, 1, 2))(*given), want)


@each_beta
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_the_tails_against_float64(beta, tail, reduction):
    ids, log_probs = teacher_top_k(1.7)

    def loss(arrays, log_probs, t):
        return layer_loss(arrays, jaxce.TopK(ids, log_probs, tail), reduction, beta=beta, temperature=t)

    def reference(arrays, log_probs, t):
        losses = dense_top_k(logits_of(arrays), ids, log_probs, tail, beta, t)
        return jnp.sum(losses * jnp.asarray(COTANGENTS, losses.dtype)) if reduction == "none" else jnp.sum(losses)

    given = ARRAYS, log_probs, np.float32(1.7)
    if (tail == "ignore" and beta) or (tail == "renormalize" and beta == 1):
        with pytest.raises(ValueError, match=r'beta: got .* with tail=.*; expected beta=0, or tail="other"'):
            loss(*given)
        return
    want = exactly(jax.value_and_grad(reference, (0, 1, 2)), *given)
    assert_close(jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*given), want)


KINDS = ["layer", "logits", *TAILS]


def teachers(teacher, kind):
    """The same teacher, as each kind of argument; `TopK` without derivatives along its ids."""
    hidden, kernel = teacher
    if kind == "layer":
        return jaxce.LinearLogits(hidden, kernel)
    logits = hidden @ kernel
    if kind == "logits":
        return logits
    log_probs = jax.nn.log_softmax(logits)
    ids = jax.lax.top_k(log_probs, K)[1]
    return jaxce.TopK(ids, jnp.take_along_axis(log_probs, ids, -1), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_masked_tokens_hold_anything(kind, reduction):
    """Value and every gradient are those of the other tokens alone."""
    fill = np.where(KEEP[:, None], 0, np.nan).astype(np.float32)

    def loss(hidden, kernel, teacher, where, part=slice(None)):
        options = {"where": where, "sample_weights": WEIGHTS[part], "bias": BIAS, "chunk_size": 5}
        return jnp.sum(jaxce.linear_kl_divergence(hidden, kernel, teacher, **options, reduction=reduction))

    def dirty(a):
        kept = KEEP.reshape(-1, *[1] * (a.ndim - 1))
        return a if len(a) != N else np.where(kept, a, np.nan if a.dtype.kind == "f" else 99).astype(a.dtype)

    teacher = jax.tree.map(np.asarray, teachers((TH, TW), kind))
    run = jax.value_and_grad(loss, (0, 1, 2), allow_int=True)
    alone = run(H[KEEP], W, jax.tree.map(lambda a: a[KEEP] if len(a) == N else a, teacher), None, KEEP)
    for each in (run, jax.jit(run)):
        value, gradients = each(H + fill, W, jax.tree.map(dirty, teacher), KEEP)
        np.testing.assert_allclose(value, alone[0], **CLOSE)
        for got, want in zip(jax.tree.leaves(gradients), jax.tree.leaves(alone[1]), strict=True):
            if got.dtype == jnp.float32:
                np.testing.assert_allclose(got[KEEP] if len(got) == N else got, want, **CLOSE)
                np.testing.assert_array_equal(got[~KEEP] if len(got) == N else 0, 0)


@pytest.mark.parametrize("mesh_kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("split", [P(None, None), P(None, "model")], ids=["tokens", "classes"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_eight_devices_have_the_numbers_of_one(mesh_kind, split, kind, reduction):
    teacher = jax.tree.map(np.asarray, teachers((TH, TW), kind))
    beta = 0.0 if kind == "ignore" else 0.3

    def loss(h, w, bias, teacher, **options):
        given = {"bias": bias, "beta": beta, "chunk_size": 2, "sample_weights": WEIGHTS, "reduction": reduction}
        values = jaxce.linear_kl_divergence(h, w, teacher, **given, **options)
        return jnp.sum(jnp.sin(values))

    run = jax.value_and_grad(loss, (0, 1, 2))
    want = run(H, W, BIAS, teacher)
    with jax.set_mesh(jax.make_mesh((4, 2), ("data", "model"), axis_types=(mesh_kind,) * 2)):
        arrays = jax.device_put(H, P("data")), jax.device_put(W, split), jax.device_put(BIAS, P(split[1]))
        options = {} if mesh_kind == AxisType.Explicit else {"in_specs": (P("data"), split)}
        if kind == "layer":
            teacher = jaxce.LinearLogits(jax.device_put(TH, P("data")), jax.device_put(TW, split))
        got = jax.jit(functools.partial(run, **options))(*arrays, teacher)
    assert_close(jax.device_get(got), jax.device_get(want))


@pytest.mark.parametrize("kind", KINDS)
def test_classes_of_a_shard_map(kind):
    by_class, everywhere = P(None, "model"), P()
    teacher = teachers((TH, TW), kind)
    specs = {"layer": jaxce.LinearLogits(everywhere, by_class), "logits": by_class}.get(kind, everywhere)

    def local(h, w, teacher):
        return jaxce.linear_kl_divergence(h, w, teacher, class_axis_name="model", reduction="none")

    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(local, mesh=mesh, in_specs=(everywhere, by_class, specs), out_specs=P())
    assert_close(jax.jit(mapped)(H, W, teacher), jaxce.linear_kl_divergence(H, W, teacher, reduction="none"))


@pytest.mark.parametrize("kind", KINDS)
def test_transformations(kind):
    """Hessian-vector products, vmap, scan and checkpoint."""
    teacher, t = teachers((TH, TW), kind), np.cos(H)

    def loss(h):
        return jaxce.linear_kl_divergence(h, W, teacher, chunk_size=5)

    def whole(h):
        x = jnp.asarray(h @ jnp.asarray(W, h.dtype))
        if kind in TAILS:
            return dense_top_k(x, np.asarray(teacher.ids), np.asarray(teacher.log_probs, x.dtype), kind).mean()
        return dense(x, jnp.asarray(np.asarray(TH, x.dtype) @ np.asarray(TW, x.dtype))).mean()

    want = exactly(lambda h, t: jax.jvp(jax.grad(whole), (h,), (t,))[1], H, t)
    got = jax.jit(lambda h, t: jax.jvp(jax.grad(jax.checkpoint(loss)), (h,), (t,))[1])(H, t)
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)
    halves = jaxce.LinearLogits(TH, np.repeat(TW, 2, 0)) if kind == "layer" else teacher
    rows = jax.tree.map(lambda a: a.reshape(2, a.shape[0] // 2, *a.shape[1:]), (H, halves))
    if kind == "layer":
        rows[1].kernel[:] = TW

    def one(h, teacher):
        return jaxce.linear_kl_divergence(h, W, teacher, reduction="sum", chunk_size=3)

    want = jaxce.linear_kl_divergence(H, W, teacher, reduction="none").reshape(2, -1).sum(1)
    assert_close(jax.vmap(one)(*rows), want)
    assert_close(jax.lax.scan(lambda _, r: (None, one(*r)), None, rows)[1], want)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_16_bits_are_reduced_in_float32(dtype, kind):
    h, w, th, tw = (jnp.asarray(a, dtype) for a in (H, W, TH, TW))
    wide = [np.asarray(a, np.float32) for a in (h, w, th, tw)]
    teacher, exact = teachers((wide[2], wide[3]), kind), teachers((wide[2], wide[3]), kind)
    if kind == "layer":
        teacher = jaxce.LinearLogits(th, tw)
    got, gradient = jax.value_and_grad(lambda h: jaxce.linear_kl_divergence(h, w, teacher))(h)
    want, exact_gradient = jax.value_and_grad(lambda h: jaxce.linear_kl_divergence(h, wide[1], exact))(wide[0])
    assert got.dtype == jnp.float32
    assert gradient.dtype == dtype
    np.testing.assert_allclose(got, want, rtol=1e-5)
    step = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(gradient, np.float32), exact_gradient, rtol=4 * step, atol=step / 20)


@each_beta
def test_excluded_classes(beta):
    """A bias of ``-inf`` in both: value and gradients are those without the class, and not NaN."""
    bias = np.where(np.arange(V) == 2, -np.inf, BIAS).astype(np.float32)
    left = np.arange(V) != 2

    def loss(h, w, bias, teacher_kernel):
        teacher = jaxce.LinearLogits(TH, teacher_kernel, bias)
        return jaxce.linear_kl_divergence(h, w, teacher, bias=bias, beta=beta)

    run = jax.jit(jax.value_and_grad(loss, (0, 1, 3)))
    value, (dh, dw, dt) = run(H, W, bias, TW)
    alone = run(H, W[:, left], BIAS[left], TW[:, left])
    assert_close((value, (dh, dw[:, left], dt[:, left])), alone)
    np.testing.assert_array_equal(dw[:, 2], 0)


def test_equal_distributions_have_no_divergence():
    for beta in BETAS:
        value, gradient = jax.value_and_grad(
            lambda h, beta=beta: jaxce.linear_kl_divergence(h, W, jaxce.LinearLogits(H, W), beta=beta, temperature=2)
        )(H)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("gap", [30.0, 60.0, 85.0])
def test_second_derivatives_of_a_mixture_of_unlikely_classes(gap):
    x, y = (np.array([[0, -1, -gap]], np.float32), np.array([[0, -0.5, 1 - gap]], np.float32))

    def loss(x):
        return jaxce.linear_kl_divergence(x, np.eye(3, dtype=np.float32), y, beta=0.5)

    want = exactly(jax.hessian(lambda x: dense(x, np.asarray(y, float), 0.5)[0]), x)
    np.testing.assert_allclose(jax.hessian(loss)(x), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_a_teacher_of_another_dtype(reduction, x64):
    """The loss has the dtype of the student."""
    for student, teacher in ((np.float32, np.float64), (np.float64, jnp.bfloat16), (jnp.float16, np.float64)):
        h, w = H.astype(student), W.astype(student)
        given = jaxce.LinearLogits(TH.astype(teacher), TW.astype(teacher))
        loss = functools.partial(jaxce.linear_kl_divergence, teacher=given, reduction=reduction)
        value, pull = jax.vjp(loss, h, w)
        gradient = pull(jnp.ones_like(value))
        assert value.dtype == (np.float64 if student == np.float64 else np.float32)
        assert [g.dtype for g in gradient] == [student, student]


def test_the_student_is_not_renormalized_over_the_candidates():
    """Probability that moves from the candidates to other classes costs something, whichever the tail."""
    ids, log_probs = teacher_top_k()
    away = np.zeros((N, V), np.float32)
    np.put_along_axis(away, ids, -3, -1)
    for tail in TAILS:
        teacher = jaxce.TopK(ids, log_probs, tail)
        near, far = (
            jaxce.linear_kl_divergence(x, np.eye(V, dtype=np.float32), teacher) for x in (TH @ TW, TH @ TW + away)
        )
        assert far > near + 0.5


@pytest.mark.parametrize(("tail", "beta"), [*((tail, 0.0) for tail in TAILS), ("other", 0.5), ("other", 1.0)])
def test_absent_ids(tail, beta):
    """Padding of probability 0 may repeat an id, and its class belongs to the others."""
    ids, log_probs = teacher_top_k()
    padded = np.concatenate([ids, np.full((N, 2), -1, ids.dtype)], 1)
    padded_log_probs = np.concatenate([log_probs, np.full((N, 2), -np.inf, np.float32)], 1)

    def run(h, ids, log_probs):
        return jaxce.linear_kl_divergence(h, W, jaxce.TopK(ids, log_probs, tail), beta=beta)

    got, want = (jax.value_and_grad(run)(H, *given) for given in ((padded, padded_log_probs), (ids, log_probs)))
    assert_close(got, want)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_all_classes_as_candidates_are_the_whole_divergence(beta, dtype):
    """Also where their probabilities do not sum to 1 for rounding, and where other classes are excluded."""
    classes = 1000
    x, y = (3 * RNG.normal(size=(64, classes)).astype(np.float32) for _ in range(2))
    log_probs, ids = jax.nn.log_softmax(y), np.broadcast_to(np.arange(classes), y.shape)
    for excluded in (0, 5):
        wide = np.pad(np.eye(classes, dtype=np.float32), ((0, 0), (0, excluded)))
        bias = np.where(np.arange(classes + excluded) < classes, 0, -np.inf).astype(np.float32)
        options = {"bias": bias, "beta": beta, "reduction": "none"}
        values = jaxce.linear_kl_divergence(x, wide, jaxce.TopK(ids, log_probs.astype(dtype)), **options)
        want = exactly(lambda x, y: dense(x, y, beta), x, y)
        np.testing.assert_allclose(values, want, rtol=2e-5 if dtype == jnp.float32 else 0.05)


def test_a_confident_teacher_leaves_digits_for_the_others():
    """The reverse divergence needs the logarithm of what is left of 1."""
    for gap in (12, 18):
        y = np.zeros((1, 1000))
        y[0, 0] = gap
        with jax.enable_x64(True):
            log_probs = np.asarray(jax.nn.log_softmax(y))
        x = RNG.normal(size=(1, 1000)).astype(np.float32)
        teacher = jaxce.TopK(np.arange(4)[None], log_probs[:, :4].astype(np.float32))
        value = jaxce.linear_kl_divergence(x, np.eye(1000, dtype=np.float32), teacher, beta=1.0)

        def whole(x, log_probs=log_probs):
            p, q = np.exp(log_probs[0]), np.asarray(jax.nn.softmax(x))[0]
            p, q = (np.append(a[:4], a[4:].sum()) for a in (p, q))
            return np.sum(q * np.log(q / p))

        np.testing.assert_allclose(value, exactly(whole, x), rtol=1e-4)


def test_a_teacher_without_doubt_keeps_the_reverse_divergence_finite():
    ids, log_probs = np.zeros((N, 1), int), np.zeros((N, 1), np.float32)
    value, gradient = jax.value_and_grad(
        lambda h: jaxce.linear_kl_divergence(h, W, jaxce.TopK(ids, log_probs), beta=1.0)
    )(H)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_frozen_teacher_costs_one_product():
    def products(teacher):
        def loss(h, w):
            return jaxce.linear_kl_divergence(h, w, teacher, chunk_size=5)

        return str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(H, W)).count("dot_general")

    assert [products(jaxce.LinearLogits(TH, TW)), products(TH @ TW)] == [4, 3]


@pytest.mark.parametrize("kind", ["layer", "top_k"])
def test_the_logits_are_never_whole(kind):
    tokens, classes, features = 4096, 8192, 64
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((tokens, features), (features, classes))]
    ids = jax.ShapeDtypeStruct((tokens, 8), jnp.int32), jax.ShapeDtypeStruct((tokens, 8), jnp.float32)

    def loss(h, w, ids, log_probs):
        teacher = jaxce.LinearLogits(2 * h, w) if kind == "layer" else jaxce.TopK(ids, log_probs)
        return jaxce.linear_kl_divergence(h, w, teacher, chunk_size=256)

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*shapes, *ids).compile()
    logits = 4 * tokens * classes * (2 if kind == "layer" else 1)
    assert compiled.memory_analysis().temp_size_in_bytes < 0.3 * logits
