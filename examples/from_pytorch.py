"""Compares the losses of a PyTorch training script with their port to JAX, on the same numbers.

    python -m pip install ".[examples]" && python examples/from_pytorch.py

A small network predicts four targets from scikit-learn's digits: the digit (three are rare, a tenth of the labels is
missing), the similarity to every digit, the corners with ink, and the centre of the ink. ``losses_before`` has its
losses in PyTorch, ``losses_after`` in JAX. The script first prints the lines that differ.

With PyTorch installed, PyTorch trains for 100 steps. At its weights of every step, both libraries compute four losses
and the gradient of their sum. Without PyTorch, or with ``--stored``, the script uses stored values of four steps;
``--record`` stores them. JAX also trains by itself from the same start, and the script compares the losses. It fails
if a difference is beyond its bound.
"""

import argparse
import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_digits
from tqdm import tqdm

import jaxce

STORED = Path(__file__).with_suffix(".npz")
STORED_STEPS = [0, 33, 66, 99]
STEPS, BATCH = 100, 128
RATE, MOMENTUM = 0.1, 0.9
HIDDEN = 24
OUTPUTS = {"digit": slice(0, 10), "corners": slice(10, 14), "centre": slice(14, 16)}
LOSSES = ("centre", "corners", "digit", "likeness")
RARE = (7, 8, 9)
TEMPERATURE = 4
# Largest differences, relative to the number itself, or to the largest entry of the gradient.
SAME_WEIGHTS, TRAINED_APART = 1e-5, 1e-4

Arrays = Mapping[str, Any]
Losses = Callable[[Arrays, Arrays], dict[str, Any]]


def losses_before(class_weights: Any, pos_weight: Any) -> Losses:
    import torch.nn as nn
    import torch.nn.functional as F

    digit = nn.CrossEntropyLoss(weight=class_weights, ignore_index=-100, label_smoothing=0.1)
    likeness = nn.KLDivLoss(reduction="batchmean")
    corners = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
    centre = nn.SmoothL1Loss(beta=0.5)

    def losses(outputs: Arrays, targets: Arrays) -> dict[str, Any]:
        softened = F.log_softmax(outputs["digit"] / TEMPERATURE, dim=1)
        return {
            "centre": centre(outputs["centre"], targets["centre"]),
            "corners": corners(outputs["corners"], targets["corners"]),
            "digit": digit(outputs["digit"], targets["digit"]),
            "likeness": likeness(softened, targets["likeness"]),
        }

    return losses


def losses_after(class_weights: Any, pos_weight: Any) -> Losses:
    import jaxce.torch.nn as nn
    import jaxce.torch.nn.functional as F

    digit = nn.CrossEntropyLoss(weight=class_weights, ignore_index=-100, label_smoothing=0.1)
    likeness = nn.KLDivLoss(reduction="batchmean")
    corners = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
    centre = nn.SmoothL1Loss(beta=0.5)

    def losses(outputs: Arrays, targets: Arrays) -> dict[str, Any]:
        softened = F.log_softmax(outputs["digit"] / TEMPERATURE, dim=1)
        return {
            "centre": centre(outputs["centre"], targets["centre"]),
            "corners": corners(outputs["corners"], targets["corners"]),
            "digit": digit(outputs["digit"], targets["digit"]),
            "likeness": likeness(softened, targets["likeness"]),
        }

    return losses


def network(weights: Arrays, images: Any) -> Arrays:
    """Two layers, written in operators of both libraries."""
    x = images @ weights["hidden"] + weights["hidden_bias"]
    x = x / (1 + abs(x))
    x = x @ weights["output"] + weights["output_bias"]
    return {name: x[:, columns] for name, columns in OUTPUTS.items()}


class Task:
    """The inputs of both trainings: batches, initial parameters, and the weights in the losses."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.images, self.targets = load_data(rng)
        self.batches = rng.integers(len(self.images), size=(STEPS, BATCH))
        shapes = {"hidden": (64, HIDDEN), "hidden_bias": HIDDEN, "output": (HIDDEN, 16), "output_bias": 16}
        self.weights = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
        self.class_weights = np.array(jaxce.balanced_class_weights(self.targets["digit"], 10, ignore_index=-100))
        self.pos_weight = 1 / self.targets["corners"].mean(0) - 1

    def batch(self, step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rows = self.batches[step]
        return self.images[rows], {name: target[rows] for name, target in self.targets.items()}


def load_data(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns images ``[N, 64]`` and their four targets."""
    digits = load_digits()
    chosen = ~np.isin(digits.target, RARE) | (rng.random(len(digits.target)) < 0.2)
    ids, images = digits.target[chosen], digits.images[chosen].astype(np.float32) / 16
    means = np.stack([images[ids == c].mean(0) for c in range(10)])
    nearness = np.exp(-((images[:, None] - means) ** 2).sum((2, 3)) / TEMPERATURE)
    top, bottom = images[:, :2], images[:, -2:]
    corners = [corner.max((1, 2)) > 0.2 for half in (top, bottom) for corner in (half[..., :2], half[..., -2:])]
    pixels = np.arange(8, dtype=np.float32) - 3.5
    centre = [images.sum(axis) @ pixels / images.sum((1, 2)) for axis in (1, 2)]
    return images.reshape(-1, 64), {
        "centre": np.stack(centre, 1),
        "corners": np.stack(corners, 1).astype(np.float32),
        "digit": np.where(rng.random(len(ids)) < 0.1, -100, ids),
        "likeness": nearness / nearness.sum(1, keepdims=True),
    }


class Record(NamedTuple):
    """Results of PyTorch: losses of all steps, and flat parameters and gradients of some."""

    version: np.ndarray
    losses: np.ndarray
    steps: np.ndarray
    weights: np.ndarray
    gradients: np.ndarray


def flat(tree: Arrays) -> np.ndarray:
    return np.concatenate([np.ravel(tree[name]) for name in sorted(tree)])


def train_in_pytorch(task: Task) -> Record:
    """Trains in PyTorch, and records every step."""
    import torch

    torch.set_num_threads(1)  # every run then adds in the same order
    losses_of = losses_before(torch.tensor(task.class_weights), torch.tensor(task.pos_weight))
    params = {name: torch.tensor(value, requires_grad=True) for name, value in task.weights.items()}
    optimizer = torch.optim.SGD(params.values(), lr=RATE, momentum=MOMENTUM)
    losses, weights, gradients = [], [], []
    for step in tqdm(range(STEPS), desc="PyTorch"):
        images, targets = jax.tree.map(torch.tensor, task.batch(step))
        values = losses_of(network(params, images), targets)
        optimizer.zero_grad()
        sum(values.values()).backward()
        losses.append([values[name].item() for name in LOSSES])
        weights.append(flat({name: param.detach() for name, param in params.items()}))
        gradients.append(flat({name: param.grad for name, param in params.items()}))
        optimizer.step()
    stacked = (np.array(rows, np.float32) for rows in (weights, gradients))
    return Record(np.array(torch.__version__), np.array(losses, np.float32), np.arange(STEPS), *stacked)


def train_in_jax(task: Task, record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trains in JAX. Returns losses and gradients at the recorded parameters, and the losses of its own training."""
    losses_of = losses_after(jnp.asarray(task.class_weights), jnp.asarray(task.pos_weight))
    optimizer = optax.sgd(RATE, MOMENTUM)
    unflat = ravel_pytree(task.weights)[1]

    def loss(params: Arrays, images: jax.Array, targets: Arrays) -> tuple[jax.Array, Arrays]:
        values = losses_of(network(params, images), targets)
        return sum(values.values()), values

    gradient_of = jax.jit(jax.grad(loss, has_aux=True))
    params, state = task.weights, optimizer.init(task.weights)
    losses, gradients, own_losses = [], [], []
    for step in tqdm(range(STEPS), desc="JAX"):
        for recorded in record.weights[record.steps == step]:
            gradient, values = gradient_of(unflat(recorded), *task.batch(step))
            losses.append([values[name] for name in LOSSES])
            gradients.append(flat(gradient))
        gradient, values = gradient_of(params, *task.batch(step))
        own_losses.append([values[name] for name in LOSSES])
        updates, state = optimizer.update(gradient, state)
        params = optax.apply_updates(params, updates)
    return np.array(losses), np.array(gradients), np.array(own_losses)


def show_porting() -> None:
    """Prints the lines that differ between the two functions."""
    before, after = (inspect.getsource(function).splitlines() for function in (losses_before, losses_after))
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    print("Lines changed by porting the losses:", *changed, sep="\n", end="\n\n")


def report(record: Record, source: str, losses: np.ndarray, gradients: np.ndarray, own_losses: np.ndarray) -> bool:
    """Prints the differences between JAX and PyTorch. Returns whether they are within the bounds."""
    theirs = record.losses[record.steps]
    rows = {name: (losses[:, [i]], theirs[:, [i]]) for i, name in enumerate(LOSSES)}
    rows["gradient's largest"] = gradients, record.gradients

    print(f"\nPyTorch {record.version} ({source}) and jaxce.torch at the same weights, of {len(record.steps)} steps:\n")
    print(f"{'':<20}{'first step':>12}{'last step':>12}{'differs by':>12}{'bound':>8}")
    differences = []
    for name, (ours, theirs) in rows.items():
        sizes = abs(theirs).max(1)
        differences.append((abs(ours - theirs).max(1) / sizes).max())
        print(f"{name:<20}{sizes[0]:>12.6f}{sizes[-1]:>12.6f}{differences[-1]:>12.1e}{SAME_WEIGHTS:>8.0e}")

    ours, theirs = own_losses.sum(1), record.losses.sum(1)
    apart = abs(ours - theirs) / theirs
    print(f"\nAfter separate trainings, the sums of the losses are {theirs[-1]:.6f} and {ours[-1]:.6f},")
    print(f"{apart[-1]:.1e} apart, and at most {apart.max():.1e} on the way (bound {TRAINED_APART:.0e}).")
    return max(differences) <= SAME_WEIGHTS and apart.max() <= TRAINED_APART


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", action="store_true", help="compare with stored values instead of PyTorch")
    parser.add_argument("--record", action="store_true", help="write the stored values again, with PyTorch")
    args = parser.parse_args()

    show_porting()
    task = Task()
    if args.stored or importlib.util.find_spec("torch") is None:
        record, source = Record(**np.load(STORED)), "stored values"
    else:
        record, source = train_in_pytorch(task), "live"
    if args.record:
        some = {name: getattr(record, name)[STORED_STEPS] for name in ("steps", "weights", "gradients")}
        np.savez_compressed(STORED, **record._replace(**some)._asdict())
    if not report(record, source, *train_in_jax(task, record)):
        sys.exit("A difference is beyond its bound.")


if __name__ == "__main__":
    main()
