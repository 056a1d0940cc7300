"""The boxes of `examples/detection.py`: overlap, suppression and average precision, against cases worked by hand."""

import pathlib
import runpy

import numpy as np

BOXES = runpy.run_path(str(pathlib.Path(__file__).parent.parent / "examples" / "boxes.py"))
Boxes, pairwise_iou, suppress, average_precision = (
    BOXES[name] for name in ("Boxes", "pairwise_iou", "suppress", "average_precision")
)


def boxes(*rows):
    """Boxes from rows of top, left, bottom, right, class and score."""
    rows = np.reshape(rows, (-1, 6)).astype(float)
    return Boxes(rows[:, :4], rows[:, 4].astype(int), rows[:, 5])


def test_overlap():
    square = np.array([[0.0, 0, 4, 4]])
    others = np.array([[0.0, 0, 4, 4], [0, 2, 4, 6], [2, 2, 6, 6], [4, 4, 8, 8], [5, 5, 8, 8], [1, 1, 3, 3]])
    np.testing.assert_allclose(pairwise_iou(square, others)[0], [1, 8 / 24, 4 / 28, 0, 0, 4 / 16])


def test_suppression_keeps_the_best_of_overlapping_boxes_of_a_class():
    # The second overlaps the first by 3/5; the third overlaps the suppressed one by 3/5, but the first by 1/3 alone.
    found = boxes((0, 1, 4, 5, 7, 0.8), (0, 2, 4, 6, 7, 0.7), (0, 0, 4, 4, 7, 0.9), (0, 0, 4, 4, 3, 0.1))
    kept = suppress(found)
    np.testing.assert_array_equal(kept.scores, [0.9, 0.7, 0.1])
    np.testing.assert_array_equal(kept.ids, [7, 7, 3])
    np.testing.assert_array_equal(kept.corners[1], [0, 2, 4, 6])
    assert len(suppress(boxes()).ids) == 0


def test_average_precision():
    true = [boxes((0, 0, 4, 4, 0, 0), (9, 9, 13, 13, 0, 0)), boxes((0, 0, 4, 4, 0, 0), (5, 5, 9, 9, 1, 0))]
    # By score: a hit, a duplicate of it, a hit, a box between the images' true boxes. Precision 1, 1/2, 2/3, 1/2 at
    # recall 1/3, 1/3, 2/3, 2/3 of three boxes: (1 + 2/3) / 3. Class 1 is found at once: 1. Class 2 does not occur.
    found = [
        boxes((0, 0, 4, 4, 0, 0.9), (0, 1, 4, 4, 0, 0.8), (5, 0, 9, 4, 0, 0.2)),
        boxes((0, 0, 4, 3, 0, 0.5), (5, 5, 9, 9, 1, 0.1)),
    ]
    assert np.isclose(average_precision(found, true, 3), ((1 + 2 / 3) / 3 + 1) / 2)
    # At 0.8 the box with an overlap of 3/4 is a false positive: precision 1 at recall 1/3.
    assert np.isclose(average_precision(found, true, 3, overlap=0.8), (1 / 3 + 1) / 2)


def test_average_precision_takes_the_best_precision_at_a_larger_recall():
    true = [boxes((0, 0, 4, 4, 0, 0), (9, 9, 13, 13, 0, 0))]
    found = [boxes((20, 20, 24, 24, 0, 0.9), (0, 0, 4, 4, 0, 0.8), (9, 9, 13, 13, 0, 0.7))]
    # Precision 0, 1/2, 2/3: the hit at 1/2 counts as 2/3.
    assert np.isclose(average_precision(found, true, 1), 2 / 3)


def test_average_precision_without_predictions_is_0():
    assert average_precision([boxes()], [boxes((0, 0, 4, 4, 0, 0))], 1) == 0
    assert average_precision([boxes((0, 0, 4, 4, 0, 0.5)), boxes()], [boxes(), boxes((0, 0, 4, 4, 0, 0))], 1) == 0
