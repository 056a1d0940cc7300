"""`explain`: the account of one call of a loss, computed on the host in float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxce._explain._call import Call, check_concrete, check_count, value_of
from jaxce._explain._pytorch import open_call
from jaxce._explain._record import Explanation, as_number
from jaxce._explain._tables import Terms, class_table, example_table, has_errors, position_table
from jaxce._hardest import Hardest


def explain(
    loss: Callable[..., Any], *args: Any, top_k: int = 8, decode: Callable[[int], str] | None = None, **options: Any
) -> Explanation:
    """The account of a loss, ``value = total / divisor``: its worst examples, its classes, and suspicious inputs.

    Use it when a loss is higher, lower or stranger than expected. The value is that of the loss itself, bit for bit. It
    calls the loss several times and reads its arguments on the host, so it does not run inside ``jit``. If the call
    raises because of shapes, a note of the error draws them.

    Args:
        loss: a loss of this package, such as ``jaxce.cross_entropy``, or a loss of classes of ``jaxce.torch``.
        args: the arguments of the loss.
        top_k: number of examples to list, those with the highest losses.
        decode: maps a class id to its name, such as the text of a token.
        options: the keywords of the loss.

    Returns:
        An ``Explanation``: ``print`` shows tables, a notebook draws bars, ``to_dict()`` has plain numbers.

    Raises:
        TypeError: a function that is no loss of this package, traced arrays; the errors of the loss.
        ValueError: the errors of the loss.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> logits = jnp.array([[1.0, 0.0, 0.0], [0.5, 1.5, 0.0], [2.0, 1.0, -1.0]])
        >>> told = jaxce.explain(jaxce.cross_entropy, logits, jnp.array([1, 2, 0]))
        >>> print(*str(told).splitlines()[:4], sep=chr(10))
        cross_entropy = 1.2883 = 3.8648 / 3
        sum of weighted losses / sum of weights; 3 of 3 examples count
        the mean in other units: base 10 0.5595, bits 1.8586, perplexity 3.6265
        guessing costs 1.0986 (log 3)
        >>> weights = jnp.array([1.0, 5.0, 2.0])
        >>> told = jaxce.explain(jaxce.cross_entropy, logits, jnp.array([1, 2, 0]), class_weights=weights, top_k=2)
        >>> print(told.examples["example"], f"{told.added['class_weights']:.3f}")
        [0, 1] 0.216

    See Also:
        ``Explanation``: the record that it returns.
        ``summarize``: in compiled code.
        ``debug``: raises for invalid values in compiled code.

    Source:
        Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 70, 2021), for label errors among the highest losses.
    """
    call = open_call(loss, args, options)
    check_count("top_k", top_k)
    check_concrete(call)
    value = value_of(call)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # infinite and NaN losses have rows, too
        return _account(call, value, top_k, decode)


def _account(call: Call, value: Any, top_k: int, decode: Callable[[int], str] | None) -> Explanation:
    """The tables of a call and its value."""
    losses, weights = (np.asarray(a, np.float64) for a in call.terms())
    terms = Terms(call, losses, weights, call.mask(losses.shape))
    guessing, mean = _equal_logits(call), _mean(call)
    total, divisor = float(losses.sum()), float(weights.sum())
    return Explanation(
        loss=call.name,
        value=value,
        total=total,
        divisor=divisor,
        size=terms.mask.size,
        masked=int((~terms.mask).sum()),
        num_classes=call.classes,
        guess=(guess := _mean(call, **guessing)),
        units=_units(call, total / divisor if divisor else 0.0, guessing),
        added={call.spelled(name): mean - _mean(call, (name,)) for name in call.modifiers},
        examples=example_table(terms, top_k, decode),
        classes=class_table(terms, decode),
        positions=position_table(terms),
        checks=checks_of(terms, None if isinstance(call["reduction"], Hardest) else as_number(value), guess),
        losses=losses,
        errors=has_errors(terms),
    )


def _mean(call: Call, without: tuple[str, ...] = (), **changed: Any) -> float:
    """The loss as a number: its sum if this is asked, else its mean."""
    reduction = call.of_kept("sum" if call["reduction"] == "sum" else "mean")
    return float(call.run(without, reduction=reduction, **changed))


def _equal_logits(call: Call) -> dict[str, Any]:
    """The arguments of a model that guesses: every class has the same score."""
    x = np.asarray(call[call.input])
    if call.kind == "linear":
        return {call.input: np.zeros(x.shape, x.dtype), "bias": None}
    level = -math.log(call.classes) if call.input == "log_probs" else call.threshold
    if call.threshold and not call.is_binary:
        level = 1 / call.classes
    return {call.input: np.full(x.shape, level, x.dtype)}


def _units(call: Call, mean: float, guessing: dict[str, Any]) -> dict[str, float]:
    """A mean in nats in other units; empty unless equal logits cost ``log C`` or ``log 2``, as those of an NLL do."""
    plain = float(call.run(call.modifiers, reduction="mean", **guessing))
    if not any(math.isclose(plain, math.log(c), rel_tol=1e-3) for c in {2, call.classes} - {0, 1}):
        return {}
    return {"base 10": mean / math.log(10), "bits": mean / math.log(2), "perplexity": math.exp(min(mean, 700.0))}


def checks_of(terms: Terms, value: float | None, guess: float) -> tuple[str, ...]:
    """Sentences about suspicious inputs, and about the divisor."""
    call, losses, weights, mask = terms.call, terms.losses, terms.weights, terms.mask
    told = [*_input_checks(call, mask), *_label_checks(call, mask)]
    if bad := np.flatnonzero(np.isnan(losses)).tolist():
        told.append(f"{len(bad)} losses are NaN; first: example {bad[0]}.")
    if value is not None and value > guess and not math.isclose(value, guess, rel_tol=1e-3):
        told.append(f"The loss is above {guess:.4f}, the loss of equal logits: this is worse than guessing.")
    if not mask.all():
        left_out, unit = int(mask.size - mask.sum()), "pixels" if call.kind == "region" else "examples"
        told.append(f"{left_out} of {mask.size} {unit} ({left_out / mask.size * 100:.0f} %) are masked or ignored.")
    mean, divisor = float(losses.mean()) if losses.size else 0.0, float(weights.sum())
    if call["reduction"] == "mean" and divisor and not math.isclose(divisor, losses.size, rel_tol=1e-6):
        told.append(
            f'The mean of reduction="none" is {mean:.4f}: it divides by {losses.size} examples,'
            f" not by the sum of the weights, {divisor:.6g}."
        )
    return tuple(told)


def _input_checks(call: Call, mask: np.ndarray) -> list[str]:
    """Probabilities in the place of logits, log-probabilities that are not normalized, and constant outputs."""
    if call.kind in ("linear", "region") or not mask.any():
        return []
    is_row = mask.shape != np.shape(call[call.input])
    x = call.last(call.input)[mask] if is_row else np.asarray(call[call.input])[mask][:, None]
    told, classes, name = [], call.classes, call.input
    if name == "logits" and x.min() >= 0 and x.max() <= 1:
        if call.kind == "softmax" and classes > 1 and np.allclose(x.sum(-1, dtype=np.float64), 1, atol=0.01):
            best = math.log(math.e + classes - 1) - 1
            told.append(
                "The rows of logits lie in [0, 1] and sum to 1: is softmax applied already?"
                f" The cross-entropy of such rows is at least {best:.4f}."
            )
        if call.kind == "sigmoid" and x.max() > x.min():
            told.append("All logits lie in [0, 1]: is a sigmoid applied already?")
    if name == "log_probs" and not np.allclose(np.exp(x).sum(-1, dtype=np.float64), 1, atol=0.01):
        told.append("The rows of log_probs are not normalized: cross_entropy takes logits.")
    if len(x) > 1 and (x == x[:1]).all():
        told.append("All examples have the same scores: the model ignores its input.")
    return told


def _label_checks(call: Call, mask: np.ndarray) -> list[str]:
    """Labels that are all equal, and classes that have a weight but no example."""
    if call["labels"] is None or not mask.any() or np.shape(call["labels"]) != mask.shape:
        return []
    counted, told = np.unique(np.asarray(call["labels"])[mask]), []
    if len(counted) == 1 and mask.sum() > 1:
        told.append(f"All labels are {counted[0]}.")
    weights = call["class_weights"]
    if weights is not None and call.kind != "sigmoid" and np.ndim(weights):
        absent = np.setdiff1d(np.flatnonzero(np.asarray(weights)), counted)
        told += [f"Class {c} never occurs but has weight {float(weights[c]):.6g}." for c in absent[:4]]
        told += [f"{len(absent) - 4} more classes never occur but have a weight."] if len(absent) > 4 else []
    return told
