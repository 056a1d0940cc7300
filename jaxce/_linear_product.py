"""The product of hidden states and a kernel, and the logits: the product with bias, scale and cap.

The derivative of the product is computed in the dtypes that accelerators multiply fast.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from jaxce._class_axis import broadcast_per_class
from jaxce._numerics import compute_dtype, is_zero_tangent
from jaxce._rows import product_with_wide_tangent
from jaxce._types import Layer


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def project(kernel_layout: str, hidden: Array, kernel: Array, perturbed: Array) -> Array:
    """``h W``, with the tangent of W as that of ``perturbed``, which may have a wider dtype."""
    return dot(hidden, kernel, 1, kernel_layout.index("d"))


def _project_jvp(kernel_layout: str, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """Tangents, and so cotangents, have the dtype of the operands: products of mixed dtypes are slow.

    But the gradient of the kernel has the dtype of ``perturbed``, so that a sum over chunks has no rounded summands.
    """
    (hidden, kernel, perturbed), (t_hidden, _, t_kernel), d = primals, tangents, kernel_layout.index("d")
    raw, d_raw = project(kernel_layout, *primals), jnp.zeros((), hidden.dtype)
    if not is_zero_tangent(t_hidden):
        d_raw += dot(t_hidden, _tied(kernel, perturbed), 1, d, hidden.dtype)
    if not is_zero_tangent(t_kernel):
        d_raw += product_with_wide_tangent(hidden, t_kernel, d)
    return raw, d_raw.astype(raw.dtype)


project.defjvp(_project_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _tied(kernel: Array, perturbed: Array) -> Array:
    """The kernel, with the tangent of ``perturbed``."""
    return kernel


_tied.defjvp(lambda primals, tangents: (_tied(*primals), tangents[1].astype(primals[0].dtype)))


def dot(a: Array, b: Array, i: int, j: int, dtype: DTypeLike | None = None) -> Array:
    """The product over axis ``i`` of ``a`` and ``j`` of ``b``, by default in the computing dtype."""
    return lax.dot_general(a, b, (((i,), (j,)), ((), ())), preferred_element_type=dtype or compute_dtype(a))


def add_bias_and_cap(raw: Array, layer: Layer) -> Array:
    """``cap tanh(scale (h W + b) / cap)``; a bias of ``-inf`` gives the logit ``-inf`` under any scale and cap."""
    scale, cap = layer.logit_scale, layer.logit_softcap
    bias = jnp.zeros((), raw.dtype) if layer.bias is None else broadcast_per_class(layer.bias, raw.ndim, 1)
    if scale is None and cap is None:
        return raw + bias
    is_excluded = jnp.isneginf(bias)
    x = raw + jnp.where(is_excluded, 0, bias)
    if scale is not None:
        x = scale * x
    if cap is not None:
        x = cap * jnp.tanh(x / cap)
    return jnp.where(is_excluded, -jnp.inf, x)
