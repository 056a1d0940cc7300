"""The Python blocks of a page: what the site shows of them, and what they print."""

import contextlib
import io
import re
from typing import Any

EXPECTED = re.compile(r"^[ \t]*# ->.*\n?|[ \t]*# ->.*$", re.MULTILINE)
"""A comment with the output of the line, or of the lines above it."""


def expected(code: str) -> list[str]:
    """The lines that the comments hold; ``# ->`` is a blank one."""
    return re.findall(r"# ->(?: (.*))?$", code, re.MULTILINE)


def shown(code: str) -> str:
    """The code without the comments that hold its output."""
    return EXPECTED.sub("", code).strip("\n")


def run(code: str, place: str, names: dict[str, Any]) -> str:
    """Runs a block among the names of its page. Returns the printed text."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(code, place, "exec"), names)
    return output.getvalue()
