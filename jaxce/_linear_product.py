"""The product of hidden states and a kernel, with its derivative in the dtypes that accelerators multiply fast."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from jaxce._numerics import compute_dtype, is_zero_tangent
from jaxce._rows import product_with_wide_tangent


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
