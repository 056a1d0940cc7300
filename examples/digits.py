"""Trains a classifier on handwritten digits, with three rare classes and a quarter of the labels missing.

    python -m pip install ".[examples]" && python examples/digits.py

``jaxce.balanced_class_weights`` gives rare and common digits the same total weight. ``ignore_index`` removes images
without a label from the loss. The script trains the same small network four times, with and without each of the two.
It then prints the accuracy on a balanced test set, and the balanced accuracy of the rare digits. If missing labels
become 0, digit 0 looks common, so the class weights undo most of the harm. At the end, optax and NumPy compute the
loss of one batch too: the same number, in more code.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import jaxce

CLASSES = 10
RARE = (7, 8, 9)
RARE_IMAGES = 20
MISSING = -1
MISSING_SHARE = 0.25


class Classifier(nnx.Module):
    """Two convolutions and a linear layer, from images ``[batch, 10, 10]`` to logits ``[batch, 10]``."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 16, kernel_size=(3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, kernel_size=(3, 3), strides=2, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(5 * 5 * 32, CLASSES, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = nnx.relu(self.conv1(images[..., None]))
        x = nnx.relu(self.conv2(x))
        return self.head(self.dropout(x.reshape(len(x), -1)))


@nnx.jit
def train_step(
    model: Classifier, optimizer: nnx.Optimizer[Classifier], images: jax.Array, labels: jax.Array, weights: jax.Array
) -> None:
    """One step of the optimizer on one batch."""

    def loss(model: Classifier) -> jax.Array:
        return jaxce.cross_entropy(model(images), labels, class_weights=weights, ignore_index=MISSING)

    optimizer.update(model, nnx.grad(loss)(model))


def train(name: str, images: jax.Array, labels: jax.Array, weights: jax.Array, steps: int, seed: int) -> Classifier:
    """Trains a classifier on random batches, each shifted by up to a pixel."""
    rng = np.random.default_rng(seed)
    model = Classifier(nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, optax.adam(optax.cosine_decay_schedule(3e-3, steps)), wrt=nnx.Param)
    for _ in tqdm(range(steps), desc=name):
        batch = rng.integers(len(labels), size=128)
        shifted = jnp.roll(images[batch], rng.integers(-1, 2, size=2), axis=(1, 2))
        train_step(model, optimizer, shifted, labels[batch], weights)
    model.eval()
    return model


def load_data(seed: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns training images and labels, imbalanced and partly missing, and a complete, balanced test set."""
    digits = load_digits()
    # The border leaves room for the shifts in training.
    images = np.pad(digits.images / 16, ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    images, test_images, labels, test_labels = train_test_split(
        images, digits.target, test_size=1 / 3, stratify=digits.target, random_state=seed
    )
    chosen = [np.flatnonzero(labels == c)[: RARE_IMAGES if c in RARE else None] for c in range(CLASSES)]
    images, labels = images[np.concatenate(chosen)], labels[np.concatenate(chosen)]
    is_missing = np.random.default_rng(seed).random(len(labels)) < MISSING_SHARE
    labels = np.where(is_missing, MISSING, labels)
    return jnp.asarray(images), jnp.asarray(labels), jnp.asarray(test_images), jnp.asarray(test_labels)


def optax_loss(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """The weighted mean over labelled images, written around optax's loss of one image."""
    safe_labels = jnp.where(labels == MISSING, 0, labels)
    image_weights = jnp.where(labels == MISSING, 0, weights[safe_labels])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, safe_labels)
    return jnp.sum(image_weights * losses) / jnp.sum(image_weights)


def numpy_loss(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> np.float64:
    """The same loss from its definition, in float64."""
    valid = np.asarray(labels != MISSING)
    x, y = np.asarray(logits, np.float64)[valid], np.asarray(labels)[valid]
    w = np.asarray(weights, np.float64)[y]
    losses = np.log(np.sum(np.exp(x), axis=-1)) - x[np.arange(len(y)), y]
    return np.sum(w * losses) / np.sum(w)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=900, help="training steps of each network (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of data, networks and batches (default: %(default)s)")
    args = parser.parse_args()

    images, labels, test_images, test_labels = load_data(args.seed)
    counts = " ".join(f"{digit}:{jnp.sum(labels == digit)}" for digit in range(CLASSES))
    print(f"Training labels: {counts} missing:{jnp.sum(labels == MISSING)}")

    filled = jnp.where(labels == MISSING, 0, labels)
    even = jnp.ones(CLASSES)
    balanced = jaxce.balanced_class_weights(labels, CLASSES, ignore_index=MISSING)
    variants = {
        ("balanced", "ignored"): (labels, balanced),
        ("none", "ignored"): (labels, even),
        ("balanced", "set to 0"): (filled, jaxce.balanced_class_weights(filled, CLASSES)),
        ("none", "set to 0"): (filled, even),
    }
    models = {
        names: train(f"{number} of {len(variants)}", images, *data, args.steps, args.seed)
        for number, (names, data) in enumerate(variants.items(), start=1)
    }

    print(f"\n{'class weights':<15}{'missing labels':<16}{'test accuracy':>15}{'of rare digits':>20}")
    for (weighting, treatment), model in models.items():
        predicted = jnp.argmax(model(test_images), axis=-1)
        accuracy = jnp.mean(predicted == test_labels)
        rare_accuracy = recall_score(test_labels, predicted, labels=RARE, average="macro")
        print(f"{weighting:<15}{treatment:<16}{accuracy:>15.3f}{rare_accuracy:>20.3f}")

    logits = models["balanced", "ignored"](images[::8])
    loss = jaxce.cross_entropy(logits, labels[::8], class_weights=balanced, ignore_index=MISSING)
    print(f"\n{'loss of a batch':<31}{'value':>15}{'difference':>20}\n{'jaxce':<31}{loss:>15.8f}")
    for name, other in (("optax", optax_loss), ("NumPy, float64", numpy_loss)):
        value = other(logits, labels[::8], balanced)
        print(f"{name:<31}{value:>15.8f}{abs(float(value) - float(loss)):>20.1e}")


if __name__ == "__main__":
    main()
