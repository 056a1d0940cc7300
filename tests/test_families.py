"""The families at their ends: infinities, certainty, limits of the hyperparameters, and what is equal to what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxce

X = np.float32([[2.0, 0.0, -1.0], [0.5, 1.5, 1.0], [-3.0, 4.0, 0.0]])
IDS = np.array([0, 2, 1])
PROBS = np.float32([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
both_labels = pytest.mark.parametrize("labels", [IDS, PROBS], ids=["ids", "probs"])
GAMMAS = (0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 5.0)
FAR = [0.0, 20.0, 90.0, 1e3, 1e4, 1e36]


def with_derivatives(loss, *arrays):
    """Value, gradients and Hessian, compiled as one."""
    return jax.jit(derivatives(loss, len(arrays)))(*arrays)


def derivatives(loss, number):
    every = tuple(range(number))
    return lambda *a: (loss(*a), jax.grad(loss, every)(*a), jax.hessian(loss, every)(*a))


@both_labels
@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_loss_far_out(labels, gamma):
    def loss(x):
        return jaxce.focal_loss(x, labels[:1], gamma=gamma)

    x = jnp.float32([[[f, 0, 0], [-f, 0, 0], [f, -f, 0], [0, f, -f]] for f in FAR]).reshape(-1, 1, 3)
    for part in jax.tree.leaves(jax.jit(jax.vmap(derivatives(loss, 1)))(x)):
        assert np.isfinite(part).all()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_loss_is_the_formula_far_out(gamma, x64):
    """With 60 digits of room the formula needs no care: logits at which every part of it still has digits."""
    for z in (-30.0, -3.0, 0.0, 3.0, 12.0):
        p = 1 / (1 + np.exp(-np.longdouble(z)))
        s = np.log1p(np.exp(-np.longdouble(z)))
        factor = (1 - p) ** np.longdouble(gamma)
        gradient = -factor * (1 - p) - gamma * factor * p * s
        value, grads, _ = with_derivatives(
            lambda x: jaxce.focal_loss(x, np.array(0), gamma=gamma), jnp.asarray([z, 0.0], jnp.float64)
        )
        np.testing.assert_allclose(value, np.float64(factor * s), rtol=1e-9)
        np.testing.assert_allclose(grads[0], np.float64([gradient, -gradient]), rtol=1e-9)


@both_labels
def test_an_impossible_label_costs_infinity_with_a_finite_gradient(labels):
    x = jnp.float32([[-np.inf, 1.0, 0.0]])
    for loss in (jaxce.focal_loss, jaxce.poly1_loss):
        value, gradient = jax.value_and_grad(lambda x, f=loss: f(x, labels[:1]))(x)
        assert value == np.inf
        assert np.isfinite(gradient).all()
    bounded = (jaxce.generalized_cross_entropy, jaxce.brier_loss, jaxce.js_divergence)
    for loss in bounded:
        value, gradient = jax.value_and_grad(lambda x, f=loss: f(x, labels[:1]))(x)
        assert np.isfinite(value), loss.__name__
        assert np.isfinite(gradient).all(), loss.__name__


@pytest.mark.parametrize(
    "loss", ["focal_loss", "poly1_loss", "generalized_cross_entropy", "kl_divergence", "js_divergence", "brier_loss"]
)
@pytest.mark.parametrize("kind", ["ids", "probs"])
def test_an_impossible_class_that_is_no_label_is_not_there(loss, kind):
    call = getattr(jaxce, loss)
    y, fewer = (0, 0) if kind == "ids" else (np.float32([0.75, 0.25, 0.0]), np.float32([0.75, 0.25]))
    x = jnp.float32([1.0, 0.5, -np.inf])
    value, (gradient,), (curved,) = with_derivatives(lambda x: call(x, np.asarray(y)), x)
    want, (few,), _ = with_derivatives(lambda x: call(x, np.asarray(fewer)), x[:2])
    np.testing.assert_allclose(value, want, rtol=2e-6)
    np.testing.assert_allclose(gradient, [*few, 0.0], rtol=2e-5, atol=1e-6)
    assert np.isfinite(curved[0]).all()


@both_labels
def test_the_limits_are_cross_entropy(labels):
    options = {"class_weights": np.float32([1.0, 2.0, 0.5]), "label_smoothing": 0.125}
    want = jax.jit(jax.value_and_grad(lambda x: jaxce.cross_entropy(x, labels, **options)))(X)
    for loss, limit in (
        (jaxce.focal_loss, {"gamma": 0.0}),
        (jaxce.poly1_loss, {"epsilon": 0.0}),
        (jaxce.generalized_cross_entropy, {"q": 0.0}),
    ):
        for given in (limit, {name: jnp.float32(v) for name, v in limit.items()}):
            got = jax.jit(jax.value_and_grad(lambda x, f=loss, o=given: f(x, labels, **options, **o)))(X)
            np.testing.assert_allclose(got[0], want[0], rtol=2e-6)
            np.testing.assert_allclose(got[1], want[1], rtol=2e-5, atol=1e-6)
    for q in (1e-6, 1e-3):
        near = jaxce.generalized_cross_entropy(X[:1], labels[:1], q=q)
        p, y = np.float64(jax.nn.softmax(X[0])), np.eye(3)[IDS[0]] if labels is IDS else PROBS[0]
        np.testing.assert_allclose(near, (y * (1 - p**q) / q).sum(), rtol=2e-6)


def test_generalized_cross_entropy_at_1_is_the_mean_absolute_error():
    p = jax.nn.softmax(X)
    got = jaxce.generalized_cross_entropy(X, IDS, q=1, reduction="none")
    absolute = jnp.sum(jnp.abs(p - jax.nn.one_hot(IDS, 3)), -1)
    np.testing.assert_allclose(got, absolute / 2, rtol=2e-6)


def test_poly1_at_minus_1_begins_with_the_square():
    """The series of cross-entropy without its first term."""
    p = np.float64(1 / (1 + np.exp(-9.0)))
    want = sum((1 - p) ** j / j for j in range(2, 40))
    got = jaxce.poly1_loss(np.float32([9.0, 0.0]), np.array(0), epsilon=-1)
    np.testing.assert_allclose(got, want, atol=1e-7)


@both_labels
def test_kl_divergence_is_cross_entropy_less_the_entropy_of_the_labels(labels):
    kl, gradient = jax.value_and_grad(lambda x: jaxce.kl_divergence(x, labels))(jnp.asarray(X))
    ce, wanted = jax.value_and_grad(lambda x: jaxce.cross_entropy(x, labels))(jnp.asarray(X))
    q = np.where(PROBS == 0, 1, PROBS).astype(float)
    entropy = 0 if labels is IDS else -(q * np.log(q)).sum(-1).mean()
    np.testing.assert_allclose(kl, ce - entropy, rtol=2e-6)
    np.testing.assert_allclose(gradient, wanted, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(jaxce.kl_divergence(jax.nn.log_softmax(X), labels), kl, rtol=2e-6)


@pytest.mark.parametrize("loss", [jaxce.kl_divergence, jaxce.js_divergence])
def test_zero_log_zero_is_zero_with_finite_gradients(loss):
    """A teacher whose probabilities are 0 and 1 is differentiated through, too."""
    teacher = jnp.float32([[0.0, -200.0, 5.0], [300.0, 0.0, -np.inf]])

    def distance(x, z):
        return loss(x, jax.nn.softmax(z))

    value, gradients, _ = with_derivatives(distance, jnp.asarray(X[:2]), teacher)
    assert np.isfinite(value)
    for gradient in gradients:
        assert np.isfinite(gradient).all()
    assert loss(teacher[:1], jax.nn.softmax(teacher[:1])) == pytest.approx(0, abs=1e-6)


def test_js_divergence_is_symmetric_and_bounded():
    p, q = jax.nn.softmax(X), jnp.asarray(PROBS)
    there, back = jaxce.js_divergence(X, q), jaxce.js_divergence(jnp.log(q), p)
    np.testing.assert_allclose(there, back, rtol=1e-5)
    far = jaxce.js_divergence(np.float32([1e4, 0.0]), np.float32([0.0, 1.0]))
    np.testing.assert_allclose(far, np.log(2), rtol=1e-6)


def test_entropy_at_its_ends():
    np.testing.assert_allclose(jaxce.entropy(np.zeros(8, np.float32)), np.log(8), rtol=1e-6)
    certain = jnp.float32([1e4, 0.0, -np.inf])
    for part in jax.tree.leaves(with_derivatives(jaxce.entropy, certain)):
        np.testing.assert_array_equal(part, 0)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("loss", ["sigmoid_focal_loss", "asymmetric_loss"])
def test_sigmoid_focal_losses_far_out(loss, gamma):
    own = {"gamma": gamma} if loss == "sigmoid_focal_loss" else {"gamma_pos": gamma, "gamma_neg": gamma}
    call, y = getattr(jaxce, loss), jnp.float32([0.0, 1.0, 0.25])
    x = jnp.float32([[f] * 3 for f in FAR] + [[-f] * 3 for f in FAR])
    parts = jax.jit(jax.vmap(derivatives(lambda x, y: call(x, y, reduction="sum", **own), 2), (0, None)))(x, y)
    for part in jax.tree.leaves((parts[0], parts[1], parts[2][0][0])):
        assert np.isfinite(part).all()


def test_the_gradient_of_the_sigmoid_focal_loss_along_its_labels():
    """At hard labels a power taken through a logarithm of weights loses it."""
    for y, want in ((0.0, -0.80844), (1.0, -0.16707)):
        gradient = jax.grad(lambda y: jaxce.sigmoid_focal_loss(jnp.float32(0.7), y, alpha=None))(jnp.float32(y))
        np.testing.assert_allclose(gradient, want, rtol=1e-4)


@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
def test_the_limits_of_the_sigmoid_losses_are_binary_cross_entropy(y):
    x, y = jnp.float32([-30.0, -2.0, 0.0, 1.0, 40.0]), jnp.full(5, y, jnp.float32)
    want = jax.value_and_grad(jaxce.sigmoid_binary_cross_entropy)(x, y)
    focal = jax.value_and_grad(lambda x: jaxce.sigmoid_focal_loss(x, y, alpha=None, gamma=0))(x)
    asymmetric = jax.value_and_grad(lambda x: jaxce.asymmetric_loss(x, y, gamma_pos=0, gamma_neg=0, clip=0))(x)
    for got in (focal, asymmetric):
        np.testing.assert_allclose(got[0], want[0], rtol=2e-6)
        np.testing.assert_allclose(got[1], want[1], rtol=2e-5, atol=1e-12)


def test_alpha_0_is_not_no_alpha():
    x, y = jnp.float32([1.0, -1.0]), np.array([1, 1])
    assert jaxce.sigmoid_focal_loss(x, y, alpha=0.0) == 0
    assert jaxce.sigmoid_focal_loss(x, y, alpha=None) > 0


def test_negatives_that_are_sure_cost_nothing_below_the_clip():
    x = jnp.float32([-4.0, -2.0])  # probabilities 0.018 and 0.119
    values = jaxce.asymmetric_loss(x, np.zeros(2, int), clip=0.05, reduction="none")
    assert values[0] == 0
    assert values[1] > 0
    unfocused = jaxce.asymmetric_loss(x, np.zeros(2, int), gamma_neg=0, clip=0.05, reduction="none")
    p = 1 / (1 + np.exp(-np.float64(x)))
    np.testing.assert_allclose(unfocused, [0, -np.log(1.05 - p[1])], rtol=2e-6)


def test_signs_are_no_zeros():
    with pytest.raises(ValueError, match=r"labels: 1 of 3 values is neither -1 nor 1; first: 0 at"):
        jaxce.soft_margin_loss(X[0], np.array([1, 0, 1]))
    assert jaxce.soft_margin_loss(X[0], np.array([True, False, True])) == jaxce.soft_margin_loss(
        X[0], np.array([1, -1, 1])
    )
    same = jaxce.sigmoid_binary_cross_entropy(X[0], np.array([1, 0, 1]))
    np.testing.assert_allclose(jaxce.soft_margin_loss(X[0], np.array([1, -1, 1])), same, rtol=2e-6)


def test_what_wins_by_the_margin_costs_nothing():
    x = jnp.float32([[3.0, 1.0, 1.9]])
    for variant in ("weston-watkins", "crammer-singer"):
        for p in (1, 2):
            options = {"variant": variant, "p": p}
            value, gradient = jax.value_and_grad(
                lambda x, o=options: jaxce.multiclass_hinge_loss(x, np.array([0]), **o)
            )(x)
            assert value == 0
            np.testing.assert_array_equal(gradient, 0)
            missed = jaxce.multiclass_hinge_loss(x, np.array([0]), margin=2.5, **options)
            gaps = np.array([0.5, 1.4]) ** p
            np.testing.assert_allclose(missed, gaps.sum() / 3 if variant[0] == "w" else gaps.max(), rtol=1e-5)


def test_an_id_that_is_compared_is_found_by_nan_checks():
    """Some losses look no class up: there the mistake is a NaN."""
    from jax.experimental import checkify

    for loss in (jaxce.brier_loss, jaxce.js_divergence, jaxce.dice_loss, jaxce.multiclass_hinge_loss):
        checked = checkify.checkify(jax.jit(loss), errors=checkify.nan_checks)
        assert checked(jnp.asarray(X), jnp.asarray([0, 7, 1]))[0].get() is not None


@pytest.mark.parametrize("far", [20.0, 50.0, 60.0, 80.0])
def test_curvature_of_the_divergences_far_out(far):
    """Where probabilities are small but not 0, the square of one is 0 in float32."""
    x, z = jnp.float32([far, 0.0, 1.0]), jnp.float32([0.0, 1.0, 2.0])
    for loss in (jaxce.js_divergence, jaxce.kl_divergence):
        for function in (lambda x, f=loss: f(x, jnp.array(1)), lambda x, f=loss: f(z, jax.nn.softmax(x))):
            for part in jax.tree.leaves(with_derivatives(function, x)):
                assert np.isfinite(part).all()


@pytest.mark.parametrize("loss", ["focal_loss", "poly1_loss", "kl_divergence", "js_divergence", "brier_loss"])
def test_the_gradient_of_16_bit_probabilities_is_rounded_once(loss):
    labels = jnp.asarray(PROBS, jnp.bfloat16)
    weights = np.float32([1.0, 2.5, 0.25])

    def gradient(labels):
        return jax.jit(jax.grad(lambda y: getattr(jaxce, loss)(X, y, class_weights=weights, reduction="sum")))(labels)

    got, want = gradient(labels), gradient(labels.astype(jnp.float32))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, want.astype(jnp.bfloat16))


def test_a_common_offset_costs_the_hinges_nothing():
    x = np.float32([[0.5, 0.25, 0.0]])
    for variant in ("weston-watkins", "crammer-singer"):
        near, far = (
            jaxce.multiclass_hinge_loss(x + np.float32(o), np.array([0]), margin=0.3, variant=variant) for o in (0, 1e5)
        )
        assert near == far


def test_infinite_scores_of_the_hinges():
    inf = np.inf
    hinge = jaxce.multiclass_hinge_loss
    assert np.isnan(hinge(np.float32([-inf, -inf]), np.array(0)))
    assert np.isnan(hinge(np.float32([inf, inf]), np.array(0)))
    assert hinge(np.float32([-inf, 0.0]), np.array(0)) == inf
    assert hinge(np.float32([inf, -inf]), np.array(0)) == 0
    assert hinge(np.float32([0.0, -inf]), np.array(0)) == 0


def test_the_gradient_of_generalized_cross_entropy_along_q_at_0():
    s = -np.log(np.float64(jax.nn.softmax(X)[0, 0]))
    for q in (0.0, 1e-20, 1e-8, 1e-4):
        gradient = jax.grad(lambda q: jaxce.generalized_cross_entropy(X[0], np.array(0), q=q))(jnp.float32(q))
        np.testing.assert_allclose(gradient, -(s**2) / 2, rtol=1e-3)


def test_a_hyperparameter_with_a_value_is_checked_whatever_holds_it():
    for gamma in (-1, -1.0, jnp.float32(-1)):
        with pytest.raises(ValueError, match="gamma: got -1"):
            jaxce.focal_loss(X, IDS, gamma=gamma)


def test_labels_between_0_and_1():
    """Signs where yes is 1 and no is 0, or the 255 of a stored mask, would give a number like any other."""
    signs, x = np.float32([1, -1, 1]), X[0]
    for loss in (jaxce.sigmoid_focal_loss, jaxce.asymmetric_loss, jaxce.multilabel_margin_loss):
        with pytest.raises(
            ValueError, match=r"labels: \d of \d values (is|are) outside \[0, 1\]; first: -1 at position \(1,\)"
        ):
            loss(x, signs)
        assert np.isnan(jax.jit(loss)(x, signs))
    for loss in (jaxce.lovasz_hinge, lambda x, y: jaxce.dice_loss(x, y, axis=None, activation="sigmoid")):
        with pytest.raises(ValueError, match=r"labels: 3 of 3 values are outside \[0, 1\]; first: 255 at position \(0"):
            loss(x[None], 255 * np.abs(signs[None]))
    with pytest.raises(ValueError, match=r"labels: 3 of 3 values are outside \[-1, 1\]; first: 2 at"):
        jaxce.soft_margin_loss(x, 2 * signs)
