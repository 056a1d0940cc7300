"""`linear_loss` of several layers: tuples as hidden states, kernels, and the other arguments of the layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from test_linear_loss import BIAS, KEEP, LABELS, RNG, TOKENS, D, H, V, W, assert_close

import jaxce


def two_layers(arrays, labels=LABELS):
    """Losses of the logits of two layers, with and without a cap, for `linear_loss` and from whole logits."""

    def f(x, y, labels):
        return jaxce.cross_entropy(x, labels, reduction="none") * jnp.cos(y.sum(-1))

    def loss(reduction):
        options = {"logit_softcap": (3.0, None), "bias": (BIAS, None), "where": KEEP, "chunk_size": 4}
        values = jaxce.linear_loss(f, *arrays, labels, **options, reduction=reduction)
        return jnp.sum(jnp.sin(values))

    def whole(reduction):
        (h, other), (w, other_w) = arrays
        x = 3 * jnp.tanh((h @ w + BIAS[None, None]) / 3)
        return jnp.sum(jnp.sin(jaxce.reduce(f(x, other @ other_w, labels), where=KEEP, reduction=reduction)))

    return loss, whole


OTHER = RNG.normal(size=(*TOKENS, 3)).astype(np.float32), RNG.normal(size=(3, 5)).astype(np.float32)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_several_layers(reduction):
    """Of other features and classes; value and every gradient."""
    arrays = (H, OTHER[0]), (W, OTHER[1])
    got, want = (jax.jit(jax.value_and_grad(lambda a, i=i: two_layers(a)[i](reduction)))(arrays) for i in range(2))
    assert_close(got, want)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
def test_several_layers_with_split_tokens(kind):
    h, other = (RNG.normal(size=(8, 3, n)).astype(np.float32) for n in (D, 3))

    def loss(h, other, w, other_w, **options):
        return jaxce.linear_loss(lambda x, y: x[:, 0] * y.sum(-1), (h, other), (w, other_w), chunk_size=2, **options)

    run = jax.value_and_grad(loss, (0, 1, 2, 3))
    want = run(h, other, W, OTHER[1])
    with jax.set_mesh(jax.make_mesh((8,), ("data",), axis_types=(kind,))):
        options = {} if kind == AxisType.Explicit else {"in_specs": (P("data"), P())}
        arrays = [jax.device_put(a, P("data")) for a in (h, other)] + [jax.device_put(a, P()) for a in (W, OTHER[1])]
        got = jax.jit(functools.partial(run, **options))(*arrays)
    assert_close(jax.device_get(got), jax.device_get(want))


def test_one_kernel_for_several_hidden_states():
    """Predictions of the next two tokens: the gradients of the kernel add up."""

    def f(x, y, labels, later):
        return sum(jaxce.cross_entropy(a, b, reduction="none") for a, b in ((x, labels), (y, later)))

    def loss(w):
        return jaxce.linear_loss(f, (H, 2 * H), w, LABELS, LABELS[::-1], chunk_size=4)

    def whole(w):
        return jnp.mean(f(H @ w, 2 * H @ w, LABELS, LABELS[::-1]))

    assert_close(*(jax.jit(jax.value_and_grad(g))(W) for g in (loss, whole)))


def test_a_frozen_layer_costs_one_product():
    def products(argnums):
        def loss(h, w, other, other_w):
            return jaxce.linear_loss(lambda x, y: jnp.sum(x * y, -1), (h, other), (w, other_w), chunk_size=4)

        return str(jax.make_jaxpr(jax.grad(loss, argnums))(H, W, OTHER[0], np.resize(OTHER[1], (3, V)))).count(
            "dot_general"
        )

    assert [products((0, 1)), products((0, 1, 2, 3))] == [4, 6]


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (
            ((H, H), (W, W, W)),
            {},
            r"kernel: got a tuple of 3 beside a tuple of 2 for hidden; expected an entry for each layer",
        ),
        (((H, H), (W, W.T)), {}, r'kernel\[1\]: got shape \(6, 4\) for hidden\[1\] .* It fits kernel_layout="vd"'),
        (
            ((H, H[:1]), W),
            {},
            r"hidden\[1\]: got shape \(1, 7, 4\); expected the tokens of hidden\[0\]: \(2, 7\), features",
        ),
        (((), W), {}, r"hidden: got an empty tuple; expected an array, or a tuple with an array for each layer"),
        ((jaxce.LinearLogits(H, W), W), {}, r"hidden: got a LinearLogits; expected an array, or a tuple"),
        (
            (H, (W, W)),
            {"bias": (BIAS, BIAS[:2])},
            r"bias\[1\]: got shape \(2,\); expected \(6,\), one weight per class",
        ),
        ((H, (W, W)), {"logit_softcap": (1.0, 0.0)}, r"logit_softcap\[1\]: got 0\.0; expected a number above 0"),
    ],
    ids=["counts", "order", "tokens", "none", "record", "bias", "cap"],
)
@pytest.mark.usefixtures("unannotated")
def test_mistakes_of_several_layers(layers, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        jaxce.linear_loss(lambda x, y: x[:, 0] + y[:, 0], *layers, **options)
