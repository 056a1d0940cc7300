"""The comparison of trainings over seeds, in `examples/spread.py`, against numbers worked by hand."""

import csv
import pathlib
import runpy

import numpy as np
import pytest

SPREAD = runpy.run_path(str(pathlib.Path(__file__).parent.parent / "examples" / "spread.py"))
SCORES = {
    "score": {
        "first": np.array([0.1, 0.2, 0.3]),
        "better": np.array([0.3, 0.5, 0.4]),  # apart by 0.2, 0.3 and 0.1
        "noisy": np.array([0.9, 0.1, 0.8]),  # by 0.8, -0.1 and 0.5
        "worse": np.array([0.0, 0.1, 0.2]),
    }
}


def test_mean_and_deviation():
    assert SPREAD["spread"](np.array([1.0, 2.0, 6.0])) == pytest.approx((3, 7**0.5))


@pytest.mark.parametrize(
    ("differences", "beyond"),
    [((0.2, 0.3, 0.1), True), ((-0.2, -0.3, -0.1), True), ((0.8, -0.1, 0.5), False), ((9, 0.1, 0.1), False)],
)
def test_beyond_the_spread(differences, beyond):
    """One sign is not enough: 3.07 is the mean of the last, and 5.14 its deviation."""
    assert SPREAD["beyond_spread"](np.array(differences)) == beyond


def test_the_verdict(capsys):
    SPREAD["print_verdict"](SCORES)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "above first: better" in lines
    assert "below first: worse" in lines
    assert "within the spread of first: noisy" in lines
    assert "highest: noisy; within its spread: first, better, worse" in lines


def test_the_verdict_says_when_nothing_helps(capsys):
    SPREAD["print_verdict"]({"score": {name: SCORES["score"][name] for name in ("first", "noisy", "worse")}})
    assert "nothing helps: no training is above first" in capsys.readouterr().out


def test_the_file_marks_differences_beyond_the_spread(tmp_path):
    SPREAD["write_csv"](tmp_path / "table.csv", SCORES)
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1] == ["first", "0.200 ± 0.100", ""]
    assert rows[2] == ["better", "0.400 ± 0.100", "+0.200 ± 0.100*"]
    assert rows[3] == ["noisy", "0.600 ± 0.436", "+0.400 ± 0.458"]
