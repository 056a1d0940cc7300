r"""Formulas of docstrings as TeX: ``-w_y (1 - p_y)**gamma log p_y`` is ``-w_{y} (1 - p_{y})^{\gamma} \log p_{y}``.

A formula is translated token by token. One with a token that is unknown here stays code.
"""

import re

GREEK = "alpha beta gamma delta epsilon"
OPERATORS = "log exp max min sum"
NAMED = "softplus logsumexp TP FP FN KL"
SYMBOLS = {"!=": r"\ne", "not in": r"\notin", "in": r"\in"}
TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?)|(?P<word>not in|[A-Za-z]\w*)|(?P<symbol>!=|[-+/=<|,()\[\]{}])"
)
POWER = re.compile(r"\*\*(\w+[+-]?)")


def word(name: str, known: set[str]) -> str | None:
    """One name: an operator, a Greek letter, a letter with an index, or a parameter of the function."""
    if name in SYMBOLS:
        return SYMBOLS[name]
    if name in GREEK.split() or name in OPERATORS.split():
        return f"\\{name}"
    if name in NAMED.split():
        return rf"\operatorname{{{name}}}"
    base, _, index = name.partition("_")
    if name == "log_z":
        return r"\log z"
    if index and len(index) == 1 and (letter := word(base, known)):
        return f"{letter}_{{{index}}}"
    if len(name) == 1:
        return name
    return rf"\text{{{name.replace('_', ' ')}}}" if name in known else None


def tex(formula: str, known: set[str]) -> str | None:
    """The TeX of a formula, or None if it is code. ``known`` has the parameters of the function."""
    if not re.search(r"[-+/=(|]", formula) and not re.fullmatch(r"\w|\w_\w", formula):
        return None
    formula = re.sub(r"(sum_|_)\{", r"\1 {", formula)
    found, place = [], 0
    while place < len(formula):
        if power := POWER.match(formula, place):
            exponent, sign = re.fullmatch(r"(\w+)([+-]?)", power[1]).groups()
            sign = "" if sign and formula[power.end() : power.end() + 1] not in ("", " ") else sign
            place += 2 + len(exponent) + len(sign)
            written = exponent if exponent.isdigit() else word(exponent, known)
            found.append(f"^{{{written}{f'_{{{sign}}}' if sign else ''}}}" if written else None)
            continue
        match = TOKEN.match(formula, place)
        if match is None:
            return None
        place = match.end()
        if match["space"]:
            continue
        text = match["number"] or (
            word(match["word"].rstrip("_"), known) if match["word"] else SYMBOLS.get(match["symbol"], match["symbol"])
        )
        index = match["word"] and match["word"].endswith("_")
        found.append(text and text + ("_" if index else ""))
    return None if None in found else " ".join(found)


def with_formulas(summary: str, known: set[str]) -> str:
    """The first line of a docstring with its formulas as mathematics, in reStructuredText."""

    def typeset(match: re.Match[str]) -> str:
        written = tex(match[1], known)
        return f":math:`{written}`" if written else match[0]

    return re.sub(r"``([^`]+)``", typeset, summary)
