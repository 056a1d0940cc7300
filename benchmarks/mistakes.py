"""Makes usual mistakes in jaxce, optax and PyTorch, and writes what happens: `python benchmarks/mistakes.py`.

Each mistake is a call with arrays. jaxce makes it without `jit`, under `jit`, and under `jit` within `jaxce.debug()`;
optax makes it under `jit`, and PyTorch without a compiler. The outcomes go to ``mistakes.csv``, from which `report.py`
writes the table of `docs/troubleshooting.md`.
"""

import csv
import logging
import math
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch.nn import functional as F

import jaxce

PATH = pathlib.Path(__file__).with_suffix(".csv")
WAYS = ("jaxce", "jaxce, jit", "jaxce, jit, debug()", "optax, jit", "PyTorch")
OUR_MESSAGE = re.compile(r"\w+: ")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype(np.float32)
Y = np.arange(8, dtype=np.int32) % 5
IMAGE, PIXELS = RNG.normal(size=(2, 5, 4, 4)).astype(np.float32), RNG.integers(0, 5, (2, 4, 4)).astype(np.int32)
TOKENS, NEXT = RNG.normal(size=(2, 6, 5)).astype(np.float32), RNG.integers(0, 5, (2, 6)).astype(np.int32)
BITS = RNG.integers(0, 2, (8, 5)).astype(np.int32)
PROBS = np.exp(X) / np.exp(X).sum(1, keepdims=True)
W = np.arange(1, 6).astype(np.float32)
ONE_HOT = np.eye(5, dtype=np.int32)[Y]
SHORT = np.array([[6e4, -6e4], [0, 0]], np.float16)


class Mistake(NamedTuple):
    """A mistake: its arrays, the calls of each library (None where it has no such call), and the right number."""

    name: str
    arrays: tuple[np.ndarray, ...]
    jaxce: Callable[..., Any]
    optax: Callable[..., Any] | None = None
    torch: Callable[..., Any] | None = None
    right: float | None = None


def mean_of(x, y):
    return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()


def weighted(x, y, w):
    """What people write around optax."""
    losses = optax.softmax_cross_entropy_with_integer_labels(x, y) * w[y]
    return losses.sum() / w[y].sum()


def masked(x, y, mask):
    losses = optax.softmax_cross_entropy_with_integer_labels(x, y) * mask
    return losses.sum() / mask.sum()


def soft(x, y):
    return optax.softmax_cross_entropy(x, y).mean()


def binary(x, y):
    return optax.sigmoid_binary_cross_entropy(x, y).mean()


def long(y):
    return y.long()


def float_softmax(x, y):
    """The float64 loss of ids."""
    x = x.astype(float)
    log_z = np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1)) + x.max(-1)
    return float((log_z - np.take_along_axis(x, y[..., None], -1)[..., 0]).mean())


ce, bce, dice = jaxce.cross_entropy, jaxce.sigmoid_binary_cross_entropy, jaxce.dice_loss
RIGHT = float_softmax(X, Y)

MISTAKES = [
    Mistake("wrong class axis: images `[N, C, H, W]`", (IMAGE, PIXELS), ce, mean_of),
    Mistake(
        "wrong class axis: logits `[C, N]`", (X.T.copy(), Y), ce, mean_of, lambda x, y: F.cross_entropy(x, long(y))
    ),
    Mistake("labels `[N, 1]`", (X, Y[:, None]), ce, mean_of, lambda x, y: F.cross_entropy(x, long(y))),
    Mistake("one-hot integers", (X, ONE_HOT), ce, soft, F.cross_entropy, RIGHT),
    Mistake("ids as floats", (X, Y.astype(np.float32)), ce, mean_of, F.cross_entropy),
    Mistake("bool labels", (X, Y > 0), ce, mean_of, F.cross_entropy),
    Mistake(
        "id -100 without `ignore_index`",
        (X, np.where(Y == 2, -100, Y)),
        ce,
        mean_of,
        lambda x, y: F.cross_entropy(x, long(y)),
        float_softmax(X[Y != 2], Y[Y != 2]),
    ),
    Mistake("ids 1 to C", (X, Y + 1), ce, mean_of, lambda x, y: F.cross_entropy(x, long(y))),
    Mistake(
        "uint8 id 255",
        (X, np.where(Y == 2, 255, Y).astype(np.uint8)),
        ce,
        mean_of,
        lambda x, y: F.cross_entropy(x, long(y)),
    ),
    Mistake(
        "int8 ids with `ignore_index=255`",
        (X, np.where(Y == 2, -1, Y).astype(np.int8)),
        lambda x, y: ce(x, y, ignore_index=255),
        lambda x, y: masked(x, y, y != 255),
        lambda x, y: F.cross_entropy(x, long(y), ignore_index=255),
    ),
    Mistake("softmax before the loss", (PROBS, Y), ce, mean_of, lambda x, y: F.cross_entropy(x, long(y))),
    Mistake(
        "one logit per example, binary ids",
        (X[:, :1], BITS[:, 0]),
        ce,
        mean_of,
        lambda x, y: F.cross_entropy(x, long(y)),
    ),
    *(
        Mistake(
            name,
            (X, Y, w),
            lambda x, y, w: ce(x, y, class_weights=w),
            weighted,
            lambda x, y, w: F.cross_entropy(x, long(y), w),
        )
        for name, w in {
            "class weights for C - 1 classes": W[:4],
            "class weights `[1, C]`": W[None],
            "a class weight of -1": np.where(W == 2, -1, W),
            "a class weight of NaN": np.where(W == 2, np.nan, W),
        }.items()
    ),
    Mistake(
        "a sample weight of -1",
        (X, Y, np.where(Y == 2, -1, 1).astype(np.float32)),
        lambda x, y, w: ce(x, y, sample_weights=w),
        masked,
    ),
    Mistake(
        "a mask of floats",
        (X, Y, (Y != 2).astype(np.float32)),
        lambda x, y, m: ce(x, y, where=m),
        masked,
        None,
        float_softmax(X[Y != 2], Y[Y != 2]),
    ),
    Mistake(
        "a mask `[N]` for labels `[N, T]`",
        (TOKENS, NEXT, np.array([True, False])),
        lambda x, y, m: ce(x, y, where=m),
        masked,
    ),
    Mistake(
        "NaN logits in one row",
        (np.where(Y[:, None] == 2, np.nan, X), Y),
        ce,
        mean_of,
        lambda x, y: F.cross_entropy(x, long(y)),
    ),
    Mistake(
        "nothing left after the mask",
        (X, Y, Y < 0),
        lambda x, y, m: ce(x, y, where=m),
        masked,
        lambda x, y, m: F.cross_entropy(x, torch.where(m, long(y), -100)),
        0.0,
    ),
    Mistake(
        '`reduction="avg"`',
        (X, Y),
        lambda x, y: ce(x, y, reduction="avg"),
        None,
        lambda x, y: F.cross_entropy(x, long(y), reduction="avg"),
    ),
    Mistake("`reduction=jnp.mean`", (X, Y), lambda x, y: ce(x, y, reduction=jnp.mean)),
    Mistake(
        "`weight=`",
        (X, Y, W),
        lambda x, y, w: ce(x, y, weight=w),
        lambda x, y, w: optax.softmax_cross_entropy_with_integer_labels(x, y, weight=w),
    ),
    Mistake(
        "label smoothing of 10",
        (X, Y, np.float32(10)),
        lambda x, y, e: ce(x, y, label_smoothing=e),
        lambda x, y, e: soft(x, optax.smooth_labels(jax.nn.one_hot(y, 5), e)),
        lambda x, y, e: F.cross_entropy(x, long(y), label_smoothing=e.item()),
    ),
    Mistake(
        "`gamma` of -1",
        (X, BITS.astype(np.float32), np.float32(-1)),
        lambda x, y, g: jaxce.sigmoid_focal_loss(x, y, gamma=g),
        lambda x, y, g: optax.sigmoid_focal_loss(x, y, gamma=g).mean(),
    ),
    Mistake("label rows that sum to 3", (X, 3 * PROBS), ce, soft, F.cross_entropy),
    Mistake(
        "negative probabilities as labels", (X, PROBS * np.where(Y[:, None] == 2, -1, 1)), ce, soft, F.cross_entropy
    ),
    Mistake("logits into `nll_loss`", (X, Y), jaxce.nll_loss, None, lambda x, y: F.nll_loss(x, long(y))),
    Mistake("labels before logits", (Y, X), ce, mean_of, F.cross_entropy),
    *(
        Mistake(f"binary labels: {name}", (X, labels), bce, binary, F.binary_cross_entropy_with_logits)
        for name, labels in {
            "integers -1 and 1": 2 * BITS - 1,
            "integers 0 and 255": 255 * BITS,
            "floats -1 and 1": np.float32(2 * BITS - 1),
            "floats 0 and 255": np.float32(255 * BITS),
        }.items()
    ),
    Mistake(
        "binary: logits `[N, 1]`, labels `[N]`",
        (X[:, :1], BITS[:, 0].astype(np.float32)),
        bce,
        binary,
        F.binary_cross_entropy_with_logits,
    ),
    Mistake(
        "logits into `binary_cross_entropy`",
        (X, BITS.astype(np.float32)),
        jaxce.binary_cross_entropy,
        None,
        F.binary_cross_entropy,
    ),
    Mistake(
        "float16 logits of 60,000",
        (SHORT, np.array([1, 0], np.int32)),
        ce,
        mean_of,
        lambda x, y: F.cross_entropy(x, long(y)),
        6e4 + math.log(2) / 2,
    ),
    Mistake("Dice of a mask `[N, H, W]` without `axis=None`", (IMAGE[:, 0], (PIXELS > 0).astype(np.int32)), dice),
    Mistake(
        "one class `[N, H, W, 1]`, a mask of 0 and 1",
        (IMAGE[:, 0, ..., None], (PIXELS > 0).astype(np.int32)),
        ce,
        mean_of,
    ),
]


def outcome(call: Callable[..., Any], arrays: tuple[Any, ...], right: float | None) -> str:
    """A "message" in our words, another "error", "NaN", the "right" number, or another "number"."""
    try:
        value = float(call(*arrays))
    except Exception as error:
        ours = isinstance(error, TypeError | ValueError) and OUR_MESSAGE.match(str(error))
        return "message" if ours else "error"
    if math.isnan(value):
        return "NaN"
    return "right" if right is not None and math.isclose(value, right, rel_tol=1e-3, abs_tol=1e-6) else "number"


def debugged(call: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arrays: Any) -> Any:
        with jaxce.debug():
            return jax.jit(call)(*arrays)

    return run


def outcomes(mistake: Mistake) -> dict[str, str]:
    """The outcome of each way."""
    arrays = tuple(map(jnp.asarray, mistake.arrays))
    tensors = tuple(torch.tensor(a) for a in mistake.arrays)
    calls = (mistake.jaxce, jax.jit(mistake.jaxce), debugged(mistake.jaxce))
    calls += (mistake.optax and jax.jit(mistake.optax), mistake.torch)
    given = (*(arrays,) * 4, tensors)
    return {
        way: "" if call is None else outcome(call, a, mistake.right)
        for way, call, a in zip(WAYS, calls, given, strict=True)
    }


def main() -> None:
    logging.getLogger("jax").setLevel(logging.CRITICAL)
    logging.getLogger("jaxce").setLevel(logging.CRITICAL)
    with open(PATH, "w", newline="") as file:
        writer = csv.DictWriter(file, ("mistake", *WAYS), lineterminator="\n")
        writer.writeheader()
        for mistake in MISTAKES:
            writer.writerow({"mistake": mistake.name} | outcomes(mistake))


if __name__ == "__main__":
    main()
