"""What is lowered for each platform from a process with one CPU device, as JSON: `python exports.py`.

A process of its own, because the test session has eight devices, where a CPU takes the accelerators' way.
"""

import json

import jax
import jax.numpy as jnp
from cases import CASES

import jaxce

PLATFORMS = (("cpu",), ("cuda",), ("tpu",), ("cpu", "cuda", "tpu"))
ROWS, CLASSES = 4096, 1024

NAMES = {case.name: case.labels for case in CASES if case.name not in ("linear_cross_entropy", "entropy")}
IDS = [name for name, labels in NAMES.items() if "ids" in labels]
BINARY = [name for name in NAMES if name not in IDS]
REGIONS = [case.name for case in CASES if case.example == "region"]


def programs():
    """Names, losses and abstract arguments: large enough for one CPU device to take rows block by block."""
    x, ids = jax.ShapeDtypeStruct((ROWS, CLASSES), jnp.bfloat16), jax.ShapeDtypeStruct((ROWS,), jnp.int32)
    layer = jax.ShapeDtypeStruct((ROWS, 64), jnp.bfloat16), jax.ShapeDtypeStruct((64, 16384), jnp.bfloat16)
    yield "linear_cross_entropy", jaxce.linear_cross_entropy, (*layer, ids)
    yield "entropy", jaxce.entropy, (x,)
    for name in IDS:
        yield name, getattr(jaxce, name), (x, ids)
        if name in ("cross_entropy", "nll_loss"):
            yield f"{name} of probabilities", getattr(jaxce, name), (x, x)
    for name in BINARY:
        yield name, getattr(jaxce, name), (x, x)
    views = jax.ShapeDtypeStruct((2, ROWS, CLASSES), jnp.bfloat16)
    yield "js_divergence_of_views", jaxce.js_divergence_of_views, (views,)
    yield "distillation_loss", jaxce.distillation_loss, (x, x)
    yield "linear_kl_divergence", lambda h, w: jaxce.linear_kl_divergence(h, w, jaxce.LinearLogits(h, w)), layer
    yield "linear_loss", lambda *given: jaxce.linear_loss(focal_losses, *given), (*layer, ids)
    yield "log_probs", lambda *given: jaxce.log_probs(*given).log_prob.sum(), (x, ids)
    yield "linear_log_probs", lambda *given: jaxce.linear_log_probs(*given).log_prob.sum(), (*layer, ids)


def focal_losses(logits, labels):
    return jaxce.focal_loss(logits, labels, reduction="none")


def exported():
    """The loops and barriers of each loss, of its value alone and with its gradient."""
    for name, loss, given in programs():
        for work, function in (("value", loss), ("gradient", jax.value_and_grad(loss))):
            for platforms in PLATFORMS:
                text = jax.export.export(jax.jit(function), platforms=platforms)(*given).mlir_module()
                counts = {word: text.count(f"stablehlo.{word}") for word in ("while", "optimization_barrier")}
                yield f"{name}: {work} for {'+'.join(platforms)}", counts


if __name__ == "__main__":
    assert jax.device_count() == 1
    print(json.dumps(dict(exported())))
