"""The loss of a linear layer: the formula with materialized logits, in value and in every gradient.

Errors are relative to the largest number of each array, and at most 2e-6 in float32 and 1e-12 in float64.
"""

import re
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from linear import (
    EVERYTHING,
    REDUCTIONS,
    assert_near,
    cast,
    draw,
    expected,
    fused,
    mean_of,
    value_and_gradients,
    with_gradients,
)

import jaxce
from jaxce._rows import default_chunk_size

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
    primals, fixed = draw(on, tokens=((14,), (2, 7), (1, 2, 7))[run % 3])
    loss = fused(fixed, "vd" if "vd" in on else "dv", reduction=reduction, chunk_size=(4, 5, None, 1, 99)[run % 5])
    assert_near(jax.jit(partial(with_gradients, loss))(cast(primals)), expected(primals, fixed, formula))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_everything_in_float64(reduction, x64):
    primals, fixed = draw(EVERYTHING)
    got = jax.jit(partial(with_gradients, fused(fixed, reduction=reduction, chunk_size=4)))(cast(primals, jnp.float64))
    assert_near(got, expected(primals, fixed, REDUCTIONS[reduction]), 1e-12)


def test_the_formula_is_the_reference():
    primals, fixed = draw(EVERYTHING)
    product = primals["hidden"] @ primals["kernel"]
    options = {n: v for n, v in (primals | fixed).items() if n not in ("hidden", "kernel")}
    want = reference.linear_cross_entropy(product, options.pop("labels"), **options)
    assert_near(expected(primals, fixed, lambda *both: both)[0], want, 1e-12)


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
    primals, fixed = draw((), tokens, classes)
    got = jax.jit(partial(with_gradients, fused(fixed, reduction=reduction, chunk_size=chunk_size)))(cast(primals))
    assert_near(got, expected(primals, fixed, REDUCTIONS[reduction]))


@pytest.mark.parametrize(("chunk_size", "size"), {1: 1, 4: 4, 5: 5, 13: 7, 14: 14, 99: 14}.items())
def test_no_more_tokens_at_a_time_than_are_asked_for(chunk_size, size):
    """The chunks are as even as can be, and no other array has a row of logits."""
    primals, fixed = draw((), features=3)
    text = jax.jit(jax.grad(fused(fixed, chunk_size=chunk_size))).lower(cast(primals)).as_text()
    assert {int(rows) for rows in re.findall(r"tensor<(\d+)x7xf32>", text)} == {3, size}


@pytest.mark.parametrize(
    ("machine", "tokens", "classes", "size"),
    [
        *[("cpu", 10**6, 7, 8192), ("cpu", 2000, 7, 500), ("cpu", 100, 7, 256), ("cpu", 10**6, 50_257, 333)],
        *[("gpu", 2000, 7, 8192), ("tpu", 10**6, 50_257, 5341), ("gpu", 10**6, 10**6, 2048)],
        *[("tpu", 8192, 128_256, 2092), ("tpu", 16_384, 128_256, 4096), ("tpu", 16_384, 256_000, 2048)],
    ],
)
def test_the_default_chunk(monkeypatch, machine, tokens, classes, size):
    """By its definition in `docs/large-vocabulary.md`."""
    monkeypatch.setattr("jaxce._rows._linear.platform", lambda: machine)
    assert default_chunk_size(tokens, classes) == size


def test_no_row_of_zeros_is_computed_before_the_loop():
    """JAX moves what depends on no chunk out of the loop, and XLA:GPU would keep it in memory and read it."""
    primals, fixed = draw((), (20,), 20_000, features=3)
    gradient = jax.jit(jax.grad(fused(fixed, chunk_size=5)))
    text = gradient.trace(cast(primals)).lower(lowering_platforms=("cuda",)).as_text()
    loops = [part for part in text.split("func.func") if "stablehlo.while" in part]
    assert loops
    assert not any("5x20000xf32" in part[: part.index("stablehlo.while")] for part in loops)


@pytest.mark.parametrize("tokens", [16, 24])
def test_the_gradient_of_bfloat16_hidden_states_is_rounded_once_more(tokens):
    """After the chunk, and after the division by the number of tokens: by a power of 2 it is exact."""
    primals, fixed = draw((), (tokens,))
    short = {name: jnp.asarray(a, jnp.bfloat16) for name, a in primals.items()}
    exact = {name: np.asarray(a, float) for name, a in short.items()}
    _, want = expected(exact, fixed, mean_of)
    _, got = jax.jit(partial(with_gradients, fused(fixed, chunk_size=4)))(short)
    assert got["hidden"].dtype == jnp.bfloat16
    assert_near(got["hidden"], want["hidden"], 2**-7)


def test_a_loss_scale_rescues_small_gradients_of_float16():
    """A gradient of 1e-10 is below all numbers of float16: each chunk keeps it in float32 until it is scaled."""
    hidden = jnp.array([[8.0, 0.0]], jnp.float16)
    kernel = jnp.array([[1.0, -1.0], [0.001, 0.002]], jnp.float16)

    def scaled(hidden):
        return 2.0**15 * jaxce.linear_cross_entropy(hidden, kernel, jnp.array([0]))

    gradient = jax.grad(scaled)(hidden)
    p = 1 / (1 + np.exp(16.0))
    np.testing.assert_allclose(gradient[0, 1], 2**15 * p * 0.001, rtol=0.1)


@pytest.mark.parametrize(("classes", "kernel_layout"), [(2049, "dv"), (9001, "dv"), (9001, "vd")])
def test_no_logit_is_made_up_where_no_block_divides_the_classes(classes, kernel_layout):
    """What tokamax 0.0.17 does: each padded class counts exp(0), which small logits show (8.643 for 8.170)."""
    primals, fixed = draw(("bias",), (5,), classes, spread=2**-6)
    got = jax.jit(partial(with_gradients, fused(fixed, kernel_layout, chunk_size=2)))(cast(primals))
    assert_near(got, expected(primals, fixed, mean_of))


def test_the_cotangent_reaches_every_gradient():
    """MaxText until August 2026: that of the hidden states was left out, which inflated what lies below them."""
    primals, fixed = draw(EVERYTHING)

    def gradients(primals):
        _, pull = jax.vjp(fused(fixed, chunk_size=4), primals)
        return pull(jnp.float32(1))[0], pull(jnp.float32(3))[0]

    once, thrice = jax.jit(gradients)(cast(primals))
    assert_near(thrice, jax.tree.map(lambda gradient: 3 * np.asarray(gradient, float), once))


def test_each_token_has_a_cotangent_of_its_own():
    """Liger #1298: with no reduction, the gradient of the kernel cannot be rescaled once it is summed."""
    primals, fixed = draw(())
    cotangent, h = np.zeros((2, 7)), primals["hidden"]
    cotangent[1, 2], cotangent[0, 3] = 1, -2
    p = np.exp(h @ primals["kernel"])
    row = p / p.sum(-1, keepdims=True) - np.eye(7)[fixed["labels"]]
    _, pull = jax.vjp(fused(fixed, chunk_size=4, reduction="none"), cast(primals))
    want = h[1, 2, :, None] * row[1, 2] - 2 * h[0, 3, :, None] * row[0, 3]
    assert_near(pull(jnp.float32(cotangent))[0]["kernel"], want)


def test_the_gradient_of_a_softcap():
    """Levanter's last release left out its factor ``1 - tanh(z / cap)**2``."""
    primals, fixed = draw(("logit_softcap",), (3,))
    capped = np.tanh(primals["hidden"] @ primals["kernel"] / 3)
    p = np.exp(3 * capped)
    row = (p / p.sum(-1, keepdims=True) - np.eye(7)[fixed["labels"]]) * (1 - capped**2)
    got = jax.jit(jax.grad(fused(fixed, reduction="sum")))(cast(primals))
    assert_near((got["hidden"], got["kernel"]), (row @ primals["kernel"].T, primals["hidden"].T @ row))


@pytest.mark.parametrize("options", [(), ("logit_scale",), ("logit_softcap",)], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_closed_class_is_not_there(reduction, options):
    """Unsloth #10616: a softcap made ``-cap`` of ``-inf``. A scale does not open the class either."""
    primals, fixed = draw(("bias", "z_loss", "where", *options), classes=6)
    closed = primals | {n: np.pad(primals[n], [(0, 0)] * (primals[n].ndim - 1) + [(0, 1)]) for n in ("kernel", "bias")}
    closed["kernel"][:, 6], closed["bias"][6] = 5, -np.inf
    value, gradients = jax.jit(partial(with_gradients, fused(fixed, reduction=reduction, chunk_size=4)))(cast(closed))
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(gradients[name][..., 6], 0)
        gradients[name] = gradients[name][..., :6]
    assert_near((value, gradients), expected(primals, fixed, REDUCTIONS[reduction]))


def test_a_closed_label_costs_infinity():
    primals, fixed = draw(("bias",))
    primals["bias"][fixed["labels"][0, 0]] = -np.inf
    value, gradients = jax.jit(jax.value_and_grad(fused(fixed)))(cast(primals))
    assert value == np.inf
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(
    ("hidden", "kernel"),
    [("bfloat16", "bfloat16"), ("float16", "float16"), ("bfloat16", "float32"), ("float32", "float16")],
)
def test_sixteen_bits(hidden, kernel, reduction):
    """The loss is rounded as in float32; gradients of 16 bits twice, as gradients of the logits and by themselves."""
    primals, fixed = draw(("bias", "where"), (5, 7), classes=33)
    dtypes = {"hidden": hidden, "kernel": kernel}
    given = {n: jnp.asarray(v, dtypes.get(n, "float32")) for n, v in primals.items()}
    rounded = {n: np.asarray(v, float) for n, v in given.items()}
    value, gradients = jax.jit(partial(with_gradients, fused(fixed, reduction=reduction, chunk_size=4)))(given)
    want = expected(rounded, fixed, REDUCTIONS[reduction])
    assert value.dtype == jnp.float32
    assert {n: a.dtype for n, a in gradients.items()} == {n: a.dtype for n, a in given.items()}
    assert_near(value, want[0])
    for name, gradient in gradients.items():
        assert_near(gradient, want[1][name], max(2e-6, float(jnp.finfo(gradient.dtype).eps)))


def test_sixteen_bits_of_many_tokens_do_not_underflow():
    """PyTorch's notes: 1 / 131,072 is no normal float16, so the division by the number of tokens comes last."""
    primals, fixed = draw((), (2**17,), classes=3, features=2)
    value, gradients = jax.jit(jax.value_and_grad(fused(fixed)))(cast(primals, jnp.float16))
    rounded = {n: np.asarray(v, float) for n, v in cast(primals, jnp.float16).items()}
    want, want_gradients = expected(rounded, fixed, mean_of, value_and_gradients)
    assert_near(value, want)
    assert_near(gradients["kernel"], want_gradients["kernel"], 2**-11)
    np.testing.assert_allclose(
        np.asarray(gradients["hidden"], float), want_gradients["hidden"], rtol=2**-10, atol=2**-24
    )


@pytest.mark.parametrize("reduction", ["mean", mean_of], ids=["sums", "each"])
def test_the_gradient_of_a_kernel_of_16_bits_is_summed_in_float32(reduction):
    """Liger #512: summed in bfloat16 over 128 chunks, it is off by 1.5 percent, and training diverges."""
    primals, fixed = draw((), (4096,), classes=256, features=16)
    given = cast(primals, jnp.bfloat16)
    rounded = {n: np.asarray(v, float) for n, v in given.items()}
    want = expected(rounded, fixed, mean_of, value_and_gradients)[1]["kernel"]

    def naive(primals):
        logits = jnp.dot(primals["hidden"], primals["kernel"], preferred_element_type=jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, fixed["labels"]).mean()

    def error(loss):
        return np.linalg.norm(np.asarray(jax.jit(jax.grad(loss))(given)["kernel"], float) - want)

    assert error(fused(fixed, reduction=reduction, chunk_size=32)) <= 1.1 * error(naive)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_products_of_16_bits_have_no_factor_in_float32(reduction):
    """Marin #8368: a float32 gradient of the logits makes the two products of the gradients twice as slow."""
    primals, fixed = draw(("bias",))

    def loss(primals):
        return fused(fixed, reduction=reduction, chunk_size=4)(primals).sum()

    text = jax.jit(jax.value_and_grad(loss)).lower(cast(primals, jnp.bfloat16)).as_text()
    factors = re.findall(r"dot_general .* : \(tensor<\w+x(\w+)>, tensor<\w+x(\w+)>\)", text)
    assert factors == [("bf16", "bf16")] * (3 + (reduction == "none"))


def test_the_kernel_gradient_of_each_chunk_is_not_rounded():
    """On accelerators its factors have 16 bits and its sum float32, though JAX knows no transpose of mixed dtypes."""
    primals, fixed = draw(("bias",))

    def loss(primals):
        return fused(fixed, reduction="none", chunk_size=4)(primals).sum()

    traced = jax.jit(jax.grad(loss)).trace(cast(primals, jnp.bfloat16))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    wide = [line for line in products if "bf16>, tensor" not in line]
    assert len(products) == 4
    assert len(wide) == 1
    assert "lhs_precision_type = bf16, rhs_precision_type = bf16, accumulation_type = f32" in wide[0]


@pytest.mark.parametrize(
    ("capability", "multiplies"), [("7.5", False), ("8.0", True), ("12.0", True), ("gfx942", False)]
)
def test_gpus_without_bfloat16_get_no_algorithm_for_it(capability, multiplies, monkeypatch):
    """XLA refuses to compile it for them: "Unsupported algorithm on the current device(s)"."""
    primals, fixed = draw(())
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [types.SimpleNamespace(compute_capability=capability)])

    def loss(primals):
        return fused(fixed, reduction="none", chunk_size=4)(primals).sum()

    traced = jax.jit(jax.grad(loss)).trace(cast(primals, jnp.bfloat16))
    has_algorithm = "lhs_precision_type" in traced.lower(lowering_platforms=("cuda",)).as_text()
    assert has_algorithm == (capability in ("8.0", "12.0"))
    jax.clear_caches()
