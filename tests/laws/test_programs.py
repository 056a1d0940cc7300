"""Programs: one trace for all values, and exports with a symbolic batch."""

import math

import chex
import jax
import jax.numpy as jnp
from cases import CASES
from inputs import cast, draw
from law import GRADIENT, LOSS, law


@law()
def test_one_trace_serves_all_values(setting):
    chex.clear_trace_counter()
    first, second = setting.draw(seed=0), setting.draw(seed=1)
    traced = jax.jit(chex.assert_max_traces(lambda x, y: first.call(x=x, labels=y), n=1))
    for inputs in (first, second):
        traced(cast(inputs.x), cast(jnp.asarray(inputs.labels)))


@law(options="all")
def test_export_with_a_symbolic_batch(setting):
    inputs = setting.draw(shape=(6, 5)).without("where", "sample_weights")
    (batch,) = jax.export.symbolic_shape("batch")
    x, y = cast(inputs.x), jnp.asarray(cast(inputs.labels))
    function = jax.jit(jax.value_and_grad(lambda x, y: inputs.call(x=x, labels=y)))
    shapes = [jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype) for a in (x, y)]
    chex.assert_trees_all_close(jax.export.export(function)(*shapes).call(x, y), function(x, y), **GRADIENT)


def test_the_tolerance_sees_one_part_in_100000():
    inputs = draw(CASES[0], "ids")
    assert not math.isclose(float(inputs.call()) * (1 + 1e-5), float(inputs.expected()), rel_tol=LOSS["rtol"])
