"""Keys in the paths of files: the grammar of `partition_format`, and what a path says by it. Pure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Self

from batch_score.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from batch_score.minibatch import KeyValue, MiniBatch

KEY = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")
# What stands for a part of a date: digits, and the name of the part.
PARTS = {"yyyy": (4, "year"), "MM": (2, "month"), "dd": (2, "day"), "HH": (2, "hour"), "mm": (2, "minute"),
         "ss": (2, "second")}  # fmt: skip
PART = re.compile("|".join(PARTS))
# What a path does not say; years are those of Python's own strptime.
REST = {"year": 1900, "month": 1, "day": 1}
# Of a date in nanoseconds, as `datetime` columns are.
FIRST_YEAR, LAST_YEAR = 1678, 2261


@dataclass(frozen=True)
class PartitionFormat:
    """How the values of keys stand in the paths of files.

    `{name}` is text without a slash, `{name:yyyy/MM/dd/HH/mm/ss}` (any part of it) a date; `*` stands for any text
    without a slash, everything else for itself. The format runs to the end of the path and begins where a name in the
    path does. Of several ways to read one name the first key gets as much as it can.

    Attributes:
        text: As it was given.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The format of a text.

        Raises:
            ConfigError: It has no key, a key twice, an odd brace, or a date without any part of one.
        """
        found = cls(text)
        names = found.keys
        rest = KEY.sub("", text)
        if not names or "{" in rest or "}" in rest:
            raise ConfigError(
                f"partition_format {text!r} cannot be read: give keys as {{name}} or {{name:yyyy/MM/dd}}, at least one"
            )
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"partition_format {text!r} names the key {name!r} twice; give each its own name")
        for name, form in KEY.findall(text):
            _check_date(text, name, form, dated=name in found.dates)
        return found

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Names of the keys, in the order of the path."""
        return tuple(match[1] for match in KEY.finditer(self.text))

    @cached_property
    def dates(self) -> frozenset[str]:
        """The keys whose values are dates."""
        return frozenset(match[1] for match in KEY.finditer(self.text) if match[2] is not None)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        begin = "" if self.text.startswith("/") else "/"
        pieces, end = [], 0
        for match in KEY.finditer(self.text):
            pieces += [_literal(self.text[end : match.start()]), _group(match[2])]
            end = match.end()
        return re.compile(f".*{begin}{''.join(pieces)}{_literal(self.text[end:])}", re.DOTALL)

    def values(self, path: str, base: str) -> tuple[KeyValue, ...]:
        """The value of each key in a path.

        Args:
            path: Of a file.
            base: What a relative path is relative to; its folders may have keys too.

        Raises:
            InputError: The path is not of this format.
        """
        # os.path is ten times faster than pathlib, and this is done for every file.
        absolute = path if path.startswith("/") else f"{base}/{path}"
        match = self._pattern.fullmatch(os.path.normpath(absolute))
        if match is None:
            raise InputError(
                f"{_shown(path)} does not match the partition_format {self.text!r}, which runs from its first key to "
                "the end of the path; give the format of the paths, or only such files"
            )
        found = match.groups()
        return tuple(
            self._date(path, parts, found[first : first + len(parts)]) if parts else _shown(found[first])
            for first, parts in self._groups
        )

    @cached_property
    def _groups(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """For each key the first of its groups in the pattern, and the parts of a date that its groups are."""
        found, first = [], 0
        for match in KEY.finditer(self.text):
            parts = tuple(PARTS[part][1] for part in PART.findall(match[2] or ""))
            found.append((first, parts))
            first += len(parts) or 1
        return tuple(found)

    def _date(self, path: str, parts: tuple[str, ...], digits: tuple[str, ...]) -> datetime:
        try:
            return _moment(parts, digits)
        except ValueError as error:
            raise InputError(
                f"{_shown(path)} does not match the partition_format {self.text!r}: {'-'.join(digits)} is no date, "
                f"{error}; correct the path or the format"
            ) from error

    def places(self, keys: Sequence[str]) -> list[int]:
        """Where `keys` stand among all keys; ConfigError for one that there is none of."""
        for name in keys:
            if name not in self.keys:
                raise ConfigError(
                    f"partition_keys names {name!r}, but the keys of partition_format {self.text!r} are "
                    f"{', '.join(self.keys)}"
                )
        return [self.keys.index(name) for name in keys]


@dataclass(frozen=True, slots=True)
class Combination:
    """Files with the same values of some keys.

    Attributes:
        values: The keys with their values.
        paths: The files, in the order of the input.
    """

    values: tuple[tuple[str, KeyValue], ...]
    paths: tuple[str, ...]


def combinations(paths: Iterable[str], partition: PartitionFormat, keys: Sequence[str], base: str) -> list[Combination]:
    """The files by the values of `keys`, which may be some of the format's: in the order in which each first appears.

    Raises:
        InputError: A path is not of the format.
        ConfigError: The format has no such key.
    """
    places = partition.places(keys)
    of_keys = itemgetter(*places) if len(places) > 1 else lambda values: (values[places[0]],)
    found: dict[tuple[KeyValue, ...], list[str]] = {}
    for path in paths:
        found.setdefault(of_keys(partition.values(path, base)), []).append(path)
    return [Combination(tuple(zip(keys, values, strict=True)), tuple(group)) for values, group in found.items()]


def no_keys(keys: Sequence[str]) -> ConfigError:
    """The error for keys of an input that has none."""
    return ConfigError(
        f"partition_keys names {', '.join(keys)}, but the input has no keys; give the partition_format of its paths"
    )


def in_lists(minibatches: Iterable[MiniBatch], most: int, most_bytes: int) -> Iterator[list[MiniBatch]]:
    """Mini-batches in lists of at most `most` and about `most_bytes`, so that the first ones do not wait for others."""
    some: list[MiniBatch] = []
    size = 0
    for minibatch in minibatches:
        some.append(minibatch)
        size += minibatch.length
        if len(some) >= most or size >= most_bytes:
            yield some
            some, size = [], 0
    if some:
        yield some


def _literal(text: str) -> str:
    return "[^/]*".join(map(re.escape, text.split("*")))


def _group(form: str | None) -> str:
    if form is None:
        return "([^/]+)"
    pieces, end = [], 0
    for match in PART.finditer(form):
        pieces += [re.escape(form[end : match.start()]), f"([0-9]{{{PARTS[match[0]][0]}}})"]
        end = match.end()
    return "".join([*pieces, re.escape(form[end:])])


@lru_cache(maxsize=4096)  # many files have few dates
def _moment(parts: tuple[str, ...], digits: tuple[str, ...]) -> datetime:
    """The date of these parts; ValueError if there is none, or no column can have it."""
    given = {name: int(text) for name, text in zip(parts, digits, strict=True)}
    made = datetime(**{**REST, **given})  # type: ignore[arg-type] # noqa: DTZ001 - a path knows no time zone
    if not FIRST_YEAR <= made.year <= LAST_YEAR:
        raise ValueError(f"year {made.year} is out of range")
    return made


def _check_date(text: str, name: str, form: str, *, dated: bool) -> None:
    """Refuses a date without parts, with one of them twice, or with a letter that looks like one."""
    parts = PART.findall(form)
    if dated and (not parts or len(set(parts)) < len(parts) or set(PART.sub("", form)) & set("yMdHms")):
        raise ConfigError(
            f"partition_format {text!r}: the date {name!r} must be made of {', '.join(PARTS)}, each at most once, with "
            f"anything but these letters between them, got {form!r}"
        )


def _shown(path: str) -> str:
    """A path, or a part of one, as text; a name need not be UTF-8."""
    return path if path.isascii() else os.fsencode(path).decode(errors="backslashreplace")
