"""The matrix products and collectives of a compiled program, read off its text."""

import math
import re
from typing import NamedTuple


class Work(NamedTuple):
    """What one device does: operations of matrix products, and bytes through collectives, at most in one in a loop."""

    flops: int
    wires: int
    wire_in_a_loop: int


COLLECTIVE = re.compile(r"= (.*?) (?:all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")
PRODUCT = re.compile(r"= \w+\[([\d,]*)\]\S* dot\(%?([\w.-]+),.*lhs_contracting_dims=\{([\d,]*)\}")


def work_of(compiled):
    """Read off the compiled text, loops times their turns."""
    found = re.findall(r"^(ENTRY )?%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", compiled.as_text(), re.MULTILINE | re.DOTALL)
    bodies = {name: body for _, name, body in found}

    def numbers(text):
        return [int(n) for n in text.split(",") if n]

    def bytes_of(shapes):
        arrays = re.findall(r"([a-z]+)(\d*)\[([\d,]*)\]", shapes)
        return sum(math.prod(numbers(shape)) * (int(bits) // 8 if bits else 1) for _, bits, shape in arrays)

    def walk(name, turns, in_loop):
        shapes = dict(re.findall(r"%([\w.-]+) = \w+\[([\d,]*)\]", bodies[name]))
        for line in bodies[name].splitlines():
            if product := PRODUCT.search(line):
                result, left, contracted = product.groups()
                summed = math.prod(numbers(shapes[left])[d] for d in numbers(contracted))
                yield Work(turns * 2 * math.prod(numbers(result)) * summed, 0, 0)
            if collective := COLLECTIVE.search(line):
                size = bytes_of(collective[1])
                yield Work(0, turns * size, size * in_loop)
            loop = " while(" in line
            inner = turns * (int(re.search(r'"known_trip_count":\{"n":"(\d+)"', line)[1]) if loop else 1)
            for called in re.findall(r"(?:calls|body|to_apply)=%?([\w.-]+)", line):
                yield from walk(called, inner, in_loop or loop)

    parts = list(walk(next(name for entry, name, _ in found if entry), 1, False))
    return Work(sum(p.flops for p in parts), sum(p.wires for p in parts), max(p.wire_in_a_loop for p in parts))
