"""Each way of summing over the classes, called directly: against float64, and so against each other."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxce._coefficients import Target
from jaxce._rows import LogitSums, RowCrossEntropy, RowSums, _accelerator, _cpu, _gpu, _sums, merge

RNG = np.random.default_rng(0)
INF, NAN = np.inf, np.nan


def accelerator(x, q, mask, axis):
    return _accelerator.row_sums(x, q, mask, axis).cross_entropy()


def one_reduction(x, q, mask, axis):
    """As an accelerator with one device, which the test session has not."""
    few = x.shape[axis] <= _accelerator.MAX_CLASSES_IN_ONE_REDUCTION
    return _sums.row_sums(x, q, mask, axis, compares_ids=True, at_once=few).cross_entropy()


def ids_gathered(x, q, mask, axis):
    return _sums.row_sums(x, q, mask, axis, compares_ids=False, at_once=False).cross_entropy()


WAYS = {
    "accelerators": accelerator,
    "accelerators, one reduction": one_reduction,
    "ids gathered": ids_gathered,
    "GPU": _gpu.row_cross_entropy,
    "one CPU, fused": _cpu._fused,
    "one CPU": _cpu.row_cross_entropy,
}

ROWS = {
    "plain": [[0.5, -1.0, 2.0], [3.0, 1.0, 0.0]],
    "no gap": [[0.0, 0.0, 0.0], [7.0, 7.0, -7.0]],
    "a class of -inf": [[0.0, -INF, 2.0], [1.0, 0.0, -INF]],
    "the label at -inf": [[-INF, 0.0, 1.0], [0.0, 1.0, -INF]],
    "a common offset": [[1e4, 1e4 + 1, 1e4 - 2], [-1e4, -1e4 + 3, -1e4]],
    "huge": [[1.5e38, -1.5e38, 0.0], [-1.5e38, 1.5e38, 1.0]],
    "one class": [[3.0], [-2.0]],
    "an empty batch": np.zeros((0, 3)),
    "250,000 classes": RNG.normal(size=(2, 250_000)),
}


def target(kind, shape):
    """Coefficients of three kinds, and the same as one array in float64."""
    n, c = shape
    ids, weight = np.arange(n) % c * 2 % c, RNG.uniform(0.5, 2, n)
    w, probs = RNG.uniform(0, 2, c), RNG.dirichlet(np.ones(c), n) if n else np.zeros(shape)
    w[1::3] = 0
    hot = weight[:, None] * (np.arange(c) == ids[:, None])
    one = {"ids": jnp.asarray(ids, jnp.int32), "label_weight": jnp.asarray(weight, jnp.float32)}
    if kind == "ids":
        return Target(**one), hot
    if kind == "smoothed ids":
        return Target(**one, offset=jnp.asarray(w / c, jnp.float32)), hot + w / c
    scale = jnp.asarray(w, jnp.float32)
    return Target(probs=jnp.asarray(probs, jnp.float32), scale=scale, offset=jnp.float32(0.1)), w * probs + 0.1


def exact(x, q):
    """H and its sums in float64, with ``0 * inf = 0``."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        m = x.max(-1) if x.size else np.zeros(len(x))
        gap = m[:, None] - x
        others = np.exp(-gap).sum(-1) - 1
        h = np.where(q == 0, 0, q * (gap + np.log1p(others)[:, None])).sum(-1)
        return RowCrossEntropy(h, m, others, q.sum(-1))


@pytest.mark.parametrize("kind", ["ids", "smoothed ids", "probabilities"])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("way", WAYS)
def test_the_sums(way, rows, kind):
    x = np.float32(ROWS[rows])
    q, dense = target(kind, x.shape)
    got = jax.jit(partial(WAYS[way], axis=1))(jnp.asarray(x), q, None)
    want = exact(np.float64(x), dense)
    for name, a, b in zip(RowCrossEntropy._fields, got, want, strict=True):
        b = np.where(np.abs(b) > np.finfo(np.float32).max, np.inf, b)
        np.testing.assert_allclose(a, b, rtol=5e-6, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("way", [way for way in WAYS if "fused" not in way])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits_keep_a_tiny_r(way, dtype):
    x = jnp.asarray([[20.0, 0.0, -4.0]], dtype)
    for q in (target("ids", x.shape)[0], Target(probs=jnp.float32([[1, 0, 0]]), scale=jnp.float32(1))):
        got = WAYS[way](x, q, None, 1)
        np.testing.assert_allclose(got.r, [np.exp(-20.0) + np.exp(-24.0)], rtol=1e-6)
        np.testing.assert_allclose(got.h / got.q_sum, got.r, rtol=1e-6)


@pytest.mark.parametrize("kind", ["ids", "probabilities"])
@pytest.mark.parametrize("way", WAYS)
def test_nan_is_loud_and_what_is_masked_is_finite(way, kind):
    x = jnp.float32([[0.0, NAN, 1.0], [NAN, INF, -INF], [1.0, 2.0, 3.0]])
    q, _ = target(kind, x.shape)
    got = WAYS[way](x, q, jnp.array([True, False, True]), 1)
    assert list(np.isfinite(got.h)) == [False, True, True]


@pytest.mark.parametrize("way", WAYS)
def test_a_row_of_minus_inf_and_an_invalid_id(way):
    x = jnp.float32([[-INF, -INF, -INF], [1.0, 2.0, 3.0]])
    q = dataclasses.replace(target("ids", x.shape)[0], ids=jnp.array([0, 5]), label_weight=jnp.float32([1, NAN]))
    got = WAYS[way](x, q, None, 1)
    assert got.m[0] + jnp.log1p(got.r[0]) == -INF
    assert np.isnan(got.h[1])
    assert np.isnan(got.q_sum[1])


def logits_in_one_reduction(x, mask, axis):
    few = x.shape[axis] <= _accelerator.MAX_CLASSES_IN_ONE_REDUCTION
    return _sums.logit_sums(x, mask, axis, at_once=few)


OF_LOGITS = {
    "accelerators": _accelerator.logit_sums,
    "accelerators, one reduction": logits_in_one_reduction,
    "one CPU": _cpu.logit_sums,
}


@pytest.mark.parametrize("rows", [rows for rows in ROWS if rows != "huge"])
@pytest.mark.parametrize("way", OF_LOGITS)
def test_the_sums_of_logits(way, rows):
    """A masked row, of NaN, is finite."""
    x = np.float32(ROWS[rows])
    mask = np.arange(len(x)) != 1
    got = jax.jit(partial(OF_LOGITS[way], axis=1))(np.where(mask[:, None], x, NAN), mask)
    x = np.where(mask[:, None], np.float64(x), 0)
    with np.errstate(invalid="ignore"):
        gap = x.max(-1, initial=-INF, keepdims=True) - x
        e = np.exp(-gap)
        want = LogitSums(x.max(-1, initial=-INF), gap.argmin(-1), e.sum(-1), np.where(e > 0, e * gap, 0).sum(-1))
    for name, a, b in zip(LogitSums._fields, got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-6, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["ids", "smoothed ids", "probabilities"])
def test_parts_of_the_classes_merge(kind):
    """Also where a part is all -inf, and where both parts have the maximum."""
    x = np.float32([[0.0, 1, 2, 3], [-INF, -INF, 1, 2], [5, 0, 5, 1], [20, 0, -3, -5]])
    q, _ = target(kind, x.shape)
    whole = _accelerator.row_sums(jnp.asarray(x), q, None, 1)
    parts, first = [], []
    for start in (0, 2):
        cut = slice(start, start + 2)
        own = dataclasses.replace(
            q,
            ids=None if q.ids is None else q.ids - start,
            probs=None if q.probs is None else q.probs[:, cut],
            **{n: a[cut] if a is not None and a.ndim else a for n, a in (("scale", q.scale), ("offset", q.offset))},
        )
        parts.append(_accelerator.row_sums(jnp.asarray(x[:, cut]), own, None, 1))
        first.append((q.ids // 2 == start // 2) if q.ids is not None else jnp.argmax(x, 1) // 2 == start // 2)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *parts)
    merged = merge(
        stacked, jnp.stack(first), partial(jnp.max, axis=0, keepdims=True), partial(jnp.sum, axis=0, keepdims=True)
    )
    for name, a, b in zip(RowSums._fields, merged, whole, strict=True):
        np.testing.assert_allclose(a[0], b, rtol=2e-6, atol=1e-12, err_msg=name)


def test_a_gpu_leaves_out_a_maximum_whose_exponential_is_rounded():
    """One maximum or several, each one rounding below 1."""
    below = np.nextafter(np.float32(1), np.float32(0))
    e = jnp.float32([[below, 1e-9, 0], [below, below, 1e-9]])
    np.testing.assert_allclose(_gpu._sum_less_one(e, 1), [0, 1], atol=1.3e-7)
