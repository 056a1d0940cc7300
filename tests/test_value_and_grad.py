"""`value_and_grad`: microbatches and devices give the mean and the gradient of the whole batch."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from test_sharded import largest_collective, mesh_of

import jaxce
from jaxce import Total, value_and_grad

N, D, C = 64, 6, 8
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, C, N)
KEEP = RNG.random(N) < np.linspace(0.05, 1, N)
HIDDEN = np.where(KEEP[:, None], RNG.normal(size=(N, D)), np.nan).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2, N).astype(np.float32)
PARAMS = {"kernel": RNG.normal(size=(D, C)).astype(np.float32), "bias": np.linspace(-1, 1, C, dtype=np.float32)}
BATCH = {"hidden": HIDDEN, "labels": LABELS, "where": KEEP, "sample_weights": WEIGHTS}
CLOSE = {"rtol": 2e-6, "atol": 2e-7}


def total_loss(params, batch, **options):
    """Masked rows hold NaN. Microbatches differ in their weights: an early row is mostly masked, a late one valid."""
    return jaxce.linear_cross_entropy(**params, **batch, reduction="total", **options)


def mean_loss(params, batch, **options):
    return total_loss(params, batch, **options).mean()


@functools.cache
def expected():
    return jax.device_get(jax.jit(jax.value_and_grad(mean_loss))(PARAMS, BATCH))


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("microbatches", [None, 1, 2, 16, 64])
def test_it_is_the_whole_batch(microbatches, jit):
    function = value_and_grad(total_loss, microbatches=microbatches)
    chex.assert_trees_all_close((jax.jit(function) if jit else function)(PARAMS, BATCH), expected(), **CLOSE)


def test_a_mean_of_means_is_another_number():
    rows = jax.tree.map(lambda a: a.reshape(16, 4, *a.shape[1:]), BATCH)
    means = jax.vmap(lambda batch: mean_loss(PARAMS, batch))(rows)
    assert abs(means.mean() - expected()[0]) > 0.1


def test_the_arguments_are_those_of_the_function():
    """Differentiated ones at any position, the batch at the others, shared values by keyword."""

    def loss_fn(labels, kernel, hidden, bias, *, z_loss):
        return jaxce.cross_entropy(hidden @ kernel + bias[None], labels, z_loss=z_loss, reduction="total")

    given = LABELS, PARAMS["kernel"], np.nan_to_num(HIDDEN), PARAMS["bias"]
    got = value_and_grad(loss_fn, argnums=(3, -3), microbatches=4)(*given, z_loss=0.1)
    want = jax.value_and_grad(lambda *a, **k: loss_fn(*a, **k).mean(), argnums=(3, 1))(*given, z_loss=0.1)
    chex.assert_trees_all_close(got, want, **CLOSE)
    assert isinstance(got[1], tuple)
    assert len(value_and_grad(loss_fn, argnums=[3])(*given, z_loss=0.1)[1]) == 1
    assert value_and_grad(loss_fn).__name__ == "loss_fn"


def test_auxiliary_outputs_are_stacked():
    """Microbatch i has the rows i, i + n, ...; without microbatches there is no axis of them."""

    def loss_fn(params, batch):
        total, aux = total_loss(params, batch, has_aux=True)
        return total, {"log_z": aux.log_z, "total": total}

    whole = total_loss(PARAMS, BATCH, has_aux=True)[1].log_z
    (loss, aux), gradient = jax.jit(value_and_grad(loss_fn, has_aux=True, microbatches=4))(PARAMS, BATCH)
    chex.assert_trees_all_close((loss, gradient), expected(), **CLOSE)
    assert aux["log_z"].shape == (4, 16)
    np.testing.assert_allclose(aux["log_z"].T.reshape(-1), whole, rtol=1e-6)
    np.testing.assert_allclose(aux["total"].sum().mean(), loss, rtol=1e-6)
    aux = value_and_grad(loss_fn, has_aux=True)(PARAMS, BATCH)[0][1]
    assert (aux["log_z"].shape, aux["total"].loss.shape) == ((N,), ())


def test_a_random_key_for_each_microbatch():
    def loss_fn(kernel, hidden, labels, keys):
        keep = jax.random.bernoulli(keys[0], 0.5, labels.shape)
        return jaxce.linear_cross_entropy(hidden, kernel, labels, where=keep, reduction="total"), keep

    keys = jax.random.split(jax.random.key(0), 4)
    step = jax.jit(value_and_grad(loss_fn, has_aux=True, microbatches=4))
    keep = step(PARAMS["kernel"], np.nan_to_num(HIDDEN), LABELS, keys)[0][1]
    np.testing.assert_array_equal(keep, [jax.random.bernoulli(key, 0.5, (16,)) for key in keys])


@pytest.mark.parametrize("microbatches", [None, 4, 16])
def test_one_trace(microbatches):
    traces = []

    def loss_fn(params, batch):
        traces.append(1)
        return total_loss(params, batch)

    step = jax.jit(value_and_grad(loss_fn, microbatches=microbatches))
    for _ in range(2):
        step(PARAMS, BATCH)
    assert len(traces) == 1


def test_16_bit_gradients_are_summed_in_float32():
    """The error is that of one rounding of each part and of the result; sums in bfloat16 lose two digits."""
    params, count = jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARAMS), 1024
    batch = {"hidden": np.abs(RNG.normal(size=(count, D))), "labels": np.zeros(count, int)}
    batch["hidden"] = batch["hidden"].astype(jnp.bfloat16)
    loss, gradient = jax.jit(value_and_grad(total_loss, microbatches=256))(params, batch)
    assert {g.dtype for g in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.bfloat16)}
    assert loss.dtype == jnp.float32
    wide = jax.tree.map(lambda a: a.astype(np.float32) if a.dtype == jnp.bfloat16 else a, (params, batch))
    want = jax.grad(mean_loss)(*wide)

    def step(sums, rows):
        gradient = jax.grad(lambda params: total_loss(params, rows).loss)(params)
        return jax.tree.map(jnp.add, sums, gradient), None

    rows = jax.tree.map(lambda a: a.reshape(256, 4, *a.shape[1:]), batch)
    short = lax.scan(step, jax.tree.map(jnp.zeros_like, params), rows)[0]
    got, lost, want = (np.asarray(a["kernel"], float) for a in (gradient, short, want))
    assert np.abs(got - want).max() < 2**-8 * np.abs(want).max()
    assert np.abs(lost / count - want).max() > 2**-6 * np.abs(want).max()


def test_float64(x64):
    params, batch = jax.tree.map(lambda a: a.astype(float) if a.dtype == np.float32 else a, (PARAMS, BATCH))
    got = value_and_grad(total_loss, microbatches=8)(params, batch)
    chex.assert_trees_all_close(got, jax.value_and_grad(mean_loss)(params, batch), rtol=1e-13, atol=1e-15)


def temporary_bytes(microbatches):
    rows = 128 * microbatches
    batch = {"hidden": jax.ShapeDtypeStruct((rows, D), jnp.float32), "labels": jax.ShapeDtypeStruct((rows,), jnp.int32)}
    lowered = jax.jit(value_and_grad(dense_total, microbatches=microbatches)).lower(PARAMS, batch)
    return lowered.compile().memory_analysis().temp_size_in_bytes


def dense_total(params, batch):
    return jaxce.cross_entropy(
        batch["hidden"] @ params["kernel"] + params["bias"][None], batch["labels"], reduction="total"
    )


def test_memory_does_not_grow_with_the_microbatches():
    """By the totals alone, which are two numbers of each; the logits of a microbatch are 4 KiB."""
    few, many = temporary_bytes(4), temporary_bytes(64)
    assert few > 4 * 128 * C
    assert many - few <= 16 * 60


@pytest.mark.parametrize("microbatches", [None, 4])
def test_a_batch_without_valid_examples(microbatches):
    batch = BATCH | {"where": np.zeros(N, bool)}
    loss, gradient = jax.jit(value_and_grad(total_loss, microbatches=microbatches))(PARAMS, batch)
    assert loss == 0
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, 0)


def test_a_nan_of_one_microbatch_is_not_lost():
    loss, gradient = jax.jit(value_and_grad(total_loss, microbatches=4))(PARAMS, BATCH | {"where": np.ones(N, bool)})
    assert np.isnan(loss)
    assert np.isnan(gradient["kernel"]).all()


@pytest.mark.parametrize("microbatches", [None, 4])
@pytest.mark.parametrize("spec", [P(), P("data"), P(None, "model")], ids=str)
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
def test_sharded_arrays_under_plain_jit(kind, spec, microbatches):
    """No row of the batch moves to another device: nothing larger than the kernel does."""
    wide = {"hidden": np.nan_to_num(np.tile(HIDDEN, (8, 1))), "labels": np.tile(LABELS, 8)}
    kernel = np.tile(PARAMS["kernel"], (2, 1))[:8]
    wide["hidden"] = np.pad(wide["hidden"], ((0, 0), (0, 2)))
    params = {"kernel": kernel, "bias": PARAMS["bias"]}
    want = jax.value_and_grad(lambda *a: dense_total(*a).mean())(params, wide)
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        placed = {
            "kernel": jax.device_put(kernel, NamedSharding(mesh, P(None, *spec[1:]))),
            "bias": jax.device_put(params["bias"], NamedSharding(mesh, P(*spec[1:]))),
        }
        batch = jax.tree.map(lambda a: jax.device_put(a, NamedSharding(mesh, P("data"))), wide)
        compiled = jax.jit(value_and_grad(dense_total, microbatches=microbatches)).lower(placed, batch).compile()
        loss, gradient = compiled(placed, batch)
    chex.assert_trees_all_close(jax.device_get((loss, gradient)), jax.device_get(want), rtol=2e-5, atol=1e-6)
    assert gradient["kernel"].sharding.is_equivalent_to(placed["kernel"].sharding, 2)
    assert largest_collective(compiled) <= max(kernel.size, 8 * N // 4)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("microbatches", [None, 4])
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
def test_inside_shard_map(kind, microbatches, check_vma):
    """One sum over the devices, after the loop."""
    mesh = mesh_of(kind)
    step = value_and_grad(total_loss, microbatches=microbatches, axis_name=("data", "model"))
    specs = {"in_specs": (P(), P(("data", "model"))), "out_specs": P(), "check_vma": check_vma}
    with jax.set_mesh(mesh):
        batch = jax.tree.map(lambda a: jax.device_put(a, NamedSharding(mesh, P(("data", "model")))), BATCH)
        compiled = jax.jit(jax.shard_map(step, mesh=mesh, **specs)).lower(PARAMS, batch).compile()
        got = compiled(PARAMS, batch)
    chex.assert_trees_all_close(jax.device_get(got), expected(), rtol=2e-5, atol=1e-6)
    text = compiled.as_text()
    inner, entry = text[: text.index("ENTRY")], text[text.index("ENTRY") :]
    assert "all-reduce(" not in inner
    assert "all-reduce(" in entry


def test_the_batch_may_be_closed_over():
    """The types know that the loss varies, though no argument does."""

    def local(params, batch):
        return value_and_grad(lambda params: total_loss(params, batch), axis_name="data")(params)

    mapped = jax.shard_map(local, mesh=mesh_of(AxisType.Auto), in_specs=(P(), P("data")), out_specs=P())
    chex.assert_trees_all_close(jax.jit(mapped)(PARAMS, BATCH), expected(), rtol=2e-5, atol=1e-6)


def test_split_parameters_have_gradients_of_their_own():
    """Features split over "data" and gathered in the loss (FSDP), classes split over "model"."""
    mesh, split = mesh_of(AxisType.Auto), {"kernel": P("data", "model"), "bias": P("model")}
    params = PARAMS | {"kernel": np.pad(PARAMS["kernel"], ((0, 2), (0, 0)))}
    batch = BATCH | {"hidden": np.pad(HIDDEN, ((0, 0), (0, 2)))}

    def local(params, batch):
        def loss_fn(params, batch):
            kernel = lax.all_gather(params["kernel"], "data", axis=0, tiled=True)
            return total_loss(params | {"kernel": kernel}, batch, class_axis_name="model")

        return value_and_grad(loss_fn, microbatches=4, axis_name="data")(params, batch)

    mapped = jax.shard_map(local, mesh=mesh, in_specs=(split, P("data")), out_specs=(P(), split))
    got, want = jax.jit(mapped)(params, batch), jax.value_and_grad(mean_loss)(params, batch)
    chex.assert_trees_all_close(got, want, rtol=2e-5, atol=1e-6)


def test_over_an_axis_of_vmap():
    rows = jax.tree.map(lambda a: a.reshape(4, 16, *a.shape[1:]), BATCH)
    step = jax.vmap(value_and_grad(total_loss, microbatches=2, axis_name="rows"), (None, 0), axis_name="rows")
    got = jax.tree.map(lambda a: a[2], jax.jit(step)(PARAMS, rows))
    chex.assert_trees_all_close(got, expected(), **CLOSE)


WRAPPERS = {
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "scan": lambda f: (
        lambda p, b: lax.scan(
            lambda t, row: (t + f(p, row), None), Total.zero(), jax.tree.map(lambda a: a[:, None], b)
        )[0]
    ),
    "vmap": lambda f: lambda p, b: jax.vmap(f, (None, 0))(p, jax.tree.map(lambda a: a[:, None], b)).sum(),
    "cond": lambda f: lambda p, b: lax.cond(b["labels"][0] >= 0, f, lambda *_: Total.zero(), p, b),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_inside_the_function_a_transformation_keeps_the_weight_constant(wrapper):
    step = jax.jit(value_and_grad(WRAPPERS[wrapper](total_loss), microbatches=4))
    chex.assert_trees_all_close(step(PARAMS, BATCH), expected(), **CLOSE)


def test_it_is_differentiable():
    """A Hessian-vector product, and the gradient in the batch."""
    tangent = jax.tree.map(np.ones_like, PARAMS)
    parts, whole = value_and_grad(total_loss, microbatches=4), jax.value_and_grad(mean_loss)
    got, want = (jax.jvp(lambda p, f=f: f(p, BATCH)[1], (PARAMS,), (tangent,))[1] for f in (parts, whole))
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-6)

    def norm(weights, f):
        return sum(jnp.sum(g**2) for g in jax.tree.leaves(f(PARAMS, BATCH | {"sample_weights": weights})[1]))

    got, want = (jax.grad(norm)(WEIGHTS, f) for f in (parts, whole))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_flax_model():
    """The state is differentiated; the graph is closed over."""
    graph, params, rest = nnx.split(nnx.Linear(D, C, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def loss_fn(params, hidden, labels, keep):
        logits = nnx.merge(graph, params, rest)(hidden)
        return jaxce.cross_entropy(logits, labels, where=keep, reduction="total")

    given = params, np.nan_to_num(HIDDEN), LABELS, KEEP
    loss, gradient = jax.jit(value_and_grad(loss_fn, microbatches=4))(*given)
    want = jax.value_and_grad(lambda *a: loss_fn(*a).mean())(*given)
    chex.assert_trees_all_close((loss, gradient), want, **CLOSE)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)


def test_a_partitioned_model():
    """As Equinox partitions: None in the place of a leaf that has no gradient."""
    model = {"linear": PARAMS, "name": "linear", "scale": 3, "shift": None}
    params = model | {"name": None, "scale": None}

    def loss_fn(params, batch):
        scaled = jax.tree.map(lambda a: model["scale"] * a, params["linear"])
        return total_loss(scaled, batch)

    loss, gradient = value_and_grad(loss_fn, microbatches=4)(params, BATCH)
    want = jax.value_and_grad(lambda p, b: loss_fn(p, b).mean())(params, BATCH)
    chex.assert_trees_all_close((loss, gradient), want, **CLOSE)
    assert (gradient["name"], gradient["shift"]) == (None, None)


def test_a_weight_that_depends_on_the_parameters():
    """It raises, also where only the weight does; as a constant it is the divisor."""

    def loss_fn(params, constant):
        weights = jnp.exp(params["bias"])
        total = jaxce.cross_entropy(
            PARAMS["kernel"] * params["scale"], np.arange(D) % C, class_weights=weights, reduction="total"
        )
        return Total(total.loss, lax.stop_gradient(total.weight)) if constant else total

    params = {"bias": PARAMS["bias"], "scale": np.float32(1)}
    with pytest.raises(ValueError, match=r"weight depends on .* jax\.lax\.stop_gradient\(total\.weight\)"):
        value_and_grad(functools.partial(loss_fn, constant=False))(params)
    _, gradient = value_and_grad(functools.partial(loss_fn, constant=True))(params)
    weight = loss_fn(params, False).weight
    want = jax.grad(lambda p: loss_fn(p, False).loss / weight)(params)
    chex.assert_trees_all_close(gradient, want, **CLOSE)


def test_a_total_that_is_summed_over_the_devices_already():
    def local(params, batch):
        return value_and_grad(lambda *a: total_loss(*a).psum("data"), axis_name="data")(params, batch)

    mapped = jax.shard_map(local, mesh=mesh_of(AxisType.Auto), in_specs=(P(), P("data")), out_specs=P())
    with pytest.raises(ValueError, match=re.escape("axis_name: got 'data', but the Total of loss_fn is equal on all")):
        mapped(PARAMS, BATCH)


def test_a_batch_of_a_symbolic_size():
    """A multiple of the microbatches is known to divide."""
    (rows,) = jax.export.symbolic_shape("4*b")
    batch = {"hidden": jax.ShapeDtypeStruct((rows, D), jnp.float32), "labels": jax.ShapeDtypeStruct((rows,), jnp.int32)}
    exported = jax.export.export(jax.jit(value_and_grad(dense_total, microbatches=4)))(PARAMS, batch)
    given = {"hidden": np.nan_to_num(HIDDEN), "labels": LABELS.astype(np.int32)}
    want = jax.value_and_grad(lambda *a: dense_total(*a).mean())(PARAMS, given)
    chex.assert_trees_all_close(exported.call(PARAMS, given), want, **CLOSE)
