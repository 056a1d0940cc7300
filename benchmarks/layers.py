"""Times log-probabilities and distillation over a linear layer beside whole logits; writes `layers.csv`.

    python benchmarks/layers.py            # six minutes on two cores; then `python benchmarks/report.py`
    python benchmarks/layers.py --quick    # a smoke test with tiny arrays; keeps no results

Time and memory are taken as in `run.py`. The errors of value and kernel gradient are relative to float64.
"""

import argparse
import csv
import pathlib
import statistics
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from run import Entry, circumstances, compete, need_commit

import jaxce

PAGE = pathlib.Path(__file__).with_name("layers.csv")
SHAPE, QUICK = (2048, 512, 32768), (64, 16, 128)
NAIVE, DENSE, LINEAR = "matrix product + plain JAX", "matrix product + jaxce", "jaxce, linear"
BONUS = 0.01


def log_softmax(h, w):
    return jax.nn.log_softmax((h @ w).astype(jnp.promote_types(h.dtype, jnp.float32)))


def taken(log_p, labels):
    return jnp.take_along_axis(log_p, labels[:, None], -1)[:, 0]


def policy(log_prob, entropy):
    """A loss of log-probabilities with an entropy bonus."""
    return -jnp.mean(log_prob) - BONUS * jnp.mean(entropy)


def naive_policy(h, w, labels, *_):
    log_p = log_softmax(h, w)
    return policy(taken(log_p, labels), -jnp.sum(jnp.exp(log_p) * log_p, -1))


def naive_kl(h, w, labels, teacher_h, teacher_w):
    log_p, log_q = log_softmax(teacher_h, teacher_w), log_softmax(h, w)
    return jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1))


def dense_kl(h, w, labels, teacher_h, teacher_w):
    return jaxce.kl_divergence(h @ w, jnp.exp(log_softmax(teacher_h, teacher_w)))


def linear_policy(h, w, labels, *_):
    told = jaxce.linear_log_probs(h, w, labels)
    return policy(told.log_prob, told.entropy)


def dense_policy(h, w, labels, *_):
    told = jaxce.log_probs(h @ w, labels)
    return policy(told.log_prob, told.entropy)


WORKS = {
    "log-probabilities, value": {
        NAIVE: lambda h, w, labels, *_: jnp.mean(taken(log_softmax(h, w), labels)),
        DENSE: lambda h, w, labels, *_: jnp.mean(jaxce.log_probs(h @ w, labels).log_prob),
        LINEAR: lambda h, w, labels, *_: jnp.mean(jaxce.linear_log_probs(h, w, labels).log_prob),
    },
    "log-probabilities and entropy, value and gradient": {
        NAIVE: naive_policy,
        DENSE: dense_policy,
        LINEAR: linear_policy,
    },
    "distillation from a layer, value and gradient": {
        NAIVE: naive_kl,
        DENSE: dense_kl,
        LINEAR: lambda h, w, _, *teacher: jaxce.linear_kl_divergence(h, w, jaxce.LinearLogits(*teacher)),
    },
}
"""The functions of each piece of work; the first is the one that others are compared with, and the reference."""


def draw(shape, dtype):
    tokens, features, classes = shape
    keys = jax.random.split(jax.random.key(0), 5)
    h, teacher_h = (jax.random.normal(key, (tokens, features)).astype(dtype) for key in keys[:2])
    w, teacher_w = (
        (2 * jax.random.normal(key, (features, classes)) / features**0.5).astype(dtype) for key in keys[2:4]
    )
    return h, w, jax.random.randint(keys[4], (tokens,), 0, classes), teacher_h, teacher_w


def prepared(work, function):
    return jax.value_and_grad(function, (0, 1)) if work.endswith("gradient") else function


def rows(work, shape, dtype, rounds):
    """A row for each contestant, after paired rounds."""
    arrays = draw(shape, dtype)
    with jax.enable_x64(True):
        wide = [np.asarray(a, np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else np.asarray(a) for a in arrays]
        exact = jax.device_get(jax.jit(prepared(work, WORKS[work][NAIVE]))(*wide))
    entries = {}
    for name, function in WORKS[work].items():
        program = jax.jit(prepared(work, function)).lower(*arrays).compile()
        call = partial(run, program, arrays)
        entries[name] = Entry(call, temporary=program.memory_analysis().temp_size_in_bytes)
        entries[name].loss_error, entries[name].gradient_error = errors(call(), exact)
    compete(entries, rounds, np.random.default_rng(0))
    base = entries[NAIVE]
    for name, entry in entries.items():
        ratio = statistics.median(a / b for a, b in zip(entry.seconds, base.seconds, strict=True))
        yield {
            "case": f"{dtype} {list(shape)}",
            "work": work,
            "contestant": name,
            "seconds": f"{statistics.median(entry.seconds):.4g}",
            "ratio": f"{ratio:.4g}",
            "memory": f"{entry.temporary / base.temporary:.4g}",
            "loss_error": f"{entry.loss_error:.1e}",
            "gradient_error": entry.gradient_error and f"{entry.gradient_error:.1e}",
        }


def run(program, arrays):
    return jax.block_until_ready(program(*arrays))


def errors(got, exact):
    """Relative errors of the value, and of the kernel gradient by its largest entry."""
    if not isinstance(got, tuple):
        return abs(float(got) / exact - 1), ""
    gradient, want = np.asarray(got[1][1], np.float64), exact[1][1]
    return abs(float(got[0]) / exact[0] - 1), float(np.abs(gradient - want).max() / np.abs(want).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny arrays, three rounds, no results kept")
    parser.add_argument("--rounds", type=int, default=9)
    given, stamp = parser.parse_args(), circumstances()
    if not given.quick:
        need_commit(parser, stamp)
    shape, rounds = (QUICK, 3) if given.quick else (SHAPE, given.rounds)
    found = [
        row | stamp for dtype in ("float32", "bfloat16") for work in WORKS for row in rows(work, shape, dtype, rounds)
    ]
    for row in found:
        print({name: row[name] for name in ("case", "work", "contestant", "ratio", "memory", "loss_error")})
    if not given.quick:
        with open(PAGE, "w", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
