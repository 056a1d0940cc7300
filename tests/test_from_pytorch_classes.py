"""The classes of `jaxce.torch.nn`: frozen dataclass pytrees with arrays as leaves, under JAX and in Flax."""

import copy
import dataclasses
import pickle
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import export
from jax.experimental import checkify
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxce.torch import functional as F
from jaxce.torch import nn

X = jnp.array([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0], [0.0, 1.0, 3.0]])
P, Y, W = jax.nn.softmax(X), jnp.array([0, 1, -100]), jnp.array([1.0, 2.0, 0.5])
SIGNS, SETS = jnp.where(X > 0, 1, -1), jnp.array([[0, -1, 1], [1, 2, -1], [2, -1, -1]])

MADE = {
    "CrossEntropyLoss": (
        nn.CrossEntropyLoss(W, label_smoothing=0.1),
        lambda: F.cross_entropy(X, Y, W, label_smoothing=0.1),
    ),
    "NLLLoss": (nn.NLLLoss(W, ignore_index=1), lambda: F.nll_loss(X, jnp.maximum(Y, 0), W, ignore_index=1)),
    "BCELoss": (nn.BCELoss(W, reduction="sum"), lambda: F.binary_cross_entropy(P, P, W, reduction="sum")),
    "BCEWithLogitsLoss": (
        nn.BCEWithLogitsLoss(pos_weight=W),
        lambda: F.binary_cross_entropy_with_logits(X, P, pos_weight=W),
    ),
    "KLDivLoss": (
        nn.KLDivLoss(reduction="batchmean", log_target=True),
        lambda: F.kl_div(X, X[::-1], reduction="batchmean", log_target=True),
    ),
    "SoftMarginLoss": (nn.SoftMarginLoss(reduction="sum"), lambda: F.soft_margin_loss(X, SIGNS, reduction="sum")),
    "MultiLabelSoftMarginLoss": (nn.MultiLabelSoftMarginLoss(W), lambda: F.multilabel_soft_margin_loss(X, P, W)),
    "MultiMarginLoss": (
        nn.MultiMarginLoss(2, 0.5, W),
        lambda: F.multi_margin_loss(X, jnp.maximum(Y, 0), 2, 0.5, W),
    ),
    "MultiLabelMarginLoss": (
        nn.MultiLabelMarginLoss(reduction="none"),
        lambda: F.multilabel_margin_loss(X, SETS, None, None, "none"),
    ),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss(0.7), lambda: F.hinge_embedding_loss(X, SIGNS, 0.7)),
    "PoissonNLLLoss": (
        nn.PoissonNLLLoss(False, True, eps=0.1),
        lambda: F.poisson_nll_loss(P, P, False, True, None, 0.1),
    ),
    "GaussianNLLLoss": (nn.GaussianNLLLoss(full=True, eps=0.3), lambda: F.gaussian_nll_loss(X, P, P, True, 0.3)),
    "MSELoss": (nn.MSELoss(), lambda: F.mse_loss(X, P)),
    "L1Loss": (nn.L1Loss(reduction="sum"), lambda: F.l1_loss(X, P, reduction="sum")),
    "SmoothL1Loss": (nn.SmoothL1Loss(beta=0.3), lambda: F.smooth_l1_loss(X, P, beta=0.3)),
    "HuberLoss": (nn.HuberLoss("sum", 0.3), lambda: F.huber_loss(X, P, "sum", 0.3)),
    "LinearCrossEntropyLoss": (
        nn.LinearCrossEntropyLoss(3, 3, bias=True, weight=W, reduction="sum"),
        lambda: F.linear_cross_entropy(X, P, Y, linear_bias=W, weight=W, reduction="sum"),
    ),
}
"""A loss of each class, and the value of its function with the same options."""
INPUTS = {
    "CrossEntropyLoss": (X, Y),
    "NLLLoss": (X, jnp.maximum(Y, 0)),
    "BCELoss": (P, P),
    "KLDivLoss": (X, X[::-1]),
    "SoftMarginLoss": (X, SIGNS),
    "MultiMarginLoss": (X, jnp.maximum(Y, 0)),
    "MultiLabelMarginLoss": (X, SETS),
    "HingeEmbeddingLoss": (X, SIGNS),
    "PoissonNLLLoss": (P, P),
    "GaussianNLLLoss": (X, P, P),
    "LinearCrossEntropyLoss": (X, P, Y, W),
}


def test_every_class_is_here():
    assert set(MADE) == {name for name in nn.__all__ if name.endswith("Loss")}


@pytest.mark.parametrize("name", MADE)
def test_a_loss_is_its_function_with_the_options_given_beforehand(name):
    loss, expected = MADE[name]
    inputs = INPUTS.get(name, (X, P))
    np.testing.assert_array_equal(loss(*inputs), expected())
    np.testing.assert_allclose(jax.jit(lambda loss, *inputs: loss(*inputs))(loss, *inputs), expected(), rtol=1e-6)


@pytest.mark.parametrize("name", MADE)
def test_mapped_over_batches_a_loss_is_that_of_each(name):
    loss, inputs = MADE[name][0], INPUTS.get(name, (X, P))
    batches = [inputs, tuple(x[::-1] for x in inputs)]
    mapped = jax.vmap(lambda *inputs: loss(*inputs))(*(jnp.stack(both) for both in zip(*batches, strict=True)))
    np.testing.assert_allclose(mapped, [loss(*batch) for batch in batches], rtol=1e-6)


@pytest.mark.parametrize("name", MADE)
def test_both_modes_of_differentiation_agree_twice(name):
    loss, (x, *others) = MADE[name][0], INPUTS.get(name, (X, P))
    scalar = jax.checkpoint(lambda x: jnp.sum(loss(x, *others)))
    np.testing.assert_allclose(jax.jacfwd(scalar)(x), jax.grad(scalar)(x), rtol=1e-5, atol=1e-6)
    forward, reverse = jax.jit(jax.jacfwd(jax.grad(scalar)))(x), jax.jit(jax.jacrev(jax.grad(scalar)))(x)
    np.testing.assert_allclose(forward, reverse, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MADE)
def test_a_loss_is_a_frozen_pytree(name):
    loss = MADE[name][0]
    leaves, tree = jax.tree.flatten(loss)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert tree.unflatten(leaves) == loss == dataclasses.replace(loss)
    assert hash(tree.unflatten(leaves)) == hash(loss)
    assert jax.tree.map(lambda leaf: leaf, loss) == loss
    assert repr(loss).startswith(f"{name}(")
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.reduction = "sum"


@pytest.mark.parametrize("name", MADE)
def test_a_loss_is_exported_for_batches_of_any_size(name):
    loss, inputs = MADE[name][0], INPUTS.get(name, (X, P))
    (size,) = export.symbolic_shape("n")
    layer = 1 if name == "LinearCrossEntropyLoss" else len(inputs)  # its weights and bias have no batch
    batched = [i < layer or (name == "LinearCrossEntropyLoss" and i == 2) for i in range(len(inputs))]
    shapes = [
        jax.ShapeDtypeStruct((size, *x.shape[1:]) if own else x.shape, x.dtype)
        for x, own in zip(inputs, batched, strict=True)
    ]
    exported = export.export(jax.jit(lambda *inputs: loss(*inputs)))(*shapes)
    twice = [jnp.concatenate([x, x]) if own else x for x, own in zip(inputs, batched, strict=True)]
    np.testing.assert_allclose(exported.call(*twice), loss(*twice), rtol=1e-6)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["automatic", "explicit"])
@pytest.mark.parametrize("name", MADE)
def test_rows_split_over_devices_give_the_same(name, kind):
    loss, inputs = MADE[name][0], INPUTS.get(name, (X, P))
    shared = {1, 3} if name == "LinearCrossEntropyLoss" else set()  # its weights and bias have no batch
    inputs = [x if i in shared else jnp.concatenate([x] * 4) for i, x in enumerate(inputs)]
    value_and_gradient = jax.value_and_grad(lambda x, *others: jnp.sum(loss(x, *others)))
    expected = value_and_gradient(*inputs)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    split = [NamedSharding(mesh, PartitionSpec() if i in shared else PartitionSpec("data")) for i in range(len(inputs))]
    with jax.set_mesh(mesh):
        value, gradient = jax.jit(value_and_gradient)(*map(jax.device_put, inputs, split))
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MADE)
def test_clean_inputs_pass_where_nan_raises(name):
    loss, inputs = MADE[name][0], INPUTS.get(name, (X, P))
    with jax.debug_nans(True):
        loss(*inputs)
        jax.grad(lambda x: jnp.sum(loss(x, *inputs[1:])))(inputs[0])


class Tempered(nn.CrossEntropyLoss):
    """A user's own loss; it registers nothing with JAX."""

    def __call__(self, input, target):
        return super().__call__(input / 2, target)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scaled(nn.CrossEntropyLoss):
    """A user's own loss with one more option."""

    scale: float = 1.0

    def __call__(self, input, target):
        return self.scale * super().__call__(input, target)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(Tempered(W), F.cross_entropy(X / 2, Y, W)), (Scaled(W, scale=3.0), 3 * F.cross_entropy(X, Y, W))],
    ids=["call", "option"],
)
def test_losses_of_users_are_pytrees_too(loss, expected):
    np.testing.assert_allclose(jax.jit(lambda loss: loss(X, Y))(loss), expected, rtol=1e-6)
    assert [leaf.shape for leaf in jax.tree.leaves(loss)] == [(3,)]


def test_an_option_that_is_an_array_is_a_leaf():
    loss = nn.CrossEntropyLoss(label_smoothing=jnp.array(0.1))
    np.testing.assert_allclose(jax.jit(lambda loss: loss(X, Y))(loss), F.cross_entropy(X, Y, label_smoothing=0.1))
    made = jax.jit(lambda eps: nn.CrossEntropyLoss(label_smoothing=eps))(0.1)
    np.testing.assert_allclose(made(X, Y), loss(X, Y), rtol=1e-6)
    assert hash(loss) == hash(made)


def test_leaves_may_be_anything():
    loss = nn.BCEWithLogitsLoss(W, pos_weight=W)
    axes = jax.tree.map(lambda leaf: 0, loss)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), loss)
    assert jax.vmap(lambda loss: loss(X, P), in_axes=(axes,))(stacked).shape == (2,)
    assert axes == jax.tree.map(lambda leaf: 0, loss) != jax.tree.map(lambda leaf: 1, loss)
    assert repr(axes) == "BCEWithLogitsLoss(weight=0, reduction='mean', pos_weight=0)"
    assert pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) == loss


def test_repr_names_arrays_by_dtype_and_shape():
    text = "CrossEntropyLoss(weight=float32[3], ignore_index=-100, reduction='mean', label_smoothing=0.1)"
    assert repr(MADE["CrossEntropyLoss"][0]) == text


def test_the_hash_is_of_the_static_part_and_equality_of_both():
    """If the static part alone decided, two losses as static arguments of `jit` would share one compiled program."""
    loss, other = nn.CrossEntropyLoss(W), nn.CrossEntropyLoss(2 * W)
    assert hash(loss) == hash(other)
    assert loss == nn.CrossEntropyLoss(jnp.array(W)) != other
    assert loss != nn.CrossEntropyLoss() != nn.NLLLoss()
    assert nn.MSELoss() == nn.MSELoss() != nn.MSELoss(reduction="sum")

    static = jax.jit(lambda loss: loss(X, Y), static_argnums=0)
    np.testing.assert_allclose([static(loss), static(other)], [loss(X, Y), other(X, Y)], rtol=1e-6)


def test_arrays_are_leaves_that_need_no_new_trace():
    traces = []

    @jax.jit
    def value(loss):
        traces.append(loss)
        return loss(X, Y)

    for weight in (W, W[::-1]):
        np.testing.assert_allclose(value(nn.CrossEntropyLoss(weight)), F.cross_entropy(X, Y, weight), rtol=1e-6)
    assert len(traces) == 1
    value(nn.CrossEntropyLoss(W, reduction="sum"))
    assert len(traces) == 2


def test_losses_are_differentiated_stacked_and_mapped():
    loss = nn.BCEWithLogitsLoss(pos_weight=W)
    gradient = jax.grad(lambda loss: loss(X, P))(loss).pos_weight
    expected = jax.grad(lambda w: F.binary_cross_entropy_with_logits(X, P, pos_weight=w))(W)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    margins = [nn.MultiMarginLoss(weight=w) for w in (W, 2 * W)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *margins)
    values = jax.vmap(lambda loss: loss(X, jnp.maximum(Y, 0)))(stacked)
    np.testing.assert_allclose(values, [loss(X, jnp.maximum(Y, 0)) for loss in margins], rtol=1e-6)


class Model(nnx.Module):
    def __init__(self):
        self.head = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
        self.loss = nnx.data(nn.CrossEntropyLoss(W))
        self.distance = nn.MSELoss()

    def __call__(self, x, y):
        scores = self.head(x)
        return self.loss(scores, y) + self.distance(scores, x)


def test_a_loss_lives_in_a_flax_module():
    model = Model()
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, gradient = nnx.value_and_grad(lambda model: model(X, Y))(model)
        optimizer.update(model, gradient)
        return loss

    losses = [step(model, optimizer) for _ in range(3)]
    assert losses[0] > losses[1] > losses[2]
    np.testing.assert_array_equal(model.loss.weight, W)
    again = nnx.merge(*nnx.split(model))
    np.testing.assert_allclose(again(X, Y), model(X, Y))


@pytest.mark.usefixtures("unannotated")
def test_making_and_calling_are_two_things():
    with pytest.raises(TypeError, match=r"CrossEntropyLoss\(\)\(input, target\)"):
        nn.CrossEntropyLoss(X, Y)


@pytest.mark.usefixtures("unannotated")
def test_deprecated_arguments_warn_the_line_that_gives_them():
    for make in (nn.CrossEntropyLoss, nn.MultiMarginLoss):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert make(size_average=False).reduction == "sum"
        assert [(w.category, w.filename) for w in caught] == [(DeprecationWarning, __file__)], make
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        F.cross_entropy(X, Y, size_average=False)
        F.softmax(X)
        F.mse_loss(X, P[:1])
    assert [w.filename for w in caught] == [__file__] * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"linear_weight": P[:2]}, "linear_weight: got shape (2, 3); expected (3, 3)."),
        ({"linear_bias": None}, "linear_bias: got None; expected an array, as bias=True."),
    ],
)
def test_a_linear_loss_knows_its_layer(given, message):
    loss = nn.LinearCrossEntropyLoss(3, 3, bias=True)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loss(**{"input": X, "linear_weight": P, "target": Y, "linear_bias": W} | given)


def test_a_bad_id_under_a_trace_is_nan_and_checkify_names_it():
    loss, gradient = jax.jit(jax.value_and_grad(F.cross_entropy))(X, jnp.array([0, 1, 3]))
    assert jnp.isnan(loss)
    assert jnp.isnan(gradient[2]).all()
    error, _ = jax.jit(checkify.checkify(F.cross_entropy, errors=checkify.index_checks))(X, jnp.array([0, 1, 3]))
    assert "index 3 is out of bounds for axis 0 with size 3" in error.get()


@pytest.mark.parametrize(
    ("loss", "ids"),
    [(F.multi_margin_loss, [7, 0]), (F.multilabel_margin_loss, [[7, -1, 0], [0, -1, 0]]), (F.cross_entropy, [7, 0])],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_id_is_in_the_whole_row_of_the_gradient_though_the_row_costs_nothing(loss, ids):
    x = jnp.array([[5.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    gradient = jax.jit(jax.grad(lambda x: loss(x, jnp.array(ids), reduction="sum")))(x)
    assert jnp.isnan(gradient[0]).all()
    assert jnp.isfinite(gradient[1]).all()


def test_pairs_of_classes_are_never_an_array():
    scores, ids = jax.ShapeDtypeStruct((64, 500), jnp.float32), jax.ShapeDtypeStruct((64, 500), jnp.int32)
    compiled = jax.jit(jax.value_and_grad(F.multilabel_margin_loss)).lower(scores, ids).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * 64 * 500 * 4


def test_the_gradient_of_a_label_is_the_logit():
    """A difference of two softplus would round to 0."""
    x = jnp.float32([1e-4, 1e-8, -1e-6, 3.0])
    gradient = jax.grad(lambda y: F.binary_cross_entropy_with_logits(x, y, reduction="sum"))(jnp.zeros(4))
    np.testing.assert_array_equal(gradient, -x)


@pytest.mark.parametrize(
    "top", [[20.0, 0.0, -3.0], [1.0, 1.0, 0.0], [3.0, -jnp.inf, 2.0], [0.0, -30.0, -40.0]], ids=str
)
def test_a_log_softmax_of_16_bits_is_exact_near_0(top):
    x = jnp.array(top, jnp.bfloat16)
    expected = np.array(top) - np.logaddexp.reduce(np.array(top))
    expected[0] = -np.log1p(np.sum(np.exp(np.array(top[1:]) - top[0])))
    np.testing.assert_allclose(F.log_softmax(x, 0).astype(float), expected, rtol=2**-8)
    gradient = jax.jacfwd(lambda x: F.log_softmax(x, 0))(x.astype(jnp.float32))
    np.testing.assert_allclose(gradient, np.eye(3) - np.exp(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_linear_loss_of_16_bits_is_exact_near_0(dtype):
    hidden, kernel = jnp.ones((1, 2), dtype), jnp.array([[8, 0], [0, 0]], dtype)
    loss, gradient = jax.value_and_grad(F.linear_cross_entropy, argnums=1)(hidden, kernel, jnp.array([0]))
    rest = np.log1p(np.exp(-8.0))
    np.testing.assert_allclose([np.float64(loss), -np.float64(gradient[0, 0])], rest, rtol=float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.PoissonNLLLoss(X, P),
        lambda: nn.HuberLoss(X),
        lambda: nn.HingeEmbeddingLoss(X),
        lambda: nn.MultiMarginLoss(X, Y),
        lambda: F.mse_loss(X, P, X),
        lambda: F.kl_div(X, P, log_target=1, reduction="sum"),
        lambda: F.poisson_nll_loss(X, P, "a"),
        lambda: F.linear_cross_entropy(X, P, Y, options="auto"),
        lambda: F.softmax(X, 1, dtype="floaty"),
        lambda: F.multi_margin_loss(X, jnp.maximum(Y, 0), jnp.array([1, 2])),
    ],
)
@pytest.mark.usefixtures("unannotated")
def test_invalid_options_raise_by_name(call):
    with pytest.raises(TypeError, match=r"^\w+: got .*; expected "):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.huber_loss(X, P, delta=jnp.array(-1.0)),
        lambda: F.smooth_l1_loss(X, P, beta=jnp.array(-1.0)),
        lambda: F.cross_entropy(X, Y, label_smoothing=jnp.array(1.5)),
    ],
)
def test_concrete_arrays_as_options_are_checked(call):
    with pytest.raises(ValueError, match=r"^\w+: got .*; expected a number "):
        call()


def test_the_imports_of_pytorch_users_find_the_same_modules():
    import jaxce.torch.nn
    import jaxce.torch.nn.functional

    assert jaxce.torch.nn.functional is jaxce.torch.functional is F
    assert jaxce.torch.nn is nn
