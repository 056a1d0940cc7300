"""Accounts of a loss: the value is the loss itself, and the parts add up to it."""

import dataclasses
import functools
import json

import numpy as np
from cases import Case
from law import LOSS, law

import jaxce


@dataclasses.dataclass(frozen=True)
class Explained(Case):
    """A row of the table whose loss is `explain` of its loss."""

    @property
    def loss(self):
        return functools.partial(jaxce.explain, super().loss)

    def __str__(self):
        return "explained"


def explained(inputs, **options):
    fields = {f.name: getattr(inputs.case, f.name) for f in dataclasses.fields(inputs.case)}
    return inputs.replace(case=Explained(**fields)).call(**options)


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
