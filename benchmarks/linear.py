"""The loss of a large vocabulary, value and gradient: jaxce against what else there is, in one process.

Run `python benchmarks/linear.py`. optax is needed; tokamax and PyTorch take part where they are installed. Times are
paired: every contestant runs once in each round, and what counts is the median over the rounds of its time divided by
that of matmul + optax. Memory is what XLA says the compiled program needs beside its inputs and outputs. Errors are
relative to float64 on the same inputs; that of the gradient is the largest, relative to the largest entry.
"""

import argparse
import importlib.util
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxce

ALL = "jaxce, all options"  # another loss, so without errors


def naive(h, w, y):
    logits = (h @ w).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def of_tokamax(implementation):
    import tokamax

    def call(h, w, y):
        return tokamax.linear_softmax_cross_entropy_loss(h, y, w, reduction="mean", implementation=implementation)

    return call


def in_jax():
    """Contestants that are compiled: functions of hidden states, kernel and labels."""
    contestants = {
        "matmul + optax": naive,
        "jaxce": jaxce.linear_cross_entropy,
        "jaxce, half the chunk": lambda h, w, y: jaxce.linear_cross_entropy(h, w, y, chunk_size=h.shape[0] // 8),
        ALL: lambda h, w, y: jaxce.linear_cross_entropy(
            h, w, y, class_weights=jnp.ones(w.shape[1]), ignore_index=-1, label_smoothing=0.1, z_loss=1e-4, bias=w[0]
        ),
        'jaxce, "none"': lambda h, w, y: jaxce.linear_cross_entropy(h, w, y, reduction="none").mean(),
        "matmul + jaxce.cross_entropy": lambda h, w, y: jaxce.cross_entropy(h @ w, y),
    }
    if importlib.util.find_spec("tokamax"):
        contestants |= {f"tokamax {name}": of_tokamax(name) for name in ("xla", "chunked_xla")}
    return contestants


def in_torch(h, w, y):
    """PyTorch's plain and its chunked form, as functions without arguments."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dtype = getattr(torch, h.dtype.name)
    x, k = (torch.tensor(np.asarray(a, np.float32)).to(dtype).requires_grad_() for a in (h, w.T))
    target = torch.tensor(np.asarray(y, np.int64))

    def value_and_grad(options):
        def call():
            x.grad = k.grad = None
            loss = F.linear_cross_entropy(x, k, target, options=options)
            loss.backward()
            return loss.item(), (x.grad.float().numpy(), k.grad.float().numpy().T)

        return call

    chunked = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=h.shape[0] // 8)
    return {"PyTorch, plain": value_and_grad(None), "PyTorch, chunked": value_and_grad(chunked)}


def in_float64(h, w, y):
    """The loss and its gradient along the kernel."""
    h, w = np.asarray(h, np.float64), np.asarray(w, np.float64)
    z = h @ w
    z -= z.max(1, keepdims=True)
    each = np.arange(len(y))
    log_s = np.log(np.exp(z).sum(1))
    loss = np.mean(log_s - z[each, y])
    p = np.exp(z - log_s[:, None])
    p[each, y] -= 1
    return loss, h.T @ p / len(y)


def draw(dtype, tokens, features, classes):
    keys = jax.random.split(jax.random.key(0), 3)
    h = jax.random.normal(keys[0], (tokens, features)).astype(dtype)
    w = (jax.random.normal(keys[1], (features, classes)) / features**0.5).astype(dtype)
    return h, w, jax.random.randint(keys[2], (tokens,), 0, classes)


def compete(dtype, shape, rounds):
    h, w, y = draw(dtype, *shape)
    loss, slope = in_float64(h, w, np.asarray(y))
    calls, memory = {}, {}
    for name, function in in_jax().items():
        compiled = jax.jit(jax.value_and_grad(function, (0, 1))).lower(h, w, y).compile()
        memory[name] = compiled.memory_analysis().temp_size_in_bytes / 2**20
        calls[name] = lambda compiled=compiled: jax.block_until_ready(compiled(h, w, y))
    if importlib.util.find_spec("torch"):
        calls |= in_torch(h, w, y)
    seconds = {name: [] for name in calls}
    errors = {}
    for _ in range(rounds + 1):  # the first warms up
        for name, call in calls.items():
            start = time.perf_counter()
            value, (_, d_kernel) = call()
            seconds[name].append(time.perf_counter() - start)
            d = np.abs(np.asarray(d_kernel, np.float64) - slope).max() / np.abs(slope).max()
            errors[name] = abs(float(value) / loss - 1), d
    print(
        f"\n{jnp.dtype(dtype).name}, {shape[0]} tokens, {shape[1]} features, {shape[2]} classes, JAX {jax.__version__}"
    )
    print(f"{'':30}{'time':>7}{'ratio':>7}{'memory':>10}{'ratio':>7}{'loss err':>10}{'grad err':>10}")
    base, first = (np.array(seconds["matmul + optax"][1:]), memory["matmul + optax"])
    for name, times in seconds.items():
        ratio = np.median(np.array(times[1:]) / base)
        room = f"{memory[name]:6.0f} MiB{memory[name] / first:7.2f}" if name in memory else f"{'-':>10}{'-':>7}"
        error = "".join(f"{'-':>10}" if name == ALL else f"{e:10.1e}" for e in errors[name])
        print(f"{name:30}{np.median(times[1:]):6.2f}s{ratio:7.2f}{room}{error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="small shapes, to see that it runs")
    options = parser.parse_args()
    for dtype, tokens in ((jnp.float32, 2048), (jnp.bfloat16, 1024)):
        compete(dtype, (256, 64, 2048) if options.quick else (tokens, 512, 32768), options.rounds)


if __name__ == "__main__":
    main()
