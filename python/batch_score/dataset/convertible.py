"""Column types of files as types that pandas and Arrow's own functions can take.

Arrow has types that it stores and passes on, but cannot filter, compare or, inside of lists, hand to pandas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa


def convertible(kind: Any) -> Any:
    """A type of the same values that can be filtered and handed to pandas; `kind` itself if it can.

    Views become plain text and bytes, short decimals ordinary ones. Inside of lists, structs and maps, bytes of a
    fixed size become plain bytes, and a type of an extension becomes what it is stored as.

    Raises:
        TypeError: There is none to which a column can be cast: pyarrow's casts of list views are wrong, and for an
            empty one pandas gets the process ended.
    """
    if isinstance(kind, pa.BaseExtensionType):
        storage = _plain(kind.storage_type)
        return kind if storage == kind.storage_type else storage
    return _plain(kind)


def _plain(kind: Any) -> Any:
    known = pa.types
    if known.is_string_view(kind):
        return pa.string()
    if known.is_binary_view(kind):
        return pa.binary()
    if known.is_decimal(kind) and kind.bit_width < pa.decimal128(1).bit_width:
        return pa.decimal128(kind.precision, kind.scale)
    return _nested(kind) if known.is_nested(kind) else kind


def _inner(kind: Any) -> Any:
    if isinstance(kind, pa.BaseExtensionType):
        return _inner(kind.storage_type)
    return pa.binary() if pa.types.is_fixed_size_binary(kind) else _plain(kind)


def _nested(kind: Any) -> Any:
    rebuilt = next((form for applies, form in _FORMS if applies(kind)), None)
    if rebuilt is None:
        raise TypeError(f"no way to cast {kind}")
    fields = (
        [kind.key_field, kind.item_field] if pa.types.is_map(kind) else list(map(kind.field, range(kind.num_fields)))
    )
    inner = [pa.field(one.name, _inner(one.type), nullable=one.nullable) for one in fields]
    same = all(new.type == old.type for new, old in zip(inner, fields, strict=True))
    return kind if same else rebuilt(kind, inner)


_Form: TypeAlias = tuple[Callable[[Any], bool], Callable[[Any, list[Any]], Any]]
_FORMS: tuple[_Form, ...] = (
    (pa.types.is_struct, lambda _, inner: pa.struct(inner)),
    (pa.types.is_map, lambda _, inner: pa.map_(*inner)),
    (pa.types.is_list, lambda _, inner: pa.list_(*inner)),
    (pa.types.is_large_list, lambda _, inner: pa.large_list(*inner)),
    (pa.types.is_fixed_size_list, lambda kind, inner: pa.list_(inner[0], kind.list_size)),
)
