"""The parameters of a law: every loss, with every kind of labels it takes, and its options.

Tolerances: float64 1e-12; float32 2e-6 relative on losses and 2e-5 on gradients; 16-bit gradients 0.6 units in the
last place. Compiling is most of the work, so a law asks for all it compares in one compiled program.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, Case
from inputs import Inputs, cast, draw

LOSS = {"rtol": 2e-6, "atol": 1e-6}
GRADIENT = {"rtol": 2e-5, "atol": 2e-6}
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@dataclasses.dataclass(frozen=True)
class Setting:
    """A loss, a kind of labels, and the options that are on."""

    case: Case
    kind: str
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.case}-{self.kind}"

    @property
    def is_first(self) -> bool:
        """Whether a thin pass may have it: one kind of labels of each loss, the first or the last in turn."""
        return self.kind == self.case.labels[-(CASES.index(self.case) % 2)]

    def choices(self, thin: bool = False) -> dict[str, tuple[str, ...]]:
        """No option, each alone, and all of them, by name; a thin pass leaves out each alone."""
        allowed = self.case.allowed(self.kind)
        alone = {} if thin else {option: (option,) for option in allowed}
        return {"plain": (), **alone, "everything": allowed}

    def draw(self, *more: str, **how: Any) -> Inputs:
        return draw(self.case, self.kind, (*self.options, *more), **how)


def law(options: str = "none", where: Callable[[Case], bool] = lambda case: True) -> Any:
    """A law of every loss with every kind of its labels: with "none" of the options on, "all", or the "ends", each.

    `where` leaves out the losses for which the law has no meaning.
    """
    names = {"none": ["plain"], "all": ["everything"], "ends": ["plain", "everything"]}[options]
    settings = [Setting(case, kind) for case in CASES if where(case) for kind in case.labels]
    chosen = [(s, name, dataclasses.replace(s, options=s.choices()[name])) for s in settings for name in names]
    params = [pytest.param(full, id=f"{s}-{name}" if options == "ends" else str(s)) for s, name, full in chosen]
    return pytest.mark.parametrize("setting", params)


with_ids = pytest.mark.parametrize("case", [case for case in CASES if "ids" in case.labels], ids=str)


def gradients(inputs: Inputs, arrays: dict[str, Any] | None = None, dtype: Any = jnp.float32, **changed: Any) -> Any:
    """The gradients with respect to every argument that has one, by name."""
    given = {name: cast(value, dtype) for name, value in (inputs.arrays if arrays is None else arrays).items()}
    return jax.grad(lambda given: inputs.call(**(changed | given), dtype=dtype))(given)


def assert_same(got: Any, want: Any, tolerance: dict[str, float] = GRADIENT) -> None:
    """The same leaves, each within the tolerance."""
    for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **tolerance, err_msg=jax.tree_util.keystr(path))


def differences(function: Callable[..., Any], arrays: list[Any], step: float = 1e-6) -> list[np.ndarray]:
    """The gradient of a scalar function of float64 arrays by central differences, one entry at a time."""
    result = []
    for k, array in enumerate(arrays):
        gradient = np.zeros(np.shape(array))
        for index in np.ndindex(np.shape(array)):
            ends = []
            for sign in (1, -1):
                moved = [np.array(a, float) for a in arrays]
                moved[k][index] += sign * step
                ends.append(function(*moved))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        result.append(gradient)
    return result


def by_differences(inputs: Inputs, cotangent: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The gradients of the reference's mean, or of its losses for a cotangent, by name."""
    names = [*inputs.arrays]

    def loss(*arrays: np.ndarray) -> Any:
        changed = dict(zip(names, arrays, strict=True))
        return (
            inputs.expected(**changed) if cotangent is None else (cotangent * inputs.expected("none", **changed)).sum()
        )

    return dict(zip(names, differences(loss, [*inputs.arrays.values()]), strict=True))


def masked(setting: Setting, *more: str, **how: Any) -> tuple[Inputs, np.ndarray]:
    """Inputs with a mask, and the mask over the logits; weights of the shape of the mask."""
    inputs = setting.draw("class_weights", "where", *more, **how)
    options = {n: np.broadcast_to(inputs.options[n], inputs.mask_shape) for n in ("where", *more)}
    full = options["where"] if setting.case.example == "element" else options["where"][..., None]
    return inputs.replace(options=inputs.options | options), np.broadcast_to(full, inputs.x.shape)


def planted_at(inputs: Inputs) -> tuple[int, ...]:
    """The position of a label that is not masked."""
    mask = inputs.options.get("where")
    return (
        (-1,) * inputs.labels.ndim
        if mask is None
        else tuple(np.argwhere(np.broadcast_to(mask, inputs.mask_shape))[-1])
        + (0,) * (inputs.labels.ndim - len(inputs.mask_shape))
    )


def planted(inputs: Inputs, valid: np.ndarray, value: float) -> Inputs:
    """The inputs with `value` in the logits, labels and sample weights of the masked examples."""
    mask = inputs.options["where"]
    labels = np.where(
        valid if inputs.labels.shape == valid.shape else mask,
        inputs.labels,
        value if inputs.labels.dtype.kind == "f" else 77,
    )
    weights = {n: np.where(mask, a, value) for n, a in inputs.options.items() if n == "sample_weights"}
    return inputs.replace(x=np.where(valid, inputs.x, value), labels=labels, options=inputs.options | weights)
