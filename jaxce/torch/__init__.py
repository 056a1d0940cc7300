"""PyTorch's losses after a change of import: its names, signatures, defaults and numbers, on JAX arrays.

``import jaxce.torch.nn as nn`` and ``import jaxce.torch.nn.functional as F`` take the place of the imports of
``torch.nn``. The numbers are compared with PyTorch 2.13.0.
"""

from jaxce.torch import nn
from jaxce.torch.nn import functional

__all__ = ["functional", "nn"]
