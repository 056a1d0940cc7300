"""`summarize`: the account of a loss in compiled code, a pytree of fixed size that adds."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from jaxce._class_axis import sum_per_class
from jaxce._explain._call import Call, check_count, check_groups
from jaxce._explain._pytorch import open_call
from jaxce._explain._record import number
from jaxce._numerics import compute_dtype, is_in_range
from jaxce._sharding import replicate_axes
from jaxce._types import AxisName, PerExample
from jaxce.reductions import Total

MOST_NAMED = 5
"""Classes and groups that the text names: those with the highest losses."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class Summary:
    """The account of a loss in compiled code, ``mean = total.loss / total.weight``: ``summarize`` returns it.

    A pytree of fixed size, so ``jit`` and ``scan`` return it, and loggers can keep it. Summaries of microbatches add
    with ``+`` or ``sum``, those of devices with ``psum``. Indices then count the examples part after part. ``print``
    says it in sentences.

    Args:
        loss: the name of the loss.
        total: sums of the weighted losses and of the weights, as ``reduction="total"`` has them.
        size: number of examples, int32.
        labeled: number of examples with a label, int32; for losses of regions the number of pixels.
        counts: number of labeled ones by name: masked, ignored and invalid; and nan, the number of losses, int32.
        firsts: index of the first one by name, -1 without one.
        top_losses: the highest losses, NaN first, ``[top_k]``; ``-inf`` if there are fewer examples.
        top_indices: their indices in the flattened losses, ``[top_k]``; -1 if there are fewer examples.
        top_norms: the largest gradient norms of an example's logits, ``[top_k]``; None for regions and linear layers.
        top_norm_indices: their indices, as in ``top_indices``.
        by_class: ``Total`` of each class of the labels, ``[classes]``; negative and positive for binary labels.
        by_group: ``Total`` of each group, ``[num_groups]``; None without groups.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits, labels = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), jnp.array([0, 0, 1])
        >>> first = jaxce.summarize(jaxce.cross_entropy, logits[:2], labels[:2], top_k=2)
        >>> both = first + jaxce.summarize(jaxce.cross_entropy, logits[2:], labels[2:], top_k=2)
        >>> print(both.top_indices)
        [1 2]
        >>> print(both)
        cross_entropy: mean 0.9178 = 2.7535 / 3 over 3 examples.
        Highest losses: example 1 has 1.3133 (48 %), example 2 has 1.3133 (48 %).
        Largest gradients: example 1 has norm 1.0339, example 2 has norm 1.0339.
        By class: 0 has 1.4402 (52 %) of weight 2, 1 has 1.3133 (48 %) of weight 1.

    See Also:
        ``summarize``: returns it.
        ``Explanation``: the same on the host, with more.
        ``Total``: adds in the same way.
    """

    loss: str = dataclasses.field(metadata={"static": True})
    total: Total
    size: Array
    labeled: Array
    counts: dict[str, Array]
    firsts: dict[str, Array]
    top_losses: Array
    top_indices: Array
    top_norms: Array | None
    top_norm_indices: Array | None
    by_class: Total | None
    by_group: Total | None

    def __add__(self, other: "Summary | int") -> "Summary":
        if isinstance(other, int):
            return self if other == 0 else NotImplemented
        if not isinstance(other, Summary):
            return NotImplemented
        return _merge(jax.tree.map(lambda *parts: jnp.stack(parts), self, other))

    __radd__ = __add__

    def sum(self) -> "Summary":
        """The summary of all parts, which lie along the first axis, as ``scan`` and ``vmap`` stack them."""
        return _merge(self)

    def psum(self, axis_name: AxisName) -> "Summary":
        """The summary over all devices along a mesh axis, inside ``shard_map`` or ``vmap(axis_name=...)``."""
        devices, device = lax.axis_size(axis_name), lax.axis_index(axis_name)

        def gather(part: Array) -> Array:
            gathered: Array = lax.psum(jnp.zeros((devices, *part.shape), part.dtype).at[device].set(part), axis_name)
            return gathered

        return _merge(jax.tree.map(gather, self))

    def __repr__(self) -> str:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            return f"Summary of {self.loss}, traced"
        if np.ndim(self.total.loss):
            return f"{len(self.size)} parts, in sum:\n{self.sum()}"
        loss, weight, size = (float(a) for a in (self.total.loss, self.total.weight, self.size))
        sums = f"{number(loss)} / {number(weight)}"
        mean = f"mean {number(loss / weight)} = {sums}" if weight else f"no mean ({sums})"
        told = [f"{self.loss}: {mean} over {number(size)} examples."]
        for name, count in self.counts.items():
            unit = "example" if name == "nan" or int(self.labeled) == int(self.size) else "pixel"
            told += [f"{int(count)} {name}, first: {unit} {int(self.firsts[name])}."] if int(count) else []
        worst = zip(self.top_indices.tolist(), self.top_losses.tolist(), strict=True)
        lines = [f"example {i} has {_share(value, loss)}" for i, value in worst if i >= 0 and value]
        told += [f"Highest losses: {', '.join(lines)}."] if lines else []
        if self.top_norms is not None and self.top_norm_indices is not None:
            norms = zip(self.top_norm_indices.tolist(), self.top_norms.tolist(), strict=True)
            lines = [f"example {i} has norm {number(value)}" for i, value in norms if i >= 0 and value]
            told += [f"Largest gradients: {', '.join(lines)}."] if lines else []
        named = {"class": self.by_class, "group": self.by_group}
        return "\n".join([*told, *(_sentence(name, t, loss) for name, t in named.items() if t is not None)])


def _share(value: float, total: float) -> str:
    return f"{number(value)} ({100 * value / total:.0f} %)" if total else number(value)


def _sentence(name: str, totals: Total, loss: float) -> str:
    """The classes or groups with the highest losses."""
    values, weights = (np.asarray(a) for a in (totals.loss, totals.weight))
    order = np.argsort(-np.nan_to_num(values, nan=np.inf), kind="stable")[:MOST_NAMED]
    parts = [
        f"{i} has {_share(float(values[i]), loss)} of weight {number(float(weights[i]))}" for i in order if weights[i]
    ]
    return f"By {name}: {', '.join(parts) or 'no example counts'}."


def summarize(
    loss: Callable[..., Any],
    *args: Any,
    top_k: int = 8,
    groups: ArrayLike | None = None,
    num_groups: int | None = None,
    **options: Any,
) -> Summary:
    """The account of a loss inside ``jit``, ``mean = total.loss / total.weight``: worst examples and totals by class.

    For training steps: which examples cost most and have the largest gradients, and which are masked, invalid or NaN.
    The gradients cost one read of the logits, which a training step shares. The summary itself has no gradient.
    Examples are counted along the flattened losses.

    Args:
        loss: a loss of this package, such as ``jaxce.cross_entropy``, or a loss of classes of ``jaxce.torch``.
        args: the arguments of the loss.
        top_k: number of examples to list, those with the highest losses.
        groups: group of each example, such as a document, integer, ``[...]``; other numbers are in no group.
        num_groups: number of groups, at least 1.
        options: the keywords of the loss.

    Returns:
        A ``Summary``, a pytree of fixed size.

    Raises:
        TypeError: a function that is no loss of this package; the errors of the loss.
        ValueError: groups without their number or of another shape; the errors of the loss.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[1.0, 0.0, 0.0], [0.5, 1.5, 0.0], [2.0, 1.0, -1.0], [0.0, 0.0, 0.0]])
        >>> labels = jnp.array([1, 2, 0, -100])
        >>> step = jax.jit(lambda x: jaxce.summarize(jaxce.cross_entropy, x, labels, ignore_index=-100, top_k=2))
        >>> print(step(logits))
        cross_entropy: mean 1.2883 = 3.8648 / 3 over 4 examples.
        1 ignored, first: example 3.
        Highest losses: example 1 has 1.9644 (51 %), example 0 has 1.5514 (40 %).
        Largest gradients: example 1 has norm 1.0898, example 0 has norm 0.9989.
        By class: 2 has 1.9644 (51 %) of weight 1, 1 has 1.5514 (40 %) of weight 1, 0 has 0.3490 (9 %) of weight 1.
        >>> groups = jnp.array([0, 0, 1, 1])
        >>> told = jaxce.summarize(jaxce.cross_entropy, logits, labels % 3, groups=groups, num_groups=2)
        >>> print(told.by_group.weight)
        [2. 2.]

    See Also:
        ``Summary``: the record that it returns.
        ``explain``: on the host, with tables.

    Source:
        Loshchilov and Hutter, "Online Batch Selection for Faster Training of Neural Networks" (arXiv 1511.06343, 2015),
        for ranking examples by their losses.
    """
    call = open_call(loss, args, options)
    check_count("top_k", top_k)
    values, weights, norms = lax.stop_gradient(_terms(call))
    check_groups(groups, num_groups, values.shape)
    mask, unmasked = call.mask(values.shape, jnp), call.mask(values.shape, jnp, ignored=False)
    invalid = mask & ~_valid(call, mask)
    suspects = {"masked": ~unmasked, "ignored": unmasked & ~mask, "invalid": invalid, "nan": jnp.isnan(values)}
    flat = {name: _flat(a) for name, a in suspects.items()}
    top_losses, top_indices = _top(_flat(values), top_k)
    top_norms, top_norm_indices = (None, None) if norms is None else _top(_flat(norms), top_k)
    return Summary(
        loss=call.name,
        total=Total(jnp.sum(values), jnp.sum(weights)),
        size=jnp.asarray(values.size, jnp.int32),
        labeled=jnp.asarray(mask.size, jnp.int32),
        counts={name: jnp.sum(a, dtype=jnp.int32) for name, a in flat.items()},
        firsts={name: _first(a) for name, a in flat.items()},
        top_losses=top_losses,
        top_indices=top_indices,
        top_norms=top_norms,
        top_norm_indices=top_norm_indices,
        by_class=_by_class(call, values, weights),
        by_group=None if groups is None else _totals(values, weights, jnp.asarray(groups), num_groups or 1),
    )


def _terms(call: Call) -> tuple[PerExample, PerExample, PerExample | None]:
    """Loss and weight of each example, and the norm of its gradient with respect to its logits, with its weight.

    The gradient of the sum of all losses holds that of each loss in its row. XLA fuses it with the norm, but XLA:CPU
    materializes it. Regions have no rows, and a linear layer would compute its logits once more.
    """
    if call.kind not in ("softmax", "sigmoid"):
        return *call.terms(), None

    def total(x: Array) -> tuple[Array, tuple[PerExample, PerExample]]:
        values, weights = call.terms(**{call.input: x})
        return jnp.sum(values), (values, weights)

    gradient, (values, weights) = jax.grad(total, has_aux=True)(jnp.asarray(call[call.input]))
    gradient = gradient.astype(values.dtype)
    if gradient.shape == values.shape:
        return values, weights, jnp.abs(gradient)
    squares, shards = jnp.sum(gradient**2, call.axis), call["class_axis_name"]
    return values, weights, jnp.sqrt(squares if shards is None else lax.psum(squares, shards))


def _flat(a: Array) -> Array:
    """The flattened array, whole on every device of an explicit mesh."""
    return replicate_axes(a, range(a.ndim)).reshape(-1)


def _first(found: Array) -> Array:
    """The index of the first example that is found, -1 without one."""
    return jnp.where(jnp.any(found), jnp.argmax(found) if found.size else 0, -1).astype(jnp.int32)


def _top(losses: Array, top_k: int) -> tuple[Array, Array]:
    """The highest losses with their indices, NaN first; filled up with ``-inf`` and -1."""
    filled = jnp.pad(losses, (0, top_k), constant_values=-jnp.inf)
    _, indices = lax.top_k(jnp.where(jnp.isnan(filled), jnp.inf, filled), top_k)
    return filled[indices], jnp.where(indices < losses.size, indices, -1).astype(jnp.int32)


def _valid(call: Call, mask: Array) -> Array:
    """Whether each label is valid; for several labels of an example, whether all are."""
    if call["labels"] is None:
        return mask
    y = jnp.asarray(call["labels"])
    low = -1 if call.name == "soft_margin_loss" else 0
    if not jnp.issubdtype(y.dtype, jnp.integer):
        valid = is_in_range(y.astype(compute_dtype(y)), low) if y.dtype != jnp.bool_ else jnp.ones(y.shape, bool)
    elif not call.is_binary:
        return _is_in_range(y, call.classes)
    else:
        valid = (y == low) | (y == 1)
    return valid if valid.shape == mask.shape else jnp.all(valid, call.axis)


def _by_class(call: Call, values: PerExample, weights: PerExample) -> Total | None:
    """The totals by the class of the labels, by the likeliest one for probabilities; None for several labels."""
    if call["labels"] is None or call.kind == "region":
        return None
    y = jnp.asarray(call["labels"])
    if call.is_binary:
        return (
            _totals(values, weights, (y.astype(jnp.float32) > 0.5).astype(jnp.int32), 2)
            if y.shape == values.shape
            else None
        )
    return _totals(values, weights, y if y.shape == values.shape else jnp.argmax(y, call.axis), call.classes)


def _totals(values: PerExample, weights: PerExample, ids: Array, number: int) -> Total:
    """The totals by id; those outside of the range are left out."""
    inside = jnp.where(_is_in_range(ids, number), ids.astype(jnp.int32), number)
    return Total(*(sum_per_class(a, inside, number) for a in (values, weights)))


def _is_in_range(ids: Array, number: int) -> Array:
    """Whether ids lie in ``[0, number)``; a number beyond the range of their dtype bounds nothing."""
    return (ids >= 0) & (ids < number) if number <= jnp.iinfo(ids.dtype).max else ids >= 0


def _merge(parts: Summary) -> Summary:
    """One summary of several, which lie along a leading axis of every array; indices count on from part to part."""
    offset, offset_of_labels = (jnp.cumsum(n, dtype=jnp.int32) - n for n in (parts.size, parts.labeled))

    def top(values: Array, indices: Array) -> tuple[Array, Array]:
        counted = jnp.where(indices < 0, -1, indices + offset[:, None]).reshape(-1)
        largest, at = _top(values.reshape(-1), values.shape[-1])
        return largest, jnp.where(at < 0, -1, counted[at])

    top_losses, top_indices = top(parts.top_losses, parts.top_indices)
    norms, norm_indices = parts.top_norms, parts.top_norm_indices
    top_norms, top_norm_indices = (None, None) if norms is None or norm_indices is None else top(norms, norm_indices)
    most = np.iinfo(np.int32).max
    offsets = {name: offset if name == "nan" else offset_of_labels for name in parts.firsts}
    firsts = {name: jnp.min(jnp.where(a < 0, most, a + offsets[name])) for name, a in parts.firsts.items()}
    summed: Summary = jax.tree.map(lambda a: jnp.sum(a, 0, dtype=a.dtype), parts)
    return dataclasses.replace(
        summed,
        firsts={name: jnp.where(first == most, -1, first) for name, first in firsts.items()},
        top_losses=top_losses,
        top_indices=top_indices,
        top_norms=top_norms,
        top_norm_indices=top_norm_indices,
    )
