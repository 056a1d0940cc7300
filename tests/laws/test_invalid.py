"""Invalid values of any argument: an error where they are concrete, NaN where they are traced, an error by `debug`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import HYPERPARAMETERS, PER_CLASS, cast
from law import law, planted_at

import jaxce

OUT_OF_RANGE = -3.0
"""Below the range of every hyperparameter."""


def invalid_arguments(inputs):
    """Arguments with one invalid value each, by the name of the argument; the value belongs to a valid example."""
    position = planted_at(inputs)
    if "labels" in inputs.arrays and inputs.case.name != "entropy":
        for value in (-1.5, 1.5, np.nan):
            labels = inputs.labels.copy()
            labels[position] = value
            yield "labels", {"labels": labels}
    for name in (*PER_CLASS, "sample_weights"):
        if name in inputs.options and name != "bias":
            for value in (-1.0, np.nan):
                yield name, {name: np.full_like(inputs.options[name], value)}
    for name in inputs.options:
        if name in HYPERPARAMETERS:
            yield name, {name: OUT_OF_RANGE}


@law("all", where=lambda case: case.options)
def test_an_invalid_value_is_loud(setting):
    inputs = setting.draw()
    traced = {n: v for n, v in inputs.options.items() if n != "ignore_index"}
    valid = {"x": inputs.x, "labels": inputs.labels, **traced}
    valid = {
        name: cast(jnp.asarray(value, float) if isinstance(value, float | int) else value)
        for name, value in valid.items()
    }

    def total(arguments):
        return jnp.sum(inputs.call(**arguments, reduction="none"))

    compiled, debugged = (jax.jit(jax.value_and_grad(total, allow_int=True)) for _ in range(2))
    assert np.isfinite(compiled(valid)[0])
    with jaxce.debug():
        debugged(valid)
    for name, changed in invalid_arguments(inputs):
        arguments = valid | {n: jnp.asarray(v, jnp.float32) for n, v in changed.items()}
        with pytest.raises(ValueError, match=f"^{name}: ") as error:
            total(arguments)
        for derivative in (jax.grad, jax.jacfwd):
            with pytest.raises(ValueError, match=f"^{name}: ") as of_derivative:
                derivative(lambda value, name=name, rest=arguments: total(rest | {name: value}))(arguments[name])
            assert str(of_derivative.value) == str(error.value)
        value, gradient = compiled(arguments)
        assert np.isnan(value), changed
        assert np.isnan(gradient["x"]).any(), changed
        with pytest.raises(ValueError, match=f"^{name}: ") as of_debug, jaxce.debug():
            debugged(arguments)
        assert str(of_debug.value) == str(error.value)
