"""The words of the project: none of those that CONTRIBUTING.md rules out, and few sentences that lean on a clause."""

import ast
import io
import pathlib
import re
import tokenize

import pytest

ROOT = pathlib.Path(__file__).parent.parent
GLOSSARY = (ROOT / "CONTRIBUTING.md").read_text().partition("| say | not |\n")[2].partition("\n\n")[0]
RULED_OUT = [word for line in GLOSSARY.splitlines()[1:] for word in line.split("|")[2].strip().split(", ")]
PATTERN = re.compile(r"\b(" + "|".join(map(re.escape, RULED_OUT)) + r")\b", re.IGNORECASE)

FOLDERS = ("jaxce", "tests", "examples", "benchmarks", "docs")
PAGES = sorted(page for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MESSAGES = sorted((ROOT / "tests").glob("*messages.txt"))

LEANS = re.compile(r"\b(what|whatever|which|whichever|where|wherever|whose)\b")
"""A clause in the place of a noun. The share of sentences with one says how hard a text is to read."""

MOST_LEANING = {"code": 0.10, "docs": 0.12}


def prose(path):
    """The docstrings and comments of a source, or a page without code, tables and generated blocks."""
    text = path.read_text()
    if path.suffix != ".py":
        text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
        return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("|", "#", "!")))
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    told = [n.value.value for n in nodes if isinstance(n.value.value, str)]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [t.string.lstrip("# ") + "." for t in tokens if t.type == tokenize.COMMENT]
    return "\n\n".join([*told, *comments])


def sentences(text):
    """Sentences of at least four words, with code left out."""
    text = re.sub(r"``.*?``|`.*?`", "x", text)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith((">>>", "...")))
    found = [" ".join(s.split()) for s in re.split(r"(?<=[.:;?!])\s+|\n\s*\n", text)]
    return [s for s in found if len(s.split()) >= 4]


@pytest.mark.parametrize("path", [*PAGES, *SOURCES, *MESSAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_fields_words(path):
    text = path.read_text().replace(GLOSSARY, "").replace("_", " ")  # names are words, too
    found = [(text.count("\n", 0, match.start()) + 1, match.group()) for match in PATTERN.finditer(text)]
    assert not found


@pytest.mark.parametrize("part", MOST_LEANING)
def test_few_sentences_lean_on_a_clause(part):
    paths = PAGES if part == "docs" else [path for path in SOURCES if path.is_relative_to(ROOT / "jaxce")]
    found = [sentence for path in paths for sentence in sentences(prose(path))]
    leaning = [sentence for sentence in found if LEANS.search(sentence.lower())]
    assert len(found) > 100
    assert len(leaning) <= MOST_LEANING[part] * len(found), leaning


def test_the_table_of_words_is_read():
    assert len(RULED_OUT) > 15
    assert all(PATTERN.search(f"the {word}.") for word in RULED_OUT)
    assert LEANS.search("it keeps what is there")
