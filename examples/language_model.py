"""A small language model that reads the source of Python's own standard library.

    python -m pip install ".[examples]" && python examples/language_model.py

With 16,384 byte pairs to choose from, the logits are larger than all else. ``jaxce.linear_cross_entropy`` takes hidden
states and the embedding, which is also the output layer, and never holds more than a chunk of the logits. Below,
``fused_loss`` is that loss, ``train_step`` trains with it, and the rest is around them.

Files are cut where two lines are blank, and the pieces packed several to a row. Attention stays inside a piece, and
``where`` leaves out padding and the last token of each piece, after which nothing is to be guessed. Each microbatch
gives a ``jaxce.Total``: these add up however much padding they hold, and the mean is taken once. The perplexity is that
of whole files kept from training. At the end ``dense_loss``, the same loss from logits, runs beside the fused one:
their memory is what each compiled program needs on a device, besides its arguments and results.

``--devices 8`` trains on eight fake CPU devices: rows are split over four pairs of them, the embedding and the
feed-forward layers over the two of a pair. The first losses are held against those of one device. The devices share one
machine, so that this shows what is right, not what is fast. The script fails where two ways to the same numbers differ.
"""

import argparse
import math
import random
import re
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P
from matplotlib.figure import Figure
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tqdm import tqdm

import jaxce

VOCABULARY = 16384
START, PADDING = 0, 1
LENGTH = 256
MICROBATCHES, ROWS = 2, 4
WIDTH, HEADS, LAYERS = 128, 4, 2
RATE = 7e-3
Z_LOSS = 1e-4
CHECKED_STEPS = 5
# The largest difference between two ways to the same numbers, relative to the loss or the gradient's largest entry.
SAME = 1e-5


class Block(nnx.Module):
    """Attention, and a feed-forward layer whose units are split over the mesh axis "model"."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        init = nnx.initializers.lecun_normal()
        columns, rows = nnx.with_partitioning(init, (None, "model")), nnx.with_partitioning(init, ("model", None))
        self.norms = nnx.List([nnx.RMSNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, use_bias=False, decode=False, rngs=rngs)
        self.widen = nnx.Linear(WIDTH, 4 * WIDTH, use_bias=False, kernel_init=columns, rngs=rngs)
        self.narrow = nnx.Linear(4 * WIDTH, WIDTH, use_bias=False, kernel_init=rows, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = x + self.attention(self.norms[0](x), mask=mask)
        return x + self.narrow(nnx.gelu(self.widen(self.norms[1](x))))


class Transformer(nnx.Module):
    """From tokens ``[rows, length]`` to hidden states ``[rows, length, width]``."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        init = nnx.initializers.normal(0.1)
        by_class = nnx.with_partitioning(init, ("model", None))
        self.tokens = nnx.Embed(VOCABULARY, WIDTH, embedding_init=by_class, rngs=rngs)
        self.places = nnx.Embed(LENGTH, WIDTH, embedding_init=init, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
        self.norm = nnx.RMSNorm(WIDTH, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        starts, column = tokens == START, jnp.arange(LENGTH)
        piece = jnp.cumsum(starts, axis=1)
        place = column - jax.lax.cummax(jnp.where(starts, column, 0), axis=1)
        mask = nnx.combine_masks(nnx.make_causal_mask(tokens), nnx.make_attention_mask(piece, piece, jnp.equal))
        x = self.tokens(tokens) + self.places(place)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


def next_tokens(tokens: jax.Array) -> jax.Array:
    """What is to be guessed; START and PADDING are not."""
    return jnp.pad(tokens[:, 1:], ((0, 0), (0, 1)), constant_values=PADDING)


def fused_loss(hidden: jax.Array, embedding: jax.Array, labels: jax.Array, z_loss: float) -> jaxce.Total:
    """The loss from hidden states ``[rows, length, width]`` and the embedding ``[vocabulary, width]``."""
    return jaxce.linear_cross_entropy(
        hidden,
        embedding,
        labels,
        kernel_layout="vd",
        where=labels > PADDING,
        z_loss=z_loss,
        in_specs=(P("data"), P("model", None)),
        reduction="total",
    )


def dense_loss(hidden: jax.Array, embedding: jax.Array, labels: jax.Array, z_loss: float) -> jaxce.Total:
    """The same from logits ``[rows, length, vocabulary]``."""
    logits = hidden @ embedding.T
    return jaxce.cross_entropy(logits, labels, where=labels > PADDING, z_loss=z_loss, reduction="total")


@nnx.jit
def train_step(model: Transformer, optimizer: nnx.Optimizer[Transformer], batch: jax.Array) -> jax.Array:
    """One step of the optimizer on ``[microbatches, rows, length]`` tokens; the mean loss of a token before it."""

    def microbatch(model: Transformer, tokens: jax.Array) -> tuple[jax.Array, jaxce.Total]:
        total = fused_loss(model(tokens), model.tokens.embedding[...], next_tokens(tokens), Z_LOSS)
        return total.loss, total

    slopes, totals = zip(*(nnx.grad(microbatch, has_aux=True)(model, tokens) for tokens in batch), strict=True)
    total = sum(totals)
    # How many tokens count is known only here: to divide in each microbatch would favour those with more padding.
    optimizer.update(model, jax.tree.map(lambda *parts: sum(parts) / total.weight, *slopes))
    return total.mean()


@nnx.jit
def held_out_step(model: Transformer, tokens: jax.Array) -> jaxce.Total:
    """The loss without the z-loss, which is no part of a perplexity."""
    return fused_loss(model(tokens), model.tokens.embedding[...], next_tokens(tokens), 0.0)


def mesh_of(devices: int) -> Mesh:
    """Rows are split over the axis "data"; classes, and units of the feed-forward layers, over the axis "model"."""
    shape = max(1, devices // 2), min(2, devices)
    return jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:devices])


def train(rows: np.ndarray, steps: int, args: argparse.Namespace) -> tuple[Transformer, list[float]]:
    """A transformer after the first so many of ``args.steps`` steps, and their losses."""
    rng = np.random.default_rng(args.seed)
    model = Transformer(nnx.Rngs(args.seed))
    schedule = optax.warmup_cosine_decay_schedule(RATE / 10, RATE, args.steps // 10, args.steps)
    optimizer = nnx.Optimizer(model, optax.adam(schedule, b2=0.99), wrt=nnx.Param)
    losses: list[float] = []
    devices = jax.sharding.get_abstract_mesh().size
    for _ in (bar := tqdm(range(steps), desc=f"training, devices: {devices}")):
        batch = rows[rng.integers(len(rows), size=(MICROBATCHES, ROWS))]
        batch = jax.device_put(batch, P(None, "data"))
        losses.append(float(train_step(model, optimizer, batch)))
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return model, losses


def load_data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of tokens to train on, and rows from files that neither the model nor its vocabulary has seen."""
    library = Path(sysconfig.get_path("stdlib"))
    # Not every machine has the tests; the encodings are tables of numbers.
    left_out = {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages"}
    files = [file for file in sorted(library.rglob("*.py")) if left_out.isdisjoint(file.relative_to(library).parts)]
    shuffle = random.Random(seed).shuffle
    shuffle(files)
    texts = [re.split(r"\n{3,}", file.read_text("utf-8", errors="replace")) for file in files]
    held_out = [piece for text in texts[::20] for piece in text]
    seen = [piece for i, text in enumerate(texts) if i % 20 for piece in text]
    shuffle(seen)

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|start|>", "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(seen, trainer)
    return pack(tokenizer, seen), pack(tokenizer, held_out)


def pack(tokenizer: Tokenizer, pieces: list[str]) -> np.ndarray:
    """Rows of tokens: each holds the next pieces that fit whole, and then padding. What is longer than a row is cut."""
    rows: list[list[int]] = [[]]
    for encoding in tokenizer.encode_batch(pieces):
        for cut in range(0, len(encoding.ids), LENGTH - 1):
            piece = [START, *encoding.ids[cut : cut + LENGTH - 1]]
            if len(rows[-1]) + len(piece) > LENGTH:
                rows.append([])
            rows[-1] += piece
    return np.array([row + [PADDING] * (LENGTH - len(row)) for row in rows], np.int32)


def frequency_loss(rows: np.ndarray, held_out: np.ndarray) -> float:
    """The loss of held-out tokens for who knows no more than how often each token comes."""
    seen, asked = (np.asarray(next_tokens(tokens)) for tokens in (rows, held_out))
    counts = 1 + np.bincount(seen[seen > PADDING], minlength=VOCABULARY)
    return -np.log(counts / counts.sum())[asked[asked > PADDING]].mean()


def held_out_loss(model: Transformer, held_out: np.ndarray) -> float:
    # The last batch is filled up with rows of nothing but padding.
    batches = np.pad(held_out, ((0, -len(held_out) % ROWS), (0, 0)), constant_values=PADDING).reshape(-1, ROWS, LENGTH)
    batches = jax.device_put(batches, P(None, "data"))
    return float(sum(held_out_step(model, tokens) for tokens in tqdm(batches, desc="held out")).mean())


def mean_of(loss: Callable[..., jaxce.Total], *given: jax.Array) -> jax.Array:
    return loss(*given, Z_LOSS).mean()


def compare(model: Transformer, tokens: jax.Array) -> float:
    """Prints memory and time of the two losses of a microbatch with their gradients; gives how far they are apart."""
    given = nnx.jit(lambda model: model(tokens))(model), model.tokens.embedding[...], next_tokens(tokens)
    steps, results, times = {}, {}, {}
    for name, loss in (("fused", fused_loss), ("dense", dense_loss)):
        steps[name] = jax.jit(jax.value_and_grad(partial(mean_of, loss), argnums=(0, 1))).lower(*given).compile()
        results[name], times[name] = jax.device_get(steps[name](*given)), []
    for _ in range(15):
        for name, step in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(*given))
            times[name].append(time.perf_counter() - start)

    print(f"\n{'loss and gradients':<26}{'memory, MiB':>14}{'time, ms':>14}{'loss':>14}")
    for name, step in steps.items():
        memory = step.memory_analysis().temp_size_in_bytes / 2**20
        milliseconds = 1000 * statistics.median(times[name])
        print(f"{name:<26}{memory:>14.1f}{milliseconds:>14.0f}{results[name][0]:>14.6f}")
    pairs = zip(*(jax.tree.leaves(results[name]) for name in ("fused", "dense")), strict=True)
    apart = np.max([np.max(abs(fused - dense)) / np.max(abs(dense)) for fused, dense in pairs])
    print(f"They are {apart:.1e} apart (bound {SAME:.0e}).")
    return apart


def save_picture(path: Path, losses: list[float], frequencies: float, held_out: float) -> None:
    """The loss of each step, and what it means for files never seen."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="#9ecae1", linewidth=1, label="training, each step")
    smooth = min(20, len(losses))
    means = np.convolve(losses, np.ones(smooth) / smooth, "valid")
    axes.plot(steps[smooth - 1 :], means, color="#1f77b4", label=f"training, mean of {smooth} steps")
    axes.axhline(frequencies, color="#7f7f7f", linestyle="--", label="held out, frequencies alone")
    axes.plot(steps[-1], held_out, "o", color="#d62728", label="held out, transformer", clip_on=False)
    axes.set(xlabel="step", ylabel="loss of a token", xlim=(0, len(losses)))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=250, help="training steps (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=1, choices=(1, 2, 4, 8), help="fake CPU devices, if more than 1")
    parser.add_argument("--seed", type=int, default=0, help="seed of files, model and batches (default: %(default)s)")
    parser.add_argument("--out", type=Path, default="language_model.png", help="the picture (default: %(default)s)")
    args = parser.parse_args()
    # The default of some accelerators is coarser than the differences that are looked at here.
    jax.config.update("jax_default_matmul_precision", "float32")
    if args.devices > 1:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", args.devices)

    rows, held_out = load_data(args.seed)
    padding = np.mean(rows == PADDING)
    print(f"Rows of {LENGTH} tokens: {len(rows)} to train on, {len(held_out)} held out, {padding:.0%} padding")

    first_losses: list[float] = []
    if args.devices > 1:
        with jax.set_mesh(mesh_of(1)):
            _, first_losses = train(rows, min(args.steps, CHECKED_STEPS), args)
    with jax.set_mesh(mesh_of(args.devices)):
        model, losses = train(rows, args.steps, args)
        guessed = held_out_loss(model, held_out)
        frequencies = frequency_loss(rows, held_out)
        print(f"\n{'held-out files':<26}{'loss':>14}{'perplexity':>14}")
        for name, loss in (("frequencies alone", frequencies), ("transformer", guessed)):
            print(f"{name:<26}{loss:>14.3f}{math.exp(loss):>14.1f}")
        differences = [compare(model, jax.device_put(rows[:ROWS], P("data")))]
    save_picture(args.out, losses, frequencies, guessed)
    print(f"\nThe losses are in {args.out}")

    if first_losses:
        print(f"\n{'loss of step':<26}{'1 device':>14}{f'{args.devices} devices':>14}")
        for step, (one, many) in enumerate(zip(first_losses, losses, strict=False), start=1):
            print(f"{step:<26}{one:>14.6f}{many:>14.6f}")
            differences.append(abs(one - many) / one)
    if not all(difference <= SAME for difference in differences):
        sys.exit("A difference is beyond its bound.")


if __name__ == "__main__":
    main()
