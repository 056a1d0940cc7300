"""Classification losses for JAX, with PyTorch's numbers: correct, fast and small in memory."""

from inspect import isfunction as _isfunction
from types import ModuleType as _Module

from jaxce._binary_margins import hinge_loss as hinge_loss
from jaxce._binary_margins import soft_margin_loss as soft_margin_loss
from jaxce._class_weights import balanced_class_weights as balanced_class_weights
from jaxce._debug import debug as debug
from jaxce._distillation import distillation_loss as distillation_loss
from jaxce._distillation import linear_kl_divergence as linear_kl_divergence
from jaxce._divergence import brier_loss as brier_loss
from jaxce._divergence import entropy as entropy
from jaxce._divergence import js_divergence as js_divergence
from jaxce._divergence import js_divergence_of_views as js_divergence_of_views
from jaxce._divergence import kl_divergence as kl_divergence
from jaxce._explain._account import explain as explain
from jaxce._explain._record import Explanation as Explanation
from jaxce._explain._summary import Summary as Summary
from jaxce._explain._summary import summarize as summarize
from jaxce._focal import focal_loss as focal_loss
from jaxce._focal import generalized_cross_entropy as generalized_cross_entropy
from jaxce._focal import poly1_loss as poly1_loss
from jaxce._grouped import Grouped as Grouped
from jaxce._hardest import Hardest as Hardest
from jaxce._keywords import answers_keywords as _answers_keywords
from jaxce._linear_loss import linear_loss as linear_loss
from jaxce._log_probs import linear_log_probs as linear_log_probs
from jaxce._log_probs import log_probs as log_probs
from jaxce._lovasz import lovasz_hinge as lovasz_hinge
from jaxce._lovasz import lovasz_softmax as lovasz_softmax
from jaxce._margins import multiclass_hinge_loss as multiclass_hinge_loss
from jaxce._margins import multilabel_margin_loss as multilabel_margin_loss
from jaxce._margins import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from jaxce._region_total import RegionTotal as RegionTotal
from jaxce._regions import dice_loss as dice_loss
from jaxce._regions import jaccard_loss as jaccard_loss
from jaxce._regions import tversky_loss as tversky_loss
from jaxce._sigmoid import binary_cross_entropy as binary_cross_entropy
from jaxce._sigmoid import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from jaxce._sigmoid_focal import asymmetric_loss as asymmetric_loss
from jaxce._sigmoid_focal import quality_focal_loss as quality_focal_loss
from jaxce._sigmoid_focal import sigmoid_focal_loss as sigmoid_focal_loss
from jaxce._softmax import cross_entropy as cross_entropy
from jaxce._softmax import linear_cross_entropy as linear_cross_entropy
from jaxce._softmax import nll_loss as nll_loss
from jaxce._types import CrossEntropyAux as CrossEntropyAux
from jaxce._types import LinearLogits as LinearLogits
from jaxce._types import LogProbs as LogProbs
from jaxce._types import TopK as TopK
from jaxce._value_and_grad import value_and_grad as value_and_grad
from jaxce.reductions import Mean as Mean
from jaxce.reductions import Sum as Sum
from jaxce.reductions import Total as Total
from jaxce.reductions import reduce as reduce

globals().update({n: _answers_keywords(f) for n, f in list(globals().items()) if n[0] != "_" and _isfunction(f)})

__version__ = "0.2.0"
__all__ = sorted(name for name, value in globals().items() if name[0] != "_" and not isinstance(value, _Module))
