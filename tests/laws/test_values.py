"""Values: the reference's in every dtype, with no option, each alone, and all."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from inputs import HYPERPARAMETERS, IGNORED, PER_CLASS, cast, draw
from law import EXACT, GRADIENT, LOSS, assert_same, gradients, law

import jaxce


@law()
def test_value_is_the_reference(setting, thin):
    drawn = {name: setting.draw(*options) for name, options in setting.choices(thin).items()}
    reductions = {
        name: ("none", "mean", "sum", "total") if len(drawn[name].options) != 1 else ("none", "mean") for name in drawn
    }

    @jax.jit
    def every(xs):
        return {name: [d.call(x=xs[name], reduction=r) for r in reductions[name]] for name, d in drawn.items()}

    got = every({name: cast(d.x) for name, d in drawn.items()})
    for name, d in drawn.items():
        for reduction, value in zip(reductions[name], got[name], strict=True):
            value = (value.loss, value.weight) if reduction == "total" else value
            np.testing.assert_allclose(value, d.expected(reduction), **LOSS, err_msg=f"{name}, {reduction}")


@law(options="all")
def test_float64_is_float64_throughout(setting, x64):
    inputs = setting.draw()
    reductions = ("none", "mean")
    got, gradient = jax.jit(
        lambda x: (
            [inputs.call(x=x, reduction=r, dtype=jnp.float64) for r in reductions],
            jax.grad(lambda x: inputs.call(x=x, dtype=jnp.float64))(x),
        )
    )(cast(inputs.x, jnp.float64))
    assert {a.dtype for a in (*got, gradient)} == {jnp.dtype(jnp.float64)}
    for reduction, value in zip(reductions, got, strict=True):
        np.testing.assert_allclose(value, inputs.expected(reduction), **EXACT)


@law(options="all")
def test_16_bits_are_rounded_once(setting):
    """A float32 loss of the rounded logits, and gradients within 0.6 units in the last place."""
    inputs = setting.draw(shape=(6, 5))
    short = [cast(inputs.x, dtype) for dtype in (jnp.bfloat16, jnp.float16)]
    rounded = [np.asarray(x.astype(jnp.float32), float) for x in short]

    def grad(x, dtype):
        return jax.grad(lambda x: inputs.call(x=x, reduction="sum", dtype=dtype))(x)

    got = jax.jit(lambda xs: [(inputs.call(x=x, reduction="none"), grad(x, jnp.float32)) for x in xs])(short)
    with jax.enable_x64(True):
        want = jax.jit(lambda xs: [grad(x, jnp.float64) for x in xs])(list(map(jnp.asarray, rounded)))
    for x, x64, (loss, gradient), exact in zip(short, rounded, got, want, strict=True):
        assert (loss.dtype, gradient.dtype) == (jnp.float32, x.dtype)
        np.testing.assert_allclose(loss, inputs.expected("none", x=x64), **LOSS)
        finfo, exact = jnp.finfo(x.dtype), np.asarray(exact)
        ulp = float(finfo.eps) * 2.0 ** np.floor(np.log2(np.maximum(np.abs(exact), float(finfo.tiny))))
        assert np.max(np.abs(np.asarray(gradient.astype(jnp.float32), float) - exact) / ulp) <= 0.6


@law()
def test_16_bit_labels_have_their_own_value(setting):
    inputs = setting.draw()
    labels = jnp.asarray(inputs.labels).astype(jnp.bfloat16 if inputs.labels.dtype.kind == "f" else jnp.int16)
    want = np.asarray(labels.astype(jnp.float32), float) if inputs.labels.dtype.kind == "f" else inputs.labels
    np.testing.assert_allclose(inputs.call(labels=labels), inputs.expected(labels=want), **LOSS)


@law(options="all")
def test_numpy_numbers_do_not_widen_the_loss(setting, x64):
    inputs = setting.draw()
    options = {name: np.float64(value) for name, value in inputs.options.items() if name in HYPERPARAMETERS}
    for reduction in ("mean", "none", jaxce.Mean(empty=np.float64(1))):
        shape = jax.eval_shape(lambda x, r=reduction: inputs.call(x=x, reduction=r, **options), cast(inputs.x))
        assert shape.dtype == jnp.float32


@law(options="ends")
def test_jit_is_eager(setting):
    """Each reduction by itself outside of `jit`, all in one program inside."""
    inputs = setting.draw()
    reductions = ("none", "mean") if setting.options else ("none",)
    jitted = jax.jit(lambda x, y: [inputs.call(x=x, labels=y, reduction=r) for r in reductions])
    eager = [inputs.call(reduction=r) for r in reductions]
    chex.assert_trees_all_close(eager, jitted(cast(inputs.x), cast(inputs.labels)), **LOSS)


@law(options="all", where=lambda case: case.shift_invariant)
def test_a_number_added_to_all_logits_changes_nothing(setting):
    inputs = setting.draw().without("z_loss")
    x = np.round(inputs.x * 64) / 64  # exact in float32, also beside 1e4

    @jax.jit
    def both(x):
        return inputs.call(x=x, reduction="none"), jax.grad(lambda x: inputs.call(x=x))(x)

    (shifted, shifted_gradient), (value, gradient) = both(cast(x + 1e4)), both(cast(x))
    np.testing.assert_allclose(shifted, value, **LOSS)
    np.testing.assert_allclose(shifted_gradient, gradient, **GRADIENT)


@law(options="all")
def test_the_order_of_classes_does_not_matter(setting):
    inputs = setting.draw()
    order = np.random.default_rng(0).permutation(inputs.x.shape[-1])
    options = {name: v[order] if name in PER_CLASS else v for name, v in inputs.options.items()}
    if setting.kind == "ids":
        labels = np.where(inputs.labels == IGNORED, IGNORED, np.argsort(order)[inputs.labels.clip(0)])
    else:
        labels = inputs.labels[..., order]
    if setting.case.example == "element":
        shape = inputs.x.shape
        options |= {n: np.broadcast_to(options[n], shape)[..., order] for n in ("where", "sample_weights")}
    other = inputs.replace(labels=labels, options=options)
    permuted, value = jax.jit(lambda a, b: (other.call(x=a), inputs.call(x=b)))(
        cast(inputs.x[..., order]), cast(inputs.x)
    )
    np.testing.assert_allclose(permuted, value, **LOSS)


@pytest.mark.parametrize("case", [c for c in CASES if {"ids", "probs"} <= {*c.labels}], ids=str)
def test_ids_are_one_hot_probabilities(case):
    inputs = draw(case, "ids", tuple(o for o in case.options if o != "ignore_index"))
    one_hot = np.eye(inputs.x.shape[-1])[inputs.labels]

    @jax.jit
    def both(arrays):
        return [
            (
                [inputs.call(**arrays, labels=y, reduction=r) for r in ("none", "mean")],
                gradients(inputs, arrays, labels=y),
            )
            for y in (inputs.labels, one_hot)
        ]

    (values, of_ids), (same, of_one_hot) = both({name: cast(a) for name, a in inputs.arrays.items()})
    assert_same(values, same, LOSS)
    assert_same(of_ids, of_one_hot)
