"""What the compilers of TPUs and of the H100 make of each contestant, without the hardware.

Needs the packages of the tests, and for TPUs ``jax[tpu]`` (Linux, x86-64). The H100 is compiled for by hand: it needs
``jax[cuda12]`` of JAX 0.12, 6 GB of packages. Every figure is read off a compiled program, so it is exact, the same
each time, and no time. The library to measure is the one on the path.

    python benchmarks/compilers.py                 # the TPUs, some minutes; replaces their rows
    python benchmarks/compilers.py --chips h100    # the H100, a minute
    python benchmarks/compilers.py --name before   # another checkout on the path, under another name
"""

import argparse
import csv
import math
import os
import pathlib
import sys

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_autotune_level=0"  # it would time kernels
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

import on_tpu  # sets what libtpu wants to know before JAX is imported
import optax
import report

import jaxce

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


def rows(name, chips):
    """One row for each program: whole passes over the logits, temporaries in parts of them, and gathers."""
    for chip in chips:
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="jaxce", help="the contestant's name for the library on the path")
    parser.add_argument("--chips", nargs="+", default=list(on_tpu.CHIPS), choices=[*on_tpu.CHIPS, "h100"])
    given = parser.parse_args()
    old = []
    if report.COMPILED.exists():
        with open(report.COMPILED, newline="") as file:
            old = list(csv.DictReader(file))
    key = ("chip", "case", "contestant", "work")
    kept = {tuple(row[k] for k in key): row for row in [*old, *rows(given.name, given.chips)]}
    with open(report.COMPILED, "w", newline="") as file:
        writer = csv.DictWriter(file, report.COMPILED_FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept.values())
    report.publish()


if __name__ == "__main__":
    main()
