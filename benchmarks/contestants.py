"""The contestants: the same loss in every library and spelling, one function each.

Functions of JAX take the differentiated arrays, then the others. Functions of PyTorch hold their arrays and take none.
"""

import importlib.util
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import IGNORED, SMOOTHING

import jaxce


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def in_jaxce(case):
    """The usual call, and for a linear layer its other options."""
    if case.labels == "linear":

        def everything(h, k, y):
            given = {"ignore_index": IGNORED, "label_smoothing": SMOOTHING, "z_loss": 1e-4}
            return jaxce.linear_cross_entropy(h, k, y, bias=k[0], class_weights=jnp.ones(k.shape[1]), **given)

        chunk = case.shape[0] // 8
        return {
            "jaxce": jaxce.linear_cross_entropy,
            "jaxce, half the chunk": lambda h, k, y: jaxce.linear_cross_entropy(h, k, y, chunk_size=chunk),
            "jaxce, all options": everything,
            'jaxce, "none"': lambda h, k, y: jaxce.linear_cross_entropy(h, k, y, reduction="none").mean(),
            "jaxce, dense": lambda h, k, y: jaxce.cross_entropy(h @ k, y),
        }
    if case.labels == "binary":
        return {"jaxce": jaxce.sigmoid_binary_cross_entropy}
    given = {"ignore_index": IGNORED, "label_smoothing": SMOOTHING} if case.options else {}

    def loss(x, y, w=None):
        return jaxce.cross_entropy(x, y, axis=case.axis, class_weights=w, **given)

    return {"jaxce": loss}


def in_optax(case):
    """Every spelling that may be the fastest. All compute in float32 unless the name says 16 bits."""
    ids, probs = optax.softmax_cross_entropy_with_integer_labels, optax.softmax_cross_entropy
    axis = case.axis
    if case.labels == "linear":
        return {"optax": lambda h, k, y: ids((h @ k).astype(jnp.float32), y).mean()}
    if case.labels == "binary":
        return {"optax": lambda x, y: optax.sigmoid_binary_cross_entropy(x, y).mean()}
    if case.labels == "probs":
        safe = optax.losses.safe_softmax_cross_entropy
        return {
            "optax": lambda x, y: probs(x, y, axis=axis).mean(),
            **({"optax, safe": lambda x, y: safe(x, y).mean()} if axis == -1 else {}),
        }
    if case.options:

        def weighted(losses):
            def call(x, y, w):
                valid = y != IGNORED
                y = jnp.where(valid, y, 0)
                return jnp.sum(jnp.where(valid, losses(x, y, w), 0)) / jnp.sum(jnp.where(valid, w[y], 0))

            return call

        def along(w):
            return jnp.expand_dims(w, [d for d in range(len(case.shape)) if d != axis % len(case.shape)])

        def one_term(x, y, w):
            smoothed = optax.smooth_labels(jax.nn.one_hot(y, case.classes), SMOOTHING)
            return probs(x, jnp.moveaxis(w * smoothed, -1, axis), axis=axis)

        def two_terms(x, y, w):
            everywhere = probs(x, jnp.broadcast_to(along(w), x.shape), axis=axis)
            return (1 - SMOOTHING) * w[y] * ids(x, y, axis=axis) + SMOOTHING / case.classes * everywhere

        return {"optax": weighted(one_term), "optax, two terms": weighted(two_terms)}
    if case.dtype == "float32":
        return {"optax": lambda x, y: ids(x, y, axis=axis).mean()}
    return {
        "optax": lambda x, y: ids(x.astype(jnp.float32), y, axis=axis).mean(),
        "optax, 16 bits": lambda x, y: ids(x, y, axis=axis).mean(),
    }


def by_hand(case):
    """The usual model code: log_softmax, and one-hot rows for weighted losses."""
    if case.labels == "linear":
        return {"by hand": lambda h, k, y: -_at(jax.nn.log_softmax((h @ k).astype(jnp.float32)), y, -1).mean()}
    if case.labels == "binary":

        def sigmoid(x, y):
            return -(y * jax.nn.log_sigmoid(x) + (1 - y) * jax.nn.log_sigmoid(-x)).mean()

        return {"by hand": sigmoid}

    def loss(x, y, w=None):
        log_p = jax.nn.log_softmax(x.astype(jnp.float32), case.axis)
        if case.labels == "probs":
            return -(y * log_p).sum(case.axis).mean()
        if not case.options:
            return -_at(log_p, y, case.axis).mean()
        valid = y != IGNORED
        hot = jax.nn.one_hot(jnp.where(valid, y, 0), case.classes)
        q = jnp.moveaxis(((1 - SMOOTHING) * hot + SMOOTHING / case.classes) * w, -1, case.axis)
        return -jnp.sum(jnp.sum(q * log_p, case.axis) * valid) / jnp.sum(w[y] * valid)

    return {"by hand": loss}


def _at(log_p, y, axis):
    return jnp.take_along_axis(log_p, jnp.expand_dims(y, axis), axis).squeeze(axis)


def in_tokamax(case):
    if case.labels != "linear" or not importlib.util.find_spec("tokamax"):
        return {}
    import tokamax

    def of(name):
        def call(h, k, y):
            return tokamax.linear_softmax_cross_entropy_loss(h, y, k, reduction="mean", implementation=name)

        return call

    return {f"tokamax, {name}": of(name) for name in ("xla", "chunked_xla")}


def the_floor(case, work):
    """A lower bound: one maximum over each row (forward), or one write of an array of the same size (gradient)."""
    if case.labels == "linear":
        return {}
    if "gradient" not in work:
        return {"floor": lambda x, *_: jnp.max(x, case.axis)}
    return {"floor": lambda x, *_: jnp.full(x.shape, x.ravel()[0])}


def in_torch(case, work, moving, others):
    """PyTorch's losses, eager and compiled, as functions without arguments. They return numbers."""
    if case.sweep or not importlib.util.find_spec("torch"):
        return {}
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(cores())
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"

    def tensor(a):
        dtype = getattr(torch, str(a.dtype))
        return torch.tensor(np.asarray(a.astype(jnp.float32)), device=device).to(dtype)

    args = [tensor(a) for a in moving]
    if case.labels == "linear":
        args[1] = args[1].T.contiguous()
    y = tensor(others[0]).long() if case.labels in ("ids", "linear") else tensor(others[0])
    grad = "gradient" in work
    for a in args:
        a.requires_grad_(grad)
    w = tensor(others[1]) if case.options else None

    def dense(x):
        if case.labels == "binary":
            return F.binary_cross_entropy_with_logits(x, y)
        smoothing = SMOOTHING if case.options else 0.0
        return F.cross_entropy(x, y, w, ignore_index=IGNORED, label_smoothing=smoothing)

    def call(loss):
        def value():
            with torch.no_grad():
                return _ready(loss(*args))

        def value_and_grad():
            for a in args:
                a.grad = None
            value = loss(*args)
            value.backward()
            return _ready(value), args[-1].grad.T if case.labels == "linear" else args[-1].grad

        return value_and_grad if grad else value

    if case.labels == "linear":
        chunked = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=case.shape[0] // 8)
        forms = {
            "PyTorch": lambda h, k: F.linear_cross_entropy(h, k, y),
            "PyTorch, chunked": lambda h, k: F.linear_cross_entropy(h, k, y, options=chunked),
        }
    else:
        torch.compiler.reset()
        forms = {"PyTorch": dense, "PyTorch, compiled": torch.compile(dense, dynamic=False)}
    return {name: call(loss) for name, loss in forms.items()}


def _ready(value):
    """The value as a number; on an accelerator this waits for the result."""
    return value.item()
