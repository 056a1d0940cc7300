"""Search words of a section: ``<!-- search: first phrase; second phrase -->`` below its heading.

Readers search in words of their own. The search of Sphinx finds pages that have all words somewhere, and ranks them by
title. A phrase leads to its section directly, and a code host does not show it. `_static/scorer.js` ranks the rest.
"""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

MARK = re.compile(r"<!-- search: (.*?) -->", re.DOTALL)


class FindWords(SphinxTransform):
    """Makes main entries of the index, which the search reads."""

    default_priority = 5

    def apply(self, **options: Any) -> None:
        """Replaces each mark by entries that lead to its section."""
        for mark in [*self.document.findall(nodes.raw)]:
            if words := MARK.match(mark.astext()):
                target = mark.parent["ids"][0]
                phrases = [" ".join(phrase.split()) for phrase in words[1].split(";")]
                entries = [("single", phrase, target, "main", None) for phrase in phrases]
                mark.replace_self(addnodes.index(entries=entries))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it."""
    app.add_transform(FindWords)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
