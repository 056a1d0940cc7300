"""Class weights from label counts, for imbalanced data."""

from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._inputs import check_choice, open_ids
from jaxce._types import Hyperparameter


def balanced_class_weights(
    labels: ArrayLike,
    num_classes: int,
    *,
    scheme: Literal["inverse", "sqrt", "effective"] = "inverse",
    beta: Hyperparameter = 0.999,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> Array:
    """Class weights that rise as classes get rarer, ``n / (C n_c)`` for ``"inverse"``.

    DOC
    """
    check_choice("scheme", scheme, ("inverse", "sqrt", "effective"))
    y, kept = open_ids(labels, num_classes, where, ignore_index, {"beta": (beta, 0, 1)})
    counted = jnp.broadcast_to(jnp.asarray(True if kept is None else kept), y.ids.shape).astype(jnp.int32)
    counts = jnp.zeros(num_classes, jnp.int32).at[y.ids].add(counted)
    present, n_c = counts > 0, jnp.maximum(counts, 1).astype(float)
    weights = jnp.sum(counts) / (jnp.maximum(jnp.sum(present), 1) * n_c)
    if scheme == "sqrt":
        weights = jnp.sqrt(weights)
    if scheme == "effective":
        rarity = jnp.where(present, 1 / _effective_number(n_c, beta), 0)
        weights = rarity * jnp.sum(present) / jnp.maximum(jnp.sum(rarity), jnp.finfo(n_c.dtype).tiny)
    weights = jnp.where(present, weights, 0)
    return weights if y.readable is None else jnp.where(jnp.all(y.readable), weights, jnp.nan)


def _effective_number(n: Array, beta: Hyperparameter) -> Array:
    """``(1 - beta**n) / (1 - beta)``, which is ``n`` itself in the limit of ``beta`` at 1."""
    beta = jnp.asarray(beta, n.dtype)
    limit = beta == 1
    return jnp.where(limit, n, -jnp.expm1(n * jnp.log(beta)) / jnp.where(limit, 1, 1 - beta))
