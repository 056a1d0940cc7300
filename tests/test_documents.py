"""What is shown runs: docstrings, README and docs, and the numbers they print are the numbers they show."""

import contextlib
import doctest
import importlib
import inspect
import io
import pathlib
import re

import jax
import numpy as np
import optax
import page_code
import pytest

import jaxce
from jaxce.torch import functional, nn

as_users_have_it = pytest.mark.usefixtures("lenient")
ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "jaxce").rglob("*.py"))]
MODULES = [".".join(path.parts) for path in MODULES if path.name != "__init__"]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture
def lenient():
    """Pages and docstrings run with JAX's own defaults for promotion."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@as_users_have_it
@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module):
    """An example has no names but those that it imports and defines."""
    with contextlib.redirect_stdout(io.StringIO()) as output, np.printoptions():
        failed, _ = doctest.testmod(importlib.import_module(module), globs={})
    assert not failed, output.getvalue()


def test_every_public_name_has_an_example():
    for module in (jaxce, functional):
        for name in module.__all__:
            assert ">>>" in getattr(module, name).__doc__, name


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@as_users_have_it
@each_page
def test_the_code_of_a_page_runs_and_prints_what_it_shows(page):
    """A comment `# -> text` holds what the line prints, `# ->` a blank line; blocks of a page share their names."""
    names: dict = {}
    for code in blocks(page, "python"):
        assert page_code.run(code, page.name, names).splitlines() == page_code.expected(code)


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_has_its_two_commands_and_python_soon():
    text = (ROOT / "README.md").read_text()
    assert 'python -m pip install ".[examples]" && python examples/digits.py' in text
    assert 'python -m pip install ".[test]" && python -m pytest' in text
    assert text[: text.index("```python")].count("\n") < 15


def test_the_changelog_knows_this_version():
    assert f"## {jaxce.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_tables_of_the_readme_name_every_public_name():
    text = (ROOT / "README.md").read_text()
    for name in jaxce.__all__:
        assert f"`{name}" in text, name


def test_the_page_on_porting_names_everything_to_port():
    text = (ROOT / "docs" / "from-pytorch.md").read_text()
    for name in {*functional.__all__, *nn.__all__} - {"functional"}:
        assert f"`{name}" in text, name


def test_the_page_on_optax_names_every_loss_of_optax():
    text = (ROOT / "docs" / "from-optax.md").read_text()
    losses = {name for name, f in vars(optax.losses).items() if inspect.isfunction(f) and name[0] != "_"}
    assert len(losses) > 25
    for name in losses:
        assert re.search(rf"`{name}\b", text), f"{name}: add its line here, or that it has no counterpart"
