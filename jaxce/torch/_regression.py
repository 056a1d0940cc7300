"""PyTorch's losses of regression. The core has none, so their formulas stand here."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxce._numerics import is_off
from jaxce._types import Hyperparameter
from jaxce._value_checks import raise_or_nan
from jaxce.torch._arguments import (
    FLOATING,
    REAL,
    REAL_OR_BOOL,
    Kinds,
    broadcast,
    check_bools,
    of_kind,
    open_elements,
    open_number,
    open_reduction,
    open_variance,
    promoted,
    require_same_shape,
)
from jaxce.torch._reductions import apply_reduction


def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> Array:
    """Squared error: ``w (x - y)**2``.

    Predictions ``[N, 1]`` and targets ``[N]`` broadcast to ``[N, N]``, with a warning: reshape one of them. A weighted
    mean divides by the sum of the weights.

    Args:
        input: numbers of any shape, real.
        target: numbers, real; broadcast with ``input``; different shapes warn.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: weight of each element, real, the shape of ``input``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the promoted dtype of the arguments.

    Raises:
        TypeError: no floating argument.
        ValueError: shapes that do not broadcast, weights of another shape, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{F.mse_loss(x, y):.3f} {F.mse_loss(x, y, reduction='sum'):.3f}")
        2.125 4.250
        >>> print(f"{F.mse_loss(x, y, weight=jnp.array([3.0, 1.0])):.3f}")
        1.188

    See Also:
        ``huber_loss``, ``smooth_l1_loss``: less influence of outliers.
        ``jaxce.reduce``: masks and weights for any loss per element.

    Source:
        PyTorch, ``torch.nn.functional.mse_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, old_name=weight is None)
    d, w, dtype = _differences(input, target, weight, REAL if weight is not None else REAL_OR_BOOL)
    return _apply_weighted_reduction(d**2, w, reduction, dtype)


def l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> Array:
    """Absolute error: ``w |x - y|``.

    The gradient is the sign of ``x - y``, and 0 at 0. The weighted mean divides by the sum of the weights.

    Args:
        input: numbers of any shape, real.
        target: numbers, real; broadcast with ``input``; different shapes warn.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: weight of each element, real, the shape of ``input``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the promoted dtype of the arguments.

    Raises:
        TypeError: no floating argument.
        ValueError: shapes that do not broadcast, weights of another shape, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{F.l1_loss(x, y):.3f} {F.l1_loss(x, y, reduction='sum'):.3f}")
        1.250 2.500
        >>> print(f"{F.l1_loss(x, y, weight=jnp.array([3.0, 1.0])):.3f}")
        0.875

    See Also:
        ``smooth_l1_loss``, ``huber_loss``: a continuous gradient at 0.
        ``jaxce.reduce``: masks and weights for any loss per element.

    Source:
        PyTorch, ``torch.nn.functional.l1_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, old_name=weight is None)
    d, w, dtype = _differences(input, target, weight, REAL)
    return _apply_weighted_reduction(_sign(d) * d, w, reduction, dtype)


def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: Hyperparameter = 1.0,
) -> Array:
    """Absolute error, quadratic near 0: ``d**2 / (2 beta)`` for ``|d| < beta``, else ``|d| - beta/2``, with d = x - y.

    It is ``huber_loss`` with ``delta=beta``, divided by ``beta``: far from 0 its derivative is 1 for every ``beta``.

    Args:
        input: numbers of any shape, real.
        target: numbers, real; broadcast with ``input``; different shapes warn.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: end of the quadratic part, at least 0; 0 gives ``l1_loss``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the promoted dtype of the arguments.

    Raises:
        TypeError: no floating argument.
        ValueError: shapes that do not broadcast, a negative ``beta``, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{F.smooth_l1_loss(x, y):.3f} {F.smooth_l1_loss(x, y, beta=0.5):.3f}")
        0.812 1.000
        >>> print(*F.smooth_l1_loss(x, y, reduction="none"))
        0.125 1.5

    See Also:
        ``huber_loss``: the same shape with another scale, and weights.

    Source:
        PyTorch, ``torch.nn.functional.smooth_l1_loss``.
        Girshick, "Fast R-CNN" (ICCV 2015), eq. 3.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    d, _, dtype = _differences(input, target, None, REAL if is_off(beta) else REAL_OR_BOOL)
    b = open_number("beta", beta, d.dtype, lambda number: number >= 0, "at least 0")
    near = ~(jnp.abs(d) >= b) & (b > 0)
    rounded = jnp.where(near, d, 0) ** 2 / (2 * jnp.where(b == 0, 1, b))
    return apply_reduction(jnp.where(near, rounded, _sign(d) * d - b / 2), reduction, dtype)


def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    delta: Hyperparameter = 1.0,
    weight: ArrayLike | None = None,
) -> Array:
    """Squared error, linear far from 0: ``w d**2/2`` for ``|d| < delta``, else ``w delta (|d| - delta/2)``, d = x - y.

    Outliers beyond ``delta`` have a gradient of at most ``delta``. The mean divides by the number of elements, not by
    the weights.

    Args:
        input: numbers of any shape, floating.
        target: numbers, real; broadcast with ``input``; different shapes warn.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: end of the quadratic part, above 0.
        weight: weight of each element, real, the shape of ``input``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.
        ValueError: shapes that do not broadcast, weights of another shape, a ``delta`` of 0, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{F.huber_loss(x, y):.3f} {F.huber_loss(x, y, delta=0.5):.3f}")
        0.812 0.500
        >>> print(f"{F.huber_loss(x, y, weight=jnp.array([3.0, 1.0])):.3f}")
        0.938

    See Also:
        ``smooth_l1_loss``: the same shape with another scale.

    Source:
        PyTorch, ``torch.nn.functional.huber_loss``.
        Huber, "Robust Estimation of a Location Parameter" (Annals of Mathematical Statistics 35, 1964).
    """
    reduction = open_reduction(reduction, old_name=weight is None)
    d, w, dtype = _differences(input, target, weight, REAL_OR_BOOL, FLOATING, ("input", "weight"))
    end = open_number("delta", delta, d.dtype, lambda number: number > 0, "above 0")
    near = ~(jnp.abs(d) >= end)
    factor = jnp.where(jnp.isinf(end), 0, end)  # An infinite delta has no linear part; 0 keeps the gradient finite.
    loss = jnp.where(near, jnp.where(near, d, 0) ** 2 / 2, factor * (_sign(d) * d - factor / 2))
    return apply_reduction(loss if w is None else loss * jnp.broadcast_to(w, loss.shape), reduction, dtype)


def poisson_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: Hyperparameter = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Negative log-likelihood of a Poisson count: ``exp(x) - y x`` of log-rates, ``x - y log(x + eps)`` of rates.

    The constant term ``log y!`` is left out; ``full`` adds it by Stirling's formula for counts above 1. The values of
    rates and counts are not checked.

    Args:
        input: log-rates, or rates where ``log_input`` is False; real, any shape.
        target: counts, real; broadcast with ``input``.
        log_input: whether the input holds logarithms of rates.
        full: whether to add ``y log y - y + log(2 pi y) / 2``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        eps: added to a rate in its logarithm.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the promoted dtype of the arguments.

    Raises:
        TypeError: arguments that are not real.
        ValueError: shapes that do not broadcast, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> log_rates, counts = jnp.array([0.0, 1.0]), jnp.array([1.0, 3.0])
        >>> print(f"{F.poisson_nll_loss(log_rates, counts):.3f} {F.poisson_nll_loss(log_rates, counts, full=True):.3f}")
        0.359 1.241
        >>> print(f"{F.poisson_nll_loss(jnp.exp(log_rates), counts, log_input=False):.3f}")
        0.359

    See Also:
        ``gaussian_nll_loss``: real numbers with a variance.

    Source:
        PyTorch, ``torch.nn.functional.poisson_nll_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, old_name=False)
    check_bools(log_input=log_input, full=full)
    rate = of_kind("input", input, REAL_OR_BOOL if log_input else REAL)
    counts = REAL if full or rate.dtype == jnp.bool_ else REAL_OR_BOOL
    (x, y), dtype = open_elements(weak=True, floating=False, input=(rate, REAL_OR_BOOL), target=(target, counts))
    if not jnp.issubdtype(rate.dtype, jnp.floating):
        dtype = promoted(dtype, np.float32)  # exp and log of integers are float32
    x, y = broadcast(input=x, target=y)
    offset = open_number("eps", eps, x.dtype)
    loss = jnp.exp(x) - y * x if log_input else x - y * jnp.log(x + offset)
    if full:
        loss += jnp.where(y > 1, y * jnp.log(y) - y + 0.5 * jnp.log(2 * math.pi * y), 0)
    return apply_reduction(loss, reduction, dtype)


def gaussian_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    full: bool = False,
    eps: Hyperparameter = 1e-6,
    reduction: str = "mean",
) -> Array:
    """Negative log-likelihood of a Gaussian: ``(log v + (x - y)**2 / v) / 2`` with ``v = max(var, eps)``.

    The model predicts a mean and a variance, not a standard deviation. The gradient ignores the lower bound ``eps``, as
    PyTorch's does: a variance below it still has a gradient.

    Args:
        input: means, real, any shape.
        target: numbers, real; broadcast with ``input``.
        var: variances, at least 0: a Python float, one per element or per row, or with one axis of size 1.
        full: whether to add the constant ``log(2 pi) / 2``.
        eps: smallest variance.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the promoted dtype of the arguments.

    Raises:
        TypeError: arguments that are not real, a ``var`` that is not floating.
        ValueError: shapes that do not broadcast, variances below 0 or of another shape, an unknown reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn.functional as F
        >>> x, y, var = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0]), jnp.array([0.5, 2.0])
        >>> print(f"{F.gaussian_nll_loss(x, y, var):.3f} {F.gaussian_nll_loss(x, y, var, full=True):.3f}")
        0.625 1.544
        >>> print(f"{F.gaussian_nll_loss(x, y, 1.0):.3f}")
        1.062

    See Also:
        ``mse_loss``: a constant variance.
        ``poisson_nll_loss``: counts.

    Source:
        PyTorch, ``torch.nn.functional.gaussian_nll_loss``.
        Nix and Weigend, "Estimating the Mean and Variance of the Target Probability Distribution" (ICNN 1994).
    """
    reduction = open_reduction(reduction, old_name=False)
    check_bools(full=full)
    mean = of_kind("input", input, REAL)
    if isinstance(var, float):
        constant = open_number("var", var, promoted(mean.dtype), lambda number: not number < 0, "at least 0")
        var = jnp.broadcast_to(constant, mean.shape)
    variance = open_variance(of_kind("var", var, FLOATING), mean.shape)
    (x, y, v), dtype = open_elements(weak=True, input=(mean, REAL), target=(target, REAL), var=(variance, FLOATING))
    v = raise_or_nan("var", v, ~(v < 0), "negative")
    smallest = open_number("eps", eps, v.dtype)
    v = jnp.where(v < smallest, smallest + (v - jax.lax.stop_gradient(v)), v)
    x, y, v = broadcast(input=x, target=y, var=v)
    loss = 0.5 * (jnp.log(v) + (x - y) ** 2 / v)
    return apply_reduction(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction, dtype)


def _differences(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    kinds: Kinds,
    input_kinds: Kinds | None = None,
    result: tuple[str, ...] = ("input", "target", "weight"),
) -> tuple[Array, Array | None, np.dtype[Any]]:
    """``x - y`` in the common shape, the weights in the shape of ``input``, and the dtype of the result."""
    (x, y, w), dtype = open_elements(
        result, input=(input, input_kinds or kinds), target=(target, kinds), weight=(weight, REAL_OR_BOOL)
    )
    if w is not None:
        require_same_shape("weight", w, x.shape)
    x, y = broadcast(quiet=False, input=x, target=y)
    return x - y, w, dtype


def _apply_weighted_reduction(values: Array, weights: Array | None, reduction: str, dtype: np.dtype[Any]) -> Array:
    if weights is None:
        return apply_reduction(values, reduction, dtype)
    return apply_reduction(values * jnp.broadcast_to(weights, values.shape), reduction, dtype, weights)


def _sign(d: Array) -> Array:
    """1, -1, and 0 at 0 and NaN: PyTorch's derivative of the absolute value. JAX's is 1 at 0."""
    return (d > 0).astype(d.dtype) - (d < 0).astype(d.dtype)
