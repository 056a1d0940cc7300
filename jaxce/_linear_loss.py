"""Any loss of a linear layer's logits, a chunk of tokens at a time."""

from collections.abc import Callable
from typing import Any, Literal

from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from jaxce._linear import linear_losses
from jaxce._linear_formulas import RowsFormula
from jaxce._linear_inputs import check_function, open_linear, several_layers
from jaxce._types import Hyperparameter, LinearLogits, Reduced, Reduction
from jaxce.reductions import apply_reduction, needs_only_sums


def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: bool = False,
    reduction: Reduction = "mean",
) -> Reduced:
    """Any loss of a linear layer, ``f(hidden @ kernel + bias, *rows, *constants)``, without all of its logits.

    For large vocabularies: ``f`` sees the logits of one chunk of tokens at a time. It is a loss of this package with
    ``reduction="none"``, or lines of your own that mix no tokens. Traced arrays go in as arguments, and ``where`` alone
    takes tokens out of the mean. With tuples for several layers, ``f`` takes the logits of each.

    Args:
        f: function of logits ``[tokens, classes]``, of the rows of these tokens and of constants; one loss per token.
        hidden: outputs of the last layer, floating, ``[..., features]``; or a tuple, as all arguments of the layer.
        kernel: weights of the layer, floating, ``[features, classes]``; see ``kernel_layout``.
        rows: what else ``f`` takes, such as ids or teacher logits; arrays or pytrees of arrays, ``[..., *]``.
        bias: added to the logits, ``[classes]``; ``-inf`` excludes a class, such as padding of the vocabulary.
        sample_weights: weight of each example, at least 0, ``[...]``; size-1 axes broadcast.
        where: bool mask, True for valid examples, ``[...]``; size-1 axes broadcast. Masked values may be NaN.
        logit_scale: factor of the logits, above 0: an inverse temperature.
        logit_softcap: cap, above 0; scaled logits become ``cap tanh(logits / cap)``.
        kernel_layout: ``"dv"``, or ``"vd"`` for a kernel ``[classes, features]``, such as a tied embedding.
        chunk_size: most tokens per chunk, at least 1; None chooses from shapes and backend.
        in_specs: ``PartitionSpec`` of ``hidden`` and of ``kernel``, needed under ``jit`` on an automatic mesh.
        constants: what else ``f`` takes without a row for each token, such as a temperature; arrays or pytrees.
        has_aux: True for a function that returns ``(losses, aux)``; aux is a pytree with a row for each token.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, ``"total"``, or a callable such as ``Mean(axis=-1)``.

    Returns:
        A scalar; ``[...]`` for ``"none"``; a ``Total`` for ``"total"``; with ``has_aux`` a pair with the aux, which has
        no gradient.

    Raises:
        TypeError: a function that returns no loss per token, inputs that are not floating.
        ValueError: shapes that do not fit, classes that are split over devices, no ``in_specs`` on an automatic mesh.

    Example:
        >>> import functools
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> hidden = jnp.array([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
        >>> kernel = jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        >>> labels, mask = jnp.array([2, 1, 0]), jnp.array([True, True, False])
        >>> focal = functools.partial(jaxce.focal_loss, gamma=2.0, reduction="none")
        >>> print(f"{jaxce.linear_loss(focal, hidden, kernel, labels):.3f}")
        0.358
        >>> print(f"{jaxce.linear_loss(focal, hidden, kernel, labels, where=mask, reduction='sum'):.3f}")
        0.333
        >>> def squares(logits, targets):
        ...     return ((logits - targets) ** 2).mean(-1), logits.argmax(-1)
        >>> loss, best = jaxce.linear_loss(squares, hidden, kernel, jnp.ones((3, 3)), has_aux=True)
        >>> print(f"{loss:.3f}", best)
        2.111 [2 1 2]
        >>> def of_two(student, teacher):
        ...     return jaxce.kl_divergence(student, jax.nn.softmax(teacher), reduction="none")
        >>> print(f"{jaxce.linear_loss(of_two, (hidden, 2 * hidden), kernel, where=mask):.3f}")
        0.078

    See Also:
        ``linear_cross_entropy``: cross-entropy, also with classes that are split over devices.
        ``linear_log_probs``: log-probabilities and entropies, for losses that mix tokens.

    Source:
        Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training" (arXiv 2410.10989, 2024), section 3.2, for
        gradients in the forward pass.
    """
    layers = LinearLogits(hidden, kernel, bias, logit_scale, logit_softcap)
    x = open_linear(
        several_layers(layers),
        kernel_layout=kernel_layout,
        sample_weights=sample_weights,
        where=where,
        chunk_size=chunk_size,
        in_specs=in_specs,
        reduction=reduction,
        rows=rows,
        constants=constants,
    )
    check_function(f, x)
    losses, weights, aux = linear_losses(x, RowsFormula(f, has_aux), needs_only_sums(reduction))
    loss = apply_reduction(losses, weights, reduction)
    return (loss, aux) if has_aux else loss
