"""What the TPU's compiler makes of each contestant, on a machine without a TPU: `python benchmarks/compilers.py`.

Needs ``jax[tpu]`` (Linux, x86-64) and the packages of the tests. Every figure is read off a compiled program, so it is
exact, the same each time, and no time. The library to measure is the one on the path.

    python benchmarks/compilers.py                 # some minutes; replaces the rows of "jaxce", optax and plain JAX
    python benchmarks/compilers.py --name before   # the same of another checkout on the path, under another name
"""

import argparse
import csv
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

import on_tpu  # sets what libtpu wants to know before JAX is imported
import optax
import report

import jaxce

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip

IGNORED, SMOOTHING = -100, 0.1
SHAPES = [
    ((8192, 50257), -1, "bfloat16"),
    ((8192, 50257), -1, "float32"),
    ((8, 21, 512, 512), 1, "float32"),
]
"""Arrays that do not fit the chip's scratchpad: of smaller ones, whole passes cannot be told from prefetched slices."""


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


def rows(name):
    """One row for each program: whole passes over the logits, temporaries in parts of them, and gathers."""
    for chip in on_tpu.CHIPS:
        for shape, axis, dtype in SHAPES:
            ids = tuple(n for d, n in enumerate(shape) if d != axis % len(shape))
            given = [(shape, dtype), (ids, jnp.int32), ((shape[axis],), jnp.float32)]
            for options in (False, True):
                for who, call in contestants(axis, options).items():
                    if name != "jaxce" and who != "jaxce":
                        continue
                    for work in report.WORKS:
                        program = on_tpu.compiled(call if work == "forward" else jax.value_and_grad(call), chip, *given)
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
    name = parser.parse_args().name
    old = []
    if report.COMPILED.exists():
        with open(report.COMPILED, newline="") as file:
            old = list(csv.DictReader(file))
    key = ("chip", "case", "contestant", "work")
    kept = {tuple(row[k] for k in key): row for row in [*old, *rows(name)]}
    with open(report.COMPILED, "w", newline="") as file:
        writer = csv.DictWriter(file, report.COMPILED_FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept.values())
    report.publish()


if __name__ == "__main__":
    main()
