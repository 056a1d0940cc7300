"""Argument checks of mixtures of distributions: of several views, or of two with a weight."""

import dataclasses
import numbers

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxce._axis_inputs import class_axis, one_axis
from jaxce._inputs import floating, open_logits
from jaxce._types import Inputs, Reduction


def open_views(
    logits: ArrayLike,
    *,
    view_axis: int,
    axis: int,
    sample_weights: ArrayLike | None,
    where: ArrayLike | None,
    reduction: Reduction,
) -> Inputs:
    """Logits of the views along axis 0, and the rest of the record as of one view."""
    x = floating("logits", logits)
    views, classes = one_axis("view_axis", "logits", x.shape, view_axis), class_axis("logits", x.shape, axis)
    if views == classes:
        raise ValueError(f"view_axis: got {view_axis} with axis={axis}, the same axis; expected another one.")
    if x.shape[views] == 0:
        raise ValueError(f"logits: got shape {x.shape}, without views along axis {views}; expected at least one.")
    x = jnp.moveaxis(x, views, 0)
    of_one: Array = x[0]
    classes -= classes > views
    inputs = open_logits(of_one, axis=classes, sample_weights=sample_weights, where=where, reduction=reduction)
    return dataclasses.replace(inputs, logits=x)


def check_beta(beta: float) -> None:
    """The weight of the teacher or of the labels in a mixture."""
    if isinstance(beta, bool) or not isinstance(beta, numbers.Real):
        raise TypeError(f"beta: got a {type(beta).__name__}; expected a number of Python or NumPy, static under jit.")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta: got {beta}; expected a number in [0, 1].")
