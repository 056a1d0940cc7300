"""Distills a small language model from the hidden states of a larger one, and compares it with training on ids alone.

    python -m pip install ".[examples]" && python examples/distillation.py

The text is the source of Python's standard library, as in ``language_model.py``. A teacher trains first. Then students
of half its width train twice from three seeds: on ids alone, and on ids and the teacher. Both see the same batches from
the same start. ``jaxce.linear_kl_divergence`` takes the hidden states and embeddings of both models, and materializes
one chunk of their logits at a time. ``student_loss`` below is that loss.

The script prints the perplexity of held-out files for each seed. At equal steps the teacher helps. At equal time it
does not: a step with the teacher takes twice as long, and 210 steps on ids alone reach a lower perplexity.

Then it compares ``student_loss`` with ``dense_loss``, the same loss from logits: value, gradients, and temporary memory
on a device. ``--devices 8`` splits the rows over eight fake CPU devices, and compares the first losses with those of
one device. The script fails if two ways to the same number differ.
"""

import argparse
import math
import statistics
import sys
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P
from language_model import PADDING, START, load_data, next_tokens
from matplotlib.figure import Figure
from tqdm import tqdm

import jaxce

VOCABULARY, LENGTH, ROWS = 8192, 128, 8
TEACHER_STEPS = 3  # for each step of a student
TEACHER_WIDTH, STUDENT_WIDTH, LAYERS, HEADS = 128, 64, 2, 4
TEACHER_SHARE, TEMPERATURE = 0.5, 1.0
# The students' rates are each the best of 5e-3, 1e-2 and 2e-2 by the held-out loss from seed 9. On ids alone, 4e-2 is
# worse than 1e-2. The teacher's rate is that of language_model.py.
RATES = {"teacher": 7e-3, "ids": 2e-2, "ids and teacher": 2e-2}
INIT = nnx.initializers.normal(0.1)
MEASUREMENTS = 5
HELD_OUT_ROWS = 256
COMPARED_ROWS = 32
CHECKED_STEPS = 5
# The largest difference between two ways to the same numbers, relative to the loss or the gradient's largest entry.
SAME = 1e-5


class Block(nnx.Module):
    """Attention inside a piece of text, and a feed-forward layer."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List([nnx.RMSNorm(width, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(HEADS, width, use_bias=False, decode=False, rngs=rngs)
        self.widen = nnx.Linear(width, 4 * width, use_bias=False, rngs=rngs)
        self.narrow = nnx.Linear(4 * width, width, use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = x + self.attention(self.norms[0](x), mask=mask)
        return x + self.narrow(nnx.gelu(self.widen(self.norms[1](x))))


class Transformer(nnx.Module):
    """From tokens ``[rows, length]`` to hidden states ``[rows, length, width]``."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.tokens = nnx.Embed(VOCABULARY, width, embedding_init=INIT, rngs=rngs)
        self.places = nnx.Embed(LENGTH, width, embedding_init=INIT, rngs=rngs)
        self.blocks = nnx.List([Block(width, rngs) for _ in range(LAYERS)])
        self.norm = nnx.RMSNorm(width, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        piece = jnp.cumsum(tokens == START, axis=1)
        mask = nnx.combine_masks(nnx.make_causal_mask(tokens), nnx.make_attention_mask(piece, piece, jnp.equal))
        x = self.tokens(tokens) + self.places(jnp.arange(LENGTH))
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


def layer(model: Transformer, tokens: jax.Array) -> jaxce.LinearLogits:
    """The hidden states and the tied embedding."""
    return jaxce.LinearLogits(model(tokens), model.tokens.embedding[...])


def student_loss(student: jaxce.LinearLogits, teacher: jaxce.LinearLogits | None, labels: jax.Array) -> jax.Array:
    """Cross-entropy of the ids, averaged with the divergence from the teacher, if there is one."""
    options = {"kernel_layout": "vd", "where": labels > PADDING, "in_specs": (P("data"), P())}
    from_ids = jaxce.linear_cross_entropy(student.hidden, student.kernel, labels, **options)
    if teacher is None:
        return from_ids
    from_teacher = jaxce.linear_kl_divergence(
        student.hidden, student.kernel, teacher, temperature=TEMPERATURE, **options
    )
    return (1 - TEACHER_SHARE) * from_ids + TEACHER_SHARE * from_teacher


def dense_loss(student: jaxce.LinearLogits, teacher: jaxce.LinearLogits, labels: jax.Array) -> jax.Array:
    """The same from logits ``[rows, length, vocabulary]`` of both."""
    logits, teacher_logits = (x.hidden @ x.kernel.T for x in (student, teacher))
    mask, t = labels > PADDING, TEMPERATURE
    from_ids = jaxce.cross_entropy(logits, labels, where=mask)
    from_teacher = t**2 * jaxce.kl_divergence(logits / t, jax.nn.softmax(teacher_logits / t), where=mask)
    return (1 - TEACHER_SHARE) * from_ids + TEACHER_SHARE * from_teacher


@nnx.jit
def train_step(
    model: Transformer, optimizer: nnx.Optimizer[Transformer], teacher: Transformer | None, tokens: jax.Array
) -> jax.Array:
    """One step of the optimizer on ``[rows, length]`` tokens. Returns the loss before it."""
    told = None if teacher is None else layer(teacher, tokens)

    def loss(model: Transformer) -> jax.Array:
        return student_loss(layer(model, tokens), told, next_tokens(tokens))

    value, gradient = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradient)
    return value


@nnx.jit
def held_out_loss(model: Transformer, tokens: jax.Array) -> jax.Array:
    return student_loss(layer(model, tokens), None, next_tokens(tokens))


def mesh_of(devices: int) -> Mesh:
    """A mesh with one axis, for rows."""
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])


class Run(NamedTuple):
    """A trained model, the loss and the time of each step, and pairs of a step and a held-out loss."""

    model: Transformer
    losses: list[float]
    seconds: list[float]
    held_out: list[tuple[int, float]]


@cache
def adam(rate: float, steps: int) -> optax.GradientTransformation:
    """Cached, because another object would compile the step again."""
    return optax.adam(optax.warmup_cosine_decay_schedule(rate / 10, rate, max(1, steps // 10), steps), b2=0.99)


def train(
    name: str,
    teacher: Transformer | None,
    data: tuple[np.ndarray, np.ndarray],
    steps: int,
    seed: int = 0,
    stop: int | None = None,
) -> Run:
    """Trains a model for the first ``stop`` of ``steps`` steps, without a measurement, or for all of them."""
    rows, held_out = data
    rng = np.random.default_rng(seed)
    run = Run(Transformer(TEACHER_WIDTH if name == "teacher" else STUDENT_WIDTH, nnx.Rngs(seed)), [], [], [])
    optimizer = nnx.Optimizer(run.model, adam(RATES[name], steps), wrt=nnx.Param)
    devices = jax.sharding.get_abstract_mesh().size
    for step in (bar := tqdm(range(1, 1 + (stop or steps)), desc=f"{name}, seed {seed}, devices: {devices}")):
        batch = jax.device_put(rows[rng.integers(len(rows), size=ROWS)], P("data"))
        start = time.perf_counter()
        run.losses.append(float(train_step(run.model, optimizer, teacher, batch)))
        run.seconds.append(time.perf_counter() - start)
        if not stop and (step == steps or step % max(1, steps // MEASUREMENTS) == 0):
            run.held_out.append((step, float(held_out_loss(run.model, jax.device_put(held_out, P("data"))))))
        bar.set_postfix(loss=f"{run.losses[-1]:.3f}")
    return run


def compare(student: Transformer, teacher: Transformer, tokens: jax.Array) -> tuple[dict[str, float], float]:
    """Prints memory of both losses with their gradients. Returns it, in MiB, and their largest difference."""
    given = nnx.jit(layer)(student, tokens), nnx.jit(layer)(teacher, tokens), next_tokens(tokens)
    memory, results = {}, {}
    print(f"\n{f'loss of {tokens.size} tokens, gradients':<40}{'memory, MiB':>14}{'loss':>14}")
    for name, loss in (("linear", student_loss), ("dense", dense_loss)):
        step = jax.jit(jax.value_and_grad(loss)).lower(*given).compile()
        memory[name] = step.memory_analysis().temp_size_in_bytes / 2**20
        results[name] = jax.device_get(step(*given))
        print(f"{name:<40}{memory[name]:>14.1f}{results[name][0]:>14.6f}")
    pairs = zip(*(jax.tree.leaves(results[name]) for name in ("linear", "dense")), strict=True)
    apart = np.max([np.max(abs(linear - dense)) / np.max(abs(dense)) for linear, dense in pairs])
    print(f"Largest difference: {apart:.1e} (bound {SAME:.0e}).")
    return memory, apart


def compare_devices(
    teacher: Transformer, students: dict[str, list[Run]], data: tuple[np.ndarray, np.ndarray], args: argparse.Namespace
) -> float:
    """Trains the first steps again on one device. Prints both losses, and returns their largest difference."""
    graph, state = nnx.split(teacher)
    teacher = nnx.merge(graph, jax.device_put(state, jax.devices()[0]))
    differences = []
    print(f"\n{'loss of step':<26}{'1 device':>14}{f'{args.devices} devices':>14}")
    for name, runs in students.items():
        with jax.set_mesh(mesh_of(1)):
            again = train(
                name, teacher if "teacher" in name else None, data, args.steps, stop=min(args.steps, CHECKED_STEPS)
            )
        for step, (one, many) in enumerate(zip(again.losses, runs[0].losses, strict=False), start=1):
            print(f"{f'{name}, {step}':<26}{one:>14.6f}{many:>14.6f}")
            differences.append(abs(one - many) / one)
    return max(differences)


def print_perplexities(teacher: Run, students: dict[str, list[Run]]) -> None:
    """Prints them for each seed, with mean and standard deviation, and the median time of a step."""
    seeds = len(students["ids"])
    columns = [*(f"seed {i}" for i in range(seeds)), "mean", "std", "ms a step"]
    print(f"\n{'held-out perplexity':<20}" + "".join(f"{column:>10}" for column in columns))
    found, milliseconds = {}, {}
    for name, runs in {"teacher": [teacher], **students}.items():
        found[name] = np.exp([run.held_out[-1][1] for run in runs])
        statistic = (found[name].mean(), found[name].std(ddof=1)) if len(runs) > 1 else ("", "")
        numbers = [*found[name], *[""] * (seeds - len(runs)), *statistic]
        milliseconds[name] = 1000 * statistics.median(seconds for run in runs for seconds in run.seconds)
        cells = "".join(f"{number:>10.1f}" if number else " " * 10 for number in numbers)
        print(f"{name:<20}{cells}{milliseconds[name]:>10.0f}")
    ratios = found["ids and teacher"] / found["ids"]
    print(f"{'ratio':<20}" + "".join(f"{ratio:>10.3f}" for ratio in ratios))
    verdict = "helps" if max(ratios) < 1 else "does not help"
    longer = milliseconds["ids and teacher"] / milliseconds["ids"]
    print(f"The teacher {verdict} from every seed at equal steps. A step with it takes {longer:.1f} times as long.")


def save_picture(path: Path, teacher: Run, students: dict[str, list[Run]], memory: dict[str, float]) -> None:
    """Saves a plot of the held-out perplexities of all seeds, and bars of the memory."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    for (name, runs), color in zip(students.items(), ("#1f77b4", "#d62728"), strict=True):
        for i, run in enumerate(runs):
            steps, losses = zip(*run.held_out, strict=True)
            left.plot(steps, np.exp(losses), "o-", color=color, markersize=3, label=None if i else f"student: {name}")
    left.axhline(math.exp(teacher.held_out[-1][1]), color="#7f7f7f", linestyle="--", label="teacher")
    left.set(xlabel="step of the student", ylabel="perplexity of held-out tokens", yscale="log")
    left.set_title(f"One line per seed, {len(students['ids'])} seeds", fontsize=10)
    left.yaxis.set_major_formatter("{x:.0f}")
    left.yaxis.set_minor_formatter("{x:.0f}")
    left.legend(frameon=False)
    right.bar_label(right.bar(list(memory), list(memory.values()), color="#9ecae1"), fmt="%.0f")
    right.set_ylabel("temporary memory of loss and gradients, MiB")
    right.set_title(f"{COMPARED_ROWS * LENGTH} tokens", fontsize=10)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="training steps of a student (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=1, choices=(1, 2, 4, 8), help="fake CPU devices, if more than 1")
    parser.add_argument("--out", type=Path, default="distillation.png", help="the picture (default: %(default)s)")
    args = parser.parse_args()
    # The default precision of some accelerators is too low for these comparisons.
    jax.config.update("jax_default_matmul_precision", "float32")
    if args.devices > 1:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", args.devices)

    rows, held_out = load_data(0, VOCABULARY, LENGTH)
    data = rows, held_out[:: len(held_out) // HELD_OUT_ROWS][:HELD_OUT_ROWS]
    print(f"Rows of {LENGTH} tokens: {len(rows)} to train on, {len(data[1])} held out")
    with jax.set_mesh(mesh_of(args.devices)):
        teacher = train("teacher", None, data, TEACHER_STEPS * args.steps)
        teachers = {"ids": None, "ids and teacher": teacher.model}
        students = {
            name: [train(name, given, data, args.steps, seed) for seed in range(args.seeds)]
            for name, given in teachers.items()
        }
        print_perplexities(teacher, students)
        memory, apart = compare(
            students["ids"][0].model, teacher.model, jax.device_put(rows[:COMPARED_ROWS], P("data"))
        )
    save_picture(args.out, teacher, students, memory)
    print(f"\nThe plot of the perplexities is in {args.out}")
    if args.devices > 1:
        apart = max(apart, compare_devices(teacher.model, students, data, args))
    if not apart <= SAME:
        sys.exit("A difference is beyond its bound.")


if __name__ == "__main__":
    main()
