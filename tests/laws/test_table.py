"""The table itself: every public loss has a row, and every keyword of a loss is in it."""

import inspect

import pytest
from cases import CASES

import jaxce


def test_every_public_loss_has_a_row():
    functions = {name: f for name in jaxce.__all__ if inspect.isfunction(f := getattr(jaxce, name))}
    keywords = {name: {*inspect.signature(f).parameters} for name, f in functions.items()}
    losses = {name for name, names in keywords.items() if "reduction" in names and {"axis", "hidden"} & names}
    losses -= {
        "linear_loss",
        "distillation_loss",
        "linear_kl_divergence",
        "js_divergence_of_views",
    }  # of a function, a teacher or views: files of their own
    assert losses == {case.name for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_keyword_is_in_its_row(case):
    assert case.keywords == {*case.options}
    assert ("axis" in inspect.signature(case.loss).parameters) == case.any_axis
