"""What the compilers of TPUs and of the H100 make of each contestant, without the hardware.

Needs the packages of the tests, and for TPUs ``jax[tpu]`` (Linux, x86-64). The H100 is compiled for by hand: it needs
``jax[cuda12]`` of JAX 0.12, 6 GB of packages. Every figure is read off a compiled program, so it is exact, the same
each time, and no time. The library to measure is the one on the path.

    python benchmarks/compilers.py                 # the TPUs, some minutes; replaces their rows
    python benchmarks/compilers.py --chips h100    # the H100, a minute
    python benchmarks/compilers.py --name before   # another checkout on the path, under another name
    python benchmarks/compilers.py --only linear   # only the losses of linear layers, or only the "dense" ones
"""

import argparse
import csv
import math
import os
import pathlib
import sys
from functools import partial

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_autotune_level=0"  # it would time kernels
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

import on_tpu  # sets what libtpu wants to know before JAX is imported
import optax
import report
import traffic

import jaxce

try:
    import tokamax
except ImportError:  # its columns keep the figures they have
    tokamax = None

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip
from jax.experimental import topologies  # isort: skip

IGNORED, SMOOTHING = -100, 0.1
LANGUAGE, PIXELS = ((8192, 50257), -1), ((8, 21, 512, 512), 1)
TPU_SHAPES = [(*LANGUAGE, "bfloat16"), (*LANGUAGE, "float32"), (*PIXELS, "float32")]
"""Arrays that do not fit the chip's scratchpad: of smaller ones, whole passes cannot be told from prefetched slices."""

H100_SHAPES = [
    *TPU_SHAPES,
    ((8, 512, 512, 21), -1, "bfloat16"),
    ((4096, 1000), -1, "float32"),
    ((65536, 10), -1, "float32"),
]
LINEAR = [(8192, 4096, 128256), (16384, 2304, 256000), (8192, 4096, 151936)]
"""Tokens, features and classes of linear layers in bfloat16."""

SPEEDS = on_tpu.SPEEDS | {"h100": (3352e9, 989e12)}

H100 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3"
  device_vendor: "NVIDIA Corporation"
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: 52428800
  device_memory_size: 85899345920
  memory_bandwidth: 3352320000000
}
"""
"""The card as XLA:GPU asks a real one to describe itself."""


def device(chip):
    if chip != "h100":
        return on_tpu.devices(on_tpu.CHIPS[chip])[0]
    return topologies.get_topology_desc(chip, "cuda", target_config=H100, topology="1x1x1").devices[0]


def contestants(axis, options):
    """The loss from class ids, or the mean with class weights, ignored ids and smoothing, in each spelling."""

    def in_jaxce(x, y, w):
        given = {"class_weights": w, "ignore_index": IGNORED, "label_smoothing": SMOOTHING} if options else {}
        return jaxce.cross_entropy(x, y, axis=axis, **given)

    def in_optax(x, y, w):
        x = x.astype(jnp.float32)
        if not options:
            return optax.softmax_cross_entropy_with_integer_labels(x, y, axis=axis).mean()
        keep = y != IGNORED
        hot = jax.nn.one_hot(jnp.where(keep, y, 0), x.shape[axis], axis=axis)
        q = (1 - SMOOTHING) * hot + SMOOTHING / x.shape[axis]
        loss = optax.softmax_cross_entropy(x, along(w, x, axis) * q, axis=axis)
        return jnp.where(keep, loss, 0).sum() / jnp.where(keep, w[y], 0).sum()

    def in_jax(x, y, w):
        keep = y != IGNORED
        ids = jnp.where(keep, y, 0) if options else y
        log_p = jax.nn.log_softmax(x.astype(jnp.float32), axis)
        own = jnp.take_along_axis(log_p, jnp.expand_dims(ids, axis), axis).squeeze(axis)
        if not options:
            return -own.mean()
        w_y = jnp.where(keep, w[ids], 0)
        spread = SMOOTHING / x.shape[axis] * jnp.where(keep, (along(w, x, axis) * log_p).sum(axis), 0)
        return (-(1 - SMOOTHING) * w_y * own - spread).sum() / w_y.sum()

    return {"jaxce": in_jaxce, "optax": in_optax, "plain JAX": in_jax}


def along(w, x, axis):
    return w.reshape([-1 if d == axis % x.ndim else 1 for d in range(x.ndim)])


def rows(name, chip):
    """One row for each program: whole passes over the logits, temporaries in parts of them, and gathers."""
    for shape, axis, dtype in H100_SHAPES if chip == "h100" else TPU_SHAPES:
        ids = tuple(n for d, n in enumerate(shape) if d != axis % len(shape))
        given = [(shape, dtype), (ids, jnp.int32), ((shape[axis],), jnp.float32)]
        for options in (False, True):
            for who, call in contestants(axis, options).items():
                if name != "jaxce" and who != "jaxce":
                    continue
                for work in report.WORKS:
                    function = call if work == "forward" else jax.value_and_grad(call)
                    program = on_tpu.compiled_for(device(chip), function, *given)
                    what = " weights, ignored, smoothing" if options else ""
                    yield {
                        "chip": chip,
                        "case": f"{dtype} {list(shape)}{what}",
                        "contestant": name if who == "jaxce" else who,
                        "work": work,
                        "passes": on_tpu.passes(program, math.prod(shape)),
                        "temporaries": f"{on_tpu.temporaries(program, shape, dtype):.3f}",
                        "gathers": on_tpu.gathers(program),
                        "jax": jax.__version__,
                    }


def linear_contestants():
    """The losses of linear layers, each as kind of work, contestant and function."""

    def with_gradients(f):
        return jax.value_and_grad(f, (0, 1))

    def scored(log_probs):
        return lambda h, w, y: jnp.mean(log_probs(h, w, y).log_prob)

    def in_optax(h, w, y):
        return optax.softmax_cross_entropy_with_integer_labels((h @ w).astype(jnp.float32), y).mean()

    def dense_scores(h, w, y):
        return jaxce.log_probs(h @ w, y)

    loss, scores = report.LINEAR_WORKS[0], report.LINEAR_WORKS[1:]
    yield loss, "jaxce", with_gradients(jaxce.linear_cross_entropy)
    yield loss, "product + jaxce", with_gradients(lambda h, w, y: jaxce.cross_entropy(h @ w, y))
    yield loss, "product + optax", with_gradients(in_optax)
    yield loss, "Liger's chunks", in_ligers_chunks
    for implementation in ("xla", "chunked_xla") if tokamax else ():
        yield loss, f"tokamax {implementation}", with_gradients(partial(in_tokamax, implementation))
    for contestant, f in {"jaxce": jaxce.linear_log_probs, "product + jaxce": dense_scores}.items():
        yield scores[0], contestant, scored(f)
        yield scores[1], contestant, with_gradients(scored(f))


def in_ligers_chunks(h, w, y):
    """Loss and gradients by the algorithm of Liger's ``fused_linear_cross_entropy_forward``, in JAX.

    Its chunks have about as many logits as there are hidden states. Logits and gradients have the dtype of the layer.
    """
    (tokens, features), classes = h.shape, w.shape[1]
    chunk = 2 ** math.ceil(math.log2(-(-tokens // -(-classes // features))))

    def step(of_kernel, rows):
        h, y = rows

        def share(logits):
            each = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), y)
            return jnp.sum(each) / tokens

        value, of_logits = jax.value_and_grad(share)(h @ w)
        return of_kernel + h.T @ of_logits, (value, of_logits @ w.T)

    chunks = h.reshape(-1, chunk, features), y.reshape(-1, chunk)
    of_kernel, (values, of_hidden) = jax.lax.scan(step, jnp.zeros_like(w), chunks)
    return jnp.sum(values), (of_hidden.reshape(h.shape), of_kernel)


def in_tokamax(implementation, h, w, y):
    return tokamax.linear_softmax_cross_entropy_loss(h, y, w, reduction="mean", implementation=implementation)


def linear_rows(name, chip):
    """One row for each program over a linear layer: its traffic, temporaries and computed bound."""
    # Chunks are chosen while tracing, here for the chip and not for the machine that compiles.
    jaxce._rows._linear.platform = lambda: "gpu" if chip == "h100" else "tpu"
    for work, who, function in linear_contestants():
        if name != "jaxce" and who != "jaxce":
            continue
        for tokens, features, classes in LINEAR:
            arrays = on_tpu.layer(tokens, features, classes)
            jax.clear_caches()
            product = 2 * tokens * features * classes / SPEEDS[chip][1]
            yield {
                "chip": chip,
                "case": f"[{tokens}, {features}] x [{features}, {classes}]",
                "work": work,
                "contestant": name if who == "jaxce" else who,
                **linear_figures(chip, function, arrays),
                "products": f"{1e3 * product * (1 if work == report.LINEAR_WORKS[1] else 3):.1f}",
                "jax": jax.__version__,
            }


def linear_figures(chip, function, arrays):
    """GB of traffic, MiB of temporaries and the bound in milliseconds; nothing of what does not fit the chip."""
    try:
        program = on_tpu.compiled_for(device(chip), function, *arrays)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"traffic": "", "temporaries": "", "bound": ""}
    return {
        "traffic": f"{traffic.traffic(program) / 1e9:.1f}",
        "temporaries": f"{program.memory_analysis().temp_size_in_bytes / 2**20:.0f}",
        "bound": f"{1e3 * traffic.bound(program, *SPEEDS[chip]):.1f}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="jaxce", help="the contestant's name for the library on the path")
    parser.add_argument("--chips", nargs="+", default=list(on_tpu.CHIPS), choices=[*on_tpu.CHIPS, "h100"])
    parser.add_argument("--only", choices=["dense", "linear"], help="the losses to compile")
    given = parser.parse_args()
    for chip in given.chips:
        if given.only != "linear":
            for row in rows(given.name, chip):
                keep(row, report.COMPILED, ("chip", "case", "contestant", "work"))
        if given.only != "dense":
            for row in linear_rows(given.name, chip):
                keep(row, report.COMPILED_LINEAR, ("chip", "case", "work", "contestant"))
    report.publish()


def keep(row, path, key):
    """Adds a row to the file, in the place of one with the same key."""
    old = []
    if path.exists():
        with open(path, newline="") as file:
            old = list(csv.DictReader(file))
    kept = {tuple(r[k] for k in key): r for r in [*old, row]}
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept.values())


if __name__ == "__main__":
    main()
