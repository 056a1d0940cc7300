"""Written by `python tests/public_types.py`, from the signatures of the functions."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar, overload

from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from jaxce._explain._record import Explanation as Explanation
from jaxce._explain._summary import Summary as Summary
from jaxce._grouped import Grouped as Grouped
from jaxce._hardest import Hardest as Hardest
from jaxce._region_total import RegionTotal as RegionTotal
from jaxce._types import Activation, Average, AxisName, Hyperparameter, SoftCounts
from jaxce._types import CrossEntropyAux as CrossEntropyAux
from jaxce._types import LinearLogits as LinearLogits
from jaxce._types import LogProbs as LogProbs
from jaxce._types import TopK as TopK
from jaxce.reductions import Mean as Mean
from jaxce.reductions import Sum as Sum
from jaxce.reductions import Total as Total

R = TypeVar("R")

__version__: str
__all__: list[str]

@overload
def asymmetric_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma_pos: Hyperparameter = 1.0,
    gamma_neg: Hyperparameter = 4.0,
    clip: Hyperparameter = 0.05,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def asymmetric_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma_pos: Hyperparameter = 1.0,
    gamma_neg: Hyperparameter = 4.0,
    clip: Hyperparameter = 0.05,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def asymmetric_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma_pos: Hyperparameter = 1.0,
    gamma_neg: Hyperparameter = 4.0,
    clip: Hyperparameter = 0.05,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
def balanced_class_weights(
    labels: ArrayLike,
    num_classes: int,
    *,
    scheme: Literal["inverse", "sqrt", "effective"] = "inverse",
    beta: Hyperparameter = 0.999,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
) -> Array: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def brier_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def brier_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def brier_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: Literal[False] = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: Literal[True],
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> tuple[Array, CrossEntropyAux]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: bool,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array | tuple[Array, CrossEntropyAux]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: Literal[False] = False,
    reduction: Literal["total"],
) -> Total: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: Literal[True],
    reduction: Literal["total"],
) -> tuple[Total, CrossEntropyAux]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: bool,
    reduction: Literal["total"],
) -> Total | tuple[Total, CrossEntropyAux]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: Literal[False] = False,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: Literal[True],
    reduction: Callable[[Array, Array], R],
) -> tuple[R, CrossEntropyAux]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    class_axis_name: AxisName | None = None,
    has_aux: bool,
    reduction: Callable[[Array, Array], R],
) -> R | tuple[R, CrossEntropyAux]: ...
def debug(
    *,
    enabled: bool = True,
) -> AbstractContextManager[None]: ...
@overload
def dice_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: None,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> RegionTotal: ...
@overload
def dice_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def dice_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def dice_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def distillation_loss(
    logits: ArrayLike,
    teacher: ArrayLike | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    class_axis_name: AxisName | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def distillation_loss(
    logits: ArrayLike,
    teacher: ArrayLike | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    class_axis_name: AxisName | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def distillation_loss(
    logits: ArrayLike,
    teacher: ArrayLike | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    class_axis_name: AxisName | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def entropy(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def entropy(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def entropy(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
def explain(
    loss: Callable[..., Any],
    *args: Any,
    top_k: int = 8,
    decode: Callable[[int], str] | None = None,
    **options: Any,
) -> Explanation: ...
@overload
def focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Hyperparameter = 2.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Hyperparameter = 2.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Hyperparameter = 2.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: Hyperparameter = 0.7,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: Hyperparameter = 0.7,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: Hyperparameter = 0.7,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    p: Hyperparameter = 1,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    p: Hyperparameter = 1,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    p: Hyperparameter = 1,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def jaccard_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: None,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> RegionTotal: ...
@overload
def jaccard_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def jaccard_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def jaccard_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def js_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    beta: float = 0.5,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def js_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    beta: float = 0.5,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def js_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    beta: float = 0.5,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def js_divergence_of_views(
    logits: ArrayLike,
    *,
    view_axis: int = 0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def js_divergence_of_views(
    logits: ArrayLike,
    *,
    view_axis: int = 0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def js_divergence_of_views(
    logits: ArrayLike,
    *,
    view_axis: int = 0,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def kl_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def kl_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def kl_divergence(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: Literal[False] = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: Literal[True],
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> tuple[Array, CrossEntropyAux]: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: bool,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array | tuple[Array, CrossEntropyAux]: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: Literal[False] = False,
    reduction: Literal["total"],
) -> Total: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: Literal[True],
    reduction: Literal["total"],
) -> tuple[Total, CrossEntropyAux]: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: bool,
    reduction: Literal["total"],
) -> Total | tuple[Total, CrossEntropyAux]: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: Literal[False] = False,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: Literal[True],
    reduction: Callable[[Array, Array], R],
) -> tuple[R, CrossEntropyAux]: ...
@overload
def linear_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    z_loss: Hyperparameter = 0.0,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    has_aux: bool,
    reduction: Callable[[Array, Array], R],
) -> R | tuple[R, CrossEntropyAux]: ...
@overload
def linear_kl_divergence(
    hidden: ArrayLike,
    kernel: ArrayLike,
    teacher: ArrayLike | LinearLogits | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    bias: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def linear_kl_divergence(
    hidden: ArrayLike,
    kernel: ArrayLike,
    teacher: ArrayLike | LinearLogits | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    bias: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def linear_kl_divergence(
    hidden: ArrayLike,
    kernel: ArrayLike,
    teacher: ArrayLike | LinearLogits | TopK,
    *,
    temperature: Hyperparameter = 1.0,
    beta: float = 0.0,
    bias: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
def linear_log_probs(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    logit_scale: Hyperparameter | None = None,
    logit_softcap: Hyperparameter | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    class_axis_name: AxisName | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
) -> LogProbs: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: Literal[False] = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: Literal[True],
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> tuple[Array, Any]: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: bool,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array | tuple[Array, Any]: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: Literal[False] = False,
    reduction: Literal["total"],
) -> Total: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: Literal[True],
    reduction: Literal["total"],
) -> tuple[Total, Any]: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: bool,
    reduction: Literal["total"],
) -> Total | tuple[Total, Any]: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: Literal[False] = False,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: Literal[True],
    reduction: Callable[[Array, Array], R],
) -> tuple[R, Any]: ...
@overload
def linear_loss(
    f: Callable[..., Any],
    hidden: ArrayLike | tuple[ArrayLike, ...],
    kernel: ArrayLike | tuple[ArrayLike, ...],
    *rows: Any,
    bias: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logit_scale: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    logit_softcap: Hyperparameter | tuple[Hyperparameter | None, ...] | None = None,
    kernel_layout: Literal["dv", "vd"] = "dv",
    chunk_size: int | None = None,
    in_specs: tuple[PartitionSpec, PartitionSpec] | None = None,
    constants: tuple[Any, ...] = (),
    has_aux: bool,
    reduction: Callable[[Array, Array], R],
) -> R | tuple[R, Any]: ...
def log_probs(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    class_axis_name: AxisName | None = None,
) -> LogProbs: ...
@overload
def lovasz_hinge(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = None,
    batch_axis: int | None = 0,
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def lovasz_hinge(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = None,
    batch_axis: int | None = 0,
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def lovasz_hinge(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = None,
    batch_axis: int | None = 0,
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def lovasz_softmax(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "skip",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def lovasz_softmax(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "skip",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def lovasz_softmax(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | None = -1,
    batch_axis: int | None = 0,
    activation: Activation = "softmax",
    average: Literal["macro", "none"] = "macro",
    absent: Literal["count", "skip"] = "skip",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def multiclass_hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Hyperparameter = 1.0,
    p: Hyperparameter = 1,
    variant: Literal["weston-watkins", "crammer-singer"] = "weston-watkins",
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def multiclass_hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Hyperparameter = 1.0,
    p: Hyperparameter = 1,
    variant: Literal["weston-watkins", "crammer-singer"] = "weston-watkins",
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def multiclass_hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Hyperparameter = 1.0,
    p: Hyperparameter = 1,
    variant: Literal["weston-watkins", "crammer-singer"] = "weston-watkins",
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def multilabel_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def multilabel_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def multilabel_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def multilabel_soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def multilabel_soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def multilabel_soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def nll_loss(
    log_probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def nll_loss(
    log_probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def nll_loss(
    log_probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def poly1_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: Hyperparameter = 1.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def poly1_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: Hyperparameter = 1.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def poly1_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: Hyperparameter = 1.0,
    axis: int | tuple[int, ...] = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def quality_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = None,
    gamma: Hyperparameter = 2.0,
    variant: Literal["quality", "varifocal"] = "quality",
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def quality_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = None,
    gamma: Hyperparameter = 2.0,
    variant: Literal["quality", "varifocal"] = "quality",
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def quality_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = None,
    gamma: Hyperparameter = 2.0,
    variant: Literal["quality", "varifocal"] = "quality",
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def reduce(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def reduce(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def reduce(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = 0.25,
    gamma: Hyperparameter = 2.0,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = 0.25,
    gamma: Hyperparameter = 2.0,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Literal["total"],
) -> Total: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter | None = 0.25,
    gamma: Hyperparameter = 2.0,
    axis: int = -1,
    pos_weight: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    label_smoothing: Hyperparameter = 0.0,
    reduction: Callable[[Array, Array], R],
) -> R: ...
@overload
def soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def soft_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
def summarize(
    loss: Callable[..., Any],
    *args: Any,
    top_k: int = 8,
    groups: ArrayLike | None = None,
    num_groups: int | None = None,
    **options: Any,
) -> Summary: ...
@overload
def tversky_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter = 0.5,
    beta: Hyperparameter = 0.5,
    gamma: Hyperparameter = 1.0,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: None,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> RegionTotal: ...
@overload
def tversky_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter = 0.5,
    beta: Hyperparameter = 0.5,
    gamma: Hyperparameter = 1.0,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array: ...
@overload
def tversky_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter = 0.5,
    beta: Hyperparameter = 0.5,
    gamma: Hyperparameter = 1.0,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Literal["total"],
) -> Total: ...
@overload
def tversky_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: Hyperparameter = 0.5,
    beta: Hyperparameter = 0.5,
    gamma: Hyperparameter = 1.0,
    smooth: Hyperparameter = 1.0,
    smooth_divisor: Hyperparameter | None = None,
    log_loss: bool = False,
    soft_counts: SoftCounts = "product",
    axis: int | None = -1,
    batch_axis: int | None = 0,
    axis_name: AxisName | None = None,
    activation: Activation = "softmax",
    average: Average = "macro",
    absent: Literal["count", "skip"] = "count",
    include_background: bool = True,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    reduction: Callable[[Array, Array], R],
) -> R: ...
def value_and_grad(
    loss_fn: Callable[..., Any],
    *,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    microbatches: int | None = None,
    axis_name: AxisName | None = None,
) -> Callable[..., tuple[Any, Any]]: ...
