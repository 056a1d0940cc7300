"""Class ids out of range: an error where they are concrete, NaN under a trace, and a name by `checkify`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from inputs import cast, draw
from jax.experimental import checkify
from law import LOSS, with_ids

BAD = np.arange(4) == 2
"""The example with the invalid id."""


@with_ids
def test_an_invalid_id_is_nan_in_value_and_gradient(case):
    """Of its row, and of all that the rows share; a mask or `ignore_index` makes it valid."""
    inputs = draw(case, "ids", shape=(4, 5))
    weights = np.linspace(1, 2, 5).astype(np.float32)
    scalars = [name for name in ("label_smoothing", "z_loss", "gamma") if name in case.options]

    def loss(x, y, **options):
        return inputs.call(x=x, labels=y, reduction="none", **options)

    @jax.jit
    def every(x, y):
        plain = (loss(x, y), jax.grad(lambda x: loss(x, y).sum())(x))
        shared = {name: jnp.float32(0.5) for name in scalars} | {"class_weights": weights}
        weighted = jax.grad(lambda x, shared: loss(x, y, **shared).sum(), (0, 1))(x, shared)
        accepted = loss(x, y, where=~BAD), loss(x, y, ignore_index=77)
        return plain, loss(x, y, class_weights=weights), weighted, inputs.call(x=x, labels=y), accepted

    x, rows = cast(inputs.x), np.broadcast_to(BAD[:, None], (4, 5))
    for bad in (-1, -100, 5, 77):
        y = np.where(BAD, bad, inputs.labels)
        with pytest.raises(
            ValueError, match=rf"labels: 1 of 4 ids is outside \[0, 5\); first: id {bad} at position \(2,\)"
        ):
            loss(x, y)
        (values, of_x), weighted, (of_weighted, shared), mean, (masked, ignored) = every(x, jnp.asarray(y))
        for losses, gradient in ((values, of_x), (weighted, of_weighted)):
            np.testing.assert_array_equal(np.isnan(losses), BAD)
            np.testing.assert_array_equal(np.isnan(gradient), rows)
        assert np.isnan(mean)
        assert all(np.isnan(gradient).any() for gradient in shared.values()), shared
        assert np.isfinite(masked).all()
        assert ignored[2] == 0 if bad == 77 else np.isnan(ignored[2])


@with_ids
def test_concrete_ids_raise_under_a_trace_of_the_logits(case):
    inputs = draw(case, "ids", shape=(4, 5))
    inputs.labels[2] = 9
    for options in ({}, {"where": np.array([True, True, True, False])}, {"ignore_index": 1}):
        for transform in (jax.jit, jax.grad):
            with pytest.raises(ValueError, match="id 9"):
                transform(lambda x, o=options: inputs.call(x=x, **o))(cast(inputs.x))


@pytest.mark.parametrize("case", [case for case in CASES if case.checks_index], ids=str)
def test_checkify_names_an_id_outside_the_range(case):
    inputs = draw(case, "ids", shape=(4, 5))
    gradient = jax.grad(lambda x, y: inputs.call(x=x, labels=y))
    checked = jax.jit(checkify.checkify(gradient, errors=checkify.index_checks))
    x, y = cast(inputs.x), jnp.asarray(inputs.labels)
    assert checked(x, y)[0].get() is None
    for bad in (5, -3, 2**31 - 1):
        assert f"index {bad} is out of bounds for axis 0 with size 5" in checked(x, y.at[1].set(bad))[0].get()


@with_ids
def test_export_with_symbolic_classes(case):
    inputs = draw(case, "ids", shape=(4, 5))
    rows, classes = jax.export.symbolic_shape("rows, classes")
    shapes = jax.ShapeDtypeStruct((rows, classes), jnp.float32), jax.ShapeDtypeStruct((rows,), jnp.int32)
    exported = jax.export.export(jax.jit(lambda x, y: inputs.call(x=x, labels=y)))(*shapes)
    got = exported.call(cast(inputs.x), jnp.asarray(inputs.labels, jnp.int32))
    np.testing.assert_allclose(got, inputs.expected(), **LOSS)
