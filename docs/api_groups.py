"""The text of the API pages: names by group, and their signatures. It needs no Sphinx, so the tests read it.

A page in `docs/api/` has a line `% api: Softmax`. It is replaced by the names of that section of `docs/reference.md`,
or by those of a module of `jaxce.torch`.
"""

import ast
import dataclasses
import inspect
import pathlib
import re
import textwrap
from types import ModuleType
from typing import Any

import jaxce
from jaxce.torch import functional, nn

HERE = pathlib.Path(__file__).parent
MARK = re.compile(r"^% api: (.*)$", re.MULTILINE)
MODULES = {"jaxce.torch.nn.functional": functional, "jaxce.torch.nn": nn}
DESCRIPTIONS = {
    "Activation": "The map from logits to probabilities.",
    "Axes": "The axes of a reduction; None means all of them.",
    "AxisName": "One mesh axis, or several.",
    "Hyperparameter": "A number that may be traced and batched, such as ``gamma``.",
    "Reduction": "The name of a reduction, or a function of the losses and weights, such as ``Mean(axis=-1)``.",
    "Tail": "The meaning of the classes outside a ``TopK``.",
}
"""What the types of signatures mean. Others have their own docstring, or their definition alone."""

TITLES = {
    "_classification": "One class of several",
    "_binary": "Binary labels",
    "_margins": "Margins",
    "_regression": "Regression",
    "_activations": "Activations",
    "_arguments": "Options",
}
"""Headings for the modules of `jaxce.torch`, in their order on a page."""


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


def aliases() -> dict[str, tuple[str, str]]:
    """The names of types in public signatures, each with its definition and a description."""
    public = [getattr(module, name) for module in (jaxce, functional, nn) for name in module.__all__]
    shown = " ".join(signature(thing) + result(thing) for thing in public if not isinstance(thing, ModuleType))
    defined, told = {}, dict(DESCRIPTIONS)
    for file in ("_types.py", "reductions.py"):
        body = ast.parse((HERE.parent / "jaxce" / file).read_text()).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                defined[name] = ast.unparse(node.value).replace("'", '"')
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    told.setdefault(name, after.value.value)
    listed = sorted(name for name in defined if re.search(rf"\b{name}\b", shown))
    inner = re.compile(rf"\b({'|'.join(defined.keys() - set(listed))})\b")
    return {n: (inner.sub(lambda match: defined[match[0]], defined[n]), told.get(n, "")) for n in listed}


def types() -> str:
    """The Markdown of the types."""
    entries = [f".. py:type:: {n}\n   :canonical: {what}\n\n   {text}\n" for n, (what, text) in aliases().items()]
    return "```{eval-rst}\n" + "\n".join(entries) + "```\n"


def entry(module: str, name: str, thing: Any, level: int) -> str:
    """The Markdown of one name: a heading, then its docstring."""
    if inspect.isclass(thing):
        routines = {n: f for n, f in vars(thing).items() if n[0] != "_" and inspect.isroutine(f)}
        methods = [n for n, f in routines.items() if inspect.getdoc(f) and not isinstance(f, staticmethod)]
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


def result(thing: Any) -> str:
    """The type of a function's result as the source has it; empty for a class."""
    returns = None if inspect.isclass(thing) else definition(inspect.unwrap(thing)).returns
    return ast.unparse(returns) if returns else ""
