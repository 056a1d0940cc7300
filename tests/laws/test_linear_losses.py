"""Every loss of rows or elements as the function of `linear_loss`: the numbers of whole logits, to the second order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from inputs import cast, draw

import jaxce

OF_LOGITS = {"nll_loss": jax.nn.log_softmax, "binary_cross_entropy": jax.nn.sigmoid}
"""What losses take that do not take logits."""


OVER_LOGITS = [case for case in CASES if case.example != "region" and case.name != "linear_cross_entropy"]


@pytest.mark.parametrize("case", OVER_LOGITS, ids=str)
def test_any_loss_over_a_linear_layer(case):
    rng = np.random.default_rng(0)
    hidden, kernel, t = (rng.normal(size=s).astype(np.float32) for s in ((7, 3), (3, 5), (7, 3)))
    labels = [cast(draw(case, kind, shape=(7, 5)).labels) for kind in case.labels]
    logits = OF_LOGITS.get(case.name, lambda x: x)

    def f(x, labels):
        losses = case.call(logits(x), labels, axis=-1, reduction="none")
        return losses if losses.ndim == 1 else losses.mean(-1)

    def linear(h, w, labels):
        return jaxce.linear_loss(f, h, w, labels, chunk_size=4)

    def whole(h, w, labels):
        return jnp.mean(f(h @ w, labels))

    @jax.jit
    def derivatives(labels):
        def of(loss):
            second = jax.jvp(lambda h: jax.grad(loss)(h, kernel, labels), (hidden,), (t,))[1]
            return jax.value_and_grad(loss, (0, 1))(hidden, kernel, labels), second

        return of(linear), of(whole)

    for given in labels:
        got, want = derivatives(given)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
