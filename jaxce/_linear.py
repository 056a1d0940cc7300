"""Losses of the logits of one or more linear layers, computed for one chunk of tokens at a time.

For a sum of losses the cotangent of every token is 1. So the forward pass computes the gradient of each chunk beside
its logits, and no logit twice. The derivative of the sum is then a linear map of known gradients,
``t -> <d hidden, t_hidden> + <d kernel, t_kernel> + ...``. JAX transposes, maps and differentiates it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import zero_from_primal
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from jaxce._class_axis import psum_classes
from jaxce._cross_entropy import OF_ROWS
from jaxce._debug import is_debugging
from jaxce._linear_inputs import check_layer
from jaxce._linear_product import add_bias_and_cap, dot, project
from jaxce._numerics import compute_dtype, fill_rows, is_float, is_zero_tangent, jvp_of_perturbed, wider
from jaxce._rows import (
    SCAN_KEEPS_RULES,
    add_kernel_gradient,
    default_chunk_size,
    reference_classes,
    reference_of_rows,
)
from jaxce._sharding import all_gather_axes, pvary_tree, varying_axes
from jaxce._types import (
    AnyArray,
    AxisName,
    Layer,
    LinearInputs,
    LinearSharding,
    Logits,
    PerExample,
    Shared,
    Size,
    Terms,
    Tokens,
)

T = TypeVar("T")

Losses: TypeAlias = tuple[Any, Array, Any]


@runtime_checkable
class Formula(Protocol):
    """What becomes of the logits. A static argument; if it ``is_shared``, equal ones share a compiled program."""

    is_shared: ClassVar[bool]

    @property
    def takes_maximum(self) -> bool:
        """Whether it also takes the maximum of the logits, for the entropy or the likeliest class."""

    def losses(self, logits: Logits, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> Terms:
        """The weighted loss of each token of a chunk, and what else the logits give: arrays with a row per token."""

    def weights(self, tokens: Tokens, shared: Shared, class_axis_name: AxisName | None) -> PerExample:
        """The weight of each token in a mean. It does not depend on the logits."""

    def aux(self, of_logits: Any, weights: PerExample, shared: Shared) -> Any:
        """The auxiliary results of all tokens, from what the logits gave."""


class LoopConfig(NamedTuple):
    """The static part of the loop over chunks: the formula, and whether only the sum of the losses is needed."""

    formula: Formula
    chunk_size: int | None
    kernel_layout: str
    class_axis_name: AxisName | None
    only_sums: bool


def linear_losses(x: LinearInputs, formula: Formula, only_sums: bool) -> Losses:
    """Losses and weights of the tokens, or their sums with ``only_sums``, and the auxiliary results of the formula."""
    config = LoopConfig(formula, x.chunk_size, x.kernel_layout, x.class_axis_name, only_sums)
    run = _run_once if x.sharding is None else partial(_sharded_losses, sharding=x.sharding)
    losses: Losses = run(config, x.tokens, x.shared)
    if is_debugging():
        check_layer(x, jnp.stack([jnp.any(~jnp.isfinite(a)) for a in jax.tree.leaves(losses[0])]))
    return losses


def _run_once(config: LoopConfig, tokens: Tokens, shared: Shared) -> Losses:
    """The loop as one compiled program, of all calls with equal formulas or of this call."""
    run = partial(_shared_losses, config) if config.formula.is_shared else jax.jit(partial(_losses, config))
    losses: Losses = run(tokens, shared)
    return losses


def _sharded_losses(config: LoopConfig, tokens: Tokens, shared: Shared, sharding: LinearSharding) -> Losses:
    """`linear_losses` in a `shard_map`: each device computes its own tokens and classes."""
    outer = () if config.class_axis_name is None else config.class_axis_name
    names = (*((outer,) if isinstance(outer, str) else outer), *sharding.classes)
    config = config._replace(class_axis_name=names or None)
    data = tuple(name for names in sharding.tokens for name in names)

    def local(tokens: Tokens, shared: Shared) -> Any:
        shared = _with_kernels(shared, [all_gather_axes(layer.kernel, sharding.gathered) for layer in shared.layers])
        *sums, aux = _run_once(config, tokens, shared)
        return *(lax.psum(s, data) if config.only_sums and data else s for s in sums), aux

    def of_row(a: AnyArray) -> PartitionSpec:
        return PartitionSpec(*(names if n > 1 else None for names, n in zip(sharding.tokens, a.shape, strict=False)))

    by_token, by_class = PartitionSpec(*sharding.tokens), PartitionSpec(sharding.classes)
    sides = zip(config.kernel_layout, sharding.gathered, strict=True)
    of_kernel = PartitionSpec(*(names or (sharding.classes if side == "v" else None) for side, names in sides))
    whole = jax.tree.map(lambda _: PartitionSpec(), shared)
    layers = (
        dataclasses.replace(of_layer, kernel=of_kernel, bias=None if of_layer.bias is None else by_class)
        for of_layer in whole.layers
    )
    of_class_weights = None if shared.class_weights is None else by_class
    of_teacher = None if tokens.teacher_logits is None else PartitionSpec(*sharding.tokens, sharding.classes)
    of_tokens = dataclasses.replace(jax.tree.map(of_row, tokens), teacher_logits=of_teacher)
    specs = (
        of_tokens,
        dataclasses.replace(whole, layers=tuple(layers), class_weights=of_class_weights),
    )
    if sharding.explicit:
        tokens, shared = jax.tree.map(partial(_resharded, sharding), (tokens, shared), specs)
    of_sum = PartitionSpec() if config.only_sums else by_token
    out = (of_sum, of_sum, by_token)
    mapped = jax.shard_map(local, mesh=sharding.mesh, in_specs=specs, out_specs=out, axis_names=sharding.free)
    losses: Losses = mapped(tokens, shared)
    return losses


def _resharded(sharding: LinearSharding, a: AnyArray, spec: PartitionSpec) -> Array:
    """An array with the explicit mesh axes of the spec in its type, as a `shard_map` requires."""
    parts = (part if isinstance(part, tuple) else (part,) for part in spec)
    explicit = PartitionSpec(*(tuple(name for name in part if name in sharding.explicit) for part in parts))
    resharded: Array = jax.sharding.reshard(a, NamedSharding(sharding.mesh, explicit))
    return resharded


def _losses(config: LoopConfig, tokens: Tokens, shared: Shared) -> Losses:
    shape = tokens.hidden[0].shape[:-1]

    def flat(a: Array) -> Array:
        row = a.shape[len(shape) :]
        return jnp.broadcast_to(a, shape + row).reshape(math.prod(shape), *row)

    tokens = jax.tree.map(flat, tokens)
    weights = config.formula.weights(tokens, shared, config.class_axis_name)
    chunks = _split_chunks(config, tokens, shared)
    values, of_logits = (_total if config.only_sums else _each)(config, chunks, shared)
    of_logits = jax.tree.map(lambda a: _merge_chunks(a, shape), of_logits)
    aux = config.formula.aux(of_logits, weights.reshape(shape), shared)
    if config.only_sums:
        return values, jnp.sum(weights), aux
    return jax.tree.map(lambda a: _merge_chunks(a, shape), values), weights.reshape(shape), aux


_shared_losses = jax.jit(_losses, static_argnums=0)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _total(config: LoopConfig, chunks: Tokens, shared: Shared) -> tuple[Array, Any]:
    """The sum of the losses."""

    def step(_: None, tokens: Tokens) -> tuple[None, Any]:
        raw, reference = _raw(config, tokens, shared), _reference(config, tokens, shared)
        values, aux = _chunk_losses(config, raw, reference, tokens, shared)
        return None, (jnp.sum(values), aux)

    _, (sums, aux) = lax.scan(step, None, chunks)
    return jnp.sum(sums), aux


def _total_jvp(config: LoopConfig, primals: tuple[Tokens, Shared], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    """The sum over all perturbed arrays of ``<gradient, tangent>``, with tangents of 0 where masked."""
    mask, leaves = primals[0].mask, jax.tree.leaves(tangents)
    perturbed = tuple(not is_zero_tangent(t) for t in leaves)
    total, aux, gradients = _keep_rules(partial(_total_and_gradients, config, perturbed))(*primals)

    def dot(gradient: Array | None, tangent: Any, is_of_token: bool) -> Array | float:
        if gradient is None:
            return 0.0
        if is_of_token:
            tangent = fill_rows(tangent, mask)
        return jnp.sum(gradient.astype(total.dtype) * tangent.astype(total.dtype))

    dots = [
        jax.tree.map(partial(dot, is_of_token=of_token), g, t, is_leaf=lambda a: a is None)
        for g, t, of_token in zip(gradients, tangents, (True, False), strict=True)
    ]
    d_total = psum_classes(jnp.asarray(sum(jax.tree.leaves(dots)), total.dtype), config.class_axis_name)
    return (total, aux), (d_total, jax.tree.map(zero_from_primal, aux))


_total.defjvp(_total_jvp, symbolic_zeros=True)


def _keep_rules(f: Callable[..., T]) -> Callable[..., T]:
    """``f`` with its own derivative as a rule; the backward pass computes it again.

    For a scan that a derivative rule calls. Up to 0.10, JAX would take second derivatives from the bodies of the
    functions in that scan, not from their rules. `test_second_derivatives` fails there without this.
    """
    f = jax.checkpoint(f, prevent_cse=False)
    kept: Any = jax.custom_jvp(f)
    kept.defjvp(lambda primals, tangents: jvp_of_perturbed(f, primals, tangents), symbolic_zeros=True)
    return cast(Callable[..., T], kept)


def _total_and_gradients(
    config: LoopConfig, perturbed: tuple[bool, ...], chunks: Tokens, shared: Shared
) -> tuple[Array, Any, tuple[Tokens, Shared]]:
    """The sum of the losses and its gradients along the perturbed arrays; of the gradients each device has a share."""
    dtype, axes = compute_dtype(_operands(chunks, shared)[0]), varying_axes((chunks, shared))
    shards = 1 if config.class_axis_name is None else lax.axis_size(config.class_axis_name)
    wanted = jax.tree.unflatten(jax.tree.structure((chunks, shared)), perturbed)
    chunks, shared = jax.tree.map(lambda w, a: pvary_tree(a, axes) if w else a, wanted, (chunks, shared))
    of_tokens, of_shared = wanted
    of_others = (
        dataclasses.replace(of_tokens, hidden=(False,) * len(of_tokens.hidden)),
        _with_kernels(of_shared, [False] * len(of_shared.layers)),
    )

    def step(sums: Shared, tokens: Tokens) -> tuple[Shared, Any]:
        def share(raw: Logits, parts: tuple[Tokens, Shared]) -> tuple[Array, Any]:
            given = jax.tree.map(lambda w, p, a: p if w else a, of_others, parts, (tokens, shared))
            values, aux = _chunk_losses(config, raw, reference, *given)
            return pvary_tree(jnp.sum(values), axes) / shards, aux

        parts, reference = _only(of_others, (tokens, shared)), _reference(config, tokens, shared)
        value, pull, aux = jax.vjp(share, _raw(config, tokens, shared), parts, has_aux=True)
        d_raw, (d_tokens, d_shared) = pull(pvary_tree(jnp.ones((), dtype), axes))
        d_raw = jax.tree.map(lambda a, dtype: a.astype(dtype), d_raw, _operands(tokens, shared))
        d_tokens = dataclasses.replace(d_tokens, hidden=_hidden_gradients(config, of_tokens, d_raw, tokens, shared))
        kernels = _kernel_gradients(config, of_shared, d_raw, tokens, sums)
        others = _with_kernels(sums, [None] * len(kernels))
        added = jax.tree.map(lambda s, d: s + d.astype(s.dtype), others, d_shared)
        return _with_kernels(added, kernels), (value, aux, d_tokens)

    zeros = jax.tree.map(
        lambda a: pvary_tree(jnp.zeros(a.shape, wider(a, jnp.zeros((), dtype))), axes), _only(of_shared, shared)
    )
    sums, (values, aux, d_chunks) = lax.scan(step, zeros, chunks)
    return psum_classes(jnp.sum(values), config.class_axis_name), aux, (d_chunks, sums)


def _hidden_gradients(
    config: LoopConfig, wanted: Tokens, d_raw: Logits, tokens: Tokens, shared: Shared
) -> tuple[Array | None, ...]:
    """The gradient of the hidden states of each layer that is wanted, 0 where masked.

    In bfloat16 it is rounded here, so that no float32 copy of all hidden states is in memory. float16 has too few
    exponents: it would lose gradients that a loss scale, applied later, is to rescue.
    """
    v = config.kernel_layout.index("v")

    def gradient(d: Array, layer: Layer) -> Array:
        wide = fill_rows(dot(d, layer.kernel.astype(d.dtype), 1, v), tokens.mask)
        return wide.astype(d.dtype) if jnp.finfo(d.dtype).minexp == jnp.finfo(wide.dtype).minexp else wide

    layers = zip(wanted.hidden, d_raw, shared.layers, strict=True)
    return tuple(gradient(d, layer) if is_wanted else None for is_wanted, d, layer in layers)


def _kernel_gradients(
    config: LoopConfig, wanted: Shared, d_raw: Logits, tokens: Tokens, sums: Shared
) -> list[Array | None]:
    """The sum of each kernel's gradient that is wanted, with these tokens added."""
    v = config.kernel_layout.index("v")
    return [
        add_kernel_gradient(total.kernel, d, _filled(hidden, tokens, d.dtype), v) if of_layer.kernel else None
        for of_layer, d, hidden, total in zip(wanted.layers, d_raw, tokens.hidden, sums.layers, strict=True)
    ]


def _with_kernels(shared: Shared, kernels: Sequence[Any]) -> Shared:
    """The same arguments with other kernels."""
    layers = zip(shared.layers, kernels, strict=True)
    return dataclasses.replace(shared, layers=tuple(dataclasses.replace(a, kernel=w) for a, w in layers))


def _only(wanted: Any, tree: Any) -> Any:
    """The tree with None for unwanted leaves."""
    return jax.tree.map(lambda w, a: a if w else None, wanted, tree)


def _each(config: LoopConfig, chunks: Tokens, shared: Shared) -> tuple[Any, Any]:
    """The loss of each token. Cotangents are unknown in the forward pass, so the backward pass recomputes logits."""
    axes = varying_axes((chunks, shared))
    # In the computing dtype, so that the gradients of the chunks are summed in it.
    wide = jax.tree.map(lambda a: a.astype(compute_dtype(a)) if is_float(a) else a, shared)
    # All but the hyperparameters, which meet sums over all classes.
    wide = dataclasses.replace(pvary_tree(wide, axes), hyperparameters=wide.hyperparameters)
    chunks = dataclasses.replace(chunks, hidden=pvary_tree(chunks.hidden, axes))
    operands = lax.stop_gradient(pvary_tree([layer.kernel for layer in shared.layers], axes))

    @partial(jax.checkpoint, prevent_cse=False, policy=_of_rows)
    def step(_: None, tokens: Tokens) -> tuple[None, Any]:
        narrow = jax.tree.map(lambda a, wide: wide.astype(a.dtype) if is_float(a) else wide, shared, wide)
        factors = _with_kernels(shared, operands) if SCAN_KEEPS_RULES else narrow
        raw = _raw(config, tokens, factors, [layer.kernel for layer in wide.layers])
        return None, _chunk_losses(config, raw, _reference(config, tokens, factors), tokens, narrow)

    losses: tuple[Any, Any] = lax.scan(step, None, chunks)[1]
    return losses


def _is_sum_over_classes(primitive: Any, *operands: Any, axes: Any = (), **_: Any) -> bool:
    """Whether a function of the caller has one number for each token here, from all of its logits."""
    is_reduction: bool = primitive.name in ("reduce_sum", "reduce_max", "reduce_min")
    return is_reduction and len(operands[0].shape) - len(axes) <= 1


_of_rows = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.save_only_these_names(OF_ROWS), _is_sum_over_classes
)
"""What the backward pass does not compute again, because it would read all logits: one number for each token."""


def _chunk_losses(config: LoopConfig, raw: Logits, reference: Array | None, tokens: Tokens, shared: Shared) -> Terms:
    """What the formula makes of ``raw``, the products of some hidden states and their kernels."""
    logits = tuple(map(add_bias_and_cap, raw, shared.layers))
    tokens = dataclasses.replace(tokens, reference=reference)
    return config.formula.losses(logits, tokens, shared, config.class_axis_name)


def _reference(config: LoopConfig, tokens: Tokens, shared: Shared) -> Array | None:
    """The largest logit among the first classes, for losses of ids; None where nothing needs it."""
    layer, v = shared.layers[0], config.kernel_layout.index("v")
    if tokens.labels is None:
        return None
    is_capped, takes_maximum = layer.logit_softcap is not None, config.formula.takes_maximum
    count = reference_classes(layer.kernel.shape[v], is_capped=is_capped, takes_maximum=takes_maximum)
    if not count:
        return None

    def of_first_classes(tokens: Tokens, layer: Layer) -> Array:
        return add_bias_and_cap(_raw(config, tokens, Shared(layers=(layer,)))[0], layer)

    first = dataclasses.replace(
        layer,
        kernel=lax.slice_in_dim(layer.kernel, 0, count, axis=v),
        bias=None if layer.bias is None else lax.slice_in_dim(layer.bias, 0, count),
    )
    tokens = Tokens(hidden=tokens.hidden[:1], mask=tokens.mask)
    return reference_of_rows(of_first_classes, *lax.stop_gradient((tokens, first)))


def _raw(config: LoopConfig, tokens: Tokens, shared: Shared, wide: Sequence[Array] | None = None) -> Logits:
    """``h W`` of each layer, accumulated in the computing dtype. Gradients of ``wide`` kernels are those of ``W``."""
    kernels = [layer.kernel for layer in shared.layers]
    layers = zip(_operands(tokens, shared), tokens.hidden, kernels, wide or kernels, strict=True)
    return tuple(
        project(config.kernel_layout, _filled(hidden, tokens, dtype), kernel.astype(dtype), perturbed)
        for dtype, hidden, kernel, perturbed in layers
    )


def _operands(tokens: Tokens, shared: Shared) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which hidden states and kernels are multiplied: the wider of the two."""
    layers = zip(tokens.hidden, shared.layers, strict=True)
    return tuple(wider(hidden, layer.kernel) for hidden, layer in layers)


def _filled(hidden: Array, tokens: Tokens, dtype: DTypeLike) -> Array:
    """Hidden states, 0 where masked, so that no logit and no kernel gradient is NaN from them."""
    return fill_rows(hidden, tokens.mask).astype(dtype)


def _split_chunks(config: LoopConfig, tokens: Tokens, shared: Shared) -> Tokens:
    """Tokens ``[tokens, ...]`` as ``[chunks, chunk, ...]``, with chunks of even size; padding is masked."""
    count, v = tokens.hidden[0].shape[0], config.kernel_layout.index("v")
    size = config.chunk_size or default_chunk_size(count, sum(layer.kernel.shape[v] for layer in shared.layers))
    chunks = -(-count // size)
    if isinstance(count, int):
        size = max(1, -(-count // max(1, chunks)))
    padding = chunks * size - count
    if not isinstance(padding, int) or padding:
        mask = jnp.ones(count, bool) if tokens.mask is None else tokens.mask
        tokens = jax.tree.map(partial(_padded, padding), dataclasses.replace(tokens, mask=mask))
        if tokens.labels is not None and tokens.labels.valid is not None:
            labels = dataclasses.replace(tokens.labels, valid=~fill_rows(~tokens.labels.valid, tokens.mask))
            tokens = dataclasses.replace(tokens, labels=labels)
    split: Tokens = jax.tree.map(lambda a: a.reshape(chunks, size, *a.shape[1:]), tokens)
    return split


def _padded(padding: Size, a: Array) -> Array:
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return jnp.concatenate([a, jnp.broadcast_to(a[-1:], (padding, *a.shape[1:]))])
    return jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1))


def _merge_chunks(a: Array, shape: tuple[Size, ...]) -> Array:
    """Rows ``[chunks, chunk, ...]`` in the shape of the tokens."""
    row = a.shape[2:]
    return a.reshape(a.shape[0] * a.shape[1], *row)[: math.prod(shape)].reshape(*shape, *row)
