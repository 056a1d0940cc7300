"""What a user's type checker sees: `mypy --strict tests/typed_user.py`, and the same with pyright. Never run."""

from typing import assert_type

import jax
import numpy as np
from jax import Array

import jaxce
from jaxce.torch import functional as F


def loss(logits: Array, labels: Array) -> jax.Array:
    return jaxce.cross_entropy(logits, labels, label_smoothing=0.1)


def torch_loss(logits: Array, labels: Array) -> jax.Array:
    return F.cross_entropy(logits, labels)


def spread(values: Array, weights: Array) -> dict[str, Array]:
    return {"max": values.max(), "weight": weights.sum()}


def reductions(x: Array, y: Array) -> None:
    assert_type(jaxce.cross_entropy(x, y), Array)
    assert_type(jaxce.cross_entropy(x, y, reduction="none"), Array)
    assert_type(jaxce.cross_entropy(x, y, reduction="total"), jaxce.Total)
    assert_type(jaxce.cross_entropy(x, y, reduction=jaxce.Mean(axis=-1)), Array)
    assert_type(jaxce.cross_entropy(x, y, reduction=spread), dict[str, Array])
    assert_type(jaxce.cross_entropy(x, y, reduction=jaxce.Grouped(y, num_groups=3)).mean(), Array)
    jaxce.cross_entropy(x, y, reduction=jaxce.Hardest(fraction=0.25, axis=-1, reduction="total")).psum("data")
    assert_type(jaxce.reduce(x, reduction="total").mean(), Array)
    assert_type(jaxce.dice_loss(x, y, batch_axis=None, reduction="total").mean(), Array)
    assert_type(sum([jaxce.dice_loss(x, y, reduction="total")], jaxce.Total(x, x)), jaxce.Total)


def totals(x: Array, y: Array) -> None:
    total = jaxce.cross_entropy(x, y, reduction="total")
    assert_type(0.5 * total + total / np.float32(2) + jaxce.Total.zero(), jaxce.Total)
    assert_type(total.sum(axis=0).psum("data").mean(), Array)
    jaxce.value_and_grad(lambda x, y: total, microbatches=4)(x, y)


def dense(x: Array, y: Array, has_aux: bool) -> None:
    assert_type(jaxce.cross_entropy(x, y, has_aux=True), tuple[Array, jaxce.CrossEntropyAux])
    assert_type(jaxce.cross_entropy(x, y, has_aux=True, reduction="total"), tuple[jaxce.Total, jaxce.CrossEntropyAux])
    assert_type(jaxce.cross_entropy(x, y, has_aux=has_aux), Array | tuple[Array, jaxce.CrossEntropyAux])


def accounts(x: Array, y: Array) -> None:
    assert_type(jaxce.explain(jaxce.cross_entropy, x, y, top_k=3, label_smoothing=0.1), jaxce.Explanation)
    assert_type(jaxce.summarize(jaxce.cross_entropy, x, y, where=x[:, 0] > 0).total, jaxce.Total)


def numpy_numbers(x: Array, y: Array) -> Array:
    return jaxce.focal_loss(x, y, gamma=np.float32(2), label_smoothing=np.asarray(0.1))


def linear(h: Array, w: Array, y: Array, has_aux: bool) -> None:
    assert_type(jaxce.linear_cross_entropy(h, w, y), Array)
    assert_type(jaxce.linear_cross_entropy(h, w, y, has_aux=True), tuple[Array, jaxce.CrossEntropyAux])
    assert_type(
        jaxce.linear_cross_entropy(h, w, y, has_aux=True, reduction="total"), tuple[jaxce.Total, jaxce.CrossEntropyAux]
    )
    assert_type(jaxce.linear_cross_entropy(h, w, y, has_aux=has_aux), Array | tuple[Array, jaxce.CrossEntropyAux])
