"""The types of the public functions as users' type checkers see them: `python tests/public_types.py` writes the stub.

A loss has the type that its reduction gives: an array for "mean", "sum" and "none", a `Total` for "total", and for a
callable the type that this returns. Python states that as overloads, which repeat the whole signature; so they are
generated from the functions themselves, and a test compares.
"""

import ast
import inspect
import pathlib
import sys

import jaxce

STUB = pathlib.Path(jaxce.__file__).with_suffix(".pyi")
HEADER = '''"""Written by `python tests/public_types.py`, from the signatures of the functions."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar, overload

from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from jaxce._explain._record import Explanation as Explanation
from jaxce._explain._summary import Summary as Summary
from jaxce._grouped import Grouped as Grouped
from jaxce._hardest import Hardest as Hardest
from jaxce._region_total import RegionTotal as RegionTotal
from jaxce._types import Activation, Average, AxisName, Hyperparameter, SoftCounts
from jaxce._types import CrossEntropyAux as CrossEntropyAux
from jaxce._types import LinearLogits as LinearLogits
from jaxce._types import LogProbs as LogProbs
from jaxce._types import TopK as TopK
from jaxce.reductions import Mean as Mean
from jaxce.reductions import Sum as Sum
from jaxce.reductions import Total as Total

R = TypeVar("R")

__version__: str
__all__: list[str]
'''
RESULTS = {
    'Literal["mean", "sum", "none"] = "mean"': "Array",
    'Literal["total"]': "Total",
    "Callable[[Array, Array], R]": "R",
}
AUX = {
    "Literal[False] = False": "{0}",
    "Literal[True]": "tuple[{0}, CrossEntropyAux]",
    "bool": "{0} | tuple[{0}, CrossEntropyAux]",
}


def parameters(function):
    """Each parameter as it is written in the source, by name; the mark before the keywords is one of them."""
    (definition,) = ast.parse(inspect.getsource(function)).body
    given = definition.args
    assert not [*given.posonlyargs, *given.defaults]
    written = {a.arg: f"{a.arg}: {ast.unparse(a.annotation)}" for a in given.args}
    written |= {"*": f"*{ast.unparse(given.vararg) if given.vararg else ''}"}
    for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        written[a.arg] = f"{a.arg}: {ast.unparse(a.annotation)}" + (f" = {ast.unparse(default)}" if default else "")
    written |= {"**": f"**{ast.unparse(given.kwarg)}"} if given.kwarg else {}
    return {name: text.replace("'", '"') for name, text in written.items()}, ast.unparse(definition.returns)


def overloads(function):
    """One signature for each type of the reduction, and of ``has_aux`` where there is one."""
    written, result = parameters(function)
    if "reduction" not in written:
        return [signature(function.__name__, written, result)]
    found = []
    has_counts = {"axis_name", "batch_axis"} <= {*written}
    if has_counts:  # a total of counts, for losses of the whole batch
        changed = {"batch_axis": "batch_axis: None", "reduction": 'reduction: Literal["total"]'}
        found.append("@overload\n" + signature(function.__name__, written | changed, "RegionTotal"))
    for reduction, reduced in RESULTS.items():
        for has_aux, shape in AUX.items() if "has_aux" in written else [("", "{0}")]:
            if function is jaxce.linear_loss:  # the caller's function gives the rest
                shape = shape.replace("CrossEntropyAux", "Any")
            changed = {"reduction": f"reduction: {reduction}"} | ({"has_aux": f"has_aux: {has_aux}"} if has_aux else {})
            changed |= {"batch_axis": "batch_axis: int = 0"} if has_counts and reduced == "Total" else {}
            found.append("@overload\n" + signature(function.__name__, written | changed, shape.format(reduced)))
    return found


def signature(name, written, result):
    return f"def {name}(\n" + "".join(f"    {text},\n" for text in written.values()) + f") -> {result}: ...\n"


def stub():
    functions = [f for name in jaxce.__all__ if inspect.isfunction(f := getattr(jaxce, name))]
    return HEADER + "\n" + "".join(overload for function in functions for overload in overloads(function))


if __name__ == "__main__":
    STUB.write_text(stub())
    sys.stdout.write(f"{STUB.name}: {len(stub().splitlines())} lines\n")
