"""Mistakes in the teacher of `linear_kl_divergence`: messages, NaN when traced, and `debug`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_distillation import TH, TW, H, N, V, W, teacher_top_k

import jaxce

IDS, LOG_PROBS = teacher_top_k()
MISTAKES = {
    "a teacher of other classes": (
        jaxce.LinearLogits(TH, TW[:, :5]),
        {},
        r"teacher\.kernel: got 5 classes; expected 8, those of kernel",
    ),
    "a teacher of other tokens": (
        jaxce.LinearLogits(TH[:5], TW),
        {},
        r"teacher\.hidden: got shape \(5, 3\); expected the tokens of hidden: \(16,\), features",
    ),
    "a teacher's layer in the other order": (
        jaxce.LinearLogits(TH, TW.T),
        {},
        r'teacher\.kernel: got shape \(8, 3\) for teacher\.hidden .* It fits kernel_layout="vd"',
    ),
    "logits of another shape": (TH, {}, r"teacher: got shape \(16, 3\); expected logits of shape \(16, 8\)"),
    "ids of another rank": (
        jaxce.TopK(IDS[:, 0], LOG_PROBS[:, 0]),
        {},
        r"teacher\.ids: got shape \(16,\); expected k ids",
    ),
    "floating ids": (jaxce.TopK(LOG_PROBS, LOG_PROBS), {}, r"teacher\.ids: got float32 of shape .* expected class ids"),
    "log-probabilities of another shape": (
        jaxce.TopK(IDS, LOG_PROBS[:, :2]),
        {},
        r"teacher\.log_probs: got shape \(16, 2\); expected that of teacher\.ids: \(16, 3\)",
    ),
    "an id outside": (jaxce.TopK(IDS + V, LOG_PROBS), {}, r"teacher\.ids: 48 of 48 ids are outside \[0, 8\)"),
    "an id twice": (
        jaxce.TopK(IDS * 0, LOG_PROBS),
        {},
        r"teacher\.ids: 16 of 16 ids are repeated in its row; first: id 0",
    ),
    "logits as log-probabilities": (
        jaxce.TopK(IDS, LOG_PROBS + 5),
        {},
        r"teacher\.log_probs: 16 of 16 row sums are above 1 or NaN; .* with jax\.nn\.log_softmax",
    ),
    "a tail of no name": (
        lambda: jaxce.TopK(IDS, LOG_PROBS, "rest"),
        {},
        r"teacher\.tail: got 'rest'; expected one of",
    ),
    "a row without ids": (
        jaxce.TopK(IDS, np.where(np.arange(N)[:, None] == 4, -np.inf, LOG_PROBS).astype(np.float32), "renormalize"),
        {},
        r"teacher\.ids: 1 of 16 rows is without an id; first: number of ids 0 at position \(4,\)",
    ),
    "NaN as log-probability": (
        jaxce.TopK(IDS, LOG_PROBS * np.nan),
        {},
        r"teacher\.log_probs: 16 of 16 row sums are above 1 or NaN; first: .* nan at position \(0,\)\.$",
    ),
    "a tuple": (
        (TH, TW),
        {},
        r"teacher: got a tuple; expected logits, a TopK.* or for a linear student a LinearLogits",
    ),
    "no teacher": (None, {}, r"teacher: got a NoneType; expected logits, a TopK"),
    "a flag as beta": (TH @ TW, {"beta": True}, r"beta: got a bool; expected a number"),
    "beta": (TH @ TW, {"beta": 1.5}, r"beta: got 1\.5; expected a number in \[0, 1\]"),
    "an array as beta": (
        TH @ TW,
        {"beta": jnp.ones(())},
        r"beta: got a ArrayImpl; expected a number of Python or NumPy",
    ),
    "temperature": (TH @ TW, {"temperature": 0}, r"temperature: got 0; expected a number above 0 and finite"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.usefixtures("unannotated")
def test_mistakes(name):
    teacher, options, message = MISTAKES[name]
    with pytest.raises((TypeError, ValueError), match=message):
        jaxce.linear_kl_divergence(H, W, teacher() if callable(teacher) else teacher, **options)


@pytest.mark.parametrize("name", ["an id outside", "an id twice", "logits as log-probabilities", "a row without ids"])
def test_traced_values_become_nan(name):
    """In value and gradient, and under `debug` they raise."""
    teacher, _, message = MISTAKES[name]
    first = jax.tree.map(
        lambda wrong, right: np.where(np.arange(N)[:, None] == 4, wrong, right),
        teacher,
        jaxce.TopK(IDS, LOG_PROBS, teacher.tail),
    )

    def loss(h, teacher):
        return jaxce.linear_kl_divergence(h, W, teacher, reduction="none", chunk_size=5)

    values, pull = jax.vjp(jax.jit(loss), H, first)
    gradient = pull(jnp.ones(N))[0]
    for a in (values, gradient[:, 0]):
        np.testing.assert_array_equal(np.isnan(a), np.arange(N) == 4)
    with pytest.raises(ValueError, match=message.split(":")[0]), jaxce.debug():
        jax.jit(loss)(H, first)


def test_debug_names_the_layer_of_the_teacher():
    with (
        pytest.raises(
            ValueError, match=r"teacher\.hidden: 1 of 48 values is not finite; first: nan at position \(2, 1\)"
        ),
        jaxce.debug(),
    ):
        jax.jit(jaxce.linear_kl_divergence)(H, W, jaxce.LinearLogits(jnp.asarray(TH).at[2, 1].set(jnp.nan), TW))
    with pytest.raises(ValueError, match=r"teacher: 1 of 16 rows is not finite"), jaxce.debug():
        jax.jit(jaxce.linear_kl_divergence)(H, W, jnp.asarray(TH @ TW).at[2, 1].set(jnp.nan))
