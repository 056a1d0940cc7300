"""PyTorch's activations that go with its losses."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxce._class_axis import expand_class_axis
from jaxce._class_axis import one_hot as one_hot_rows
from jaxce._types import Hyperparameter
from jaxce.torch._arguments import FLOATING, REAL, REAL_OR_BOOL, Kinds, open_activation, open_dim, open_number
from jaxce.torch._labels import open_counted_ids


def softmax(input: ArrayLike, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> Array:
    """Probabilities along a dimension: ``exp(x_c) / sum_k exp(x_k)``.

    It is for predictions. The losses take logits: ``cross_entropy`` of probabilities applies the softmax twice.

    Args:
        input: logits, floating, any shape; any real dtype or bool with ``dtype``.
        dim: the class dimension; None warns and is 1, or 0 for ranks 0, 1 and 3.
        _stacklevel: has no effect; it keeps PyTorch's order of arguments.
        dtype: floating dtype of the computation and the result.

    Returns:
        The shape of ``input``, in ``dtype``, or the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating, a ``dtype`` that is not.
        ValueError: a ``dim`` that the input lacks.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
        >>> print(*map("{:.3f}".format, F.softmax(logits, dim=1)[0]))
        0.844 0.114 0.042
        >>> print(F.softmax(logits.astype(jnp.bfloat16), dim=1, dtype=jnp.float32).dtype)
        float32

    See Also:
        ``log_softmax``: its logarithm, for ``nll_loss`` and ``kl_div``.
        ``jax.nn.softmax``: the same function, with a mask.

    Source:
        PyTorch, ``torch.nn.functional.softmax``.
    """
    return _along(jax.nn.softmax, input, dim, dtype)


def log_softmax(
    input: ArrayLike, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None
) -> Array:
    """Log-probabilities along a dimension: ``x_c - log sum_k exp(x_k)``.

    It is for predictions, ``nll_loss`` and ``kl_div``. ``cross_entropy`` takes logits and applies it itself.

    Args:
        input: logits, floating, any shape; any real dtype or bool with ``dtype``.
        dim: the class dimension; None warns and is 1, or 0 for ranks 0, 1 and 3.
        _stacklevel: has no effect; it keeps PyTorch's order of arguments.
        dtype: floating dtype of the computation and the result.

    Returns:
        The shape of ``input``, in ``dtype``, or the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating, a ``dtype`` that is not.
        ValueError: a ``dim`` that the input lacks.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> log_probs = F.log_softmax(jnp.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]), dim=1)
        >>> print(*map("{:.3f}".format, log_probs[0]))
        -0.170 -2.170 -3.170
        >>> print(f"{F.nll_loss(log_probs, jnp.array([0, 2])):.3f}")
        0.634

    See Also:
        ``softmax``: the probabilities.
        ``cross_entropy``: ``log_softmax`` and ``nll_loss`` in one step.

    Source:
        PyTorch, ``torch.nn.functional.log_softmax``.
    """
    return _along(_log_softmax, input, dim, dtype)


def softmin(input: ArrayLike, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> Array:
    """Probabilities of energies along a dimension: ``exp(-x_c) / sum_k exp(-x_k)``.

    It is ``softmax`` of ``-input``: the smallest energy has the largest probability.

    Args:
        input: logits, floating, any shape; any real dtype or bool with ``dtype``.
        dim: the class dimension; None warns and is 1, or 0 for ranks 0, 1 and 3.
        _stacklevel: has no effect; it keeps PyTorch's order of arguments.
        dtype: floating dtype of the computation and the result.

    Returns:
        The shape of ``input``, in ``dtype``, or the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating, a ``dtype`` that is not.
        ValueError: a ``dim`` that the input lacks.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> print(*map("{:.3f}".format, F.softmin(jnp.array([2.0, 0.0, -1.0]), dim=0)))
        0.035 0.259 0.705

    See Also:
        ``softmax``: probabilities of logits.

    Source:
        PyTorch, ``torch.nn.functional.softmin``.
    """
    return _along(lambda x, axis: jax.nn.softmax(-x, axis), input, dim, dtype, REAL)


def sigmoid(input: ArrayLike) -> Array:
    """Probability of log-odds: ``1 / (1 + exp(-x))``.

    It is for predictions. ``binary_cross_entropy_with_logits`` takes logits and applies it itself.

    Args:
        input: log-odds, real or bool, any shape.

    Returns:
        The shape of ``input``, in its dtype, or float32 for integers and bool.

    Raises:
        TypeError: an input that is not real.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> print(*map("{:.3f}".format, F.sigmoid(jnp.array([0.0, 2.0, -2.0]))))
        0.500 0.881 0.119

    See Also:
        ``logsigmoid``: its logarithm.
        ``jax.nn.sigmoid``: the same function.

    Source:
        PyTorch, ``torch.nn.functional.sigmoid``.
    """
    x, result = open_activation(input, None, REAL_OR_BOOL)
    return jax.nn.sigmoid(x).astype(result)


def logsigmoid(input: ArrayLike) -> Array:
    """Log-probability of log-odds: ``-log(1 + exp(-x))``.

    It is numerically stable. The logarithm of ``sigmoid`` underflows for large negative inputs.

    Args:
        input: log-odds, floating, any shape.

    Returns:
        The shape and dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> print(*map("{:.3f}".format, F.logsigmoid(jnp.array([0.0, -200.0]))))
        -0.693 -200.000

    See Also:
        ``sigmoid``: the probability.
        ``softplus``: ``-logsigmoid(-x)``.

    Source:
        PyTorch, ``torch.nn.functional.logsigmoid``.
    """
    x, result = open_activation(input, None, FLOATING)
    return -jax.nn.softplus(-x).astype(result)


def softplus(input: ArrayLike, beta: Hyperparameter = 1, threshold: Hyperparameter = 20) -> Array:
    """Smooth rectifier: ``log(1 + exp(beta x)) / beta``.

    It returns ``x`` itself if ``beta x`` is above the threshold, as PyTorch does.

    Args:
        input: numbers, floating, any shape.
        beta: sharpness of the bend at 0.
        threshold: value of ``beta x`` above which the result is ``x``.

    Returns:
        The shape and dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> x = jnp.array([-1.0, 0.0, 30.0])
        >>> print(*map("{:.3f}".format, F.softplus(x)))
        0.313 0.693 30.000
        >>> print(*map("{:.3f}".format, F.softplus(x, beta=2)))
        0.063 0.347 30.000

    See Also:
        ``jax.nn.softplus``: without a threshold.

    Source:
        PyTorch, ``torch.nn.functional.softplus``.
    """
    x, result = open_activation(input, None, FLOATING)
    b = open_number("beta", beta, x.dtype)
    is_linear = b * x > open_number("threshold", threshold, x.dtype)
    return jnp.where(is_linear, x, jax.nn.softplus(jnp.where(is_linear, 0, b * x)) / b).astype(result)


def one_hot(input: ArrayLike, num_classes: int = -1) -> Array:
    """One-hot rows of class ids: ``[c = y]``.

    The losses take ids, which need less memory. As in PyTorch the result holds integers: as probabilities it needs
    ``astype(jnp.float32)``.

    Args:
        input: class ids of any integer dtype, any shape ``[...]``.
        num_classes: number of classes; -1 takes the largest id plus 1, for concrete ids only.

    Returns:
        ``[..., num_classes]``, int32, or int64 under x64.

    Raises:
        TypeError: ids that are not integers.
        ValueError: ids outside the classes, ``num_classes`` below 1, or -1 for traced ids.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> print(F.one_hot(jnp.array([0, 2])))
        [[1 0 0]
         [0 0 1]]
        >>> print(F.one_hot(jnp.array([0, 2]), num_classes=4).shape)
        (2, 4)

    See Also:
        ``jax.nn.one_hot``: any axis, floating rows; rows of zeros for ids outside the classes.

    Source:
        PyTorch, ``torch.nn.functional.one_hot``.
    """
    y, classes = open_counted_ids(input, num_classes)
    rows = one_hot_rows(y.ids, classes, -1)
    return (rows if y.valid is None else rows & y.valid[..., None]).astype(int)


def _log_softmax(x: Array, axis: int) -> Array:
    """`jax.nn.log_softmax`, corrected for losses near 0, which 16 bits can hold: float32 rounds a sum of 1 + 1e-9."""
    log_p = jax.nn.log_softmax(x, axis)
    gap = x - jnp.max(x, axis, keepdims=True, initial=-jnp.inf)
    others, count = jnp.sum(jnp.where(gap == 0, 0, jnp.exp(gap)), axis), jnp.sum(gap == 0, axis, dtype=x.dtype)
    exact = gap - expand_class_axis(jnp.log1p(others + (count - 1)), axis)
    return log_p + jax.lax.stop_gradient(jnp.where(exact == log_p, 0, exact - log_p))


def _along(
    function: Callable[[Array, int], Array],
    input: ArrayLike,
    dim: int | None,
    dtype: DTypeLike | None,
    kinds: Kinds = REAL_OR_BOOL,
) -> Array:
    x, result = open_activation(input, dtype, kinds if dtype is not None else FLOATING)
    axis = open_dim(dim, x.shape)
    return (function(x, axis) if x.ndim else function(x[None], 0)[0]).astype(result)
