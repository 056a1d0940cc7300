"""What is lowered for each platform from a process with one CPU device, as JSON: `python exports.py`.

A process of its own, because the test session has eight devices, where a CPU takes the accelerators' way.
"""

import json

import jax
import jax.numpy as jnp

import jaxce

PLATFORMS = (("cpu",), ("cuda",), ("tpu",), ("cpu", "cuda", "tpu"))
ROWS, CLASSES = 4096, 1024

IDS = (
    "cross_entropy",
    "nll_loss",
    "focal_loss",
    "poly1_loss",
    "generalized_cross_entropy",
    "brier_loss",
    "kl_divergence",
    "js_divergence",
    "dice_loss",
    "tversky_loss",
    "jaccard_loss",
    "lovasz_softmax",
    "multiclass_hinge_loss",
)
BINARY = (
    "sigmoid_binary_cross_entropy",
    "binary_cross_entropy",
    "sigmoid_focal_loss",
    "asymmetric_loss",
    "lovasz_hinge",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
)


def arguments():
    """The abstract arguments of each loss: large enough for one CPU device to take rows block by block."""
    x, ids = jax.ShapeDtypeStruct((ROWS, CLASSES), jnp.bfloat16), jax.ShapeDtypeStruct((ROWS,), jnp.int32)
    hidden, kernel = jax.ShapeDtypeStruct((ROWS, 64), jnp.bfloat16), jax.ShapeDtypeStruct((64, 16384), jnp.bfloat16)
    yield "linear_cross_entropy", (hidden, kernel, ids)
    yield "entropy", (x,)
    for name in IDS:
        yield name, (x, ids)
        if name in ("cross_entropy", "nll_loss"):
            yield f"{name} of probabilities", (x, x)
    for name in BINARY:
        yield name, (x, x)


def exported():
    """The loops and barriers in value and gradient of each loss."""
    for name, given in arguments():
        call = jax.jit(jax.value_and_grad(getattr(jaxce, name.split()[0])))
        for platforms in PLATFORMS:
            text = jax.export.export(call, platforms=platforms)(*given).mlir_module()
            counts = {word: text.count(f"stablehlo.{word}") for word in ("while", "optimization_barrier")}
            yield f"{name} for {'+'.join(platforms)}", counts


if __name__ == "__main__":
    assert jax.device_count() == 1
    print(json.dumps(dict(exported())))
