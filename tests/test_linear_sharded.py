"""`linear_cross_entropy` on eight devices: the numbers of one, each device its own share, and no loop on the wires."""

import functools
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from collectives import work_of
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxce

D, V, TOKENS, CHUNK = 16, 512, (8, 32), 8
N = math.prod(TOKENS)
RNG = np.random.default_rng(0)
KEEP, IDS, COTANGENTS = RNG.random(TOKENS) > 0.3, RNG.integers(0, V, TOKENS), RNG.normal(size=TOKENS).astype(np.float32)
PRIMALS = {
    "hidden": RNG.normal(size=(*TOKENS, D)),
    "kernel": RNG.normal(size=(D, V)),
    "bias": RNG.normal(size=V),
    "class_weights": RNG.uniform(0.5, 2, V),
    "sample_weights": RNG.uniform(0.5, 2, TOKENS),
    "logit_softcap": np.array(5.0),
}
PRIMALS = {name: array.astype(np.float32) for name, array in PRIMALS.items()}
PLAIN = {"hidden": PRIMALS["hidden"], "kernel": PRIMALS["kernel"], "labels": IDS}
SETTINGS = {"label_smoothing": 0.1, "z_loss": 0.01, "logit_scale": 0.9}
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


class Layout(NamedTuple):
    """The specs of hidden states `[batch, time, features]` and kernel, and over how many devices each is split."""

    hidden: P
    kernel: P
    tokens: int
    classes: int = 1
    kernel_layout: str = "dv"


LAYOUTS = {
    "data": Layout(P("data"), P(), 4),
    "sequence": Layout(P("data", "model"), P(), 8),
    "fsdp": Layout(P(("data", "model")), P(("data", "model")), 8),
    "fsdp-classes": Layout(P(None, "data"), P(None, "data"), 4),
    "tensor": Layout(P(), P(None, "model"), 1, 2),
    "data-tensor": Layout(P("data"), P(None, "model"), 4, 2),
    "fsdp-tensor": Layout(P("data"), P("data", "model"), 4, 2),
    "tied-tensor": Layout(P("data"), P("model"), 4, 2, "vd"),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
each_kind = pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
each_reduction = pytest.mark.parametrize("reduction", ["mean", "none"])


def mesh_of(kind, shape=(4, 2)):
    return jax.make_mesh(shape, ("data", "model"), axis_types=(kind, kind))


def specs_of(layout):
    """The spec of every array of this file that is split in this layout."""
    classes = P(layout.kernel[layout.kernel_layout.index("v")] if layout.classes > 1 else None)
    specs = dict.fromkeys(("hidden", "sample_weights", "where", "labels"), layout.hidden)
    return specs | {"kernel": layout.kernel, "bias": classes, "class_weights": classes, "logit_softcap": P()}


def stated(layout, kind):
    """What must be said of the layout: nothing on an explicit mesh."""
    specs = {"in_specs": (layout.hidden, layout.kernel)} if kind == AxisType.Auto else {}
    return specs | {"kernel_layout": layout.kernel_layout, "chunk_size": CHUNK}


def laid_out(arrays, layout, kind):
    mesh, specs = mesh_of(kind), specs_of(layout)
    return {name: jax.device_put(array, NamedSharding(mesh, specs[name])) for name, array in arrays.items()}


def in_layout(arrays, layout):
    """The kernel with its axes in the order of the layout."""
    return {n: a.T if n == "kernel" and layout.kernel_layout == "vd" else a for n, a in arrays.items()}


def number(values):
    """Differentiable: per-token losses count by numbers that differ."""
    return values if values.ndim == 0 else jnp.sum(values * COTANGENTS)


def dense(primals, labels, where, reduction):
    """Every option spelled out on logits that exist, and what there is to tell about these."""
    x = SETTINGS["logit_scale"] * (primals["hidden"] @ primals["kernel"] + primals["bias"][None, None])
    x = primals["logit_softcap"] * jnp.tanh(x / primals["logit_softcap"])
    options = {n: SETTINGS[n] for n in ("label_smoothing", "z_loss")} | {"where": where, "reduction": reduction}
    options |= {n: primals[n] for n in ("class_weights", "sample_weights")}
    log_p = jax.nn.log_softmax(x)
    aux = [jax.nn.logsumexp(x, -1), jnp.argmax(x, -1), -jnp.sum(jnp.exp(log_p) * log_p, -1)]
    aux.append(primals["sample_weights"] * primals["class_weights"][labels] * SETTINGS["z_loss"] * aux[0] ** 2)
    return number(jaxce.cross_entropy(x, labels, **options)), jaxce.CrossEntropyAux(
        *(jnp.where(where, a, 0) for a in aux)
    )


@functools.cache
def expected(reduction):
    function = jax.jit(jax.value_and_grad(dense, has_aux=True), static_argnums=3)
    return jax.device_get(function(PRIMALS, IDS, KEEP, reduction))


@each_reduction
@each_kind
@each_layout
def test_the_numbers_of_one_device(layout, kind, reduction):
    """Value, what is returned beside it, and every gradient, which lies where its array lies; masked rows hold NaN."""

    def loss(*arguments):
        values, aux = local(*arguments, reduction=reduction, has_aux=True, **stated(layout, kind))
        return number(values), aux

    primals = in_layout(PRIMALS | {"hidden": np.where(KEEP[..., None], PRIMALS["hidden"], np.nan)}, layout)
    arrays = laid_out(primals | {"labels": IDS, "where": KEEP}, layout, kind)
    primals = {name: arrays[name] for name in PRIMALS}
    with jax.set_mesh(mesh_of(kind)):
        got = jax.jit(jax.value_and_grad(loss, has_aux=True))(primals, arrays["labels"], arrays["where"])
    (value, aux), gradients = expected(reduction)
    chex.assert_trees_all_close(jax.device_get(got), ((value, aux), in_layout(gradients, layout)), **CLOSE)
    if kind == AxisType.Explicit:
        assert all(got[1][n].sharding.is_equivalent_to(primals[n].sharding, primals[n].ndim) for n in PRIMALS)


def work(loss, layout, kind=AxisType.Auto):
    """What a device does for the value and the gradients of hidden states and kernel."""
    arguments = laid_out(in_layout(PLAIN, layout), layout, kind).values()
    with jax.set_mesh(mesh_of(kind)):
        function = jax.jit(jax.value_and_grad(lambda *a: number(loss(*a)), (0, 1)))
        return work_of(function.lower(*arguments).compile())


@functools.cache
def work_of_dense(layout):
    def loss(hidden, kernel, labels):
        logits = hidden @ (kernel if layout.kernel_layout == "dv" else kernel.T)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return work(loss, layout)


@each_reduction
@each_kind
@each_layout
def test_each_device_does_its_share(layout, kind, reduction):
    """Products over its own tokens and classes, and no more on the wires than the loss of logits that exist."""

    def loss(hidden, kernel, labels):
        return jaxce.linear_cross_entropy(hidden, kernel, labels, reduction=reduction, **stated(layout, kind))

    got, share = work(loss, layout, kind), N * D * V // (layout.tokens * layout.classes)
    assert got.flops == (6 if reduction == "mean" else 8) * share
    # "none" finds the normalizer of each token again; the rest are a few scalars.
    again = 2 * 4 * N // layout.tokens if reduction == "none" else 0
    assert got.wires <= work_of_dense(layout).wires + again + 16
    assert got.wire_in_a_loop <= 3 * 4 * CHUNK


@pytest.mark.parametrize("strided", [False, True], ids=["consecutive", "strided"])
def test_a_loop_that_the_partitioner_cuts_is_seen(strided):
    """By hand, consecutive chunks give each device all tokens; strided ones sum the kernel's gradient in each turn."""

    def loss(hidden, kernel, labels):
        def cut(a):
            return a.reshape(CHUNK, -1, *a.shape[2:]).swapaxes(0, 1) if strided else a.reshape(-1, CHUNK, *a.shape[2:])

        def step(total, chunk):
            losses = optax.softmax_cross_entropy_with_integer_labels(chunk[0] @ kernel, chunk[1])
            return total + losses.sum(), None

        return jax.lax.scan(jax.checkpoint(step), jnp.float32(0), (cut(hidden), cut(labels)))[0]

    got = work(loss, LAYOUTS["data"])
    assert got.flops == 8 * N * D * V // (4 if strided else 1)
    assert (got.wire_in_a_loop >= 4 * D * V) == strided


def local(primals, labels, where, **given):
    """The loss with every option on of what a device has of the arrays."""
    options = {n: a for n, a in primals.items() if n not in ("hidden", "kernel")} | SETTINGS | given
    return jaxce.linear_cross_entropy(primals["hidden"], primals["kernel"], labels, where=where, **options)


REDUCTIONS = {"mean": jaxce.Mean(axis_name="data"), "total": "total", "none": "none"}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("check_vma", [True, False])
def test_classes_split_inside_shard_map(check_vma, reduction):
    def loss(primals, labels, where):
        values = local(primals, labels, where, class_axis_name="model", reduction=REDUCTIONS[reduction])
        return values.psum("data").mean() if reduction == "total" else values

    specs = specs_of(LAYOUTS["data-tensor"])
    in_specs = {name: specs[name] for name in PRIMALS}, specs["labels"], specs["where"]
    out_specs = P("data") if reduction == "none" else P()
    mesh = mesh_of(AxisType.Auto)
    mapped = jax.shard_map(loss, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=check_vma)
    got = jax.jit(jax.value_and_grad(lambda *a: number(mapped(*a))))(PRIMALS, IDS, KEEP)
    (value, _), gradients = expected("none" if reduction == "none" else "mean")
    chex.assert_trees_all_close(got, (value, gradients), **CLOSE)


def test_the_gradient_inside_shard_map():
    def loss(*arguments):
        return local(*arguments, class_axis_name="model", reduction=jaxce.Mean(axis_name="data"))

    specs = specs_of(LAYOUTS["data-tensor"])
    of_primals = {name: specs[name] for name in PRIMALS}
    in_specs = of_primals, specs["labels"], specs["where"]
    mapped = jax.shard_map(jax.grad(loss), mesh=mesh_of(AxisType.Auto), in_specs=in_specs, out_specs=of_primals)
    chex.assert_trees_all_close(jax.jit(mapped)(PRIMALS, IDS, KEEP), expected("mean")[1], **CLOSE)


@each_kind
@pytest.mark.parametrize("name", ["data", "data-tensor"])
def test_a_shard_map_over_the_tokens_alone(name, kind):
    """The other axis is left to the compiler or to the types; JAX has no gradient of a split over it."""
    layout, mesh = LAYOUTS[name], mesh_of(kind)
    specs = {"in_specs": (P(), layout.kernel)} if kind == AxisType.Auto else {}
    of_primals = {n: P("data") if n in ("hidden", "sample_weights") else P() for n in PRIMALS}

    def loss(*arguments):
        return local(*arguments, reduction=jaxce.Mean(axis_name="data"), **specs)

    mapped = jax.shard_map(
        loss, mesh=mesh, in_specs=(of_primals, P("data"), P("data")), out_specs=P(), axis_names={"data"}
    )
    arrays = laid_out(PRIMALS | {"labels": IDS, "where": KEEP}, layout, kind)
    arguments = {n: arrays[n] for n in PRIMALS}, arrays["labels"], arrays["where"]
    (value, _), gradients = expected("mean")
    with jax.set_mesh(mesh):
        np.testing.assert_allclose(jax.jit(mapped)(*arguments), value, rtol=2e-6)
        if layout.classes == 1:
            chex.assert_trees_all_close(jax.device_get(jax.jit(jax.grad(mapped))(*arguments)), gradients, **CLOSE)


def split_by_eight(loss):
    """The loss with the kernel's and bias's classes split over eight devices."""
    specs = P(), P(None, "model"), P(), P("model")
    return jax.jit(jax.shard_map(loss, mesh=mesh_of(AxisType.Auto, (1, 8)), in_specs=specs, out_specs=P()))


def test_a_padded_vocabulary_and_ids_on_the_edges_of_shards():
    """Fifty classes in sixty-four: of the last two devices one has two of them, the other none."""
    ids = np.array([0, 7, 8, 15, 16, 24, 31, 32, 40, 47, 48, 49])
    hidden, kernel, bias = RNG.normal(size=(12, D)), RNG.normal(size=(D, 50)), RNG.normal(size=50)
    hidden, kernel, bias = (a.astype(np.float32) for a in (hidden, kernel, bias))
    wide, closed = np.pad(kernel, ((0, 0), (0, 14))), np.pad(bias, (0, 14), constant_values=-np.inf)

    def loss(hidden, kernel, labels, bias, **given):
        return jaxce.linear_cross_entropy(hidden, kernel, labels, bias=bias, z_loss=0.1, reduction="none", **given)

    padded = split_by_eight(lambda *a: loss(*a, class_axis_name="model"))
    got = jax.value_and_grad(lambda *a: padded(*a).sum(), (0, 1, 3))(hidden, wide, ids, closed)
    value, (d_hidden, d_kernel, d_bias) = jax.value_and_grad(lambda *a: loss(*a).sum(), (0, 1, 3))(
        hidden, kernel, ids, bias
    )
    want = value, (d_hidden, np.pad(d_kernel, ((0, 0), (0, 14))), np.pad(d_bias, (0, 14)))
    chex.assert_trees_all_close(got, want, **CLOSE)
    wrong = padded(hidden, wide, np.where(ids == 0, 50, np.where(ids == 7, 64, np.where(ids == 8, -1, ids))), closed)
    np.testing.assert_array_equal(np.isposinf(wrong), ids == 0)
    np.testing.assert_array_equal(np.isnan(wrong), (ids == 7) | (ids == 8))


def test_the_likeliest_of_equal_classes_on_two_shards_is_the_first():
    """Of small integers, whose products are exact."""
    hidden, kernel = np.rint(PRIMALS["hidden"]), np.tile(np.rint(PRIMALS["kernel"][:, :32]), 2)

    def aux(hidden, kernel, labels, bias, **given):
        return jaxce.linear_cross_entropy(hidden, kernel, labels, bias=bias, has_aux=True, **given)[1]

    arguments = hidden, kernel, IDS % 64, np.zeros(64, np.float32)
    got = split_by_eight(functools.partial(aux, class_axis_name="model"))(*arguments)
    chex.assert_trees_all_close(got, aux(*arguments), **CLOSE)
    np.testing.assert_array_equal(got.argmax, np.argmax(hidden @ kernel, -1))
    assert got.argmax.max() < 32


def test_concrete_arrays_show_their_sharding():
    """So a call by itself needs no specs; under `jit` an automatic mesh hides them."""
    layout = LAYOUTS["fsdp-tensor"]
    arrays = laid_out(PLAIN, layout, AxisType.Auto)
    want = jaxce.linear_cross_entropy(*PLAIN.values(), reduction="none")
    got = jaxce.linear_cross_entropy(*arrays.values(), reduction="none")
    np.testing.assert_allclose(got, want, rtol=2e-6)
    assert got.sharding.is_equivalent_to(arrays["labels"].sharding, 2)
    with jax.set_mesh(mesh_of(AxisType.Auto)), pytest.raises(ValueError, match="in_specs: got None"):
        jax.jit(jaxce.linear_cross_entropy)(*arrays.values())


@each_kind
def test_means_of_sequences_and_weights_that_broadcast(kind):
    """Per batch row a mask, per position a weight, over devices that split both."""
    layout, given = LAYOUTS["sequence"], {"where": KEEP[:, :1], "sample_weights": PRIMALS["sample_weights"][:1]}
    given["reduction"] = jaxce.Mean(axis=-1)

    def dense(hidden, kernel, labels):
        return jnp.sum(jaxce.cross_entropy(hidden @ kernel, labels, **given) ** 2)

    def loss(*arguments):
        return jnp.sum(jaxce.linear_cross_entropy(*arguments, **given, **stated(layout, kind)) ** 2)

    want = jax.value_and_grad(dense, (0, 1))(*PLAIN.values())
    with jax.set_mesh(mesh_of(kind)):
        got = jax.jit(jax.value_and_grad(loss, (0, 1)))(*laid_out(PLAIN, layout, kind).values())
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), **CLOSE)


def test_sums_over_devices_are_rounded_to_16_bits_once():
    layout = LAYOUTS["data"]
    arrays = {name: a if name == "labels" else a.astype(jnp.bfloat16) for name, a in PLAIN.items()}

    def gradient(**given):
        return jax.jit(jax.grad(functools.partial(jaxce.linear_cross_entropy, chunk_size=CHUNK, **given), 1))

    want = gradient()(*arrays.values())
    with jax.set_mesh(mesh_of(AxisType.Auto)):
        got = gradient(in_specs=layout[:2])(*laid_out(arrays, layout, AxisType.Auto).values())
    assert got.dtype == jnp.bfloat16
    assert np.mean(jax.device_get(got) == want) > 0.98


@pytest.mark.parametrize(("reduction", "kind"), [("mean", AxisType.Auto), ("none", AxisType.Explicit)])
def test_forward_mode_and_second_derivatives(reduction, kind):
    """The gradient along a direction, and the gradient of that gradient."""
    layout, given = LAYOUTS["fsdp-tensor"], {"z_loss": 0.01, "reduction": reduction}

    def curved(loss):
        def gradient(hidden, kernel, labels):
            point = hidden, kernel
            return jax.jvp(lambda *a: number(loss(*a, labels, **given)), point, jax.tree.map(jnp.cos, point))[1]

        return jax.jit(jax.value_and_grad(gradient, (0, 1)))

    def dense(hidden, kernel, labels, **given):
        return jaxce.cross_entropy(hidden @ kernel, labels, **given)

    want = curved(dense)(*PLAIN.values())
    with jax.set_mesh(mesh_of(kind)):
        loss = functools.partial(jaxce.linear_cross_entropy, **stated(layout, kind))
        got = curved(loss)(*laid_out(PLAIN, layout, kind).values())
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), rtol=2e-4, atol=2e-5)


@each_kind
@pytest.mark.parametrize("mapped", [P("data"), P(None, "data")], ids=["split", "whole"])
def test_mapped_over_a_batch(mapped, kind):
    """Where the batch is split, each example lies on one device along that axis."""
    if mapped[0] and kind == AxisType.Explicit and jax.__version_info__ < (0, 10, 2):
        pytest.skip("JAX maps no shard_map over another axis of an explicit mesh")
    layout = Layout(mapped, P(None, "model"), 4, 2)
    specs = {"in_specs": (P(*mapped[1:]), layout.kernel)} if kind == AxisType.Auto else {}

    def loss(hidden, kernel, labels):
        return jnp.sum(jax.vmap(lambda h, y: jaxce.linear_cross_entropy(h, kernel, y, **specs))(hidden, labels) ** 2)

    def dense(hidden, kernel, labels):
        return jnp.sum(jaxce.cross_entropy(hidden @ kernel, labels, reduction=jaxce.Mean(axis=1)) ** 2)

    want = jax.value_and_grad(dense, (0, 1))(*PLAIN.values())
    with jax.set_mesh(mesh_of(kind)):
        got = jax.jit(jax.value_and_grad(loss, (0, 1)))(*laid_out(PLAIN, layout, kind).values())
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), **CLOSE)


@each_kind
@each_reduction
def test_second_derivatives_with_split_classes(kind, reduction):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))
    specs = P("data"), P(None, "model")
    given = {"in_specs": specs} if kind == AxisType.Auto else {}
    h, w = PRIMALS["hidden"], PRIMALS["kernel"]

    def along(loss, h, w):
        gradient = jax.grad(
            lambda h, w: jnp.sum(loss(h, w) * COTANGENTS if reduction == "none" else loss(h, w)), (0, 1)
        )
        return jax.jvp(gradient, (h, w), (jnp.sin(h), jnp.cos(w)))[1]

    def fused(h, w):
        return jaxce.linear_cross_entropy(h, w, IDS, reduction=reduction, chunk_size=CHUNK, z_loss=0.1, **given)

    def dense(h, w):
        return jaxce.cross_entropy(h @ w, IDS, reduction=reduction, z_loss=0.1)

    with jax.set_mesh(mesh):
        placed = [jax.device_put(a, NamedSharding(mesh, spec)) for a, spec in zip((h, w), specs, strict=True)]
        got = jax.jit(lambda h, w: along(fused, h, w))(*placed)
    chex.assert_trees_all_close(
        jax.device_get(got), jax.jit(lambda h, w: along(dense, h, w))(h, w), rtol=2e-4, atol=2e-5
    )


@each_kind
def test_the_gradient_of_label_smoothing_where_classes_are_split(kind):
    rng = np.random.default_rng(0)
    h, w, y = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((8, 3), (3, 6), (8,)))
    weights, ids = jnp.arange(1.0, 7.0), jnp.clip(jnp.abs(3 * y), 0, 5).astype(int)

    def loss(eps):
        specs = P("data"), P(None, "model")
        return jaxce.linear_cross_entropy(h, w, ids, in_specs=specs, label_smoothing=eps, class_weights=weights)

    want = jax.grad(lambda eps: jaxce.cross_entropy(h @ w, ids, label_smoothing=eps, class_weights=weights))(0.1)
    with jax.set_mesh(mesh_of(kind)):
        got = jax.jit(jax.grad(loss))(0.1)
    np.testing.assert_allclose(got, want, rtol=1e-5)
