"""Arithmetic without overflow or NaN: products, powers and quotients with their limits at 0 and infinity."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from jaxce._types import AnyArray, Bound, Hyperparameter

T = TypeVar("T")


def compute_dtype(x: AnyArray | np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which losses are computed and returned: float32, or float64 for float64."""
    return np.dtype(np.float64 if getattr(x, "dtype", x) == np.float64 else np.float32)


def wider(a: AnyArray, b: AnyArray) -> np.dtype[Any]:
    """The dtype in which two arrays are multiplied, under strict dtype promotion too."""
    with jax.numpy_dtype_promotion("standard"):
        return np.dtype(jnp.promote_types(a.dtype, b.dtype))


def is_float(a: Array) -> bool:
    """Whether the numbers are floating."""
    return bool(jnp.issubdtype(a.dtype, jnp.floating))


def fill_rows(a: Array, mask: Array | None) -> Array:
    """``a`` with 0 where the mask of its leading axes is False; random keys stay."""
    if mask is None or jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return a
    return fill_masked(a, mask.reshape(*mask.shape, *[1] * (a.ndim - mask.ndim)))


def fill_masked(x: Array, mask: Array | None, filler: float = 0.0) -> Array:
    """``x`` with ``filler`` where masked: no masked value enters the arithmetic."""
    return x if mask is None else jnp.where(mask, x, jnp.asarray(filler, x.dtype))


def is_in_range(x: AnyArray, low: Bound = 0) -> Any:
    """Whether ``x`` lies in [low, 1], up to a rounding of 1e-5: the mean of several probabilities may exceed 1."""
    return distance_from_middle(x, low) <= (1 - low) / 2 + 1e-5


def distance_from_middle(x: AnyArray, low: Bound = 0) -> Any:
    """``|x - (low + 1) / 2|``."""
    return abs(x - (low + 1) / 2)


def nan_where_invalid(x: Any, ok: Array | None) -> Array:
    """``x``, NaN in value and gradient where ``ok`` is False; None is True everywhere."""
    valid_or_nan: Array = x if ok is None else x * jnp.where(ok, 1, jnp.nan).astype(x.dtype)
    return valid_or_nan


def is_zero_tangent(tangent: Any) -> bool:
    """Whether a tangent is known to be zero: that of an unperturbed array, or float0 of integers."""
    return isinstance(tangent, SymbolicZero) or tangent.dtype == jax.dtypes.float0


def clip_to_finite(x: Array) -> Array:
    """``x`` with the largest finite number for infinity, so that ``x - x`` is 0; NaN remains NaN."""
    bounds = jnp.finfo(x.dtype)
    return jnp.clip(x, bounds.min, bounds.max)


def is_off(value: Hyperparameter | None) -> bool:
    """Whether a hyperparameter is the Python number 0, so that its terms need not be traced."""
    return isinstance(value, int | float) and bool(value == 0)


def safe_multiply(weight: Array, value: Array) -> Array:
    """``weight * value`` with ``0 * inf = 0``; NaN remains NaN, and the derivatives follow the same rule."""
    zero_times_inf = (weight == 0) & jnp.isinf(value)
    return weight * jnp.where(zero_times_inf, jnp.zeros((), value.dtype), value)


def safe_multiply_no_select(weight: Array, value: Array) -> Array:
    """`safe_multiply` for ``value >= 0`` under a sum, without a select: XLA:CPU does not fuse selects into its sums.

    The value is clipped to a bound, which is finite for weight 0 and infinite for all other weights. In such sums a
    minimum drops NaN, so the caller must add it.
    """
    bound = lax.rsqrt(jnp.maximum(0, jnp.finfo(value.dtype).tiny - jnp.abs(lax.stop_gradient(weight))))
    return weight * jnp.minimum(value, bound)


def at_least_zero(x: Array) -> Array:
    """``max(x, 0)`` with the derivative of ``x``: for sums that are negative by rounding alone. NaN remains NaN."""
    return jnp.where(x < 0, x - lax.stop_gradient(x), x)


def clamped_at_zero(x: Array) -> Array:
    """``max(x, 0)``, and NaN for NaN; before a sum XLA:CPU computes it in one kernel with all that leads to it."""
    return lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), jnp.inf, x.dtype))


def jvp_of_perturbed(f: Callable[..., T], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[T, T]:
    """`jax.jvp` of ``f`` along the perturbed leaves alone, and zeros without any.

    `jax.jvp` takes neither the symbolic zeros of unperturbed leaves nor the float0 tangents of ids.
    """
    leaves, tree = jax.tree.flatten(primals)
    along = jax.tree.leaves(tangents)
    perturbed = [i for i, t in enumerate(along) if not is_zero_tangent(t)]

    def of_perturbed(*parts: Array) -> T:
        given = dict(zip(perturbed, parts, strict=True))
        return f(*jax.tree.unflatten(tree, [given.get(i, leaf) for i, leaf in enumerate(leaves)]))

    if not perturbed:
        value = f(*primals)
        return value, jax.tree.map(zero_from_primal, value)
    derivative: tuple[T, T] = jax.jvp(of_perturbed, [leaves[i] for i in perturbed], [along[i] for i in perturbed])
    return derivative


def safe_power(base: Array, exponent: Hyperparameter) -> Array:
    """``base**exponent`` for both at least 0, with finite first and second derivatives.

    Near 0 the power is replaced by its limit, with gradient 0 unless the exponent is 1. There the gradient of a root
    would be infinite. The threshold is the cube root of the smallest normal number.
    """
    exponent = jnp.asarray(exponent, base.dtype)
    near_zero = base <= jnp.finfo(base.dtype).tiny ** (1 / 3)
    limit = jnp.where(exponent == 1, base, (exponent == 0).astype(base.dtype))
    power: Array = jnp.where(near_zero, limit, jnp.where(near_zero, 1, base) ** exponent)
    return power


def above_zero(base: Array) -> Array:
    """``base``, at least the cube root of the smallest normal number: two derivatives of any power of it are finite."""
    return jnp.maximum(base, jnp.finfo(base.dtype).tiny ** (1 / 3))


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, without the selects of `jax.nn.softplus`. The minimum is ``-|x|`` with derivative 0 at 0."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(jnp.minimum(x, -x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    ((x,), (dx,)) = primals, tangents
    return softplus(x), jax.nn.sigmoid(x) * dx


def safe_divide(numerator: Array, divisor: Array, empty: Hyperparameter) -> Array:
    """``numerator / divisor``, and ``empty`` with gradient 0 where the divisor is 0."""
    is_empty = divisor == 0
    quotient = numerator / jnp.where(is_empty, 1, divisor)
    filled: Array = jnp.where(is_empty, jnp.asarray(empty, quotient.dtype), quotient)
    return filled


def focal_modulation(nll: Array, gamma: Hyperparameter) -> Array:
    """``(1 - p)**gamma nll`` with ``nll = -log p``: less weight for examples with a high probability p."""
    is_large = nll > 1000  # the factor is 1, but its gradient of 0 times an infinite nll would be NaN
    s = jnp.where(is_large, 1, nll)
    return jnp.where(is_large, nll, safe_power(-jnp.expm1(-s), gamma) * s)
