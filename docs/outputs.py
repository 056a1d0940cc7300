"""Runs the code of the pages while the site is built, and shows below each block what it prints.

The pages are plain Markdown. They hold each output as a comment ``# -> text``. On the site the output of the build
takes the place of these comments. The build stops at an error, at a warning, and at an output that is not that of the
comment. All pages run in one process: a kernel for each page would import JAX and compile everything again.
"""

import warnings
from typing import Any

from docutils import nodes
from page_code import expected, run, shown
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

FRAGMENTS = ("changes", "contributing")
"""Pages from outside of `docs/`, with code that is not complete."""


class RunPage(SphinxTransform):
    """Runs the Python blocks of a page in their order, those in tabs too."""

    default_priority = 5

    def apply(self, **options: Any) -> None:
        """Puts the output of each block below it."""
        document = self.env.current_document.docname
        if "/" in document or document in FRAGMENTS:
            return
        names: dict[str, Any] = {}
        for block in [*self.document.findall(nodes.literal_block)]:
            if block.get("language") == "python":
                place = f"{document}.md, line {block.line}"
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("error")
                        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
                        output = run(block.astext(), place, names)
                except Exception as error:
                    raise ExtensionError(f"The code of {place} raises: {error}", error) from error
                if output.splitlines() != expected(block.astext()):
                    raise ExtensionError(f"The code of {place} prints another text:\n{output}")
                parts = [nodes.literal_block("", shown(block.astext()), language="python")]
                if output.strip():
                    parts.append(nodes.literal_block("", output.rstrip("\n"), language="text", classes=["output"]))
                block.replace_self(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it."""
    app.add_transform(RunPage)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
