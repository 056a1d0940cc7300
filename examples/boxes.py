"""Boxes ``[top, left, bottom, right]`` in NumPy: overlap, non-maximum suppression, average precision.

``detection.py`` uses them, and ``tests/test_boxes.py`` compares them with cases worked by hand.
"""

from typing import NamedTuple

import numpy as np


class Boxes(NamedTuple):
    """Boxes ``[n, 4]`` of one image with a class and a score each. The score of a true box has no meaning."""

    corners: np.ndarray
    ids: np.ndarray
    scores: np.ndarray


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each of ``[n, 4]`` with each of ``[m, 4]`` boxes, ``[n, m]``."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def suppress(found: Boxes, overlap: float = 0.5) -> Boxes:
    """Keeps a box if no kept box of its class with a higher score overlaps it by more. Sorted by score."""
    found = Boxes(*(part[np.argsort(-found.scores, kind="stable")] for part in found))
    rivals = (pairwise_iou(found.corners, found.corners) > overlap) & (found.ids[:, None] == found.ids)
    kept = np.zeros(len(found.ids), bool)
    for i in range(len(kept)):
        kept[i] = not np.any(rivals[i] & kept)
    return Boxes(*(part[kept] for part in found))


def average_precision(found: list[Boxes], true: list[Boxes], classes: int, overlap: float = 0.5) -> float:
    """The area under the curve of precision over recall, mean over the classes that occur.

    One prediction finds a true box: that with the highest score among those of its class that overlap it enough. The
    others are false positives. Precision counts as the highest one at any larger recall, as in PASCAL VOC since 2010.
    """
    areas = []
    for label in range(classes):
        hits, scores, positives = [], [], 0
        for predicted, truth in zip(found, true, strict=True):
            of_class = predicted.ids == label
            corners = truth.corners[truth.ids == label]
            hits += _hits(predicted.corners[of_class], predicted.scores[of_class], corners, overlap)
            scores += sorted(predicted.scores[of_class], reverse=True)
            positives += len(corners)
        if positives:
            areas.append(_area(np.array(hits, bool)[np.argsort(-np.array(scores), kind="stable")], positives))
    return float(np.mean(areas))


def _hits(corners: np.ndarray, scores: np.ndarray, true: np.ndarray, overlap: float) -> list[bool]:
    """For each prediction of one image, highest score first: whether it finds a true box that is still free."""
    free, hits = np.ones(len(true), bool), []
    for i in np.argsort(-scores, kind="stable"):
        ious = np.where(free, pairwise_iou(corners[i : i + 1], true)[0], 0)
        best = int(np.argmax(ious)) if len(true) else 0
        hits.append(bool(len(true)) and bool(ious[best] >= overlap))
        if hits[-1]:
            free[best] = False
    return hits


def _area(hits: np.ndarray, positives: int) -> float:
    """``sum_k precision_k / positives`` over the hits, sorted by score."""
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(precision[hits]) / positives)
