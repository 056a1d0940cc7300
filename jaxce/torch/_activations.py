"""The functions that PyTorch's losses are explained with."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxce._class_axis import expand_class_axis
from jaxce._class_axis import one_hot as one_hot_rows
from jaxce._types import Hyperparameter
from jaxce.torch._arguments import FLOATING, REAL, REAL_OR_BOOL, Kinds, check_number, open_activation, open_dim
from jaxce.torch._labels import open_counted_ids


def softmax(input: ArrayLike, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> Array:
    """Probabilities along a dimension: ``exp(x_c) / sum_k exp(x_k)``.

    For predictions. The losses take logits: ``cross_entropy`` of probabilities applies the softmax twice.

    Args:
        input: logits, floating, any shape; any real dtype or bool where ``dtype`` is given.
        dim: the class dimension; left out, 1, or 0 for inputs of rank 0, 1 and 3, with a warning.
        _stacklevel: here for PyTorch's order; the warning finds its caller.
        dtype: the floating dtype to compute in.

    Returns:
        The shape of ``input``, in ``dtype``, or the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating, a ``dtype`` that is not.
        ValueError: a ``dim`` that the input has not got.

    Example:
        >>> print(F.softmax(jnp.array([0.0, 0.0]), dim=0))
        [0.5 0.5]

    Source:
        PyTorch 2.13, ``torch.nn.functional.softmax``.
    """
    return _along(jax.nn.softmax, input, dim, dtype)


def log_softmax(
    input: ArrayLike, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None
) -> Array:
    """Log-probabilities along a dimension: ``x_c - log sum_k exp(x_k)``.

    For ``nll_loss`` and ``kl_div``, which take log-probabilities. ``cross_entropy`` does this itself.

    Args:
        input: logits, floating, any shape; any real dtype or bool where ``dtype`` is given.
        dim: the class dimension; left out, 1, or 0 for inputs of rank 0, 1 and 3, with a warning.
        _stacklevel: here for PyTorch's order; the warning finds its caller.
        dtype: the floating dtype to compute in.

    Returns:
        The shape of ``input``, in ``dtype``, or the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating, a ``dtype`` that is not.
        ValueError: a ``dim`` that the input has not got.

    Example:
        >>> print(F.log_softmax(jnp.array([0.0, 0.0]), dim=0))
        [-0.6931472 -0.6931472]

    Source:
        PyTorch 2.13, ``torch.nn.functional.log_softmax``.
    """
    return _along(_log_softmax, input, dim, dtype)


def softmin(input: ArrayLike, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> Array:
    """Probabilities of energies along a dimension: ``exp(-x_c) / sum_k exp(-x_k)``.

    What ``softmax`` gives for ``-input``.

    Args:
        input: logits, floating, any shape; any real dtype or bool where ``dtype`` is given.
        dim: the class dimension; left out, 1, or 0 for inputs of rank 0, 1 and 3, with a warning.
        _stacklevel: here for PyTorch's order; the warning finds its caller.
        dtype: the floating dtype to compute in.

    Returns:
        The shape of ``input``, in ``dtype``, or the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating, a ``dtype`` that is not.
        ValueError: a ``dim`` that the input has not got.

    Example:
        >>> print(F.softmin(jnp.array([0.0, 0.0]), dim=0))
        [0.5 0.5]

    Source:
        PyTorch 2.13, ``torch.nn.functional.softmin``.
    """
    return _along(lambda x, axis: jax.nn.softmax(-x, axis), input, dim, dtype, REAL)


def sigmoid(input: ArrayLike) -> Array:
    """Probability of log-odds: ``1 / (1 + exp(-x))``.

    For predictions. ``binary_cross_entropy_with_logits`` applies it itself.

    Args:
        input: log-odds, real or bool, any shape.

    Returns:
        The shape of ``input``, in its dtype, or float32 for integers and bool.

    Raises:
        TypeError: an input that is not real.

    Example:
        >>> print(F.sigmoid(jnp.array(0.0)))
        0.5

    Source:
        PyTorch 2.13, ``torch.nn.functional.sigmoid``.
    """
    x, result = open_activation(input, None, REAL_OR_BOOL)
    return jax.nn.sigmoid(x).astype(result)


def logsigmoid(input: ArrayLike) -> Array:
    """Log-probability of log-odds: ``-log(1 + exp(-x))``.

    Exact at both ends, where the logarithm of a sigmoid is not.

    Args:
        input: log-odds, floating, any shape.

    Returns:
        The shape and dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.

    Example:
        >>> print(F.logsigmoid(jnp.array(-100.0)))
        -100.0

    Source:
        PyTorch 2.13, ``torch.nn.functional.logsigmoid``.
    """
    x, result = open_activation(input, None, FLOATING)
    return -jax.nn.softplus(-x).astype(result)


def softplus(input: ArrayLike, beta: Hyperparameter = 1, threshold: Hyperparameter = 20) -> Array:
    """Rounded rectifier: ``log(1 + exp(beta x)) / beta``.

    It is ``x`` itself where ``beta x`` is above the threshold.

    Args:
        input: numbers, floating, any shape.
        beta: steepness.
        threshold: where the straight line begins.

    Returns:
        The shape and dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.

    Example:
        >>> print(f"{F.softplus(jnp.array(0.0)):.3f}")
        0.693

    Source:
        PyTorch 2.13, ``torch.nn.functional.softplus``.
    """
    check_number("beta", beta)
    check_number("threshold", threshold)
    x, result = open_activation(input, None, FLOATING)
    steep = jnp.asarray(beta, x.dtype) * x
    straight = steep > threshold
    rounded = jax.nn.softplus(jnp.where(straight, 0, steep)) / jnp.asarray(beta, x.dtype)
    return jnp.where(straight, x, rounded).astype(result)


def one_hot(input: ArrayLike, num_classes: int = -1) -> Array:
    """Rows of zeros with a one at the class: ``[c = y]``.

    The losses need none of them: they take ids. Integers, as PyTorch's; probabilities need ``astype(jnp.float32)``.

    Args:
        input: class ids of any integer dtype, any shape ``[...]``.
        num_classes: number of classes; -1 takes the largest id plus 1, which needs the ids at hand.

    Returns:
        ``[..., num_classes]``, int32, or int64 under x64.

    Raises:
        TypeError: ids that are not integers.
        ValueError: ids outside the classes, ``num_classes`` below 1, or -1 under a trace.

    Example:
        >>> print(F.one_hot(jnp.array([0, 2])))
        [[1 0 0]
         [0 0 1]]

    Source:
        PyTorch 2.13, ``torch.nn.functional.one_hot``.
    """
    y, classes = open_counted_ids(input, num_classes)
    rows = one_hot_rows(y.ids, classes, -1)
    return (rows if y.valid is None else rows & y.valid[..., None]).astype(int)


def _log_softmax(x: Array, axis: int) -> Array:
    """That of `jax.nn`, and what rounding beside a sum near 1 takes from it, for which 16 bits have room."""
    log_p = jax.nn.log_softmax(x, axis)
    from_m = x - jnp.max(x, axis, keepdims=True, initial=-jnp.inf)
    rest, count = jnp.sum(jnp.where(from_m == 0, 0, jnp.exp(from_m)), axis), jnp.sum(from_m == 0, axis, dtype=x.dtype)
    whole = from_m - expand_class_axis(jnp.log1p(rest + (count - 1)), axis)
    return log_p + jax.lax.stop_gradient(jnp.where(whole == log_p, 0, whole - log_p))


def _along(
    function: Callable[[Array, int], Array],
    input: ArrayLike,
    dim: int | None,
    dtype: DTypeLike | None,
    kinds: Kinds = REAL_OR_BOOL,
) -> Array:
    x, result = open_activation(input, dtype, kinds if dtype is not None else FLOATING)
    axis = open_dim(dim, x.ndim)
    return (function(x, axis) if x.ndim else function(x[None], 0)[0]).astype(result)
