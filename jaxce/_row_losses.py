"""Losses of rows of classes whose formulas are plain `jnp`: one CPU device computes them, and gradients, in blocks."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._class_axis import example_shape
from jaxce._numerics import compute_dtype, is_float, is_zero_tangent, jvp_of_perturbed
from jaxce._rows import by_rows
from jaxce._types import PerExample


def row_losses(formula: Callable[[Any], PerExample], x: Any) -> PerExample:
    """``formula(x)``, a loss of each row of the logits that depends on this row alone.

    XLA:CPU would materialize most terms of such a formula, in value and gradient. In blocks the largest arrays are the
    gradients. On other platforms nothing changes.
    """
    mask = None if x.mask is None else jnp.broadcast_to(x.mask, example_shape(x.logits, x.axis))
    names = ["logits", "labels", "mask"] if hasattr(x, "labels") else ["logits", "mask"]
    nothing = dict.fromkeys(names) | {"logits": jnp.zeros((), x.logits.dtype)}
    shared, shared_tree = jax.tree.flatten(dataclasses.replace(x, sample_weights=None, **nothing))
    rows, tree = jax.tree.flatten([mask if name == "mask" else getattr(x, name) for name in names])

    def of_rows(rows: Sequence[Any], shared: Sequence[Any]) -> PerExample:
        parts = dict(zip(names, jax.tree.unflatten(tree, rows), strict=True))
        return formula(dataclasses.replace(jax.tree.unflatten(shared_tree, shared), **parts))

    return _row_losses(of_rows, x.axis, rows, shared)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _row_losses(formula: Callable[..., PerExample], axis: int, rows: list[Any], shared: list[Any]) -> PerExample:
    return by_rows(lambda *rows: formula(rows, shared), *rows, axis=axis)


def _row_losses_jvp(
    formula: Callable[..., PerExample], axis: int, primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[PerExample, PerExample]:
    """``sum_c gradient_c dx_c`` for the arrays of rows, plus the derivative along what all rows share."""
    (rows, shared), (d_rows, d_shared) = primals, tangents
    perturbed = tuple(i for i, tangent in enumerate(d_rows) if not is_zero_tangent(tangent))
    loss, gradients = _loss_and_gradients(formula, axis, perturbed, rows, shared)
    d_loss = jvp_of_perturbed(lambda shared: formula(rows, shared), (shared,), (d_shared,))[1]
    for i, gradient in zip(perturbed, gradients, strict=True):
        d_loss += jnp.sum(gradient * d_rows[i].astype(gradient.dtype), axis)
    return loss, d_loss


_row_losses.defjvp(_row_losses_jvp, symbolic_zeros=True)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _loss_and_gradients(
    formula: Callable[..., PerExample], axis: int, perturbed: tuple[int, ...], rows: list[Any], shared: list[Any]
) -> tuple[PerExample, list[Array]]:
    """The losses, and their gradients for the perturbed arrays, in blocks; the derivatives are those of the whole."""
    return by_rows(lambda *rows: _at_once(formula, perturbed, rows, shared), *rows, axis=axis)


def _at_once(
    formula: Callable[..., PerExample], perturbed: tuple[int, ...], rows: Sequence[Any], shared: Sequence[Any]
) -> tuple[PerExample, list[Array]]:
    """Losses and gradients in the computing dtype, so that the gradients of 16-bit logits are rounded once."""
    wide = [a.astype(compute_dtype(a)) if is_float(a) else a for a in rows]

    def total(parts: list[Array]) -> tuple[Array, PerExample]:
        given = dict(zip(perturbed, parts, strict=True))
        losses = formula([given.get(i, a) for i, a in enumerate(wide)], shared)
        return jnp.sum(losses), losses

    gradients, losses = jax.grad(total, has_aux=True)([wide[i] for i in perturbed])
    return losses, gradients


def _loss_and_gradients_jvp(
    formula: Callable[..., PerExample],
    axis: int,
    perturbed: tuple[int, ...],
    primals: tuple[Any, Any],
    tangents: tuple[Any, Any],
) -> Any:
    return jvp_of_perturbed(partial(_at_once, formula, perturbed), primals, tangents)


_loss_and_gradients.defjvp(_loss_and_gradients_jvp, symbolic_zeros=True)
