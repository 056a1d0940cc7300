"""PyTorch's losses of numbers, which the core has no business with: their formulas stand here."""

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
    ENUM,
    FLOATING,
    NAMES,
    REAL,
    REAL_OR_BOOL,
    Kinds,
    broadcast,
    check_bools,
    check_number,
    of_kind,
    open_elements,
    open_reduction,
    open_variance,
    promoted,
    require_same_shape,
)
from jaxce.torch._reductions import close


def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> Array:
    """Squared error: ``w (x - y)**2``.

    The weighted mean divides by the sum of the weights.

    Args:
        input: numbers of any shape, real.
        target: numbers, real; broadcast with ``input``, with a warning where the shapes differ.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: weight of each element, real, the shape of ``input``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype to which the arguments promote.

    Raises:
        TypeError: arguments none of which is floating.
        ValueError: shapes that do not broadcast, weights of another shape, an unknown reduction.

    Example:
        >>> print(f"{F.mse_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])):.3f}")
        2.000

    Source:
        PyTorch 2.13, ``torch.nn.functional.mse_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, names=ENUM if weight is None else NAMES)
    d, w, dtype = _differences(input, target, weight, REAL if weight is not None else REAL_OR_BOOL)
    return _close_weighted(d**2, w, reduction, dtype)


def l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> Array:
    """Absolute error: ``w |x - y|``.

    The weighted mean divides by the sum of the weights. The slope at 0 is 0.

    Args:
        input: numbers of any shape, real.
        target: numbers, real; broadcast with ``input``, with a warning where the shapes differ.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: weight of each element, real, the shape of ``input``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype to which the arguments promote.

    Raises:
        TypeError: arguments none of which is floating.
        ValueError: shapes that do not broadcast, weights of another shape, an unknown reduction.

    Example:
        >>> print(f"{F.l1_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])):.3f}")
        1.000

    Source:
        PyTorch 2.13, ``torch.nn.functional.l1_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, names=ENUM if weight is None else NAMES)
    d, w, dtype = _differences(input, target, weight, REAL)
    return _close_weighted(_sign(d) * d, w, reduction, dtype)


def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: Hyperparameter = 1.0,
) -> Array:
    """Absolute error with a rounded corner: ``d**2 / (2 beta)`` for ``|d| < beta``, else ``|d| - beta/2``.

    Twice as steep at the corner as ``huber_loss`` is for a delta of 1/2: it is that loss divided by ``beta``.

    Args:
        input: numbers of any shape, real.
        target: numbers, real; broadcast with ``input``, with a warning where the shapes differ.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: where the corner ends, at least 0; 0 gives ``l1_loss``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype to which the arguments promote.

    Raises:
        TypeError: arguments none of which is floating.
        ValueError: shapes that do not broadcast, a negative ``beta``, an unknown reduction.

    Example:
        >>> print(f"{F.smooth_l1_loss(jnp.array([1.5, 2.0]), jnp.array([1.0, 4.0])):.3f}")
        0.812

    Source:
        PyTorch 2.13, ``torch.nn.functional.smooth_l1_loss``.
        Girshick, "Fast R-CNN" (ICCV 2015), eq. 3.
    """
    reduction = open_reduction(reduction, size_average, reduce)
    check_number("beta", beta, lambda number: number >= 0, "at least 0")
    d, _, dtype = _differences(input, target, None, REAL if is_off(beta) else REAL_OR_BOOL)
    b = jnp.asarray(beta, d.dtype)
    near = ~(jnp.abs(d) >= b) & (b > 0)
    rounded = jnp.where(near, d, 0) ** 2 / (2 * jnp.where(b == 0, 1, b))
    return close(jnp.where(near, rounded, _sign(d) * d - b / 2), reduction, dtype)


def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    delta: Hyperparameter = 1.0,
    weight: ArrayLike | None = None,
) -> Array:
    """Squared error with straight arms: ``w d**2 / 2`` for ``|d| < delta``, else ``w delta (|d| - delta/2)``.

    The weights do not enter the divisor of the mean, which is the number of elements.

    Args:
        input: numbers of any shape, floating.
        target: numbers, real; broadcast with ``input``, with a warning where the shapes differ.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: where the arms begin, above 0.
        weight: weight of each element, real, the shape of ``input``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype of ``input``.

    Raises:
        TypeError: an input that is not floating.
        ValueError: shapes that do not broadcast, weights of another shape, a ``delta`` of 0, an unknown reduction.

    Example:
        >>> print(f"{F.huber_loss(jnp.array([1.5, 2.0]), jnp.array([1.0, 4.0])):.3f}")
        0.812

    Source:
        PyTorch 2.13, ``torch.nn.functional.huber_loss``.
        Huber, "Robust Estimation of a Location Parameter" (Annals of Mathematical Statistics 35, 1964).
    """
    reduction = open_reduction(reduction, names=ENUM if weight is None else NAMES)
    check_number("delta", delta, lambda number: number > 0, "above 0")
    d, w, dtype = _differences(input, target, weight, REAL_OR_BOOL, FLOATING, ("input", "weight"))
    arm = jnp.asarray(delta, d.dtype)
    near = ~(jnp.abs(d) >= arm)
    arm = jnp.where(jnp.isinf(arm), 0, arm)  # which is never reached
    loss = jnp.where(near, jnp.where(near, d, 0) ** 2 / 2, arm * (_sign(d) * d - arm / 2))
    return close(loss if w is None else loss * jnp.broadcast_to(w, loss.shape), reduction, dtype)


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

    Without the term ``log y!``, which ``full`` adds by Stirling's formula for counts above 1.

    Args:
        input: log-rates, or rates where ``log_input`` is False; real, any shape.
        target: counts, real; broadcast with ``input``.
        log_input: whether the input holds logarithms.
        full: whether to add ``y log y - y + log(2 pi y) / 2``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        eps: what keeps the logarithm of a rate finite.
        reduce: deprecated.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype to which the arguments promote.

    Raises:
        TypeError: arguments that are not real.
        ValueError: shapes that do not broadcast, an unknown reduction.

    Example:
        >>> print(f"{F.poisson_nll_loss(jnp.array([0.0, 1.0]), jnp.array([1.0, 2.0])):.3f}")
        0.859

    Source:
        PyTorch 2.13, ``torch.nn.functional.poisson_nll_loss``.
    """
    reduction = open_reduction(reduction, size_average, reduce, names=NAMES)
    check_number("eps", eps)
    check_bools(log_input=log_input, full=full)
    rate = of_kind("input", input, REAL_OR_BOOL if log_input else REAL)
    counts = REAL if full or rate.dtype == jnp.bool_ else REAL_OR_BOOL
    (x, y), dtype = open_elements(weak=True, floating=False, input=(rate, REAL_OR_BOOL), target=(target, counts))
    if not jnp.issubdtype(rate.dtype, jnp.floating):
        dtype = promoted(dtype, np.float32)  # what exp and log make of integers
    x, y = broadcast(input=x, target=y)
    loss = jnp.exp(x) - y * x if log_input else x - y * jnp.log(x + jnp.asarray(eps, x.dtype))
    if full:
        loss += jnp.where(y > 1, y * jnp.log(y) - y + 0.5 * jnp.log(2 * math.pi * y), 0)
    return close(loss, reduction, dtype)


def gaussian_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    full: bool = False,
    eps: Hyperparameter = 1e-6,
    reduction: str = "mean",
) -> Array:
    """Negative log-likelihood of a Gaussian: ``(log v + (x - y)**2 / v) / 2`` with ``v = max(var, eps)``.

    The gradient passes the clamp as if it were not there, as PyTorch's does.

    Args:
        input: means, real, any shape.
        target: numbers, real; broadcast with ``input``.
        var: variances, at least 0: a Python float, or floating, the shape of ``input``, or that without its last axis,
            or with one axis of size 1.
        full: whether to add the constant ``log(2 pi) / 2``.
        eps: the least variance.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the common shape for ``"none"``, in the dtype to which the arguments promote.

    Raises:
        TypeError: arguments that are not real, a ``var`` that is not floating.
        ValueError: shapes that do not broadcast, variances below 0 or of another shape, an unknown reduction.

    Example:
        >>> print(f"{F.gaussian_nll_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]), 2.0):.3f}")
        0.847

    Source:
        PyTorch 2.13, ``torch.nn.functional.gaussian_nll_loss``.
        Nix and Weigend, "Estimating the Mean and Variance of the Target Probability Distribution" (ICNN 1994).
    """
    reduction = open_reduction(reduction, names=NAMES)
    check_number("eps", eps)
    check_bools(full=full)
    mean = of_kind("input", input, REAL)
    if isinstance(var, float):
        check_number("var", var, lambda number: not number < 0, "at least 0")
        var = jnp.full(mean.shape, var, promoted(mean.dtype))
    variance = open_variance(of_kind("var", var, FLOATING), mean.shape)
    (x, y, v), dtype = open_elements(weak=True, input=(mean, REAL), target=(target, REAL), var=(variance, FLOATING))
    v = raise_or_nan("var", v, ~(v < 0), "at least 0")
    least = jnp.asarray(eps, v.dtype)
    v = jnp.where(v < least, least + (v - jax.lax.stop_gradient(v)), v)
    x, y, v = broadcast(input=x, target=y, var=v)
    loss = 0.5 * (jnp.log(v) + (x - y) ** 2 / v)
    return close(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction, dtype)


def _differences(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    kinds: Kinds,
    input_kinds: Kinds | None = None,
    result: tuple[str, ...] = ("input", "target", "weight"),
) -> tuple[Array, Array | None, np.dtype[Any]]:
    """``x - y`` in the common shape, the weights in that of ``input``, and the dtype of the result."""
    (x, y, w), dtype = open_elements(
        result, input=(input, input_kinds or kinds), target=(target, kinds), weight=(weight, REAL_OR_BOOL)
    )
    if w is not None:
        require_same_shape("weight", w, x.shape)
    x, y = broadcast(quiet=False, input=x, target=y)
    return x - y, w, dtype


def _close_weighted(values: Array, weights: Array | None, reduction: str, dtype: np.dtype[Any]) -> Array:
    if weights is None:
        return close(values, reduction, dtype)
    return close(values * jnp.broadcast_to(weights, values.shape), reduction, dtype, weights)


def _sign(d: Array) -> Array:
    """1, -1, and 0 at 0 and NaN: PyTorch's slope of the absolute value, which JAX's is not."""
    return (d > 0).astype(d.dtype) - (d < 0).astype(d.dtype)
