"""API pages of the site, from the public names and their docstrings.

A page in `docs/api/` has a line `% api: Softmax`. It is replaced by the names of that section of `docs/reference.md`,
or by those of a module of `jaxce.torch`. Signatures have the types that the source has. A public name in code, such as
`cross_entropy`, becomes a link.
"""

import ast
import dataclasses
import inspect
import pathlib
import re
import textwrap
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import jaxce
from jaxce.torch import functional, nn

HERE = pathlib.Path(__file__).parent
MARK = re.compile(r"^% api: (.*)$", re.MULTILINE)
MODULES = {"jaxce.torch.nn.functional": functional, "jaxce.torch.nn": nn}
TITLES = {
    "_classification": "One class of several",
    "_binary": "Binary labels",
    "_margins": "Margins",
    "_regression": "Regression",
    "_activations": "Activations",
    "_arguments": "Options",
}
"""Headings for the modules of `jaxce.torch`, in their order on a page."""

JAX = "https://docs.jax.dev/en/latest/"
ELSEWHERE = {
    "Array": JAX + "_autosummary/jax.Array.html",
    "jax.Array": JAX + "_autosummary/jax.Array.html",
    "ArrayLike": JAX + "_autosummary/jax.typing.ArrayLike.html",
    "DTypeLike": JAX + "_autosummary/jax.typing.DTypeLike.html",
    "PartitionSpec": JAX + "jax.sharding.html#jax.sharding.PartitionSpec",
}
"""Types of JAX, and their pages."""


def groups() -> dict[str, list[str]]:
    """The public names of each section of `docs/reference.md`, in its order."""
    entries = (HERE / "reference.md").read_text().partition("## Shared keywords")[0]
    sections = dict(section.split("\n", 1) for section in entries.split("\n## ")[1:])
    found = {title: re.findall(r"^\| `(\w+)\(", text, re.MULTILINE) for title, text in sections.items()}
    return {title: names for title, names in found.items() if names}


def torch_groups(module: ModuleType) -> dict[str, list[str]]:
    """The public names of a module of `jaxce.torch`, by the file that defines them."""
    found: dict[str, list[str]] = {}
    for name in module.__all__:
        thing = getattr(module, name)
        if not isinstance(thing, ModuleType):
            file = inspect.unwrap(thing).__module__.rpartition(".")[2]
            found.setdefault(TITLES.get(file, file), []).append(name)
    order = [*TITLES.values()]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def entry(module: str, name: str, thing: Any, level: int) -> str:
    """The Markdown of one name: a heading, then its docstring."""
    if inspect.isclass(thing):
        methods = [n for n, f in vars(thing).items() if n[0] != "_" and inspect.isroutine(f) and inspect.getdoc(f)]
        options = f"   :members: {', '.join(methods)}\n" if methods else ""
        body = f".. autoclass:: {module}.{name}\n{options}"
    else:
        body = f".. autofunction:: {module}.{name}\n"
    return f"{'#' * level} {name}\n\n```{{eval-rst}}\n{body}```\n"


def page(group: str) -> str:
    """The Markdown of a group: a section of the reference, or a module of `jaxce.torch`."""
    if group in MODULES:
        found = torch_groups(MODULES[group])
        parts = [
            f"## {title}\n\n" + "\n".join(entry(group, name, getattr(MODULES[group], name), 3) for name in names)
            for title, names in found.items()
        ]
        return "\n".join(parts)
    return "\n".join(entry("jaxce", name, getattr(jaxce, name), 2) for name in groups()[group])


def fill_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the group of a page in the place of its mark."""
    source[0] = MARK.sub(lambda match: page(match[1]), source[0])


def definition(thing: Any) -> Any:
    """The syntax tree of a function or class."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def field_types(kind: type) -> dict[str, str]:
    """The types of a class's fields as they are written, of its bases too."""
    written: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if base.__module__.startswith("jaxce")]):
        for node in definition(base).body:
            if isinstance(node, ast.AnnAssign):
                written[ast.unparse(node.target)] = re.sub(r"^InitVar\[(.*)\]$", r"\1", ast.unparse(node.annotation))
    return written


def signature(thing: Any) -> str:
    """The parameters with types as in the source, not the unions that they stand for."""
    if not inspect.isclass(thing):
        return ast.unparse(definition(inspect.unwrap(thing)).args)
    types, shown = field_types(thing), []
    for name, parameter in inspect.signature(thing).parameters.items():
        default = parameter.default
        if dataclasses.is_dataclass(default) or default is parameter.empty:
            value = "" if default is parameter.empty else f" = {type(default).__name__}()"
        else:
            value = f" = {default!r}"
        shown.append(f"{name}: {types[name]}{value}" if name in types else f"{name}{value}")
    return ", ".join(shown)


def show_signature(app: Sphinx, what: str, name: str, thing: Any, *_: Any) -> tuple[str, str] | None:
    """The signature of a public name. Methods keep that of autodoc."""
    if what not in ("function", "class"):
        return None
    plain = inspect.unwrap(thing)
    returns = definition(plain).returns if what == "function" else None
    return f"({signature(thing)})", ast.unparse(returns) if returns else ""


def find_sources(app: Sphinx) -> None:
    """Gives each function its own module again: viewcode finds the source by it."""
    for name in jaxce.__all__:
        thing = getattr(jaxce, name)
        thing.__module__ = inspect.unwrap(thing).__module__


def link_types(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Links the types of JAX, and those of `api/index.md`."""
    target = node.get("reftarget", "")
    if target in ELSEWHERE:
        return nodes.reference("", "", content, refuri=ELSEWHERE[target], internal=False)
    return None


class LinkNames(SphinxPostTransform):
    """Links public names in code to their entries: `cross_entropy`, `Mean(axis=-1)`, `jaxce.debug()`."""

    default_priority = 5
    NAME = re.compile(r"^(?:jaxce\.)?((?:torch\.nn\.)?(?:functional\.|F\.|nn\.)?\w+)(\(.*\))?$", re.DOTALL)

    def run(self, **options: Any) -> None:
        """Replaces the code of a page; headings and links stay."""
        document = self.env.current_document.docname
        self.objects = self.env.domains.python_domain.objects
        for literal in [*self.document.findall(nodes.literal)]:
            outside = (nodes.reference, nodes.title)
            if any(isinstance(parent, outside) for parent in ancestors(literal)):
                continue
            match = self.NAME.match(literal.astext())
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
    app.connect("missing-reference", link_types)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
