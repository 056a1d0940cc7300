"""Where PyTorch raises, `jaxce.torch` raises: shapes, dtypes, options and values, against stored verdicts.

The verdicts stand in `from_pytorch_mistakes.py`; where PyTorch is installed it is asked again.
"""

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from from_pytorch_mistakes import CALLS, FAMILIES, GOOD
from jaxtyping import TypeCheckError

from jaxce.torch import functional, nn

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")

DTYPES = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "b": "bool"}
DTYPES |= {f"{kind[0]}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}

OF_INPUT_AND_TARGET = """
cross_entropy: f16 f32 f32 f64 - - / f32 bf16 f32 f64 - - / f32 f32 f32 f64 - - / f64 f64 f64 f64
binary_cross_entropy: f16 - - - - - / - bf16 - - - - / - - f32 - - - / - - - f64
binary_cross_entropy_with_logits: f16 bf16 f32 f64 - - / f16 bf16 f32 f64 - - / f16 bf16 f32 f64 - - / f16 bf16 f32 f64
kl_div: f16 f32 f32 f64 - - / f32 bf16 f32 f64 - - / f32 f32 f32 f64 - - / f64 f64 f64 f64
multilabel_soft_margin_loss: f16 f32 f32 f64 f16 - / f32 bf16 f32 f64 bf16 - / f32 f32 f32 f64 f32 - /
    f64 f64 f64 f64 f64
poisson_nll_loss: f16 f32 f32 f64 f16 f16 / f32 bf16 f32 f64 bf16 bf16 / f32 f32 f32 f64 f32 f32 /
    f64 f64 f64 f64 f64 f64 / f32 f32 f32 f64 f32 f32 / f32 f32 f32 f64 f32
l1_loss: f16 f32 f32 f64 f16 - / f32 bf16 f32 f64 bf16 - / f32 f32 f32 f64 f32 - / f64 f64 f64 f64 f64 - /
    f16 bf16 f32 f64 ?
mse_loss|smooth_l1_loss: f16 f32 f32 f64 f16 f16 / f32 bf16 f32 f64 bf16 bf16 / f32 f32 f32 f64 f32 f32 /
    f64 f64 f64 f64 f64 f64 / f16 bf16 f32 f64 - - / f16 bf16 f32 f64
soft_margin_loss|huber_loss: f16 f16 f16 f16 f16 f16 / bf16 bf16 bf16 bf16 bf16 bf16 / f32 f32 f32 f32 f32 f32 /
    f64 f64 f64 f64 f64 f64
hinge_embedding_loss: f16 f16 f16 f16 f16 f16 / bf16 bf16 bf16 bf16 bf16 bf16 / f32 f32 f32 f32 f32 f32 /
    f64 f64 f64 f64 f64 f64 / ? ? ? ? ? ?
gaussian_nll_loss: f16 f32 f32 f64 f16 - / f32 bf16 f32 f64 bf16 - / f32 f32 f32 f64 f32 - / f64 f64 f64 f64 f64 - /
    f32 f32 f32 f64 f32
"""
"""The dtype of the loss by that of the input (rows) and of the target (columns): f16, bf16, f32, f64, i64, bool.

``-`` is refused, as is all that is left out at the end; ``?`` is left open: PyTorch's integer losses.
"""

GAP = re.compile(r"(?<![A-Za-z0-9])_(?![A-Za-z0-9])")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call as text, and PyTorch's verdict."""

    text: str
    verdict: str

    @property
    def name(self) -> str:
        return self.text.split("(")[0]

    @property
    def loss(self) -> Callable[..., Any]:
        return getattr(functional, self.name, None) or getattr(nn, self.name)

    @property
    def wide(self) -> bool:
        """Whether it takes 64 bits to say it; JAX has them only when told."""
        return bool(re.search(r"f64|float64|\*\*", self.text))

    def opened(self) -> tuple[dict[int, np.ndarray], Callable[[dict[int, Any]], tuple[list, dict]]]:
        """The arrays, and what puts others in their place among the other arguments."""
        leaves, tree = jax.tree.flatten(eval("record" + self.text.removeprefix(self.name), dict(WORDS)))
        arrays = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray)}
        return arrays, lambda given: tree.unflatten([given.get(i, leaf) for i, leaf in enumerate(leaves)])

    def run(self, trace: Callable[..., Any] | None = None) -> Any:
        """Calls `jaxce.torch`, with the arrays traced by ``trace`` if there is one."""
        arrays, filled = self.opened()

        def applied(arrays: dict[int, jax.Array]) -> Any:
            args, kwargs = filled(arrays)
            return self.loss(*args, **kwargs)

        with quiet(), jax.enable_x64(self.wide):
            return (trace(applied) if trace else applied)(jax.tree.map(jnp.asarray, arrays))

    def output(self, in_jax: bool = True) -> tuple[tuple[int, ...], str]:
        """The shape and dtype that the verdict names, the dtype as JAX holds it or as it is."""
        short, shape = re.search(r"(\w+)\((.*)\)", self.verdict).groups()
        with jax.enable_x64(self.wide):
            dtype = str(jax.dtypes.canonicalize_dtype(DTYPES[short])) if in_jax else DTYPES[short]
        if shape == "...":
            return np.broadcast_shapes(*(x.shape for x in self.opened()[0].values())), dtype
        return tuple(map(int, filter(None, shape.split(",")))), dtype


def make(dtype: np.dtype, *given: Any) -> np.ndarray:
    """An array of a dtype, of the values in a list, or else of a shape."""
    filler = 0.5 if jnp.issubdtype(dtype, jnp.floating) else 0
    return np.array(given[0], dtype) if given and isinstance(given[0], list) else np.full(given, filler, dtype)


WORDS = {short: functools.partial(make, jnp.dtype(name)) for short, name in DTYPES.items()}
WORDS |= {name: jnp.dtype(name) for name in DTYPES.values()} | {"nan": np.nan, "inf": np.inf}
WORDS |= {"record": lambda *args, **kwargs: (list(args), kwargs)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def members(names: str) -> list[str]:
    """Names with ``|`` between, families spelled out."""
    return [m for name in names.split("|") for m in (members(FAMILIES[name]) if name in FAMILIES else [name])]


def good(name: str) -> str:
    return GOOD.get(name, "f32(2,3),f32(2,3)")


def calls() -> Iterator[Call]:
    """Every call of both tables."""
    for line in re.sub(r"\n    ", " ", CALLS).strip().split("\n"):
        if not line.startswith(" "):
            names, arguments = line.split("(", 1)
            continue
        verdict, fillers = line.strip().split(": ", 1)
        for filler, name in itertools.product(fillers.split(), members(names)):
            filled = GAP.sub(lambda _, filler=filler: filler, f"({arguments}").replace("GOOD", good(name))
            yield Call(name + filled, verdict)
    kinds = [*itertools.product(["f16", "bf16", "f32", "f64", "i64", "b"], repeat=2)]
    for line in re.sub(r"\n    ", " ", OF_INPUT_AND_TARGET).strip().split("\n"):
        names, cells = line.split(": ")
        for name, ((x, y), cell) in itertools.product(
            members(names), itertools.zip_longest(kinds, cells.replace("/", "").split(), fillvalue="-")
        ):
            rest = ",1.0" if name == "gaussian_nll_loss" else ""
            if cell != "?":
                yield Call(f"{name}({x}(2,3),{y}(2,3){rest})", "raises" if cell == "-" else f"{cell}()")


TABLE = {call.text: call for call in calls()}


def each(wanted: Callable[[Call], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", [*filter(wanted, TABLE.values())], ids=lambda call: call.text)


def refuse(call: Call, trace: Callable[..., Any] | None = None) -> None:
    """An error of ours, which names the argument first."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call.run(trace)
    if isinstance(caught.value, TypeCheckError):  # with annotations checked at run time, these speak first
        return
    args, kwargs = call.opened()[1]({})
    signature = inspect.signature(call.loss)
    with contextlib.suppress(TypeError):
        signature.bind(*args, **kwargs)
        assert type(caught.value) in (TypeError, ValueError)
        argument, _, rest = str(caught.value).partition(": ")
        assert argument in signature.parameters
        assert rest.startswith(("got ", "id "))


BUT_NOT_ANNOTATED = re.compile(r"p=[12]\.0|Loss\(1\.0\)|reduction=None|out_features=\[2\]")


def accept(call: Call, trace: Callable[..., Any] | None = None) -> Any:
    """What the call makes, unless annotations are checked and know less than PyTorch accepts."""
    try:
        return call.run(trace)
    except TypeCheckError:
        assert BUT_NOT_ANNOTATED.search(call.text)
        pytest.skip("the annotations speak first")


def test_no_call_stands_twice() -> None:
    assert len(TABLE) == len([*calls()]) > 400


@each(lambda call: call.verdict == "raises" or call.verdict.startswith("narrower"))
def test_raises_where_pytorch_raises_under_a_trace_too(call: Call) -> None:
    refuse(call)
    if call.name.islower():
        refuse(call, jax.jit)


@each(lambda call: call.verdict == "raises by value")
def test_wrong_values_raise_or_are_nan_under_a_trace(call: Call) -> None:
    refuse(call)
    if call.name != "one_hot":  # whose integers know no NaN
        assert np.isnan(call.run(jax.jit))


@each(lambda call: re.fullmatch(r"\w+\(.*\)( by value)?", call.verdict) is not None)
def test_accepts_what_pytorch_accepts(call: Call) -> None:
    made = accept(call, None if call.verdict.endswith("value") else lambda f: functools.partial(jax.eval_shape, f))
    assert (made.shape, str(made.dtype)) == call.output()


@each(lambda call: call.verdict.startswith("wider"))
def test_accepts_more_than_pytorch(call: Call) -> None:
    as_in_pytorch = re.sub(r"\b[iu]\d+\(", "i64(", re.sub(r"\bb?f16\(", "f32(", call.text))
    made, expected = call.run(), Call(as_in_pytorch, "").run()
    assert (made.shape, str(made.dtype)) == call.output()
    np.testing.assert_allclose(np.asarray(made, np.float32), np.asarray(expected, np.float32), rtol=1e-2)


@each(lambda call: call.verdict == "built")
def test_builds_what_pytorch_builds(call: Call) -> None:
    accept(call)


@needs_torch
@pytest.mark.parametrize("name", sorted({call.name for call in TABLE.values()}))
def test_pytorch_gives_the_stored_verdicts(name: str) -> None:
    wrong = {call.text: verdict for call in TABLE.values() if call.name == name and (verdict := ask(call))}
    assert not wrong


def ask(call: Call) -> str | None:
    """What PyTorch does, where it is not what is stored."""
    torch = importlib.import_module("torch")
    args, kwargs = call.opened()[1]({})
    args, kwargs = jax.tree.map(functools.partial(to_torch, torch), (args, kwargs))
    loss = getattr(torch.nn.functional, call.name, None) or getattr(torch.nn, call.name)
    expected = call.verdict.removesuffix(" by value").removeprefix("narrower ")
    try:
        with quiet():
            made = loss(*args, **kwargs)
    except Exception as error:
        return None if expected == "raises" or expected.startswith("wider") else f"{type(error).__name__}: {error}"
    if expected == "built":
        return None
    if expected == "raises" or expected.startswith("wider"):
        return f"accepted: {made}"
    made = tuple(made.shape), str(made.dtype).removeprefix("torch.")
    return None if made == call.output(in_jax=False) else f"{made}"


def to_torch(torch: Any, x: Any) -> Any:
    """Arrays and dtypes as PyTorch's."""
    if isinstance(x, np.dtype):
        return getattr(torch, x.name)
    if isinstance(x, np.ndarray):
        return torch.tensor(x.astype(np.float32) if x.dtype == jnp.bfloat16 else x).to(getattr(torch, x.dtype.name))
    return x


SIGNATURES = """
cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean',
    label_smoothing=0.0)
nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean')
linear_cross_entropy(input, linear_weight, target, *, linear_bias=None, weight=None, reduction='mean',
    ignore_index=None, label_smoothing=0.0, options=None)
binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction='mean')
binary_cross_entropy_with_logits(input, target, weight=None, size_average=None, reduce=None, reduction='mean',
    pos_weight=None)
kl_div(input, target, size_average=None, reduce=None, reduction='mean', log_target=False)
soft_margin_loss(input, target, size_average=None, reduce=None, reduction='mean')
multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction='mean')
multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction='mean')
multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction='mean')
hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction='mean')
poisson_nll_loss(input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction='mean')
gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction='mean')
mse_loss(input, target, size_average=None, reduce=None, reduction='mean', weight=None)
l1_loss(input, target, size_average=None, reduce=None, reduction='mean', weight=None)
smooth_l1_loss(input, target, size_average=None, reduce=None, reduction='mean', beta=1.0)
huber_loss(input, target, reduction='mean', delta=1.0, weight=None)
softmax(input, dim=None, dtype=None)
log_softmax(input, dim=None, dtype=None)
softmin(input, dim=None, dtype=None)
sigmoid(input)
logsigmoid(input)
softplus(input, beta=1, threshold=20)
one_hot(input, num_classes=-1)
CrossEntropyLoss(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean', label_smoothing=0.0)
NLLLoss(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean')
BCELoss(weight=None, size_average=None, reduce=None, reduction='mean')
BCEWithLogitsLoss(weight=None, size_average=None, reduce=None, reduction='mean', pos_weight=None)
KLDivLoss(size_average=None, reduce=None, reduction='mean', log_target=False)
SoftMarginLoss(size_average=None, reduce=None, reduction='mean')
MultiLabelSoftMarginLoss(weight=None, size_average=None, reduce=None, reduction='mean')
MultiMarginLoss(p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction='mean')
MultiLabelMarginLoss(size_average=None, reduce=None, reduction='mean')
HingeEmbeddingLoss(margin=1.0, size_average=None, reduce=None, reduction='mean')
PoissonNLLLoss(log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction='mean')
GaussianNLLLoss(*, full=False, eps=1e-6, reduction='mean')
MSELoss(size_average=None, reduce=None, reduction='mean')
L1Loss(size_average=None, reduce=None, reduction='mean')
SmoothL1Loss(size_average=None, reduce=None, reduction='mean', beta=1.0)
HuberLoss(reduction='mean', delta=1.0)
LinearCrossEntropyLoss(in_features, num_classes, *, out_features=(), bias=False, device=None, dtype=None,
    reduction='mean', weight=None, ignore_index=None, label_smoothing=0.0, options=None)
"""
"""PyTorch's signatures; of the private ``_stacklevel`` of the softmax functions nothing is kept."""

SIGNATURE = dict(re.findall(r"^(\w+)\((.*)\)$", re.sub(r"\n    ", " ", SIGNATURES), re.MULTILINE))
BUILTINS = {"logsigmoid", "softplus", "one_hot"}  # Python cannot look into these; PyTorch's documentation can


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values() if p.name != "_stacklevel"]


@pytest.mark.parametrize("name", SIGNATURE)
def test_signature(name: str) -> None:
    assert parameters(Call(name, "").loss) == parameters(eval(f"lambda {SIGNATURE[name]}: None"))


@needs_torch
@pytest.mark.parametrize("name", sorted(set(SIGNATURE) - BUILTINS))
def test_pytorch_has_the_stored_signature(name: str) -> None:
    torch = importlib.import_module("torch")
    theirs = getattr(torch.nn.functional, name, None) or getattr(torch.nn, name)
    assert parameters(theirs) == parameters(eval(f"lambda {SIGNATURE[name]}: None"))


PAIRS = [(average, reduce) for average in (None, True, False) for reduce in (None, True, False)][1:]
MEANING = dict(zip(PAIRS, ["mean", "none", "mean", "mean", "none", "sum", "sum", "none"], strict=True))
"""What each pair of ``size_average`` and ``reduce`` stands for; neither given, the reduction counts."""

DEPRECATED = [name for name, signature in SIGNATURE.items() if "size_average" in signature]
LIKE = {"CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss", "GaussianNLLLoss": "gaussian_nll_loss"}
LIKE |= {"MultiMarginLoss": "multi_margin_loss", "MultiLabelMarginLoss": "multilabel_margin_loss"}
X = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)


def prepared(name: str) -> Callable[..., Any]:
    """The function, or the call of what the class makes, on arguments that work."""
    loss, (first, *rest) = Call(name, "").loss, Call(f"_({good(LIKE.get(name, name))})", "").opened()[0].values()
    args = [jnp.linspace(0.1, 0.9, first.size).reshape(first.shape), *map(jnp.asarray, rest)]
    return (lambda **given: loss(*args, **given)) if name.islower() else lambda **given: loss(**given)(*args)


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")
@pytest.mark.parametrize("name", DEPRECATED)
def test_deprecated_arguments_come_before_the_reduction(name: str) -> None:
    call = prepared(name)
    with quiet():
        named = {reduction: np.asarray(call(reduction=reduction)) for reduction in ("mean", "sum", "none")}
        for reduction, expected in named.items():
            np.testing.assert_array_equal(call(size_average=None, reduce=None, reduction=reduction), expected)
    assert len({x.tobytes() for x in named.values()}) == 3
    for (average, reduce), meaning in MEANING.items():
        for reduction in ("unheard of", "none" if meaning == "mean" else "mean"):
            with pytest.warns(DeprecationWarning, match="size_average"):
                made = call(size_average=average, reduce=reduce, reduction=reduction)
            np.testing.assert_array_equal(made, named[meaning])


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")
def test_the_deprecated_batchmean_of_kl_div_divides_once_more() -> None:
    function, module = prepared("kl_div"), prepared("KLDivLoss")
    for (average, reduce), meaning in MEANING.items():
        given = {"size_average": average, "reduce": reduce, "reduction": "batchmean"}
        with quiet():
            plain = np.asarray(function(reduction=meaning))
        for call, divisor in ((function, 2), (module, 1)):
            with pytest.warns(DeprecationWarning, match="size_average"):
                np.testing.assert_allclose(call(**given), plain / divisor, rtol=1e-6)


@needs_torch
def test_pytorch_has_the_stored_meaning() -> None:
    legacy = importlib.import_module("torch.nn._reduction").legacy_get_string
    assert {pair: legacy(*pair, emit_warning=False) for pair in PAIRS} == MEANING


@pytest.mark.parametrize("name", [name for name in members("NAMED|kl_div|CLASSES") if "reduction" in SIGNATURE[name]])
def test_the_old_name_of_the_mean(name: str) -> None:
    call = prepared(name)
    with quiet():
        mean = call()
    if LIKE.get(name) == "gaussian_nll_loss" or name in ("PoissonNLLLoss", "MultiLabelSoftMarginLoss"):
        with pytest.raises(ValueError, match="reduction: got 'elementwise_mean'"):
            call(reduction="elementwise_mean")
    else:
        with pytest.warns((DeprecationWarning, UserWarning), match="elementwise_mean"):
            assert call(reduction="elementwise_mean") == mean
    with pytest.raises(ValueError, match="reduction: got 'avg'"):
        call(reduction="avg")


@pytest.mark.parametrize("name", members("REGRESSION"))
def test_sizes_that_differ_warn(name: str) -> None:
    loss = getattr(functional, name)
    for target in (X[0], X[None], np.float32(0.5)):
        with pytest.warns(UserWarning, match="target: got shape"):
            loss(X, target)
    loss(X, X)


def test_other_warnings() -> None:
    with pytest.warns(UserWarning, match=r"reduction: .*mean"):
        functional.kl_div(X, X)
    with pytest.warns(DeprecationWarning, match="size_average"):
        functional.kl_div(X, X, size_average=True)
    with pytest.warns(UserWarning, match="dim"):
        functional.softmax(X)
    for reduction in ("batchmean", "sum", "none"):
        functional.kl_div(X, X, reduction=reduction)
    functional.gaussian_nll_loss(X, X[0], 1.0)


def test_what_only_calls_refuse() -> None:
    for module in (nn.HuberLoss(delta=-1.0), nn.SmoothL1Loss(beta=-1.0), nn.BCELoss(weight=jnp.ones(2))):
        with pytest.raises(ValueError, match=r"(delta|beta|weight): got"):
            module(X, X)
    with pytest.raises(ValueError, match="num_classes: got"):
        jax.jit(functional.one_hot)(jnp.array([0, 1]))
