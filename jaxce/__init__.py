"""Classification losses for JAX: right, fast, small in memory, and clear when something is wrong."""

from jaxce._class_weights import balanced_class_weights
from jaxce._divergence import brier_loss, entropy, js_divergence, kl_divergence
from jaxce._focal import focal_loss, generalized_cross_entropy, poly1_loss
from jaxce._lovasz import lovasz_hinge, lovasz_softmax
from jaxce._margins import (
    multiclass_hinge_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from jaxce._regions import dice_loss, jaccard_loss, tversky_loss
from jaxce._sigmoid import asymmetric_loss, binary_cross_entropy, sigmoid_binary_cross_entropy, sigmoid_focal_loss
from jaxce._softmax import cross_entropy, linear_cross_entropy, nll_loss
from jaxce._types import LinearAux
from jaxce.reductions import Mean, Sum, Total, reduce

__all__ = [
    "LinearAux",
    "Mean",
    "Sum",
    "Total",
    "asymmetric_loss",
    "balanced_class_weights",
    "binary_cross_entropy",
    "brier_loss",
    "cross_entropy",
    "dice_loss",
    "entropy",
    "focal_loss",
    "generalized_cross_entropy",
    "jaccard_loss",
    "js_divergence",
    "kl_divergence",
    "linear_cross_entropy",
    "lovasz_hinge",
    "lovasz_softmax",
    "multiclass_hinge_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poly1_loss",
    "reduce",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "soft_margin_loss",
    "tversky_loss",
]
