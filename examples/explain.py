"""Explains worked numbers, then finds wrong labels among handwritten digits by their losses.

    python -m pip install ".[examples]" && python examples/explain.py --out explain.png

``jaxce.explain`` prints a loss as a table: examples, softmax, weights, divisor. The second part replaces 5 % of the
labels of scikit-learn's digits by other digits, and trains a small network for some steps. The wrong labels then have
the highest losses: the script prints the precision among the k highest, ``jaxce.summarize`` of a training step, and
draws the worst images. It takes about 20 seconds.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from tqdm import tqdm

import jaxce

CLASSES = 10
FLIPPED_SHARE = 0.05
SHOWN = 24

Params = dict[str, jax.Array]


def explain_worked_numbers() -> None:
    """The three examples of four classes, and the weighted pixels, of the tests of worked numbers."""
    logits = jnp.array(
        [[0.0054, -0.8030, -0.5758, -0.6518], [-0.5518, 0.3904, 0.5296, 0.4973], [0.1608, 0.5822, 0.9536, -0.3173]]
    )
    print(jaxce.explain(jaxce.cross_entropy, logits, jnp.array([0, 2, 3])), end="\n\n")
    pixels = jnp.array([[[0.0, 1.0], [0.0, 0.0], [0.0, 1.0]]])  # channel first
    weights = jnp.array([1.0, 2.0, 3.0])
    print(jaxce.explain(jaxce.cross_entropy, pixels, jnp.array([[0, 1]]), axis=1, class_weights=weights), end="\n\n")
    probs = jnp.array([0.8, 0.7, 0.1])
    print(jaxce.explain(jaxce.binary_cross_entropy, probs, jnp.array([1, 1, 0]), reduction="sum"), end="\n\n")


def load_data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images ``[n, 64]``, labels of which some are wrong, and which are."""
    digits = load_digits()
    flipped = rng.random(len(digits.target)) < FLIPPED_SHARE
    other = (digits.target + rng.integers(1, CLASSES, len(digits.target))) % CLASSES
    return (digits.data / 16).astype(np.float32), np.where(flipped, other, digits.target).astype(np.int32), flipped


def init(key: jax.Array) -> Params:
    first, second = jax.random.split(key)
    return {"hidden": jax.random.normal(first, (64, 64)) / 8, "head": jax.random.normal(second, (64, CLASSES)) / 8}


def logits_of(params: Params, images: jax.Array) -> jax.Array:
    return jax.nn.relu(images @ params["hidden"]) @ params["head"]


def train(images: np.ndarray, labels: np.ndarray, steps: int, rng: np.random.Generator) -> Params:
    """A network of one hidden layer; the last step's summary is printed."""
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params: Params, state: optax.OptState, batch: jax.Array, y: jax.Array) -> tuple:
        def loss(params: Params) -> tuple[jax.Array, jaxce.Summary]:
            logits = logits_of(params, batch)
            return jaxce.cross_entropy(logits, y), jaxce.summarize(jaxce.cross_entropy, logits, y, top_k=3)

        gradient, summary = jax.grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, summary

    params = init(jax.random.key(0))
    state = optimizer.init(params)
    for _ in tqdm(range(steps), desc="training"):
        batch = rng.integers(len(labels), size=128)
        params, state, summary = step(params, state, images[batch], labels[batch])
    print(f"\nThe last training step:\n{summary}\n")
    return params


def draw(images: np.ndarray, labels: np.ndarray, flipped: np.ndarray, told: jaxce.Explanation, path: str) -> None:
    """The images with the highest losses; a title in red has a wrong label."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, SHOWN // 3, figsize=(SHOWN // 3 * 1.3, 5))
    for axis, i, loss in zip(axes.flat, told.examples["example"], told.examples["loss"], strict=False):
        axis.imshow(images[i].reshape(8, 8), cmap="gray_r")
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"label {labels[i]}\nloss {loss:.1f}", fontsize=8, color="tab:red" if flipped[i] else "black")
    figure.suptitle("Highest losses; red: the label is wrong")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of wrong labels and batches (default: %(default)s)")
    parser.add_argument("--out", help="file for a figure of the images with the highest losses")
    args = parser.parse_args()

    explain_worked_numbers()
    rng = np.random.default_rng(args.seed)
    images, labels, flipped = load_data(rng)
    params = train(images, labels, args.steps, rng)
    logits = logits_of(params, images)
    print(f"All {len(labels)} images, {flipped.sum()} with a wrong label:")
    print(jaxce.explain(jaxce.cross_entropy, logits, labels), end="\n\n")
    told = jaxce.explain(jaxce.cross_entropy, logits, labels, top_k=max(SHOWN, int(flipped.sum())))
    print(f"{'k':>4}{'wrong among the k highest losses':>36}{'by chance':>12}")
    for k in (10, 20, 50, int(flipped.sum())):
        worst = told.examples["example"][:k]
        print(f"{k:>4}{flipped[worst].mean():>36.2f}{flipped.mean():>12.2f}")
    if args.out:
        draw(images, labels, flipped, told, args.out)


if __name__ == "__main__":
    main()
