"""PyTorch's classes of losses over exclusive classes."""

import dataclasses
from dataclasses import InitVar

from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxce._types import Hyperparameter
from jaxce.torch._arguments import LinearCrossEntropyOptions, check_layer, check_linear
from jaxce.torch.nn import functional
from jaxce.torch.nn._base import Loss, PairLoss, fields, frozen


@frozen
class CrossEntropyLoss(PairLoss):
    """Softmax cross-entropy: ``w_y (log_z - x_y)`` for class ids, ``sum_c w_c p_c (log_z - x_c)`` for probabilities p.

    It takes logits, not probabilities: do not apply ``softmax`` first. Create it with its options, then call it with
    logits and labels. With ids the mean divides by the sum of the labels' weights. With probabilities it divides by
    the number of examples.

    Args:
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        ignore_index: id of the examples to ignore; only with ids.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: eps, at most 1, uniform over all classes; a negative one counts as 0.

    Returns:
        Called with logits ``[N, C, ...]`` and ids ``[N, ...]`` or probabilities ``[N, C, ...]``: a scalar, or
        ``[N, ...]`` for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> logits, ids = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), jnp.array([0, 2])
        >>> print(f"{nn.CrossEntropyLoss()(logits, ids):.3f}")
        0.861
        >>> loss = nn.CrossEntropyLoss(weight=jnp.array([1.0, 1.0, 3.0]), label_smoothing=0.1)
        >>> print(f"{loss(logits, ids):.3f}")
        1.240
        >>> print(*map("{:.3f}".format, nn.CrossEntropyLoss(ignore_index=2, reduction="none")(logits, ids)))
        0.170 0.000

    See Also:
        `functional.cross_entropy`: the function, with the shapes and dtypes of its arguments.
        `NLLLoss`: the same loss of log-probabilities.
        `LinearCrossEntropyLoss`: with the last layer, chunk by chunk.

    Source:
        PyTorch, ``torch.nn.CrossEntropyLoss``.
    """

    function = staticmethod(functional.cross_entropy)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    ignore_index: int = -100
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    label_smoothing: Hyperparameter = 0.0


@frozen
class NLLLoss(PairLoss):
    """Negative log-likelihood of log-probabilities l: ``-w_y l_y``.

    It takes log-probabilities, such as those of ``log_softmax``: with logits or probabilities the result is no loss.

    Args:
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        ignore_index: id of the examples to ignore; only with ids.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with log-probabilities ``[N, C, ...]`` and ids ``[N, ...]``: a scalar, or ``[N, ...]`` for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> log_probs, ids = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]])), jnp.array([0, 2])
        >>> print(f"{nn.NLLLoss()(log_probs, ids):.3f}")
        0.434
        >>> print(f"{nn.NLLLoss(weight=jnp.array([1.0, 1.0, 3.0]), reduction='sum')(log_probs, ids):.3f}")
        1.889

    See Also:
        `functional.nll_loss`: the function, with the shapes and dtypes of its arguments.
        `CrossEntropyLoss`: the same loss of logits, in one step.

    Source:
        PyTorch, ``torch.nn.NLLLoss``.
    """

    function = staticmethod(functional.nll_loss)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    ignore_index: int = -100
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@frozen
class LinearCrossEntropyLoss(Loss):
    """Softmax cross-entropy of a linear layer: ``cross_entropy(input @ linear_weight.T + linear_bias, target)``.

    It holds sizes and options, and no layer, as PyTorch's does. The layer's weights are arguments of the call, so that
    they have gradients.

    Args:
        in_features: D, number of features of an example.
        num_classes: C, number of classes.
        out_features: further axes of the target.
        bias: whether the call takes a bias.
        device: None; use ``jax.device_put`` for the weights.
        dtype: dtype of the layer's weights, checked at the call; None accepts any.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: weight of each class, ``[C]``; with ids in the dtype of ``input``.
        ignore_index: id of the examples to ignore; only with ids.
        label_smoothing: eps, at most 1, uniform over all classes; a negative one counts as 0.
        options: PyTorch's chunking options, which have no effect here.

    Returns:
        Called with ``(input, linear_weight, target, linear_bias=None)``: a scalar, or ``[N, ...]`` for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> hidden = jnp.array([[1.0, 2.0], [0.5, -1.0]])
        >>> kernel, ids = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), jnp.array([2, 0])
        >>> print(f"{nn.LinearCrossEntropyLoss(2, 3)(hidden, kernel, ids):.3f}")
        0.436
        >>> loss = nn.LinearCrossEntropyLoss(2, 3, bias=True, ignore_index=0)
        >>> print(f"{loss(hidden, kernel, ids, jnp.ones(3)):.3f}")
        0.408

    See Also:
        `functional.linear_cross_entropy`: the function, with the shapes and dtypes of its arguments.
        `CrossEntropyLoss`: the same loss of given logits.

    Source:
        PyTorch, ``torch.nn.LinearCrossEntropyLoss``.
    """

    function = staticmethod(functional.linear_cross_entropy)

    in_features: int
    num_classes: int
    _: dataclasses.KW_ONLY
    out_features: tuple[int, ...] = ()
    bias: bool = False
    device: None = None
    dtype: DTypeLike | None = None
    reduction: str = "mean"
    weight: ArrayLike | None = None
    ignore_index: int | None = None
    label_smoothing: Hyperparameter = 0.0
    options: LinearCrossEntropyOptions | None = None

    def __post_init__(self, *legacy: bool | None) -> None:
        super().__post_init__(*legacy)
        for name, value in check_layer(fields(self)).items():
            object.__setattr__(self, name, value)

    def __call__(
        self, input: ArrayLike, linear_weight: ArrayLike, target: ArrayLike, linear_bias: ArrayLike | None = None
    ) -> Array:
        """Returns the loss for a layer's weights ``[C, ..., D]`` and, with ``bias``, its bias ``[C, ...]``."""
        check_linear(fields(self), linear_weight, linear_bias)
        return self._value(input, linear_weight, target, linear_bias=linear_bias)


@frozen
class KLDivLoss(PairLoss):
    """Terms of the Kullback-Leibler divergence ``p (log p - log q)`` from the model's ``log q`` and the target ``p``.

    The first argument of the call holds log-probabilities. ``"batchmean"`` is the divergence per example; the default
    also divides by the number of classes, and warns.

    Args:
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"batchmean"`` (the sum over the length of the first axis), ``"sum"`` or ``"none"``.
        log_target: whether the target holds logarithms.

    Returns:
        Called with log-probabilities and a target of any shape: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> log_q, p = jnp.log(jnp.array([[0.5, 0.5], [0.2, 0.8]])), jnp.array([[0.9, 0.1], [0.2, 0.8]])
        >>> print(f"{nn.KLDivLoss(reduction='batchmean')(log_q, p):.3f}")
        0.184
        >>> print(f"{nn.KLDivLoss(reduction='sum', log_target=True)(log_q, jnp.log(p)):.3f}")
        0.368

    See Also:
        `functional.kl_div`: the function, with the shapes and dtypes of its arguments.
        `functional.log_softmax`: the log-probabilities of logits.

    Source:
        PyTorch, ``torch.nn.KLDivLoss``.
        Kullback and Leibler, "On Information and Sufficiency" (Annals of Mathematical Statistics 22, 1951), eq. 2.4.
    """

    function = staticmethod(functional.kl_div)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    log_target: bool = False
