"""`jaxce.debug`: compiled programs raise the eager message, and name the place."""

import contextlib
import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce
from jaxce._debug import named_index

CE = jaxce.cross_entropy
X = np.random.default_rng(0).normal(size=(16, 10)).astype(np.float32)
Y = np.arange(16, dtype=np.int32) % 10
BAD = np.where(np.arange(16) == 7, 10, np.where(np.arange(16) == 9, -1, Y)).astype(np.int32)
PROBS = np.asarray(jax.nn.softmax(X))
TWO = r"labels: 2 of 16 ids are outside \[0, 10\); first: id 10 at position \(7,\)\. Ids start at 0"


def in_parts(*arrays):
    return [a.reshape(4, 4, *a.shape[1:]) for a in arrays]


def scan(x, y):
    """The losses of four microbatches, with the index of each."""

    def body(total, part):
        index, *arrays = part
        with named_index("microbatch", index):
            return total + CE(*arrays), None

    return jax.lax.scan(body, jnp.float32(0), (jnp.arange(len(x)), x, y))[0]


def microbatches(x, y):
    step = jaxce.value_and_grad(lambda x, y: CE(x, y, reduction="total"), microbatches=4, argnums=())
    return step(x, y)


def over_shards(x, y):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    mean = functools.partial(CE, reduction=jaxce.Mean(axis_name="data"))
    return jax.shard_map(mean, mesh=mesh, in_specs=(P("data"), P("data")), out_specs=P())(x, y)


def on_an_explicit_mesh(x, y):
    with jax.set_mesh(jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)):
        return jax.jit(jax.grad(CE))(jax.device_put(x, P("data", "model")), jax.device_put(y, P("data")))


def linear(x, y):
    return jaxce.linear_cross_entropy(x, jnp.eye(10), y, chunk_size=3)


def linear_on_a_mesh(x, y):
    with jax.set_mesh(jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)):
        kernel = jax.device_put(np.eye(10, dtype=np.float32), P(None, "model"))
        return jax.jit(jax.grad(jaxce.linear_cross_entropy))(
            jax.device_put(x, P("data")), kernel, jax.device_put(y, P("data"))
        )


@nnx.jit
def nnx_step(model, x, y):
    return nnx.value_and_grad(lambda model: CE(model(x), y))(model)


def with_nnx(x, y):
    return nnx_step(nnx.Linear(10, 10, rngs=nnx.Rngs(0)), x, y)


PLACES = {
    "jit": (jax.jit(CE), TWO),
    "gradient": (jax.jit(jax.grad(CE)), TWO),
    "gradient without jit": (jax.grad(CE), TWO),
    "checkpoint": (jax.jit(jax.grad(jax.checkpoint(CE))), TWO),
    "hessian": (jax.jit(jax.hessian(CE)), TWO),
    "linear": (jax.jit(jax.grad(linear)), TWO),
    "nnx.jit": (with_nnx, TWO),
    "explicit mesh": (on_an_explicit_mesh, TWO),
    "linear on an explicit mesh": (linear_on_a_mesh, TWO),
    "vmap": (
        lambda *a: jax.jit(jax.vmap(CE))(*in_parts(*a)),
        r"2 of 16 .* id 10 at position \(3,\), vmap index \(1,\)\.",
    ),
    "vmap of a gradient": (
        lambda *a: jax.vmap(jax.grad(CE))(*in_parts(*a)),
        r"at position \(3,\), vmap index \(1,\)\.",
    ),
    "scan": (lambda *a: jax.jit(scan)(*in_parts(*a)), r"1 of 4 .* id 10 at position \(3,\), microbatch 1\."),
    "gradient of a scan": (
        lambda *a: jax.jit(jax.grad(scan))(*in_parts(*a)),
        r"1 of 4 .* id 10 at position \(3,\), microbatch 1\.",
    ),
    "microbatches": (
        jax.jit(microbatches),
        r"1 of 4 .* id (10 at position \(1,\), microbatch 3|-1 at position \(2,\), microbatch 1)\.",
    ),
    "shards": (jax.jit(over_shards), r"id (10 at position \(1,\), shard data=3|-1 at position \(1,\), shard data=4)\."),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_compiled_program_raises_and_names_the_place(place):
    step, message = PLACES[place]
    with jaxce.debug():
        jax.block_until_ready(step(X, Y))
    with pytest.raises(ValueError, match=message), jaxce.debug():
        step(X, BAD)
    if "without" not in place:
        assert np.isnan(np.concatenate([np.ravel(a) for a in jax.tree.leaves(step(X, BAD))])).any()


def planted(array, value, *position):
    changed = array.copy()
    changed[position] = value
    return changed


ONLY_IN_DEBUG = {
    "NaN": (
        (planted(X, np.nan, 5, 2), Y),
        r"logits: 1 of 16 rows is not finite; first: maximum nan at position \(5,\)",
    ),
    "infinity": (
        (planted(X, np.inf, 5, 2), Y),
        r"logits: 1 of 16 rows is not finite; first: maximum inf at position \(5,\)",
    ),
    "a row of -inf": ((planted(X, -np.inf, 5), Y), r"first: maximum -inf at position \(5,\)"),
    "probabilities as logits": (
        (PROBS, Y),
        r"logits: 16 of 16 rows are probabilities already; .*use nll_loss\(jnp.log",
    ),
    "rows that do not sum to 1": (
        (X, planted(PROBS, 0.9, 3, 4)),
        r"labels: 1 of 16 row sums is not 1; first: row sum 1\.\d+ at",
    ),
    "rows of zeros": ((X, 0 * PROBS), r"labels: 16 of 16 row sums are not 1; .*Mask rows without a label with where="),
}


@pytest.mark.parametrize("mistake", ONLY_IN_DEBUG)
def test_debug_finds_what_would_cost_a_pass(mistake):
    arguments, message = ONLY_IN_DEBUG[mistake]
    for step in (jax.jit(CE), jax.jit(jax.grad(CE))):
        with pytest.raises(ValueError, match=message), jaxce.debug():
            step(*arguments)


def test_log_probabilities_must_be_normalized():
    log_probs = np.log(PROBS)
    with jaxce.debug():
        jax.jit(jaxce.nll_loss)(log_probs, Y)
        jax.jit(jaxce.nll_loss)(planted(log_probs, np.nan, 3), Y, where=np.arange(16) != 3)
    with (
        pytest.raises(ValueError, match=r"log_probs: 1 of 16 .* first: sum of exp\(log_probs\) .* Logits go to"),
        jaxce.debug(),
    ):
        jax.jit(jaxce.nll_loss)(planted(log_probs, 1, 3, 4), Y)


def test_a_hidden_state_that_is_nan_is_named():
    with (
        pytest.raises(ValueError, match=r"hidden: 1 of 16 rows is not finite; first: maximum nan at position \(5,\)"),
        jaxce.debug(),
    ):
        jax.jit(linear)(planted(X, np.nan, 5, 2), Y)


def test_masked_values_are_no_mistakes():
    mask = BAD == Y
    with jaxce.debug():
        jax.jit(functools.partial(CE, where=mask))(planted(X, np.nan, 7), BAD * mask)
        jax.jit(functools.partial(CE, where=mask))(X, planted(PROBS, np.nan, 7))
        jax.jit(functools.partial(CE, ignore_index=-1))(X, np.where(BAD == 10, -1, BAD))
        jax.jit(CE)(planted(X, -np.inf, 5, 2), Y)  # a class that is excluded


def test_values_that_are_valid_pass():
    """Logits of one class, of zeros, or in [0, 1] by chance, and an empty batch."""
    with jaxce.debug():
        for x in (X[:, :1], 0 * X, np.abs(np.tanh(X)), X[:0]):
            jax.jit(CE)(x, Y[: len(x)] * (x.shape[1] > 1))
        jax.jit(jaxce.sigmoid_binary_cross_entropy)(np.float32(0.5), np.float32(0.5))


def test_off_it_leaves_no_trace():
    texts = []
    for context in (
        contextlib.nullcontext,
        jaxce.debug,
        functools.partial(jaxce.debug, enabled=False),
        contextlib.nullcontext,
    ):
        with context():
            texts.append(jax.jit(jax.value_and_grad(CE)).lower(X, Y).compile().as_text())
    before, inside, *after = texts
    assert after == [before, before]
    assert "callback" in inside
    assert "callback" not in before


def test_contexts_nest():
    def twice(step):
        step(X, BAD)
        with jaxce.debug(enabled=False):
            assert np.isnan(step(X, BAD))

    with pytest.raises(ValueError, match=TWO), jaxce.debug():
        twice(jax.jit(CE))
    with jaxce.debug():
        jax.jit(CE)(X, Y)


def test_another_error_passes_through():
    def fail(x):
        raise RuntimeError("of the user")

    with pytest.raises(jax.errors.JaxRuntimeError, match="of the user"), jaxce.debug():
        jax.block_until_ready(jax.jit(lambda x: jax.pure_callback(fail, x, x))(X))


def test_the_environment_turns_it_on():
    """With one device the program itself fails, in the iteration that met the value."""
    lines = ["import jax, numpy as np, jaxce", "step = jax.jit(jaxce.cross_entropy)"]
    lines += ["for y in (0, 1, 5): print(step(np.zeros((2, 3), np.float32), np.array([0, y])), flush=True)"]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
        "JAXCE_DEBUG": "1",
        "JAX_PLATFORMS": "cpu",
    }
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=False
    )
    assert run.stdout.split() == ["1.0986123"] * 2
    assert "JaxRuntimeError" in run.stderr
    assert "labels: 1 of 2 ids is outside [0, 3); first: id 5 at position (1,)." in run.stderr
