"""Every public signature, one argument a line: `python tests/public_api.py` writes them to `public_api.txt`.

A change of a line that was there is a change for users: see "Public signatures" in CONTRIBUTING.md.
"""

import inspect
import pathlib
import sys

import jaxce
from jaxce.torch import functional, nn

FILE = pathlib.Path(__file__).with_suffix(".txt")
MODULES = {"jaxce": jaxce, "jaxce.torch.nn": nn, "jaxce.torch.nn.functional": functional}


def arguments(thing):
    """The arguments with their defaults, without types; a mark before those that are keywords alone."""
    found, marked = [], False
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            marked = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not marked:
            found.append("*")
            marked = True
        found.append(str(parameter.replace(annotation=parameter.empty)))
    return found


def methods(kind):
    """The public methods that a class defines. A class of `nn` has its function as a static one."""
    found = {name: thing for name, thing in vars(kind).items() if name[0] != "_" and inspect.isroutine(thing)}
    return [name for name, thing in found.items() if not isinstance(thing, staticmethod)]


def written():
    """The text of the file."""
    lines = []
    for module, home in MODULES.items():
        for name in home.__all__:
            thing = getattr(home, name)
            if not inspect.ismodule(thing):
                lines += [f"{module}.{name}", *(f"    {argument}" for argument in arguments(thing))]
            if inspect.isclass(thing):
                lines += [f"    .{m}({', '.join(arguments(getattr(thing, m)))})" for m in methods(thing)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(written())
    sys.stdout.write(f"{FILE.name}: {len(written().splitlines())} lines\n")
