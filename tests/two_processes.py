"""One of two processes that share a loss over the loopback address: `python two_processes.py PORT RANK`."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxce

port, rank = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(f"localhost:{port}", 2, int(rank))
assert jax.device_count() == 4
assert jax.local_device_count() == 2

rng = np.random.default_rng(0)
x, ids = rng.normal(size=(8, 6)).astype(np.float32), rng.integers(0, 6, 8)
keep = np.arange(8) < 5
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def shard(array, spec):
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])


arrays = shard(x, P("data", "model")), shard(ids, P("data")), shard(keep, P("data"))


def local(x, y, keep):
    options = {"where": keep, "label_smoothing": 0.1, "class_axis_name": "model"}
    return jaxce.cross_entropy(x, y, **options, reduction=jaxce.Mean(axis_name="data"))


specs = P("data", "model"), P("data"), P("data")
mapped = jax.jit(jax.value_and_grad(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P())))
plain = jax.jit(jax.value_and_grad(lambda x, y, keep: jaxce.cross_entropy(x, y, where=keep, label_smoothing=0.1)))
want = jax.value_and_grad(lambda x: jaxce.cross_entropy(x, jnp.asarray(ids), where=keep, label_smoothing=0.1))(x)
for function in (mapped, plain):
    value, gradient = function(*arrays)
    np.testing.assert_allclose(np.asarray(value), want[0], rtol=2e-6)
    for piece in gradient.addressable_shards:
        np.testing.assert_allclose(np.asarray(piece.data), want[1][piece.index], rtol=2e-5, atol=1e-6)

hidden, kernel = x, rng.normal(size=(6, 10)).astype(np.float32)
specs = P("data"), P(None, "model")


def linear(hidden, kernel, y, keep, **given):
    return jaxce.linear_cross_entropy(hidden, kernel, y, where=keep, label_smoothing=0.1, chunk_size=2, **given)


want = jax.value_and_grad(linear, (0, 1))(hidden, kernel, jnp.asarray(ids), keep)
for names in (("data", "model"), ("model", "data")):  # the first of them lies across the processes
    mesh = jax.make_mesh((2, 2), names, axis_types=(AxisType.Auto,) * 2)
    arrays = [shard(*pair) for pair in ((hidden, specs[0]), (kernel, specs[1]), (ids, specs[0]), (keep, specs[0]))]
    with jax.set_mesh(mesh):
        value, gradients = jax.jit(jax.value_and_grad(partial(linear, in_specs=specs), (0, 1)))(*arrays)
    np.testing.assert_allclose(np.asarray(value), want[0], rtol=2e-6)
    for gradient, whole in zip(gradients, want[1], strict=True):
        for piece in gradient.addressable_shards:
            np.testing.assert_allclose(np.asarray(piece.data), whole[piece.index], rtol=2e-5, atol=1e-6)
print("agreed")
