"""The hardest examples by a sort in float64 NumPy, written from the definition of `jaxce.Hardest`."""

import numpy as np


def kept(values, weights, *, positives=None, axis=None, min_kept=None, **criterion):
    """The factor of each example, from sorted float64 values."""
    values, weights = (np.asarray(a, float) for a in (values, weights))
    if isinstance(axis, tuple) and len(axis) == 1:
        (axis,) = axis
    if isinstance(axis, int):
        of = None if positives is None else np.moveaxis(np.broadcast_to(positives, values.shape), axis, -1)
        args = zip(*(np.moveaxis(a, axis, -1) for a in (values, weights)), strict=True)
        options = {"min_kept": min_kept, **criterion}
        rows = [kept(*a, positives=None if of is None else of[i], **options) for i, a in enumerate(args)]
        return np.moveaxis(np.stack(rows), -1, axis)
    ((name, number),) = criterion.items()
    v, w = values.ravel(), weights.ravel()
    valid, sure = w != 0, np.zeros(v.size, bool)
    if name == "threshold":
        sure = valid & (v > number * w)
        wanted = (min_kept or 0) - sure.sum()
    elif name == "ratio":
        sure = valid & np.broadcast_to(positives, values.shape).ravel()
        wanted = max(int(np.floor(number * sure.sum())), min_kept or 0)
    elif name == "fraction":
        wanted = max(int(np.floor(np.float32(number) * np.float32(valid.sum()))), min_kept or 1)
    else:
        wanted = number
    rest = np.sort(v[valid & ~sure])[::-1]
    wanted = min(max(wanted, 0), rest.size)
    s = sure.astype(float)
    if wanted:
        edge = rest[wanted - 1]
        above, equal = (rest > edge).sum(), (rest == edge).sum()
        s = np.where(valid & ~sure & (v > edge), 1, s)
        s = np.where(valid & ~sure & (v == edge), (wanted - above) / equal, s)
    return s.reshape(values.shape)


def mean_of(values, weights, **choice):
    s = kept(values, weights, **choice)
    total = (s * np.asarray(weights, float)).sum()
    return (s * np.asarray(values, float)).sum() / total if total else 0.0
