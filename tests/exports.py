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
    """The loops and barriers of each loss, of its value alone and with its gradient."""
    for name, given in arguments():
        loss = getattr(jaxce, name.split()[0])
        for work, function in (("value", loss), ("gradient", jax.value_and_grad(loss))):
            for platforms in PLATFORMS:
                text = jax.export.export(jax.jit(function), platforms=platforms)(*given).mlir_module()
                counts = {word: text.count(f"stablehlo.{word}") for word in ("while", "optimization_barrier")}
                yield f"{name}: {work} for {'+'.join(platforms)}", counts


if __name__ == "__main__":
    assert jax.device_count() == 1
    print(json.dumps(dict(exported())))
