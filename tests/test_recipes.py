"""Recipes of the docs and new options, against the formulas of their papers in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxce

RNG = np.random.default_rng(0)
N, K = 12, 6
X = (2 * RNG.normal(size=(N, K))).astype(np.float32)
IDS = RNG.integers(0, K, N)
BITS = RNG.integers(0, 2, (N, K))
COUNTS = np.array([500, 200, 100, 40, 20, 10])
Z = X.astype(float)
P = np.exp(Z - Z.max(1, keepdims=True))
P /= P.sum(1, keepdims=True)
S = 1 / (1 + np.exp(-Z))
OWN = P[np.arange(N), IDS]
CLOSE = {"rtol": 2e-6, "atol": 1e-6}


def test_class_balanced_focal():
    """Cui et al., eq. 12, of the softmax: weights are scaled to a mean of 1 in a mean of the examples."""
    beta = 0.999
    weights = jaxce.balanced_class_weights(jnp.repeat(jnp.arange(K), COUNTS), K, scheme="effective", beta=beta)
    got = jaxce.focal_loss(X, IDS, class_weights=weights, reduction="none")
    w = (1 - beta) / (1 - beta**COUNTS)
    want = w[IDS] * (1 - OWN) ** 2 * -np.log(OWN)
    np.testing.assert_allclose(got / got.sum(), want / want.sum(), rtol=1e-5)


def test_symmetric_cross_entropy():
    """Wang et al., eq. 5 to 7, with log 0 = A = -4."""
    log_labels = np.where(np.eye(K)[IDS] == 1, 0, -4.0)
    want = 0.1 * -np.log(OWN) - (P * log_labels).sum(1)
    reverse = 4 * jaxce.generalized_cross_entropy(X, IDS, q=1, reduction="none")
    np.testing.assert_allclose(0.1 * jaxce.cross_entropy(X, IDS, reduction="none") + reverse, want, **CLOSE)


def test_ldam():
    """Cao et al., eq. 13: margins C / n**(1/4), with the largest 1/2."""
    margins = 0.5 * (COUNTS.min() / COUNTS) ** 0.25
    assert margins.max() == 0.5
    own, rest = Z[np.arange(N), IDS] - margins[IDS], np.where(np.eye(K)[IDS] == 1, -np.inf, Z)
    want = -own + np.log(np.exp(own) + np.exp(rest).sum(1))
    moved = jnp.asarray(X) - jnp.asarray(margins, jnp.float32)[None] * jax.nn.one_hot(IDS, K)
    np.testing.assert_allclose(jaxce.cross_entropy(moved, IDS, reduction="none"), want, **CLOSE)


def test_asymmetric_loss_of_exclusive_classes():
    """The authors' ASLSingleLabel without smoothing."""
    hot, gamma_pos, gamma_neg = np.eye(K)[IDS], 1.0, 4.0
    w = (1 - P * hot - (1 - P) * (1 - hot)) ** (gamma_pos * hot + gamma_neg * (1 - hot))
    want = -(hot * w * np.log(P)).sum(1)
    np.testing.assert_allclose(jaxce.focal_loss(X, IDS, gamma=gamma_pos, reduction="none"), want, **CLOSE)


def test_coral():
    """Cao, Mirjalili and Raschka, eq. 4: the sum over the levels that a rank is above, or not."""
    above, score = IDS[:, None] > np.arange(K - 1), S[:, : K - 1]
    want = -(above * np.log(score) + ~above * np.log(1 - score)).sum(1)
    got = jaxce.sigmoid_binary_cross_entropy(X[:, : K - 1], above, reduction=jaxce.Sum(axis=-1))
    np.testing.assert_allclose(got, want, **CLOSE)


def test_temperature_of_held_out_data():
    """At the fitted inverse temperature the derivative is 0: the mean logit of the labels is that of the model."""
    z = 2 * RNG.normal(size=(200, K))
    ids = (z / 2 + RNG.gumbel(size=z.shape)).argmax(1)  # as likely as at a temperature of 2
    inverse, x = 1.0, jnp.asarray(z, jnp.float32)

    def held_out(b):
        return jaxce.cross_entropy(b * x, ids)

    for _ in range(10):
        inverse -= jax.grad(held_out)(inverse) / jax.hessian(held_out)(inverse)
    p = np.exp(float(inverse) * z)
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose((p * z).sum(1).mean(), z[np.arange(200), ids].mean(), rtol=1e-5)
    assert 0.3 < inverse < 0.7


def test_pos_weight_of_the_focal_loss_is_kornias():
    """Its two terms: ``pos_weight`` multiplies the positive one, beside alpha."""
    alpha, gamma, pos_weight = 0.25, 1.5, RNG.uniform(0.5, 3, K).astype(np.float32)
    positive = -alpha * (1 - S) ** gamma * BITS * np.log(S) * pos_weight
    negative = -(1 - alpha) * S**gamma * (1 - BITS) * np.log(1 - S)
    got = jaxce.sigmoid_focal_loss(X, BITS, alpha=alpha, gamma=gamma, pos_weight=pos_weight, reduction="none")
    np.testing.assert_allclose(got, positive + negative, **CLOSE)
    plain = jaxce.sigmoid_focal_loss(X, BITS, alpha=None, gamma=0, pos_weight=pos_weight)
    same = jaxce.sigmoid_binary_cross_entropy(X, BITS, pos_weight=pos_weight)
    np.testing.assert_allclose(plain, same, rtol=1e-6)


@pytest.mark.parametrize("p", [1, 2])
def test_hinge_loss_is_optaxs(p):
    """Optax takes signs; Keras's hinge and squared hinge map labels 0 and 1 to them."""
    got, gradient = jax.value_and_grad(lambda x: jaxce.hinge_loss(x, BITS, p=p, reduction="sum"))(jnp.asarray(X))
    want, of_optax = jax.value_and_grad(
        lambda x: jnp.sum(optax.losses.hinge_loss(x, jnp.asarray(2.0 * BITS - 1)) ** p)
    )(jnp.asarray(X))
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(gradient, of_optax, rtol=1e-6)


@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_js_divergence_of_views_is_augmixs(where, dtype):
    """The mean of KL(p_v, m) in float64, its gradient for every view, and masked examples that hold NaN."""
    views = jnp.asarray(2 * RNG.normal(size=(3, N, K)), dtype)
    p = np.asarray(jax.nn.softmax(views.astype(jnp.float32)), float)
    want = (p * (np.log(p) - np.log(p.mean(0)))).sum(-1).mean(0)
    x = views if where == "first" else jnp.moveaxis(views, (0, 2), (2, 0))
    axes = {} if where == "first" else {"view_axis": -1, "axis": 0}
    got = jaxce.js_divergence_of_views(x, **axes, reduction="none")
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)
    keep = np.arange(N) > 2
    masked = jnp.where(keep[:, None], views, jnp.nan)
    value, gradient = jax.value_and_grad(lambda v: jaxce.js_divergence_of_views(v, where=keep))(masked)
    np.testing.assert_allclose(value, want[keep].mean(), rtol=2e-5)
    exact = p * (np.log(p) - np.log(p.mean(0)))
    exact = (exact - p * exact.sum(-1, keepdims=True)) / 3 / keep.sum() * keep[:, None]
    np.testing.assert_allclose(
        gradient.astype(jnp.float32), exact, rtol=1e-2 if dtype == jnp.bfloat16 else 2e-4, atol=1e-6
    )


def test_equal_and_impossible_views():
    same = jnp.broadcast_to(jnp.asarray(X), (3, N, K))
    assert jnp.min(jaxce.js_divergence_of_views(same, reduction="none")) >= 0
    apart = jnp.where(jnp.eye(2) == 1, 0.0, -jnp.inf)[:, None]
    value, gradient = jax.value_and_grad(jaxce.js_divergence_of_views)(apart)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert jnp.isfinite(gradient).all()


def test_one_view_axis_too_many():
    with pytest.raises(ValueError, match=r"^view_axis: got 1 with axis=-1, the same axis"):
        jaxce.js_divergence_of_views(X, view_axis=1)
    with pytest.raises(ValueError, match=r"^logits: got shape \(0, 2, 3\), without views along axis 0"):
        jaxce.js_divergence_of_views(jnp.zeros((0, 2, 3)))


def test_the_ends_of_beta():
    """0 is KL(labels, softmax), 1 is KL(softmax, labels): infinite for labels of 0, unless the model agrees."""
    q = jnp.asarray(RNG.dirichlet(np.ones(K), N), jnp.float32)
    both = [jaxce.js_divergence(X, q, beta=beta, reduction="none") for beta in (0.0, 1)]
    kl = [
        jaxce.kl_divergence(X, q, reduction="none"),
        jaxce.kl_divergence(jnp.log(q), jax.nn.softmax(X), reduction="none"),
    ]
    np.testing.assert_allclose(both, kl, rtol=2e-6)
    np.testing.assert_allclose(
        jaxce.js_divergence(X, q, beta=0.25), jaxce.distillation_loss(X, jnp.log(q), beta=0.25), rtol=2e-6
    )
    assert jaxce.js_divergence(X, IDS, beta=1.0) == jnp.inf
    assert jaxce.js_divergence(jnp.where(jnp.eye(K) == 1, 0.0, -jnp.inf), jnp.arange(K), beta=1.0) == 0
    with pytest.raises(ValueError, match=r"^beta: got 1.5"):
        jaxce.js_divergence(X, q, beta=1.5)


PROBS = np.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]], np.float32)
OF_PROBS = {
    "cross_entropy": lambda p, q: -(q * np.log(np.where(q == 0, 1, p))).sum(-1),
    "focal_loss": lambda p, q: -(q * (1 - p) ** 2 * np.log(np.where(q == 0, 1, p))).sum(-1),
    "poly1_loss": lambda p, q: (q * (1 - p - np.log(np.where(q == 0, 1, p)))).sum(-1),
    "generalized_cross_entropy": lambda p, q: (q * (1 - p**0.7) / 0.7).sum(-1),
    "kl_divergence": lambda p, q: (q * np.log(np.where(q == 0, 1, q) / np.where(q == 0, 1, p))).sum(-1),
    "brier_loss": lambda p, q: ((p - q) ** 2).sum(-1),
}


@pytest.mark.parametrize("name", OF_PROBS)
@pytest.mark.parametrize("kind", ["ids", "probs"])
def test_losses_of_probabilities_with_zeros(name, kind):
    """The spelling of docs/conventions.md: exact in float64, with finite gradients for every probability."""
    labels = (
        np.array([0, 2, 0, 1]) if kind == "ids" else np.array([[0.5, 0.5, 0], [0, 1, 0], [1, 0, 0], [0.1, 0.2, 0.7]])
    )
    q = np.eye(3)[labels] if kind == "ids" else labels.astype(np.float32).astype(float)
    labels = labels if kind == "ids" else labels.astype(np.float32)

    def loss(probs):
        log_p = jnp.log(jnp.maximum(probs, jnp.finfo(probs.dtype).tiny))
        return getattr(jaxce, name)(log_p, labels, reduction="none")

    np.testing.assert_allclose(loss(jnp.asarray(PROBS)), OF_PROBS[name](PROBS.astype(float), q), **CLOSE)
    assert np.isfinite(jax.grad(lambda p: loss(p).sum())(jnp.asarray(PROBS))).all()
