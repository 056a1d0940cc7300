"""`debug`: invalid values raise from compiled code too.

The check of a value costs one condition. Only if it fails does the program count the invalid values, find the first,
and call the host, where the error is raised. Whether debugging is on is part of JAX's compilation key, so a program
compiled without it has no trace of the checks.
"""

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap

from jaxce._sharding import axis_index


@dataclasses.dataclass(frozen=True, eq=False)
class _Index:
    """An index to name in errors, such as that of a microbatch; compared by identity, as a tracer has no equality."""

    name: str
    value: Array


class _On(NamedTuple):
    """Debugging is on: the thread that hears of errors, or None for the environment variable, and indices to name."""

    thread: int | None
    indices: tuple[_Index, ...] = ()


_is_on = os.environ.get("JAXCE_DEBUG", "").lower() not in ("", "0", "false", "off", "no")
_context = jax.make_user_context(default_value=_On(None) if _is_on else None)
"""None when debugging is off. JAX traces anew for every other value."""
_messages: dict[int | None, list[list[str]]] = {}
"""Messages about invalid values for each open context of a thread, the innermost last."""

MIN_ALIKE = 8
"""Fewer values may all be alike by chance."""


class Found(NamedTuple):
    """Invalid values of an array: how many of how many, and the first of them."""

    number: int
    size: int
    value: Any
    position: tuple[int, ...]
    place: str = ""


def debug(*, enabled: bool = True) -> AbstractContextManager[None]:
    """A context in which compiled losses raise ``ValueError`` for invalid values, with the message of eager calls.

    Use it when a loss is NaN: the error names the argument, the position, the `vmap` index and the shard. It also finds
    logits that are not finite or are probabilities, and label rows that do not sum to 1. JAX compiles functions again
    for the context, and exported programs cannot have the checks. The environment variable ``JAXCE_DEBUG=1`` turns it
    on everywhere; over several devices it logs the errors.

    Args:
        enabled: False turns the checks off within another such context.

    Returns:
        A context manager, which is a decorator as well.

    Raises:
        ValueError: at the end of the context or earlier, if a loss met an invalid value.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxce
        >>> step = jax.jit(jaxce.cross_entropy)
        >>> logits, labels = jnp.zeros((4, 3)), jnp.array([0, 1, 3, -1])
        >>> print(step(logits, labels))
        nan
        >>> try:
        ...     with jaxce.debug():
        ...         loss = step(logits, labels)
        ... except ValueError as error:
        ...     print(str(error)[:75])
        labels: 2 of 4 ids are outside [0, 3); first: id 3 at position (2,). Ids st
        >>> with jaxce.debug(enabled=False):
        ...     print(step(logits, labels % 3))
        1.0986123

    See Also:
        ``cross_entropy``: raises for invalid ids without `jit`, too.

    Source:
        JAX, ``jax.make_user_context`` (documentation of 0.10), for a context that is part of the compilation key.
    """
    return _debugging(enabled)


@contextlib.contextmanager
def _debugging(enabled: bool) -> Iterator[None]:
    if not enabled:
        with _context(None):
            yield
        return
    thread, messages = threading.get_ident(), list[str]()
    _messages.setdefault(thread, []).append(messages)
    try:
        with _context(_On(thread)):
            yield
            jax.effects_barrier()
    except jax.errors.JaxRuntimeError as error:
        if not messages:
            raise
        raise ValueError(messages[0]) from error
    finally:
        _messages[thread].pop()
    if messages:
        raise ValueError(messages[0])


def is_debugging() -> bool:
    """Whether `debug` is on."""
    return _context.value is not None


@contextlib.contextmanager
def named_index(name: str, value: Array) -> Iterator[None]:
    """A context in which errors raised from compiled code name an index, such as that of a microbatch."""
    if not is_debugging():
        yield
        return
    with _context(_On(_context.value.thread, (*_context.value.indices, _Index(name, value)))):
        yield


def raise_if(
    suspect: Array,
    find: Callable[..., tuple[Array, ...]],
    operands: tuple[Any, ...],
    describe: Callable[[Found], str],
) -> None:
    """Compiles a check: if any of ``suspect``, ``find(*operands)`` tells which values are invalid, and the values.

    A third array tells which are exempt. Then all the others must be invalid, or none is.
    """
    thread, indices = _context.value
    names, values = [index.name for index in indices], [index.value for index in indices]
    _check(find, partial(_raise_found, thread, describe, names), 0, *lax.stop_gradient((suspect, operands, values)))


def _check(find: Any, raise_found: Any, batch_axes: int, *arrays: Any) -> None:
    """Under `vmap` the whole batch is one check, whose arrays have ``batch_axes`` more leading axes."""

    @custom_vmap
    def check(suspect: Array, operands: Any, indices: list[Array]) -> Array:
        report = partial(_report, find, partial(raise_found, batch_axes))
        lax.cond(jnp.any(suspect), report, lambda *_: None, operands, indices)
        return jnp.zeros((), np.int32)

    @check.def_vmap
    def check_batch(size: int, batched: Any, *arrays: Any) -> tuple[Array, bool]:
        whole = jax.tree.map(lambda b, a: a if b else jnp.broadcast_to(a, (size, *a.shape)), tuple(batched), arrays)
        _check(jax.vmap(find), raise_found, batch_axes + 1, *whole)
        return jnp.zeros((), np.int32), False

    check(*arrays)


def _report(find: Any, raise_found: Any, operands: Any, indices: list[Array]) -> None:
    """Calls the host with the number of invalid values and the first of them."""
    invalid, values, *exempt = find(*operands)
    if exempt:
        invalid = invalid & jnp.all(invalid | exempt[0]) & (invalid.size >= MIN_ALIKE)
    count, position = jnp.sum(invalid), []
    for d, n in enumerate(invalid.shape):  # one axis after the other: a mesh cannot split what a reshape merges
        along = axis_index(invalid, d)
        position.append(jnp.min(jnp.where(invalid, along, n), initial=n))
        invalid = invalid & (along == position[-1])
    value = jnp.sum(jnp.where(invalid, values, jnp.zeros((), values.dtype)), dtype=values.dtype)
    shard = {name: lax.axis_index(name) for name in jax.sharding.get_abstract_mesh().manual_axes}
    jax.debug.callback(partial(raise_found, values.size), count, value, position, indices, shard)


def _raise_found(
    thread: int | None,
    describe: Callable[[Found], str],
    names: list[str],
    batch_axes: int,
    size: int,
    count: Any,
    value: Any,
    position: list[Any],
    indices: list[Any],
    shard: dict[str, Any],
) -> None:
    """On the host: raises the error, if there is an invalid value."""
    if not count:
        return
    batch, inner = (tuple(map(int, part)) for part in (position[:batch_axes], position[batch_axes:]))
    place = f", vmap index {batch}" if batch else ""
    place += "".join(f", {name} {int(np.asarray(index)[batch])}" for name, index in zip(names, indices, strict=True))
    place += "".join(f", shard {name}={int(index)}" for name, index in shard.items())
    message = describe(Found(int(count), size, np.asarray(value)[()], inner, place))
    if contexts := _messages.get(thread):
        contexts[-1].append(message)
    if jax.device_count() == 1:
        raise ValueError(message)
    logging.getLogger("jaxce").error(message)  # one device must not stop while others wait for it in a collective
