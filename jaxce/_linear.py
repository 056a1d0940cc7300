"""The losses of a linear layer's logits, which never exist but for one chunk of tokens at a time.

A sum over the tokens knows what its gradient asks of each logit as soon as the logit is there. So where a derivative is
wanted, each chunk adds its gradients to theirs while its logits are at hand: no logit is computed twice. The derivative
of the sum is the linear map ``t -> <d hidden, t_hidden> + <d kernel, t_kernel> + ...`` of gradients computed already,
which JAX transposes, maps and differentiates by itself.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from jaxce._class_axis import broadcast_per_class, local_ids, psum_classes, take_per_class
from jaxce._cross_entropy import describe_logits
from jaxce._numerics import compute_dtype, fill_masked, wider
from jaxce._rows import add_kernel_gradient, default_chunk_size
from jaxce._sharding import pvary_tree, varying_axes
from jaxce._types import AxisName, Ids, LinearAux, LinearInputs, LinearSharding, Named, PerExample, Size, SoftmaxInputs
from jaxce.reductions import apply_weights

Loss: TypeAlias = Callable[[SoftmaxInputs, Named], tuple[PerExample, Array]]
"""Loss and weight of each example of an opened loss, given the hyperparameters that are on, by name."""

Losses: TypeAlias = tuple[Array, Array, LinearAux | None]


class LoopConfig(NamedTuple):
    """What is fixed about the loop: the loss, the tokens in a chunk, and whether only the sum is wanted."""

    loss: Loss
    chunk_size: int | None
    kernel_layout: str
    class_axis_name: AxisName | None
    only_sums: bool
    has_aux: bool


def linear_losses(x: LinearInputs, loss: Loss, only_sums: bool, has_aux: bool) -> Losses:
    """The losses and weights of the tokens, or their sums, and what there is to tell about the logits."""
    plan = LoopConfig(loss, x.chunk_size, x.kernel_layout, x.class_axis_name, only_sums, has_aux)
    if x.placement is not None:
        return _placed(plan, x.placement, x.rows, x.shared)
    losses: Losses = _losses(plan, x.rows, x.shared)
    return losses


def _placed(plan: LoopConfig, place: LinearSharding, rows: Named, shared: Named) -> Losses:
    """The same with every device at its own tokens and classes."""
    outer = () if plan.class_axis_name is None else plan.class_axis_name
    names = (*((outer,) if isinstance(outer, str) else outer), *place.classes)
    plan = plan._replace(class_axis_name=names or None)
    data = tuple(name for names in place.tokens for name in names)

    def local(rows: Named, shared: Named) -> Any:
        *sums, aux = _losses(plan, rows, shared)
        return *(lax.psum(s, data) if plan.only_sums and data else s for s in sums), aux

    def of_row(a: Array) -> PartitionSpec:
        return PartitionSpec(*(names if n > 1 else None for names, n in zip(place.tokens, a.shape, strict=False)))

    tokens, classes = PartitionSpec(*place.tokens), PartitionSpec(place.classes)
    by_name = {"bias": classes, "class_weights": classes}
    by_name["kernel"] = PartitionSpec(*(place.classes if side == "v" else None for side in plan.kernel_layout))
    specs = {n: of_row(a) for n, a in rows.items()}, {n: by_name.get(n, PartitionSpec()) for n in shared}
    if place.explicit:
        rows, shared = jax.tree.map(partial(_resharded, place), (rows, shared), specs)
    sums = PartitionSpec() if plan.only_sums else tokens
    out = (sums, sums, tokens if plan.has_aux else None)
    mapped = jax.shard_map(local, mesh=place.mesh, in_specs=specs, out_specs=out, axis_names=place.free)
    losses: Losses = mapped(rows, shared)
    return losses


def _resharded(place: LinearSharding, a: Array, spec: PartitionSpec) -> Array:
    """An array whose type has the explicit axes of a spec, as a `shard_map` wants it."""
    parts = (part if isinstance(part, tuple) else (part,) for part in spec)
    shown = PartitionSpec(*(tuple(name for name in part if name in place.explicit) for part in parts))
    resharded: Array = jax.sharding.reshard(a, NamedSharding(place.mesh, shown))
    return resharded


@partial(jax.jit, static_argnums=0)
def _losses(plan: LoopConfig, rows: Named, shared: Named) -> Losses:
    tokens = rows["hidden"].shape[:-1]
    dtype = compute_dtype(_operand(rows, shared))
    flat = {n: jnp.broadcast_to(a, tokens + a.shape[len(tokens) :]) for n, a in rows.items()}
    flat = {n: a.reshape(math.prod(tokens), *a.shape[len(tokens) :]) for n, a in flat.items()}
    shared = {n: a if n == "kernel" else a.astype(dtype) for n, a in shared.items()}
    values, aux = (_total if plan.only_sums else _each)(plan, flat, shared)
    weights = _weights(plan, flat, shared)
    if plan.only_sums:
        weights = jnp.sum(weights)
    else:
        values, weights = values.reshape(tokens), weights.reshape(tokens)
    return values, weights, jax.tree.map(lambda a: a.reshape(tokens), aux)


def _weights(plan: LoopConfig, rows: Named, shared: Named) -> PerExample:
    """What each token counts in a mean, which its logits have no part in."""
    w, ids, name = shared.get("class_weights"), rows["ids"], plan.class_axis_name
    zeros = jnp.zeros(ids.shape, compute_dtype(_operand(rows, shared)))
    weight = jnp.ones_like(zeros) if w is None else take_per_class(w, local_ids(ids, w.size, name), name)
    return apply_weights(zeros, weight, rows.get("sample_weights"), rows.get("mask"))[1]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _total(plan: LoopConfig, rows: Named, shared: Named) -> tuple[Array, LinearAux | None]:
    """The sum of the losses."""

    def step(_: None, rows: Named) -> tuple[None, Any]:
        values, aux = _of_chunk(plan, _raw(plan, rows, shared), rows | shared)
        return None, (jnp.sum(values), aux)

    _, (sums, aux) = lax.scan(step, None, _split_chunks(plan, rows, shared))
    return jnp.sum(sums), _merge_chunks(aux, rows)


def _total_jvp(plan: LoopConfig, primals: tuple[Named, Named], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    moving = {n: t for named in tangents for n, t in named.items() if not _is_still(t)}
    total, aux, gradients = _total_and_gradients(plan, tuple(moving), *primals)
    still = {"hidden": _column(primals[0]), "sample_weights": primals[0].get("mask")}
    slope = sum(jnp.sum(gradients[n] * fill_masked(t, still.get(n)).astype(total.dtype)) for n, t in moving.items())
    slope = psum_classes(jnp.asarray(slope, total.dtype), plan.class_axis_name)
    return (total, aux), (slope, jax.tree.map(zero_from_primal, aux))


_total.defjvp(_total_jvp, symbolic_zeros=True)


@partial(jax.checkpoint, static_argnums=(0, 1), prevent_cse=False)
def _total_and_gradients(
    plan: LoopConfig, moving: tuple[str, ...], rows: Named, shared: Named
) -> tuple[Array, LinearAux | None, Named]:
    """The sum of the losses, and its gradients along what moves: on every device its own share of them."""
    dtype, axes = compute_dtype(_operand(rows, shared)), varying_axes((rows, shared))
    shards = 1 if plan.class_axis_name is None else lax.axis_size(plan.class_axis_name)
    rows, shared = (
        {n: pvary_tree(a, axes) if n in moving else a for n, a in named.items()} for named in (rows, shared)
    )

    def step(sums: Named, rows: Named) -> tuple[Named, Any]:
        given = rows | shared

        def share(raw: Array, parts: Named) -> tuple[Array, LinearAux | None]:
            values, aux = _of_chunk(plan, raw, given | parts)
            return pvary_tree(jnp.sum(values), axes) / shards, aux

        parts = {n: given[n] for n in moving if n not in ("hidden", "kernel")}
        value, pull, aux = jax.vjp(share, _raw(plan, rows, shared), parts, has_aux=True)
        d_raw, gradients = pull(pvary_tree(jnp.ones((), dtype), axes))
        d_raw = d_raw.astype(_operand(rows, shared))
        sums = {n: sums[n] + gradients[n] if n in gradients else sums[n] for n in sums}
        if "hidden" in moving:
            side = plan.kernel_layout.index("v")
            gradients["hidden"] = fill_masked(_dot(d_raw, shared["kernel"].astype(d_raw.dtype), 1, side), _column(rows))
        if "kernel" in moving:
            d_hidden = _hidden(rows, d_raw.dtype)
            sums["kernel"] = add_kernel_gradient(sums["kernel"], d_raw, d_hidden, plan.kernel_layout.index("v"))
        return sums, (value, aux, {n: g for n, g in gradients.items() if n in rows})

    zeros = {n: pvary_tree(jnp.zeros(shared[n].shape, dtype), axes) for n in moving if n in shared}
    sums, (values, aux, of_rows) = lax.scan(step, zeros, _split_chunks(plan, rows, shared))
    return (
        psum_classes(jnp.sum(values), plan.class_axis_name),
        _merge_chunks(aux, rows),
        sums | _merge_chunks(of_rows, rows),
    )


def _each(plan: LoopConfig, rows: Named, shared: Named) -> tuple[PerExample, LinearAux | None]:
    """The loss of each token. Only who calls knows the cotangents, so the logits are computed again for a gradient."""
    operand, axes = _operand(rows, shared), varying_axes((rows, shared))
    # In the computing dtype, so that the gradients of the chunks are summed in it.
    kernel = shared["kernel"].astype(compute_dtype(operand))
    own = pvary_tree({n: a for n, a in shared.items() if n in ("bias", "class_weights")} | {"kernel": kernel}, axes)
    rows, shared = rows | {"hidden": pvary_tree(rows["hidden"], axes)}, shared | own

    @partial(jax.checkpoint, prevent_cse=False)
    def step(_: None, rows: Named) -> tuple[None, Any]:
        short = rows | {"hidden": rows["hidden"].astype(operand)}
        raw = _raw(plan, short, shared | {"kernel": shared["kernel"].astype(operand)})
        return None, _of_chunk(plan, raw, rows | shared)

    _, (values, aux) = lax.scan(step, None, _split_chunks(plan, rows, shared))
    joined: tuple[PerExample, LinearAux | None] = _merge_chunks((values, aux), rows)
    return joined


def _of_chunk(plan: LoopConfig, raw: Array, given: Named) -> tuple[PerExample, LinearAux | None]:
    """The weighted losses of some tokens from the product of their hidden states and the kernel."""
    mask = given.get("mask")
    x = SoftmaxInputs(
        logits=_logits(raw, given),
        axis=1,
        labels=Ids(given["ids"], given.get("valid")),
        mask=mask,
        class_weights=given.get("class_weights"),
        sample_weights=given.get("sample_weights"),
        class_axis_name=plan.class_axis_name,
    )
    values, _ = apply_weights(*plan.loss(x, given), x.sample_weights, mask)
    if not plan.has_aux:
        return values, None
    aux = describe_logits(lax.stop_gradient(x.logits), plan.class_axis_name)
    return values, LinearAux(*(fill_masked(a, mask) for a in aux))


def _logits(raw: Array, given: Named) -> Array:
    """``cap tanh(scale (h W + b) / cap)``; a class whose bias is ``-inf`` keeps it under any scale and cap."""
    bias = broadcast_per_class(given["bias"], raw.ndim, 1) if "bias" in given else jnp.zeros((), raw.dtype)
    if "logit_scale" not in given and "logit_softcap" not in given:
        return raw + bias
    closed = jnp.isneginf(bias)
    x = given.get("logit_scale", 1) * (raw + jnp.where(closed, 0, bias))
    if "logit_softcap" in given:
        x = given["logit_softcap"] * jnp.tanh(x / given["logit_softcap"])
    return jnp.where(closed, -jnp.inf, x)


def _raw(plan: LoopConfig, rows: Named, shared: Named) -> Array:
    """``h W``, accumulated in the computing dtype."""
    dtype = _operand(rows, shared)
    return _project(plan.kernel_layout, _hidden(rows, dtype), shared["kernel"].astype(dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _project(kernel_layout: str, hidden: Array, kernel: Array) -> Array:
    return _dot(hidden, kernel, 1, kernel_layout.index("d"))


def _project_jvp(kernel_layout: str, primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    """Tangents, and so cotangents, in the dtype of the operands: two products of mixed dtypes would be slow."""
    (hidden, kernel), (t_hidden, t_kernel), d = primals, tangents, kernel_layout.index("d")
    raw, slope = _project(kernel_layout, hidden, kernel), jnp.zeros((), hidden.dtype)
    if not _is_still(t_hidden):
        slope += _dot(t_hidden, kernel, 1, d, hidden.dtype)
    if not _is_still(t_kernel):
        slope += _dot(hidden, t_kernel, 1, d, hidden.dtype)
    return raw, slope.astype(raw.dtype)


_project.defjvp(_project_jvp, symbolic_zeros=True)


def _dot(a: Array, b: Array, i: int, j: int, dtype: DTypeLike | None = None) -> Array:
    """The product over axis ``i`` of one and ``j`` of the other, in the computing dtype if no other is said."""
    return lax.dot_general(a, b, (((i,), (j,)), ((), ())), preferred_element_type=dtype or compute_dtype(a))


def _operand(rows: Named, shared: Named) -> np.dtype[Any]:
    """The dtype in which hidden states and kernel are multiplied: where theirs differ, the wider one."""
    return wider(rows["hidden"], shared["kernel"])


def _hidden(rows: Named, dtype: DTypeLike) -> Array:
    """Hidden states, 0 where masked: neither a logit nor the gradient of the kernel meets what is there."""
    hidden: Array = fill_masked(rows["hidden"], _column(rows)).astype(dtype)
    return hidden


def _column(rows: Named) -> Array | None:
    return rows["mask"][:, None] if "mask" in rows else None


def _is_still(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero) or tangent.dtype == jax.dtypes.float0


def _split_chunks(plan: LoopConfig, rows: Named, shared: Named) -> Named:
    """The rows ``[tokens, ...]`` as ``[chunks, tokens in each, ...]``, of sizes as even as can be, the last masked."""
    tokens, classes = rows["hidden"].shape[0], shared["kernel"].shape[plan.kernel_layout.index("v")]
    size = plan.chunk_size or default_chunk_size(tokens, classes)
    chunks = -(-tokens // size)
    if isinstance(tokens, int):
        size = max(1, -(-tokens // max(1, chunks)))
    padding = chunks * size - tokens
    if not isinstance(padding, int) or padding:
        rows = {"mask": jnp.ones(tokens, bool)} | rows
        rows = {n: _padded(a, padding, n == "valid") for n, a in rows.items()}
    return {n: a.reshape(chunks, size, *a.shape[1:]) for n, a in rows.items()}


def _padded(a: Array, padding: Size, value: bool) -> Array:
    return jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1), constant_values=value)


def _merge_chunks(chunks: Any, rows: Named) -> Any:
    """Undoes the cut."""
    tokens = rows["hidden"].shape[0]
    return jax.tree.map(lambda a: a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])[:tokens], chunks)
