"""Trains a U-Net to segment scattered handwritten digits: one class per pixel, and ignored pixels.

    python -m pip install ".[examples]" && python examples/segmentation.py

Each canvas holds scikit-learn's digits on an empty background. The class of a pixel is its digit, or the background.
Faint ink and the pixels beside it have the id 255, and ``ignore_index`` removes them from the loss. Nine in ten other
pixels are background, so class weights balance the digits.

A small U-Net returns logits ``[batch, height, width, classes]``. It is trained twice: with cross-entropy, and with
cross-entropy plus Dice. A table compares the two trainings. With Dice the soft overlap rises; the intersection over
union changes little. The script then computes the cross-entropy in two more ways, channel first and per pixel under
``jax.vmap``. Last, it saves a picture of inputs, labels and predictions.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import binary_dilation
from sklearn.datasets import load_digits
from sklearn.metrics import jaccard_score
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import jaxce

BACKGROUND = 10
CLASSES = 11
IGNORED = 255
COLORS = {
    "0": "#e6194b",
    "1": "#f58231",
    "2": "#c9a400",
    "3": "#8cc63f",
    "4": "#1a9850",
    "5": "#17becf",
    "6": "#1f77b4",
    "7": "#5e3c99",
    "8": "#d64fd0",
    "9": "#8c564b",
    "background": "#ffffff",
    "ignored": "#dcdcdc",
}


Loss: TypeAlias = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class UNet(nnx.Module):
    """Three scales, from images ``[batch, height, width]`` to logits ``[batch, height, width, 11]``."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.fine = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.middle = nnx.Conv(16, 32, (3, 3), strides=2, rngs=rngs)
        self.coarse = nnx.Conv(32, 64, (3, 3), strides=2, rngs=rngs)
        self.context = nnx.Conv(64, 64, (3, 3), rngs=rngs)
        self.to_middle = nnx.Conv(64 + 32, 32, (3, 3), rngs=rngs)
        self.to_fine = nnx.Conv(32 + 16, 32, (3, 3), rngs=rngs)
        self.classes = nnx.Conv(32, CLASSES, (1, 1), rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        fine = nnx.relu(self.fine(images[..., None]))
        middle = nnx.relu(self.middle(fine))
        coarse = nnx.relu(self.context(nnx.relu(self.coarse(middle))))
        middle = nnx.relu(self.to_middle(jnp.concatenate([doubled(coarse), middle], axis=-1)))
        fine = nnx.relu(self.to_fine(jnp.concatenate([doubled(middle), fine], axis=-1)))
        return self.classes(fine)


def doubled(images: jax.Array) -> jax.Array:
    """Repeats every pixel twice in each direction."""
    return images.repeat(2, axis=1).repeat(2, axis=2)


def scatter(
    rng: np.random.Generator, digits: np.ndarray, ids: np.ndarray, canvases: int
) -> tuple[jax.Array, jax.Array]:
    """Returns canvases of 48 x 48 pixels with about eight random digits each, and one label per pixel."""
    images = np.zeros((canvases, 48, 48), np.float32)
    labels = np.full(images.shape, BACKGROUND, np.uint8)
    # Digits never overlap: each has its own cell of a grid, and half of the cells stay empty.
    for canvas, row, column in np.argwhere(rng.random((canvases, 4, 4)) < 0.5):
        top, left = 12 * row + rng.integers(5), 12 * column + rng.integers(5)
        place = canvas, slice(top, top + 8), slice(left, left + 8)
        chosen = rng.integers(len(digits))
        images[place] = digits[chosen]
        labels[place][digits[chosen] >= 0.5] = ids[chosen]
    near_ink = binary_dilation(images > 0, np.ones((1, 3, 3)))
    labels[near_ink & (labels == BACKGROUND)] = IGNORED
    return jnp.asarray(images), jnp.asarray(labels)


def whole(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """The loss of logits ``[batch, height, width, classes]``."""
    return jaxce.cross_entropy(logits, labels, class_weights=weights, ignore_index=IGNORED)


def channel_first(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """The loss of logits ``[batch, classes, height, width]``."""
    logits = jnp.moveaxis(logits, -1, 1)
    return jaxce.cross_entropy(logits, labels, axis=1, class_weights=weights, ignore_index=IGNORED)


def pixel_by_pixel(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """The loss of one pixel under ``vmap``. The totals of the pixels add up, their means would not."""

    def pixel(logits: jax.Array, label: jax.Array) -> jaxce.Total:
        return jaxce.cross_entropy(logits, label, class_weights=weights, ignore_index=IGNORED, reduction="total")

    totals = jax.vmap(jax.vmap(jax.vmap(pixel)))(logits, labels)
    return jax.tree.map(jnp.sum, totals).mean()


def with_dice(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Cross-entropy plus Dice, without the digits that a canvas lacks."""
    dice = jaxce.dice_loss(logits, labels, ignore_index=IGNORED, absent="skip")
    return whole(logits, labels, weights) + dice


def trained(loss: Loss, args: argparse.Namespace, digits: np.ndarray, ids: np.ndarray, name: str) -> UNet:
    """Trains a network with one of the losses. The seed gives all networks the same start and the same canvases."""
    rng = np.random.default_rng(args.seed)
    _, sampled_labels = scatter(rng, digits, ids, canvases=64)
    weights = jaxce.balanced_class_weights(sampled_labels, CLASSES, ignore_index=IGNORED)
    model = UNet(nnx.Rngs(args.seed))
    optimizer = nnx.Optimizer(model, optax.adam(optax.cosine_decay_schedule(3e-3, args.steps)), wrt=nnx.Param)

    @nnx.jit
    def step(model: UNet, optimizer: nnx.Optimizer[UNet], images: jax.Array, labels: jax.Array) -> None:
        optimizer.update(model, nnx.grad(lambda model: loss(model(images), labels, weights))(model))

    for _ in tqdm(range(args.steps), desc=name):
        step(model, optimizer, *scatter(rng, digits, ids, canvases=8))
    return model


def print_scores(logits: dict[str, jax.Array], labels: jax.Array) -> None:
    """Prints intersection over union of each class, and the mean soft Dice, one column per training."""
    scored = np.asarray(labels != IGNORED)
    columns = []
    for scores in logits.values():
        predicted = np.asarray(jnp.argmax(scores, axis=-1))[scored]
        ious = jaccard_score(np.asarray(labels)[scored], predicted, labels=range(CLASSES), average=None)
        dice = jaxce.dice_loss(scores, labels, ignore_index=IGNORED, absent="skip")
        columns.append([*ious, np.mean(ious), 1 - float(dice)])
    print("\nintersection over union of the networks trained with")
    print(f"{'class':<16}" + "".join(f"{name:>24}" for name in logits) + f"{'change':>10}")
    names = [*range(10), "background", "mean", "mean soft Dice"]
    for name, *row in zip(names, *columns, strict=True):
        print(f"{name!s:<16}" + "".join(f"{score:>24.3f}" for score in row) + f"{row[-1] - row[0]:>+10.3f}")


def save_picture(path: Path, images: jax.Array, labels: jax.Array, predicted: jax.Array) -> None:
    """Saves input, label and prediction side by side, one row per canvas."""
    figure = Figure(figsize=(8, 2.65 * len(images) + 0.8), layout="constrained")
    rows = figure.subplots(len(images), 3)
    style = {"cmap": ListedColormap(list(COLORS.values())), "vmin": 0, "vmax": CLASSES}
    for row, image, truth, guess in zip(rows, images, labels, predicted, strict=True):
        row[0].imshow(image, cmap="gray_r")
        row[1].imshow(jnp.where(truth == IGNORED, CLASSES, truth), **style)
        # The network was never trained on ignored pixels, so their predictions mean nothing.
        row[2].imshow(jnp.where(truth == IGNORED, CLASSES, guess), **style)
    for axes, title in zip(rows[0], ("input", "label", "prediction (ignored pixels masked)"), strict=True):
        axes.set_title(title)
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[])
    patches = [Patch(facecolor=color, edgecolor="#999999", label=name) for name, color in COLORS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of data, network and batches (default: %(default)s)")
    parser.add_argument("--out", type=Path, default="segmentation.png", help="the picture (default: %(default)s)")
    args = parser.parse_args()

    digits = load_digits()
    train_digits, test_digits, train_ids, test_ids = train_test_split(
        digits.images / 16, digits.target, test_size=1 / 3, stratify=digits.target, random_state=args.seed
    )
    losses: dict[str, Loss] = {"cross-entropy": whole, "cross-entropy + Dice": with_dice}
    models = {name: trained(loss, args, train_digits, train_ids, name) for name, loss in losses.items()}

    images, labels = scatter(np.random.default_rng(args.seed + 1), test_digits, test_ids, canvases=100)
    outputs = {name: model(images) for name, model in models.items()}
    print_scores(outputs, labels)

    logits = outputs["cross-entropy + Dice"]
    predicted = jnp.argmax(logits, axis=-1)
    weights = jaxce.balanced_class_weights(labels, CLASSES, ignore_index=IGNORED)
    loss, gradient = jax.value_and_grad(whole)(logits, labels, weights)
    print(f"\n{'the same loss as':<24}{'value':>12}{'differs by':>14}{'gradient, relative':>22}")
    for spelling in (whole, channel_first, pixel_by_pixel):
        other_loss, other_gradient = jax.value_and_grad(spelling)(logits, labels, weights)
        gradient_error = jnp.max(abs(other_gradient - gradient)) / jnp.max(abs(gradient))
        print(f"{spelling.__name__:<24}{other_loss:>12.8f}{abs(other_loss - loss):>14.1e}{gradient_error:>22.1e}")

    save_picture(args.out, images[:3], labels[:3], predicted[:3])
    print(f"\nInputs, labels and predictions are in {args.out}")


if __name__ == "__main__":
    main()
