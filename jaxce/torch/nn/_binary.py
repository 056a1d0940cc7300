"""PyTorch's classes of losses of binary labels."""

from dataclasses import InitVar

from jax.typing import ArrayLike

from jaxce.torch.nn import functional
from jaxce.torch.nn._base import PairLoss, frozen


@frozen
class BCELoss(PairLoss):
    """Binary cross-entropy of probabilities p: ``-w (y log p + (1 - y) log(1 - p))``, both logarithms at least -100.

    It takes probabilities, not logits. `BCEWithLogitsLoss` is more accurate and takes logits.

    Args:
        weight: factor of each loss, real; broadcasts to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with probabilities and labels of the same shape: a scalar, or that shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> probs, labels = jnp.array([0.8, 0.7, 0.1]), jnp.array([1.0, 1.0, 0.0])
        >>> print(f"{nn.BCELoss()(probs, labels):.3f}")
        0.228
        >>> print(f"{nn.BCELoss(weight=jnp.array([2.0, 1.0, 1.0]))(probs, labels):.3f}")
        0.303

    See Also:
        `functional.binary_cross_entropy`: the function, with the shapes and dtypes of its arguments.
        `BCEWithLogitsLoss`: the same loss of logits.

    Source:
        PyTorch, ``torch.nn.BCELoss``.
    """

    function = staticmethod(functional.binary_cross_entropy)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@frozen
class BCEWithLogitsLoss(PairLoss):
    """Sigmoid cross-entropy of logits: ``w ((1 - y) softplus(x) + pos_weight y softplus(-x))``.

    It takes logits, not probabilities: do not apply ``sigmoid`` first.

    Args:
        weight: factor of each loss, real; broadcasts to the shape of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: factor of the positive term, real; broadcasts to the shape of ``input`` from the right.

    Returns:
        Called with logits and labels of the same shape: a scalar, or that shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> logits, labels = jnp.array([[2.0, -1.0], [0.5, 0.0]]), jnp.array([[1.0, 0.0], [1.0, 1.0]])
        >>> print(f"{nn.BCEWithLogitsLoss()(logits, labels):.3f}")
        0.402
        >>> print(f"{nn.BCEWithLogitsLoss(pos_weight=jnp.array([1.0, 3.0]))(logits, labels):.3f}")
        0.748

    See Also:
        `functional.binary_cross_entropy_with_logits`: the function, with the shapes and dtypes of its arguments.
        `BCELoss`: the same loss of probabilities.

    Source:
        PyTorch, ``torch.nn.BCEWithLogitsLoss``.
    """

    function = staticmethod(functional.binary_cross_entropy_with_logits)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    pos_weight: ArrayLike | None = None


@frozen
class SoftMarginLoss(PairLoss):
    """Logistic loss of labels 1 and -1: ``log(1 + exp(-y x))``.

    Labels of 0 and 1 belong to `BCEWithLogitsLoss`: here a label of 0 costs ``log 2`` at every score.

    Args:
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with scores and labels 1 or -1: a scalar, or the shape of the scores for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> scores, signs = jnp.array([2.0, -1.0]), jnp.array([1.0, 1.0])
        >>> print(f"{nn.SoftMarginLoss()(scores, signs):.3f}")
        0.720
        >>> print(*map("{:.3f}".format, nn.SoftMarginLoss(reduction="none")(scores, signs)))
        0.127 1.313

    See Also:
        `functional.soft_margin_loss`: the function, with the shapes and dtypes of its arguments.
        `BCEWithLogitsLoss`: the same loss of labels 1 and 0.

    Source:
        PyTorch, ``torch.nn.SoftMarginLoss``.
    """

    function = staticmethod(functional.soft_margin_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@frozen
class MultiLabelSoftMarginLoss(PairLoss):
    """Sigmoid cross-entropy, mean over the classes: ``1/C sum_c w_c (softplus(x_c) - y_c x_c)``.

    It takes logits, not probabilities: do not apply ``sigmoid`` first. The classes are the last axis.

    Args:
        weight: weight of each class, ``[C]``, or any shape that broadcasts.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with logits and labels ``[..., C]``: a scalar, or ``[...]`` for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> logits, labels = jnp.array([[2.0, -1.0], [0.5, 0.0]]), jnp.array([[1.0, 1.0], [0.0, 1.0]])
        >>> print(f"{nn.MultiLabelSoftMarginLoss()(logits, labels):.3f}")
        0.777
        >>> print(f"{nn.MultiLabelSoftMarginLoss(jnp.array([2.0, 1.0]), reduction='sum')(logits, labels):.3f}")
        2.104

    See Also:
        `functional.multilabel_soft_margin_loss`: the function, with the shapes and dtypes of its arguments.
        `BCEWithLogitsLoss`: one value per element.

    Source:
        PyTorch, ``torch.nn.MultiLabelSoftMarginLoss``.
    """

    function = staticmethod(functional.multilabel_soft_margin_loss)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
