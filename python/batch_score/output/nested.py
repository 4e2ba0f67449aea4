"""Lists, structs and maps from the outside to the inside, and how a column becomes one of a wider type.

Arrow's own casts are used for plain values only: those of nested types make damaged arrays of list views and of lists
of nulls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from batch_score.arrow import compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

# An array; the published stubs of pyarrow reject half of the arguments that its functions take.
Array: TypeAlias = Any


def inner(kind: Any) -> list[pa.Field[Any]]:
    """The fields of a nested type; of a map its key and its item."""
    if pa.types.is_map(kind):
        return [kind.key_field, kind.item_field]
    return [kind.field(place) for place in range(kind.num_fields)]


def rebuilt(kind: Any, fields: Sequence[pa.Field[Any]]) -> Any:
    """A list, struct or map like `kind`, with other fields inside; of a view a list."""
    known = pa.types
    if known.is_struct(kind):
        return pa.struct(fields)
    if known.is_map(kind):
        return pa.map_(*fields)
    if known.is_fixed_size_list(kind):
        return pa.list_(fields[0], kind.list_size)
    long = known.is_large_list(kind) or known.is_large_list_view(kind)
    return pa.large_list(*fields) if long else pa.list_(*fields)


def below(array: Array) -> list[Array]:
    """The arrays inside of a list, struct or map, one for each of the `inner` fields, whatever is null above them."""
    return _opened(array)[1]


def recast(array: Array, kind: Any) -> Array:
    """An array in another type of the same nesting.

    Args:
        array: Any array, but for unions and run ends.
        kind: What `storable` gives for its type, or a wider one.

    Raises:
        ArrowException: A value does not fit, or there is no way to this type.
    """
    if array.type == kind:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if isinstance(array, pa.ExtensionArray):
        return recast(array.storage, kind)
    if pa.types.is_dictionary(array.type):
        return recast(array.dictionary, kind).take(array.indices)
    if not pa.types.is_nested(kind):
        return array.cast(kind)
    mask = array.is_null() if array.null_count else None
    return _recast_struct(array, kind, mask) if pa.types.is_struct(kind) else _recast_list(array, kind, mask)


def _recast_struct(array: Array, kind: Any, mask: Array | None) -> Array:
    known = {one.name: child for one, child in zip(inner(array.type), below(array), strict=True)}
    children = [
        recast(known[one.name], one.type) if one.name in known else pa.nulls(len(array), one.type)
        for one in inner(kind)
    ]
    return pa.StructArray.from_arrays(children, fields=inner(kind), mask=mask)


def _recast_list(array: Array, kind: Any, mask: Array | None) -> Array:
    offsets, children = _opened(array)
    found = [recast(child, one.type) for child, one in zip(children, inner(kind), strict=True)]
    if pa.types.is_fixed_size_list(kind):
        fixed: Any = pa.FixedSizeListArray
        return fixed.from_arrays(*found, type=kind, mask=mask)
    form: Any = next(form for applies, form in _FORMS if applies(kind))
    width = pa.int64() if pa.types.is_large_list(kind) else pa.int32()
    return form.from_arrays(pa.array(offsets, width), *found, type=kind, mask=mask)


def _opened(array: Array) -> tuple[np.ndarray, list[Array]]:
    """Where each list of an array begins in the arrays inside, with the end behind the last, and those arrays."""
    kind, rows = array.type, len(array)
    if pa.types.is_struct(kind):
        return np.empty(0), [array.field(place) for place in range(kind.num_fields)]
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        return np.arange(rows + 1) * size, [array.values.slice(array.offset * size, rows * size)]
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))), [array.flatten()]
    offsets = array.offsets.to_numpy() if rows else np.zeros(1, np.int64)
    children = [array.keys, array.items] if pa.types.is_map(kind) else [array.values]
    return offsets - offsets[0], [child.slice(int(offsets[0]), int(offsets[-1] - offsets[0])) for child in children]


_FORMS = (
    (pa.types.is_map, pa.MapArray),
    (pa.types.is_large_list, pa.LargeListArray),
    (pa.types.is_list, pa.ListArray),
)
