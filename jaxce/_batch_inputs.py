"""Argument checks of `value_and_grad`: positions, the batch, mesh axes, and the result of the loss function."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import zero_from_primal

from jaxce._axis_inputs import check_integer
from jaxce._numerics import is_zero_tangent
from jaxce._sharding import varies
from jaxce._types import AxisName
from jaxce.reductions import Total


def open_argnums(argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    """The positions of the differentiated arguments among ``count``."""
    positions = tuple(argnums) if isinstance(argnums, Sequence) else (argnums,)
    for position in positions:
        check_integer("argnums", position)
        if not -count <= position < count:
            raise ValueError(f"argnums: got {position}; expected one of the {count} positional arguments.")
    opened = tuple(operator.index(position) % count for position in positions)
    if len(set(opened)) < len(opened):
        raise ValueError(f"argnums: got {argnums}; expected each argument once.")
    return opened


def open_axis_name(axis_name: AxisName | None) -> tuple[str, ...]:
    """The mesh axes to sum over."""
    names = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name or ())
    try:
        for name in names:
            lax.axis_size(name)
    except NameError:
        raise ValueError(
            f"axis_name: got {axis_name!r}; expected a mesh axis of the surrounding shard_map, or the axis of vmap."
        ) from None
    return names


def check_batch(batch: dict[int, Any], microbatches: int) -> None:
    """The number of microbatches must divide the first axis of every array."""
    check_integer("microbatches", microbatches)
    if microbatches < 1:
        raise ValueError(f"microbatches: got {microbatches}; expected at least 1, or None.")
    if not jax.tree.leaves(batch):
        raise ValueError(f"microbatches: got {microbatches} and no batch; expected a batch as a positional argument.")
    for position, argument in batch.items():
        for path, leaf in jax.tree.leaves_with_path(argument):
            shape, devices = getattr(leaf, "shape", ()), _devices_of_rows(leaf)
            if shape and not shape[0] % microbatches and shape[0] // microbatches % devices:
                raise ValueError(
                    f"microbatches: got {microbatches} for an array of shape {shape} split over {devices} devices,"
                    f" argument {position}{jax.tree_util.keystr(path)}; expected microbatches of a multiple of"
                    f" {devices} rows. Use fewer microbatches."
                )
            if not shape or shape[0] % microbatches:
                got = f"{microbatches} for an array of shape {shape}" if shape else f"{microbatches} for a number"
                fix = "Pad the batch, masked by where=." if shape else "Pass shared values by keyword."
                raise ValueError(
                    f"microbatches: got {got}, argument {position}{jax.tree_util.keystr(path)}; expected a first axis"
                    f" that {microbatches} divides. {fix}"
                )


def _devices_of_rows(leaf: Any) -> int:
    """The number of devices over which an explicit mesh splits the first axis."""
    sharding = jax.typeof(leaf).sharding
    names = sharding.spec[0] if len(sharding.spec) else None
    return math.prod(sharding.mesh.shape[name] for name in ((names,) if isinstance(names, str) else names or ()))


def open_result(result: Any, has_aux: bool, names: tuple[str, ...], perturbed: Array) -> tuple[Total, Any]:
    """The total of a microbatch, and its auxiliary output; types with mesh axes must vary along ``names``."""
    if has_aux and not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"loss_fn: returned {_kind(result)} with has_aux=True; expected a pair (Total, aux).")
    total, aux = result if has_aux else (result, None)
    if not isinstance(total, Total):
        fix = (
            "Pass has_aux=True."
            if isinstance(total, tuple)
            else 'Use reduction="total", for regions with a batch_axis.'
        )
        raise TypeError(f"loss_fn: returned {_kind(total)}; expected a Total. {fix}")
    shapes = jnp.shape(total.loss), jnp.shape(total.weight)
    if any(shapes):
        raise ValueError(f"loss_fn: returned a Total of shapes {shapes}; expected two numbers. Add totals with .sum().")
    for name in names:
        if not varies(total.loss, name):
            raise ValueError(
                f"axis_name: got {name!r}, but the Total of loss_fn is equal on all its devices; expected the total of"
                " each device. Leave out .psum() in loss_fn."
            )
    return Total(total.loss, _constant(jnp.asarray(total.weight), perturbed)), aux


def _kind(x: Any) -> str:
    return f"an array of shape {x.shape}" if isinstance(x, Array) else f"a {type(x).__name__}"


@jax.custom_jvp
def _constant(weight: Array, perturbed: Array) -> Array:
    """The weight, which must not depend on the differentiated arguments.

    ``perturbed`` is one of them. So the inner gradient always applies the rule, and an outer one never meets it.
    """
    return weight


def _constant_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    if not is_zero_tangent(tangents[0]):
        raise ValueError(
            "loss_fn: returned a Total whose weight depends on the differentiated arguments; expected a constant"
            " weight. Use Total(total.loss, jax.lax.stop_gradient(total.weight))."
        )
    return primals[0], zero_from_primal(primals[0])


_constant.defjvp(_constant_jvp, symbolic_zeros=True)
