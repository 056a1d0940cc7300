"""Detects handwritten digits with a dense one-stage network, and compares four losses of the scores over three seeds.

    python -m pip install ".[examples]" && python examples/detection.py

Each canvas holds one to five of scikit-learn's digits, 8 to 16 pixels high, and two halves of digits as clutter. The
network has one score per class and one box in each of 16 x 16 cells. The cells in the middle of a digit are positive,
about seven of 256, for one class of ten. So 0.3 % of the scores are positive, and most of the others are easy. Four
losses of the scores are compared:

- plain binary cross-entropy, summed;
- the same with the positives and the three hardest negatives for each of them (``Hardest``, as in SSD);
- the focal loss (``sigmoid_focal_loss``, as in RetinaNet);
- the quality focal loss (``quality_focal_loss``): the label of a positive score is the overlap of the predicted box.

All are divided by the number of positives, and the loss of the boxes is the same. Within a seed, all start from the
same weights and see the same batches. The table has the average precision on held-out canvases, for boxes that overlap
the true one by 0.5 and by 0.75, and says which differences exceed the spread of the seeds. The training is short, and
the comparison holds for it alone.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from boxes import Boxes, average_precision, suppress
from flax import nnx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from spread import Scores, print_table, print_verdict, write_csv
from tqdm import tqdm

import jaxce

CLASSES, SIZE, STRIDE, CELLS = 10, 64, 4, 16
SMALLEST, LARGEST, CLUTTER, TRIES = 8, 16, 2, 500
BATCH, TESTED, DRAWN, CANDIDATES = 8, 200, 3, 40
# For each loss the best of 2.5e-3, 5e-3 and 1e-2, by the average precision at 0.5 from seed 9.
RATES = {"plain": 2.5e-3, "hard negatives": 5e-3, "focal": 5e-3, "quality focal": 5e-3}
PRIOR = 0.01  # the scores begin at this probability, as in RetinaNet
CENTERS = STRIDE * (np.arange(CELLS) + 0.5)

Loss: TypeAlias = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class Canvases(NamedTuple):
    """Images ``[n, 64, 64]``, the class of each cell or -1 ``[n, 16, 16]``, its true box ``[n, 16, 16, 4]``."""

    images: np.ndarray
    ids: np.ndarray
    corners: np.ndarray


def plain(logits: jax.Array, labels: jax.Array, overlap: jax.Array) -> jax.Array:
    """Binary cross-entropy of scores ``[batch, 16, 16, 10]``."""
    return jaxce.sigmoid_binary_cross_entropy(logits, labels, reduction="sum")


def mined(logits: jax.Array, labels: jax.Array, overlap: jax.Array) -> jax.Array:
    """The same of the positives and of three times as many negatives, those with the largest losses."""
    hardest = jaxce.Hardest(ratio=3, positives=labels > 0, reduction="sum")
    return jaxce.sigmoid_binary_cross_entropy(logits, labels, reduction=hardest)


def focal(logits: jax.Array, labels: jax.Array, overlap: jax.Array) -> jax.Array:
    return jaxce.sigmoid_focal_loss(logits, labels, reduction="sum")


def quality(logits: jax.Array, labels: jax.Array, overlap: jax.Array) -> jax.Array:
    """Labels are 0, or the overlap ``[batch, 16, 16]`` of the predicted with the true box."""
    return jaxce.quality_focal_loss(logits, labels * overlap[..., None], reduction="sum")


LOSSES: dict[str, Loss] = {"plain": plain, "hard negatives": mined, "focal": focal, "quality focal": quality}


class Detector(nnx.Module):
    """From images ``[batch, 64, 64]`` to scores ``[batch, 16, 16, 10]`` and boxes ``[batch, 16, 16, 4]``."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        # Convolutions see patches of 2 x 2 pixels, which is faster on a CPU.
        widths, strides = (4, 24, 48, 48, 48), (1, 2, 1, 1)
        self.layers = nnx.List(
            [
                nnx.Conv(*pair, (3, 3), strides=s, rngs=rngs)
                for *pair, s in zip(widths, widths[1:], strides, strict=False)
            ]
        )
        self.norms = nnx.List([nnx.RMSNorm(width, rngs=rngs) for width in widths[1:]])
        start = nnx.initializers.constant(math.log(PRIOR / (1 - PRIOR)))
        self.scores = nnx.Linear(48, CLASSES, bias_init=start, rngs=rngs)
        self.boxes = nnx.Linear(48, 4, kernel_init=nnx.initializers.normal(0.01), rngs=rngs)

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        n, half = len(images), SIZE // 2
        x = images.reshape(n, half, 2, half, 2).transpose(0, 1, 3, 2, 4).reshape(n, half, half, 4)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = nnx.relu(norm(layer(x)))
        return self.scores(x), self.boxes(x)


def encode(corners: jax.Array) -> jax.Array:
    """Boxes relative to their cells: center in units of the stride, logarithm of the size."""
    middle, size = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
    return jnp.concatenate([(middle - centers()) / STRIDE, jnp.log(size / LARGEST)], axis=-1)


def decode(offsets: jax.Array) -> jax.Array:
    """The inverse of ``encode``."""
    middle, size = centers() + STRIDE * offsets[..., :2], LARGEST * jnp.exp(jnp.clip(offsets[..., 2:], -2, 2))
    return jnp.concatenate([middle - size / 2, middle + size / 2], axis=-1)


def centers() -> jax.Array:
    """Row and column of the middle of each cell, ``[16, 16, 2]``."""
    return jnp.stack(jnp.meshgrid(*2 * [jnp.asarray(CENTERS, jnp.float32)], indexing="ij"), axis=-1)


def cell_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union of boxes in the same place of ``[..., 4]``."""
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    shared = jnp.prod(jnp.maximum(high - low, 0), axis=-1)
    areas = [jnp.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def total_loss(model: Detector, loss: Loss, images: jax.Array, ids: jax.Array, corners: jax.Array) -> jax.Array:
    """The loss of the scores plus that of the boxes, both sums over the cells divided by the number of positives."""
    logits, offsets = model(images)
    positive, labels = ids >= 0, jax.nn.one_hot(ids, CLASSES)
    overlap = jax.lax.stop_gradient(cell_iou(decode(offsets), corners))
    apart = 10 * optax.huber_loss(offsets, encode(corners), delta=0.1)
    of_boxes = jaxce.reduce(apart.sum(axis=-1), where=positive, reduction="sum")
    return (loss(logits, labels, overlap) + of_boxes) / jnp.maximum(positive.sum(), 1)


def resized(digit: np.ndarray, size: int) -> np.ndarray:
    """A digit of 8 x 8 pixels with another size, by linear interpolation."""
    place = np.clip((np.arange(size) + 0.5) * len(digit) / size - 0.5, 0, len(digit) - 1)
    weights = np.maximum(1 - abs(place[:, None] - np.arange(len(digit))), 0)
    return weights @ digit @ weights.T


def scatter(rng: np.random.Generator, digits: np.ndarray, ids: np.ndarray, n: int) -> tuple[Canvases, list[Boxes]]:
    """Canvases and their true boxes. Nothing overlaps. A cell is positive in the middle quarter of a digit."""
    canvases = Canvases(
        rng.normal(0, 0.1, (n, SIZE, SIZE)).astype(np.float32),
        np.full((n, CELLS, CELLS), -1, np.int32),
        np.tile(np.float32([0, 0, LARGEST, LARGEST]), (n, CELLS, CELLS, 1)),
    )
    truth = []
    for canvas in range(n):
        taken, placed, wanted = np.zeros((SIZE, SIZE), bool), [], rng.integers(1, 6)
        for _ in range(TRIES):
            if len(placed) == wanted + CLUTTER:
                break
            chosen, size = rng.integers(len(digits)), rng.integers(SMALLEST, LARGEST + 1)
            top, left = rng.integers(0, SIZE - size + 1, size=2)
            place = slice(top, top + size), slice(left, left + size)
            if taken[place].any():
                continue
            taken[max(top - 1, 0) : top + size + 1, max(left - 1, 0) : left + size + 1] = True
            ink = resized(digits[chosen], size)
            if len(placed) >= wanted:
                ink = np.where(np.arange(size) < size // 2, *rng.permutation([ink, np.zeros_like(ink)]))
            else:
                radius, middle = max(size, 2 * STRIDE) / 4, np.array([top, left]) + size / 2
                middle = [(x - radius < CENTERS) & (x + radius >= CENTERS) for x in middle]
                cells = canvas, *np.nonzero(np.outer(*middle))
                canvases.ids[cells] = ids[chosen]
                canvases.corners[cells] = top, left, top + size, left + size
            canvases.images[canvas][place] += ink
            placed.append((top, left, top + size, left + size, ids[chosen]))
        rows = np.array(placed[:wanted], float)
        truth.append(Boxes(rows[:, :4], rows[:, 4].astype(int), np.ones(len(rows))))
    return canvases, truth


def load(seed: int, steps: int) -> tuple[Canvases, Canvases, list[Boxes]]:
    """Canvases for training, and canvases and boxes for the test, from different digits."""
    digits = load_digits()
    train_digits, test_digits, train_ids, test_ids = train_test_split(
        digits.images / 16, digits.target, test_size=1 / 3, stratify=digits.target, random_state=seed
    )
    training, _ = scatter(np.random.default_rng(seed), train_digits, train_ids, steps * BATCH)
    return training, *scatter(np.random.default_rng(seed + 1000), test_digits, test_ids, TESTED)


@cache
def adam(rate: float, steps: int) -> optax.GradientTransformation:
    """Cached, because another object would compile ``start`` again."""
    return optax.adam(optax.warmup_cosine_decay_schedule(0, rate, steps // 10, steps), b2=0.99)


@partial(nnx.jit, static_argnames="rule")
def start(key: jax.Array, rule: optax.GradientTransformation) -> tuple[Detector, nnx.Optimizer[Detector]]:
    """A new network and its optimizer."""
    model = Detector(nnx.Rngs(key))
    return model, nnx.Optimizer(model, rule, wrt=nnx.Param)


def trainer(name: str, steps: int) -> Callable[[int, Canvases, tqdm], Detector]:
    """Returns a function that trains a network from a seed. All seeds share one compiled step."""

    @nnx.jit
    def step(model: Detector, optimizer: nnx.Optimizer[Detector], *batch: jax.Array) -> None:
        optimizer.update(model, nnx.grad(total_loss)(model, LOSSES[name], *batch))

    def train(seed: int, training: Canvases, bar: tqdm) -> Detector:
        model, optimizer = start(jax.random.key(seed), rule=adam(RATES[name], steps))
        train_step = nnx.cached_partial(step, model, optimizer)
        for i in range(steps):
            train_step(*(part[i * BATCH : (i + 1) * BATCH] for part in training))
            bar.update()
        return jax.block_until_ready(model)

    return train


@nnx.jit
def predict(model: Detector, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits, offsets = model(images)
    return jax.nn.sigmoid(logits).reshape(len(images), -1, CLASSES), decode(offsets).reshape(len(images), -1, 4)


def detect(model: Detector, images: np.ndarray) -> list[Boxes]:
    """The boxes of each image: the best class of the cells with the highest scores, without duplicates."""
    found = []
    for probs, corners in zip(*map(np.asarray, predict(model, images)), strict=True):
        best = np.argsort(-probs.max(axis=1))[:CANDIDATES]
        found.append(suppress(Boxes(corners[best], probs[best].argmax(axis=1), probs[best].max(axis=1))))
    return found


def draw(axes: Axes, image: np.ndarray, boxes: Boxes, count: int, color: str) -> None:
    """Draws the first boxes. Faint ink and noise are left white."""
    axes.imshow(image, cmap="gray_r", vmin=0.25, vmax=1, extent=(0, SIZE, SIZE, 0))
    axes.set(xticks=[], yticks=[])
    for (top, left, bottom, right), label, _ in zip(*(part[:count] for part in boxes), strict=True):
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color))
        axes.text(left, top - 1, str(label), color=color, fontsize=8)


def save_picture(path: Path, images: np.ndarray, truth: list[Boxes], found: dict[str, list[Boxes]]) -> None:
    """Saves the true boxes of some canvases, and as many of each network: those with the highest scores."""
    figure = Figure(figsize=(11, 2.2 * len(images) + 0.4), layout="constrained")
    rows = figure.subplots(len(images), 1 + len(found))
    for i, row in enumerate(rows):
        count = len(truth[i].ids)
        draw(row[0], images[i], truth[i], count, "#1a9850")
        for axes, boxes in zip(row[1:], found.values(), strict=True):
            draw(axes, images[i], boxes[i], count, "#d62728")
    for axes, title in zip(rows[0], ("true boxes", *found), strict=True):
        axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=350, help="training steps (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, at least 2 (default: %(default)s)")
    parser.add_argument("--out", type=Path, default="detection.png", help="the picture (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="also writes the table, for benchmarks/report.py")
    args = parser.parse_args()
    began = time.perf_counter(), time.process_time()

    data = [load(seed, args.steps) for seed in range(args.seeds)]
    overlaps = {f"AP at {overlap}": overlap for overlap in (0.5, 0.75)}
    scores: Scores = {metric: {} for metric in overlaps}
    seconds, drawn = {}, {}
    with tqdm(total=len(LOSSES) * args.seeds * args.steps) as bar:
        for name in LOSSES:
            bar.set_description(f"{name:<14}")
            since, train = time.perf_counter(), trainer(name, args.steps)
            found = [detect(train(seed, training, bar), test.images) for seed, (training, test, _) in enumerate(data)]
            for metric, overlap in overlaps.items():
                pairs = zip(found, data, strict=True)
                scores[metric][name] = np.array([average_precision(f, d[2], CLASSES, overlap) for f, d in pairs])
            drawn[name], seconds[name] = found[0][:DRAWN], time.perf_counter() - since

    print_table(scores, seconds)
    print_verdict(scores)
    if args.csv:
        write_csv(args.csv, scores)
    save_picture(args.out, data[0][1].images[:DRAWN], data[0][2][:DRAWN], drawn)
    wall, cpu = (now - then for now, then in zip((time.perf_counter(), time.process_time()), began, strict=True))
    print(f"\nThe picture is in {args.out}; {wall:.0f} s, {cpu:.0f} s on the cores")


if __name__ == "__main__":
    main()
