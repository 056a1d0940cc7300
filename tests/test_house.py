"""The house rules that a machine can read: floors, sizes, docstrings, one public list, nothing suppressed."""

import ast
import inspect
import pathlib
import re

import pytest
from floors import FLOOR, PAGE, page

import jaxce
from jaxce.torch import functional, nn

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "jaxce"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

CHECKS = {
    *(
        "_debug",
        "_explain._call",
        "_explain._pytorch",
        "_inputs",
        "_axis_inputs",
        "_keywords",
        "_linear_inputs",
        "_region_inputs",
        "_batch_inputs",
    ),
    *(
        "_value_checks",
        "_candidates",
        "_teachers",
        "_mixtures",
        "_reduction_inputs",
        "torch._arguments",
        "torch._labels",
    ),
}

MOST_LINES = {"core": 6125, "torch": 1230}
LONGEST_FILE, LONGEST_BODY = 420, 40


def name_of(path):
    """A module by its name within the package, which itself is the empty one."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path) or "jaxce")


def test_every_module_has_a_floor():
    missing = {name_of(path) for path in MODULES} ^ set(FLOOR)
    assert not missing, "add the modules to PLAN in tests/floors.py, then run python tests/floors.py"
    assert PAGE.read_text() == page()


@each_module
def test_imports_only_point_down(path):
    here = name_of(path)
    assert here in FLOOR, "add the module to PLAN in tests/floors.py"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("jaxce")):
            module = (node.module or "").removeprefix("jaxce").removeprefix(".")
            below = [f"{module}.{alias.name}" for alias in node.names]
            for imported in below if set(below) <= set(FLOOR) else [module]:
                assert imported, f"{here} imports the package itself"
                assert FLOOR[imported] < FLOOR[here], f"{here} imports {imported}"
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("jaxce") for alias in node.names)


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@each_module
def test_no_function_is_long(path):
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert length <= LONGEST_BODY, f"{node.name}: {length} lines"


def code_lines(path):
    """Lines that are neither blank nor part of a docstring."""
    text = path.read_text()
    words = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    words = [node for node in words if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)]
    docstrings = {line for node in words for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    return sum(bool(line.strip()) for number, line in enumerate(text.splitlines(), 1) if number not in docstrings)


@pytest.mark.parametrize("part", MOST_LINES)
def test_the_whole_is_small(part):
    lines = sum(code_lines(path) for path in MODULES if name_of(path).startswith("torch") == (part == "torch"))
    assert 0 < lines <= MOST_LINES[part], f"{lines} lines: shorten, or raise MOST_LINES and say why in the commit"


PLATFORM = re.compile(
    r"platform_dependent|default_backend|device_count|optimization_barrier|__version_info__|pallas|abstract_device"
)


def test_one_room_knows_the_machine():
    """`_debug` asks for the number of devices alone: where there are others, no device may stop by itself."""
    for path in MODULES:
        if not name_of(path).startswith("_rows"):
            found = set(PLATFORM.findall(path.read_text()))
            assert found == ({"device_count"} if name_of(path) == "_debug" else set()), path.name


def test_only_argument_checks_raise():
    for path in MODULES:
        raising = any(isinstance(node, ast.Raise | ast.Assert) for node in ast.walk(ast.parse(path.read_text())))
        assert raising == (name_of(path) in CHECKS), path


@pytest.mark.parametrize(
    "path",
    [p for folder in ("jaxce", "tests", "examples", "benchmarks") for p in sorted((ROOT / folder).rglob("*.py"))],
    ids=lambda path: path.name,
)
def test_nothing_is_suppressed_and_nothing_is_left_to_do(path):
    words = (
        "type: ignore",
        "no" + "qa",
        "pyright:",
        "mypy:",
        "fmt: off",
        "TO" + "DO",
        "FIX" + "ME",
        "__future__ import",
    )
    found = [word for word in words if word in path.read_text() and path != pathlib.Path(__file__)]
    assert not found


PUBLIC = [getattr(jaxce, name) for name in jaxce.__all__]
OF_PYTORCH = [getattr(functional, name) for name in functional.__all__]


def test_the_public_list_is_written_once_and_sorted():
    assert sorted(jaxce.__all__) == jaxce.__all__
    exported = {name for name in vars(jaxce) if not name.startswith("_") and not inspect.ismodule(getattr(jaxce, name))}
    assert exported == set(jaxce.__all__)


def test_the_classes_of_pytorch_are_the_losses_of_its_functions():
    """A loss of one list without its class, or a class without its function, is an omission."""
    functions = {kind.function for name in nn.__all__ if hasattr(kind := getattr(nn, name), "function")}
    assert functions == {f for f in OF_PYTORCH if re.search("loss|entropy|div", f.__name__)}


SECTIONS = ["Args", "Returns", "Raises", "Example", "See Also", "Source"]


def sections_of(thing):
    """The parts of a docstring: the summary, the text below it, and each section by its heading."""
    text = inspect.getdoc(thing)
    summary, _, rest = text.partition("\n\n")
    prose, *parts = re.split(r"^(\w[\w ]*):$", rest, flags=re.MULTILINE)
    return summary, " ".join(prose.split()), dict(zip(parts[::2], parts[1::2], strict=True))


def check_docstring(thing):
    """What functions and classes share: a formula, fields, an example with imports, related names."""
    summary, prose, sections = sections_of(thing)
    assert "``" in summary, "the summary has the formula"
    assert "\n" not in summary
    assert prose
    documented = re.findall(r"^    (\w+): ", sections["Args"], re.MULTILINE)
    assert documented == list(inspect.signature(thing).parameters)
    assert ">>> import jaxce" in sections["Example"]
    assert ">>> print(" in sections["Example"]
    related = re.findall(r"^    ``([\w.]+)``: ", sections["See Also"], re.MULTILINE)
    home = functional if thing in OF_PYTORCH else jaxce
    assert related
    assert thing.__name__ not in related
    assert all(hasattr(home, name) or hasattr(jaxce, name[6:]) or name.startswith("jax.") for name in related)
    return sections


@pytest.mark.parametrize(
    "function", [f for f in PUBLIC + OF_PYTORCH if inspect.isfunction(f)], ids=lambda f: f"{f.__module__}.{f.__name__}"
)
def test_docstrings_are_whole(function):
    assert list(check_docstring(function)) == SECTIONS


@pytest.mark.parametrize("kind", [c for c in PUBLIC if inspect.isclass(c)], ids=lambda c: c.__name__)
def test_classes_document_their_fields(kind):
    assert list(check_docstring(kind)) == ["Args", "Example", "See Also"]


def test_options_have_one_order_everywhere():
    """Every function lists the shared keywords in the order of the widest one."""
    order = list(inspect.signature(jaxce.cross_entropy).parameters)
    for function in PUBLIC:
        if inspect.isfunction(function):
            shared = [name for name in inspect.signature(function).parameters if name in order]
            assert shared == sorted(shared, key=order.index), function.__name__
