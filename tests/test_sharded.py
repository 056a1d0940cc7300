"""Eight devices in one process: the result of one device, and no array of the size of the logits on the wires."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import cast
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from law import law

import jaxce

N, C = 16, 8
RNG = np.random.default_rng(0)
X = (3 * RNG.normal(size=(N, C))).astype(np.float32)
IDS = RNG.integers(0, C, N)
PROBS = RNG.dirichlet(np.ones(C), N).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2, C).astype(np.float32)
KEEP = np.arange(N) % 5 != 0

OPTIONS = {
    "plain": {},
    "weights": {"class_weights": WEIGHTS},
    "everything": {"class_weights": WEIGHTS, "label_smoothing": 0.1, "z_loss": 0.01, "where": KEEP},
}
MAPS_OVER_EXPLICIT_AXES = jax.__version_info__ >= (0, 10, 2)
"""Before, JAX has no rule for a select whose condition alone is mapped over an axis that an explicit mesh splits, and
no gradient of a `shard_map` over the other axes of such a mesh."""

each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
each_kind = pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
each_label = pytest.mark.parametrize("labels", [IDS, PROBS], ids=["ids", "probs"])


def mesh_of(kind):
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))


@each_option
@each_label
@pytest.mark.parametrize("spec", [P("data", None), P(None, "model"), P("data", "model")], ids=str)
@each_kind
def test_sharded_arrays_under_plain_jit(kind, spec, labels, options):
    function = jax.value_and_grad(lambda x, y: jaxce.cross_entropy(x, y, **options))
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, spec))
        y = jax.device_put(labels, NamedSharding(mesh, spec if labels.ndim == 2 else P(spec[0])))
        compiled = jax.jit(function).lower(x, y).compile()
        got = compiled(x, y)
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(function(X, labels)), rtol=2e-5, atol=1e-6)
    assert got[1].sharding.spec == spec
    assert largest_collective(compiled) <= N


@each_kind
def test_wide_rows_stay_where_they_are(kind):
    """What goes over the wires is of the size of the ids, or of the class weights, not of the logits."""
    wide = RNG.normal(size=(N, 64 * C)).astype(np.float32)
    weights = np.tile(WEIGHTS, 64)
    ids = RNG.integers(0, 64 * C, N)
    function = jax.value_and_grad(
        lambda x, w, y: jaxce.cross_entropy(x, y, class_weights=w, label_smoothing=0.1), (0, 1)
    )
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        specs = P("data", "model"), P("model"), P("data")
        given = [jax.device_put(a, NamedSharding(mesh, p)) for a, p in zip((wide, weights, ids), specs, strict=True)]
        compiled = jax.jit(function).lower(*given).compile()
        got = compiled(*given)
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(function(wide, weights, ids)), rtol=2e-5, atol=1e-6)
    assert largest_collective(compiled) <= 64 * C


def largest_collective(compiled):
    """Elements in the largest result of a collective of a compiled program."""
    pattern = r"= \(?\w+\[([\d,]*)\][^=]*? (?:all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)\("
    shapes = re.findall(pattern, compiled.as_text())
    return max((int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes), default=0)


def test_the_collectives_are_seen():
    """The pattern above finds a gather of the logits where there is one."""
    mesh = mesh_of(AxisType.Auto)
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, P("data", None)))
        gathered = jax.jit(lambda x: x * 2, out_shardings=NamedSharding(mesh, P()))
        assert largest_collective(gathered.lower(x).compile()) == N * C


@each_option
@each_label
@pytest.mark.parametrize("check_vma", [True, False])
def test_classes_split_inside_shard_map(labels, options, check_vma):
    names = [name for name in ("class_weights", "where") if name in options]
    specs = {"class_weights": P("model"), "where": P("data")}
    rest = {k: v for k, v in options.items() if k not in names}

    def local(x, y, *arrays):
        given = dict(zip(names, arrays, strict=True))
        return jaxce.cross_entropy(
            x, y, class_axis_name="model", reduction=jaxce.Mean(axis_name="data"), **given, **rest
        )

    def sharded(x, *arrays):
        in_specs = (
            P("data", "model"),
            P("data", "model") if labels.ndim == 2 else P("data"),
            *(specs[n] for n in names),
        )
        mapped = jax.shard_map(
            local, mesh=mesh_of(AxisType.Auto), in_specs=in_specs, out_specs=P(), check_vma=check_vma
        )
        return mapped(x, labels, *arrays)

    def whole(x, *arrays):
        return jaxce.cross_entropy(x, labels, **dict(zip(names, arrays, strict=True)), **rest)

    primals = (0, 1) if "class_weights" in names else (0,)
    arguments = (X, *(options[n] for n in names))
    got = jax.jit(jax.value_and_grad(sharded, primals))(*arguments)
    chex.assert_trees_all_close(got, jax.value_and_grad(whole, primals)(*arguments), rtol=2e-5, atol=1e-6)
    forward = jax.jit(jax.jacfwd(sharded))(*arguments)
    chex.assert_trees_all_close(forward, got[1][0], rtol=2e-5, atol=1e-6)


@pytest.mark.differs_by_version
@each_kind
@pytest.mark.parametrize("check_vma", [True, False])
def test_a_shard_map_over_the_classes_alone(check_vma, kind):
    """The batch is split over the axis that it leaves to the compiler, or to the types."""

    def local(x, y, w, keep):
        options = {"label_smoothing": 0.1, "z_loss": 0.01, "class_weights": w, "where": keep}
        return jaxce.cross_entropy(x, y, class_axis_name="model", **options)

    mesh, in_specs = mesh_of(kind), (P(None, "model"), P(), P("model"), P())
    specs = P("data", "model"), P("data"), P("model"), P("data")
    with jax.set_mesh(mesh):
        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=in_specs, out_specs=P(), axis_names={"model"}, check_vma=check_vma
        )
        arrays = [
            jax.device_put(a, NamedSharding(mesh, p)) for a, p in zip((X, IDS, WEIGHTS, KEEP), specs, strict=True)
        ]
        value, gradient = jax.value_and_grad(lambda x: jaxce.cross_entropy(x, IDS, **OPTIONS["everything"]))(X)
        np.testing.assert_allclose(jax.jit(mapped)(*arrays), value, rtol=2e-6)
        if kind == AxisType.Auto or MAPS_OVER_EXPLICIT_AXES:
            np.testing.assert_allclose(jax.jit(jax.grad(mapped))(*arrays), gradient, rtol=2e-5, atol=1e-6)


def test_the_gradient_inside_shard_map():
    def local(x, y):
        return jax.grad(
            lambda x: jaxce.cross_entropy(x, y, class_axis_name="model", reduction=jaxce.Mean(axis_name="data"))
        )(x)

    spec = P("data", "model")
    got = jax.jit(jax.shard_map(local, mesh=mesh_of(AxisType.Auto), in_specs=(spec, P("data")), out_specs=spec))(X, IDS)
    np.testing.assert_allclose(got, jax.grad(jaxce.cross_entropy)(X, IDS), rtol=2e-5, atol=1e-6)


def test_padded_classes_and_an_id_on_each_shard():
    """Seven classes over two shards: the eighth is padding with logit -inf, and its id is outside."""
    padded = X.copy()
    padded[:, 7] = -np.inf
    ids = np.arange(N) % 7

    def local(x, y):
        return jaxce.cross_entropy(x, y, class_axis_name="model", reduction="none")

    mapped = jax.jit(
        jax.shard_map(local, mesh=mesh_of(AxisType.Auto), in_specs=(P("data", "model"), P("data")), out_specs=P("data"))
    )
    want = jaxce.cross_entropy(X[:, :7], ids, reduction="none")
    np.testing.assert_allclose(mapped(padded, ids), want, rtol=2e-6)
    bad = mapped(X, np.where(ids == 3, 8, ids))
    np.testing.assert_array_equal(np.isnan(bad), ids == 3)


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "sigmoid_binary_cross_entropy", "binary_cross_entropy"])
def test_a_mean_over_shards_with_unequal_padding(loss):
    """The mean of the shards' means is another number; numerator and divisor travel together."""
    call = getattr(jaxce, loss)
    x = jax.nn.sigmoid(X) if loss == "binary_cross_entropy" else X
    labels = PROBS if "binary" in loss else IDS
    keep = np.arange(N) < 9
    keep = np.broadcast_to(keep[:, None], (N, C)) if "binary" in loss else keep

    def over_shards(reduction, finish):
        def local(x, y, keep):
            return finish(call(x, y, where=keep, reduction=reduction))

        spec = P(("data", "model"))
        return jax.jit(jax.shard_map(local, mesh=mesh_of(AxisType.Auto), in_specs=(spec, spec, spec), out_specs=P()))

    want = call(x, labels, where=keep)
    axes = ("data", "model")
    whole = over_shards(jaxce.Mean(axis_name=axes), lambda v: v)
    total = over_shards("total", lambda t: t.psum(axes).mean())
    wrong = over_shards("mean", lambda v: jax.lax.pmean(v, axes))
    np.testing.assert_allclose(whole(x, labels, keep), want, rtol=2e-6)
    np.testing.assert_allclose(total(x, labels, keep), want, rtol=2e-6)
    assert abs(wrong(x, labels, keep) - want) > 0.05
    gradients = jax.grad(lambda x: whole(x, labels, keep))(jnp.asarray(x))
    np.testing.assert_allclose(gradients, jax.grad(lambda x: call(x, labels, where=keep))(x), rtol=2e-5, atol=1e-6)


@pytest.mark.differs_by_version
@each_kind
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "sigmoid_binary_cross_entropy"])
@each_label
def test_every_loss_of_a_sharded_batch(loss, labels, kind):
    """Inside `shard_map`, under plain jit, and mapped over the sharded axis: value and gradient."""
    if loss.startswith("sigmoid") and labels.ndim == 1:
        labels = np.eye(C, dtype=int)[labels]
    call = getattr(jaxce, loss)
    want = jax.value_and_grad(call)(jnp.asarray(X), labels)
    mesh, spec = mesh_of(kind), P("data")
    mapped = jax.shard_map(
        lambda x, y: call(x, y, reduction=jaxce.Mean(axis_name="data")), mesh=mesh, in_specs=(spec, spec), out_specs=P()
    )
    with jax.set_mesh(mesh):
        x, y = (jax.device_put(array, NamedSharding(mesh, spec)) for array in (X, labels))
        spellings = [mapped, call]
        if kind == AxisType.Auto or MAPS_OVER_EXPLICIT_AXES:
            spellings.append(lambda x, y: jax.vmap(call)(x, y).mean())
        for function in spellings:
            got = jax.jit(jax.value_and_grad(function))(x, y)
            chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), rtol=2e-5, atol=1e-6)


@law(options="all", where=lambda case: case.any_axis)
def test_every_loss_of_a_sharded_batch_with_all_options(setting):
    inputs = setting.draw(shape=(8, 3, 4))
    given = cast(inputs.x), jnp.asarray(cast(inputs.labels))
    loss = jax.value_and_grad(lambda x, y: inputs.call(x=x, labels=y))
    want = jax.jit(loss)(*given)
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = mesh_of(kind)
        with jax.set_mesh(mesh):
            got = jax.jit(loss)(*(jax.device_put(a, NamedSharding(mesh, P("data"))) for a in given))
        chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), rtol=2e-5, atol=2e-6)


def region_losses(x, y, batch_axis):
    options, binary = {"batch_axis": batch_axis}, jnp.stack([y, 1 - y], -1)
    return (
        jaxce.dice_loss(x, y, **options)
        + 2 * jaxce.lovasz_softmax(x, y, **options)
        + 3 * jaxce.lovasz_hinge(x, binary, axis=-1, **options)
        + 4 * jaxce.multilabel_margin_loss(x, binary)
    )


@functools.cache
def image_and_losses(batch_axis):
    """Logits, ids, and the sum of the losses with its gradient, on one device."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 4, 8, 2)).astype(np.float32), rng.integers(0, 2, (4, 4, 8))
    return x, y, jax.jit(jax.value_and_grad(region_losses), static_argnums=2)(x, y, batch_axis)


@each_kind
@pytest.mark.parametrize("batch_axis", [0, None])
@pytest.mark.parametrize("spec", [P("data"), P(None, "data"), P(None, None, "data", "model")], ids=str)
def test_regions_of_split_images(spec, batch_axis, kind):
    """Pixels on several devices: sums cross them, and what must be sorted is brought together."""
    x, y, want = image_and_losses(batch_axis)
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        split = (jax.device_put(a, NamedSharding(mesh, P(*spec[: a.ndim]))) for a in (x, y))
        got = jax.jit(jax.value_and_grad(region_losses), static_argnums=2)(*split, batch_axis)
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(not MAPS_OVER_EXPLICIT_AXES, reason="JAX itself maps no select over an explicitly sharded axis")
def test_class_weights_under_vmap_on_an_explicit_mesh():
    mesh = mesh_of(AxisType.Explicit)

    def loss(x, y):
        return jax.vmap(lambda x, y: jaxce.cross_entropy(x, y, class_weights=WEIGHTS, reduction="none"))(x, y)

    with jax.set_mesh(mesh):
        x, y = (jax.device_put(array, NamedSharding(mesh, P("data"))) for array in (X, IDS))
        np.testing.assert_allclose(jax.device_get(loss(x, y)), jax.device_get(loss(X, IDS)), rtol=2e-6)


def test_counting_sharded_labels():
    mesh = mesh_of(AxisType.Explicit)
    want = jaxce.balanced_class_weights(IDS, C)
    with jax.set_mesh(mesh):
        labels = jax.device_put(IDS, NamedSharding(mesh, P("data")))
        np.testing.assert_allclose(jaxce.balanced_class_weights(labels, C), want)
        np.testing.assert_allclose(jax.jit(lambda y: jaxce.balanced_class_weights(y, C))(labels), want)


def test_blocks_stay_out_of_shard_map(one_cpu):
    """On a mesh of one device, where arrays may vary that the loop does not know of."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    x = RNG.normal(size=(50 + one_cpu, C)).astype(np.float32)
    probs = RNG.dirichlet(np.ones(C), 50 + one_cpu).astype(np.float32)
    mapped = jax.shard_map(
        lambda p: jaxce.cross_entropy(x, p, reduction=jaxce.Mean(axis_name="data")),
        mesh=mesh,
        in_specs=P("data"),
        out_specs=P(),
    )
    np.testing.assert_allclose(jax.jit(mapped)(probs), jaxce.cross_entropy(x, probs), rtol=2e-6)


@pytest.mark.parametrize("name", ["model", ("data", "model")], ids=str)
def test_a_class_axis_that_is_no_mesh_axis(name):
    with pytest.raises(ValueError, match=r"class_axis_name: got .* expected a mesh axis"):
        jaxce.cross_entropy(X, IDS, class_axis_name=name)
