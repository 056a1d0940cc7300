"""Values: the reference's in every dtype, with no option, each alone, and all."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from inputs import HYPERPARAMETERS, IGNORED, PER_CLASS, cast, draw, draw_probs
from law import EXACT, GRADIENT, LOSS, assert_same, gradients, law

import jaxce


@pytest.mark.of_every_loss
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
    """Each reduction by itself outside of `jit`, all in one program inside; the logits are a product in the program.

    A kernel that multiplies and subtracts at once does not round the product, and another kernel does.
    """
    inputs = setting.draw()
    reductions = ("none", "mean") if setting.options else ("none",)
    jitted = jax.jit(lambda x, y: [inputs.call(x=3 * x, labels=y, reduction=r) for r in reductions])
    third, labels = cast(inputs.x) / 3, cast(inputs.labels)
    eager = [inputs.call(x=3 * third, reduction=r) for r in reductions]
    chex.assert_trees_all_close(eager, jitted(third, labels), **LOSS)


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


def has_rows(case):
    """Whether infinite logits are one example's: not those of a region, nor of a product with a kernel."""
    return case.example != "region" and case.name != "linear_cross_entropy"


@law(where=has_rows)
def test_a_weight_of_0_hides_an_infinite_loss(setting):
    """The weight of a sample, and with ids that of its class, in value and gradient."""
    inputs = setting.draw(shape=(4, 5))
    if setting.kind in ("ids", "probs"):
        label = inputs.labels[0] if setting.kind == "ids" else inputs.labels[0].argmax()
        first = np.where(np.arange(5) == label, -np.inf, inputs.x[0])
    elif setting.case.draw_input is draw_probs:
        first = inputs.labels[0] < 0.5
    else:
        first = np.where(inputs.labels[0] > 0.5, -np.inf, np.inf)
    x = np.concatenate([first[None], inputs.x[1:]])
    weights = np.ones(inputs.mask_shape) * (np.arange(4) > 0).reshape(4, *[1] * (len(inputs.mask_shape) - 1))
    hidden = [{"sample_weights": weights}]
    if setting.kind == "ids" and not setting.case.name.endswith("divergence"):  # they weight each class by itself
        hidden.append({"class_weights": np.where(np.arange(5) == label, 0.0, 1.5)})
    calls = [inputs.replace(options={name: cast(a) for name, a in options.items()}) for options in hidden]
    got = jax.jit(lambda x: [jax.value_and_grad(lambda x, d=d: d.call(x=x, reduction="sum"))(x) for d in calls])(
        cast(x)
    )
    for options, (value, gradient) in zip(hidden, got, strict=True):
        rest = {name: a[1:] if name == "sample_weights" else a for name, a in options.items()}
        np.testing.assert_allclose(
            value, inputs.expected("sum", x=inputs.x[1:], labels=inputs.labels[1:], **rest), **LOSS
        )
        np.testing.assert_array_equal(gradient[0], 0)
        assert np.isfinite(gradient).all()


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
