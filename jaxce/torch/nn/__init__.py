"""PyTorch's losses as classes: frozen dataclass pytrees with the options of their functions in `functional`."""

from types import ModuleType as _Module

from jaxce.torch._arguments import LinearCrossEntropyOptions as LinearCrossEntropyOptions
from jaxce.torch.nn import functional as functional
from jaxce.torch.nn._binary import BCELoss as BCELoss
from jaxce.torch.nn._binary import BCEWithLogitsLoss as BCEWithLogitsLoss
from jaxce.torch.nn._binary import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
from jaxce.torch.nn._binary import SoftMarginLoss as SoftMarginLoss
from jaxce.torch.nn._classification import CrossEntropyLoss as CrossEntropyLoss
from jaxce.torch.nn._classification import KLDivLoss as KLDivLoss
from jaxce.torch.nn._classification import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from jaxce.torch.nn._classification import NLLLoss as NLLLoss
from jaxce.torch.nn._margins import HingeEmbeddingLoss as HingeEmbeddingLoss
from jaxce.torch.nn._margins import MultiLabelMarginLoss as MultiLabelMarginLoss
from jaxce.torch.nn._margins import MultiMarginLoss as MultiMarginLoss
from jaxce.torch.nn._regression import GaussianNLLLoss as GaussianNLLLoss
from jaxce.torch.nn._regression import HuberLoss as HuberLoss
from jaxce.torch.nn._regression import L1Loss as L1Loss
from jaxce.torch.nn._regression import MSELoss as MSELoss
from jaxce.torch.nn._regression import PoissonNLLLoss as PoissonNLLLoss
from jaxce.torch.nn._regression import SmoothL1Loss as SmoothL1Loss

__all__ = sorted(
    name
    for name, value in globals().items()
    if name[0] != "_" and (value is functional or not isinstance(value, _Module))
)
