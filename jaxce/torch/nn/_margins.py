"""PyTorch's classes of hinge losses."""

from dataclasses import InitVar

from jax.typing import ArrayLike

from jaxce._types import Hyperparameter
from jaxce.torch._arguments import check_one_axis, check_p
from jaxce.torch.nn import functional
from jaxce.torch.nn._base import PairLoss, frozen


@frozen
class MultiMarginLoss(PairLoss):
    """Multi-class hinge: ``w_y/C sum_{c != y} max(0, margin - x_y + x_c)**p``.

    The label's score should exceed every other score by the margin. It takes no ``ignore_index``.

    Args:
        p: exponent of each violation, 1 or 2.
        margin: margin between the scores, any number.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with scores ``[N, C]`` and ids ``[N]``: a scalar, or ``[N]`` for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> scores, ids = jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([3])
        >>> print(f"{nn.MultiMarginLoss()(scores, ids):.3f}")
        0.325
        >>> print(f"{nn.MultiMarginLoss(p=2, margin=0.5)(scores, ids):.4f}")
        0.0025

    See Also:
        `functional.multi_margin_loss`: the function, with the shapes and dtypes of its arguments.
        `MultiLabelMarginLoss`: several labels per example.

    Source:
        PyTorch, ``torch.nn.MultiMarginLoss``.
        Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition" (ESANN 1999).
    """

    function = staticmethod(functional.multi_margin_loss)

    p: int = 1
    margin: Hyperparameter = 1.0
    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"

    def __post_init__(self, *legacy: bool | None) -> None:
        super().__post_init__(*legacy)
        check_p(self.p)
        check_one_axis("weight", self.weight)


@frozen
class MultiLabelMarginLoss(PairLoss):
    """Multi-label hinge: ``1/C sum_{i in Y, j not in Y} max(0, 1 - (x_i - x_j))``.

    The score of every label should exceed that of every other class by 1. The target lists ids and ends with -1.

    Args:
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with scores and ids ``[N, C]``: a scalar, or ``[N]`` for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> scores, ids = jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([[3, 0, -1, 1]])
        >>> print(f"{nn.MultiLabelMarginLoss()(scores, ids):.3f}")
        0.850

    See Also:
        `functional.multilabel_margin_loss`: the function, with the shapes and dtypes of its arguments.
        `MultiMarginLoss`: one label per example.

    Source:
        PyTorch, ``torch.nn.MultiLabelMarginLoss``.
    """

    function = staticmethod(functional.multilabel_margin_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@frozen
class HingeEmbeddingLoss(PairLoss):
    """Hinge of distances: ``x`` for a target of 1, ``max(0, margin - x)`` for a target of -1.

    It takes distances between pairs: similar pairs have the target 1, dissimilar pairs the target -1.

    Args:
        margin: smallest distance of dissimilar pairs, any number.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with distances and a target of any shape: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> distances, targets = jnp.array([0.2, 0.7]), jnp.array([1, -1])
        >>> print(f"{nn.HingeEmbeddingLoss()(distances, targets):.3f}")
        0.250
        >>> print(*map("{:.3f}".format, nn.HingeEmbeddingLoss(margin=2.0, reduction="none")(distances, targets)))
        0.200 1.300

    See Also:
        `functional.hinge_embedding_loss`: the function, with the shapes and dtypes of its arguments.
        `SoftMarginLoss`: the logistic loss of scores.

    Source:
        PyTorch, ``torch.nn.HingeEmbeddingLoss``.
    """

    function = staticmethod(functional.hinge_embedding_loss)

    margin: Hyperparameter = 1.0
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
