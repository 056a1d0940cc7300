"""Kernels that the mesh axes of the tokens split: gathered once, and their gradients reduced and scattered once."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxce

N, D, V = 64, 32, 128
RNG = np.random.default_rng(3)
H, W = RNG.normal(size=(N, D)).astype(np.float32), RNG.normal(size=(D, V)).astype(np.float32)
IDS = RNG.integers(0, V, N)

LAYOUTS = {
    "features": ((8,), P("data"), P("data"), "dv", 1),
    "classes": ((8,), P("data"), P(None, "data"), "dv", 1),
    "tied": ((8,), P("data"), P("data"), "vd", 1),
    "two axes": ((4, 2), P(("data", "model")), P(("data", "model")), "dv", 1),
    "both": ((4, 2), P(("data", "model")), P("model", "data"), "dv", 2),
    "tensor": ((4, 2), P("data"), P("data", "model"), "dv", 1),
}
"""Mesh, specs of hidden states and kernel, layout, and the dimensions along which the kernel is gathered."""


def moves(compiled):
    """The kind and the elements of each array larger than one number per token that moves between devices."""
    found = re.findall(r"= \w+\[([\d,]*)\]\S* (all-reduce|all-gather|reduce-scatter|all-to-all)\(", compiled.as_text())
    sizes = [(kind, int(np.prod([int(n) for n in dims.split(",") if n]))) for dims, kind in found]
    return sorted((kind, size) for kind, size in sizes if size > N)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_split_kernel_moves_twice(layout, reduction, kind):
    """An all-reduce of the whole gradient, of which each device keeps a part, would move twice as much."""
    shape, of_hidden, of_kernel, kernel_layout, count = layout
    mesh = jax.make_mesh(shape, ("data", "model")[: len(shape)], axis_types=(kind,) * len(shape))
    given = {"in_specs": (of_hidden, of_kernel)} if kind == AxisType.Auto else {}
    w = W if kernel_layout == "dv" else W.T

    def loss(h, w, ids):
        options = {"kernel_layout": kernel_layout, "chunk_size": 4, "reduction": reduction}
        return jaxce.linear_cross_entropy(h, w, ids, **options, **given).mean()

    specs = of_hidden, of_kernel, P(*of_hidden)
    places = [NamedSharding(mesh, spec) for spec in specs]
    with jax.set_mesh(mesh):
        arrays = [jax.device_put(a, place) for a, place in zip((H, w, IDS), places, strict=True)]
        step = jax.jit(jax.value_and_grad(loss, (0, 1)), out_shardings=(NamedSharding(mesh, P()), tuple(places[:2])))
        compiled = step.lower(*arrays).compile()
        value, gradients = compiled(*arrays)
    of_hidden_gradient = "all-reduce", N // shape[0] * D  # where the classes are split
    moved = [move for move in moves(compiled) if move != of_hidden_gradient]
    assert [kind for kind, _ in moved] == ["all-gather"] * count + ["reduce-scatter"] * count
    assert ("reduce-scatter", D * V // 8) in moved
    expected = jax.value_and_grad(lambda h, w: jaxce.cross_entropy(h @ w, IDS), (0, 1))(jnp.asarray(H), jnp.asarray(W))
    of_w = expected[1][1] if kernel_layout == "dv" else expected[1][1].T
    np.testing.assert_allclose(value, expected[0], rtol=2e-6)
    for got, wanted in zip(gradients, (expected[1][0], of_w), strict=True):
        np.testing.assert_allclose(jax.device_get(got), wanted, rtol=2e-5, atol=2e-6)
