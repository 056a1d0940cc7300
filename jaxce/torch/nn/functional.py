"""PyTorch's functions on JAX arrays: losses, and the activations that go with them."""

from types import ModuleType as _Module

from jaxce.torch._activations import log_softmax as log_softmax
from jaxce.torch._activations import logsigmoid as logsigmoid
from jaxce.torch._activations import one_hot as one_hot
from jaxce.torch._activations import sigmoid as sigmoid
from jaxce.torch._activations import softmax as softmax
from jaxce.torch._activations import softmin as softmin
from jaxce.torch._activations import softplus as softplus
from jaxce.torch._binary import binary_cross_entropy as binary_cross_entropy
from jaxce.torch._binary import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from jaxce.torch._binary import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from jaxce.torch._binary import soft_margin_loss as soft_margin_loss
from jaxce.torch._classification import cross_entropy as cross_entropy
from jaxce.torch._classification import kl_div as kl_div
from jaxce.torch._classification import linear_cross_entropy as linear_cross_entropy
from jaxce.torch._classification import nll_loss as nll_loss
from jaxce.torch._margins import hinge_embedding_loss as hinge_embedding_loss
from jaxce.torch._margins import multi_margin_loss as multi_margin_loss
from jaxce.torch._margins import multilabel_margin_loss as multilabel_margin_loss
from jaxce.torch._regression import gaussian_nll_loss as gaussian_nll_loss
from jaxce.torch._regression import huber_loss as huber_loss
from jaxce.torch._regression import l1_loss as l1_loss
from jaxce.torch._regression import mse_loss as mse_loss
from jaxce.torch._regression import poisson_nll_loss as poisson_nll_loss
from jaxce.torch._regression import smooth_l1_loss as smooth_l1_loss

__all__ = sorted(name for name, value in globals().items() if name[0] != "_" and not isinstance(value, _Module))
