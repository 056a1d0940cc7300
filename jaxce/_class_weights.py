"""Class weights from label counts, for imbalanced data."""

from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._class_axis import sum_per_class
from jaxce._inputs import check_choice, open_hyperparameters, open_ids
from jaxce._types import Hyperparameter


def balanced_class_weights(
    labels: ArrayLike,
    num_classes: int,
    *,
    scheme: Literal["inverse", "sqrt", "effective"] = "inverse",
    beta: Hyperparameter = 0.999,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
) -> Array:
    """Class weights from label counts: ``n / (C n_c)`` for ``"inverse"``, so each class has the same total weight.

    For ``class_weights`` on imbalanced data; count the labels of the whole training set, not of a batch. ``"sqrt"`` is
    the square root of ``"inverse"``. ``"effective"`` is ``1 / E_c`` scaled to sum to ``C``, with
    ``E_c = (1 - beta**n_c) / (1 - beta)``. An absent class has weight 0 and does not count in ``C``.

    Args:
        labels: class ids, integer, any shape.
        num_classes: number of classes, at least 1.
        scheme: ``"inverse"``, ``"sqrt"`` or ``"effective"``.
        beta: of ``"effective"``, in [0, 1]; 0.9 to 0.9999 are usual, 0 is no weights, 1 is ``"inverse"`` rescaled.
        where: bool mask, True for valid labels, rank of the labels; size-1 axes broadcast.
        ignore_index: class id that means "no label", any integer; examples with it are masked.

    Returns:
        Weights ``[num_classes]``, float32 (float64 under x64).

    Raises:
        TypeError: labels that are not integers.
        ValueError: ids outside the classes, an unknown scheme, ``beta`` outside [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> labels = jnp.array([0, 0, 0, 1, -1])
        >>> print(jaxce.balanced_class_weights(labels, 2, ignore_index=-1))
        [0.667 2.   ]
        >>> print(jaxce.balanced_class_weights(labels, 2, ignore_index=-1, scheme="sqrt"))
        [0.816 1.414]
        >>> print(jaxce.balanced_class_weights(labels, 3, where=labels >= 0, scheme="effective", beta=0.9))
        [0.539 1.461 0.   ]

    See Also:
        ``cross_entropy``: takes them as ``class_weights``.
        ``focal_loss``: down-weights easy examples of every class.

    Source:
        King and Zeng, "Logistic Regression in Rare Events Data" (Political Analysis 9, 2001), the weighting.
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples" (CVPR 2019), proposition 1.
    """
    check_choice("scheme", scheme, ("inverse", "sqrt", "effective"))
    y, mask = open_ids(labels, num_classes, where, ignore_index)
    hyperparameters = open_hyperparameters(float, beta=(beta, 0, 1))
    counted = jnp.broadcast_to(jnp.asarray(True if mask is None else mask), y.ids.shape).astype(jnp.int32)
    counts = sum_per_class(counted, y.ids, num_classes)
    occurs, n_c = counts > 0, jnp.maximum(counts, 1).astype(float)
    n, classes = (jnp.sum(count).astype(n_c.dtype) for count in (counts, occurs))
    weights = n / (jnp.maximum(classes, 1) * n_c)
    if scheme == "sqrt":
        weights = jnp.sqrt(weights)
    if scheme == "effective":
        rarity = jnp.where(occurs, 1 / _effective_number(n_c, jnp.asarray(hyperparameters["beta"])), 0)
        weights = rarity * classes / jnp.maximum(jnp.sum(rarity), jnp.finfo(n_c.dtype).tiny)
    weights = jnp.where(occurs, weights, 0)
    return weights if y.valid is None else jnp.where(jnp.all(y.valid), weights, jnp.nan)


def _effective_number(n: Array, beta: Hyperparameter) -> Array:
    """``(1 - beta**n) / (1 - beta)``, with the limit ``n`` for ``beta`` 1."""
    beta = jnp.asarray(beta, n.dtype)
    limit = beta == 1
    return jnp.where(limit, n, -jnp.expm1(n * jnp.log(beta)) / jnp.where(limit, 1, 1 - beta))
