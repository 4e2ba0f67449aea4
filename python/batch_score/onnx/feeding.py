"""How rows get into a session and answers out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    # What each input of the model gets.
    Feed: TypeAlias = dict[str, NDArray[Any]]


class Feeding(Protocol):
    """Runs a session on feeds, one after the other."""

    def answers(self, names: Sequence[str], feeds: Iterable[Feed]) -> Iterator[list[Any]]:
        """The outputs of those names for each feed, in order; a feed is valid until the next one is taken."""
        ...

    def close(self) -> None:
        """Lets its memory go."""
        ...


class Direct:
    """Arrays in, arrays out: what the CPU needs."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def answers(self, names: Sequence[str], feeds: Iterable[Feed]) -> Iterator[list[Any]]:
        """The outputs of those names for each feed."""
        for feed in feeds:
            yield self._session.run(list(names), feed)

    def close(self) -> None:
        """There is none."""
