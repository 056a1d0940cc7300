"""What `explain` tells: the table of a worked example, drawings of shapes, warnings, and the tables of each kind."""

import functools
import io
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxce
from jaxce._explain._call import draw_shapes, name_arguments

X = np.float32([[1.0, 0.0, 0.0], [0.5, 1.5, 0.0], [2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
Y = np.array([1, 2, 0, -100])
WEIGHTS = np.float32([1.0, 5.0, 2.0])
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
PIXELS = RNG.integers(0, 3, (2, 8, 8))

WORKED = """\
cross_entropy = 1.4820 = 11.8558 / 8
sum of weighted losses / sum of weights; 3 of 4 examples count
the mean in other units: base 10 0.6436, bits 2.1380, perplexity 4.4016
guessing costs 1.0986 (log 3)
class_weights adds 0.2534

i  label        logits      softmax  p[label]  -log p  weight    loss  share
0      1   1.0 0.0 0.0  .58 .21 .21    0.2119  1.5514       5  7.7572   65 %
1      2   0.5 1.5 0.0  .23 .63 .14    0.1402  1.9644       2  3.9287   33 %
2      0  2.0 0.0 -1.0  .84 .11 .04    0.8438  0.1698       1  0.1698    1 %

class  examples  weight  mean loss  share
    0         1       1     0.1698    1 %
    1         1       5     1.5514   65 %  ############
    2         1       2     1.9644   33 %  ######

! The loss is above 1.0986, the loss of equal logits: this is worse than
  guessing.
! 1 of 4 examples (25 %) are masked or ignored.
! The mean of reduction="none" is 2.9640: it divides by 4 examples, not by the
  sum of the weights, 8."""


def worked(**options):
    return jaxce.explain(jaxce.cross_entropy, X, Y, class_weights=WEIGHTS, ignore_index=-100, **options)


def test_the_worked_example():
    assert str(worked()) == WORKED
    assert jaxce.cross_entropy(X, Y, class_weights=WEIGHTS, ignore_index=-100) == pytest.approx(1.4820, abs=5e-5)


def test_the_columns_are_those_of_a_float64_softmax():
    p = np.exp(X.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    examples = worked(top_k=2).examples
    np.testing.assert_allclose(examples["softmax"], p[[0, 1]], rtol=1e-12)
    np.testing.assert_allclose(examples["-log p"], -np.log(p[[0, 1], [1, 2]]), rtol=1e-12)
    np.testing.assert_allclose(examples["share"], np.array([7.7572, 3.9287]) / 11.8558, rtol=1e-4)


def test_one_example_and_every_dtype():
    told = jaxce.explain(jaxce.cross_entropy, X[0], 1)
    assert told.examples["example"] == [()]
    assert told.value == pytest.approx(1.5514, abs=5e-5)
    for dtype in (jnp.bfloat16, jnp.float16):
        assert jaxce.explain(jaxce.cross_entropy, jnp.asarray(X, dtype), Y % 3).errors.tolist() == [
            True,
            True,
            False,
            True,
        ]
        assert jaxce.explain(jaxce.dice_loss, jnp.asarray(IMAGES, dtype), PIXELS, axis=1).classes["TP"]


def test_no_examples_and_none_that_counts():
    for told in (
        jaxce.explain(jaxce.cross_entropy, X[:0], Y[:0]),
        jaxce.explain(jaxce.cross_entropy, X, Y % 3, where=np.zeros(4, bool)),
    ):
        assert (told.value, told.total, told.divisor, told.examples["example"]) == (0, 0, 0, [])
        assert told.classes["share"] == [0, 0, 0]
        assert len(told.checks) == (told.masked > 0)
        assert "; the mean is 0 / 0" in str(told)


def test_decode_names_the_classes():
    told = worked(decode=["cat", "dog", "owl"].__getitem__)
    assert told.examples["label"] == ["dog", "owl", "cat"]
    assert told.classes["class"] == ["cat", "dog", "owl"]


@pytest.mark.parametrize("reduction", ["sum", "none", "total", jaxce.Mean(axis=-1)])
def test_any_reduction(reduction):
    told = worked(reduction=reduction)
    want = jaxce.cross_entropy(X, Y, class_weights=WEIGHTS, ignore_index=-100, reduction=reduction)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, told.value, want)))
    assert json.loads(json.dumps(told.to_dict()))["total"] == pytest.approx(11.8558, abs=1e-4)


def test_probabilities_as_labels():
    q = np.asarray(jax.nn.softmax(X[::-1]))
    told = jaxce.explain(jaxce.cross_entropy, X, q)
    order = told.examples["example"]
    np.testing.assert_allclose(told.examples["-log p"], -(q * np.log(jax.nn.softmax(X))).sum(-1)[order], rtol=1e-5)
    assert told.examples["q[label]"] == q.max(-1).astype(float)[order].tolist()


def test_binary_cross_entropy_has_both_terms_and_the_share_of_positives():
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
    told = jaxce.explain(jaxce.sigmoid_binary_cross_entropy, X, labels, pos_weight=3.0, top_k=12)
    p = 1 / (1 + np.exp(-X.astype(np.float64)))
    at = tuple(np.array(told.examples["example"]).T)
    np.testing.assert_allclose(told.examples["-y log p"], -(labels * np.log(p))[at], rtol=1e-12)
    np.testing.assert_allclose(told.examples["-(1-y) log(1-p)"], -((1 - labels) * np.log1p(-p))[at], rtol=1e-12)
    np.testing.assert_allclose(
        told.classes["share of positives"], -3 * (labels * np.log(p)).sum(0) / told.total, rtol=1e-6
    )
    assert told.classes["negatives"] == [2, 2, 3]


def test_signs_and_single_logits():
    told = jaxce.explain(jaxce.soft_margin_loss, np.float32(0.5), np.int32(-1))
    assert told.examples["-(1-y) log(1-p)"] == [pytest.approx(math.log1p(math.exp(0.5)))]
    assert told.examples["example"] == [()]


@pytest.mark.parametrize("loss", [jaxce.dice_loss, jaxce.lovasz_softmax])
def test_regions_count_the_pixels_that_are_not_masked(loss):
    where = RNG.random(PIXELS.shape) < 0.7
    x = np.where(where[:, None], IMAGES, np.nan)
    told = jaxce.explain(loss, x, PIXELS, axis=1, where=where)
    predicted = IMAGES.argmax(1)
    for c in range(3):
        tp, fp, fn = (int((m & where).sum()) for m in _counts(predicted == c, c == PIXELS))
        got = [told.classes[name][c] for name in ("TP", "FP", "FN", "Dice", "IoU")]
        assert got == [tp, fp, fn, pytest.approx(2 * tp / (2 * tp + fp + fn)), pytest.approx(tp / (tp + fp + fn))]
    assert (told.size, told.masked) == (128, int((~where).sum()))
    assert told.errors.sum() == ((predicted != PIXELS) & where).sum()


def _counts(predicted, labelled):
    return predicted & labelled, predicted & ~labelled, ~predicted & labelled


def test_linear_needs_no_logits_and_tells_the_positions():
    h, w = RNG.normal(size=(2, 20, 8)).astype(np.float32), RNG.normal(size=(8, 50)).astype(np.float32)
    ids = RNG.integers(0, 50, (2, 20))
    told = jaxce.explain(jaxce.linear_cross_entropy, h, w, ids, z_loss=0.01, has_aux=True, decode="<{}>".format)
    dense = jaxce.explain(jaxce.cross_entropy, h @ w, ids, z_loss=0.01)
    assert told.examples["example"] == dense.examples["example"]
    assert told.examples["label"] == [f"<{i}>" for i in dense.examples["label"]]
    np.testing.assert_allclose(told.examples["-log p"], dense.examples["-log p"], rtol=1e-5)
    assert told.guess == pytest.approx(math.log(50) + 0.01 * math.log(50) ** 2)
    assert told.positions["position"] == ["0-2", "3-5", "6-8", "9-11", "12-13", "14-15", "16-17", "18-19"]
    np.testing.assert_allclose(told.positions["mean loss"][0], told.losses[:, :3].mean(), rtol=1e-6)


def checks(loss, *args, **options):
    return " ".join(jaxce.explain(loss, *args, **options).checks)


SOFT = np.asarray(jax.nn.softmax(X))
MANY = RNG.normal(size=(64, 3)).astype(np.float32)
IDS = RNG.integers(0, 3, 64)
SUSPICIOUS = {
    "softmax is applied already": (lambda: (SOFT, Y % 3), "is softmax applied already[?] .* at least 0.5514"),
    "all labels are equal": (lambda: (X, Y * 0 + 2), "All labels are 2[.]"),
    "the output is constant": (lambda: (X * 0 + X[:1], Y % 3), "All examples have the same scores"),
    "a class never occurs": (
        lambda: (X[:2], Y[:2] % 2, {"class_weights": WEIGHTS}),
        "Class 2 never occurs but has weight 2[.]",
    ),
    "worse than guessing": (lambda: (-9 * MANY, MANY.argmax(1)), "worse than guessing"),
    "masked": (lambda: (X, Y, {"where": Y >= 0, "ignore_index": -100}), "1 of 4 examples .25 %. are masked"),
    "two means": (lambda: (X, Y % 3, {"sample_weights": Y + 101.0}), 'mean of reduction="none"'),
    "NaN": (lambda: (X * np.float32([[1], [np.nan], [1], [1]]), Y % 3), "1 losses are NaN; first: example 1[.]"),
}


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_suspicious_inputs_are_named(name):
    made, pattern = SUSPICIOUS[name]
    x, y, *options = made()
    told = jaxce.explain(jaxce.cross_entropy, x, y, **(options[0] if options else {}))
    assert any(re.search(pattern, check) for check in told.checks), told.checks


def test_sound_inputs_are_not():
    assert jaxce.explain(jaxce.cross_entropy, 5 * MANY, MANY.argmax(1)).checks == ()
    assert jaxce.explain(jaxce.sigmoid_binary_cross_entropy, 5 * MANY, (MANY > 0).astype(int)).checks == ()


def test_a_sigmoid_that_is_applied_already():
    p = np.asarray(jax.nn.sigmoid(MANY))
    assert "is a sigmoid applied already?" in checks(jaxce.sigmoid_binary_cross_entropy, p, (MANY > 0).astype(int))
    assert "not normalized" in checks(jaxce.nll_loss, MANY, IDS)


DRAWN = {
    "the class axis kept": (
        (IMAGES, PIXELS[:, None]),
        {"axis": 1},
        "logits  2  C=3  8  8|labels  2    1  8  8|             ^  one axis too many",
    ),
    "channel first": ((IMAGES, PIXELS), {}, "logits  2  3  8  C=8|labels  2  8  8|           ^"),
    "another batch": ((IMAGES, PIXELS[:1]), {"axis": 1}, "logits  2  C=3  8  8|labels  1       8  8|        ^"),
    "probabilities": ((X, X[:, :2]), {}, "logits  4  C=3|labels  4    2|             ^"),
    "too many axes": (
        (X, np.zeros((4, 5, 6), int)),
        {},
        "logits  4  C=3|labels  4    5  6|             ^  ^  2 axes too many",
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_shapes_are_drawn_in_a_note_of_the_error(name):
    args, options, want = DRAWN[name]
    with pytest.raises((TypeError, ValueError)) as plain:
        jaxce.cross_entropy(*args, **options)
    with pytest.raises(type(plain.value)) as told:
        jaxce.explain(jaxce.cross_entropy, *args, **options)
    assert str(told.value) == str(plain.value)
    assert told.value.__notes__ == [want.replace("|", "\n")]


def test_shapes_that_fit_are_not_drawn():
    assert draw_shapes(name_arguments(jaxce.cross_entropy, (IMAGES, PIXELS), {"axis": 1})) == ""
    with pytest.raises(ValueError, match="id 7") as error:
        jaxce.explain(jaxce.cross_entropy, X, Y % 3 + 5 * (Y == 2))
    assert not hasattr(error.value, "__notes__")


def test_only_losses_and_only_concrete_arrays():
    for other in (jaxce.reduce, jnp.sum):
        with pytest.raises(TypeError, match=r"^loss: got .*; expected a loss of jaxce"):
            jaxce.explain(other, X)
    with pytest.raises(TypeError, match="loss"):
        jaxce.explain(3, X)
    with pytest.raises(
        TypeError, match=r"^logits: got a traced array; explain needs values. Inside jit, use jaxce.summ"
    ):
        jax.jit(lambda x: jaxce.explain(jaxce.cross_entropy, x, Y % 3).total)(X)


def test_rich_prints_all_columns():
    rich = pytest.importorskip("rich.console")
    console = rich.Console(width=160, file=io.StringIO())
    told = jaxce.explain(jaxce.cross_entropy, X, Y, class_weights=WEIGHTS, ignore_index=-100)
    console.print(told)
    text = console.file.getvalue()
    for part in (*told.examples, *told.classes, "7.7572", "65 %", "worse than guessing", "1.4820 = 11.8558 / 8"):
        assert part in text


def test_a_notebook_and_a_figure():
    text = worked()._repr_html_()
    assert text.count("<table ") == text.count("</table>") == 2
    assert "<script" not in text
    assert "1.4820 = 11.8558 / 8" in text
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert len(jaxce.explain(jaxce.cross_entropy, IMAGES, PIXELS, axis=1).plot().axes) == 3
    assert len(worked().plot().axes) == 1
    matplotlib.pyplot.close("all")


def test_has_aux_is_left_out_of_the_account():
    told = jaxce.explain(jaxce.cross_entropy, X, Y, ignore_index=-100, has_aux=True)
    assert told.value[0] == told.total / told.divisor == jaxce.cross_entropy(X, Y, ignore_index=-100)
    assert jaxce.explain(jaxce.linear_cross_entropy, X, np.eye(3, dtype=np.float32), Y % 3, has_aux=True).errors is None


def test_options_of_a_partial_are_options():
    partial = functools.partial(jaxce.cross_entropy, X, label_smoothing=0.25)
    told, want = jaxce.explain(partial, Y % 3), jaxce.explain(jaxce.cross_entropy, X, Y % 3, label_smoothing=0.25)
    assert repr(told) == repr(want)
    assert "label_smoothing" in told.added


def test_wrong_keywords_have_the_answer_of_the_loss():
    for function in (jaxce.explain, jaxce.summarize):
        with pytest.raises(TypeError, match="class_weights="):
            function(jaxce.cross_entropy, X, Y % 3, weight=WEIGHTS)


def test_binary_labels_without_a_class_axis_are_one_class():
    x, labels = np.float32([1, -2, 3, 0]), np.array([1, 0, 0, 1])
    assert len(jaxce.explain(jaxce.sigmoid_binary_cross_entropy, x, labels).classes["class"]) == 1
    told = jaxce.explain(jaxce.sigmoid_binary_cross_entropy, x, labels, class_weights=np.ones(4))
    assert len(told.classes["class"]) == 4


def test_equal_logits_are_not_worse_than_guessing():
    assert jaxce.explain(jaxce.cross_entropy, 0.01 * X, np.array([1, 2, 0, 1])).checks == ()


@pytest.mark.parametrize("function", [jaxce.explain, jaxce.summarize])
def test_counts_are_at_least_1(function):
    for top_k in (0, -1):
        with pytest.raises(ValueError, match=f"top_k: got {top_k}; expected at least 1"):
            function(jaxce.cross_entropy, X, Y % 3, top_k=top_k)
