"""What XLA makes of the losses on one CPU device, as JSON: `python compiled.py`.

A process of its own, because the test session runs on eight devices.
"""

import functools
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxce

FUSED = jax.__version_info__ >= (0, 10, 2)
"""Whether XLA on a CPU sums in one kernel with what leads to the sum."""

LOGITS = {"narrow": (4096, 1000), "wide": (1024, 50257), "image": (8, 21, 128, 128)}


OF_ELEMENTS = (
    *("sigmoid_binary_cross_entropy", "binary_cross_entropy", "sigmoid_focal_loss", "asymmetric_loss"),
    *("soft_margin_loss", "quality_focal_loss", "hinge_loss", "multilabel_soft_margin_loss"),
)
OF_ROWS = ("focal_loss", "kl_divergence", "js_divergence", "brier_loss", "distillation_loss")


def shapes(name, dtype, kind):
    logits = jax.ShapeDtypeStruct(LOGITS[name], dtype)
    axis = 1 if name == "image" else -1
    examples = tuple(n for d, n in enumerate(logits.shape) if d != axis % logits.ndim)
    labels = jax.ShapeDtypeStruct(examples, jnp.int32) if kind == "ids" else logits
    return logits, labels, jax.ShapeDtypeStruct((logits.shape[axis],), jnp.float32)


def loss(name, options):
    axis = 1 if name == "image" else -1
    weighted = "weights" in options

    def call(x, y, w):
        given = {"class_weights": w} if weighted else {}
        given |= {"ignore_index": 7} if "ignored" in options else {}
        given |= {"label_smoothing": 0.1} if "smoothing" in options else {}
        given |= {"z_loss": 1e-4} if "z_loss" in options else {}
        return jaxce.cross_entropy(x, y, axis=axis, **given)

    return call


def temporary(function, arguments):
    """Temporary memory of the compiled program, in percent of the logits."""
    compiled = jax.jit(function).lower(*arguments).compile()
    logits = arguments[0]
    return 100 * compiled.memory_analysis().temp_size_in_bytes / (logits.size * logits.dtype.itemsize)


def both(loss):
    return ("value", loss), ("gradient", jax.value_and_grad(loss))


def memory():
    cases = [
        ("wide", jnp.bfloat16, "ids", ""),
        ("wide", jnp.float16, "ids", ""),
        ("wide", jnp.bfloat16, "ids", "weights ignored smoothing z_loss"),
        ("narrow", jnp.bfloat16, "ids", ""),
        ("narrow", jnp.float32, "ids", ""),
        ("narrow", jnp.float32, "ids", "weights ignored smoothing"),
        ("narrow", jnp.float32, "probs", ""),
        ("narrow", jnp.float32, "probs", "weights"),
        ("narrow", jnp.float32, "probs", "weights smoothing"),
        ("image", jnp.float32, "ids", ""),
    ]
    for name, dtype, kind, options in cases:
        arguments = shapes(name, dtype, kind)
        function = jax.value_and_grad(loss(name, options))
        yield f"{name} {jnp.dtype(dtype).name} {kind} {options}".strip(), temporary(function, arguments)
    x, _, w = shapes("narrow", jnp.float32, "probs")
    short = jax.ShapeDtypeStruct(x.shape, jnp.bfloat16)
    keep = jax.ShapeDtypeStruct(x.shape[:1], jnp.bool_)
    for name in ("focal_loss", "poly1_loss", "generalized_cross_entropy"):
        for size, dtype in (("narrow", jnp.float32), ("wide", jnp.bfloat16)):
            function = jax.value_and_grad(getattr(jaxce, name))
            yield f"{name} {size}", temporary(function, shapes(size, dtype, "ids")[:2])
    for name, dtype in (("narrow", jnp.float32), ("wide", jnp.float32), ("wide", jnp.bfloat16)):
        function = jax.value_and_grad(functools.partial(jaxce.cross_entropy, z_loss=1e-4, has_aux=True), has_aux=True)
        yield f"has_aux {name} {jnp.dtype(dtype).name}", temporary(function, shapes(name, dtype, "ids")[:2])
    yield "short labels", temporary(jax.value_and_grad(jaxce.cross_entropy), (x, short))
    yield "nll_loss probs", temporary(jax.value_and_grad(jaxce.nll_loss), (x, x))
    if FUSED:
        for options in ({}, {"ignore_index": 255}, {"soft_counts": "squared", "average": "volume"}):
            function = functools.partial(jaxce.dice_loss, axis=1, **options)
            name = "masked-region" if "ignore_index" in options else "region"
            arguments = shapes("image", jnp.float32, "ids")[:2]
            yield f"{name} {len(options)}", temporary(function, arguments)
            yield f"{name} gradient {len(options)}", temporary(jax.value_and_grad(function), arguments)
        image = shapes("image", jnp.float32, "probs")[:2]
        of_masks = functools.partial(jaxce.jaccard_loss, axis=1, activation="sigmoid")
        yield "region-of-masks", temporary(jax.value_and_grad(of_masks), image)
    binary = jax.ShapeDtypeStruct(x.shape, jnp.bool_)
    for name in OF_ELEMENTS:
        for work, function in both(getattr(jaxce, name)):
            yield f"element {name} {work}", max(temporary(function, (x, y)) for y in (x, binary))
    for name in OF_ROWS:
        for work, function in both(getattr(jaxce, name)):
            yield f"row {name} {work}", temporary(function, (x, x))

    def masked(x, y, w, keep):
        return jaxce.cross_entropy(x, y, class_weights=w, where=keep, label_smoothing=0.1)

    yield "narrow probs everything", temporary(jax.value_and_grad(masked), (x, x, w, keep))


def hand_written(x, y, w):
    """What people write today, for scale."""
    log_p = jax.nn.log_softmax(x)
    target = 0.9 * jax.nn.one_hot(y, x.shape[-1]) + 0.1 / x.shape[-1]
    weights = jnp.where(y == 7, 0.0, w[y])
    return jnp.sum(-jnp.sum(target * log_p * w, -1) * (y != 7)) / jnp.sum(weights)


def passes(options, grad):
    """How often the compiled program reads the logits, and how many row reductions it has."""
    arguments = [jax.ShapeDtypeStruct((300, 1000), jnp.float32), jax.ShapeDtypeStruct((300,), jnp.int32)]
    arguments.append(jax.ShapeDtypeStruct((1000,), jnp.float32))
    call = loss("narrow", options)
    text = jax.jit(jax.value_and_grad(call) if grad else call).lower(*arguments).compile().as_text()
    entry = text[text.index("ENTRY") :]
    logits = re.search(r"%(\S+) = f32\[300,1000\]\S* parameter\(0\)", entry).group(1)
    reads = len(re.findall(rf"\(.*%{re.escape(logits)}[,)]", entry))
    return {"reads": reads, "reductions": len(re.findall(r"f32\[300\]\S* reduce\(", text))}


def naive(hidden, kernel, labels):
    """What people write today for a linear layer."""
    return optax.softmax_cross_entropy_with_integer_labels(hidden @ kernel, labels).mean()


def each_token(hidden, kernel, labels):
    return jaxce.linear_cross_entropy(hidden, kernel, labels, reduction="none").sum()


def linear(loss, dtype, tokens, grad):
    """Temporary bytes of the loss of a linear layer, and its largest array of any kind, in elements per class."""
    shapes, classes = [(tokens, 512), (512, 32768), (tokens,)], 32768
    arguments = [jax.ShapeDtypeStruct(shape, jnp.int32 if len(shape) == 1 else dtype) for shape in shapes]
    compiled = jax.jit(jax.value_and_grad(loss, (0, 1)) if grad else loss).lower(*arguments).compile()
    arrays = re.findall(r"\b[a-z]+\d+\[([\d,]+)\]", compiled.as_text())
    largest = max(math.prod(map(int, sizes.split(","))) for sizes in arrays)
    return compiled.memory_analysis().temp_size_in_bytes, largest / classes


def linear_facts():
    """Temporary memory in parts of the naive one, and the largest arrays, for 32,768 classes of 512 features."""
    for dtype, tokens in (("float32", 2048), ("bfloat16", 1024)):
        for work, grad in (("value", False), ("gradient", True)):
            whole, most = linear(naive, dtype, tokens, grad)
            yield f"{dtype} {work} naive", {"memory": 1, "largest": most}
            for name, loss in (("sum", jaxce.linear_cross_entropy), ("each", each_token)):
                own, largest = linear(loss, dtype, tokens, grad)
                yield f"{dtype} {work} {name}", {"memory": own / whole, "largest": largest}


def edges():
    """The largest error of value and gradient, against float64, where sums without selects must settle 0 * inf.

    A class of probability 0 that no label asks for, NaN in masked rows, and predictions that are certain and right.
    """
    rng = np.random.default_rng(0)
    x, w, keep = rng.normal(size=(300, 1000)), rng.uniform(0.5, 2, 1000), np.arange(300) % 7 != 0
    x[:, 5], w[5], x[~keep] = -np.inf, 0, np.nan
    p, ids = rng.dirichlet(np.ones(1000), 300), rng.integers(6, 1000, 300)
    p[:, 5] = 0
    hot = np.eye(1000)[ids]
    shown = np.where(keep[:, None], x, 0)
    log_p = shown - np.log(np.exp(shown).sum(1, keepdims=True))
    finite = np.where(np.isinf(log_p), 0, log_p)
    for name, q, labels, options in (
        ("ids", w * (0.9 * hot + 1e-4), ids, {"class_weights": w, "label_smoothing": 0.1}),
        ("probs", p, p.astype(np.float32), {}),
    ):
        call = functools.partial(jaxce.cross_entropy, where=keep, reduction="sum", **options)
        value, gradient = jax.jit(jax.value_and_grad(call))(jnp.asarray(x, jnp.float32), labels)
        exact = -(q * finite)[keep].sum()
        gradients = np.where(keep[:, None], np.exp(log_p) * q.sum(1, keepdims=True) - q, 0)
        yield name, float(max(abs(value / exact - 1), np.abs(gradient - gradients).max()))
    x, p0 = rng.normal(size=(300, 1000)), np.where(np.arange(300)[:, None] == 4, 0, p)
    x[4, 17] = np.nan
    x, p, p0 = (jnp.asarray(a, jnp.float32) for a in (x, p, p0))
    losses = {
        "soft": (jaxce.cross_entropy, p),
        "soft, empty": (jaxce.cross_entropy, p0),
        "log-probabilities": (jaxce.nll_loss, p),
        "smoothed": (functools.partial(jaxce.cross_entropy, label_smoothing=0.1), jnp.asarray(ids)),
        "sigmoid": (jaxce.sigmoid_binary_cross_entropy, p),
    }
    for name, (loss, y) in losses.items():
        value, gradient = jax.jit(jax.value_and_grad(loss))(x, y)
        kept_in_gradient = name == "log-probabilities" or jnp.isnan(gradient[4]).any()  # -p there
        yield f"NaN, {name}", 0.0 if jnp.isnan(value) and kept_in_gradient else 1.0
    certain = jnp.where(jnp.arange(4096 * 1000).reshape(4096, 1000) % 2 == 0, jnp.inf, -jnp.inf)
    value, gradient = jax.jit(jax.value_and_grad(jaxce.sigmoid_binary_cross_entropy))(
        certain, (certain > 0).astype(jnp.float32)
    )
    yield "sigmoid", float(abs(value) + jnp.abs(gradient).max())
    wrong = jaxce.sigmoid_binary_cross_entropy(certain, (certain < 0).astype(jnp.float32))
    yield "sigmoid, wrong", 0.0 if wrong == jnp.inf else 1.0


if __name__ == "__main__":
    assert jax.device_count() == 1
    print(
        json.dumps(
            {
                "memory": dict(memory()),
                "hand-written": temporary(jax.value_and_grad(hand_written), shapes("narrow", jnp.float32, "ids")),
                "fused": FUSED,
                "forward": passes("", False),
                "gradient": passes("", True),
                "smoothing": passes("smoothing", False),
                "linear": dict(linear_facts()),
                "edges": dict(edges()),
            }
        )
    )
