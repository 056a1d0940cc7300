"""Losses of single elements, at least 0, with a written derivative: each pass reads logits and labels, and no more.

Compilers fuse one expression of logits and labels into one kernel. They materialize what two expressions share, such as
a sigmoid in loss and gradient. So a formula and its derivative share no exponential: the derivative clips the logits to
the range of `exp`, beyond which it is constant. It is then finite for infinite logits, too.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._numerics import clamped_at_zero, clip_to_finite, is_zero_tangent, jvp_of_perturbed

Formula: TypeAlias = Callable[[Array, Array, Any], Array]
"""Of logits ``z``, labels ``y`` and hyperparameters."""


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def element_losses(loss: Formula, derivative: Formula, z: Array, y: Array, hyperparameters: Any) -> Array:
    """``loss(z, y, hyperparameters)``, whose derivative for ``z`` is ``derivative(z, y, hyperparameters)``."""
    return clamped_at_zero(loss(z.astype(y.dtype), y, hyperparameters))


def _element_losses_jvp(
    loss: Formula, derivative: Formula, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    (z, y, hyperparameters), (dz, *others) = primals, tangents
    value = element_losses(loss, derivative, z, y, hyperparameters)
    z = z.astype(y.dtype)
    # With an infinite logit, a factor of 0 in the derivative for the label would give NaN.
    d_value = jvp_of_perturbed(partial(loss, clip_to_finite(z)), (y, hyperparameters), tuple(others))[1]
    if not is_zero_tangent(dz):
        d_value += derivative(z, y, hyperparameters) * dz.astype(y.dtype)
    return value, d_value


element_losses.defjvp(_element_losses_jvp, symbolic_zeros=True)


def clipped_for_exp(z: Array) -> Array:
    """The nearest number to ``z`` where neither ``exp(z)`` nor ``exp(-z)`` overflows or counts as 0."""
    bound = -math.log(jnp.finfo(z.dtype).tiny) - 2
    return jnp.clip(z, -bound, bound)
