"""``torch.nn``'s losses as frozen dataclass pytrees: arrays are leaves, everything else is static.

Each is its function in `functional`, which documents the options, with these given beforehand. They pass through
``jit``, can be closed over and held by modules, and are hashed by their static part.
"""

import dataclasses
import inspect
from dataclasses import InitVar
from functools import partial
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxce._types import Hyperparameter
from jaxce.torch._arguments import (
    LinearCrossEntropyOptions,
    check_layer,
    check_linear,
    check_loss,
    check_one_axis,
    check_p,
    check_scalar,
    legacy_reduction,
)
from jaxce.torch.nn import functional
from jaxce.torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    linear_cross_entropy,
    mse_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
)

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "LinearCrossEntropyOptions",
    "MSELoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "functional",
]

T = TypeVar("T")
WEIGHTS = ("weight", "pos_weight")


@dataclass_transform(frozen_default=True, eq_default=False)
def _frozen(kind: type[T]) -> type[T]:
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(kind)


@_frozen
class _Loss:
    """What the losses share: they are pytrees, and compare and print as such."""

    function: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        """Every loss is a pytree, a user's own as well."""
        jax.tree_util.register_pytree_with_keys(cls, _flatten, partial(_unflatten, cls))

    def __post_init__(self, *legacy: bool | None) -> None:
        weights = tuple(name for name in WEIGHTS if name in vars(self))
        check_loss(type(self).__name__, legacy, vars(self), weights)
        if any(flag is not None for flag in legacy):
            object.__setattr__(self, "reduction", legacy_reduction(*legacy))
        arrays = tuple(n for n, value in vars(self).items() if n in weights or isinstance(value, Array | np.ndarray))
        object.__setattr__(self, "_leaves", arrays)

    def _value(self, *inputs: ArrayLike, **others: ArrayLike | None) -> Array:
        known = inspect.signature(type(self).function).parameters
        options = {name: value for name, value in _fields(self).items() if name in known}
        value: Array = type(self).function(*inputs, **others, **options)
        return value

    def __hash__(self) -> int:
        return hash((type(self), _flatten(self)[1]))

    def __eq__(self, other: object) -> bool:
        """The same static part and the same arrays: whoever keeps losses as keys must not take one for another."""
        if type(other) is not type(self):
            return False
        (mine, static), (theirs, others) = _flatten(self), _flatten(other)
        return static == others and all(_is_same(a, b) for (_, a), (_, b) in zip(mine, theirs, strict=True))

    def __repr__(self) -> str:
        shown = (f"{name}={_text(value)}" for name, value in _fields(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"


def _fields(loss: Any) -> dict[str, Any]:
    return {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}


def _flatten(loss: Any) -> tuple[list[tuple[jax.tree_util.GetAttrKey, Any]], tuple[tuple[str, Any], ...]]:
    """The arrays, and everything else: of what was an array when the loss was made, the name alone."""
    fields, leaves = _fields(loss), loss._leaves
    static = tuple((name, None if name in leaves else value) for name, value in fields.items())
    return [(jax.tree_util.GetAttrKey(name), fields[name]) for name in leaves], (*static, ("_leaves", leaves))


def _unflatten(kind: Any, static: tuple[tuple[str, Any], ...], children: Any) -> Any:
    """A loss made without `__init__`, as its leaves may be anything by now."""
    loss, arrays = object.__new__(kind), dict(static) | dict(zip(dict(static)["_leaves"], children, strict=True))
    for name, value in arrays.items():
        object.__setattr__(loss, name, value)
    return loss


@_frozen
class _PairLoss(_Loss):
    """A loss of an input and a target."""

    def __call__(self, input: ArrayLike, target: ArrayLike) -> Array:
        """The value of the function with these options."""
        return self._value(input, target)


def _is_same(a: Any, b: Any) -> bool:
    if any(isinstance(x, jax.core.Tracer) or not isinstance(x, Array | np.ndarray) for x in (a, b)):
        return a is b or (type(a) is type(b) and not isinstance(a, Array) and bool(a == b))
    return a.shape == b.shape and a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def _text(value: Any) -> str:
    """Arrays by dtype and shape, such as ``float32[3]``."""
    if isinstance(value, Array | np.ndarray):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return repr(value)


@_frozen
class BCELoss(_PairLoss):
    """Binary cross-entropy of probabilities: ``functional.binary_cross_entropy`` with its options."""

    function = staticmethod(binary_cross_entropy)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class BCEWithLogitsLoss(_PairLoss):
    """Sigmoid cross-entropy of logits: ``functional.binary_cross_entropy_with_logits`` with its options."""

    function = staticmethod(binary_cross_entropy_with_logits)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    pos_weight: ArrayLike | None = None


@_frozen
class CrossEntropyLoss(_PairLoss):
    """Softmax cross-entropy of logits: ``functional.cross_entropy`` with its options."""

    function = staticmethod(cross_entropy)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    ignore_index: int = -100
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    label_smoothing: Hyperparameter = 0.0


@_frozen
class GaussianNLLLoss(_Loss):
    """Negative log-likelihood of a Gaussian: ``functional.gaussian_nll_loss`` with its options."""

    function = staticmethod(gaussian_nll_loss)

    _: dataclasses.KW_ONLY
    full: bool = False
    eps: Hyperparameter = 1e-6
    reduction: str = "mean"

    def __call__(self, input: ArrayLike, target: ArrayLike, var: ArrayLike) -> Array:
        """The value of the function with these options."""
        return self._value(input, target, var)


@_frozen
class HingeEmbeddingLoss(_PairLoss):
    """Hinge of distances: ``functional.hinge_embedding_loss`` with its options."""

    function = staticmethod(hinge_embedding_loss)

    margin: Hyperparameter = 1.0
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class HuberLoss(_PairLoss):
    """Squared error with straight arms: ``functional.huber_loss`` with its options."""

    function = staticmethod(huber_loss)

    reduction: str = "mean"
    delta: Hyperparameter = 1.0

    def __post_init__(self, *legacy: bool | None) -> None:
        super().__post_init__(*legacy)
        check_scalar("delta", self.delta)


@_frozen
class KLDivLoss(_PairLoss):
    """Kullback-Leibler divergence from log-probabilities: ``functional.kl_div`` with its options."""

    function = staticmethod(kl_div)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    log_target: bool = False


@_frozen
class L1Loss(_PairLoss):
    """Absolute error: ``functional.l1_loss`` with its options."""

    function = staticmethod(l1_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class LinearCrossEntropyLoss(_Loss):
    """Softmax cross-entropy of a linear layer, as ``functional.linear_cross_entropy``.

    It holds no layer, as PyTorch's does: the layer's weights are passed at the call, where they can be differentiated.

    Args:
        in_features: D, features of an example.
        num_classes: C, number of classes.
        out_features: further axes of the target.
        bias: whether a bias is passed at the call.
        device: None; arrays are placed with ``jax.device_put``.
        dtype: dtype of the layer's weights, checked at the call; any by default.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: weight of each class, ``[C]``.
        ignore_index: the id that does not count, -100 by default; only with ids.
        label_smoothing: eps in [0, 1], uniform over all classes.
        options: PyTorch's way of cutting the batch into chunks, which has no influence on the result.
    """

    function = staticmethod(linear_cross_entropy)

    in_features: int
    num_classes: int
    _: dataclasses.KW_ONLY
    out_features: tuple[int, ...] = ()
    bias: bool = False
    device: None = None
    dtype: DTypeLike | None = None
    reduction: str = "mean"
    weight: ArrayLike | None = None
    ignore_index: int | None = None
    label_smoothing: Hyperparameter = 0.0
    options: LinearCrossEntropyOptions | None = None

    def __post_init__(self, *legacy: bool | None) -> None:
        super().__post_init__(*legacy)
        for name, value in check_layer(_fields(self)).items():
            object.__setattr__(self, name, value)

    def __call__(
        self, input: ArrayLike, linear_weight: ArrayLike, target: ArrayLike, linear_bias: ArrayLike | None = None
    ) -> Array:
        """The loss for a layer's weights ``[C, ..., D]`` and, with ``bias``, its bias ``[C, ...]``."""
        check_linear(_fields(self), linear_weight, linear_bias)
        return self._value(input, linear_weight, target, linear_bias=linear_bias)


@_frozen
class MSELoss(_PairLoss):
    """Squared error: ``functional.mse_loss`` with its options."""

    function = staticmethod(mse_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class MultiLabelMarginLoss(_PairLoss):
    """Multi-label hinge: ``functional.multilabel_margin_loss`` with its options."""

    function = staticmethod(multilabel_margin_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class MultiLabelSoftMarginLoss(_PairLoss):
    """Sigmoid cross-entropy, mean over the classes: ``functional.multilabel_soft_margin_loss`` with its options."""

    function = staticmethod(multilabel_soft_margin_loss)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class MultiMarginLoss(_PairLoss):
    """Multi-class hinge: ``functional.multi_margin_loss`` with its options."""

    function = staticmethod(multi_margin_loss)

    p: int = 1
    margin: Hyperparameter = 1.0
    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"

    def __post_init__(self, *legacy: bool | None) -> None:
        super().__post_init__(*legacy)
        check_p(self.p)
        check_one_axis("weight", self.weight)


@_frozen
class NLLLoss(_PairLoss):
    """Negative log-likelihood of log-probabilities: ``functional.nll_loss`` with its options."""

    function = staticmethod(nll_loss)

    weight: ArrayLike | None = None
    size_average: InitVar[bool | None] = None
    ignore_index: int = -100
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class PoissonNLLLoss(_PairLoss):
    """Negative log-likelihood of a Poisson count: ``functional.poisson_nll_loss`` with its options."""

    function = staticmethod(poisson_nll_loss)

    log_input: bool = True
    full: bool = False
    size_average: InitVar[bool | None] = None
    eps: Hyperparameter = 1e-8
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@_frozen
class SmoothL1Loss(_PairLoss):
    """Absolute error with a rounded corner: ``functional.smooth_l1_loss`` with its options."""

    function = staticmethod(smooth_l1_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    beta: Hyperparameter = 1.0


@_frozen
class SoftMarginLoss(_PairLoss):
    """Logistic loss of answers 1 and -1: ``functional.soft_margin_loss`` with its options."""

    function = staticmethod(soft_margin_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
