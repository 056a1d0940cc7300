"""PyTorch's classes of losses of regression."""

import dataclasses
from dataclasses import InitVar

from jax import Array
from jax.typing import ArrayLike

from jaxce._types import Hyperparameter
from jaxce.torch._arguments import check_scalar
from jaxce.torch.nn import functional
from jaxce.torch.nn._base import Loss, PairLoss, frozen


@frozen
class MSELoss(PairLoss):
    """Squared error: ``w (x - y)**2``.

    Predictions ``[N, 1]`` and targets ``[N]`` broadcast to ``[N, N]``, with a warning: reshape one of them. Only the
    function takes ``weight``.

    Args:
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with numbers and targets of any shape: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{nn.MSELoss()(x, y):.3f} {nn.MSELoss(reduction='sum')(x, y):.3f}")
        2.125 4.250

    See Also:
        `functional.mse_loss`: the function, with the shapes and dtypes of its arguments.
        `HuberLoss`, `SmoothL1Loss`: less influence of outliers.

    Source:
        PyTorch, ``torch.nn.MSELoss``.
    """

    function = staticmethod(functional.mse_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@frozen
class L1Loss(PairLoss):
    """Absolute error: ``w |x - y|``.

    The gradient is the sign of ``x - y``, and 0 at 0. Only the function takes ``weight``.

    Args:
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with numbers and targets of any shape: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{nn.L1Loss()(x, y):.3f} {nn.L1Loss(reduction='sum')(x, y):.3f}")
        1.250 2.500

    See Also:
        `functional.l1_loss`: the function, with the shapes and dtypes of its arguments.
        `SmoothL1Loss`, `HuberLoss`: a continuous gradient at 0.

    Source:
        PyTorch, ``torch.nn.L1Loss``.
    """

    function = staticmethod(functional.l1_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@frozen
class SmoothL1Loss(PairLoss):
    """Absolute error, quadratic near 0: ``d**2 / (2 beta)`` for ``|d| < beta``, else ``|d| - beta/2``, with d = x - y.

    It is `HuberLoss` with ``delta=beta``, divided by ``beta``: far from 0 its derivative is 1 for every ``beta``.

    Args:
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: end of the quadratic part, at least 0; 0 gives ``l1_loss``.

    Returns:
        Called with numbers and targets of any shape: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{nn.SmoothL1Loss()(x, y):.3f} {nn.SmoothL1Loss(beta=0.5)(x, y):.3f}")
        0.812 1.000

    See Also:
        `functional.smooth_l1_loss`: the function, with the shapes and dtypes of its arguments.
        `HuberLoss`: the same shape with another scale.

    Source:
        PyTorch, ``torch.nn.SmoothL1Loss``.
        Girshick, "Fast R-CNN" (ICCV 2015), eq. 3.
    """

    function = staticmethod(functional.smooth_l1_loss)

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    beta: Hyperparameter = 1.0


@frozen
class HuberLoss(PairLoss):
    """Squared error, linear far from 0: ``w d**2/2`` for ``|d| < delta``, else ``w delta (|d| - delta/2)``, d = x - y.

    Outliers beyond ``delta`` have a gradient of at most ``delta``. Only the function takes ``weight``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: end of the quadratic part, above 0.

    Returns:
        Called with numbers and targets of any shape: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0])
        >>> print(f"{nn.HuberLoss()(x, y):.3f} {nn.HuberLoss(delta=0.5)(x, y):.3f}")
        0.812 0.500

    See Also:
        `functional.huber_loss`: the function, with the shapes and dtypes of its arguments.
        `SmoothL1Loss`: the same shape with another scale.

    Source:
        PyTorch, ``torch.nn.HuberLoss``.
        Huber, "Robust Estimation of a Location Parameter" (Annals of Mathematical Statistics 35, 1964).
    """

    function = staticmethod(functional.huber_loss)

    reduction: str = "mean"
    delta: Hyperparameter = 1.0

    def __post_init__(self, *legacy: bool | None) -> None:
        super().__post_init__(*legacy)
        check_scalar("delta", self.delta)


@frozen
class PoissonNLLLoss(PairLoss):
    """Negative log-likelihood of a Poisson count: ``exp(x) - y x`` of log-rates, ``x - y log(x + eps)`` of rates.

    The constant term ``log y!`` is left out unless ``full``. The values of rates and counts are not checked.

    Args:
        log_input: whether the input holds logarithms of rates.
        full: whether to add ``y log y - y + log(2 pi y) / 2``.
        size_average: deprecated, as ``reduce`` is; together they override ``reduction``.
        eps: added to a rate in its logarithm.
        reduce: deprecated; see ``size_average``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with numbers and targets of any shape: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> log_rates, counts = jnp.array([0.0, 1.0]), jnp.array([1.0, 3.0])
        >>> print(f"{nn.PoissonNLLLoss()(log_rates, counts):.3f} {nn.PoissonNLLLoss(full=True)(log_rates, counts):.3f}")
        0.359 1.241

    See Also:
        `functional.poisson_nll_loss`: the function, with the shapes and dtypes of its arguments.
        `GaussianNLLLoss`: real numbers with a variance.

    Source:
        PyTorch, ``torch.nn.PoissonNLLLoss``.
    """

    function = staticmethod(functional.poisson_nll_loss)

    log_input: bool = True
    full: bool = False
    size_average: InitVar[bool | None] = None
    eps: Hyperparameter = 1e-8
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


@frozen
class GaussianNLLLoss(Loss):
    """Negative log-likelihood of a Gaussian: ``(log v + (x - y)**2 / v) / 2`` with ``v = max(var, eps)``.

    The call takes means, targets and variances. A variance below ``eps`` counts as ``eps``, but still has a gradient.

    Args:
        full: whether to add the constant ``log(2 pi) / 2``.
        eps: smallest variance.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        Called with means, targets and variances: a scalar, or the common shape for ``"none"``.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce.torch.nn as nn
        >>> x, y, var = jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0]), jnp.array([0.5, 2.0])
        >>> print(f"{nn.GaussianNLLLoss()(x, y, var):.3f} {nn.GaussianNLLLoss(full=True)(x, y, var):.3f}")
        0.625 1.544

    See Also:
        `functional.gaussian_nll_loss`: the function, with the shapes and dtypes of its arguments.
        `MSELoss`: a constant variance.

    Source:
        PyTorch, ``torch.nn.GaussianNLLLoss``.
        Nix and Weigend, "Estimating the Mean and Variance of the Target Probability Distribution" (ICNN 1994).
    """

    function = staticmethod(functional.gaussian_nll_loss)

    _: dataclasses.KW_ONLY
    full: bool = False
    eps: Hyperparameter = 1e-6
    reduction: str = "mean"

    def __call__(self, input: ArrayLike, target: ArrayLike, var: ArrayLike) -> Array:
        """Returns the value of the function with these options."""
        return self._value(input, target, var)
