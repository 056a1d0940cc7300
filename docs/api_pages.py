"""The API pages of the site: the groups of `api_groups`, with docstrings, types and links.

Signatures have the types that the source has. Formulas of first lines are typeset. A public name in code, such as
`cross_entropy`, becomes a link.
"""

import inspect
import re
from typing import Any

from api_groups import MARK, page, result, signature, types
from docutils import nodes
from formulas import with_formulas
from papers import with_links
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import jaxce

OUTSIDE = {"CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md"}
"""Files outside of `docs/` that are pages of the site."""

PAGES_OF_OTHERS = ("from-optax", "from-keras")
"""Pages whose tables begin with another library's names, some of them equal to ours."""

LISTS = ("See Also", "Source")
"""Sections with one item in each sentence."""

PYTORCH = "https://docs.pytorch.org/docs/stable/generated/{}.html"
JAX = "https://docs.jax.dev/en/latest/"
ELSEWHERE = {
    "Array": JAX + "_autosummary/jax.Array.html",
    "jax.Array": JAX + "_autosummary/jax.Array.html",
    "ArrayLike": JAX + "_autosummary/jax.typing.ArrayLike.html",
    "DTypeLike": JAX + "_autosummary/jax.typing.DTypeLike.html",
    "PartitionSpec": JAX + "jax.sharding.html#jax.sharding.PartitionSpec",
}
"""Types of JAX, and their pages."""

OF_JAX = (
    "jit grad vmap jvp vjp value_and_grad checkpoint shard_map lax.scan lax.top_k lax.stop_gradient lax.psum nn.softmax"
    " nn.log_softmax nn.logsumexp nn.one_hot nn.softplus nn.sigmoid tree.map debug_nans named_scope"
)
ELSEWHERE |= {f"jax.{name}": f"{JAX}_autosummary/jax.{name}.html" for name in OF_JAX.split()}


def fill_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the group of a page in the place of its mark, and the site's pages in the place of files beside `docs/`."""
    source[0] = MARK.sub(lambda match: page(match[1]), source[0])
    source[0] = re.sub(r"^% types$", lambda _: types(), source[0], flags=re.MULTILINE)
    for file, name in OUTSIDE.items():
        source[0] = source[0].replace(f"](../{file}", f"]({name}")


def show_signature(app: Sphinx, what: str, name: str, thing: Any, *_: Any) -> tuple[str, str] | None:
    """The signature of a public name. Methods keep that of autodoc."""
    if what not in ("function", "class"):
        return None
    return f"({signature(thing)})", result(thing)


def show_docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Typesets the formula, and makes lists of the related names and the sources."""
    if what not in ("function", "class") or not lines:
        return
    lines[0] = with_formulas(lines[0], set(inspect.signature(thing).parameters))
    shown: list[str] = []
    section, ended = "", True
    for line in lines:
        if heading := re.match(r"(\w[\w ]*):$", line):
            section, ended = heading[1], True
        elif section in LISTS and line.strip():
            if ended:
                shown.append(f"    * {line.strip()}")
            else:
                shown[-1] += f" {line.strip()}"
            ended = line.rstrip().endswith(".")
            continue
        shown.append(line)
    lines[:] = [with_links(line) if line.startswith("    * ") else line for line in shown]


def find_sources(app: Sphinx) -> None:
    """Gives each function its own module again: viewcode finds the source by it.

    Classes have theirs. To set it again removes the line of their source, since Python 3.13.
    """
    for thing in (getattr(jaxce, name) for name in jaxce.__all__):
        if inspect.isfunction(thing):
            thing.__module__ = inspect.unwrap(thing).__module__


def link_types(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Links the types of JAX, and the classes of this package by their short names."""
    target = node.get("reftarget", "")
    if target in ELSEWHERE:
        return nodes.reference("", "", content, refuri=ELSEWHERE[target], internal=False)
    place = env.domains.python_domain.objects.get(f"jaxce.{target}")
    return place and make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, content, target)


class LinkNames(SphinxPostTransform):
    """Links public names in code to their entries: `cross_entropy`, `Mean(axis=-1)`, `jaxce.debug()`."""

    default_priority = 5
    NAME = re.compile(r"^(?:jaxce\.)?((?:torch\.nn\.)?(?:functional\.|F\.|nn\.)?\w+)(\(.*\))?$", re.DOTALL)

    def run(self, **options: Any) -> None:
        """Replaces the code of a page; headings and links stay."""
        document = self.env.current_document.docname
        self.objects = self.env.domains.python_domain.objects
        for literal in [*self.document.findall(nodes.literal)]:
            parents = ancestors(literal)
            if any(isinstance(parent, nodes.reference | nodes.title) for parent in parents):
                continue
            if document in PAGES_OF_OTHERS and any(isinstance(p, nodes.entry) and p.parent[0] is p for p in parents):
                continue
            text = literal.astext()
            if re.fullmatch(r"torch\.nn\.(functional\.(?!_)\w+|[A-Z]\w+)", text) or text in ELSEWHERE:
                address = ELSEWHERE.get(text) or PYTORCH.format(text)
                literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=address, internal=False))
                continue
            match = self.NAME.match(text)
            target = match and self.find(match[1], "torch" in document or "pytorch" in document)
            if target and not self.is_inside(literal, target):
                place = self.objects[target]
                link = make_refnode(
                    self.app.builder, document, place.docname, place.node_id, literal.deepcopy(), target
                )
                literal.replace_self(link)

    def find(self, name: str, torch: bool) -> str | None:
        """The full name; a page about PyTorch means its names first."""
        last = name.rpartition(".")[2]
        scopes = ["jaxce.", "jaxce.torch.nn.functional.", "jaxce.torch.nn."]
        if torch or "." in name:
            scopes = scopes[1:] + scopes[:1]
        return next((scope + last for scope in scopes if scope + last in self.objects), None)

    def is_inside(self, literal: nodes.literal, target: str) -> bool:
        """Whether the code stands in the entry of its own name."""
        entries = [parent for parent in ancestors(literal) if isinstance(parent, addnodes.desc)]
        return any(target in entry.children[0].get("ids", ()) for entry in entries)


def ancestors(node: nodes.Node) -> list[Any]:
    """The parents of a node, innermost first."""
    found: list[Any] = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it."""
    app.connect("builder-inited", find_sources)
    app.connect("source-read", fill_page)
    app.connect("autodoc-process-signature", show_signature)
    app.connect("autodoc-process-docstring", show_docstring, priority=400)  # napoleon has 500
    app.connect("missing-reference", link_types)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
