"""The loss of a linear layer under every transformation, with masks, and with auxiliary outputs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from linear import (
    ARRAYS,
    EVERYTHING,
    IGNORED,
    REDUCTIONS,
    OnesOwn,
    assert_near,
    cast,
    draw,
    expected,
    fused,
    mean_of,
    sum_of,
    value_and_gradients,
    with_gradients,
)

from jaxce import Mean, Sum, Total, linear_cross_entropy


def bends(loss, primals):
    """The Hessian times a random direction, by each order of the modes."""
    rng = np.random.default_rng(2)
    direction = jax.tree.map(lambda v: jnp.asarray(rng.normal(size=v.shape), v.dtype), primals)

    def along(function):
        return lambda primals: jax.jvp(function, (primals,), (direction,))[1]

    def gradient_along(primals):
        return jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, jax.grad(loss)(primals), direction))

    return along(jax.grad(loss))(primals), jax.grad(along(loss))(primals), jax.grad(gradient_along)(primals)


@pytest.mark.parametrize("reduction", ["mean", OnesOwn()], ids=["sums", "each"])
def test_second_derivatives_in_every_order_of_the_modes(reduction, x64):
    primals, fixed = draw(("label_smoothing", "z_loss", "logit_softcap", "where"))
    got = jax.jit(partial(bends, fused(fixed, reduction=reduction, chunk_size=4)))(cast(primals, jnp.float64))
    want = expected(primals, fixed, REDUCTIONS[reduction], lambda *given: bends(*given)[0])
    for bend in got:
        assert_near(bend, want, 1e-12)


def in_microbatches(fixed, primals):
    """The mean of all tokens from the totals of the rows of a batch."""

    def step(total, row):
        hidden, labels, where = row
        loss = fused({"labels": labels, "where": where}, chunk_size=4, reduction="total")
        return total + loss(primals | {"hidden": hidden}), None

    zero = jnp.zeros(())
    rows = primals["hidden"], jnp.asarray(fixed["labels"]), jnp.asarray(fixed["where"])
    return jax.lax.scan(step, Total(zero, zero), rows)[0].mean()


def transposed(function, primals):
    return jax.linear_transpose(function, primals)(jnp.ones(()))


WAYS = {
    "checkpoint": lambda loss, fixed, primals: jax.grad(jax.checkpoint(loss))(primals),
    "forward mode": lambda loss, fixed, primals: jax.jacfwd(loss)(primals),
    "linear_transpose": lambda loss, fixed, primals: transposed(jax.linearize(loss, primals)[1], primals)[0],
    "scan of microbatches": lambda loss, fixed, primals: jax.grad(partial(in_microbatches, fixed))(primals),
}


@pytest.mark.parametrize("way", WAYS)
def test_other_ways_to_the_gradient(way):
    primals, fixed = draw(("bias", "where"))
    got = jax.jit(partial(WAYS[way], fused(fixed, chunk_size=4), fixed))(cast(primals))
    assert_near(got, expected(primals, fixed, mean_of, value_and_gradients)[1])


in_pairs = jax.jit(jax.value_and_grad(partial(linear_cross_entropy, chunk_size=2), (0, 1)))


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (0, 0, None), (None, None, 0), (0, 0, 0)], ids=str)
def test_vmap_is_the_loop(axes):
    draws = [draw((), (5,), seed=seed) for seed in range(3)]
    triples = zip(*((*cast(primals).values(), jnp.asarray(fixed["labels"])) for primals, fixed in draws), strict=True)
    mapped = [jnp.stack(same) if axis == 0 else same[0] for same, axis in zip(triples, axes, strict=True)]
    loop = [in_pairs(*(a[i] if axis == 0 else a for a, axis in zip(mapped, axes, strict=True))) for i in range(3)]
    assert_near(jax.jit(jax.vmap(in_pairs, axes))(*mapped), jax.tree.map(lambda *parts: np.stack(parts), *loop))


@pytest.mark.parametrize(("reduction", "formula"), [(Mean(axis_name="rows"), mean_of), (Sum(axis_name="rows"), sum_of)])
def test_one_divisor_for_all_that_a_mapped_axis_holds(reduction, formula):
    primals, fixed = draw(("where",))

    def loss(primals):
        def row(hidden, labels, where):
            return linear_cross_entropy(
                hidden, primals["kernel"], labels, where=where, chunk_size=4, reduction=reduction
            )

        return jax.vmap(row, axis_name="rows")(primals["hidden"], *map(jnp.asarray, fixed.values()))[0]

    assert_near(jax.jit(partial(with_gradients, loss))(cast(primals)), expected(primals, fixed, formula))


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_export_with_a_symbolic_number_of_tokens(chunk_size):
    primals, fixed = draw((), (14,))
    hidden, kernel, labels = *cast(primals).values(), jnp.asarray(fixed["labels"])
    (tokens,) = jax.export.symbolic_shape("tokens")
    shapes = [jax.ShapeDtypeStruct((tokens, *a.shape[1:]), a.dtype) for a in (hidden, labels)]
    function = jax.jit(jax.value_and_grad(partial(linear_cross_entropy, chunk_size=chunk_size), (0, 1)))
    got = jax.export.export(function)(shapes[0], kernel, shapes[1]).call(hidden, kernel, labels)
    assert_near(got, function(hidden, kernel, labels))


def test_export_with_a_symbolic_number_of_classes():
    primals, fixed = draw((), (14,))
    hidden, kernel, labels = *cast(primals).values(), jnp.asarray(fixed["labels"])
    tokens, classes = jax.export.symbolic_shape("tokens, classes")
    shapes = [(tokens, *hidden.shape[1:]), (kernel.shape[0], classes), (tokens,)]
    given = [jax.ShapeDtypeStruct(s, a.dtype) for s, a in zip(shapes, (hidden, kernel, labels), strict=True)]
    function = jax.jit(partial(linear_cross_entropy, chunk_size=4))
    got = jax.export.export(function)(*given).call(hidden, kernel, labels)
    assert_near(got, function(hidden, kernel, labels))


PRODUCTS = {("bias",): 1, ("hidden",): 2, ("kernel",): 2, ("hidden", "kernel", "bias"): 3}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("primals", PRODUCTS, ids="+".join)
def test_what_is_frozen_costs_nothing(primals, reduction, mode):
    """One product for the value and one for each gradient; with no reduction, one more to go back to the logits."""
    given, fixed = draw(("bias",))
    given = cast(given)

    def loss(part):
        return fused(fixed, chunk_size=4, reduction=reduction)(given | part).sum()

    function = jax.value_and_grad(loss) if mode == "reverse" else lambda part: jax.jvp(loss, (part,), (part,))
    text = jax.jit(function).lower({n: given[n] for n in primals}).as_text()
    assert text.count("dot_general") == PRODUCTS[primals] + (reduction == "none" and mode == "reverse")
    assert jax.jit(loss).lower({}).as_text().count("dot_general") == 1


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_masked_tokens_may_hold_anything(reduction):
    primals, fixed = draw(EVERYTHING)
    want = expected(primals, fixed, REDUCTIONS[reduction])
    hidden = ~fixed["where"] | (fixed["labels"] == IGNORED)
    fixed["labels"] = np.where(fixed["where"], fixed["labels"], 77)
    function = jax.jit(partial(with_gradients, fused(fixed, reduction=reduction, chunk_size=4)))
    for value in (np.nan, np.inf, 3e38):
        primals["hidden"][hidden] = primals["sample_weights"][hidden] = value
        got = function(cast(primals))
        assert_near(got, want)
        np.testing.assert_array_equal(got[1]["hidden"][hidden], 0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_masked_tokens_may_move_anywhere(reduction):
    """A network that made a NaN has NaN as its tangent, too."""
    primals, fixed = draw(("sample_weights", "where"))

    @jax.jit
    def along(primals, there):
        steps = {"sample_weights": fixed["where"], "hidden": fixed["where"][..., None] | np.zeros((2, 7, 4), bool)}
        tangent = {n: jnp.where(steps.get(n, True), jnp.ones_like(a), there) for n, a in primals.items()}
        return jax.jvp(fused(fixed, reduction=reduction, chunk_size=4), (primals,), (tangent,))[1]

    assert_near(along(cast(primals), jnp.nan), along(cast(primals), 0))


def test_nothing_left():
    primals, fixed = draw(ARRAYS)
    primals["hidden"][:] = np.nan
    fixed["where"] = np.zeros((2, 7), bool)
    value, gradients = jax.jit(jax.value_and_grad(fused(fixed, reduction=Mean(empty=2), chunk_size=4)))(cast(primals))
    assert value == 2
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape), err_msg=name)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_traced_ids_and_an_invalid_one(reduction):
    primals, fixed = draw(ARRAYS)

    def traced(primals, labels):
        return with_gradients(fused({"labels": labels}, reduction=reduction, chunk_size=4), primals)

    traced = jax.jit(traced)
    assert_near(traced(cast(primals), fixed["labels"]), expected(primals, fixed, REDUCTIONS[reduction]))
    fixed["labels"][1, 3] = 7
    value, gradients = traced(cast(primals), fixed["labels"])
    assert np.isnan(value).sum() == 1
    assert np.isnan(gradients.pop("hidden")).any(-1).sum() == 1
    assert all(np.isnan(gradient).any() for gradient in gradients.values())
    with pytest.raises(ValueError, match=r"labels: 1 of \d+ ids is outside \[0, 7\); first: id 7 at position \(1, 3\)"):
        fused(fixed, reduction=reduction)(cast(primals))


def test_small_unsigned_ids_do_not_wrap():
    primals, fixed = draw((), classes=200)
    ids = fixed["labels"] % 60 + 140
    ids[0, 0] = 156  # -100 in eight bits
    want = linear_cross_entropy(**cast(primals), labels=ids)
    assert linear_cross_entropy(**cast(primals), labels=ids.astype(np.uint8), ignore_index=IGNORED) == want


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_auxiliary_outputs(reduction):
    """``log_z``, the likeliest class and the entropy, and no word of them in the gradients."""
    primals, fixed = draw(("bias", "logit_softcap", "where", "ignore_index"))

    def loss(primals):
        value, aux = fused(fixed, has_aux=True, reduction=reduction, chunk_size=4)(primals)
        return value.sum() + jnp.sum(aux.log_z + aux.entropy), aux

    gradients, aux = jax.jit(jax.grad(loss, has_aux=True))(cast(primals))
    formula = mean_of if reduction == "mean" else sum_of
    assert_near(gradients, expected(primals, fixed, formula, value_and_gradients)[1])
    x = primals["hidden"] @ primals["kernel"]
    x = reference.linear_logits(x, bias=primals["bias"], logit_softcap=primals["logit_softcap"])
    log_z = np.log(np.exp(x).sum(-1))
    entropy = log_z - (np.exp(x - log_z[..., None]) * x).sum(-1)
    kept = fixed["where"] & (fixed["labels"] != IGNORED)
    assert_near(aux, [np.where(kept, a, 0) for a in (log_z, x.argmax(-1), entropy, 0 * log_z)])
    assert_near(fused(fixed, has_aux=True, reduction=reduction, chunk_size=4)(cast(primals))[1], aux)
