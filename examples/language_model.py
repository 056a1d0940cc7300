"""Trains a small language model on the source of Python's standard library.

    python -m pip install ".[examples]" && python examples/language_model.py

With a vocabulary of 16,384 byte pairs, the logits are the largest array. ``jaxce.linear_cross_entropy`` takes the
hidden states and the tied embedding, and materializes one chunk of the logits at a time. ``fused_loss`` below is that
loss, and ``train_step`` trains with it.

Files are cut at two blank lines, and several pieces are packed into a row. Attention stays inside a piece. ``where``
masks padding and the last token of each piece. Each microbatch gives a ``jaxce.Total``. ``jaxce.value_and_grad`` adds
totals and gradients for any amount of padding, and divides once. The perplexity is measured on held-out files. At the
end, the script compares ``fused_loss`` with ``dense_loss``, the same loss from logits: loss, gradients, time, and
temporary memory on a device.

``--devices 8`` trains on eight fake CPU devices. Rows are split over four pairs of devices, the embedding and the
feed-forward layers over the two devices of a pair. The first losses are compared with those of one device. The
devices share one machine, so this checks numbers, not speed. The script fails if two ways to the same number differ.
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
    """Attention, and a feed-forward layer split over the mesh axis "model"."""

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
    """The labels: the next token of each token. START and PADDING are masked."""
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
    """One step of the optimizer on ``[rows, length]`` tokens. Returns the mean loss before it."""
    graph, params = nnx.split(model)

    def loss(params: nnx.State, tokens: jax.Array) -> jaxce.Total:
        model = nnx.merge(graph, params)
        return fused_loss(model(tokens), model.tokens.embedding[...], next_tokens(tokens), Z_LOSS)

    # One division, by the valid tokens of all microbatches. A mean per microbatch would favor those with padding.
    value, gradient = jaxce.value_and_grad(loss, microbatches=MICROBATCHES)(params, batch)
    optimizer.update(model, gradient)
    return value


@nnx.jit
def held_out_step(model: Transformer, tokens: jax.Array) -> jaxce.Total:
    """The loss without the z-loss, as the perplexity needs it."""
    return fused_loss(model(tokens), model.tokens.embedding[...], next_tokens(tokens), 0.0)


def mesh_of(devices: int) -> Mesh:
    """A mesh with an axis "data" for rows, and an axis "model" for classes and feed-forward units."""
    shape = max(1, devices // 2), min(2, devices)
    return jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:devices])


def train(rows: np.ndarray, steps: int, args: argparse.Namespace) -> tuple[Transformer, list[float]]:
    """Trains a transformer for the first ``steps`` of ``args.steps`` steps. Returns it with its losses."""
    rng = np.random.default_rng(args.seed)
    model = Transformer(nnx.Rngs(args.seed))
    schedule = optax.warmup_cosine_decay_schedule(RATE / 10, RATE, args.steps // 10, args.steps)
    optimizer = nnx.Optimizer(model, optax.adam(schedule, b2=0.99), wrt=nnx.Param)
    losses: list[float] = []
    devices = jax.sharding.get_abstract_mesh().size
    for _ in (bar := tqdm(range(steps), desc=f"training, devices: {devices}")):
        batch = rows[rng.integers(len(rows), size=MICROBATCHES * ROWS)]
        batch = jax.device_put(batch, P("data"))
        losses.append(float(train_step(model, optimizer, batch)))
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return model, losses


def load_data(seed: int, vocabulary: int = VOCABULARY, length: int = LENGTH) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of tokens for training, and rows of held-out files, unseen by model and tokenizer."""
    library = Path(sysconfig.get_path("stdlib"))
    # Some machines lack the tests; the encodings are tables of numbers.
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
        vocab_size=vocabulary,
        special_tokens=["<|start|>", "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(seen, trainer)
    return pack(tokenizer, seen, length), pack(tokenizer, held_out, length)


def pack(tokenizer: Tokenizer, pieces: list[str], length: int) -> np.ndarray:
    """Packs whole pieces into rows of tokens, with padding at the end. Pieces longer than a row are cut."""
    rows: list[list[int]] = [[]]
    for ids in (encoding.ids for encoding in tokenizer.encode_batch_fast(pieces)):
        for cut in range(0, len(ids), length - 1):
            piece = [START, *ids[cut : cut + length - 1]]
            if len(rows[-1]) + len(piece) > length:
                rows.append([])
            rows[-1] += piece
    return np.array([row + [PADDING] * (length - len(row)) for row in rows], np.int32)


def frequency_loss(rows: np.ndarray, held_out: np.ndarray) -> float:
    """The loss of held-out tokens under the frequencies of the training tokens."""
    seen, labels = (np.asarray(next_tokens(tokens)) for tokens in (rows, held_out))
    counts = 1 + np.bincount(seen[seen > PADDING], minlength=VOCABULARY)
    return -np.log(counts / counts.sum())[labels[labels > PADDING]].mean()


def held_out_loss(model: Transformer, held_out: np.ndarray) -> float:
    # Rows of padding fill the last batch.
    batches = np.pad(held_out, ((0, -len(held_out) % ROWS), (0, 0)), constant_values=PADDING).reshape(-1, ROWS, LENGTH)
    batches = jax.device_put(batches, P(None, "data"))
    return float(sum(held_out_step(model, tokens) for tokens in tqdm(batches, desc="held out")).mean())


def mean_of(loss: Callable[..., jaxce.Total], *given: jax.Array) -> jax.Array:
    return loss(*given, Z_LOSS).mean()


def compare(model: Transformer, tokens: jax.Array) -> float:
    """Prints memory and time of both losses with their gradients. Returns their largest difference."""
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
    print(f"Largest difference: {apart:.1e} (bound {SAME:.0e}).")
    return apart


def save_picture(path: Path, losses: list[float], frequencies: float, held_out: float) -> None:
    """Saves a plot of the training loss of each step, and of the held-out losses."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="#9ecae1", linewidth=1, label="training, each step")
    smooth = min(20, len(losses))
    means = np.convolve(losses, np.ones(smooth) / smooth, "valid")
    axes.plot(steps[smooth - 1 :], means, color="#1f77b4", label=f"training, mean of {smooth} steps")
    axes.axhline(frequencies, color="#7f7f7f", linestyle="--", label="held out, token frequencies")
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
    # The default precision of some accelerators is too low for these comparisons.
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
        held_out_mean = held_out_loss(model, held_out)
        frequencies = frequency_loss(rows, held_out)
        print(f"\n{'held-out files':<26}{'loss':>14}{'perplexity':>14}")
        for name, loss in (("token frequencies", frequencies), ("transformer", held_out_mean)):
            print(f"{name:<26}{loss:>14.3f}{math.exp(loss):>14.1f}")
        differences = [compare(model, jax.device_put(rows[:ROWS], P("data")))]
    save_picture(args.out, losses, frequencies, held_out_mean)
    print(f"\nThe plot of the losses is in {args.out}")

    if first_losses:
        print(f"\n{'loss of step':<26}{'1 device':>14}{f'{args.devices} devices':>14}")
        for step, (one, many) in enumerate(zip(first_losses, losses, strict=False), start=1):
            print(f"{step:<26}{one:>14.6f}{many:>14.6f}")
            differences.append(abs(one - many) / one)
    if not all(difference <= SAME for difference in differences):
        sys.exit("A difference is beyond its bound.")


if __name__ == "__main__":
    main()
