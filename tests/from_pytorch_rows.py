"""The calls that are compared with PyTorch's: functions, options, inputs and shapes."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from from_pytorch_special import SPECIAL, SPECIAL_FUNCTIONS, Options

Shape: TypeAlias = tuple[int, ...]

CLASSES: tuple[Shape, ...] = ((3, 4), (5,), (2, 3, 1, 2), (0, 4))
"""Logits as PyTorch lays them out: ``[classes]``, or ``[batch, classes, ...]``."""
ELEMENTS: tuple[Shape, ...] = ((2, 3, 2), (), (4,), (0, 3))
ONE_AXIS: tuple[Shape, ...] = ((3, 4), (4,), (2, 3, 2), (0, 4))
BATCHES: tuple[Shape, ...] = tuple(shape for shape in CLASSES if len(shape) > 1)

NONE, MEAN, SUM = REDUCTIONS = tuple({"reduction": name} for name in ("none", "mean", "sum"))
BATCHMEAN, NOTHING = {"reduction": "batchmean"}, ({},)


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A function with one choice of its options, for several shapes and reductions.

    An argument that reads ``kind/where`` is drawn, a list is an array, and anything else is an option.
    """

    function: str
    words: str
    arguments: Options
    shapes: tuple[Shape, ...] = ((),)
    calls: tuple[Options, ...] = REDUCTIONS
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.function}-{self.words}"


def rows() -> Iterator[Row]:
    """Every combination of options, then deprecated ones, special numbers and 16 bits."""
    yield from (*softmax_losses(), *sigmoid_losses(), *divergences(), *margin_losses(), *regression_losses())
    yield from (*functions(), *legacy(), *special(), *sixteen_bits())


def grid(function: str, shapes: tuple[Shape, ...], arguments: Options, *choices: dict[str, Options]) -> Iterator[Row]:
    """Every combination of the choices; a choice has a name and adds arguments."""
    for chosen in itertools.product(*(choice.items() for choice in choices)):
        words = "-".join(name for name, _ in chosen if name)
        whole = functools.reduce(lambda all_, one: all_ | one[1], chosen, arguments)
        yield Row(function, words or "plain", whole, shapes)


def option(name: str, *values: Any) -> dict[str, Options]:
    """A choice among numbers, named after them."""
    return {f"{name}_{value}": {name: value} for value in values}


def array(name: str, **places: str) -> dict[str, Options]:
    """A choice among arrays, named after their shapes, or none."""
    return {"": {}, **{f"{name}_{words}": {name: recipe} for words, recipe in places.items()}}


BY_ID, BY_PROBABILITY = {"target": "ids/examples"}, {"target": "probabilities/same"}
PAIR = {"input": "normal/same", "target": "normal/same"}
PLACES = {"full": "positive/same", "last": "positive/last", "column": "positive/column", "scalar": "positive/scalar"}
WEIGHT = {"": {}, "weight": {"weight": "class_weights/classes"}}
SMOOTHING = option("label_smoothing", 0.0, 0.1, 1.0)
IGNORED: dict[str, Options] = {
    "": {},
    "ignored_default": {"target": "ids_default/examples"},
    "ignored_inside": {"target": "ids_inside/examples", "ignore_index": 1},
    "ignored_outside": {"target": "ids_outside/examples", "ignore_index": -7},
    "ignored_everything": {"target": "ids_255/examples", "ignore_index": 255},
}
BROADCAST = {
    "target_last": {"target": "normal/last"},
    "target_column": {"target": "normal/column"},
    "target_scalar": {"target": "normal/scalar"},
    "input_last": {"input": "normal/last", "target": "normal/same"},
}


def softmax_losses() -> Iterator[Row]:
    """Classes that exclude each other."""
    logits, probabilities = {"input": "normal/same"}, {"probabilities": BY_PROBABILITY}
    some = {name: IGNORED[name] for name in ("", "ignored_default", "ignored_inside", "ignored_everything")}
    yield from grid("cross_entropy", CLASSES, logits | BY_ID, WEIGHT, some, SMOOTHING)
    yield from grid("cross_entropy", CLASSES, logits, probabilities, WEIGHT, SMOOTHING)
    yield from grid("nll_loss", ONE_AXIS, {"input": "log_probabilities/same"} | BY_ID, WEIGHT, IGNORED)
    yield from grid("cross_entropy", CLASSES[:1], logits, {"bytes": {"target": "bytes/examples"}}, WEIGHT)
    negative = {"label_smoothing_-0.5": {"label_smoothing": -0.5}}
    yield from grid("cross_entropy", CLASSES[:2], logits, negative, {"": BY_ID} | probabilities, WEIGHT)
    linear = {"input": "unit/features", "linear_weight": "unit/matrix"}
    bias, smoothing = {"linear_bias": "unit/bias"}, {"label_smoothing": 0.1}
    inside, weight = IGNORED["ignored_inside"], WEIGHT["weight"]
    chosen: dict[str, Options] = {
        "plain": BY_ID,
        "linear_bias": BY_ID | bias,
        "ignored_everything": IGNORED["ignored_everything"] | bias,
        "weight-ignored_inside": inside | weight,
        "linear_bias-weight-ignored_inside-label_smoothing_0.1": inside | weight | bias | smoothing,
        "probabilities": BY_PROBABILITY,
        "linear_bias-probabilities-weight-label_smoothing_0.1": BY_PROBABILITY | weight | bias | smoothing,
    }
    yield from grid("linear_cross_entropy", ONE_AXIS, linear, chosen)
    yield from grid("linear_cross_entropy", ((2, 3, 1, 2),), linear, {"two_axes": BY_ID})


def sigmoid_losses() -> Iterator[Row]:
    """Classes that do not exclude each other."""
    soft, hard = {"soft": {"target": "interior/same"}}, {"hard": {"target": "binary/same"}}
    weight, pos_weight = array("weight", **PLACES), array("pos_weight", **PLACES)
    probabilities, logits = {"input": "interior/same"}, {"input": "normal/same"}
    yield from grid("binary_cross_entropy", ELEMENTS, probabilities, soft, weight)
    yield from grid("binary_cross_entropy", ELEMENTS, probabilities, hard)
    with_logits, both = "binary_cross_entropy_with_logits", {"weight": "positive/same", "pos_weight": "positive/last"}
    yield from grid(with_logits, ELEMENTS, logits, soft, weight)
    yield from grid(with_logits, ELEMENTS, logits, hard, pos_weight | {"weight_full-pos_weight_last": both})
    yield from grid("multilabel_soft_margin_loss", ONE_AXIS, logits, hard, weight)
    uneven = {f"target_{where}": {"target": f"interior/{where}"} for where in ("last", "column", "scalar")}
    uneven |= {
        f"input_{where}": {"input": f"normal/{where}", "target": "interior/same"} for where in ("last", "column")
    }
    yield from grid("multilabel_soft_margin_loss", ONE_AXIS, logits, soft | uneven)
    targets = {kind: {"target": f"{kind}/same"} for kind in ("signs", "others")}
    targets |= {f"target_{where}": {"target": f"signs/{where}"} for where in ("last", "column", "scalar")}
    yield from grid("soft_margin_loss", ELEMENTS, logits, targets)
    targets |= {"input_last": {"input": "normal/last", "target": "signs/same"}}
    yield from grid("hinge_embedding_loss", ELEMENTS, logits, targets)
    signs = {"signs": targets["signs"]}
    yield from grid("hinge_embedding_loss", ELEMENTS, logits, signs, option("margin", 0.3, -0.5))


def divergences() -> Iterator[Row]:
    """Distances between distributions: only these have the reduction ``batchmean``."""
    for log_target, kind in ((False, "positive"), (True, "normal")):
        targets = {f"target_{where}": {"target": f"{kind}/{where}"} for where in ("same", "last", "column", "scalar")}
        targets |= {"input_last": {"input": "log_probabilities/last", "target": f"{kind}/same"}}
        log_probabilities = {"input": "log_probabilities/same"}
        for row in grid("kl_div", ELEMENTS, log_probabilities, targets, option("log_target", log_target)):
            yield dataclasses.replace(row, calls=(*REDUCTIONS, BATCHMEAN))


def margin_losses() -> Iterator[Row]:
    """Losses that compare one class with another."""
    shapes, scores = ((3, 4), (5,), (1, 4)), {"input": "normal/same"} | BY_ID
    yield from grid("multi_margin_loss", shapes, scores, option("p", 1, 2), option("margin", 1.0, 0.5), WEIGHT)
    yield from grid("multi_margin_loss", shapes, scores, option("margin", -0.5))
    sets = {kind: {"target": f"{kind}/same"} for kind in ("label_sets", "all_labels", "no_labels")}
    yield from grid("multilabel_margin_loss", shapes, {"input": "normal/same"}, sets)
    # PyTorch's mean and sum over no example are uninitialized memory.
    yield Row("multi_margin_loss", "empty", scores, ((0, 4),), (NONE,))
    yield Row("multilabel_margin_loss", "empty", PAIR | {"target": "no_labels/same"}, ((0, 4),), (NONE,))


def regression_losses() -> Iterator[Row]:
    """Losses of numbers."""
    weight = array("weight", full="positive/same")
    weighted = {"weight_full-target_last": {"weight": "positive/same", "target": "normal/last"}}
    uneven = {name: BROADCAST[name] for name in ("target_last", "input_last")}
    for function in ("mse_loss", "l1_loss"):
        yield from grid(function, ELEMENTS, PAIR, weight | BROADCAST | weighted)
    yield from grid("smooth_l1_loss", ELEMENTS, PAIR, option("beta", 1.0, 0.0, 0.5, 2.5))
    yield from grid("smooth_l1_loss", ELEMENTS, PAIR, uneven)
    yield from grid("huber_loss", ELEMENTS, PAIR, option("delta", 1.0, 0.5, 2.5), weight)
    yield from grid("huber_loss", ELEMENTS, PAIR, uneven | weighted)
    full, rates = option("full", False, True), {"input": "normal/same", "target": "positive/same"}
    for more in ({"log_input_True": {}}, {"log_input_False": {"input": "positive/same", "log_input": False}}):
        yield from grid("poisson_nll_loss", ELEMENTS, rates, more, full, option("eps", 1e-8, 0.1))
    uneven = {"target_last": {"target": "positive/last"}, "input_last": {"input": "normal/last"}}
    yield from grid("poisson_nll_loss", ELEMENTS, rates, uneven)
    input_last = {"input_last": BROADCAST["input_last"] | {"var": "positive/last"}}
    var = {f"var_{where}": {"var": f"positive/{where}"} for where in ("same", "column", "first")} | option("var", 0.7)
    yield from grid("gaussian_nll_loss", ELEMENTS, PAIR, var, option("eps", 1e-6, 0.5))
    yield from grid("gaussian_nll_loss", ELEMENTS, PAIR | {"full": True}, {"full": {}}, var)
    yield from grid("gaussian_nll_loss", ELEMENTS, PAIR | {"var": "positive/same"}, uneven | input_last)


def functions() -> Iterator[Row]:
    """Activations, without reductions."""
    x = {"input": "normal/same"}
    for name in ("softmax", "log_softmax", "softmin"):
        for dim in (None, 0, -1):
            yield Row(name, f"dim_{dim}", x | {"dim": dim}, (*CLASSES, ()), NOTHING)
        yield Row(name, "dim_1", x | {"dim": 1}, BATCHES, NOTHING)
        yield Row(name, "dtype", x | {"dim": 1, "dtype": np.float32}, BATCHES, NOTHING)
    yield from (Row(name, "plain", x, ELEMENTS, NOTHING) for name in ("sigmoid", "logsigmoid"))
    for beta, threshold in ((1, 20), (0.5, 20), (2.0, 3.0), (-1.0, 20)):
        yield Row("softplus", f"beta_{beta}", x | {"beta": beta, "threshold": threshold}, ELEMENTS, NOTHING)
    yield Row("one_hot", "num_classes_-1", {"input": "six_ids/same"}, ELEMENTS[:-1], NOTHING)
    yield Row("one_hot", "num_classes_6", {"input": "six_ids/same", "num_classes": 6}, ELEMENTS, NOTHING)


USUAL: dict[str, Options] = {
    **dict.fromkeys(("cross_entropy", "nll_loss", "multi_margin_loss"), {"input": "normal/same"} | BY_ID),
    **dict.fromkeys(("soft_margin_loss", "hinge_embedding_loss"), PAIR | {"target": "signs/same"}),
    **dict.fromkeys(("mse_loss", "l1_loss", "smooth_l1_loss"), PAIR),
    "binary_cross_entropy": {"input": "interior/same", "target": "interior/same"},
    "binary_cross_entropy_with_logits": {"input": "normal/same", "target": "interior/same"},
    "kl_div": {"input": "normal/same", "target": "positive/same"},
    "multilabel_soft_margin_loss": {"input": "normal/same", "target": "binary/same"},
    "multilabel_margin_loss": {"input": "normal/same", "target": "label_sets/same"},
    "poisson_nll_loss": {"input": "interior/same", "target": "positive/same"},
}
"""Every function that has the deprecated arguments."""


def legacy() -> Iterator[Row]:
    """The deprecated arguments: unless both are None, they override the reduction."""
    pairs = [{"size_average": a, "reduce": b} for a, b in itertools.product((None, False, True), repeat=2)]
    for function, arguments in USUAL.items():
        yield Row(function, "legacy", arguments, ((3, 4),), ({}, *(pair | NONE for pair in pairs)))
    yield Row("kl_div", "legacy-batchmean", USUAL["kl_div"], ((3, 4),), tuple(pair | BATCHMEAN for pair in pairs))


def sixteen_bits() -> Iterator[Row]:
    """Logits of three scales, in 16 bits."""
    x, weight = {"input": "scaled/same"}, {"weight": "positive/last"}
    linear = {"input": "scaled/features", "linear_weight": "unit/matrix", "linear_bias": "unit/bias"}
    more: dict[str, Options] = {
        "cross_entropy": weight | {"target": "ids_inside/examples", "ignore_index": 1, "label_smoothing": 0.1},
        "nll_loss": weight,
        "linear_cross_entropy": linear | BY_ID,
        "binary_cross_entropy": {"input": "interior/same"} | weight,
        "binary_cross_entropy_with_logits": {"pos_weight": "positive/last"} | weight,
        "multilabel_soft_margin_loss": weight,
        "multi_margin_loss": weight | {"p": 2},
        "poisson_nll_loss": {"input": "interior/same", "full": True},
        "gaussian_nll_loss": {"target": "normal/same", "var": "positive/same", "full": True},
        "mse_loss": {"weight": "positive/same"},
        "huber_loss": {"target": "normal/same", "delta": 0.5},
    }
    for dtype in ("float16", "bfloat16"):
        for function in sorted(USUAL | more):
            arguments = USUAL.get(function, {}) | x | more.get(function, {})
            yield Row(function, dtype, arguments, ((3, 4),), dtype=dtype)
        soft = x | BY_PROBABILITY | {"label_smoothing": 0.1}
        yield Row("cross_entropy", f"probabilities-{dtype}", soft, ((3, 4),), dtype=dtype)
        for name in ("softmax", "log_softmax", "softmin"):
            for words, options in ((dtype, {"dim": 1}), (f"dtype-{dtype}", {"dim": 1, "dtype": np.float32})):
                yield Row(name, words, x | options, ((3, 4),), NOTHING, dtype)
        for name in ("sigmoid", "logsigmoid", "softplus"):
            yield Row(name, dtype, x, ((3, 4),), NOTHING, dtype)


def special() -> Iterator[Row]:
    """Numbers at kinks and ends of ranges, one row each, as jaxce may differ on purpose."""
    for function, table in SPECIAL.items():
        for words, arguments in table.items():
            yield Row(function, words, arguments, calls=(NONE, MEAN))
    for function, table in SPECIAL_FUNCTIONS.items():
        for words, arguments in table.items():
            yield Row(function, words, arguments, calls=NOTHING)
    zero = {"input": "normal/same", "target": "zeros/same"}
    yield Row("cross_entropy", "no_pixels", PAIR | BY_ID, ((2, 3, 0),))
    yield from (Row(name, "no_classes", PAIR, ((3, 0),)) for name in ("cross_entropy", "multilabel_soft_margin_loss"))
    yield from (Row(name, "scalar", zero) for name in ("multi_margin_loss", "multilabel_margin_loss"))
