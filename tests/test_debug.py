"""`jaxce.debug`: compiled programs raise the eager message, and name the place."""

import concurrent.futures
import contextlib
import functools
import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxce
from jaxce._debug import named_index
from jaxce.torch import functional

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
        r"logits: 16 of 16 rows are probabilities already; .*jnp\.log\(probs\)",
    ),
    "rows that do not sum to 1": (
        (X, planted(PROBS, 0.9, 3, 4)),
        r"labels: 1 of 16 row sums is not 1; first: row sum 1\.\d+ at",
    ),
    "rows of zeros": ((X, 0 * PROBS), r"labels: 16 of 16 row sums are not 1; .*mask rows without a label with where="),
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
        pytest.raises(ValueError, match=r"hidden: 1 of 160 values is not finite; first: nan at position \(5, 2\)"),
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


LAYER = {
    "kernel": (
        r"kernel: 1 of 100 values is not finite; first: nan at position \(2, 3\)",
        planted(np.eye(10), np.nan, 2, 3),
    ),
    "bias": (r"bias: 1 of 10 values is not finite; first: inf at position \(4,\)", planted(np.zeros(10), np.inf, 4)),
}


@pytest.mark.parametrize("argument", LAYER)
def test_the_layer_is_named(argument):
    """Also the kernel and the bias; a bias of ``-inf`` excludes a class, and a masked hidden state holds anything."""
    message, array = LAYER[argument]
    given = {"kernel": np.eye(10), "bias": planted(np.zeros(10), -np.inf, 9)}
    squares = functools.partial(jaxce.linear_loss, lambda x: jnp.sum(x[:, :9] ** 2, -1))
    for step in (
        jax.jit(lambda x, layer: jaxce.linear_cross_entropy(x, labels=Y % 9, where=Y != 5, **layer)),
        jax.jit(lambda x, layer: jaxce.linear_log_probs(x, labels=Y % 9, where=Y != 5, **layer)),
        jax.jit(lambda x, layer: squares(x, layer["kernel"], bias=layer["bias"], where=Y != 5)),
    ):
        with jaxce.debug():
            step(planted(X, np.nan, 5, 2), {n: jnp.float32(a) for n, a in given.items()})
        with pytest.raises(ValueError, match=message), jaxce.debug():
            step(X, {n: jnp.float32(a) for n, a in (given | {argument: array}).items()})


OTHER_LOSSES = {
    "cross_entropy of PyTorch": (functional.cross_entropy, r"input: 1 of 16 rows is not finite; .* position \(5,\)"),
    "binary_cross_entropy_with_logits of PyTorch": (
        lambda x, y: functional.binary_cross_entropy_with_logits(x, PROBS),
        r"input: 1 of 160 values is not finite; first: nan at position \(5, 2\)",
    ),
    "sigmoid_binary_cross_entropy": (
        lambda x, y: jaxce.sigmoid_binary_cross_entropy(x, PROBS),
        r"logits: 1 of 160 values is not finite; first: nan at position \(5, 2\)",
    ),
    "binary_cross_entropy": (
        lambda x, y: jaxce.binary_cross_entropy(abs(jnp.tanh(x)), PROBS),
        r"probs: 1 of 160 values is not finite; first: nan at position \(5, 2\)",
    ),
    "dice_loss": (jaxce.dice_loss, r"logits: 1 of 16 rows is not finite; .* position \(5,\)"),
}


@pytest.mark.parametrize("loss", OTHER_LOSSES)
def test_other_losses_name_their_argument(loss):
    call, message = OTHER_LOSSES[loss]
    with jaxce.debug():
        jax.jit(call)(X, Y)
    with pytest.raises(ValueError, match=message), jaxce.debug():
        jax.jit(call)(planted(X, np.nan, 5, 2), Y)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_nan_is_found_in_split_classes(kind):
    mesh = jax.make_mesh((2,), ("model",), axis_types=(kind,))
    with pytest.raises(ValueError, match=r"first: maximum nan at position \(5,\)"), jax.set_mesh(mesh), jaxce.debug():
        jax.jit(CE)(jax.device_put(planted(X, np.nan, 5, 2), P(None, "model")), Y)


def test_probabilities_are_told_from_the_whole_batch():
    """Under `vmap` too, where masked rows do not count; a few rows may be alike by chance."""
    alike = (
        r"logits: 15 of 16 rows are probabilities already; first: maximum 0\.\d+ at position \(\), vmap index \(1,\)"
    )
    masked, mask = planted(PROBS, np.nan, 0), np.arange(16) > 0
    with pytest.raises(ValueError, match=alike.replace(r"\(\), vmap index ", "")), jaxce.debug():
        jax.jit(functools.partial(CE, where=mask))(masked, Y)
    with pytest.raises(ValueError, match=alike.replace(r" at position \(\)", "")), jaxce.debug():
        jax.vmap(lambda x, y, keep: CE(x, y, where=keep))(masked, Y, mask)
    mixed = np.where(np.arange(16)[:, None] < 12, PROBS, X)
    with jaxce.debug():
        jax.jit(jax.vmap(CE))(mixed, Y)
        jax.jit(CE)(PROBS[:4], Y[:4])
        jax.lax.map(lambda xy: CE(*xy), (PROBS, Y))
        jaxce.multiclass_hinge_loss(PROBS, Y)


def test_masked_nan_passes_debug_nans():
    x = jnp.asarray(planted(X, np.nan, 0))
    with jax.debug_nans(True), jaxce.debug():
        CE(x, Y, where=np.arange(16) > 0)


def test_values_that_are_valid_pass():
    """Logits of one class, of zeros, or in [0, 1] by chance, an empty batch, and log-probabilities of 16 bits."""
    with jaxce.debug():
        jax.jit(jaxce.nll_loss)(jax.nn.log_softmax(jnp.zeros((4, 50257), jnp.bfloat16)), Y[:4])
        for x in (X[:, :1], 0 * X, np.abs(np.tanh(X)), X[:0]):
            jax.jit(CE)(x, Y[: len(x)] * (x.shape[1] > 1))
        jax.jit(jaxce.sigmoid_binary_cross_entropy)(np.float32(0.5), np.float32(0.5))


@pytest.fixture
def no_compilation_cache():
    """A program from the cache has the lines of the source of the caller that compiled it first."""
    compilation_cache.reset_cache()
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", before)
    compilation_cache.reset_cache()


def test_off_it_leaves_no_trace(no_compilation_cache):
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


def test_an_error_belongs_to_the_innermost_context():
    """Caught there, it is not raised again, neither by the context around it nor by a later one."""
    with jaxce.debug():
        with pytest.raises(ValueError, match=TWO), jaxce.debug():
            jax.jit(CE)(X, BAD)
        jax.jit(CE)(X, Y)
    with jaxce.debug():
        jax.jit(CE)(X, Y)


def test_an_error_belongs_to_its_thread():
    """A valid context of another thread neither hides it nor raises it."""

    def valid():
        with jaxce.debug():
            jax.jit(CE)(X, Y)
            entered.set()
            assert leave.wait(60)

    entered, leave = threading.Event(), threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        other = pool.submit(valid)
        assert entered.wait(60)
        with pytest.raises(ValueError, match=TWO), jaxce.debug():
            jax.block_until_ready(jax.jit(CE)(X, BAD))
        leave.set()
        other.result()


def test_another_error_passes_through():
    def fail(x):
        raise RuntimeError("of the user")

    with pytest.raises(jax.errors.JaxRuntimeError, match="of the user"), jaxce.debug():
        jax.block_until_ready(jax.jit(lambda x: jax.pure_callback(fail, x, x))(X))


def run_with(value):
    """What a process prints that meets an invalid id at the end."""
    lines = ["import jax, numpy as np, jaxce", "step = jax.jit(jaxce.cross_entropy)"]
    lines += ["for y in (0, 1, 5): print(step(np.zeros((2, 3), np.float32), np.array([0, y])), flush=True)"]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
        "JAXCE_DEBUG": value,
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=False
    )


def test_the_environment_turns_it_on():
    """With one device the program itself fails, in the iteration that met the value."""
    run = run_with("1")
    assert run.stdout.split() == ["1.0986123"] * 2
    assert "JaxRuntimeError" in run.stderr
    assert "labels: 1 of 2 ids is outside [0, 3); first: id 5 at position (1,)." in run.stderr


def test_the_environment_may_say_no():
    assert run_with("False").stdout.split() == ["1.0986123"] * 2 + ["nan"]
