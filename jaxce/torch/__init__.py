"""PyTorch's losses with a change of import: its names, signatures, defaults and numbers, on JAX arrays."""

from jaxce.torch import functional, nn

__all__ = ["functional", "nn"]
