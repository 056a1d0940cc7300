"""The pages that list the public names have all of them, with their keywords, and nothing else."""

import ast
import inspect
import pathlib
import re

import pytest

import jaxce

ROOT = pathlib.Path(__file__).parent.parent
PUBLIC = {name: getattr(jaxce, name) for name in jaxce.__all__}
SIGNATURES = {name: inspect.signature(thing).parameters for name, thing in PUBLIC.items()}
LOSSES = {n for n, f in PUBLIC.items() if inspect.isfunction(f) and "reduction" in SIGNATURES[n]} - {"reduce"}

ENTRIES, KEYWORDS = (ROOT / "docs" / "reference.md").read_text().split("## Shared keywords")
CALLS = re.findall(r"^\| `(\w+\(.*?\))` \| ", ENTRIES, re.MULTILINE)
ROWS = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", KEYWORDS, re.MULTILINE)
SECTIONS = dict(section.split("\n", 1) for section in ENTRIES.split("\n## ")[1:])


def taking(cell):
    """The functions that a cell names: alone, by their section, or as every loss, but not those after these words."""
    named, _, left_out = cell.partition(", but not ")
    found = set(LOSSES) if "every loss" in named else set()
    for section in re.findall(r"\*(.*?)\*", named):
        found.update(re.findall(r"^\| `(\w+)\(", SECTIONS[section], re.MULTILINE))
    return found.union(re.findall(r"`(\w+)`", named)).difference(re.findall(r"`(\w+)`", left_out))


def test_every_public_name_is_one_entry():
    assert sorted(call.partition("(")[0] for call in CALLS) == jaxce.__all__


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.partition("(")[0])
def test_an_entry_is_the_signature_of_its_function(call):
    """What it lists with its defaults, and for dots the keywords of the table, are all the parameters there are."""
    parsed = ast.parse(re.sub(r",? *\.\.\.\)$", ")", call), mode="eval").body
    assert isinstance(parsed, ast.Call)
    names = [ast.unparse(argument).lstrip("*") for argument in parsed.args]
    parameters = SIGNATURES[ast.unparse(parsed.func)]
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in parsed.keywords if keyword.arg}
    names_of_options = [ast.unparse(keyword.value) for keyword in parsed.keywords if not keyword.arg]
    shared = [keyword for keyword, cell in ROWS if ast.unparse(parsed.func) in taking(cell)]
    assert ("..." in call) == bool(shared)
    assert sorted([*names, *given, *names_of_options, *shared]) == sorted(parameters)
    assert names == list(parameters)[: len(names)]
    assert {name: parameters[name].default for name in given} == given


def test_the_table_of_keywords_is_right():
    assert len(ROWS) == len(dict(ROWS))
    functions = [name for name, thing in PUBLIC.items() if inspect.isfunction(thing)]
    for keyword, cell in ROWS:
        differ = taking(cell) ^ {name for name in functions if keyword in SIGNATURES[name]}
        assert not differ, f"{keyword}: the table and the signatures of {sorted(differ)} differ"


def test_the_page_on_choosing_has_a_paragraph_for_each_loss():
    text = (ROOT / "docs" / "choosing.md").read_text()
    assert sorted(re.findall(r"^\*\*`(\w+)`\*\* ", text, re.MULTILINE)) == sorted(LOSSES)
    table = text.partition("\n\n## ")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= LOSSES - {"poly1_loss", "linear_loss"}, (
        "which are nobody's first choice"
    )


def test_the_gallery_draws_every_loss():
    """Read, not run: matplotlib may be missing. The script itself checks that it has drawn all of its curves."""
    tree = ast.parse((ROOT / "examples" / "gallery.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Curve"]
    drawn = {ast.literal_eval(call.args[0]) for call in calls}
    wanted = LOSSES - {
        "linear_loss",
        "distillation_loss",
        "linear_kl_divergence",
        "js_divergence_of_views",
    }  # they have the curves of other losses
    assert drawn == wanted, f"add a Curve to examples/gallery.py, or take it out: {sorted(drawn ^ wanted)}"
