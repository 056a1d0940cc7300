"""The site: an entry for every public name, signatures as in the source, formulas as mathematics, pages in the menu."""

import inspect
import pathlib
import re

import api_groups
import formulas
import papers
import pytest

import jaxce
from jaxce.torch import functional, nn

DOCS = pathlib.Path(__file__).parent.parent / "docs"

PAGES = {path.stem: path.read_text() for path in sorted((DOCS / "api").glob("*.md"))}
NAMED = {"jaxce": jaxce, "jaxce.torch.nn.functional": functional, "jaxce.torch.nn": nn}
PUBLIC = [
    (module, name, thing)
    for module, home in NAMED.items()
    for name in home.__all__
    if not inspect.ismodule(thing := getattr(home, name))
]


def test_every_public_name_has_one_entry():
    marks = [mark for text in PAGES.values() for mark in api_groups.MARK.findall(text)]
    assert sorted(marks) == sorted([*api_groups.groups(), "jaxce.torch.nn.functional", "jaxce.torch.nn"])
    text = "\n".join(api_groups.page(mark) for mark in marks)
    entries = re.findall(r"^\.\. auto(?:function|class):: (\S+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(f"{module}.{name}" for module, name, _ in PUBLIC)


@pytest.mark.parametrize(("module", "name", "thing"), PUBLIC, ids=[f"{module}.{name}" for module, name, _ in PUBLIC])
def test_a_signature_has_all_parameters(module, name, thing):
    written = api_groups.signature(thing)
    for parameter in inspect.signature(thing).parameters:
        assert re.search(rf"\b{parameter}\b", written), written
    assert "Union" not in written
    assert "jaxlib" not in written


def test_the_types_of_signatures_are_listed():
    listed = api_groups.aliases()
    assert {"Activation", "Axes", "AxisName", "Hyperparameter", "Reduced", "Reduction", "Tail"} <= set(listed)
    assert listed["AxisName"] == ("str | tuple[str, ...]", "One mesh axis, or several.")
    assert set(api_groups.DESCRIPTIONS) <= set(listed)
    assert "% types" in PAGES["index"]


def test_a_signature_is_that_of_the_source():
    assert api_groups.signature(jaxce.Mean).startswith("axis: Axes = None, axis_name: AxisName | None = None, ")
    assert api_groups.signature(jaxce.focal_loss).startswith(
        "logits: ArrayLike, labels: ArrayLike, *, gamma: Hyperparameter=2.0, axis: int | tuple[int, ...]=-1"
    )


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("-w_y (1 - p_y)**gamma log p_y", r"- w_{y} ( 1 - p_{y} ) ^{\gamma} \log p_{y}"),
        ("sum_{c != y} max(0, margin - x_c)**p", r"\sum_ { c \ne y } \max ( 0 , \text{margin} - x_{c} ) ^{p}"),
        ("(1 - p)**g+ log p", r"( 1 - p ) ^{g_{+}} \log p"),
        ("|d| < delta", r"| d | < \delta"),
        ("log_z", None),
        ("[..., classes]", None),
        ("hidden @ kernel + bias", None),
        ("other - x", None),
        ('"inverse"', None),
    ],
)
def test_formulas_are_typeset_where_every_token_is_known(formula, expected):
    assert formulas.tex(formula, {"margin", "reduction"}) == expected


def test_a_formula_of_a_loss_is_typeset():
    """Of the losses that are no linear layer, each has one in its first line."""
    for name in ("cross_entropy", "focal_loss", "dice_loss", "lovasz_hinge", "brier_loss", "soft_margin_loss"):
        loss = getattr(jaxce, name)
        summary = inspect.getdoc(loss).partition("\n")[0]
        assert ":math:" in formulas.with_formulas(summary, set(inspect.signature(loss).parameters)), name


def test_every_page_is_in_the_menu():
    menu = "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL))
    found = {line for line in menu.split() if not line.startswith(":")}
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= found
    assert {name for name in PAGES if name != "index"} == set(re.findall(r"^[\w-]+$", PAGES["index"], re.MULTILINE))


def test_papers_are_links():
    """Every address belongs to a title that a docstring names."""
    text = " ".join(" ".join(inspect.getdoc(thing) for _, _, thing in PUBLIC).split())
    for title in papers.ADDRESSES:
        assert f'"{title}"' in text, title
    known = '"Focal Loss for Dense Object Detection" (ICCV 2017), eq. 5.'
    assert papers.with_links(known).startswith(
        "`Focal Loss for Dense Object Detection <https://arxiv.org/abs/1708.02002>`__"
    )
    assert (
        papers.with_links('"A" (arXiv 2408.00118, 2024)')
        == "`A <https://arxiv.org/abs/2408.00118>`__ (arXiv 2408.00118, 2024)"
    )
    assert papers.with_links('"A Book" (1990)') == '"A Book" (1990)'
