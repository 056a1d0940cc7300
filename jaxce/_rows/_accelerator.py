"""How TPUs, shards, several devices of any kind, and GPUs with wide rows sum over the classes of each row."""

from functools import partial

from jax import Array

from jaxce._coefficients import Target
from jaxce._rows import _one_pass, _sums
from jaxce._rows._platform import except_on_cpus, has_one_device
from jaxce._rows._record import LogitSums, RowSums

MAX_CLASSES_IN_ONE_REDUCTION = 128
"""Most classes of rows that one device sums in one reduction; a partitioner would gather split classes for it."""


def row_sums(x: Array, q: Target, mask: Array | None, axis: int, reference: Array | None = None) -> RowSums:
    """The sums over the classes of each row: for class ids in one pass, if a reference near the maximum is known."""

    def two_passes(x: Array, q: Target, mask: Array | None, _: Array | None) -> RowSums:
        return _sums.row_sums(x, q, mask, axis, compares_ids=_sums.compares_ids(x, axis), at_once=_at_once(x, axis))

    if reference is None or q.ids is None:
        return two_passes(x, q, mask, None)
    return except_on_cpus(partial(_one_pass.row_sums, axis=axis), x, q, mask, reference, on_cpus=two_passes)


def logit_sums(x: Array, mask: Array | None, axis: int) -> LogitSums:
    """The sums of the logits of each row, without a target."""
    return _sums.logit_sums(x, mask, axis, at_once=_at_once(x, axis))


def _at_once(x: Array, axis: int) -> bool:
    """Whether the sums are one reduction: those of few classes on one device.

    XLA:TPU would give each sum of float32 pixels its own kernel. (`tests/on_tpu.py` counts them.)
    """
    return isinstance(x.shape[axis], int) and x.shape[axis] <= MAX_CLASSES_IN_ONE_REDUCTION and has_one_device()
