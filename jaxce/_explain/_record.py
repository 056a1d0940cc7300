"""The record that `explain` returns: as text, as a table for notebooks, as a figure, and as plain Python."""

import dataclasses
import html
import math
import textwrap
from typing import Any

import numpy as np

from jaxce.reductions import Total

WIDTH = 80
"""Columns of a terminal."""

OPTIONAL = ("bar", "softmax", "logits", "log_probs", "p", "q[label]")
"""Columns that a table leaves out, one after the other, until it fits."""

SHORT = {"example": "i"}
"""Headings of columns in a terminal."""

CELL = "text-align:right;white-space:nowrap;padding:.2em .8em;border:0;border-bottom:1px solid rgba(128,128,128,.35)"
CHECK = "border-left:4px solid #e69f00;padding:.1em .8em;margin:.3em 0"
BAR = "rgba(86,156,214,.45)"
"""Styles of HTML, for light and for dark notebooks: text has the notebook's color, all else is translucent."""

Column = dict[str, list[Any]]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The account of one call of a loss, ``value = total / divisor`` for a mean: ``explain`` returns it.

    ``print`` shows it as a table of at most 80 columns, and a notebook draws bars. ``to_dict()`` has plain numbers and
    lists for loggers, and ``plot()`` draws the shares with matplotlib. Tables have a list for each column, by name.

    Args:
        loss: the name of the loss.
        value: the result of the loss itself, bit for bit.
        total: sum of the weighted losses.
        divisor: sum of the weights, the divisor of a mean.
        size: number of examples, or of pixels for losses of regions.
        masked: number of examples or pixels that are masked or ignored.
        num_classes: number of classes.
        guess: the loss of equal logits.
        units: a mean NLL in other units: base 10, bits and perplexity; empty for other losses.
        added: what each option adds to the value: the difference when it alone is turned off.
        examples: table of the examples with the highest losses.
        classes: table of the classes.
        positions: table of the loss by position of a sequence; empty for other losses.
        checks: sentences about suspicious inputs.
        losses: weighted loss of each example, a NumPy array.
        errors: whether the highest score is not the label, of each example; None for other losses.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits, labels = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), jnp.array([0, 0, 0])
        >>> told = jaxce.explain(jaxce.cross_entropy, logits, labels)
        >>> print(told.examples["example"], f"{told.total:.3f} / {told.divisor:.0f}")
        [1, 2, 0] 1.753 / 3
        >>> print(told.to_dict()["classes"]["examples"])
        [3, 0]

    See Also:
        ``explain``: returns it.
        ``Summary``: the same from compiled code.
    """

    loss: str
    value: Any
    total: float
    divisor: float
    size: int
    masked: int
    num_classes: int
    guess: float
    units: dict[str, float]
    added: dict[str, float]
    examples: Column
    classes: Column
    positions: Column
    checks: tuple[str, ...]
    losses: np.ndarray
    errors: np.ndarray | None

    def __repr__(self) -> str:
        head, checks = (
            "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)
            for lines in (self._head(), [f"! {check}" for check in self.checks])
        )
        parts = [head, *map(table, self._tables()), checks]
        return "\n\n".join(part for part in parts if part)

    def __rich__(self) -> Any:
        """The same tables, with all columns, for `rich.print`."""
        from rich.console import Group
        from rich.table import Column as Heading
        from rich.table import Table
        from rich.text import Text

        tables = []
        for columns in self._tables():
            shown = Table(*(Heading(Text(name)) for name in columns))
            for row in zip(*columns.values(), strict=True):
                shown.add_row(*map(Text, map(cell, row, columns)))
            tables.append(shown)
        return Group(Text("\n".join(self._head())), *tables, *(Text(f"! {check}") for check in self.checks))

    def _tables(self) -> list[Column]:
        return [columns for columns in (self.examples, self.classes, self.positions) if columns]

    def _head(self) -> list[str]:
        """Value and divisor, the number of examples, the cost of guessing, and the part of each option."""
        scalar, sums = as_number(self.value), f"{number(self.total)} / {number(self.divisor)}"
        shown = f"an array of shape {np.shape(self.value)}" if scalar is None else number(scalar)
        is_mean = scalar is not None and self.divisor and math.isclose(scalar, self.total / self.divisor, rel_tol=1e-4)
        logs = [
            f" (log {c})" for c in (self.num_classes, 2) if c and math.isclose(self.guess, math.log(c), rel_tol=1e-5)
        ]
        units = ", ".join(f"{name} {number(value)}" for name, value in self.units.items())
        unit = "pixels" if self.size != self.losses.size else "examples"
        return [
            f"{self.loss} = {shown}{' = ' if is_mean else '; the mean is '}{sums}",
            f"sum of weighted losses / sum of weights; {self.size - self.masked} of {self.size} {unit} count",
            *([f"the mean in other units: {units}"] if units else []),
            f"guessing costs {number(self.guess)}{''.join(logs[:1])}",
            *(f"{name} adds {number(value)}" for name, value in self.added.items()),
        ]

    def _repr_html_(self) -> str:
        first, *others = map(html.escape, self._head())
        head = f"<b style='font-size:1.2em'>{first}</b>" + "".join(
            f"<div style='opacity:.7'>{line}</div>" for line in others
        )
        checks = "".join(f"<div style='{CHECK}'>{html.escape(check)}</div>" for check in self.checks)
        tables = "".join(map(html_table, self._tables()))
        return f"<div style='font-variant-numeric:tabular-nums;line-height:1.5'>{head}{tables}{checks}</div>"

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain Python numbers, strings, lists and dicts, without the arrays of all examples."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: plain(value) for name, value in fields.items() if name not in ("losses", "errors")}

    def plot(self) -> Any:
        """A figure of matplotlib: the shares of the worst examples, and for images maps of losses and errors."""
        import matplotlib.pyplot as plt

        is_image = self.losses.ndim >= 2 and min(self.losses.shape[-2:]) > 1
        maps = {"loss": self.losses} if is_image else {}
        maps |= {} if self.errors is None or not is_image else {"error": self.errors}
        figure, axes = plt.subplots(1, 1 + len(maps), figsize=(4 + 4 * len(maps), 4), squeeze=False)
        names = [cell(name) for name in self.examples["example"]]
        axes[0, 0].barh(names[::-1], [100 * share for share in self.examples["share"][::-1]])
        axes[0, 0].set(xlabel="share of the loss in %", ylabel="example", title=f"{self.loss}, worst examples")
        for axis, (name, a) in zip(axes[0, 1:], maps.items(), strict=True):
            images = a.reshape(-1, *a.shape[-2:])
            worst = int(np.argmax(self.losses.reshape(len(images), -1).sum(1)))
            axis.imshow(images[worst], interpolation="nearest")
            axis.set(title=f"{name} of image {worst}", xticks=[], yticks=[])
        figure.tight_layout()
        return figure


def as_number(value: Any) -> float | None:
    """The loss as one number: a scalar, the mean of a `Total`, or the first of a tuple; None for an array."""
    if isinstance(value, tuple) and value:
        return as_number(value[0])
    value = value.mean() if isinstance(value, Total) else value
    return float(value) if getattr(value, "shape", None) == () else None


def plain(value: Any) -> Any:
    """Plain Python for arrays, totals, tuples and dicts."""
    if isinstance(value, Total):
        return {"loss": plain(value.loss), "weight": plain(value.weight)}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def number(value: Any) -> str:
    """Four digits after the point; integers without, and tiny or huge numbers with an exponent."""
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value + 0.0:.3g}"  # + 0.0: no sign for zero
    return f"{value:.0f}" if value == round(value) else f"{value:.4f}"


def cell(value: Any, name: str = "") -> str:
    """A table's entry as text."""
    if name.startswith("share"):
        return f"{100 * value:.0f} %"
    if isinstance(value, list):
        return " ".join(f"{part:.2f}".removeprefix("0") if name == "softmax" else f"{part:.1f}" for part in value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return number(value) if isinstance(value, float | int) else str(value)


def table(columns: Column) -> str:
    """Columns as text, right-aligned, with a bar of the shares; optional ones are left out until the rest fits."""
    texts = {name: [SHORT.get(name, name), *(cell(v, name) for v in values)] for name, values in columns.items()}
    if shares := columns.get("share"):
        texts["bar"] = ["", *("#" * round(12 * max(0, share) / (max(shares) or 1)) for share in shares)]
    widths = {name: max(map(len, column)) for name, column in texts.items()}
    for name in OPTIONAL:
        if sum(widths.values()) + 2 * (len(widths) - 1) > WIDTH:
            widths.pop(name, None)
    aligned = [[f"{text:{'<' if n == 'bar' else '>'}{width}}" for text in texts[n]] for n, width in widths.items()]
    return "\n".join("  ".join(line).rstrip() for line in zip(*aligned, strict=True))


def html_table(columns: Column) -> str:
    """Columns as an HTML table, with bars of the shares."""
    head = "".join(f"<th style='{CELL};opacity:.7'>{html.escape(name)}</th>" for name in columns)
    rows = "".join(
        "<tr>" + "".join(_html_cell(name, value) for name, value in zip(columns, row, strict=True)) + "</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    return f"<table style='border-collapse:collapse;margin:.8em 0'><tr>{head}</tr>{rows}</table>"


def _html_cell(name: str, value: Any) -> str:
    width = f"{100 * min(1, max(0, value)):.0f}%" if name.startswith("share") else ""
    bar = f";min-width:7em;background:linear-gradient(to right,{BAR} {width},transparent {width})" if width else ""
    return f"<td style='{CELL}{bar}'>{html.escape(cell(value, name))}</td>"
