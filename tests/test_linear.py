"""The loss of a linear layer: the formula with its logits written out, in value and in every gradient.

Errors are relative to the largest number of each array, and at most 2e-6 in float32 and 1e-12 in float64.
"""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from jax.scipy.special import logsumexp

from jaxce import Mean, Sum, Total, linear_cross_entropy

IGNORED = -100
ARRAYS = ("bias", "class_weights", "sample_weights", "label_smoothing", "z_loss", "logit_scale", "logit_softcap")
EVERYTHING = (*ARRAYS, "where", "ignore_index")


def draw(options=(), tokens=(2, 7), classes=7, features=4, spread=1.0, seed=0):
    """The arguments with a derivative and the others, by name: float64 values that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    moving = {
        "hidden": spread * rng.normal(size=(*tokens, features)),
        "kernel": rng.normal(size=(features, classes)),
        "bias": spread * rng.normal(size=classes),
        "class_weights": rng.uniform(0.5, 2, classes),
        "sample_weights": rng.uniform(0.5, 2, tokens),
        "label_smoothing": 0.125,
        "z_loss": 0.0625,
        "logit_scale": 0.75,
        "logit_softcap": 3.0,
    }
    ids = rng.integers(0, classes, tokens)
    fixed = {"labels": ids, "where": rng.permutation(np.arange(ids.size) % 3 > 0).reshape(tokens)}
    if "ignore_index" in options:
        ids.flat[::5] = IGNORED
        fixed["ignore_index"] = IGNORED
    moving = {n: np.float32(v).astype(float) for n, v in moving.items() if n in ("hidden", "kernel", *options)}
    return moving, {n: v for n, v in fixed.items() if n in ("labels", *options)}


def cast(moving, dtype=jnp.float32):
    return {n: jnp.asarray(v, dtype) for n, v in moving.items()}


def fused(fixed, kernel_layout="dv", **how):
    """The library's loss as a function of what moves, where kernels are ``[features, classes]``."""

    def loss(moving):
        kernel = moving["kernel"] if kernel_layout == "dv" else moving["kernel"].T
        return linear_cross_entropy(**moving | {"kernel": kernel}, **fixed, kernel_layout=kernel_layout, **how)

    return loss


def dense(fixed, reduce):
    """The same by the formula, with the logits at hand."""

    def loss(moving):
        given = {"label_smoothing": 0.0, "z_loss": 0.0, "logit_scale": 1.0, "sample_weights": 1.0} | moving
        kept = fixed.get("where", True) & (fixed["labels"] != fixed.get("ignore_index"))
        ids, classes = np.where(kept, fixed["labels"], 0), given["kernel"].shape[1]
        x = given["logit_scale"] * (given["hidden"] @ given["kernel"] + given.get("bias", 0.0))
        if "logit_softcap" in given:
            x = given["logit_softcap"] * jnp.tanh(x / given["logit_softcap"])
        log_z, w = logsumexp(x, -1), given.get("class_weights", jnp.ones(classes))
        surprise, eps = log_z[..., None] - x, given["label_smoothing"]
        label = jnp.take_along_axis(surprise, ids[..., None], -1)[..., 0]
        values = (1 - eps) * w[ids] * label + eps / classes * (w * surprise).sum(-1)
        values += w[ids] * given["z_loss"] * log_z**2
        return reduce(*(jnp.where(kept, given["sample_weights"] * a, 0) for a in (values, w[ids])))

    return loss


def with_slopes(loss, moving):
    """The value, and the gradients for a random cotangent of each of its numbers."""
    value, pull = jax.vjp(loss, moving)
    rng = np.random.default_rng(1)
    return value, pull(jax.tree.map(lambda v: jnp.asarray(np.float32(rng.normal(size=v.shape)), v.dtype), value))[0]


def expected(moving, fixed, reduce, function=with_slopes):
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        return jax.device_get(jax.jit(partial(function, dense(fixed, reduce)))(cast(moving, jnp.float64)))


def assert_near(got, want, tolerance=2e-6):
    """A slope along a scalar is a difference of sums as large as the value, the first leaf: so may its error be."""
    first, *_ = leaves = jax.tree.leaves(want)
    for (path, a), b in zip(jax.tree.leaves_with_path(got), leaves, strict=True):
        largest = np.max(np.abs(b if np.ndim(b) else np.append(first, b)), initial=0)
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(np.asarray(a, float), b, rtol=0, atol=tolerance * largest, err_msg=name)


def value_and_slopes(loss, moving):
    return jax.value_and_grad(loss)(moving)


def values_of(values, weights):
    return values


def sum_of(values, weights):
    return values.sum()


def mean_of(values, weights, axis=None):
    return values.sum(axis) / weights.sum(axis)


def total_of(values, weights):
    return Total(values.sum(), weights.sum())


def of_ones_own(values, weights):
    return (values**2).sum() + (values * weights).max()


class OnesOwn(Mean):
    """A mean in name only: a subclass may need more than the sums."""

    def __call__(self, values, weights):
        return of_ones_own(values, weights)


REDUCTIONS = {
    "mean": mean_of,
    "sum": sum_of,
    "none": values_of,
    "total": total_of,
    Mean(): mean_of,
    Sum(): sum_of,
    Mean(axis=-1): partial(mean_of, axis=-1),
    OnesOwn(): of_ones_own,
}

FACTORS = {name: 15 - i for i, name in enumerate((*EVERYTHING, "vd"))}
"""An orthogonal array: an option is on in those of 16 runs that have an odd number of bits in common with its factor.

Any two options meet in all four combinations, and the first eight are on and off under each reduction.
"""


def options_of(run):
    return [name for name, factor in FACTORS.items() if (run & factor).bit_count() % 2]


@pytest.mark.parametrize("run", range(16), ids=lambda run: "+".join(options_of(run)) or "plain")
def test_value_and_every_gradient_are_those_of_the_formula(run):
    on = options_of(run)
    reduction, formula = list(REDUCTIONS.items())[run % 8]
    moving, fixed = draw(on, tokens=((14,), (2, 7), (1, 2, 7))[run % 3])
    loss = fused(fixed, "vd" if "vd" in on else "dv", reduction=reduction, chunk_size=(4, 5, None, 1, 99)[run % 5])
    assert_near(jax.jit(partial(with_slopes, loss))(cast(moving)), expected(moving, fixed, formula))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_everything_in_float64(reduction, x64):
    moving, fixed = draw(EVERYTHING)
    got = jax.jit(partial(with_slopes, fused(fixed, reduction=reduction, chunk_size=4)))(cast(moving, jnp.float64))
    assert_near(got, expected(moving, fixed, REDUCTIONS[reduction]), 1e-12)


def test_the_formula_is_the_reference():
    moving, fixed = draw(EVERYTHING)
    product = moving["hidden"] @ moving["kernel"]
    options = {n: v for n, v in (moving | fixed).items() if n not in ("hidden", "kernel")}
    want = reference.linear_cross_entropy(product, options.pop("labels"), **options)
    assert_near(expected(moving, fixed, lambda *both: both)[0], want, 1e-12)


SIZES = [
    ((), 7, None),
    ((0,), 7, None),
    ((3, 0), 7, 2),
    ((3,), 7, 8),
    ((7,), 7, 1),
    ((7,), 1, 3),
    ((601,), 7, None),
    ((5,), 8192, 2),
]


@pytest.mark.parametrize("reduction", ["total", "none"])
@pytest.mark.parametrize(("tokens", "classes", "chunk_size"), SIZES)
def test_any_number_of_tokens_and_classes_in_chunks_of_any_size(tokens, classes, chunk_size, reduction):
    moving, fixed = draw((), tokens, classes)
    got = jax.jit(partial(with_slopes, fused(fixed, reduction=reduction, chunk_size=chunk_size)))(cast(moving))
    assert_near(got, expected(moving, fixed, REDUCTIONS[reduction]))


@pytest.mark.parametrize(("chunk_size", "size"), {1: 1, 4: 4, 5: 5, 13: 7, 14: 14, 99: 14}.items())
def test_no_more_tokens_at_a_time_than_are_asked_for(chunk_size, size):
    """The chunks are as even as can be, and no other array has a row of logits."""
    moving, fixed = draw((), features=3)
    text = jax.jit(jax.grad(fused(fixed, chunk_size=chunk_size))).lower(cast(moving)).as_text()
    assert {int(rows) for rows in re.findall(r"tensor<(\d+)x7xf32>", text)} == {3, size}


@pytest.mark.parametrize(("classes", "kernel_layout"), [(2049, "dv"), (9001, "dv"), (9001, "vd")])
def test_no_logit_is_made_up_where_no_block_divides_the_classes(classes, kernel_layout):
    """What tokamax 0.0.17 does: each padded class counts exp(0), which small logits show (8.643 for 8.170)."""
    moving, fixed = draw(("bias",), (5,), classes, spread=2**-6)
    got = jax.jit(partial(with_slopes, fused(fixed, kernel_layout, chunk_size=2)))(cast(moving))
    assert_near(got, expected(moving, fixed, mean_of))


def test_the_cotangent_reaches_every_gradient():
    """MaxText until August 2026: that of the hidden states was left out, which inflated what lies below them."""
    moving, fixed = draw(EVERYTHING)

    def slopes(moving):
        _, pull = jax.vjp(fused(fixed, chunk_size=4), moving)
        return pull(jnp.float32(1))[0], pull(jnp.float32(3))[0]

    once, thrice = jax.jit(slopes)(cast(moving))
    assert_near(thrice, jax.tree.map(lambda slope: 3 * np.asarray(slope, float), once))


def test_each_token_has_a_cotangent_of_its_own():
    """Liger #1298: with no reduction, the gradient of the kernel cannot be rescaled once it is summed."""
    moving, fixed = draw(())
    cotangent, h = np.zeros((2, 7)), moving["hidden"]
    cotangent[1, 2], cotangent[0, 3] = 1, -2
    p = np.exp(h @ moving["kernel"])
    row = p / p.sum(-1, keepdims=True) - np.eye(7)[fixed["labels"]]
    _, pull = jax.vjp(fused(fixed, chunk_size=4, reduction="none"), cast(moving))
    want = h[1, 2, :, None] * row[1, 2] - 2 * h[0, 3, :, None] * row[0, 3]
    assert_near(pull(jnp.float32(cotangent))[0]["kernel"], want)


def test_the_slope_of_a_softcap():
    """Levanter's last release left out its factor ``1 - tanh(z / cap)**2``."""
    moving, fixed = draw(("logit_softcap",), (3,))
    capped = np.tanh(moving["hidden"] @ moving["kernel"] / 3)
    p = np.exp(3 * capped)
    row = (p / p.sum(-1, keepdims=True) - np.eye(7)[fixed["labels"]]) * (1 - capped**2)
    got = jax.jit(jax.grad(fused(fixed, reduction="sum")))(cast(moving))
    assert_near((got["hidden"], got["kernel"]), (row @ moving["kernel"].T, moving["hidden"].T @ row))


@pytest.mark.parametrize("options", [(), ("logit_scale",), ("logit_softcap",)], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_closed_class_is_not_there(reduction, options):
    """Unsloth #10616: a softcap made ``-cap`` of ``-inf``. A scale does not open the class either."""
    moving, fixed = draw(("bias", "z_loss", "where", *options), classes=6)
    closed = moving | {n: np.pad(moving[n], [(0, 0)] * (moving[n].ndim - 1) + [(0, 1)]) for n in ("kernel", "bias")}
    closed["kernel"][:, 6], closed["bias"][6] = 5, -np.inf
    value, slopes = jax.jit(partial(with_slopes, fused(fixed, reduction=reduction, chunk_size=4)))(cast(closed))
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(slopes[name][..., 6], 0)
        slopes[name] = slopes[name][..., :6]
    assert_near((value, slopes), expected(moving, fixed, REDUCTIONS[reduction]))


def test_a_closed_label_costs_infinity():
    moving, fixed = draw(("bias",))
    moving["bias"][fixed["labels"][0, 0]] = -np.inf
    value, slopes = jax.jit(jax.value_and_grad(fused(fixed)))(cast(moving))
    assert value == np.inf
    assert all(np.isfinite(slope).all() for slope in slopes.values())


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(
    ("hidden", "kernel"),
    [("bfloat16", "bfloat16"), ("float16", "float16"), ("bfloat16", "float32"), ("float32", "float16")],
)
def test_sixteen_bits(hidden, kernel, reduction):
    """The loss is rounded as in float32; gradients of 16 bits twice, as slopes of the logits and by themselves."""
    moving, fixed = draw(("bias", "where"), (5, 7), classes=33)
    dtypes = {"hidden": hidden, "kernel": kernel}
    given = {n: jnp.asarray(v, dtypes.get(n, "float32")) for n, v in moving.items()}
    rounded = {n: np.asarray(v, float) for n, v in given.items()}
    value, slopes = jax.jit(partial(with_slopes, fused(fixed, reduction=reduction, chunk_size=4)))(given)
    want = expected(rounded, fixed, REDUCTIONS[reduction])
    assert value.dtype == jnp.float32
    assert {n: a.dtype for n, a in slopes.items()} == {n: a.dtype for n, a in given.items()}
    assert_near(value, want[0])
    for name, slope in slopes.items():
        assert_near(slope, want[1][name], max(2e-6, float(jnp.finfo(slope.dtype).eps)))


def test_sixteen_bits_of_many_tokens_do_not_underflow():
    """PyTorch's notes: 1 / 131,072 is no normal float16, so the division by the number of tokens comes last."""
    moving, fixed = draw((), (2**17,), classes=3, features=2)
    value, slopes = jax.jit(jax.value_and_grad(fused(fixed)))(cast(moving, jnp.float16))
    rounded = {n: np.asarray(v, float) for n, v in cast(moving, jnp.float16).items()}
    want, want_slopes = expected(rounded, fixed, mean_of, value_and_slopes)
    assert_near(value, want)
    assert_near(slopes["kernel"], want_slopes["kernel"], 2**-11)
    np.testing.assert_allclose(np.asarray(slopes["hidden"], float), want_slopes["hidden"], rtol=2**-10, atol=2**-24)


@pytest.mark.parametrize("reduction", ["mean", mean_of], ids=["sums", "each"])
def test_the_gradient_of_a_kernel_of_16_bits_is_summed_in_float32(reduction):
    """Liger #512: summed in bfloat16 over 128 chunks, it is off by 1.5 percent, and training diverges."""
    moving, fixed = draw((), (4096,), classes=256, features=16)
    given = cast(moving, jnp.bfloat16)
    rounded = {n: np.asarray(v, float) for n, v in given.items()}
    want = expected(rounded, fixed, mean_of, value_and_slopes)[1]["kernel"]

    def naive(moving):
        logits = jnp.dot(moving["hidden"], moving["kernel"], preferred_element_type=jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, fixed["labels"]).mean()

    def error(loss):
        return np.linalg.norm(np.asarray(jax.jit(jax.grad(loss))(given)["kernel"], float) - want)

    assert error(fused(fixed, reduction=reduction, chunk_size=32)) <= 1.1 * error(naive)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_products_of_16_bits_have_no_factor_in_float32(reduction):
    """Marin #8368: a float32 slope of the logits makes the two products of the gradients twice as slow."""
    moving, fixed = draw(("bias",))

    def loss(moving):
        return fused(fixed, reduction=reduction, chunk_size=4)(moving).sum()

    text = jax.jit(jax.value_and_grad(loss)).lower(cast(moving, jnp.bfloat16)).as_text()
    factors = re.findall(r"dot_general .* : \(tensor<\w+x(\w+)>, tensor<\w+x(\w+)>\)", text)
    assert factors == [("bf16", "bf16")] * (3 + (reduction == "none"))


def bends(loss, moving):
    """The Hessian times a random direction, by each order of the modes."""
    rng = np.random.default_rng(2)
    direction = jax.tree.map(lambda v: jnp.asarray(rng.normal(size=v.shape), v.dtype), moving)

    def along(function):
        return lambda moving: jax.jvp(function, (moving,), (direction,))[1]

    def slope_along(moving):
        return jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, jax.grad(loss)(moving), direction))

    return along(jax.grad(loss))(moving), jax.grad(along(loss))(moving), jax.grad(slope_along)(moving)


@pytest.mark.parametrize("reduction", ["mean", OnesOwn()], ids=["sums", "each"])
def test_second_derivatives_in_every_order_of_the_modes(reduction, x64):
    moving, fixed = draw(("label_smoothing", "z_loss", "logit_softcap", "where"))
    got = jax.jit(partial(bends, fused(fixed, reduction=reduction, chunk_size=4)))(cast(moving, jnp.float64))
    want = expected(moving, fixed, REDUCTIONS[reduction], lambda *given: bends(*given)[0])
    for bend in got:
        assert_near(bend, want, 1e-12)


def in_microbatches(fixed, moving):
    """The mean of all tokens from the totals of the rows of a batch."""

    def step(total, row):
        hidden, labels, where = row
        loss = fused({"labels": labels, "where": where}, chunk_size=4, reduction="total")
        return total + loss(moving | {"hidden": hidden}), None

    zero = jnp.zeros(())
    rows = moving["hidden"], jnp.asarray(fixed["labels"]), jnp.asarray(fixed["where"])
    return jax.lax.scan(step, Total(zero, zero), rows)[0].mean()


def transposed(function, moving):
    return jax.linear_transpose(function, moving)(jnp.ones(()))


WAYS = {
    "checkpoint": lambda loss, fixed, moving: jax.grad(jax.checkpoint(loss))(moving),
    "forward mode": lambda loss, fixed, moving: jax.jacfwd(loss)(moving),
    "linear_transpose": lambda loss, fixed, moving: transposed(jax.linearize(loss, moving)[1], moving)[0],
    "scan of microbatches": lambda loss, fixed, moving: jax.grad(partial(in_microbatches, fixed))(moving),
}


@pytest.mark.parametrize("way", WAYS)
def test_other_ways_to_the_gradient(way):
    moving, fixed = draw(("bias", "where"))
    got = jax.jit(partial(WAYS[way], fused(fixed, chunk_size=4), fixed))(cast(moving))
    assert_near(got, expected(moving, fixed, mean_of, value_and_slopes)[1])


in_pairs = jax.jit(jax.value_and_grad(partial(linear_cross_entropy, chunk_size=2), (0, 1)))


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (0, 0, None), (None, None, 0), (0, 0, 0)], ids=str)
def test_vmap_is_the_loop(axes):
    draws = [draw((), (5,), seed=seed) for seed in range(3)]
    triples = zip(*((*cast(moving).values(), jnp.asarray(fixed["labels"])) for moving, fixed in draws), strict=True)
    mapped = [jnp.stack(same) if axis == 0 else same[0] for same, axis in zip(triples, axes, strict=True)]
    loop = [in_pairs(*(a[i] if axis == 0 else a for a, axis in zip(mapped, axes, strict=True))) for i in range(3)]
    assert_near(jax.jit(jax.vmap(in_pairs, axes))(*mapped), jax.tree.map(lambda *parts: np.stack(parts), *loop))


@pytest.mark.parametrize(("reduction", "formula"), [(Mean(axis_name="rows"), mean_of), (Sum(axis_name="rows"), sum_of)])
def test_one_divisor_for_all_that_a_mapped_axis_holds(reduction, formula):
    moving, fixed = draw(("where",))

    def loss(moving):
        def row(hidden, labels, where):
            return linear_cross_entropy(
                hidden, moving["kernel"], labels, where=where, chunk_size=4, reduction=reduction
            )

        return jax.vmap(row, axis_name="rows")(moving["hidden"], *map(jnp.asarray, fixed.values()))[0]

    assert_near(jax.jit(partial(with_slopes, loss))(cast(moving)), expected(moving, fixed, formula))


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_export_with_a_symbolic_number_of_tokens(chunk_size):
    moving, fixed = draw((), (14,))
    hidden, kernel, labels = *cast(moving).values(), jnp.asarray(fixed["labels"])
    (tokens,) = jax.export.symbolic_shape("tokens")
    shapes = [jax.ShapeDtypeStruct((tokens, *a.shape[1:]), a.dtype) for a in (hidden, labels)]
    function = jax.jit(jax.value_and_grad(partial(linear_cross_entropy, chunk_size=chunk_size), (0, 1)))
    got = jax.export.export(function)(shapes[0], kernel, shapes[1]).call(hidden, kernel, labels)
    assert_near(got, function(hidden, kernel, labels))


PRODUCTS = {("bias",): 1, ("hidden",): 2, ("kernel",): 2, ("hidden", "kernel", "bias"): 3}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("moving", PRODUCTS, ids="+".join)
def test_what_is_frozen_costs_nothing(moving, reduction, mode):
    """One product for the value and one for each slope; with no reduction, one more to go back to the logits."""
    given, fixed = draw(("bias",))
    given = cast(given)

    def loss(part):
        return fused(fixed, chunk_size=4, reduction=reduction)(given | part).sum()

    function = jax.value_and_grad(loss) if mode == "reverse" else lambda part: jax.jvp(loss, (part,), (part,))
    text = jax.jit(function).lower({n: given[n] for n in moving}).as_text()
    assert text.count("dot_general") == PRODUCTS[moving] + (reduction == "none" and mode == "reverse")
    assert jax.jit(loss).lower({}).as_text().count("dot_general") == 1


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_masked_tokens_may_hold_anything(reduction):
    moving, fixed = draw(EVERYTHING)
    want = expected(moving, fixed, REDUCTIONS[reduction])
    hidden = ~fixed["where"] | (fixed["labels"] == IGNORED)
    fixed["labels"] = np.where(fixed["where"], fixed["labels"], 77)
    function = jax.jit(partial(with_slopes, fused(fixed, reduction=reduction, chunk_size=4)))
    for value in (np.nan, np.inf, 3e38):
        moving["hidden"][hidden] = moving["sample_weights"][hidden] = value
        got = function(cast(moving))
        assert_near(got, want)
        np.testing.assert_array_equal(got[1]["hidden"][hidden], 0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_masked_tokens_may_move_anywhere(reduction):
    """A network that made a NaN has NaN as its tangent, too."""
    moving, fixed = draw(("sample_weights", "where"))

    @jax.jit
    def along(moving, there):
        steps = {"sample_weights": fixed["where"], "hidden": fixed["where"][..., None] | np.zeros((2, 7, 4), bool)}
        tangent = {n: jnp.where(steps.get(n, True), jnp.ones_like(a), there) for n, a in moving.items()}
        return jax.jvp(fused(fixed, reduction=reduction, chunk_size=4), (moving,), (tangent,))[1]

    assert_near(along(cast(moving), jnp.nan), along(cast(moving), 0))


def test_nothing_left():
    moving, fixed = draw(ARRAYS)
    moving["hidden"][:] = np.nan
    fixed["where"] = np.zeros((2, 7), bool)
    value, slopes = jax.jit(jax.value_and_grad(fused(fixed, reduction=Mean(empty=2), chunk_size=4)))(cast(moving))
    assert value == 2
    for name, slope in slopes.items():
        np.testing.assert_array_equal(slope, np.zeros(slope.shape), err_msg=name)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_ids_of_a_trace_and_one_that_cannot_be_read(reduction):
    moving, fixed = draw(ARRAYS)

    def traced(moving, labels):
        return with_slopes(fused({"labels": labels}, reduction=reduction, chunk_size=4), moving)

    traced = jax.jit(traced)
    assert_near(traced(cast(moving), fixed["labels"]), expected(moving, fixed, REDUCTIONS[reduction]))
    fixed["labels"][1, 3] = 7
    value, slopes = traced(cast(moving), fixed["labels"])
    assert np.isnan(value).sum() == 1
    assert np.isnan(slopes.pop("hidden")).any(-1).sum() == 1
    assert all(np.isnan(slope).any() for slope in slopes.values())
    with pytest.raises(ValueError, match=r"labels: id 7 at position \(1, 3\) is outside \[0, 7\)"):
        fused(fixed, reduction=reduction)(cast(moving))


def test_small_unsigned_ids_do_not_wrap():
    moving, fixed = draw((), classes=200)
    ids = fixed["labels"] % 60 + 140
    ids[0, 0] = 156  # -100 in eight bits
    want = linear_cross_entropy(**cast(moving), labels=ids)
    assert linear_cross_entropy(**cast(moving), labels=ids.astype(np.uint8), ignore_index=IGNORED) == want


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_what_is_told_of_the_logits(reduction):
    """``log_z``, the likeliest class and the entropy, and no word of them in the gradients."""
    moving, fixed = draw(("bias", "logit_softcap", "where", "ignore_index"))

    def loss(moving):
        value, aux = fused(fixed, has_aux=True, reduction=reduction, chunk_size=4)(moving)
        return value.sum() + jnp.sum(aux.log_z + aux.entropy), aux

    slopes, aux = jax.jit(jax.grad(loss, has_aux=True))(cast(moving))
    formula = mean_of if reduction == "mean" else sum_of
    assert_near(slopes, expected(moving, fixed, formula, value_and_slopes)[1])
    x = moving["hidden"] @ moving["kernel"]
    x = reference.linear_logits(x, bias=moving["bias"], logit_softcap=moving["logit_softcap"])
    log_z = np.log(np.exp(x).sum(-1))
    entropy = log_z - (np.exp(x - log_z[..., None]) * x).sum(-1)
    kept = fixed["where"] & (fixed["labels"] != IGNORED)
    assert_near(aux, [np.where(kept, a, 0) for a in (log_z, x.argmax(-1), entropy)])
    assert_near(fused(fixed, has_aux=True, reduction=reduction, chunk_size=4)(cast(moving))[1], aux)
