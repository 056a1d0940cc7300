"""`jaxce.torch` has PyTorch's signatures, deprecated arguments and warnings."""

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from from_pytorch_calls import Call, good, members, quiet

from jaxce.torch import functional, nn

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")

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
"""PyTorch's signatures; without the private ``_stacklevel`` of the softmax functions."""

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
"""The reduction that each pair of ``size_average`` and ``reduce`` stands for."""

DEPRECATED = [name for name, signature in SIGNATURE.items() if "size_average" in signature]
LIKE = {"CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss", "GaussianNLLLoss": "gaussian_nll_loss"}
LIKE |= {"MultiMarginLoss": "multi_margin_loss", "MultiLabelMarginLoss": "multilabel_margin_loss"}
X = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)


def prepared(name: str) -> Callable[..., Any]:
    """The function or the class, called with valid arguments."""
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


def test_calls_check_options_that_classes_accept() -> None:
    for module in (nn.HuberLoss(delta=-1.0), nn.SmoothL1Loss(beta=-1.0), nn.BCELoss(weight=jnp.ones(2))):
        with pytest.raises(ValueError, match=r"(delta|beta|weight): got"):
            module(X, X)
    with pytest.raises(ValueError, match="num_classes: got"):
        jax.jit(functional.one_hot)(jnp.array([0, 1]))
