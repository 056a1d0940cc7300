"""What the TPU's compiler makes of the losses, without a TPU: `python -m pytest --noconftest tests/on_tpu.py`.

`libtpu` compiles for a topology that is only named, so bytes, temporaries, gathers and collectives are exact facts. It
comes with ``jax[tpu]`` (Linux, x86-64), which the tests of the README do not need, so this file is not among them.
Nothing here is a time.
"""

import itertools
import math
import os
import re
from functools import partial

os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_HOSTNAMES": "localhost"}
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # a program for a chip that is only named cannot be loaded again
os.environ |= {"TPU_TOPOLOGY": "2x2", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "JAX_PLATFORMS": "cpu"}

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import traffic
from compiled import OF_ELEMENTS
from exports import BINARY, IDS, REGIONS
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import jaxce

CHIPS = {"v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
ON_CHIP = re.compile(r"S\([1-9]\)")
NO_KERNEL = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota"}


def devices(topology):
    return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices


def compiled(function, chip, *shapes):
    """The program for one chip; the shapes are pairs of a shape and a dtype."""
    return compiled_for(devices(CHIPS[chip])[0], function, *shapes)


def compiled_for(device, function, *shapes):
    """The program for one device."""
    sharding = SingleDeviceSharding(device)
    given = [jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for shape, dtype in shapes]
    return jax.jit(function).lower(*given).compile()


def instructions(text):
    """Name, result, operation, operands and the rest of each instruction of the program's entry."""
    for line in text[text.index("ENTRY") :].splitlines():
        found = re.match(r"\s+(?:ROOT )?%(\S+) = (.*?) ([\w\-]+)\(([^)]*)\)(.*)", line)
        if found:
            yield found.groups()


def elements(result):
    """Elements of the largest array of a result in the memory of the chip; those in its scratchpad are not counted."""
    arrays = re.findall(r"[a-z]+\d+\[([\d,]*)\](\{[^}]*\})?", result)
    sizes = [math.prod(map(int, dims.split(","))) for dims, tail in arrays if dims and not ON_CHIP.search(tail or "")]
    return max(sizes, default=0)


def passes(program, size):
    """How often arrays of at least ``size`` elements are read or written; a gather reads no array as a whole."""
    text = program.as_text()
    result_of, total, gathered = {}, 0, only_gathered(text)
    for name, result, operation, operands, rest in instructions(text):
        result_of[name] = result
        is_gather = operation == "gather" or name.startswith("gather")
        if operation in NO_KERNEL or is_gather or "calls=%bitcast" in rest:
            continue
        fused = re.search(r"calls=%([\w.\-]+)", rest)
        given = enumerate(re.findall(r"%([\w.\-]+)", operands))
        read = [result_of.get(operand, "") for i, operand in given if not (fused and (fused[1], i) in gathered)]
        total += sum(elements(array) >= size for array in [result, *read])
    return total


def only_gathered(text):
    """The parameters of fused computations, by name and position, that only a gather reads."""
    found = set()
    for computation in text[: text.index("ENTRY")].split("\n\n"):
        name = re.match(r"\s*%([\w.\-]+) \(", computation)
        for parameter, position in re.findall(r"%([\w.\-]+) = \S+ parameter\((\d+)\)", computation):
            uses = [line for line in computation.splitlines()[1:] if re.search(rf"%{re.escape(parameter)}[,)]", line)]
            if name and uses and all(f" gather(%{parameter}," in line for line in uses):
                found.add((name[1], int(position)))
    return found


def gathers(program):
    return len(re.findall(r"%gather\S* = ", program.as_text()))


def temporaries(program, shape, dtype):
    return program.memory_analysis().temp_size_in_bytes / (math.prod(shape) * jnp.dtype(dtype).itemsize)


LANGUAGE, IMAGENET, PIXELS = (8192, 50257), (4096, 1000), (8, 21, 512, 512)
OF_VALUE_AND_GRADIENT = 4
"""Passes over the logits."""
EVERYTHING = {"ignore_index": -100, "label_smoothing": 0.1, "z_loss": 1e-4}


def cross_entropy(axis, options):
    def plain(x, y):
        return jaxce.cross_entropy(x, y, axis=axis)

    def everything(x, y, w):
        return jaxce.cross_entropy(x, y, axis=axis, class_weights=w, **EVERYTHING)

    return everything if options else plain


@pytest.mark.parametrize("in_step", [False, True], ids=["alone", "in a step"])
def test_a_summary_shares_the_pass_of_the_gradient(in_step):
    """Alone it reads the logits once more than the loss does, for the norms; a step has this pass already."""

    def plain(x, y):
        return jax.value_and_grad(jaxce.cross_entropy)(x, y) if in_step else jaxce.cross_entropy(x, y)

    def told(x, y):
        return plain(x, y), jaxce.summarize(jaxce.cross_entropy, x, y)

    given = ((4096, 8192), jnp.float32), ((4096,), jnp.int32)
    without, program = (compiled(f, "v5e", *given) for f in (plain, told))
    assert passes(program, 4096 * 8192) - passes(without, 4096 * 8192) == (0 if in_step else 1)
    assert temporaries(program, *given[0]) < 0.05


@pytest.mark.parametrize(
    ("shape", "axis", "dtype", "temporary"),
    [(LANGUAGE, 1, jnp.bfloat16, 0.01), (LANGUAGE, 1, jnp.float32, 0.01), (PIXELS, 1, jnp.float32, 0.4)],
    ids=["language bfloat16", "language float32", "pixels float32"],
)
@pytest.mark.parametrize(("chip", "options"), [("v5e", False), *((chip, True) for chip in CHIPS)])
def test_no_option_costs_a_pass(chip, shape, axis, dtype, temporary, options):
    """The logits are read twice for the loss, and read once more and written once for its gradient.

    One number per pixel is a twentieth of 21 classes, and some of those are temporaries.
    """
    ids = tuple(n for d, n in enumerate(shape) if d != axis)
    given = [(shape, dtype), (ids, jnp.int32), ((shape[axis],), jnp.float32)][: 3 if options else 2]
    call = cross_entropy(axis, options)
    size = math.prod(shape)
    forward = compiled(call, chip, *given)
    both = compiled(jax.value_and_grad(call), chip, *given)
    assert passes(forward, size) == 2
    assert passes(both, size) == OF_VALUE_AND_GRADIENT
    assert temporaries(both, shape, dtype) <= temporary


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [(LANGUAGE, jnp.bfloat16), (LANGUAGE, jnp.float32), (IMAGENET, jnp.float32), (PIXELS, jnp.float32)],
    ids=["language bfloat16", "language float32", "imagenet", "pixels"],
)
def test_the_auxiliary_results_cost_at_most_a_pass(chip, shape, dtype):
    """Beside the four passes of value and gradient."""
    ids = tuple(n for d, n in enumerate(shape) if d != 1)

    def call(x, y):
        return jaxce.cross_entropy(x, y, axis=1, z_loss=1e-4, has_aux=True)

    program = compiled(jax.value_and_grad(call, has_aux=True), chip, (shape, dtype), (ids, jnp.int32))
    assert passes(program, math.prod(shape)) <= OF_VALUE_AND_GRADIENT + 1
    assert temporaries(program, shape, dtype) <= 0.4


@pytest.mark.parametrize("loss", [jaxce.cross_entropy, jaxce.focal_loss, jaxce.poly1_loss], ids=lambda f: f.__name__)
def test_few_classes_gather_nothing(loss):
    """A gather costs a v5e as much as thousands of classes do for each pixel."""
    w = ((21,), jnp.float32)
    given = [(PIXELS, jnp.bfloat16), ((8, 512, 512), jnp.int32), w]
    call = jax.value_and_grad(lambda x, y, w: loss(x, y, axis=1, class_weights=w, ignore_index=255))
    assert gathers(compiled(call, "v5e", *given)) == 0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_dice_reads_the_logits_as_often_as_plain_sums_do(dtype):
    def by_hand(x, y):
        p, q = jax.nn.softmax(x.astype(jnp.float32), 1), jax.nn.one_hot(y, x.shape[1], axis=1)
        both, sizes = jnp.sum(p * q, (2, 3)), jnp.sum(p, (2, 3)) + jnp.sum(q, (2, 3))
        return jnp.mean(1 - (2 * both + 1) / (sizes + 1))

    given = [(PIXELS, dtype), ((8, 512, 512), jnp.int32)]
    for change in (lambda f: f, jax.value_and_grad):
        most = passes(compiled(change(by_hand), "v5e", *given), math.prod(PIXELS))
        for options in ({}, {"ignore_index": 255}):
            program = compiled(change(partial(jaxce.dice_loss, axis=1, **options)), "v5e", *given)
            assert passes(program, math.prod(PIXELS)) <= most, options
            assert temporaries(program, PIXELS, dtype) <= 0.4


def test_the_measure_sees_passes_and_gathers():
    def by_hand(x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(x.astype(jnp.float32)), y[:, None], 1).mean()

    program = compiled(by_hand, "v5e", (LANGUAGE, jnp.float32), (LANGUAGE[:1], jnp.int32))
    assert passes(program, math.prod(LANGUAGE)) > 2
    assert gathers(program) > 0


def test_probabilities_are_read_as_often_as_the_logits():
    given = [(LANGUAGE, jnp.float32)] * 2
    assert passes(compiled(jaxce.cross_entropy, "v5e", *given), math.prod(LANGUAGE)) == 3


@pytest.mark.parametrize("loss", [*IDS, *BINARY, "entropy"])
def test_every_loss_compiles(loss):
    rows = 512 if loss in REGIONS else IMAGENET[0]  # the compiler takes long over them
    x, ids = ((rows, IMAGENET[1]), jnp.bfloat16), ((rows,), jnp.int32)
    given = [x] if loss == "entropy" else [x, x if loss in BINARY else ids]
    program = compiled(jax.value_and_grad(getattr(jaxce, loss)), "v5e", *given)
    assert temporaries(program, *x) <= (12 if "lovasz" in loss else 6)


@pytest.mark.parametrize(("loss", "chip"), [*zip(OF_ELEMENTS, itertools.cycle(CHIPS))])
def test_losses_of_elements_read_logits_and_labels_once(loss, chip):
    """The gradient is one more array, written; nothing else is. An H100 has the same passes (JAX 0.12.0.1)."""
    shape, call = (8192, 8192), getattr(jaxce, loss)
    given = (shape, jnp.float32), (shape, jnp.float32)
    forward, both = compiled(call, chip, *given), compiled(jax.value_and_grad(call), chip, *given)
    assert (passes(forward, math.prod(shape)), passes(both, math.prod(shape))) == (2, 3)
    assert temporaries(both, *given[0]) < 0.01


BIG = {"rows": 16 * 8192, "features": 4096, "classes": 128256}


def collectives(program):
    """The elements of each array that moves between chips: in the program's entry, and in its loops."""
    text = program.as_text()
    moves = r"= (.*?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
    inner, entry = text[: text.index("ENTRY")], text[text.index("ENTRY") :]
    return [[elements(found) for found in re.findall(moves, part)] for part in (entry, inner)]


@pytest.mark.parametrize("options", [False, True], ids=["plain", "everything"])
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
def test_classes_split_over_256_chips(kind, options):
    """Nothing larger than one number per example moves, and nothing of the size of the logits is a temporary."""
    mesh = Mesh(np.array(devices("v5e:16x16")).reshape(16, 16), ("data", "model"), axis_types=(kind, kind))
    specs = [P("data", "model"), P("data"), P()][: 3 if options else 2]
    shapes = [
        ((BIG["rows"], BIG["classes"]), jnp.bfloat16),
        ((BIG["rows"],), jnp.int32),
        ((BIG["classes"],), "float32"),
    ]
    given = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
        for (shape, dtype), spec in zip(shapes, specs, strict=False)
    ]
    with jax.set_mesh(mesh):
        program = jax.jit(jax.value_and_grad(cross_entropy(-1, options))).lower(*given).compile()
    moved, in_loops = collectives(program)
    assert 0 < len(moved) <= 4
    assert not in_loops
    assert max(moved) <= BIG["rows"] // 16
    assert temporaries(program, (BIG["rows"] // 16, BIG["classes"] // 16), jnp.bfloat16) < 0.01


SPEEDS = {"v5e": (819e9, 197e12), "v5p": (2765e9, 459e12), "v6e": (1640e9, 918e12)}
"""Bytes per second from memory, and bfloat16 operations per second, as the maker publishes them."""

LAYER = {"tokens": 8192, "features": 4096, "classes": 128256}


def layer(tokens, features, classes):
    """The shapes of hidden states, kernel and labels."""
    return ((tokens, features), jnp.bfloat16), ((features, classes), jnp.bfloat16), ((tokens,), jnp.int32)


@pytest.fixture
def tpu_chunks(monkeypatch):
    """Chunks are chosen while tracing: here for a TPU, not for the CPU that compiles."""
    monkeypatch.setattr("jaxce._rows._linear.platform", lambda: "tpu")
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("tpu_chunks")
@pytest.mark.parametrize(("chip", "most"), {"v5e": 1.04, "v5p": 1.03, "v6e": 1.2}.items())
def test_a_linear_layer_waits_little_for_memory(chip, most):
    """The computed bound is near the time of the three products; the naive loss has 6,012 MiB of temporaries."""
    program = compiled(jax.value_and_grad(jaxce.linear_cross_entropy, (0, 1)), chip, *layer(**LAYER))
    products = 6 * math.prod(LAYER.values())
    assert sum(kernel.times * kernel.flops for kernel in traffic.kernels(program)) == pytest.approx(products, rel=0.01)
    assert traffic.bound(program, *SPEEDS[chip]) <= most * products / SPEEDS[chip][1]
    assert traffic.traffic(program) <= 42e9
    assert program.memory_analysis().temp_size_in_bytes <= 4080 * 2**20


@pytest.mark.usefixtures("tpu_chunks")
def test_a_vocabulary_that_is_no_multiple_of_128_is_not_copied():
    """The compiler copies its logits into any loop. The temporaries are the logits of a chunk."""
    tokens, classes = 4096, 50257
    program = compiled(jax.value_and_grad(jaxce.linear_cross_entropy, (0, 1)), "v5e", *layer(tokens, 1024, classes))
    assert program.memory_analysis().temp_size_in_bytes <= 1.01 * 4 * tokens * classes
    assert traffic.traffic(program) <= 3.6e9


@pytest.mark.usefixtures("tpu_chunks")
def test_log_probs_of_a_linear_layer_wait_little_for_memory():
    """Four products: the backward pass computes the logits again. The forward pass takes the time of its product."""
    forward = compiled(scored, "v6e", *layer(**LAYER))
    assert traffic.bound(forward, *SPEEDS["v6e"]) <= 1.01 * 2 * math.prod(LAYER.values()) / SPEEDS["v6e"][1]
    program = compiled(jax.value_and_grad(scored, (0, 1)), "v5e", *layer(**LAYER))
    products = 8 * math.prod(LAYER.values())
    assert traffic.bound(program, *SPEEDS["v5e"]) <= 1.03 * products / SPEEDS["v5e"][1]
    assert traffic.traffic(program) <= 44e9
    assert program.memory_analysis().temp_size_in_bytes <= 3010 * 2**20


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=["float16", "bfloat16"])
def test_each_dtype_of_16_bits_compiles(dtype):
    """TPUs have no algorithm that multiplies float16."""
    shapes = [(shape, dtype if number < 2 else of) for number, (shape, of) in enumerate(layer(4096, 512, 32000))]
    compiled(jax.value_and_grad(scored, (0, 1)), "v5e", *shapes)


LAYOUTS = {"fsdp": (P(("data", "model")), P(("data", "model"))), "tensor": (P("data"), P(None, "model"))}
LAYOUTS["fsdp and tensor"] = (P("data"), P("data", "model"))


def over_256_chips(loss, kind, layout, rows, has_teacher=False):
    """The program for value and gradients of a linear layer over 256 chips, 16 of them along the classes.

    The loss takes labels, or a teacher of the same shapes as a pair of hidden states and kernel.
    """
    mesh = Mesh(np.array(devices("v5e:16x16")).reshape(16, 16), ("data", "model"), axis_types=(kind, kind))
    hidden, kernel = LAYOUTS[layout]
    shapes = layer(rows, BIG["features"], BIG["classes"])
    given = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
        for (shape, dtype), spec in zip(shapes, (hidden, kernel, P(*hidden)), strict=True)
    ]
    if has_teacher:
        given[2] = tuple(given[:2])
    specs = {"in_specs": (hidden, kernel)} if kind == AxisType.Auto else {}
    with jax.set_mesh(mesh):
        lowered = jax.jit(jax.value_and_grad(lambda *a: loss(*a, **specs), (0, 1))).lower(*given)
    return lowered.compile({"xla_tpu_enable_async_collective_fusion": "false"})  # each stands in the text once


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_linear_layer_over_256_chips(layout, kind):
    """In the loop over chunks nothing larger than the chunk's own numbers moves; the kernel moves once, outside."""
    moved, in_loops = collectives(over_256_chips(jaxce.linear_cross_entropy, kind, layout, BIG["rows"]))
    assert moved
    assert max(in_loops, default=0) <= BIG["rows"] // 16


def scored(hidden, kernel, labels, **specs):
    return jaxce.linear_log_probs(hidden, kernel, labels, **specs).log_prob.mean()


def bytes_moved(program):
    """The bytes of all results of each kind of collective; arrays of one number are left out."""
    total = {}
    for result, kind in re.findall(r"= (.*?) (all-reduce|all-gather|reduce-scatter)(?:-start)?\(", program.as_text()):
        arrays = re.findall(r"\b[a-z]+(\d+)\[([\d,]+)\]", result)
        total[kind] = total.get(kind, 0)
        total[kind] += sum(int(bits) // 8 * math.prod(map(int, dims.split(","))) for bits, dims in arrays)
    return total


ROWS, OF_KERNEL = BIG["rows"] // 16, 2 * BIG["features"] * BIG["classes"]
"""Tokens of a chip of 16, and the bytes of the kernel."""


@pytest.mark.parametrize(
    ("layout", "gathered", "reduced"),
    [
        ("fsdp", OF_KERNEL, OF_KERNEL),
        ("tensor", 0, OF_KERNEL // 16 + 2 * ROWS * BIG["features"] + 3 * 4 * ROWS),
        ("fsdp and tensor", OF_KERNEL // 16, OF_KERNEL // 16 + 2 * ROWS * BIG["features"] + 3 * 4 * ROWS),
    ],
)
def test_log_probs_over_256_chips(layout, gathered, reduced):
    """The kernel moves once, its gradient once, and the hidden states' once; beside them three numbers per token.

    The compiler spells the reduction and scattering of the gradient as an all-reduce and a slice.
    """
    program = over_256_chips(scored, AxisType.Auto, layout, BIG["rows"])
    assert bytes_moved(program) == {"all-reduce": reduced} | ({"all-gather": gathered} if gathered else {})


@pytest.mark.parametrize(
    ("layout", "gathered", "reduced"),
    [
        ("fsdp", 2 * OF_KERNEL, OF_KERNEL),
        ("tensor", 0, OF_KERNEL // 16 + 2 * ROWS * BIG["features"] + 6 * 4 * ROWS),
        ("fsdp and tensor", OF_KERNEL // 8, OF_KERNEL // 16 + 2 * ROWS * BIG["features"] + 6 * 4 * ROWS),
    ],
)
def test_distillation_over_256_chips(layout, gathered, reduced):
    """The teacher's kernel moves once more; it has no gradient. Six numbers per token are reduced."""

    def loss(hidden, kernel, teacher, **specs):
        return jaxce.linear_kl_divergence(hidden, kernel, jaxce.LinearLogits(*teacher), **specs)

    program = over_256_chips(loss, AxisType.Auto, layout, BIG["rows"], has_teacher=True)
    assert bytes_moved(program) == {"all-reduce": reduced} | ({"all-gather": gathered} if gathered else {})


@pytest.mark.usefixtures("tpu_chunks")
def test_hidden_gradients_have_no_float32_copy():
    """With 131,072 tokens per chip it would be 2 GiB; the naive loss has 6,013 MiB of temporaries."""
    program = over_256_chips(jaxce.linear_cross_entropy, AxisType.Auto, "tensor", 16 * 131072)
    assert program.memory_analysis().temp_size_in_bytes <= 5300 * 2**20
