"""Accounts of the losses of `jaxce.torch`: the value is the loss itself, the parts add up to PyTorch's stored mean."""

import math
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from from_pytorch_values import stored_cases

import jaxce
from jaxce._explain._pytorch import LOSSES
from jaxce.torch import functional, nn

CLASSES = {kind.function: kind for name in nn.__all__ if hasattr(kind := getattr(nn, name), "function")}
OVERFLOWS = re.compile(r"soft_margin_loss-at_(plus|minus)_1000")
X = np.float32([[1.0, 0.0, 0.5], [-0.5, 1.5, 0.0], [2.0, 0.0, -1.0], [0.5, 0.0, 0.0]])
Y = np.array([1, 2, 0, -100])
WEIGHTS = np.float32([1.0, 5.0, 2.0])


def is_told(case):
    """Whether the case has examples, and class ids if it has a linear layer."""
    is_dense = case.row.function == "linear_cross_entropy" and (
        case.inputs["linear_weight"].ndim > 2 or case.inputs["target"].dtype.kind == "f"
    )
    return math.prod(case.shape) and not is_dense


MEANS = {}
for _case, _outputs in stored_cases():
    if _case.row.function in LOSSES and _case.call.get("reduction") == "mean" and is_told(_case):
        MEANS.setdefault(_case.row.function, {}).setdefault(str(_case.row), []).append((_case, _outputs["value"]))


@pytest.mark.parametrize("name", LOSSES)
def test_the_parts_add_up_to_pytorchs_mean(name, thin):
    """Every row of options, each in one of its shapes; one row in four in a thin pass."""
    function = getattr(functional, name)
    for number, cases in enumerate([*MEANS[name].values()][:: 4 if thin else 1]):
        case, mean = cases[number % len(cases)]
        dtypes = {"f": case.row.dtype}
        args = {n: jnp.asarray(a, dtypes.get(a.dtype.kind)) for n, a in case.inputs.items()} | case.options
        told = jaxce.explain(function, **args)
        assert told.value.tobytes() == function(**args).tobytes(), case
        assert told.losses.sum() == pytest.approx(told.total, nan_ok=True)
        assert all(len(line) <= 80 for line in str(told).splitlines())
        if told.divisor and np.isfinite(mean) and not OVERFLOWS.search(str(case.row)):
            near = {"rtol": 2e-6, "atol": 2e-6} if case.row.dtype == "float32" else {"rtol": 1e-2}
            np.testing.assert_allclose(told.total / told.divisor, mean, **near, err_msg=str(case))


@pytest.mark.parametrize("name", LOSSES)
def test_a_class_is_told_like_its_function(name):
    function = getattr(functional, name)
    case, _ = next(iter(MEANS[name].values()))[0]
    args = [case.inputs[n] for n in ("input", "linear_weight", "target") if n in case.inputs]
    sizes = args[1].shape[::-1] if "linear_weight" in case.inputs else ()
    loss = CLASSES[function](*sizes, reduction="sum")
    told, want = jaxce.explain(loss, *args), jaxce.explain(function, *args, reduction="sum")
    assert told.value.tobytes() == loss(*args).tobytes()
    assert told.to_dict() == want.to_dict()
    assert told.added == {}


def test_the_tables_are_those_of_the_core():
    told = jaxce.explain(nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1), X, Y)
    core = {"class_weights": WEIGHTS, "label_smoothing": 0.1, "ignore_index": -100}
    want = jaxce.explain(jaxce.cross_entropy, X, Y, **core)
    assert told.added == {"weight": want.added["class_weights"], "label_smoothing": want.added["label_smoothing"]}
    for name, column in want.examples.items():
        np.testing.assert_allclose(np.asarray(told.examples[name]), np.asarray(column), rtol=2e-6)
    assert (told.masked, told.divisor, told.checks) == (1, 8, want.checks)


def test_one_example_has_a_target_of_either_shape():
    for loss in (functional.cross_entropy, functional.nll_loss, functional.multi_margin_loss):
        one, other = (jaxce.explain(loss, X[0], np.full(shape, 1)) for shape in ((), (1,)))
        assert one.examples == other.examples


def test_sets_of_ids_are_multi_hot_labels():
    told = jaxce.explain(
        functional.multilabel_margin_loss, X, np.array([[2, 0, -1], [1, -1, 0], [-1, 0, 0], [0, 1, 2]])
    )
    labels = dict(zip(told.examples["example"], told.examples["y"], strict=True))
    assert [labels[i] for i in range(4)] == [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]]


def test_the_deprecated_arguments():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for legacy in ({"size_average": False}, {"reduce": False}, {"reduction": "elementwise_mean"}):
            told = jaxce.explain(functional.cross_entropy, X, Y, **legacy)
            assert told.value.tobytes() == functional.cross_entropy(X, Y, **legacy).tobytes()
            assert told.total / told.divisor == pytest.approx(float(functional.cross_entropy(X, Y)))


def test_a_summary_of_a_training_step():
    told = jax.jit(lambda x: jaxce.summarize(nn.CrossEntropyLoss(weight=WEIGHTS), x, Y))(X)
    np.testing.assert_allclose(told.total.mean(), functional.cross_entropy(X, Y, WEIGHTS), rtol=2e-6)
    assert (told.counts["ignored"], told.firsts["ignored"]) == (1, 3)
    half = jaxce.summarize(functional.cross_entropy, jnp.asarray(X, jnp.bfloat16), Y)
    assert half.total.loss.dtype == np.float32


@pytest.mark.parametrize("name", [name for name in functional.__all__ if name not in LOSSES])
def test_losses_without_classes_are_refused(name):
    match = f"^loss: got {name}; of jaxce.torch, explain takes losses of classes: cross_entropy, nll_loss, "
    function = getattr(functional, name)
    for loss in [function, *([CLASSES[function]()] if function in CLASSES else [])]:
        with pytest.raises(TypeError, match=match):
            jaxce.explain(loss, X, X)


def test_errors_are_those_of_the_loss_and_draw_the_shapes():
    with pytest.raises(ValueError, match=r"^target: got class ids of shape \(4, 1\)") as error:
        jaxce.explain(functional.cross_entropy, X, Y[:, None])
    assert error.value.__notes__ == ["input   4  C=3\ntarget  4    1\n             ^  one axis too many"]
    with pytest.raises(TypeError, match=r"^input: got a traced array; explain needs values"):
        jax.jit(lambda x: jaxce.explain(functional.cross_entropy, x, Y).total)(X)
    with pytest.raises(TypeError, match=r"^target, linear_weight: explain takes class ids and a matrix"):
        jaxce.explain(functional.linear_cross_entropy, X, X[:3], X[:, :3])
