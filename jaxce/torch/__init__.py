"""PyTorch's losses after a change of import: its names, signatures, defaults and numbers, on JAX arrays."""

from jaxce.torch import nn
from jaxce.torch.nn import functional

__all__ = ["functional", "nn"]
