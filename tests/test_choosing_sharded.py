"""Reductions that choose or group on eight devices: the result of one device, and nothing but small sums exchanged."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from collectives import work_of
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from test_hardest import CHOICES, kept, terms

import jaxce
from jaxce import Grouped, Hardest, Mean, Total

RNG = np.random.default_rng(0)
N, L, C = 16, 8, 5
X = (2 * RNG.normal(size=(N, L, C))).astype(np.float32)
Y = RNG.integers(0, C, (N, L))
MASK = (RNG.random((N, L)) < 0.7) & (np.arange(N) != 3)[:, None]
SETS = {None: ("data", "model"), 0: ("data",), 1: ("model",)}

CRITERIA = {name: choice for name, choice in CHOICES.items() if "positives" not in choice}
CRITERIA |= {"ratio": {"ratio": 3}, "ratio of at least 2": {"ratio": 0.5, "min_kept": 2}}
each_choice = pytest.mark.parametrize("choice", CRITERIA.values(), ids=CRITERIA)
each_kind = pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])


def mesh_of(kind):
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))


SPLIT = P("data", "model")


def split(mesh, spec=SPLIT):
    return [jax.device_put(a, NamedSharding(mesh, spec)) for a in (X, Y, MASK)]


def with_positives(choice, y):
    return choice | ({"positives": y == 4} if "ratio" in choice else {})


def collectives(compiled):
    return set(re.findall(r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)", compiled.as_text()))


@each_choice
@pytest.mark.parametrize(("kind", "axis"), [*((AxisType.Auto, axis) for axis in SETS), (AxisType.Explicit, None)])
def test_the_choice_is_global_inside_shard_map(kind, axis, choice):
    """Numbers and gradients are those of one device."""
    names = SETS[axis]

    def local(x, y, mask):
        reduction = Hardest(**with_positives(choice, y), axis=axis, axis_name=names)
        loss = jaxce.cross_entropy(x, y, where=mask, reduction=reduction)
        return jax.lax.psum(loss, tuple({"data", "model"} - {*names})) if len(names) == 1 else loss

    def whole(x):
        if axis is None:
            return jaxce.cross_entropy(x, Y, where=MASK, reduction=Hardest(**with_positives(choice, Y)))
        cut = np.split(np.arange(L), 2) if axis == 0 else np.split(np.arange(N), 4)
        parts = [(x[:, c], Y[:, c], MASK[:, c]) if axis == 0 else (x[c], Y[c], MASK[c]) for c in cut]
        return sum(
            jaxce.cross_entropy(x, y, where=m, reduction=Hardest(**with_positives(choice, y), axis=axis))
            for x, y, m in parts
        )

    mesh = mesh_of(kind)
    mapped = jax.shard_map(local, mesh=mesh, in_specs=(P("data", "model"),) * 3, out_specs=P())
    got = jax.jit(jax.value_and_grad(mapped))(*split(mesh))
    chex.assert_trees_all_close(jax.device_get(got), jax.jit(jax.value_and_grad(whole))(X), rtol=1e-5, atol=1e-7)


@each_choice
def test_a_total_of_each_device_adds_by_psum(choice):
    def local(x, y, mask):
        reduction = Hardest(**with_positives(choice, y), axis_name=("data", "model"), reduction="total")
        total = jaxce.cross_entropy(x, y, where=mask, reduction=reduction)
        return total.psum(("data", "model"))

    total = jax.shard_map(local, mesh=mesh_of(AxisType.Auto), in_specs=(P("data", "model"),) * 3, out_specs=P())(
        X, Y, MASK
    )
    values, weights = terms(jaxce.cross_entropy, X, Y, where=MASK)
    s = kept(values, weights, **with_positives(choice, Y))
    np.testing.assert_allclose((total.loss, total.weight), ((s * values).sum(), (s * weights).sum()), rtol=1e-6)


def test_only_counts_travel():
    """Whatever the size of the shards; without ``axis_name`` nothing does."""

    def work(size, axis_name):
        def local(v):
            total = jaxce.reduce(v, reduction=Hardest(fraction=0.1, axis_name=axis_name, reduction="total"))
            return total.psum("data").mean()

        mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
        mapped = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P()))
        compiled = mapped.lower(jax.ShapeDtypeStruct((size,), jnp.float32)).compile()
        assert collectives(compiled) == {"all-reduce"}
        return work_of(compiled)

    small, large = work(800, "data"), work(80000, "data")
    assert small == large
    assert small.wires <= 4 * (32 + 6)
    assert small.wire_in_a_loop == 4
    assert work(800, None).wires == 8


@each_choice
@pytest.mark.parametrize(
    ("kind", "spec"),
    [*((AxisType.Auto, spec) for spec in (P("data"), P(None, "model"), SPLIT)), (AxisType.Explicit, SPLIT)],
)
def test_sharded_arrays_under_plain_jit(kind, spec, choice):
    def function(x, y, mask):
        one = Hardest(**with_positives(choice, y))
        rows = Hardest(**with_positives(choice, y), axis=-1, reduction=Mean(axis=-1))
        loss = jaxce.cross_entropy(x, y, where=mask, reduction=one)
        return loss + jnp.sum(jaxce.cross_entropy(x, y, where=mask, reduction=rows))

    want = jax.jit(jax.value_and_grad(function))(X, Y, MASK)
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        given = split(mesh, spec)
        compiled = jax.jit(jax.value_and_grad(function)).lower(*given).compile()
        got = compiled(*given)
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), rtol=1e-5, atol=1e-6)
    assert collectives(compiled) == {"all-reduce"}


@pytest.mark.parametrize("spec", [P("data"), P(None, "model"), P("data", "model")], ids=str)
@each_kind
def test_groups_under_plain_jit(kind, spec):
    def function(x, y, mask):
        total = jaxce.cross_entropy(x, y, where=mask, reduction=Grouped(y % 3, 3))
        return jnp.sum(total.mean() ** 2), total

    want = jax.value_and_grad(function, has_aux=True)(X, Y, MASK)
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        given = split(mesh, spec)
        compiled = jax.jit(jax.value_and_grad(function, has_aux=True)).lower(*given).compile()
        got = compiled(*given)
    chex.assert_trees_all_close(jax.device_get(got), jax.device_get(want), rtol=1e-5, atol=1e-6)
    assert collectives(compiled) == {"all-reduce"}


@each_kind
def test_groups_inside_shard_map(kind):
    def local(x, y, mask):
        at_once = jaxce.cross_entropy(x, y, where=mask, reduction=Grouped(y % 3, 3, axis_name=("data", "model")))
        later = jaxce.cross_entropy(x, y, where=mask, reduction=Grouped(y % 3, 3)).psum(("data", "model"))
        hard = Hardest(k=9, axis_name=("data", "model"), reduction=Grouped(y % 3, 3, ("data", "model")))
        return at_once, later, jaxce.cross_entropy(x, y, where=mask, reduction=hard)

    mesh = mesh_of(kind)
    mapped = jax.shard_map(local, mesh=mesh, in_specs=(P("data", "model"),) * 3, out_specs=P())
    at_once, later, hard = jax.device_get(jax.jit(mapped)(*split(mesh)))
    want = jaxce.cross_entropy(X, Y, where=MASK, reduction=Grouped(Y % 3, 3))
    chex.assert_trees_all_close((at_once, later), (want, want), rtol=1e-6)
    kept_alone = jaxce.cross_entropy(X, Y, where=MASK, reduction=Hardest(k=9, reduction=Grouped(Y % 3, 3)))
    chex.assert_trees_all_close(hard, kept_alone, rtol=1e-6)


def test_microbatches_on_devices():
    """`axis_name` makes the choice of each microbatch global; the totals of devices and microbatches then add."""
    y = Y.astype(np.int32)

    def loss_fn(w, x, y, mask):
        reduction = Hardest(fraction=0.3, axis_name="data", reduction="total")
        return jaxce.cross_entropy(x * w, y, where=mask, reduction=reduction)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    local = jaxce.value_and_grad(loss_fn, microbatches=2, axis_name="data")
    mapped = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(P(), P("data"), P("data"), P("data")), out_specs=P()))
    got = mapped(jnp.ones(()), X, y, MASK)

    def whole(w):
        parts = [slice(i, None, 2) for i in range(2)]  # rows 0, 2, ... of each device's two are those of all
        each = [
            jaxce.cross_entropy(X[i] * w, y[i], where=MASK[i], reduction=Hardest(fraction=0.3, reduction="total"))
            for i in parts
        ]
        return sum(each, Total.zero()).mean()

    chex.assert_trees_all_close(got, jax.value_and_grad(whole)(jnp.ones(())), rtol=1e-5)
