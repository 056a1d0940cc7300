"""How TPUs, several devices, and GPUs with wide rows sum over the classes of each row."""

from jax import Array

from jaxce._coefficients import Target
from jaxce._rows import _sums
from jaxce._rows._platform import has_one_device
from jaxce._rows._record import RowSums

MAX_CLASSES_IN_ONE_REDUCTION = 128
"""Up to this many classes one device makes one reduction of all sums; a partitioner would gather classes it splits."""


def row_sums(x: Array, q: Target, mask: Array | None, axis: int) -> RowSums:
    """The sums over the classes of each row.

    Where classes are few and there is one device, all sums are one reduction: XLA:TPU leaves sums of float32 pixels in
    kernels of their own. (`tests/on_tpu.py` counts them.)
    """
    at_once = isinstance(x.shape[axis], int) and x.shape[axis] <= MAX_CLASSES_IN_ONE_REDUCTION and has_one_device()
    return _sums.row_sums(x, q, mask, axis, compares_ids=_sums.compares_ids(x, axis), at_once=at_once)
