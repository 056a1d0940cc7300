"""Mean loss and gradient of a batch, from the totals of its microbatches and devices."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxce._batch_inputs import check_batch, open_argnums, open_axis_name, open_result
from jaxce._debug import named_index
from jaxce._numerics import safe_divide, wider
from jaxce._sharding import pvary_tree, varies
from jaxce._types import AxisName
from jaxce.reductions import Total

Batch: TypeAlias = dict[int, Any]
"""The arguments that are split into microbatches, by position."""

Params: TypeAlias = tuple[Any, ...]

Loss: TypeAlias = Callable[[tuple[Params, Array], Batch], tuple[Array, tuple[Total, Any]]]
"""A function of the parameters and a number that is perturbed with them, and of rows of the batch."""


def value_and_grad(
    loss_fn: Callable[..., Any],
    *,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    microbatches: int | None = None,
    axis_name: AxisName | None = None,
) -> Callable[..., tuple[Any, Any]]:
    """Mean loss ``sum_i loss_i / sum_i weight_i`` and its gradient, of a function that returns a ``Total``.

    Like ``jax.value_and_grad``, over microbatches and devices: loss, weight and gradient are summed, then divided once.
    So parts with unequal padding give the numbers of the whole batch. The function is traced once, and memory does not
    grow with the number of microbatches. The weight must not depend on the differentiated arguments.

    Args:
        loss_fn: function without side effects that returns a ``Total``, such as that of ``reduction="total"``.
        argnums: positions of the differentiated arguments; other positional ones are the batch, keywords are shared.
        has_aux: True for a function that returns ``(Total, aux)``; ``microbatches`` stacks the aux along a first axis.
        microbatches: number n of parts of the batch, which divides each first axis; part i has the rows i, i + n, ...
        axis_name: mesh axes over which loss, weight and gradient are summed, inside ``shard_map`` or ``vmap``.

    Returns:
        A function of the same arguments, which returns ``(mean, gradient)``, or ``((mean, aux), gradient)``. Both are 0
        for a weight of 0. Gradients are summed in float32 and have the dtype of their parameters.

    Raises:
        TypeError: a result that is not a ``Total``.
        ValueError: a batch that does not divide, a weight that depends on the parameters, an unknown mesh axis.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> jnp.set_printoptions(precision=3)
        >>> x, labels = jnp.array([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0], [1.0, 1.0]]), jnp.array([0, 1, -1, 1])
        >>> def loss_fn(w, x, labels):
        ...     logits = x @ w
        ...     total = jaxce.cross_entropy(logits, labels, ignore_index=-1, reduction="total")
        ...     return total, jnp.argmax(logits, -1) == labels
        >>> step = jaxce.value_and_grad(loss_fn, microbatches=2, has_aux=True)
        >>> (loss, right), gradient = step(jnp.eye(2), x, labels)
        >>> print(f"{loss:.3f} {loss_fn(jnp.eye(2), x, labels)[0]:.3f}")
        0.773 0.773
        >>> print(gradient)
        [[-0.077  0.077]
         [-0.231  0.231]]
        >>> print(right)
        [[False False]
         [ True False]]

    See Also:
        ``Total``: what the function returns, and how totals add.
        ``Mean``: ``Mean(axis_name=...)`` for a loss over devices without microbatches.
        ``jax.value_and_grad``: for functions that return a mean.

    Source:
        Goyal et al., "Accurate, Large Minibatch SGD" (arXiv 1706.02677, 2017), section 2.3, remark 3: one divisor for
        all parts.
    """

    @functools.wraps(loss_fn)
    def mean_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions, names = open_argnums(argnums, len(args)), open_axis_name(axis_name)
        params = jax.tree.map(jnp.asarray, tuple(args[i] for i in positions))
        batch = {i: a for i, a in enumerate(args) if i not in positions}
        # With `check_vma`, JAX itself sums the gradient of a parameter that does not vary, in every microbatch.
        typed = tuple(name for name in names if varies(lax.axis_index(name), name))

        def loss(perturbed: tuple[Params, Array], rows: Batch) -> tuple[Array, tuple[Total, Any]]:
            given = rows | dict(zip(positions, perturbed[0], strict=True))
            result = loss_fn(*(given[i] for i in range(len(args))), **kwargs)
            total, aux = open_result(result, has_aux, typed, perturbed[1])
            return total.loss, (total, aux)

        sums, total, aux = _sums(loss, pvary_tree(params, frozenset(typed)), batch, microbatches)
        sums = jax.tree.map(functools.partial(_psum, names), sums, params)
        total = total.psum(names) if names else total
        means = jax.tree.map(lambda s, p: safe_divide(s, total.weight, 0).astype(p.dtype), sums, params)
        gradient = means if isinstance(argnums, Sequence) else means[0]
        return (total.mean(), aux) if has_aux else total.mean(), gradient

    return mean_and_gradient


def _sums(loss: Loss, params: Params, batch: Batch, microbatches: int | None) -> tuple[Any, Total, Any]:
    """The gradient of the summed loss, the total, and the auxiliary output of each microbatch."""

    def of_rows(rows: Batch) -> tuple[Any, Total, Any]:
        (gradient, _), (total, aux) = jax.grad(loss, has_aux=True)((params, jnp.zeros(())), rows)
        return jax.tree.map(lambda g: g.astype(_sum_dtype(g)), gradient), total, aux

    if microbatches is None:
        return of_rows(batch)
    check_batch(batch, microbatches)

    def step(sums: Any, i: Array) -> tuple[Any, tuple[Total, Any]]:
        with named_index("microbatch", i):
            gradient, total, aux = of_rows(jax.tree.map(functools.partial(_microbatch, microbatches, i), batch))
        return jax.tree.map(jnp.add, sums, gradient), (total, aux)

    zeros = jax.tree.map(lambda p: jnp.zeros_like(p, _sum_dtype(p)), params)
    sums, (totals, aux) = lax.scan(step, zeros, jnp.arange(microbatches))
    return sums, totals.sum(), aux


def _microbatch(microbatches: int, i: Array, rows: Any) -> Array:
    """Rows ``i, i + microbatches, ...``: of a split batch, every device then has its own part of each microbatch."""
    strided = jnp.asarray(rows).reshape(rows.shape[0] // microbatches, microbatches, *rows.shape[1:])
    part: Array = lax.dynamic_index_in_dim(strided, i, 1, keepdims=False)
    return part


def _sum_dtype(a: Array) -> np.dtype[Any]:
    """The dtype of sums of 16-bit gradients is float32."""
    return wider(a, np.zeros((), np.float32))


def _psum(names: tuple[str, ...], gradient: Array, param: Array) -> Array:
    """The sum over the devices that have the same parameter; those that split it have gradients of their own."""
    shared = tuple(name for name in names if not varies(param, name))
    summed: Array = lax.psum(gradient, shared) if shared else gradient
    return summed
