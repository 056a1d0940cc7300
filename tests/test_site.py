"""The site: entries of public names, signatures as in the source, formulas, outputs of code, charts, the menu."""

import ast
import inspect
import pathlib
import re

import api_groups
import formulas
import page_code
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


def test_the_site_shows_code_without_its_outputs():
    code = "for i in (1, 2):\n    print(i)  # a comment\n    # -> 1\n# -> 2\nprint(3)  # -> 3\n# ->\nx = 4\n"
    assert page_code.shown(code) == "for i in (1, 2):\n    print(i)  # a comment\nprint(3)\nx = 4"
    assert page_code.expected(code) == ["1", "2", "3", ""]
    names = {}
    assert page_code.run(code, "page.md, line 1", names) == "1\n2\n3\n"
    assert page_code.run("print(x)", "page.md, line 9", names) == "4\n"


def test_charts_have_the_curves_of_the_gallery():
    """A chart names its curves in its description. Read, not drawn: matplotlib may be missing."""
    tree = ast.parse((DOCS.parent / "examples" / "gallery.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    panels = [call for call in calls if ast.unparse(call.func) == "Panel"]
    charts = {path.stem: path.read_text() for path in (DOCS / "figures").glob("losses-*.svg")}
    assert {f"losses-{ast.literal_eval(panel.args[0])}" for panel in panels} == set(charts)
    for panel in panels:
        text = charts[f"losses-{ast.literal_eval(panel.args[0])}"]
        described = re.search(r"<dc:description>(.*)</dc:description>", text)[1]
        curves = [node for node in ast.walk(panel) if node in calls and ast.unparse(node.func) == "Curve"]
        wanted = {ast.literal_eval(curve.args[0]) for curve in curves}
        wanted |= {"cross_entropy"} if "REFERENCE" in ast.unparse(panel) else set()
        assert {curve.split()[0] for curve in described.split("; ")} == wanted, (
            "draw the charts: python examples/gallery.py --out docs/gallery.png --charts docs/figures"
        )


def test_search_words_belong_to_one_section():
    texts = {path.stem: path.read_text() for path in DOCS.glob("*.md")}
    marks = [
        mark for text in texts.values() for mark in re.findall(r"^#+ .*\n\n<!-- search: (.*?) -->$", text, re.MULTILINE)
    ]
    assert sum(text.count("<!-- search:") for text in texts.values()) == len(marks) > 5
    phrases = [phrase for mark in marks for phrase in mark.split("; ")]
    assert len(phrases) == len(set(phrases))
    ranked = re.findall(r"\"?([\w-]+)\"?: -?\d", (DOCS / "_static" / "scorer.js").read_text().partition("}")[0])
    assert len(ranked) > 10
    assert set(ranked) <= set(texts)


@pytest.mark.parametrize("page", ["choosing", "curves"])
def test_a_page_shows_every_chart(page):
    shown = set(re.findall(r"\]\((figures/losses-\w+(?:-\w+)?\.svg)\)", (DOCS / f"{page}.md").read_text()))
    assert shown == {f"figures/{path.name}" for path in (DOCS / "figures").glob("losses-*.svg")}
