"""The laws: what every public loss obeys, with every kind of label and option it has.

Tolerances: float64 1e-12; float32 2e-6 relative on losses and 2e-5 on gradients; 16-bit gradients 0.6 units in the
last place.
"""

import inspect
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cases import CASES, HYPERPARAMETERS, IGNORED, PER_CLASS, ROWS, cast, draw, option_sets
from jax.experimental import checkify
from jax.flatten_util import ravel_pytree

import jaxce

EVERY_KIND = (
    *("cross_entropy", "nll_loss", "sigmoid_binary_cross_entropy", "binary_cross_entropy"),
    *("focal_loss", "dice_loss", "lovasz_hinge"),
)
"""One of those that read their labels alike, for laws that hold for all kinds if for one; numbers are of them all."""

LOSS = {"rtol": 2e-6, "atol": 1e-6}
SLOPE = {"rtol": 2e-5, "atol": 2e-6}
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def rows_where(applies):
    """Every loss for which the law can be meant with its first kind of label, those of `EVERY_KIND` with every kind."""
    chosen = [(c, k) for c, k in ROWS if applies(c) and (c.name in EVERY_KIND or k == c.label_kinds[0])]
    return pytest.mark.parametrize(("case", "kind"), chosen, ids=[f"{c.name}-{k}" for c, k in chosen])


rows = rows_where(lambda case: True)
in_blocks = rows_where(lambda case: case.name in ("cross_entropy", "linear_cross_entropy", "nll_loss"))
"""What looks at rows in ways of its own on one CPU; the others are built on it, or have none."""

grid = pytest.mark.parametrize(
    ("case", "kind", "options"),
    [(c, k, o) for c, k in ROWS for o in option_sets(c, k)],
    ids=lambda v: getattr(v, "name", None) or ("+".join(v) or "plain" if isinstance(v, tuple) else v),
)
ends = pytest.mark.parametrize(
    ("case", "kind", "options"),
    [(c, k, o) for c, k in ROWS for o in ((), c.allowed(k)) if o or c.name in EVERY_KIND],
    ids=lambda v: getattr(v, "name", None) or (("everything" if v else "plain") if isinstance(v, tuple) else v),
)
over_ids = pytest.mark.parametrize("case", [c for c in CASES if "ids" in c.label_kinds], ids=lambda c: c.name)


def everything(case, kind):
    return case.allowed(kind)


def slope_of(sample, name="x", reduction="mean", dtype=jnp.float32, **changed):
    """The gradient with respect to one argument."""

    def loss(value):
        given = {name: value} if name in ("x", "labels") else {}
        return sample.call(
            **given, **(changed if given else {**changed, name: value}), reduction=reduction, dtype=dtype
        )

    return jax.jit(jax.grad(loss))(cast(sample.moving[name], dtype))


def slopes_of(sample, dtype=jnp.float32):
    """The gradients with respect to every argument that has one, by name."""
    arrays = {name: cast(value, dtype) for name, value in sample.moving.items()}
    return jax.jit(jax.grad(lambda arrays: sample.call(**arrays, dtype=dtype)))(arrays)


def assert_same_slopes(got, want):
    for name in want:
        np.testing.assert_allclose(got[name], want[name], **SLOPE, err_msg=name)


def test_every_public_loss_has_a_row():
    losses = {
        name
        for name in jaxce.__all__
        if inspect.isfunction(f := getattr(jaxce, name))
        and "reduction" in (names := inspect.signature(f).parameters)
        and {"axis", "hidden"} & set(names)
    }
    assert losses == {case.name for case in CASES}


def test_every_keyword_is_in_its_row():
    for case in CASES:
        keywords = {n for n, p in inspect.signature(case.loss).parameters.items() if p.kind is p.KEYWORD_ONLY}
        assert ("axis" in keywords) == case.any_axis, case.name
        assert keywords - {"axis", "reduction", "class_axis_name"} == {*case.options, *case.elsewhere}, case.name


@grid
def test_value_is_the_reference(case, kind, options):
    sample = draw(case, kind, options)
    names = ("none", "sum", "mean", "total")
    got = jax.jit(lambda x: {name: sample.call(x=x, reduction=name) for name in names})(cast(sample.x, jnp.float32))
    for name in names:
        value = (got[name].loss, got[name].weight) if name == "total" else got[name]
        np.testing.assert_allclose(value, sample.expected(name), **LOSS, err_msg=name)


@grid
def test_every_gradient_is_the_reference_in_float64(case, kind, options, x64):
    sample = draw(case, kind, options, shape=(2, 2, 4))
    cotangent = np.random.default_rng(1).normal(size=sample.examples)
    names = list(sample.moving)

    def weighed(*arrays):
        changed = dict(zip(names, arrays, strict=True))
        return (cotangent * sample.expected("none", **changed)).sum()

    def loss(arrays):
        return (cotangent * sample.call(**arrays, reduction="none", dtype=jnp.float64)).sum()

    got = jax.jit(jax.grad(loss))({k: jnp.asarray(v) for k, v in sample.moving.items()})
    for name, want in zip(names, reference.slopes(weighed, list(sample.moving.values())), strict=True):
        np.testing.assert_allclose(got[name], want, rtol=1e-7, atol=1e-8, err_msg=name)


@ends
def test_every_gradient_in_float32_is_the_one_in_float64(case, kind, options):
    sample = draw(case, kind, options)
    with jax.enable_x64(True):
        want = slopes_of(sample, jnp.float64)
    assert_same_slopes(slopes_of(sample), want)


@rows
def test_float64_is_float64_throughout(case, kind, x64):
    sample = draw(case, kind, everything(case, kind))
    for reduction in ("none", "mean"):
        got = sample.call(reduction=reduction, dtype=jnp.float64)
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, sample.expected(reduction), **EXACT)
    assert slope_of(sample, dtype=jnp.float64).dtype == jnp.float64


@rows
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
def test_sixteen_bits_lose_only_their_own_rounding(case, kind, dtype):
    sample = draw(case, kind, everything(case, kind), shape=(6, 5))
    x = jnp.asarray(sample.x).astype(dtype)
    loss, got = jax.jit(
        lambda x: (sample.call(x=x, reduction="none"), jax.grad(lambda x: sample.call(x=x, reduction="sum"))(x))
    )(x)
    assert loss.dtype == jnp.float32
    rounded = np.asarray(x.astype(jnp.float32), float)
    np.testing.assert_allclose(loss, sample.expected("none", x=rounded), **LOSS)
    assert got.dtype == dtype
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda x: sample.call(x=x, reduction="sum", dtype=jnp.float64)))
        want = slope(jnp.asarray(rounded))
    want = np.asarray(want)
    ulp = 2.0 ** np.floor(np.log2(np.maximum(np.abs(want), float(jnp.finfo(dtype).tiny)))) * float(jnp.finfo(dtype).eps)
    assert np.max(np.abs(np.asarray(got.astype(jnp.float32), float) - want) / ulp) <= 0.6


@rows
def test_sixteen_bit_labels_count_as_they_are(case, kind):
    sample = draw(case, kind)
    if sample.labels.dtype.kind != "f":
        labels, want = jnp.asarray(sample.labels).astype(jnp.int16), sample.labels
    else:
        labels = jnp.asarray(sample.labels).astype(jnp.bfloat16)
        want = np.asarray(labels.astype(jnp.float32), float)
    np.testing.assert_allclose(sample.call(labels=labels), sample.expected(labels=want), **LOSS)


@ends
def test_jit_is_eager(case, kind, options):
    sample = draw(case, kind, options)
    for reduction in ("none", "mean"):
        eager = sample.call(reduction=reduction)
        jitted = jax.jit(lambda x, y, r=reduction: sample.call(x=x, labels=y, reduction=r))
        chex.assert_trees_all_close(
            eager, jitted(cast(sample.x, jnp.float32), cast(sample.labels, jnp.float32)), **LOSS
        )


@rows
def test_one_trace_serves_all_values(case, kind):
    chex.clear_trace_counter()
    first, second = draw(case, kind, seed=0), draw(case, kind, seed=1)
    traced = jax.jit(chex.assert_max_traces(lambda x, y: first.call(x=x, labels=y), n=1))
    for sample in (first, second):
        traced(cast(sample.x, jnp.float32), cast(jnp.asarray(sample.labels), jnp.float32))


@rows_where(lambda case: case.family != "region")
def test_vmap_is_the_batch_is_the_loop(case, kind):
    sample = draw(case, kind)
    x, y = cast(sample.x, jnp.float32), jnp.asarray(sample.labels)
    y = cast(np.asarray(y, float), jnp.float32) if sample.labels.dtype.kind == "f" else y
    whole = sample.call(reduction="none")

    def one(x, y):
        return sample.call(x=x, labels=y, reduction="none")

    np.testing.assert_allclose(jax.vmap(one)(x, y), whole, **LOSS)
    np.testing.assert_allclose(jnp.stack([one(x[i], y[i]) for i in range(len(x))]), whole, **LOSS)
    slopes = jax.vmap(jax.grad(lambda x, y: one(x, y).sum()))(x, y)
    np.testing.assert_allclose(slopes, jax.grad(lambda x: one(x, y).sum())(x), **SLOPE)


@rows_where(lambda case: case.any_axis)
@pytest.mark.parametrize("axis", [0, 1, -2])
def test_any_axis_is_moveaxis(case, kind, axis):
    last = draw(case, kind, everything(case, kind))

    def moved(v):
        return np.moveaxis(v, -1, axis)

    full = last.labels.shape == last.x.shape
    options = dict(last.options)
    if case.family == "element":
        options |= {
            k: moved(np.broadcast_to(options[k], last.x.shape)) for k in ("where", "sample_weights") if k in options
        }
    there = type(last)(case, moved(last.x), moved(last.labels) if full else last.labels, options, axis)
    value, slope, wanted, last_slope = jax.jit(
        lambda a, b: (
            *jax.value_and_grad(lambda x: there.call(x=x))(a),
            *jax.value_and_grad(lambda x: last.call(x=x))(b),
        )
    )(cast(there.x, jnp.float32), cast(last.x, jnp.float32))
    np.testing.assert_allclose(value, wanted, **LOSS)
    np.testing.assert_allclose(slope, moved(last_slope), **SLOPE)


@rows
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 1, 3, 5), (2, 1, 2, 1, 5), (2, 3, 1)])
def test_any_rank_from_a_single_example_up(case, kind, shape):
    shape = (1, *shape) if case.family == "region" else shape
    sample = draw(case, kind, (), shape)
    names = ("none", "mean")
    got = jax.jit(lambda x: [sample.call(x=x, reduction=name) for name in names])(cast(sample.x, jnp.float32))
    assert [value.shape for value in got] == [sample.examples, ()]
    for name, value in zip(names, got, strict=True):
        np.testing.assert_allclose(value, sample.expected(name), **LOSS)


@pytest.mark.parametrize("case", [c for c in CASES if {"ids", "probs"} <= {*c.label_kinds}], ids=lambda c: c.name)
def test_ids_are_one_hot_probabilities(case):
    options = tuple(o for o in case.options if o != "ignore_index")
    sample = draw(case, "ids", options)
    one_hot = np.eye(sample.x.shape[-1])[sample.labels]
    for reduction in ("none", "mean"):
        same = sample.call(labels=cast(one_hot, jnp.float32), reduction=reduction)
        np.testing.assert_allclose(sample.call(reduction=reduction), same, **LOSS)
    np.testing.assert_allclose(slope_of(sample), slope_of(sample, labels=one_hot), **SLOPE)
    weights = [slope_of(sample, "class_weights", labels=labels) for labels in (sample.labels, one_hot)]
    np.testing.assert_allclose(*weights, **SLOPE)


@rows_where(lambda case: case.shifts)
def test_a_common_offset_changes_nothing(case, kind):
    sample = draw(case, kind, tuple(o for o in everything(case, kind) if o != "z_loss"))
    x = np.round(sample.x * 64) / 64  # exact in float32, also beside 1e4
    moved = sample.call(x=cast(x + 1e4, jnp.float32), reduction="none")
    np.testing.assert_allclose(moved, sample.call(x=x, reduction="none"), **LOSS)
    np.testing.assert_allclose(
        slope_of(type(sample)(case, x + 1e4, *_rest(sample))), slope_of(type(sample)(case, x, *_rest(sample))), **SLOPE
    )


def _rest(sample):
    return sample.labels, sample.options, sample.axis


@rows
def test_the_order_of_classes_does_not_matter(case, kind):
    sample = draw(case, kind, everything(case, kind))
    order = np.random.default_rng(0).permutation(sample.x.shape[-1])
    options = {k: v[order] if k in PER_CLASS else v for k, v in sample.options.items()}
    labels = sample.labels[..., order] if sample.labels.shape == sample.x.shape else sample.labels
    if kind == "ids":
        labels = np.where(labels == IGNORED, IGNORED, np.argsort(order)[labels.clip(0)])
    if case.family == "element":
        options |= {k: np.broadcast_to(options[k], sample.x.shape)[..., order] for k in ("where", "sample_weights")}
    other = type(sample)(case, sample.x[..., order], labels, options, -1)
    np.testing.assert_allclose(other.call(), sample.call(), **LOSS)


@rows
def test_forward_mode_is_reverse_mode(case, kind):
    sample = draw(case, kind, everything(case, kind), shape=(2, 3))
    for name in sample.moving:
        value = cast(sample.moving[name], jnp.float32)

        def call(v, name=name):
            return sample.call(**{name: v}, reduction="none")

        forward, reverse = jax.jit(jax.jacfwd(call))(value), jax.jit(jax.jacrev(call))(value)
        np.testing.assert_allclose(forward, reverse, **SLOPE, err_msg=name)


@rows
def test_the_hessian_is_symmetric_and_the_slope_of_the_gradient(case, kind, x64):
    sample = draw(case, kind, everything(case, kind), shape=(2, 3))
    arrays = {k: jnp.asarray(v) for k, v in sample.moving.items()}
    flat, unravel = ravel_pytree(arrays)

    def loss(v):
        return sample.call(**unravel(v), dtype=jnp.float64)

    gradient = jax.grad(loss)

    def along(v, t):
        """The Hessian along a direction, by every order of the modes."""
        return (
            jax.jvp(gradient, (v,), (t,))[1],
            jax.grad(lambda v: jax.jvp(loss, (v,), (t,))[1])(v),
            jax.grad(lambda v: gradient(v) @ t)(v),
        )

    def twice(v, s, t):
        return jax.jvp(lambda v: jax.jvp(loss, (v,), (s,))[1], (v,), (t,))[1]

    def differences(v):
        return jax.vmap(lambda e: (gradient(v + e) - gradient(v - e)) / 2e-6)(1e-6 * np.eye(flat.size))

    s, t = np.random.default_rng(0).normal(size=(2, flat.size))
    every = jax.jit(lambda v, s, t: (along(v, t), twice(v, s, t), jax.jacfwd(gradient)(v), differences(v)))
    (forward_over_reverse, *others), pushed_twice, hessian, columns = every(flat, s, t)
    for other in others:
        np.testing.assert_allclose(other, forward_over_reverse, **EXACT)
    np.testing.assert_allclose(forward_over_reverse @ s, pushed_twice, **EXACT)
    np.testing.assert_allclose(hessian @ t, forward_over_reverse, **EXACT)
    np.testing.assert_allclose(hessian, hessian.T, **EXACT)
    np.testing.assert_allclose(hessian, columns, rtol=1e-6, atol=1e-8)


@rows
def test_other_transformations(case, kind):
    sample = draw(case, kind, everything(case, kind))
    x = cast(sample.x, jnp.float32)

    def loss(x):
        return sample.call(x=x)

    def scanned(x):
        return jax.lax.scan(lambda total, _: (total + loss(x) / 3, None), jnp.float32(0), None, length=3)[0]

    @jax.jit
    def every(x):
        _, pushed = jax.linearize(loss, x)
        transposed = jax.linear_transpose(pushed, x)(jnp.float32(1))[0]
        return jax.grad(loss)(x), jax.grad(jax.checkpoint(loss))(x), jax.grad(scanned)(x), transposed

    want, *others = every(x)
    for other in (*others, jax.grad(jax.jit(loss))(x)):
        np.testing.assert_allclose(other, want, **SLOPE)


@rows
def test_export_with_a_symbolic_batch(case, kind):
    options = tuple(o for o in everything(case, kind) if o not in ("where", "sample_weights"))
    sample = draw(case, kind, options, shape=(6, 5))
    (batch,) = jax.export.symbolic_shape("batch")
    x, y = cast(sample.x, jnp.float32), jnp.asarray(cast(sample.labels, jnp.float32))
    function = jax.jit(jax.value_and_grad(lambda x, y: sample.call(x=x, labels=y)))
    shapes = [jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype) for a in (x, y)]
    chex.assert_trees_all_close(jax.export.export(function)(*shapes).call(x, y), function(x, y), **SLOPE)


def planted(sample, value):
    """The sample with `value` in every masked logit and masked label, and the mask over the examples."""
    keep = np.broadcast_to(sample.options["where"], sample.masked)
    full = np.broadcast_to(keep[..., None], sample.x.shape) if sample.case.family != "element" else keep
    labels = sample.labels
    shown = full if labels.shape == full.shape else keep
    labels = np.where(shown, labels, value if labels.dtype.kind == "f" else 77)
    return type(sample)(sample.case, np.where(full, sample.x, value), labels, sample.options, -1), full


@rows
def test_what_is_masked_is_not_there(case, kind):
    clean = draw(case, kind, ("class_weights", "where"))
    _, keep = planted(clean, np.nan)
    tangent = jnp.where(keep, 1.0, jnp.nan)  # as a network gives it that made the planted value

    @jax.jit
    def every(x, labels):
        arrays = {n: cast(v, jnp.float32) for n, v in clean.moving.items()} | {"x": x}
        arrays |= {"labels": labels} if "labels" in arrays else {}
        fixed = {} if "labels" in arrays else {"labels": labels}

        def loss(arrays, reduction="mean"):
            return clean.call(**arrays, **fixed, reduction=reduction)

        pushed = jax.jvp(lambda x: loss(arrays | {"x": x}), (x,), (tangent,))[1]
        return loss(arrays, "none"), loss(arrays), jax.grad(loss)(arrays), pushed

    def outputs(sample):
        return every(cast(sample.x, jnp.float32), jnp.asarray(cast(sample.labels, jnp.float32)))

    values, mean, slopes, _ = outputs(clean)
    for poison in (np.nan, np.inf, -np.inf):
        dirty, _ = planted(clean, poison)
        got_values, got_mean, got_slopes, pushed = outputs(dirty)
        np.testing.assert_allclose(got_values, values, **LOSS)
        np.testing.assert_allclose(got_mean, mean, **LOSS)
        assert_same_slopes(got_slopes, slopes)
        for name in {"x", "labels"} & set(slopes):
            np.testing.assert_array_equal(got_slopes[name][~keep], 0.0)
        np.testing.assert_allclose(pushed, jnp.sum(jnp.where(keep, slopes["x"], 0)), **SLOPE)
    np.testing.assert_allclose(planted(clean, np.nan)[0].call(), mean, **LOSS)


@rows
def test_what_is_masked_may_be_nan_under_debug_nans(case, kind):
    dirty, _ = planted(draw(case, kind, ("class_weights", "where")), np.nan)
    x, labels = cast(dirty.x, jnp.float32), cast(dirty.labels, jnp.float32)

    def loss(x):
        return dirty.call(x=x, labels=labels)

    with jax.debug_nans(True):
        for function in (loss, jax.grad(loss), jax.jit(loss), jax.jit(jax.grad(loss))):
            assert np.all(np.isfinite(function(x)))


@rows
def test_nan_that_is_not_masked_is_told(case, kind):
    sample = draw(case, kind, shape=(4, 5))
    for name in {"x", "labels"} & set(sample.moving) - ({"labels"} if case.name == "entropy" else set()):
        value = np.array(sample.moving[name])
        value[2] = np.nan
        told = jax.jit(lambda v, n=name: sample.call(**{n: v}, reduction="none"))(cast(value, jnp.float32))
        np.testing.assert_array_equal(np.isnan(told).reshape(4, -1).any(-1), np.arange(4) == 2, err_msg=name)


@rows
def test_masked_is_removed(case, kind):
    sample = draw(case, kind, ("class_weights", "where"), shape=(12, 5))
    keep = sample.options["where"] if case.family != "element" else np.arange(12) % 3 != 1
    where = keep if case.family != "element" else np.broadcast_to(keep[:, None], (12, 5))
    masked = sample.call(where=where)
    options = {k: v for k, v in sample.options.items() if k == "class_weights"}
    removed = type(sample)(case, sample.x[keep], sample.labels[keep], options, -1)
    np.testing.assert_allclose(masked, removed.call(), **LOSS)


@rows_where(lambda case: case.family != "region")
def test_weights_are_repetition(case, kind):
    sample = draw(case, kind, shape=(4, 5))
    times = np.array([0, 1, 2, 3])
    weights = times.astype(float) if case.family != "element" else times[:, None].astype(float)
    repeated = type(sample)(case, sample.x.repeat(times, 0), sample.labels.repeat(times, 0), {}, -1)
    np.testing.assert_allclose(sample.call(sample_weights=weights), repeated.call(), **LOSS)
    for scale in (0.5, 8.0):
        np.testing.assert_allclose(sample.call(sample_weights=scale * weights), repeated.call(), **LOSS)


@rows
def test_microbatches_add_up(case, kind):
    sample = draw(case, kind, everything(case, kind), shape=(8, 5))
    per_example = {"where", "sample_weights"}

    def part(rows):
        options = {k: v[rows] if k in per_example else v for k, v in sample.options.items()}
        return type(sample)(case, sample.x[rows], sample.labels[rows], options, -1)

    def total_and_slope(part):
        def loss(x):
            total = part.call(x=x, reduction="total")
            return total.loss, total

        return jax.jit(jax.grad(loss, has_aux=True))(cast(part.x, jnp.float32))

    slopes, totals = zip(*[total_and_slope(part(slice(*ends))) for ends in ((0, 3), (3, 8))], strict=True)
    total = sum(totals)
    np.testing.assert_allclose(total.mean(), sample.call(), **LOSS)
    np.testing.assert_allclose(jnp.concatenate(slopes) / total.weight, slope_of(sample), **SLOPE)


@rows
def test_an_empty_batch_and_a_mask_of_everything(case, kind):
    empty = draw(case, kind, (), shape=(0, 5))
    full = draw(case, kind, (), shape=(3, 5))
    nothing = np.zeros(full.examples, bool)
    flat = [draw(case, kind, (), shape) for shape in ((0,), (2, 0)) if case.family == "element"]
    for sample, changed in ((empty, {}), (full, {"where": nothing}), *((s, {}) for s in flat)):
        assert sample.call(**changed) == 0
        assert np.isnan(sample.call(**changed, reduction=jaxce.Mean(empty=np.nan)))
        assert sample.call(**changed, reduction="sum") == 0
        assert sample.call(**changed, reduction="none").shape == sample.examples
        for reduction in ("mean", jaxce.Mean(empty=np.nan)):
            np.testing.assert_array_equal(slope_of(sample, reduction=reduction, **changed), np.zeros(sample.x.shape))


@over_ids
def test_an_id_outside_the_range_is_loud(case):
    sample = draw(case, "ids", shape=(4, 5))
    x, fine = cast(sample.x, jnp.float32), sample.labels
    weights = np.linspace(1, 2, 5)
    scalars = [n for n in ("label_smoothing", "z_loss", "gamma") if n in case.options]

    def loss(x, y, **options):
        return sample.call(x=x, labels=y, reduction="none", **options)

    @jax.jit
    def every(x, y):
        """Losses, their gradients, the mean, the gradients along what the loss shares, and what a mask makes of it."""
        rows = [(o, loss(x, y, **o)) for o in ({}, {"class_weights": weights})]
        slopes = [jax.grad(lambda x, o=o: loss(x, y, **o).sum())(x) for o, _ in rows]
        along = {n: jax.grad(lambda v, n=n: loss(x, y, **{n: v}).sum())(jnp.float32(0.5)) for n in scalars}
        along["class_weights"] = jax.grad(lambda v: loss(x, y, class_weights=v).sum())(jnp.float32(weights))
        masked = loss(x, y, where=np.arange(4) != 2)
        return [values for _, values in rows], slopes, sample.call(x=x, labels=y), along, masked

    for bad in (-1, -100, 5, 77):
        y = np.where(np.arange(4) == 2, bad, fine)
        with pytest.raises(ValueError, match=rf"labels: id {bad} at position \(2,\) is outside \[0, 5\)"):
            loss(x, y)
        values, slopes, mean, along, masked = every(x, jnp.asarray(y))
        for value, slope in zip(values, slopes, strict=True):
            np.testing.assert_array_equal(np.isnan(value), np.arange(4) == 2)
            np.testing.assert_array_equal(np.isnan(slope), (np.arange(4) == 2)[:, None] | np.zeros((4, 5), bool))
        assert np.isnan(mean)
        for name, slope in along.items():
            assert np.isnan(slope).any(), name
        assert np.isfinite(masked).all()
    with pytest.raises(ValueError, match="is outside"):
        jax.grad(lambda x: sample.call(x=x, labels=y))(x)
    allowed = jax.jit(lambda x, y: loss(x, y, ignore_index=77))(x, jnp.asarray(y))
    assert np.isfinite(allowed).all()
    assert allowed[2] == 0


@pytest.mark.parametrize("case", [c for c in CASES if c.looks_up], ids=lambda c: c.name)
def test_checkify_names_an_id_outside_the_range(case):
    sample = draw(case, "ids", shape=(4, 5))
    checked = jax.jit(
        checkify.checkify(jax.grad(lambda x, y: sample.call(x=x, labels=y)), errors=checkify.index_checks)
    )
    x, y = cast(sample.x, jnp.float32), jnp.asarray(sample.labels)
    assert checked(x, y)[0].get() is None
    for bad in (5, -3, 2**31 - 1):
        assert f"index {bad} is out of bounds for axis 0 with size 5" in checked(x, y.at[1].set(bad))[0].get()


@over_ids
def test_labels_at_hand_are_looked_at_under_a_trace_of_the_logits(case):
    sample = draw(case, "ids", shape=(4, 5))
    sample.labels[2] = 9
    keep = np.array([True, True, True, False])
    for options in ({}, {"where": keep}, {"ignore_index": 1}):
        with pytest.raises(ValueError, match="id 9"):
            jax.jit(lambda x, o=options: sample.call(x=x, **o))(cast(sample.x, jnp.float32))


@over_ids
def test_export_with_symbolic_classes(case):
    sample = draw(case, "ids", shape=(4, 5))
    rows, classes = jax.export.symbolic_shape("rows, classes")
    shapes = jax.ShapeDtypeStruct((rows, classes), jnp.float32), jax.ShapeDtypeStruct((rows,), jnp.int32)
    exported = jax.export.export(jax.jit(lambda x, y: sample.call(x=x, labels=y)))(*shapes)
    got = exported.call(cast(sample.x, jnp.float32), jnp.asarray(sample.labels, jnp.int32))
    np.testing.assert_allclose(got, sample.call(), **LOSS)


@rows
def test_weights_may_be_nan_where_masked(case, kind):
    sample = draw(case, kind, ("class_weights", "where", "sample_weights"), shape=(4, 5))
    keep = sample.options["where"]
    weights = np.broadcast_to(sample.options["sample_weights"], keep.shape)
    dirty = type(sample)(
        case, sample.x, sample.labels, sample.options | {"sample_weights": np.where(keep, weights, np.nan)}, -1
    )
    np.testing.assert_allclose(dirty.call(), sample.call(), **LOSS)
    assert_same_slopes(slopes_of(dirty) | {"sample_weights": 0}, slopes_of(sample) | {"sample_weights": 0})


@rows
def test_numpy_numbers_do_not_widen_the_loss(case, kind, x64):
    sample = draw(case, kind)
    options = {name: np.float64(value) for name, value in HYPERPARAMETERS.items() if name in case.options}
    for reduction in ("mean", "none", jaxce.Mean(empty=np.float64(1))):
        assert sample.call(reduction=reduction, **options).dtype == jnp.float32


@rows
def test_checkify_finds_no_nan_where_there_is_none(case, kind):
    dirty, _ = planted(draw(case, kind, ("class_weights", "where")), np.nan)
    checks = checkify.nan_checks | checkify.div_checks

    def loss(x):
        return dirty.call(x=x)

    for function in (loss, jax.grad(loss)):
        error, _ = checkify.checkify(jax.jit(function), errors=checks)(cast(dirty.x, jnp.float32))
        assert error.get() is None


@rows
def test_ids_have_no_gradient_and_probabilities_have(case, kind):
    sample = draw(case, kind)
    labels = jnp.asarray(cast(sample.labels, jnp.float32))
    slope = jax.grad(lambda y: sample.call(labels=y), allow_int=True)(labels)
    assert slope.dtype == (jax.dtypes.float0 if kind in ("ids", "hard", "signs") else jnp.float32)


@rows
def test_a_traced_hyperparameter_is_the_number(case, kind):
    sample = draw(case, kind, everything(case, kind))
    given = {name: jnp.float32(v) for name, v in sample.options.items() if name in HYPERPARAMETERS}
    np.testing.assert_allclose(jax.jit(lambda given: sample.call(**given))(given), sample.call(), **LOSS)
    with jax.enable_x64(True):
        given = {name: jnp.float64(v) for name, v in given.items()}
        slopes = jax.jit(jax.grad(lambda given: sample.call(**given, dtype=jnp.float64)))(given)
        for name, slope in slopes.items():
            (want,) = reference.slopes(lambda v, n=name: sample.expected(**{n: v}), [np.float64(given[name])])
            np.testing.assert_allclose(slope, want, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("options", ["plain", "everything"])
@in_blocks
def test_one_cpu_gives_the_same(case, kind, options, one_cpu):
    shapes = [((40 + one_cpu, 5), -1), ((3, 7, 33 + one_cpu, 2), 1), ((6, 34 + one_cpu), 0)]
    shapes = shapes if case.any_axis else shapes[:1]
    for shape, axis in shapes:
        sample = draw(case, kind, everything(case, kind) if options == "everything" else (), shape, axis)
        given = [jnp.asarray(sample.x, dtype) for dtype in (jnp.float32, jnp.bfloat16)]
        got = jax.jit(lambda given, s=sample: [s.call(x=x) for x in given])(given)
        want = [sample.expected(x=np.asarray(x.astype(jnp.float32), float)) for x in given]
        np.testing.assert_allclose(got, want, **LOSS)
        with jax.enable_x64(True):
            want = slopes_of(sample, jnp.float64)
        assert_same_slopes(slopes_of(sample), want)


@in_blocks
def test_one_cpu_computes_nothing_from_what_is_masked(case, kind, one_cpu):
    options = tuple(set(everything(case, kind)) | {"where"})
    clean = draw(case, kind, options, shape=(43 + one_cpu, 5))
    for dtype, poison in ((jnp.float32, np.nan), (jnp.bfloat16, -np.inf)):
        dirty, _ = planted(clean, poison)
        got = jax.jit(jax.value_and_grad(lambda x, s=dirty: s.call(x=x)))(cast(dirty.x, dtype))
        want = jax.jit(jax.value_and_grad(lambda x, s=clean: s.call(x=x)))(cast(clean.x, dtype))
        jax.tree.map(np.testing.assert_array_equal, got, want)


@in_blocks
def test_one_cpu_in_both_modes_and_to_second_order(case, kind, one_cpu):
    sample = draw(case, kind, everything(case, kind), shape=(45 + one_cpu, 5))
    x, v = cast(sample.x, jnp.float32), cast(np.random.default_rng(0).normal(size=sample.x.shape), jnp.float32)

    def loss(x):
        return sample.call(x=x)

    slope, forward = jax.jit(lambda x: (jax.grad(loss)(x), jax.jvp(loss, (x,), (v,))[1]))(x)
    np.testing.assert_allclose(np.vdot(slope, v), forward, **SLOPE)
    curved = jax.jit(lambda x: jax.jvp(jax.grad(loss), (x,), (v,))[1])(x)
    with jax.enable_x64(True):
        exact = jax.jvp(jax.grad(loss), (cast(sample.x, jnp.float64),), (v.astype(jnp.float64),))[1]
    np.testing.assert_allclose(curved, exact, rtol=2e-4, atol=2e-6)


def test_one_cpu_indexes_nothing_out_of_bounds(one_cpu):
    sample = draw(CASES[0], "ids", shape=(47 + one_cpu, 5))
    checked = checkify.checkify(jax.jit(lambda x: sample.call(x=x)), errors=checkify.index_checks)
    assert checked(cast(sample.x, jnp.float32))[0].get() is None


def test_blocks_are_taken_where_nothing_fuses(one_cpu):
    sample = draw(CASES[0], "ids", shape=(49 + one_cpu, 5))
    text = jax.jit(lambda x: sample.call(x=x)).lower(cast(sample.x, jnp.float32)).as_text()
    fused = one_cpu == 0 and jax.__version_info__ >= (0, 10, 2)
    assert ("while" in text) != fused


def test_the_worked_tolerance_is_not_vacuous():
    """A loss off by one part in 1e5 fails the comparison with the reference."""
    sample = draw(CASES[0], "ids")
    assert not math.isclose(float(sample.call()) * (1 + 1e-5), float(sample.expected()), rel_tol=LOSS["rtol"])
