"""What becomes of a linear layer's logits: a loss of exclusive classes, or a function of the caller."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxce._class_axis import local_ids, take_per_class
from jaxce._cross_entropy import describe_logits, describe_z_loss
from jaxce._debug import debug
from jaxce._linear_inputs import check_row_losses
from jaxce._numerics import compute_dtype, fill_rows, wider
from jaxce._types import AxisName, CrossEntropyAux, Logits, PerExample, Shared, SoftmaxInputs, Terms, Tokens
from jaxce.reductions import apply_weights


@dataclasses.dataclass(frozen=True)
class SoftmaxFormula:
    """A loss of exclusive classes, ``formula(x)``: loss and weight of each example."""

    formula: Callable[[SoftmaxInputs], tuple[PerExample, Array]]
    has_aux: bool = False
    is_shared: ClassVar[bool] = True

    @property
    def takes_maximum(self) -> bool:
        return self.has_aux

    def losses(self, logits: Logits, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> Terms:
        x = softmax_inputs(logits[0], tokens, shared, class_axis_name)
        values, _ = apply_weights(*self.formula(x), x.sample_weights, x.mask)
        return values, describe_logits(x) if self.has_aux else None

    def weights(self, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> PerExample:
        w = shared.class_weights
        if w is None:
            return _token_weights(tokens, shared)
        ids = local_ids(tokens.labels.ids, w.size, class_axis_name)
        return _token_weights(tokens, shared, take_per_class(w, ids, class_axis_name))

    def aux(self, of_logits: Any, weights: PerExample, shared: Shared) -> CrossEntropyAux | None:
        return describe_z_loss(of_logits, weights, shared.hyperparameters["z_loss"]) if self.has_aux else None


class RowsOfLogits:
    """What formulas without class weights share: every token has the weight 1."""

    is_shared: ClassVar[bool] = True

    @property
    def takes_maximum(self) -> bool:
        return True

    def weights(self, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> PerExample:
        return _token_weights(tokens, shared)

    def aux(self, of_logits: Any, weights: PerExample, shared: Shared) -> Any:
        return of_logits


@dataclasses.dataclass(frozen=True, eq=False)
class RowsFormula(RowsOfLogits):
    """A function of the caller, ``f(logits, *rows, *constants)``: the loss of each row, or with ``has_aux`` a pair.

    A function may have changed what it closes over, so no program is kept for the next call.
    """

    f: Callable[..., Any]
    has_aux: bool
    is_shared: ClassVar[bool] = False

    def losses(self, logits: Logits, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> Terms:
        mask = tokens.mask
        arguments = jax.tree.map(lambda a: fill_rows(a, mask), (*logits, *tokens.rows))
        # Masked rows hold 0, which checks inside of f need not accept.
        with contextlib.nullcontext() if mask is None else debug(enabled=False):
            result = self.f(*arguments, *shared.constants)
        values, aux = check_row_losses(result, self.has_aux, logits[0].shape[0])
        values = values.astype(logits[0].dtype)
        values, _ = apply_weights(values, jnp.ones_like(values), tokens.sample_weights, mask)
        return values, jax.tree.map(lambda a: fill_rows(a, mask), lax.stop_gradient(aux))


def _token_weights(tokens: Tokens, shared: Shared, weight: PerExample | None = None) -> PerExample:
    """A weight for each token, 1 by default, times its sample weight, 0 where masked."""
    hidden = tokens.hidden[0]
    ones = jnp.ones(hidden.shape[:-1], compute_dtype(wider(hidden, shared.layers[0].kernel)))
    return apply_weights(ones, ones if weight is None else weight, tokens.sample_weights, tokens.mask)[1]


def softmax_inputs(logits: Array, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> SoftmaxInputs:
    """The arguments of a loss of exclusive classes, for a chunk of tokens."""
    return SoftmaxInputs(
        logits=logits,
        axis=1,
        labels=tokens.labels,
        reference=tokens.reference,
        mask=tokens.mask,
        class_weights=shared.class_weights,
        sample_weights=tokens.sample_weights,
        class_axis_name=class_axis_name,
        hyperparameters=shared.hyperparameters,
    )
