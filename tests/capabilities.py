"""The table of capabilities: `python tests/capabilities.py` writes it into docs/choosing.md, and a test compares.

`capabilities.csv` has a row for each option. A cell names a function or class of the library, with the keyword in
parentheses. The versions in its header are those that were read. A cell without a function is a word in the table.
"""

import csv
import pathlib
import re

TABLE = pathlib.Path(__file__).with_name("capabilities.csv")
PAGE = pathlib.Path(__file__).parent.parent / "docs" / "choosing.md"
MARKS = "<!-- capabilities -->\n\n", "\n<!-- end of capabilities -->\n"

MODULES = {
    "jaxce": "jaxce",
    "PyTorch": "torch.nn.functional",
    "optax": "optax.losses",
    "Keras": "keras.losses",
    "torchvision": "torchvision.ops",
    "MONAI": "monai.losses",
    "smp": "segmentation_models_pytorch.losses",
    "kornia": "kornia.losses",
    "timm": "timm.loss",
}
"""The module of each library that its cells name the functions of."""

WORDS = {
    "recipe for logits": "[recipe](large-vocabulary.md)",
    "recipe for regions": "[recipe](#regions-segmentation)",
}
"""Cells that are no function, and their text on the page."""


def read():
    """The header, and the rows as lists of cells."""
    with TABLE.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def named(library):
    """Pairs of a function's path below the library's module and a keyword or None, from the cells of one library."""
    header, rows = read()
    column = [name.split()[0] for name in header].index(library)
    cells = [row[column] for row in rows if row[column] and row[column] not in WORDS]
    matches = [re.fullmatch(r"([\w.]+)(?:\((\w+)\))?", cell) for cell in cells]
    return [match.groups() for match in matches]


def table():
    """The table as Markdown."""
    header, rows = read()
    lines = [header, ["---"] * len(header)]
    lines += [[option, *(WORDS.get(cell) or (cell and f"`{cell}`") for cell in cells)] for option, *cells in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def page():
    """docs/choosing.md with the table as it should be."""
    before, rest = PAGE.read_text().split(MARKS[0])
    return before + MARKS[0] + table() + MARKS[1] + rest.split(MARKS[1])[1]


if __name__ == "__main__":
    PAGE.write_text(page())
