"""Expressions `${{inputs.x}}` and what stands in `$[[...]]` only as long as its inputs are there."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from batch_score.azureml.names import check_names
from batch_score.azureml.pipeline.task import INPUT, OUTPUT, Hole, Text, Value
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from batch_score.azureml.pipeline.task import Source

PARENT = "parent.inputs"
EXPRESSION = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")
OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
# Stands for a hole while a text is split into arguments: characters that nobody writes.
MARK = re.compile("\ue000(\\d+)\ue001")


def expression_of(value: object) -> str | None:
    """What a value that is one expression and nothing else says; None for any other value."""
    match = EXPRESSION.fullmatch(value.strip()) if isinstance(value, str) else None
    return match[1] if match else None


def settled(value: Any, inputs: Mapping[str, Source | None], parent: Mapping[str, Source | None], where: str) -> Any:
    """A setting, in which the expressions have become the numbers and texts that they stand for.

    Args:
        value: A text, or a list or mapping of such; anything else is itself.
        inputs: Inputs of the job; None for one that was not given.
        parent: Inputs of the pipeline.
        where: Begins messages.

    Raises:
        ConfigError: An expression names no input, or one that is no number or text.
    """
    if isinstance(value, dict):
        return {name: settled(one, inputs, parent, where) for name, one in value.items()}
    if isinstance(value, list):
        return [settled(one, inputs, parent, where) for one in value]
    if not isinstance(value, str):
        return value
    return EXPRESSION.sub(lambda match: _value_of(match[1], {PARENT: parent, INPUT: inputs}, where), value)


def _value_of(expression: str, known: Mapping[str, Mapping[str, Source | None]], where: str) -> str:
    port, _, name = expression.rpartition(".")
    if port not in known:
        raise ConfigError(
            f"{where}: ${{{{{expression}}}}} cannot be in a setting; use ${{{{inputs.NAME}}}} or "
            "${{parent.inputs.NAME}} of a number or text"
        )
    check_names([name], known[port], where, "input")
    source = known[port][name]
    if not isinstance(source, Value):
        what = "an optional input that was not given" if source is None else "data"
        raise ConfigError(f"{where}: ${{{{{expression}}}}} is {what}, but a setting needs a number or text; give one")
    return source.text


class Expressions:
    """The expressions of one job.

    Args:
        inputs: The inputs that the job has, by name.
        absent: Optional inputs that were not given.
        outputs: The names of its outputs.
        where: Begins messages.
    """

    def __init__(
        self, inputs: Mapping[str, Source], absent: Collection[str], outputs: Collection[str], where: str
    ) -> None:
        self._inputs = inputs
        self._absent = absent
        self._outputs = outputs
        self._where = where

    def text(self, value: object) -> Text:
        """A text with holes for its expressions; of a number or text among the inputs the value itself.

        Raises:
            ConfigError: An expression names nothing, or an optional input that is absent.
        """
        parts: list[str | Hole] = []
        for part in self._parts(value):
            found = self._value(part) if isinstance(part, Hole) else None
            parts.append(part if found is None else found)
        return tuple(part for part in parts if part != "")

    def _parts(self, value: object) -> list[str | Hole]:
        """The pieces of a text, a hole for each expression; what is optional and absent is left out."""
        parts: list[str | Hole] = []
        position = 0
        kept = OPTIONAL.sub(self._kept, str(value))
        for match in EXPRESSION.finditer(kept):
            parts += [kept[position : match.start()], self.hole(match[1])]
            position = match.end()
        return [*parts, kept[position:]]

    def _value(self, hole: Hole) -> str | None:
        """The number or text that an input is, None for data and outputs."""
        source = self._inputs.get(hole.name) if hole.port == INPUT else None
        return source.text if isinstance(source, Value) else None

    def arguments(self, value: object) -> tuple[Text, ...]:
        """The arguments in a text, split as a shell does, or in a list; what an expression stands for is never split.

        Raises:
            ConfigError: As `text`; or a quote is not closed.
        """
        if isinstance(value, list):
            return tuple(self.text(one) for one in value)
        parts = self._parts(value)
        holes = [part for part in parts if isinstance(part, Hole)]
        numbers = iter(range(len(holes)))
        marked = "".join(part if isinstance(part, str) else f"\ue000{next(numbers)}\ue001" for part in parts)
        try:
            words = shlex.split(marked)
        except ValueError as error:
            message = f"{self._where}: program_arguments cannot be split ({error}); check its quotes"
            raise ConfigError(message) from error
        return tuple(self._unmarked(word, holes) for word in words)

    def _unmarked(self, word: str, holes: list[Hole]) -> Text:
        """A word with its holes, and with values in the place of those that stand for one."""
        parts: list[str | Hole] = []
        for position, piece in enumerate(MARK.split(word)):
            value = None if position % 2 == 0 else self._value(holes[int(piece)])
            parts.append(piece if position % 2 == 0 else holes[int(piece)] if value is None else value)
        return tuple(part for part in parts if part != "") or ("",)

    def hole(self, expression: str) -> Hole:
        """The input or output that an expression names.

        Raises:
            ConfigError: There is none, or an optional input is absent.
        """
        port, _, name = expression.partition(".")
        if port == INPUT and name in self._absent:
            raise ConfigError(
                f"{self._where}: ${{{{{expression}}}}} is an optional input that was not given; put what needs it into "
                "$[[...]], or give the input"
            )
        known = self._inputs if port == INPUT else self._outputs if port == OUTPUT else None
        if known is None:
            raise ConfigError(
                f"{self._where}: ${{{{{expression}}}}} is not known here; use ${{{{inputs.NAME}}}} or "
                "${{outputs.NAME}} of this job"
            )
        check_names([name], known, self._where, port.removesuffix("s"))
        return Hole(port, name)

    def _kept(self, match: re.Match[str]) -> str:
        """What stands in `$[[...]]`, nothing if an input of it is absent."""
        named = [found[1].partition(".") for found in EXPRESSION.finditer(match[1])]
        gone = any(port == INPUT and name in self._absent for port, _, name in named)
        return "" if gone else match[1]
