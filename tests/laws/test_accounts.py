"""Accounts of a loss: the value is the loss itself, and the parts add up to it."""

import dataclasses
import functools
import json

import jax
import numpy as np
from cases import Case
from inputs import cast, draw_log_probs, draw_logits, draw_probs
from law import GRADIENT, LOSS, law

import jaxce


@dataclasses.dataclass(frozen=True)
class Explained(Case):
    """A row of the table whose loss is `explain` of its loss."""

    told_by = staticmethod(jaxce.explain)

    @property
    def loss(self):
        return functools.partial(self.told_by, super().loss)


class Summarized(Explained):
    """The same for `summarize`."""

    told_by = staticmethod(jaxce.summarize)


def explained(inputs, told_by=Explained, **options):
    fields = {f.name: getattr(inputs.case, f.name) for f in dataclasses.fields(inputs.case)}
    return inputs.replace(case=told_by(**fields)).call(**options)


@law(options="ends")
def test_the_parts_add_up_to_the_loss_itself(setting):
    inputs = setting.draw()
    told, losses = explained(inputs), np.asarray(inputs.call(reduction="none"))
    assert told.value.tobytes() == inputs.call().tobytes()
    np.testing.assert_allclose(told.losses, losses, **LOSS)
    np.testing.assert_allclose(told.total / told.divisor, told.value, **LOSS)
    np.testing.assert_allclose(told.total, inputs.expected("sum"), **LOSS)
    assert told.examples["loss"] == sorted(losses.reshape(-1).astype(float), reverse=True)[: len(told.examples["loss"])]
    shares = [share for name, column in told.classes.items() if name.startswith("share") for share in column]
    if shares:
        np.testing.assert_allclose(sum(shares), 1, rtol=1e-5)
    assert all(len(line) <= 80 for line in str(told).splitlines())
    assert json.loads(json.dumps(told.to_dict()))["loss"] == setting.case.name


@law(options="all", where=lambda case: case.example != "region")
def test_what_an_option_adds_is_what_the_reference_says(setting):
    inputs = setting.draw()
    told = explained(inputs, reduction="sum")
    for name, added in told.added.items():
        want = inputs.expected("sum") - inputs.without(name).expected("sum")
        np.testing.assert_allclose(added, want, rtol=1e-4, atol=2e-5, err_msg=name)
    assert {*told.added} == {*inputs.options} & {
        "class_weights",
        "sample_weights",
        "label_smoothing",
        "z_loss",
        "pos_weight",
    }


@law(options="all")
def test_guessing_costs_what_the_reference_says(setting):
    inputs = setting.draw()
    of_classes = 1 / inputs.x.shape[-1]
    level = {draw_logits: 0.0, draw_log_probs: np.log(of_classes), draw_probs: of_classes}[setting.case.draw_input]
    if setting.case.name == "binary_cross_entropy":
        level = 0.5
    want = inputs.without("bias").expected(x=np.full(inputs.x.shape, level))
    np.testing.assert_allclose(explained(inputs).guess, want, rtol=2e-5)


@law(options="all")
def test_a_summary_in_compiled_code_is_that_of_the_losses(setting):
    inputs = setting.draw()
    losses, total = (inputs.call(reduction=r) for r in ("none", "total"))
    told = jax.jit(lambda x: explained(inputs, Summarized, x=x, top_k=4))(cast(inputs.x))
    np.testing.assert_allclose(told.total.loss, total.loss, **LOSS)
    np.testing.assert_allclose(told.total.weight, total.weight, **LOSS)
    order = np.argsort(-losses.reshape(-1), kind="stable")[:4]
    np.testing.assert_allclose(told.top_losses[: len(order)], losses.reshape(-1)[order], **LOSS)
    assert told.top_indices.tolist() == [*order, -1][:4]
    if told.by_class is not None:
        np.testing.assert_allclose(told.by_class.loss.sum(), total.loss, **LOSS)
        np.testing.assert_allclose(told.by_class.weight.sum(), total.weight, **LOSS)
    where = np.broadcast_to(inputs.options.get("where", np.ones(())).astype(bool), inputs.mask_shape)
    ignored = np.zeros(inputs.mask_shape, bool)
    if inputs.labels.shape == inputs.mask_shape:
        ignored = inputs.labels == inputs.options.get("ignore_index", np.nan)
    assert told.counts["masked"] == np.sum(~where)
    assert told.counts["ignored"] == np.sum(where & ignored)
    assert told.counts["nan"] == told.counts["invalid"] == 0


@law(options="all", where=lambda case: case.example != "region" and "linear" not in case.name)
def test_gradient_norms_are_those_of_the_losses(setting):
    inputs = setting.draw()
    told = explained(inputs, Summarized, top_k=4)
    gradient = np.asarray(jax.grad(lambda x: inputs.call(x=x, reduction="sum"))(cast(inputs.x)), np.float64)
    losses = inputs.call(reduction="none")
    axis = () if gradient.shape == losses.shape else inputs.axis
    norms = np.sqrt(np.sum(gradient**2, axis)).reshape(-1)
    order = np.argsort(-norms, kind="stable")[:4]
    np.testing.assert_allclose(told.top_norms[: len(order)], norms[order], **GRADIENT)
    np.testing.assert_allclose(norms[told.top_norm_indices[: len(order)]], norms[order], **GRADIENT)
