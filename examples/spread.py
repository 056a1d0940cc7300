"""Compares trainings over several seeds: means, standard deviations, and paired differences to the first training.

``segmentation.py`` and ``detection.py`` print their tables with it. In these examples, a difference is beyond the
spread if it has one sign from every seed, and its mean exceeds its standard deviation. With three seeds that is a weak
test: one of four comparisons without any difference has one sign by chance.
"""

import csv
from pathlib import Path
from typing import TypeAlias

import numpy as np

Scores: TypeAlias = dict[str, dict[str, np.ndarray]]
"""For each metric and each training, one number per seed."""


def spread(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over the seeds."""
    return float(np.mean(values)), float(np.std(values, ddof=1))


def beyond_spread(differences: np.ndarray) -> bool:
    """Whether paired differences have one sign, and a mean above their standard deviation."""
    mean, deviation = spread(differences)
    return bool(np.all(differences > 0) or np.all(differences < 0)) and abs(mean) > deviation


def print_table(scores: Scores, seconds: dict[str, float]) -> None:
    """Prints each metric with its difference to the first training, and the seconds of all seeds."""
    first = next(iter(seconds))
    print(f"\n{'':<18}" + "".join(f"{metric:>22}{'difference':>18}" for metric in scores) + f"{'seconds':>10}")
    for name, time in seconds.items():
        cells = ""
        for values in scores.values():
            mean, deviation = spread(values[name])
            cells += f"{f'{mean:.3f} ± {deviation:.3f}':>22}"
            mean, deviation = spread(values[name] - values[first])
            cells += f"{'' if name == first else f'{mean:+.3f} ± {deviation:.3f}':>18}"
        print(f"{name:<18}{cells}{time:>10.1f}")


def print_verdict(scores: Scores) -> None:
    """Prints, for each metric, the trainings above, below and within the spread of the first, and the best ones."""
    for metric, values in scores.items():
        first, *others = values
        found: dict[str, list[str]] = {"above": [], "below": [], "within the spread of": []}
        for name in others:
            differences = values[name] - values[first]
            side = "above" if np.mean(differences) > 0 else "below"
            found[side if beyond_spread(differences) else "within the spread of"].append(name)
        print(f"\n{metric}:")
        for side, names in found.items():
            if names:
                print(f"  {side} {first}: {', '.join(names)}")
        if not found["above"]:
            print(f"  nothing helps: no training is above {first}")
        best = max(values, key=lambda name: float(np.mean(values[name])))
        ties = [name for name in values if name != best and not beyond_spread(values[best] - values[name])]
        print(f"  highest: {best}" + (f"; within its spread: {', '.join(ties)}" if ties else ""))


def write_csv(path: Path, scores: Scores) -> None:
    """Writes one row for each training: mean and standard deviation of each metric, and of its differences."""
    first = next(iter(next(iter(scores.values()))))
    names = next(iter(scores.values()))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["training", *(f"{metric}{part}" for metric in scores for part in ("", ", difference"))])
        for name in names:
            pairs = [(values[name], values[name] - values[first]) for values in scores.values()]
            cells = [[f"{spread(own)[0]:.3f} ± {spread(own)[1]:.3f}", _signed(apart)] for own, apart in pairs]
            writer.writerow([name, *(cell for pair in cells for cell in pair)])


def _signed(differences: np.ndarray) -> str:
    """A difference beyond the spread is marked with a star."""
    mean, deviation = spread(differences)
    star = "*" if beyond_spread(differences) else ""
    return f"{mean:+.3f} ± {deviation:.3f}{star}" if np.any(differences) else ""
