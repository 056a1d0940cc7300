"""The table of capabilities in docs/choosing.md: it is written from `capabilities.csv`, and its functions exist."""

import importlib
import importlib.util
import inspect
import operator
import warnings

import pytest
from capabilities import MODULES, PAGE, named, page, read

import jaxce


def test_the_page_has_the_table():
    assert PAGE.read_text() == page(), "run python tests/capabilities.py"


def test_every_row_is_whole_and_every_library_has_a_module():
    header, rows = read()
    assert [name.split()[0] for name in header[1:]] == list(MODULES)
    assert all(len(row) == len(header) and any(row[1:]) for row in rows)
    assert len({row[0] for row in rows}) == len(rows)


@pytest.mark.parametrize("library", MODULES)
def test_the_functions_have_the_keywords(library):
    package, *_ = MODULES[library].split(".")
    if not importlib.util.find_spec(package):
        pytest.skip(f"{package} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other libraries may warn when they are imported
        module = importlib.import_module(MODULES[library])
    for path, keyword in named(library):
        function = operator.attrgetter(path)(module)
        assert keyword is None or keyword in inspect.signature(function).parameters, f"{path}({keyword})"


def test_every_loss_of_this_library_has_a_row():
    rows = {path for path, _ in named("jaxce")}
    losses = {name for name in jaxce.__all__ if name.endswith("_loss") or "entropy" in name or "divergence" in name}
    # The same options from other arguments, or a loss of labels that no other library here has.
    others = {"nll_loss", "sigmoid_binary_cross_entropy", "binary_cross_entropy", "soft_margin_loss", "brier_loss"}
    others |= {"linear_loss", "linear_kl_divergence", "multilabel_soft_margin_loss", "distillation_loss", "entropy"}
    assert losses - rows <= others
