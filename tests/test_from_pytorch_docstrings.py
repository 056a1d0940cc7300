"""The help pages of `jaxce.torch`: whole, with imports in their examples, and one sentence for one keyword."""

import inspect
import re

import pytest

from jaxce.torch import functional, nn

FUNCTIONS = {name: getattr(functional, name) for name in functional.__all__}
CLASSES = {name: kind for name in nn.__all__ if hasattr(kind := getattr(nn, name), "function")}

FAMILIES = {
    "ids": ("cross_entropy", "nll_loss", "linear_cross_entropy", "multi_margin_loss"),
    "binary": ("binary_cross_entropy", "binary_cross_entropy_with_logits"),
    "regression": ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"),
    "softmax": ("softmax", "log_softmax", "softmin"),
    "deprecated": tuple(name for name, f in FUNCTIONS.items() if "size_average" in inspect.signature(f).parameters),
}
DEPRECATED = {"size_average", "reduce"}


def arguments(documented):
    """The sentence of each argument."""
    text = inspect.getdoc(documented)
    section = text[text.index("Args:") : text.index("Returns:")]
    return dict(re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE))


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_a_whole_page(name):
    text = inspect.getdoc(CLASSES[name])
    assert "``" in text.splitlines()[0], "the summary has the formula"
    sections = re.findall(r"^(Args|Returns|Raises|Example|See Also|Source):$", text, re.MULTILINE)
    assert sections == ["Args", "Returns", "Example", "See Also", "Source"]
    assert list(arguments(CLASSES[name])) == list(inspect.signature(CLASSES[name]).parameters)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_the_same_of_an_option_as_its_function(name):
    function = CLASSES[name].function
    assert inspect.getdoc(CLASSES[name]).splitlines()[0] == inspect.getdoc(function).splitlines()[0]
    mine, theirs = arguments(CLASSES[name]), arguments(function)
    shared = mine.keys() & theirs.keys()
    assert shared
    assert {option: mine[option] for option in shared} == {option: theirs[option] for option in shared}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_keyword_has_one_sentence_in_a_family(family):
    pages = [arguments(FUNCTIONS[name]) for name in FAMILIES[family]]
    compared = {option for page in pages for option in page}
    compared = DEPRECATED if family == "deprecated" else compared - {"input", "target"}
    assert compared
    for option in compared:
        assert len({page[option] for page in pages if option in page}) == 1, option


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_an_example_imports_what_it_uses(name):
    text = inspect.getdoc((FUNCTIONS | CLASSES)[name])
    imports = "import jaxce.torch.nn.functional as F" if name in FUNCTIONS else "import jaxce.torch.nn as nn"
    example = text[text.index("Example:") : text.index("See Also:")]
    assert re.findall(r">>> (import .*)", example) == ["import jax.numpy as jnp", imports]
    assert f"{'F' if name in FUNCTIONS else 'nn'}.{name}(" in example
