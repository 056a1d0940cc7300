"""Bytes and operations of the kernels of a compiled program, read off its text.

A kernel reads each operand once and writes each result once, in the padded size of its layout. Of a slice or an update
in place only that part counts. The body of a loop counts as often as it runs, and that of a loop without a known number
of turns, which serves rare rows, never. Arrays in a TPU's scratchpad are free. A matrix product may read an operand
several times; this does not count. So the bytes are a lower bound.
"""

import math
import re
from typing import NamedTuple

BITS = {"pred": 8, "token": 0} | {f"{kind}{bits}": bits for kind in "suf" for bits in (8, 16, 32, 64)} | {"bf16": 16}
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}
FREE |= {"iota", "opt-barrier", "add-dependency"}
ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\](?:\{([\d,]*)((?::[^{}]*)?)\})?")
INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*)")
SLICES = {"dynamic-slice", "slice", "gather"}


class Instruction(NamedTuple):
    result: str
    operation: str
    operands: list[str]
    inside: str
    rest: str
    is_root: bool


class Kernel(NamedTuple):
    """A kernel of the program: how often it runs, and the bytes and operations of one run."""

    name: str
    times: int
    bytes: float
    flops: float

    def seconds(self, bandwidth, peak):
        """The computed bound of all runs."""
        return self.times * max(self.bytes / bandwidth, self.flops / peak)


def bound(program, bandwidth, peak):
    """The sum over the kernels of the larger of bytes by bandwidth and operations by peak: computed, not measured."""
    return sum(kernel.seconds(bandwidth, peak) for kernel in kernels(program))


def traffic(program):
    return sum(kernel.times * kernel.bytes for kernel in kernels(program))


def kernels(program):
    """The kernels of a compiled program."""
    text = Text(program.as_text())
    return list(text.kernels(text.entry, 1))


def split_call(text):
    """The text in the parentheses it starts with, and the rest."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:i], text[i + 1 :]
    return text, ""


def split_result(text):
    """The type an instruction starts with, and the rest."""
    if text.startswith("("):
        return split_call(text)
    result, _, rest = text.partition(" ")
    return result, rest


def sizes(result):
    """Elements and padded bytes of each array of a type."""
    for kind, dims, order, tail in ARRAY.findall(result):
        if kind in BITS:
            shape = [int(d) for d in dims.split(",") if d]
            padded = [shape[int(d)] for d in reversed(order.split(","))] if order else list(shape)
            tile = re.search(r"T\(([\d,]+)\)", tail)
            for place, n in enumerate(map(int, reversed(tile[1].split(",")) if tile else ()), 1):
                if place <= len(padded):
                    padded[-place] = -(-padded[-place] // n) * n
            on_chip = re.search(r"S\([1-9]\)", tail)
            yield math.prod(shape), 0 if on_chip else math.prod(padded) * BITS[kind] / 8


def size(result):
    return sum(padded for _, padded in sizes(result))


class Text:
    """The computations of a program: the instructions of each by name."""

    def __init__(self, text):
        self.computations, self.entry = {}, ""
        current = None
        for line in text.splitlines():
            head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
            if head:
                current = self.computations.setdefault(head[2], {})
                self.entry = head[2] if head[1] else self.entry
            found = INSTRUCTION.match(line)
            if current is not None and found:
                result, rest = split_result(found[3])
                operation, _, _ = rest.partition("(")
                inside, rest = split_call(rest[len(operation) :])
                operands = re.findall(r"%([\w.\-]+)", inside)
                current[found[2]] = Instruction(result, operation.strip(), operands, inside, rest, bool(found[1]))

    def called(self, instruction, key="calls"):
        found = re.search(rf"{key}=%?([\w.\-]+)", instruction.rest)
        return self.computations.get(found[1], {}) if found else {}

    def kernels(self, name, times):
        body = self.computations[name]
        for name, i in body.items():
            if i.operation in FREE or i.operation.endswith(("-done", "-update")) or "AllocateBuffer" in i.rest:
                continue
            if i.operation == "while":
                inner = re.search(r"body=%?([\w.\-]+)", i.rest)
                yield from self.kernels(inner[1], times * self.trips(i))
            elif i.operation in ("call", "conditional"):
                inner = re.search(r"(?:to_apply|branch_computations=\{|true_computation)=?%?([\w.\-]+)", i.rest)
                yield from self.kernels(inner[1], times)
            else:
                yield Kernel(name, times, self.moved(body, i), self.flops(body, i))

    def trips(self, loop):
        found = re.search(r'known_trip_count"?:\s*\{\s*"?n"?:\s*"?(\d+)', loop.rest)
        if found:
            return int(found[1])
        limits = [i.inside for i in self.called(loop, "condition").values() if i.operation == "constant"]
        return max((int(limit) for limit in limits if limit.strip().isdigit()), default=0)

    def moved(self, body, i):
        """The bytes that one run of an instruction reads and writes."""
        given = [body[name].result if name in body else "" for name in i.operands]
        if i.operation == "copy-start":
            return size(given[0]) + next((padded for _, padded in sizes(i.result)), 0)
        if i.operation == "slice-start":  # the result is the whole array, the slice on chip, and a flag
            return size(re.sub(r"S\(\d\)", "", i.result)) - size(given[0])
        inner = self.called(i)
        if inner:
            reads = sum(self.read(inner, place, size(a)) for place, a in enumerate(given))
            return reads + (self.written(inner, size(i.result)) if i.operation == "fusion" else 0)
        if i.operation in SLICES:
            return 2 * size(i.result)
        if i.operation == "dynamic-update-slice":
            return 2 * size(given[1])
        return sum(map(size, given)) + size(i.result)

    def read(self, inner, place, whole):
        """The bytes of an operand that a fused computation reads: all, or only slices of it."""
        parameters = (n for n, i in inner.items() if i.operation == "parameter" and i.inside.strip() == str(place))
        todo, total = list(parameters), 0
        for name in todo:
            for user, i in inner.items():
                if name not in i.operands:
                    continue
                place = i.operands.index(name)
                if i.operation == "bitcast" or (i.operation == "fusion" and self.reshapes(i)):
                    todo.append(user)
                elif i.operation in SLICES and place == 0:
                    total += size(i.result)
                elif i.operation == "fusion":
                    total += self.read(self.called(i), place, whole)
                elif not (i.operation == "tuple" or (i.operation == "dynamic-update-slice" and place == 0)):
                    return whole
        return min(total, whole)

    def reshapes(self, fusion):
        return all(i.operation in ("parameter", "bitcast") for i in self.called(fusion).values())

    def written(self, inner, whole):
        """The bytes of its results that a fused computation writes: all, or only an update in place."""
        root = next((i for i in inner.values() if i.is_root), None)
        if root is None:
            return whole
        total = 0
        for part in [inner[name] for name in root.operands] if root.operation == "tuple" else [root]:
            while part.operation == "bitcast":
                part = inner[part.operands[0]]
            if part.operation == "dynamic-update-slice":
                total += size(inner[part.operands[1]].result)
            elif part.operation == "fusion":
                total += self.written(self.called(part), size(part.result))
            else:
                total += size(part.result)
        return min(total, whole)

    def flops(self, body, i):
        """``2 m n k`` of each product in it, from ``(m k)(k n)(m n) = (m n k)**2``; a TPU's are convolutions."""
        if i.operation == "fusion":
            inner = self.called(i)
            return sum(self.flops(inner, part) for part in inner.values())
        if i.operation not in ("dot", "convolution") and "gemm" not in i.rest.partition("metadata")[0]:
            return 0
        given = [body[name].result for name in i.operands[:2]]
        counts = [max((n for n, _ in sizes(array)), default=1) for array in (*given, i.result)]
        return 2 * math.sqrt(math.prod(counts))
