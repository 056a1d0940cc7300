"""The accelerators' sums of wide rows in one pass, run on CPUs: called directly, and in losses of linear layers."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_linear_transforms
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from linear import (
    EVERYTHING,
    REDUCTIONS,
    OnesOwn,
    assert_near,
    cast,
    draw,
    expected,
    fused,
    mean_of,
    value_and_gradients,
)
from test_rows import INF, NAN, ROWS, exact, target

from jaxce import linear_cross_entropy, linear_log_probs
from jaxce._coefficients import Target
from jaxce._rows import RowSums, _accelerator, _linear, _one_pass, merge

FAR = {
    "the label far above": [[0.0, 200.0, 1.0, -3.0], [5.0, 1.0, 90.0, 2.0]],
    "another class far above": [[0.0, -1.0, 3.0, 200.0], [0.0, 69.0, 1.0, 68.0]],
    "the first class excluded": [[-INF, 1.0, 0.5, 0.0], [-INF, 0.0, -INF, 2.0]],
    "all classes but the label excluded": [[3.0, -INF, -INF, -INF], [-INF, -INF, 3.0, -INF]],
    "a tiny loss": [[20.0, 0.0, -1.0, 2.0], [0.0, -1.0, 30.0, 3.0]],
}


def sums_of(x, q, mask=None, first=1):
    """By the maximum over the first classes."""
    return _one_pass.row_sums(x, q, mask, jnp.max(x[:, :first], 1), 1)


@pytest.mark.parametrize("kind", ["ids", "smoothed ids"])
@pytest.mark.parametrize("rows", {**ROWS, **FAR})
def test_the_sums(rows, kind):
    x = np.float32({**ROWS, **FAR}[rows])
    q, dense = target(kind, x.shape)
    got = jax.jit(sums_of)(jnp.asarray(x), q)
    want = exact(np.float64(x), dense)
    with np.errstate(over="ignore"):
        h, log_z, q_sum = (np.float32(a) for a in (want.h, want.m + np.log1p(want.r), want.q_sum))
    np.testing.assert_allclose(got.cross_entropy().h, h, rtol=5e-6, atol=1e-12, err_msg="H")
    np.testing.assert_allclose(got.m + jnp.log1p(got.r), log_z, rtol=5e-6, atol=2e-6, err_msg="log_z")
    np.testing.assert_allclose(got.q_sum, q_sum, rtol=5e-6, err_msg="Q")
    assert np.all((got.r >= -1) & (got.r <= 1.001))


@pytest.mark.parametrize("row", [[0, -1, 30, 3], [-60, 0, 30, 1], [-140, -74, 2, -76]])
def test_the_loss_of_a_confident_row_keeps_its_digits(row):
    """Also where ``exp(m - x_c)`` underflows for the reference."""
    q = Target(ids=jnp.array([2]), label_weight=jnp.ones(1))
    got = sums_of(jnp.float32([row]), q).cross_entropy()
    want = np.log1p(np.exp(np.delete(row, 2) - float(row[2])).sum())
    np.testing.assert_allclose(got.h, [want], rtol=5e-6, atol=0)


SPECIAL = {
    "an infinite class": [[INF, 0.0, 1.0], [0.0, INF, 1.0], [0.0, 1.0, INF]],
    "only -inf": [[-INF] * 3, [1.0, 2.0, 3.0], [-INF] * 3],
    "NaN": [[NAN, 0.0, 1.0], [0.0, NAN, 1.0], [0.0, 1.0, NAN]],
    "NaN where masked": [[1.0, 0.0, 1.0], [NAN, INF, -INF], [0.0, 1.0, 200.0]],
    "the largest numbers": [[-INF, -INF, 3e38], [-3e38, -INF, 3e38], [3e38, -3e38, -INF]],
}


@pytest.mark.parametrize("kind", ["ids", "smoothed ids"])
@pytest.mark.parametrize("rows", SPECIAL)
def test_special_values_are_those_of_two_passes(rows, kind):
    x = jnp.float32(SPECIAL[rows])
    q, _ = target(kind, x.shape)
    mask = jnp.array([True, "masked" not in rows, True])
    for label in (0, 1, 2, -1):
        q = dataclasses.replace(q, ids=jnp.full(3, label))
        got, want = sums_of(x, q, mask).cross_entropy(), _accelerator.row_sums(x, q, mask, 1).cross_entropy()
        np.testing.assert_allclose(got.h, want.h, rtol=2e-6, err_msg="H")
        np.testing.assert_allclose(got.m + jnp.log1p(got.r), want.m + jnp.log1p(want.r), rtol=2e-6, err_msg="log_z")


@pytest.mark.parametrize("first", [1, 2, 3])
def test_sums_of_two_shards_merge(first):
    """Also where a shard falls back to its maximum, or has no class but excluded ones."""
    x = np.float32([[0.0, 1, 2, 3], [-INF, -INF, 1, 2], [5, 0, 5, 1], [20, 0, -3, -5], [0, 300, 1, 2], [0, 1, 2, 300]])
    q, _ = target("smoothed ids", x.shape)
    whole = _accelerator.row_sums(jnp.asarray(x), q, None, 1).cross_entropy()
    halves = []
    for start in (0, 2):
        own = dataclasses.replace(q, ids=q.ids - start, offset=q.offset[start : start + 2])
        halves.append(sums_of(jnp.asarray(x[:, start : start + 2]), own, first=first))
    own = jnp.stack([q.ids // 2 == 0, q.ids // 2 == 1])
    parts: RowSums = jax.tree.map(lambda *a: jnp.stack(a), *halves)
    merged = merge(parts, own, partial(jnp.max, axis=0, keepdims=True), partial(jnp.sum, axis=0, keepdims=True))
    got = jax.tree.map(lambda a: a[0], merged).cross_entropy()
    np.testing.assert_allclose(got.h, whole.h, rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(got.m + jnp.log1p(got.r), whole.m + jnp.log1p(whole.r), rtol=2e-6)


def test_a_far_row_of_one_lane_changes_no_other():
    """Under `jax.vmap` the loop runs while any lane needs it, and the others keep their results."""
    x = jnp.float32(np.stack([FAR["a tiny loss"], FAR["another class far above"]]))
    q, _ = target("ids", x.shape[1:])
    got = jax.vmap(lambda x: sums_of(x, q))(x)
    for lane in (0, 1):
        assert jax.tree.all(jax.tree.map(lambda a, b, lane=lane: bool(jnp.all(a[lane] == b)), got, sums_of(x[lane], q)))


def few_are_enough(monkeypatch):
    """Layers of any number of classes have a reference: the maximum over two of them."""
    for name, number in {"MAX_CLASSES_WITHOUT_REFERENCE": 1, "LANES": 1, "REFERENCE_CLASSES": 2}.items():
        monkeypatch.setattr(_linear, name, number)


@pytest.fixture
def on_cpus(monkeypatch):
    """Linear layers with few classes on CPUs take the way of large ones on accelerators."""

    def accelerators_way(f, *arguments, on_cpus):
        return f(*arguments)

    monkeypatch.setattr(_accelerator, "except_on_cpus", accelerators_way)
    monkeypatch.setattr(_linear, "except_on_cpus", accelerators_way)
    monkeypatch.setattr(_linear, "platform", lambda: "tpu")
    few_are_enough(monkeypatch)
    jax.clear_caches()
    yield
    jax.clear_caches()


OPTIONS = {"plain": ("bias",), "everything": EVERYTHING}


@pytest.mark.usefixtures("on_cpus")
@pytest.mark.parametrize("reduction", ["mean", OnesOwn()], ids=["sums", "each"])
@pytest.mark.parametrize("kernel_layout", ["dv", "vd"])
@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_of_a_linear_layer(options, kernel_layout, reduction):
    primals, fixed = draw(OPTIONS[options])
    loss = fused(fixed, kernel_layout, reduction=reduction, chunk_size=4)
    got = jax.jit(partial(value_and_gradients, loss))(cast(primals))
    assert_near(got, expected(primals, fixed, REDUCTIONS[reduction], value_and_gradients))


@pytest.mark.usefixtures("on_cpus")
@pytest.mark.parametrize("reduction", ["mean", OnesOwn()], ids=["sums", "each"])
def test_a_linear_layer_far_above_its_reference(reduction):
    """The first classes are excluded for all tokens, and one class is far above the others for some."""
    primals, fixed = draw(("bias",))
    fixed["labels"] = 2 + fixed["labels"] % 5
    primals["kernel"][0, 4], primals["bias"][:2] = 300, -INF
    loss = fused(fixed, reduction=reduction, chunk_size=4)
    got = jax.jit(partial(value_and_gradients, loss))(cast(primals))
    primals["bias"][:2] = -1e6  # the formula has 0 * inf
    assert_near(got, expected(primals, fixed, REDUCTIONS[reduction], value_and_gradients), 5e-6)


@pytest.mark.usefixtures("on_cpus")
@pytest.mark.parametrize("reduction", ["mean", OnesOwn()], ids=["sums", "each"])
def test_second_derivatives_in_every_order_of_the_modes(reduction, x64):
    primals, fixed = draw(("bias", "label_smoothing", "z_loss", "where"))
    got = jax.jit(partial(test_linear_transforms.bends, fused(fixed, reduction=reduction, chunk_size=4)))(
        cast(primals, jnp.float64)
    )
    want = expected(primals, fixed, REDUCTIONS[reduction], lambda *given: test_linear_transforms.bends(*given)[0])
    for bend in got:
        assert_near(bend, want, 1e-12)


@pytest.mark.usefixtures("on_cpus")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits_and_a_batch_of_layers(dtype):
    primals, fixed = draw(("bias",))
    rounded = {n: np.asarray(v, float) for n, v in cast(primals, dtype).items()}
    batch = jax.tree.map(lambda a: jnp.stack([a, a / 2]), cast(rounded, dtype))
    got = jax.jit(jax.vmap(partial(value_and_gradients, fused(fixed, chunk_size=4))))(batch)
    for lane, factor in enumerate((1, 0.5)):
        want = expected({n: factor * v for n, v in rounded.items()}, fixed, mean_of, value_and_gradients)
        assert_near(jax.tree.map(lambda a, lane=lane: a[lane], got), want, float(jnp.finfo(dtype).eps))


@pytest.mark.usefixtures("on_cpus")
def test_log_probabilities():
    primals, fixed = draw(("bias",))
    given, ids = cast(primals), fixed["labels"]

    def scored(given):
        told = linear_log_probs(given["hidden"], given["kernel"], ids, bias=given["bias"], chunk_size=4)
        return jnp.mean(told.log_prob), told

    (value, told), gradients = jax.value_and_grad(scored, has_aux=True)(given)
    want = expected(primals, fixed, mean_of, value_and_gradients)
    assert_near((-value, jax.tree.map(jnp.negative, gradients)), want)
    p = jax.nn.log_softmax(given["hidden"] @ given["kernel"] + given["bias"][None, None])
    np.testing.assert_allclose(told.entropy, -(jnp.exp(p) * p).sum(-1), rtol=2e-5)
    np.testing.assert_array_equal(told.argmax, p.argmax(-1))


@pytest.mark.usefixtures("on_cpus")
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_auxiliary_outputs(reduction):
    """With a cap, in value and gradient."""
    test_linear_transforms.test_the_auxiliary_outputs(reduction)


@pytest.mark.usefixtures("on_cpus")
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("classes_by", [None, "model"])
def test_a_layer_that_a_mesh_splits(classes_by, kind):
    """Of the classes or of the tokens alone; one shard of the classes falls back, and the other need not."""
    primals, fixed = draw(("bias",), (8, 4), classes=16)
    primals["bias"][12] = 300
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))
    specs = {"hidden": P("data"), "kernel": P(None, classes_by), "bias": P(classes_by)}
    given = {n: jax.device_put(a, NamedSharding(mesh, specs[n])) for n, a in cast(primals).items()}

    def loss(given):
        how = {"in_specs": (specs["hidden"], specs["kernel"])} if kind == AxisType.Auto else {}
        return linear_cross_entropy(
            given["hidden"], given["kernel"], fixed["labels"], bias=given["bias"], chunk_size=4, **how
        )

    with jax.set_mesh(mesh):
        got = jax.jit(partial(value_and_gradients, loss))(given)
    assert_near(jax.device_get(got), expected(primals, fixed, mean_of, value_and_gradients), 5e-6)


def test_programs_of_cpus_have_no_reference(monkeypatch):
    """The choice is made at lowering, so an export from a CPU to a TPU has one. Up to 0.10, no program has."""
    few_are_enough(monkeypatch)
    jax.clear_caches()
    primals, fixed = draw(())
    traced = jax.jit(fused(fixed)).trace(cast(primals))
    products = {
        kind: traced.lower(lowering_platforms=(kind,)).as_text().count("dot_general") for kind in ("cpu", "tpu")
    }
    jax.clear_caches()
    assert products == {"cpu": 1, "tpu": 2 if _linear.SCAN_KEEPS_RULES else 1}


def test_where_a_reference_is_a_gain(monkeypatch):
    """On TPUs for multiples of 128 classes; on GPUs without a cap, and if nothing else takes the maximum."""
    monkeypatch.setattr(_linear, "SCAN_KEEPS_RULES", True)

    def has_reference(platform, classes, is_capped=False, takes_maximum=False):
        monkeypatch.setattr(_linear, "platform", lambda: platform)
        return _linear.reference_classes(classes, is_capped=is_capped, takes_maximum=takes_maximum) > 0

    for platform, of_gpt2, capped in (("tpu", False, True), ("gpu", True, False), ("cpu", False, False)):
        assert has_reference(platform, 2**15)
        assert not has_reference(platform, 2**14)
        assert has_reference(platform, 50257) == of_gpt2
        assert has_reference(platform, 2**15, is_capped=True) == capped
        assert has_reference(platform, 2**15, takes_maximum=True) == capped
    monkeypatch.setattr(_linear, "SCAN_KEEPS_RULES", False)
    assert not has_reference("tpu", 2**15)
