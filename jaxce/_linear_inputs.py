"""Argument checks of losses over linear layers: shapes, and shardings over a mesh.

XLA's partitioner would give every device all tokens, or sum the kernel gradient over the devices in each chunk. So the
loop over chunks runs inside a `shard_map`, which needs the shardings. Explicit meshes have them in the types, and
concrete arrays have them; traced arrays on an automatic mesh have none.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AxisType, PartitionSpec
from jax.typing import ArrayLike, DTypeLike

from jaxce._axis_inputs import check_integer, shards
from jaxce._candidates import candidate_ids
from jaxce._class_axis import mask_rows
from jaxce._inputs import (
    array,
    check_choice,
    check_reduction,
    floating,
    integer_labels,
    open_hyperparameters,
    open_mask,
    per_class,
    per_example,
    real_number,
    weight_per_class,
)
from jaxce._numerics import compute_dtype, wider
from jaxce._types import (
    AnyArray,
    AxisName,
    Bounded,
    Hyperparameter,
    Layer,
    LinearInputs,
    LinearLogits,
    LinearSharding,
    Reduction,
    Shape,
    Shared,
    Size,
    Tokens,
)
from jaxce._value_checks import as_jax_array, check_finite, check_finite_rows, check_positive

Specs = tuple[PartitionSpec, PartitionSpec]


def open_linear(
    layers: Mapping[str, LinearLogits],
    labels: ArrayLike | None = None,
    *,
    kernel_layout: str,
    where: ArrayLike | None,
    chunk_size: int | None,
    in_specs: Specs | None,
    class_weights: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    ignore_index: int | Array | None = None,
    class_axis_name: AxisName | None = None,
    reduction: Reduction = "none",
    rows: tuple[Any, ...] = (),
    constants: tuple[Any, ...] = (),
    candidates: bool = False,
    **hyperparameters: Bounded,
) -> LinearInputs:
    """Hidden states with their labels or other rows, the layers, and their sharding.

    The layers are named by patterns of their arguments' names, such as ``"teacher.{}"``. With ``candidates`` the labels
    may have a last axis of several ids for each token.
    """
    check_reduction(reduction)
    check_choice("kernel_layout", kernel_layout, ("dv", "vd"))
    _check_chunk_size(chunk_size)
    hidden, opened = zip(*(_open_layer(pattern, a, kernel_layout) for pattern, a in layers.items()), strict=True)
    h, w = hidden[0], opened[0].kernel
    classes, dtype, examples = w.shape[kernel_layout.index("v")], compute_dtype(wider(h, w)), h.shape[:-1]
    for pattern, other in zip(layers, hidden, strict=True):
        if other.shape[:-1] != examples:
            name, first = (a.format("hidden") for a in (pattern, next(iter(layers))))
            raise ValueError(f"{name}: got shape {other.shape}; expected the tokens of {first}: {examples}, features.")
    if labels is None:
        ids, mask = None, open_mask(where, examples)
    else:
        y = _label_ids(labels, examples, h.shape, candidates)
        ids, mask = candidate_ids(y, len(examples), examples, classes * shards(class_axis_name), where, ignore_index)
    tokens = Tokens(
        hidden=hidden,
        labels=ids,
        rows=_open_rows(rows, examples),
        mask=mask,
        sample_weights=per_example("sample_weights", sample_weights, examples, mask, dtype),
    )
    shared = Shared(
        layers=opened,
        class_weights=weight_per_class("class_weights", class_weights, classes, dtype),
        hyperparameters=open_hyperparameters(dtype, **hyperparameters),
        constants=jax.tree.map(as_jax_array, constants),
    )
    return LinearInputs(
        tokens,
        shared,
        kernel_layout,
        None if chunk_size is None else operator.index(chunk_size),
        class_axis_name,
        linear_sharding(hidden, [a.kernel for a in opened], kernel_layout, in_specs, jax.tree.leaves((tokens, shared))),
        tuple(layers),
    )


def _open_layer(pattern: str, x: LinearLogits, kernel_layout: str) -> tuple[Array, Layer]:
    """The hidden states and the layer of ``x``, whose arguments have names of this pattern."""
    hidden, kernel, *others = (pattern.format(name) for name in LinearLogits._fields)
    h, w = floating(hidden, x.hidden), floating(kernel, x.kernel)
    classes, dtype = _classes((hidden, h.shape), (kernel, w.shape), kernel_layout), compute_dtype(wider(h, w))
    bias, logit_scale, logit_softcap = others
    layer = Layer(
        kernel=w,
        bias=per_class(bias, x.bias, classes, dtype),
        logit_scale=_positive(logit_scale, x.logit_scale, dtype),
        logit_softcap=_positive(logit_softcap, x.logit_softcap, dtype),
    )
    return h, layer


def several_layers(layers: LinearLogits) -> dict[str, LinearLogits]:
    """The layers of a function by the patterns of their names: one, or as many as a tuple has entries."""
    given = layers._asdict()
    for name, a in given.items():
        if isinstance(a, LinearLogits) or (isinstance(a, tuple) and not a):
            kind = "a LinearLogits" if a else "an empty tuple"
            raise TypeError(f"{name}: got {kind}; expected an array, or a tuple with an array for each layer.")
    tuples = {name: len(a) for name, a in given.items() if isinstance(a, tuple)}
    if not tuples:
        return {"{}": layers}
    first, count = next(iter(tuples.items()))
    for name, length in tuples.items():
        if length != count:
            raise ValueError(
                f"{name}: got a tuple of {length} beside a tuple of {count} for {first}; expected an entry for each"
                " layer, or one array for all."
            )
    columns = (a if name in tuples else [a] * count for name, a in given.items())
    return {f"{{}}[{i}]": LinearLogits(*row) for i, row in enumerate(zip(*columns, strict=True))}


def check_function(f: Any, x: LinearInputs) -> None:
    """A function of the caller takes whole rows of logits, and what is traced as an argument."""
    if not callable(f):
        raise TypeError(f"f: got {_kind(f)}; expected a function of logits and rows, such as a loss of jaxce.")
    if x.sharding is not None and x.sharding.classes:
        raise ValueError(
            f"kernel: got classes split over the mesh axes {list(x.sharding.classes)}; expected whole rows of logits"
            " for f. Split the tokens over these axes, or use linear_cross_entropy or linear_log_probs."
        )
    tokens, v = x.tokens.hidden[0].shape[:-1], x.kernel_layout.index("v")
    count = math.prod(tokens)

    def flat(a: Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *a.shape[len(tokens) :]), a.dtype)

    rows = jax.tree.map(flat, x.tokens.rows)
    constants = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), x.shared.constants)
    logits = (
        jax.ShapeDtypeStruct((count, layer.kernel.shape[v]), compute_dtype(wider(hidden, layer.kernel)))
        for hidden, layer in zip(x.tokens.hidden, x.shared.layers, strict=True)
    )
    found = jax.make_jaxpr(f)(*logits, *rows, *constants).consts
    if any(isinstance(constant, jax.core.Tracer) for constant in found):
        raise ValueError(
            "f: closes over a traced array; expected it as an argument. Pass arrays with a row for each token after the"
            " kernel, and others as constants=(...)."
        )


def check_layer(x: LinearInputs, suspect: Array) -> None:
    """Under `debug`: hidden states and kernel must be finite, and a bias finite or ``-inf``."""
    tokens = x.tokens
    for pattern, hidden, layer in zip(x.names, tokens.hidden, x.shared.layers, strict=True):
        check_finite(pattern.format("hidden"), mask_rows(hidden, tokens.mask, hidden.ndim - 1), suspect)
        check_finite(pattern.format("kernel"), layer.kernel, suspect)
        if layer.bias is not None:
            check_finite(pattern.format("bias"), layer.bias, suspect, -math.inf)
    if tokens.teacher_logits is not None:
        check_finite_rows("teacher", tokens.teacher_logits, tokens.mask, tokens.teacher_logits.ndim - 1, suspect)


def _kind(x: Any) -> str:
    return f"a {x.dtype} array of shape {x.shape}" if isinstance(x, Array) else f"a {type(x).__name__}"


def check_row_losses(result: Any, has_aux: bool, rows: Size) -> tuple[Array, Any]:
    """The losses that a function gave for a block of logits, one for each row, and its auxiliary results."""
    if has_aux and not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"f: returned {_kind(result)} with has_aux=True; expected a pair (losses, aux).")
    losses, aux = result if has_aux else (result, None)
    if not isinstance(losses, Array) or losses.shape != (rows,) or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise TypeError(
            f"f: returned {_kind(losses)} for {rows} rows of logits; expected one floating loss per row, as of"
            ' reduction="none".'
        )
    for path, leaf in jax.tree.leaves_with_path(aux):
        if not hasattr(leaf, "shape") or leaf.shape[:1] != (rows,):
            name = jax.tree_util.keystr(path)
            raise TypeError(
                f"f: returned aux{name} of shape {getattr(leaf, 'shape', ())}; expected a row for each of {rows}."
            )
    return losses, aux


def _positive(name: str, value: Hyperparameter | None, dtype: DTypeLike) -> AnyArray | None:
    """A finite number above 0, or None."""
    return None if value is None else check_positive(name, real_number(name, value), dtype)


def _check_chunk_size(chunk_size: int | None) -> None:
    if chunk_size is None:
        return
    check_integer("chunk_size", chunk_size)
    if chunk_size < 1:
        raise ValueError(f"chunk_size: got {chunk_size}; expected at least 1 token, or None.")


def _classes(of_hidden: tuple[str, Shape], of_kernel: tuple[str, Shape], kernel_layout: str) -> Size:
    """The number of classes of a kernel; its features must be those of the hidden states. Arguments have their name."""
    (hidden_name, hidden), (kernel_name, kernel) = of_hidden, of_kernel
    if not hidden:
        raise ValueError(f"{hidden_name}: got one number; expected shape (..., features).")
    d, v = kernel_layout.index("d"), kernel_layout.index("v")
    expected = f"({hidden[-1]}, classes)" if kernel_layout == "dv" else f"(classes, {hidden[-1]})"
    if len(kernel) == 2 and kernel[d] == hidden[-1] and kernel[v] > 0:
        return kernel[v]
    fix = ""
    if len(kernel) == 2 and kernel[v] == hidden[-1]:
        fix = f' It fits kernel_layout="{kernel_layout[::-1]}".'
    raise ValueError(
        f"{kernel_name}: got shape {kernel} for {hidden_name} of shape {hidden} with kernel_layout={kernel_layout!r};"
        f" expected {expected}.{fix}"
    )


def _open_rows(rows: tuple[Any, ...], tokens: Shape) -> tuple[Any, ...]:
    """The rows of a function: arrays that begin with the axes of the tokens."""
    for path, leaf in jax.tree.leaves_with_path(rows):
        shape = jnp.shape(leaf)
        if shape[: len(tokens)] != tokens:
            name = jax.tree_util.keystr(path)
            raise ValueError(f"rows{name}: got shape {shape}; expected a row for each token: {tokens}, then any.")
    opened: tuple[Any, ...] = jax.tree.map(as_jax_array, rows)
    return opened


def _label_ids(labels: ArrayLike, tokens: Shape, hidden: Shape, candidates: bool) -> AnyArray:
    use = "Use labels.astype(jnp.int32)."
    if jnp.issubdtype(array("labels", labels).dtype, jnp.floating) and jnp.shape(labels) != tokens:
        use = "Probabilities are as large as the logits: use cross_entropy(hidden @ kernel, labels)."
    y = integer_labels(labels, f" {use}")
    if candidates and y.shape[:-1] == tokens and y.ndim == len(hidden):
        return y
    if y.shape != tokens:
        fix = " labels[..., 0] drops the last axis." if y.shape == (*tokens, 1) else ""
        fix = f" Several of each token have shape {(*tokens, 'k')}." if candidates else fix
        raise ValueError(
            f"labels: got class ids of shape {y.shape} for hidden of shape {hidden}; expected shape {tokens}.{fix}"
        )
    return y


def linear_sharding(
    all_hidden: Sequence[Array],
    kernels: Sequence[Array],
    kernel_layout: str,
    in_specs: Specs | None,
    others: Sequence[AnyArray],
) -> LinearSharding | None:
    """The sharding over the mesh around the call, or else of the first layer; None without an axis to split."""
    hidden, kernel = all_hidden[0], kernels[0]
    mesh, free = _mesh(hidden, kernel), free_axes(hidden, kernel)
    if in_specs is not None:
        _check_specs(in_specs, () if mesh is None else mesh.axis_names, (hidden.ndim, kernel.ndim))
    if not free:
        return None
    of_hidden, of_kernel = in_specs or _specs(hidden, kernel, kernel_layout, free)
    *tokens, features = _axes(of_hidden, hidden.ndim, free)
    side = kernel_layout.index("v")
    # Mesh axes of the tokens cannot split the classes as well: there the kernel is replicated once.
    of_tokens = {name for names in tokens for name in names}
    of_side = _axes(of_kernel, kernel.ndim, free)
    classes = tuple(name for name in of_side[side] if name not in of_tokens)
    if in_specs is not None and not of_side[side]:
        _check_order(of_kernel, kernel_layout, set(of_side[1 - side]) - of_tokens - set(features))
    for dim, names in enumerate(tokens):
        _check_divides("hidden", hidden.shape, dim, names, mesh, "Pad the tokens, masked by where=.")
    for kernel in kernels:
        _check_divides("kernel", kernel.shape, side, classes, mesh, "Pad the classes, with a bias of -inf.")
    explicit = frozenset(name for name, kind in free.items() if kind == AxisType.Explicit)
    if explicit or AxisType.Manual in mesh.axis_types:
        # Axes that split nothing are left out: `vmap` may map over them, and a nested `shard_map` has no gradient.
        specs = of_hidden, of_kernel, *(jax.typeof(a).sharding.spec for a in others)
        used = {name for spec in specs for names in _axes(spec, len(spec), free) for name in names}
        free = {name: kind for name, kind in free.items() if name in used}
    gathered = tuple(
        names if of_tokens.issuperset(names) and all(w.shape[dim] % _parts(mesh, names) == 0 for w in kernels) else ()
        for dim, names in enumerate(of_side)
    )
    if not explicit.issubset(free):  # JAX 0.12 cannot transpose a gather beside other explicit axes
        gathered = ((), ())
    return LinearSharding(mesh, frozenset(free), tuple(tokens), classes, gathered, explicit) if free else None


def free_axes(hidden: Array, kernel: Array) -> dict[str, AxisType]:
    """The mesh axes of more than one device, with their kinds, without those of a surrounding `shard_map`."""
    mesh = _mesh(hidden, kernel)
    kinds = {} if mesh is None else dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return {name: kind for name, kind in kinds.items() if kind != AxisType.Manual and mesh.shape[name] > 1}


def _mesh(hidden: Array, kernel: Array) -> Any:
    """The mesh around the call, or else the mesh of the arrays."""
    shardings = [jax.typeof(x).sharding if isinstance(x, jax.core.Tracer) else x.sharding for x in (hidden, kernel)]
    meshes = [jax.sharding.get_abstract_mesh(), *(getattr(sharding, "mesh", None) for sharding in shardings)]
    return next((mesh for mesh in meshes if mesh is not None and mesh.axis_names), None)


def _specs(hidden: Array, kernel: Array, kernel_layout: str, free: dict[str, AxisType]) -> Specs:
    """The specs of hidden states and kernel, from their types or from concrete arrays."""
    if all(kind == AxisType.Explicit for kind in free.values()):
        return jax.typeof(hidden).sharding.spec, jax.typeof(kernel).sharding.spec
    if isinstance(hidden, jax.core.Tracer) or isinstance(kernel, jax.core.Tracer):
        names = list(free)
        split = f"P(None, {names[-1]!r})" if kernel_layout == "dv" else f"P({names[-1]!r})"
        example = f"in_specs=(P({names[0]!r}), {split if len(names) > 1 else 'P()'})"
        raise ValueError(
            f"in_specs: got None for traced arrays on an automatic mesh with axes {names}; expected the PartitionSpecs"
            f" of hidden and kernel, such as {example}."
        )
    none = PartitionSpec()
    return getattr(hidden.sharding, "spec", none), getattr(kernel.sharding, "spec", none)


def _axes(spec: PartitionSpec, ndim: int, free: dict[str, AxisType]) -> list[tuple[str, ...]]:
    """The free mesh axes of each dimension."""
    parts = [part if isinstance(part, tuple) else (part,) for part in spec] + [(None,)] * ndim
    return [tuple(name for name in part if name in free) for part in parts[:ndim]]


def _check_specs(in_specs: Specs, names: tuple[str, ...], ndims: tuple[int, int]) -> None:
    if not (isinstance(in_specs, tuple | list) and [type(spec) for spec in in_specs] == [PartitionSpec] * 2):
        raise TypeError(f"in_specs: got {in_specs!r}; expected two PartitionSpecs, of hidden and of kernel.")
    if not names:
        raise ValueError(
            "in_specs: got specs without a mesh; expected one around the call, at least of one device:"
            " jax.set_mesh(mesh)."
        )
    for argument, spec, ndim in zip(("hidden", "kernel"), in_specs, ndims, strict=True):
        used = [name for part in spec for name in (part if isinstance(part, tuple) else (part,)) if name is not None]
        unknown = [name for name in used if name not in names]
        if unknown:
            raise ValueError(f"in_specs: got {unknown[0]!r} for {argument}; expected axes of the mesh, {list(names)}.")
        if len(spec) > ndim:
            raise ValueError(f"in_specs: got {spec} for {argument} of rank {ndim}; expected at most {ndim} entries.")


def _check_order(of_kernel: PartitionSpec, kernel_layout: str, only_features: set[str]) -> None:
    """A kernel whose features alone are split, by axes of no other array, has its spec in the other order."""
    if only_features:
        other = PartitionSpec(*reversed((*of_kernel, None)[:2]))
        raise ValueError(
            f"in_specs: got {of_kernel} for a kernel with kernel_layout={kernel_layout!r}, which splits features and no"
            f" class; expected {other}."
        )


def _parts(mesh: Any, names: tuple[str, ...]) -> int:
    return math.prod(mesh.shape[name] for name in names)


def _check_divides(argument: str, shape: Shape, dim: int, names: tuple[str, ...], mesh: Any, fix: str) -> None:
    parts = _parts(mesh, names)
    if shape[dim] % parts:
        raise ValueError(
            f"{argument}: got shape {shape} with axis {dim} split over {parts} devices by the mesh axes {list(names)};"
            f" expected a multiple of {parts}. {fix}"
        )
