"""Shapes: any axis, any rank, any batch, mapped or looped over, whole or in parts."""

import jax
import jax.numpy as jnp
import numpy as np
from inputs import cast
from law import GRADIENT, LOSS, assert_same, law

import jaxce


@law(options="all", where=lambda case: case.any_axis)
def test_any_axis_is_moveaxis(setting):
    last = setting.draw()

    def moved_to(axis):
        def move(v):
            return np.moveaxis(v, -1, axis)

        labels = move(last.labels) if last.labels.shape == last.x.shape else last.labels
        options = dict(last.options)
        if setting.case.example == "element":
            options |= {n: move(np.broadcast_to(options[n], last.x.shape)) for n in ("where", "sample_weights")}
        return last.replace(x=move(last.x), labels=labels, options=options, axis=axis)

    axes = (-1, 0, 1, -2)
    every = [moved_to(axis) for axis in axes]
    run = jax.jit(
        lambda xs: [jax.value_and_grad(lambda x, d=d: d.call(x=x))(x) for d, x in zip(every, xs, strict=True)]
    )
    (value, gradient), *others = run([cast(d.x) for d in every])
    for axis, (other, other_gradient) in zip(axes[1:], others, strict=True):
        np.testing.assert_allclose(other, value, **LOSS, err_msg=f"axis {axis}")
        np.testing.assert_allclose(np.moveaxis(other_gradient, axis, -1), gradient, **GRADIENT, err_msg=f"axis {axis}")


@law()
def test_any_rank_from_a_single_example_up(setting):
    shapes = [(5,), (3, 5), (2, 3, 5), (2, 1, 3, 5), (2, 1, 2, 1, 5), (2, 3, 1)]
    if setting.case.example == "region":
        shapes = [(1, *shape) for shape in shapes]
    every, names = [setting.draw(shape=shape) for shape in shapes], ("none", "mean")
    run = jax.jit(lambda xs: [[d.call(x=x, reduction=r) for r in names] for d, x in zip(every, xs, strict=True)])
    for inputs, got in zip(every, run([cast(d.x) for d in every]), strict=True):
        assert [value.shape for value in got] == [inputs.loss_shape, ()]
        for name, value in zip(names, got, strict=True):
            np.testing.assert_allclose(value, inputs.expected(name), **LOSS, err_msg=f"{inputs.x.shape}, {name}")


@law(where=lambda case: case.example != "region")
def test_vmap_is_the_batch_is_the_loop(setting):
    inputs = setting.draw()

    def one(x, y):
        return inputs.call(x=x, labels=y, reduction="none")

    def gradient(x, y):
        return jax.grad(lambda x: one(x, y).sum())(x)

    @jax.jit
    def every(x, y):
        loop = jnp.stack([one(x[i], y[i]) for i in range(len(x))])
        return (one(x, y), jax.vmap(one)(x, y), loop), (gradient(x, y), jax.vmap(gradient)(x, y))

    losses, gradients = every(cast(inputs.x), jnp.asarray(cast(inputs.labels)))
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], **LOSS)
    np.testing.assert_allclose(gradients[1], gradients[0], **GRADIENT)


@law(options="all")
def test_microbatches_add_up(setting):
    """In value and gradient, where the divisor comes last."""
    inputs = setting.draw(shape=(8, 5))
    per_example = {name: inputs.options[name] for name in ("where", "sample_weights")}

    def part(rows):
        options = inputs.options | {name: array[rows] for name, array in per_example.items()}
        return inputs.replace(x=inputs.x[rows], labels=inputs.labels[rows], options=options)

    def total(part, x):
        def loss(x):
            total = part.call(x=x, reduction="total")
            return total.loss, total

        return jax.grad(loss, has_aux=True)(x)

    @jax.jit
    def every(x):
        gradients, totals = zip(*[total(part(rows), x[rows]) for rows in (slice(0, 3), slice(3, 8))], strict=True)
        whole = sum(totals)
        return jax.value_and_grad(lambda x: inputs.call(x=x))(x), (
            whole.mean(),
            jnp.concatenate(gradients) / whole.weight,
        )

    (value, gradient), (mean, of_parts) = every(cast(inputs.x))
    np.testing.assert_allclose(mean, value, **LOSS)
    np.testing.assert_allclose(of_parts, gradient, **GRADIENT)


@law(where=lambda case: case.example != "region")
def test_weights_are_repetition(setting):
    inputs = setting.draw(shape=(4, 5))
    times = np.array([0, 1, 2, 3])
    weights = times.astype(float) if setting.case.example == "row" else times[:, None].astype(float)
    repeated = inputs.replace(x=inputs.x.repeat(times, 0), labels=inputs.labels.repeat(times, 0))
    weighted = [inputs.replace(options={"sample_weights": scale * weights}) for scale in (1.0, 0.5, 8.0)]
    got = jax.jit(lambda xs: [d.call(x=x) for d, x in zip((repeated, *weighted), xs, strict=True)])(
        [cast(d.x) for d in (repeated, *weighted)]
    )
    np.testing.assert_allclose(got[1:], [got[0]] * 3, **LOSS)


@law()
def test_an_empty_batch_and_an_empty_mask_have_no_loss_and_no_gradient(setting):
    full = setting.draw(shape=(3, 5))
    every = [setting.draw(shape=(0, 5)), full.replace(options={"where": np.zeros(full.mask_shape, bool)})]
    every += [setting.draw(shape=shape) for shape in ((0,), (2, 0)) if setting.case.example == "element"]
    nan = jaxce.Mean(empty=np.nan)

    def outputs(inputs, x):
        values = [inputs.call(x=x, reduction=r) for r in ("mean", "sum", "none", nan)]
        return values, [jax.grad(lambda x, r=r: inputs.call(x=x, reduction=r))(x) for r in ("mean", nan)]

    run = jax.jit(lambda xs: [outputs(d, x) for d, x in zip(every, xs, strict=True)])
    for inputs, (values, gradients) in zip(every, run([cast(d.x) for d in every]), strict=True):
        mean, total, none, empty = values
        assert (mean, total) == (0, 0)
        assert np.isnan(empty)
        np.testing.assert_array_equal(none, np.zeros(inputs.loss_shape))
        assert_same(gradients, [np.zeros(inputs.x.shape)] * 2, {"rtol": 0, "atol": 0})
