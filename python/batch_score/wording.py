"""Amounts and tables as people read them. Pure.

Rates and sizes are in decimal units here: 1 MB/s is 1,000,000 bytes a second, as disks and networks are sold.
"""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """A number of things, e.g. `1 row` or `2 rows`; `what` is the word for one."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}{'es' if what.endswith('ch') else 's'}"


def quantity(value: float) -> str:
    """A number in three digits with k, M or G, e.g. `1.23 M`."""
    for unit, scale in ((" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if value >= 0.9995 * scale:
            return _digits(value / scale) + unit
    return _digits(value)


def size(count: float) -> str:
    """A number of bytes in decimal units, at least MB, e.g. `188 MB` or `1.25 GB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9)):
        if count >= 0.9995 * scale:
            return f"{_digits(count / scale)} {unit}"
    return f"{_digits(count / 1e6)} MB"


def duration(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on, rounded to the second."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rounded(value: int) -> int:
    """A number with its first three digits, and zeros behind them."""
    scale = int(10 ** max(0, len(str(value)) - 3))
    return (value + scale // 2) // scale * scale


def aligned(rows: list[tuple[str, str]]) -> str:
    """Names and texts below each other, the texts in one column."""
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {text}\n" for name, text in rows)


def _digits(value: float) -> str:
    """Three significant digits, no exponent: 1.23, 12.3, 123."""
    if value >= 99.95:  # noqa: PLR2004 - where one decimal would round up to 100.0
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}".removesuffix(".00")  # noqa: PLR2004 - as above
