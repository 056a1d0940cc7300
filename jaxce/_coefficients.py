"""The coefficients ``q_c`` of ``sum_c q_c (log_z - x_c)``: labels, class weights and smoothing in one record."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxce._class_axis import broadcast_per_class, expand_class_axis, is_label, is_local_class, mask_rows
from jaxce._numerics import compute_dtype, is_in_range, nan_where_invalid
from jaxce._types import ArrayOrTangent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """The coefficients ``q_c = label_weight [c = ids] + scale_c probs_c + offset_c``; parts may be None.

    ``ids`` and ``label_weight`` are one number per example, the latter NaN for an invalid id. ``scale`` and ``offset``
    are scalars or ``[classes]``. The dense part is the sum without the label: ``scale_c probs_c + offset_c``. Unless
    ``checked``, a probability outside [0, 1] counts as NaN.
    """

    ids: ArrayOrTangent = None
    label_weight: ArrayOrTangent = None
    probs: ArrayOrTangent = None
    scale: ArrayOrTangent = None
    offset: ArrayOrTangent = None
    checked: bool = dataclasses.field(default=True, metadata={"static": True})

    @property
    def dtype(self) -> Any:
        """The dtype in which the coefficients are computed."""
        return next(a.dtype for a in (self.label_weight, self.scale, self.offset) if a is not None)

    @property
    def is_dense(self) -> bool:
        """Whether there is a dense part: a coefficient of classes other than the label."""
        return self.probs is not None or self.offset is not None

    def masked(self, mask: Array | None, axis: int) -> "Target":
        """The target with probabilities of 0 in masked rows."""
        return self if self.probs is None else dataclasses.replace(self, probs=mask_rows(self.probs, mask, axis))

    def as_checked(self) -> "Target":
        """The target with all probabilities taken as valid, because invalid ones are NaN elsewhere."""
        return dataclasses.replace(self, checked=True)

    def dense(self, x: ArrayOrTangent, axis: int) -> Array:
        """The dense part of ``q_c``, to be broadcast with ``x``."""
        offset: Array | None = None if self.offset is None else broadcast_per_class(self.offset, x.ndim, axis)
        if self.probs is None:
            return jnp.zeros((), compute_dtype(x)) if offset is None else offset
        probs = self.probs.astype(self.scale.dtype)
        if not self.checked:
            probs = nan_where_invalid(probs, is_in_range(probs))
        scaled: Array = broadcast_per_class(self.scale, x.ndim, axis) * probs
        return scaled if offset is None else scaled + offset

    def dense_sum(self, x: ArrayOrTangent, axis: int) -> Array:
        """The sum of the dense part over the classes."""
        offset = jnp.zeros((), self.dtype)
        if self.offset is not None:
            offset = jnp.sum(jnp.broadcast_to(self.offset, x.shape[axis : axis + 1]))
        if self.probs is None:
            return offset
        return jnp.sum(dataclasses.replace(self, offset=None).dense(x, axis), axis) + offset

    def all_classes(self, x: ArrayOrTangent, axis: int) -> Array:
        """``q_c`` of every class, to be broadcast with ``x``; a row of NaN for an invalid id."""
        dense = self.dense(x, axis)
        if self.ids is None:
            return dense
        label_weight = expand_class_axis(self.label_weight, axis)
        return dense + jnp.where(is_label(self.ids, x, axis), label_weight, 0 * label_weight)

    def local_label_weight(self, x: ArrayOrTangent, axis: int) -> Array:
        """The label's weight where ``x`` holds its class, and 0 where another shard does; NaN for an invalid id."""
        # XLA turns a product with 0 or 1 into a select and loses NaN.
        return jnp.where(is_local_class(self.ids, x, axis), self.label_weight, 0 * self.label_weight)

    def nan_where_invalid(self, value: Array) -> Array:
        """``value``, and NaN in value and gradient for an invalid id: its label weight is NaN."""
        return value if self.ids is None else value + 0 * self.label_weight
