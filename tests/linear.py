"""Arguments of `linear_cross_entropy`, and its formula in plain `jnp` with materialized logits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jaxce import Mean, Sum, Total, linear_cross_entropy

IGNORED = -100
ARRAYS = ("bias", "class_weights", "sample_weights", "label_smoothing", "z_loss", "logit_scale", "logit_softcap")
EVERYTHING = (*ARRAYS, "where", "ignore_index")


def draw(options=(), tokens=(2, 7), classes=7, features=4, spread=1.0, seed=0):
    """The arguments with a derivative and the others, by name: float64 values that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    primals = {
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
    primals = {n: np.float32(v).astype(float) for n, v in primals.items() if n in ("hidden", "kernel", *options)}
    return primals, {n: v for n, v in fixed.items() if n in ("labels", *options)}


def cast(primals, dtype=jnp.float32):
    return {n: jnp.asarray(v, dtype) for n, v in primals.items()}


def fused(fixed, kernel_layout="dv", **how):
    """The library's loss of the differentiated arguments, for kernels ``[features, classes]``."""

    def loss(primals):
        kernel = primals["kernel"] if kernel_layout == "dv" else primals["kernel"].T
        return linear_cross_entropy(**primals | {"kernel": kernel}, **fixed, kernel_layout=kernel_layout, **how)

    return loss


def dense(fixed, reduce):
    """The same by the formula, from whole logits."""

    def loss(primals):
        given = {"label_smoothing": 0.0, "z_loss": 0.0, "logit_scale": 1.0, "sample_weights": 1.0} | primals
        kept = fixed.get("where", True) & (fixed["labels"] != fixed.get("ignore_index"))
        ids, classes = np.where(kept, fixed["labels"], 0), given["kernel"].shape[1]
        x = given["logit_scale"] * (given["hidden"] @ given["kernel"] + given.get("bias", 0.0))
        if "logit_softcap" in given:
            x = given["logit_softcap"] * jnp.tanh(x / given["logit_softcap"])
        log_z, w = logsumexp(x, -1), given.get("class_weights", jnp.ones(classes))
        nll, eps = log_z[..., None] - x, given["label_smoothing"]
        label = jnp.take_along_axis(nll, ids[..., None], -1)[..., 0]
        values = (1 - eps) * w[ids] * label + eps / classes * (w * nll).sum(-1)
        values += w[ids] * given["z_loss"] * log_z**2
        return reduce(*(jnp.where(kept, given["sample_weights"] * a, 0) for a in (values, w[ids])))

    return loss


def with_gradients(loss, primals):
    """The value, and the gradients for a random cotangent of each of its numbers."""
    value, pull = jax.vjp(loss, primals)
    rng = np.random.default_rng(1)
    return value, pull(jax.tree.map(lambda v: jnp.asarray(np.float32(rng.normal(size=v.shape)), v.dtype), value))[0]


def expected(primals, fixed, reduce, function=with_gradients):
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        return jax.device_get(jax.jit(partial(function, dense(fixed, reduce)))(cast(primals, jnp.float64)))


def assert_near(got, want, tolerance=2e-6):
    """A gradient along a scalar is a difference of sums as large as the value, the first leaf: so may its error be."""
    first, *_ = leaves = jax.tree.leaves(want)
    for (path, a), b in zip(jax.tree.leaves_with_path(got), leaves, strict=True):
        largest = np.max(np.abs(b if np.ndim(b) else np.append(first, b)), initial=0)
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(np.asarray(a, float), b, rtol=0, atol=tolerance * largest, err_msg=name)


def value_and_gradients(loss, primals):
    return jax.value_and_grad(loss)(primals)


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
