"""`linear_loss`: any function of a linear layer's logits gives the numbers of whole logits."""

import functools
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce

RNG = np.random.default_rng(0)
TOKENS, D, V = (2, 7), 4, 6
H, W, BIAS = (RNG.normal(size=shape).astype(np.float32) for shape in ((*TOKENS, D), (D, V), (V,)))
LABELS, PROBS = RNG.integers(0, V, TOKENS), RNG.dirichlet(np.ones(V), TOKENS).astype(np.float32)
WEIGHTS, KEEP = RNG.uniform(0.5, 2, TOKENS).astype(np.float32), RNG.random(TOKENS) > 0.3
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def squares(logits, teacher, scale):
    return scale * jnp.mean((logits - teacher["logits"]) ** 2, -1)


def log_z_and_entropy(logits, labels):
    told = jaxce.log_probs(logits, labels)
    return (jnp.sin(told.log_z) * told.entropy - told.log_prob) / 4  # gradients of the size of the other functions'


def of(name, **options):
    return functools.partial(getattr(jaxce, name), reduction="none", **options)


FUNCTIONS = {  # `laws/test_linear_losses.py` has every loss
    "cross_entropy": (of("cross_entropy", label_smoothing=0.1, z_loss=0.01), LABELS),
    "cross_entropy of probabilities": (of("cross_entropy"), PROBS),
    "focal_loss": (of("focal_loss", gamma=1.5), LABELS),
    "js_divergence": (of("js_divergence"), PROBS),
    "entropy": (of("entropy"),),
    "log_probs": (log_z_and_entropy, LABELS),
    "lines of one's own": (squares, {"logits": RNG.normal(size=(*TOKENS, V)).astype(np.float32)}, WEIGHTS),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def linear(f, arrays, rows, chunk_size=4, **options):
    given = {"logit_softcap": 3.0, "sample_weights": WEIGHTS, "chunk_size": chunk_size} | options
    return jaxce.linear_loss(f, arrays["hidden"], arrays["kernel"], *rows, bias=arrays["bias"], **given)


def dense(f, arrays, rows, reduction="mean", sample_weights=WEIGHTS, where=None, logit_softcap=3.0):
    x = arrays["hidden"] @ arrays["kernel"] + arrays["bias"][None, None]
    x = x if logit_softcap is None else logit_softcap * jnp.tanh(x / logit_softcap)
    return jaxce.reduce(f(x, *rows), weights=sample_weights, where=where, reduction=reduction)


ARRAYS = {"hidden": H, "kernel": W, "bias": BIAS}


def assert_close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


def derivatives(loss, arrays):
    """Value and gradient for random cotangents, and the derivative along a tangent."""
    rng = np.random.default_rng(1)

    def draw(a):
        return jnp.asarray(rng.normal(size=a.shape), a.dtype)

    value, pull = jax.vjp(loss, arrays)
    return value, pull(jax.tree.map(draw, value))[0], jax.jvp(loss, (arrays,), (jax.tree.map(draw, arrays),))[1]


@each_function
@pytest.mark.parametrize("reduction", ["mean", "none", "total", jaxce.Mean(axis=-1)], ids=str)
def test_value_and_derivatives_are_those_of_whole_logits(name, reduction):
    f, *rows = FUNCTIONS[name]
    for options in ({}, {"where": KEEP}):
        losses = [functools.partial(loss, f, rows=rows, reduction=reduction, **options) for loss in (linear, dense)]
        got, want = (jax.jit(functools.partial(derivatives, loss))(ARRAYS) for loss in losses)
        assert_close(got, want)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_float_rows_have_gradients(reduction):
    """Those of a teacher, and of weights that a function takes."""
    f, teacher, scale = FUNCTIONS["lines of one's own"]

    def loss(which, given):
        return jnp.sum(jnp.sin(which(f, ARRAYS, given, reduction=reduction)))

    got, want = (jax.jit(jax.grad(functools.partial(loss, which)))((teacher, scale)) for which in (linear, dense))
    assert_close(got, want)


def tempered(x, labels, t, scale):
    return scale["a"] * jaxce.cross_entropy(x / t, labels, reduction="none")


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_constants_have_gradients(reduction):
    """A temperature, and a pytree; also of 16 bits, whose gradient is summed in float32 over the chunks."""

    def loss(t, scale, arrays):
        return jnp.sum(linear(tempered, arrays, (LABELS,), constants=(t, {"a": scale}), reduction=reduction))

    def whole(t, scale, arrays):
        return jnp.sum(dense(tempered, arrays, (LABELS, t, {"a": scale}), reduction=reduction))

    run = [jax.value_and_grad(f, (0, 1, 2)) for f in (loss, whole)]
    given = jnp.float32(1.7), jnp.float32(0.9), ARRAYS
    for jitted in (jax.jit, lambda f: f):
        assert_close(*(jitted(f)(*given) for f in run))

    def short(s):
        def f(x, s):
            return x[:, 0] * s.astype(jnp.float32)

        h = jnp.ones((4096, 3))
        return jaxce.linear_loss(f, h, jnp.ones((3, 5)) / 3, constants=(s,), reduction=reduction, chunk_size=1).sum()

    assert jax.grad(short)(jnp.bfloat16(2)) == 4096


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_constants_of_any_dtype(reduction, x64):
    """A mask of classes, ids, a random key, and a float64 number beside float32 hidden states."""

    def f(x, key, allowed, s):
        noise = jax.vmap(lambda k: jax.random.normal(k, (), jnp.float32))(key)
        return noise * jax.nn.logsumexp(jnp.where(allowed[None], s.astype(jnp.float32) * x, -1e9), -1)

    keys, allowed = jax.random.split(jax.random.key(0), TOKENS), jnp.arange(V) != 2

    def loss(which, w, s):
        if which == "linear":
            value = jaxce.linear_loss(
                f, H, w, keys, constants=(allowed, s), where=KEEP, chunk_size=4, reduction=reduction
            )
        else:
            values = f((H @ w).reshape(-1, V), keys.reshape(-1), allowed, s).reshape(TOKENS)
            value = jaxce.reduce(values, where=KEEP, reduction=reduction)
        return jnp.sum(value)

    got, want = (
        jax.jit(jax.value_and_grad(functools.partial(loss, which), (0, 1)))(W, jnp.float64(1.5))
        for which in ("linear", "dense")
    )
    assert got[1][1].dtype == jnp.float64
    assert_close(got, want)


def test_a_traced_closure_raises():
    """Of any dtype, under every transformation; a concrete one is taken as it is at each call."""

    def loss(t):
        return jaxce.linear_loss(lambda x: t * x[:, 0], H, W)

    for run, t in ((jax.jit(loss), jnp.float32(2)), (jax.grad(loss), jnp.float32(2)), (jax.vmap(loss), jnp.ones(2))):
        with pytest.raises(ValueError, match=r"f: closes over a traced array; .* as constants=\(\.\.\.\)"):
            run(t)

    class Model:
        scale = 2.0

        def loss(self, x):
            return self.scale * x[:, 0]

    model = Model()
    first = jaxce.linear_loss(model.loss, H, W)
    model.scale = 4.0
    np.testing.assert_allclose(jaxce.linear_loss(model.loss, H, W), 2 * first, rtol=1e-6)


def test_a_function_is_not_kept():
    def call():
        big = jnp.ones(3)
        jaxce.linear_loss(lambda x: x[:, 0] * big[0], H, W)
        return weakref.ref(big)

    kept = call()
    gc.collect()
    assert kept() is None


def test_rows_of_any_rank_under_a_mask():
    t = RNG.normal(size=(*TOKENS, 2, 3)).astype(np.float32)

    def f(x, t):
        return (x.sum(-1)[..., None, None] * t).sum((-1, -2))

    def loss(t, which):
        return jnp.sum(jnp.sin(which(f, ARRAYS, (t,), where=KEEP, reduction="sum")))

    assert_close(*(jax.jit(jax.value_and_grad(functools.partial(loss, which=w)))(t) for w in (linear, dense)))


def test_checks_of_a_function_do_not_meet_masked_rows():
    one_hot = np.eye(V, dtype=np.float32)[LABELS]
    with jaxce.debug():
        jax.jit(lambda q: linear(of("cross_entropy"), ARRAYS, (q,), where=KEEP))(one_hot)


def test_masked_tokens_hold_anything():
    f, *rows = FUNCTIONS["lines of one's own"]
    dirty = ARRAYS | {"hidden": np.where(KEEP[..., None], H, np.nan)}
    teacher = {"logits": np.where(KEEP[..., None], rows[0]["logits"], np.inf)}
    for reduction in ("mean", "none"):
        run = jax.jit(jax.value_and_grad(lambda a, r, n=reduction: jnp.sum(linear(f, a, r, reduction=n, where=KEEP))))
        (value, gradient), want = run(dirty, (teacher, np.where(KEEP, rows[1], np.nan))), run(ARRAYS, rows)
        assert_close((value, gradient), want)
        np.testing.assert_array_equal(gradient["hidden"][~KEEP], 0)
    ids = np.where(KEEP, LABELS, -100)
    assert_close(
        linear(FUNCTIONS["focal_loss"][0], ARRAYS, (ids,), where=KEEP),
        dense(FUNCTIONS["focal_loss"][0], ARRAYS, (LABELS,), where=KEEP),
    )


@each_function
def test_second_derivatives(name):
    """Of a sum, whose gradients the forward pass computes."""
    f, *rows = FUNCTIONS[name]
    t = jax.tree.map(lambda a: np.cos(a).astype(a.dtype), ARRAYS)
    got, want = (
        jax.jit(lambda a, loss=loss: jax.jvp(jax.grad(lambda a: loss(f, a, rows)), (a,), (t,))[1])(ARRAYS)
        for loss in (linear, dense)
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_transformations():
    f, *_ = FUNCTIONS["focal_loss"]

    def one(h, y, w):
        return jaxce.linear_loss(f, h, W, y, sample_weights=w, reduction="sum", chunk_size=3)

    mapped = jax.vmap(jax.value_and_grad(jax.checkpoint(one)), (0, 0, 0))(H, LABELS, WEIGHTS)
    looped = jax.lax.scan(lambda _, r: (None, jax.value_and_grad(one)(*r)), None, (H, LABELS, WEIGHTS))[1]
    assert_close(mapped, looped)


def test_auxiliary_results_have_rows_and_no_gradient():
    def f(x, labels):
        return jaxce.cross_entropy(x, labels, reduction="none"), {"best": x.argmax(-1), "top": jax.lax.top_k(x, 2)[0]}

    for reduction in ("mean", "none"):
        loss, aux = jax.jit(lambda r=reduction: linear(f, ARRAYS, (LABELS,), has_aux=True, reduction=r, where=KEEP))()
        x = 3 * np.tanh((H @ W + BIAS) / 3)
        np.testing.assert_array_equal(aux["best"], np.where(KEEP, x.argmax(-1), 0))
        np.testing.assert_allclose(aux["top"], np.where(KEEP[..., None], np.sort(x)[..., :-3:-1], 0), **CLOSE)
        assert_close(loss, dense(of("cross_entropy"), ARRAYS, (LABELS,), reduction=reduction, where=KEEP))

    def of_aux(arrays):
        return jnp.sum(linear(f, arrays, (LABELS,), has_aux=True, reduction="none")[1]["top"])

    np.testing.assert_array_equal(jax.grad(of_aux)(ARRAYS)["hidden"], 0)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@each_function
def test_split_tokens_have_the_numbers_of_one_device(kind, reduction, name):
    f, *rows = FUNCTIONS[name]
    h, w = RNG.normal(size=(8, 3, D)).astype(np.float32), W
    rows = jax.tree.map(lambda a: np.resize(a, (8, 3, *a.shape[2:])), rows)
    if name.endswith(("probabilities", "divergence")):
        rows = [np.resize(PROBS.reshape(-1, V), (24, V)).reshape(8, 3, V)]

    def loss(h, w, **options):
        values = jaxce.linear_loss(f, h, w, *rows, chunk_size=2, reduction=reduction, **options)
        return jnp.sum(jnp.sin(values))

    run = jax.value_and_grad(loss, (0, 1))
    want = run(h, w)
    with jax.set_mesh(jax.make_mesh((8,), ("data",), axis_types=(kind,))):
        options = {} if kind == AxisType.Explicit else {"in_specs": (P("data"), P())}
        got = jax.jit(functools.partial(run, **options))(jax.device_put(h, P("data")), jax.device_put(w, P()))
    assert_close(jax.device_get(got), jax.device_get(want))


def test_preferences_are_those_of_whole_logits():
    """DPO: the log-probabilities of pairs of answers, beside those of a reference model."""

    def dpo(kernel, log_prob):
        policy, reference = (log_prob(k).sum(-1) for k in (kernel, 0.9 * W))
        return -jax.nn.log_sigmoid(0.1 * ((policy[0] - policy[1]) - (reference[0] - reference[1])))

    def linear_log_prob(kernel):
        return jaxce.linear_log_probs(H, kernel, LABELS, where=KEEP, chunk_size=4).log_prob

    def log_prob(kernel):
        taken = jnp.take_along_axis(jax.nn.log_softmax(H @ kernel), LABELS[..., None], -1)[..., 0]
        return jnp.where(KEEP, taken, 0)

    assert_close(*(jax.value_and_grad(functools.partial(dpo, log_prob=f))(W) for f in (linear_log_prob, log_prob)))


def test_a_function_without_labels_has_no_account():
    with pytest.raises(TypeError, match="expected a loss of jaxce"):
        jaxce.explain(jaxce.linear_loss, FUNCTIONS["focal_loss"][0], H, W, LABELS)


def test_split_classes_raise():
    f, *rows = FUNCTIONS["focal_loss"]
    with (
        jax.set_mesh(jax.make_mesh((2,), ("model",), axis_types=(AxisType.Explicit,))),
        pytest.raises(
            ValueError, match=r"kernel: got classes split over the mesh axes \['model'\]; expected whole rows"
        ),
    ):
        jaxce.linear_loss(f, jnp.asarray(H), jax.device_put(W, P(None, "model")), *rows)


def test_a_sum_computes_no_logit_twice():
    """Three products per chunk: logits, and the gradients of hidden states and kernel; a frozen kernel needs two."""
    f, *rows = FUNCTIONS["focal_loss"]

    def products(argnums, reduction):
        def loss(h, w):
            return jnp.sum(jaxce.linear_loss(f, h, w, *rows, chunk_size=4, reduction=reduction))

        return str(jax.make_jaxpr(jax.grad(loss, argnums))(H, W)).count("dot_general")

    assert [products((0, 1), "sum"), products(0, "sum"), products((0, 1), "none")] == [3, 2, 4]


MISTAKES = {
    "a mean": (
        lambda x, y: x.mean(),
        (LABELS,),
        r"f: returned a float32 array of shape \(\) for 4 rows of logits; expected one",
    ),
    "a tuple": (lambda x, y: (x[:, 0], x), (LABELS,), r"f: returned a tuple for 4 rows of logits"),
    "rows of another shape": (
        lambda x, y: x[:, 0],
        (LABELS[0],),
        r"rows\[0\]: got shape \(7,\); expected a row for each",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    f, rows, message = MISTAKES[name]
    with pytest.raises((TypeError, ValueError), match=message):
        jaxce.linear_loss(f, H, W, *rows, chunk_size=4)


def test_mistakes_of_aux():
    with pytest.raises(
        TypeError, match=r"f: returned a float32 array of shape \(14,\) with has_aux=True; expected a pair"
    ):
        jaxce.linear_loss(lambda x: x[:, 0], H, W, has_aux=True)
    with pytest.raises(TypeError, match=r"f: returned aux\['a'\] of shape \(6,\); expected a row for each of"):
        jaxce.linear_loss(lambda x: (x[:, 0], {"a": x[0]}), H, W, has_aux=True, chunk_size=4)
