"""The native half of batch-score: the only module in Rust, private to the package."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

_StrPath: TypeAlias = str | PathLike[str]

__version__: str
debug_build: bool

# plan, records, stream

@final
class TextPlan:
    r"""The mini-batches of text files, found while they are asked for; threads may share it.

    A record ends at `\n`, `\r\n` or `\r` outside quotes (JSON Lines: at `\n`); empty lines are no records. A mini-batch
    lies in one file and is as long as `max_bytes` allows; only a single record can be longer. The mini-batches of a
    file follow each other without a gap from its first record (after the header) to its end, so empty lines belong
    to the mini-batch before them. Memory does not grow with files or records. Every method releases the GIL; other
    threads scan only during a call, and only if enough is asked for.

    Args:
        paths: Plain, gzip (.gz), Zstandard (.zst) or bzip2 (.bz2) files, in the order to be planned.
        max_bytes: Bound of a mini-batch in bytes, at least 1.
        format: What a record is. JSON Lines has neither delimiter, quote nor header.
        delimiter: One ASCII character.
        quote: One ASCII character, or None.
        header: Whether the first record of each file names the columns and is left out.
        multi_line: Whether a line break inside quotes belongs to the field.
        encoding: utf8, utf8bom, ascii, latin1, iso88591, windows1252, utf16 or utf32.
        chunk_bytes: Size of a read buffer; the result does not depend on it.
        threads: How many may scan at a time during a call, the caller's own included; the result does not depend on
            it. None: one for each core that the process may use, 8 at most.

    Raises:
        ConfigError: An argument cannot be used.
    """

    def __new__(
        cls,
        paths: Sequence[_StrPath],
        *,
        max_bytes: int,
        format: Literal["delimited", "jsonl"] = "delimited",  # noqa: A002 - the option's name
        delimiter: str = ",",
        quote: str | None = '"',
        header: bool = True,
        multi_line: bool = True,
        encoding: str = "utf8",
        chunk_bytes: int = 262_144,
        threads: int | None = None,
    ) -> Self: ...
    def next_batch(self, limit: int) -> list[tuple[int, int, int, int, int]]:
        """Finds up to `limit` more mini-batches; fewer only when the files end or one cannot be read.

        Returns:
            Position of the path, offset and length in bytes (of the decoded text if `is_stream`), ordinal of the
            first record in its file, number of records. An empty list at the end.

        Raises:
            OSError: A file is missing or cannot be read. What was found before it was returned by the call before.
            InputError: A path is not a regular file.
            RecordError: A file is cut short, changes while it is planned, or cannot be decompressed.
            ConfigError: `limit` is 0, or an earlier call raised one of the errors above.
        """

    @property
    def records_scanned(self) -> int:
        """Records of all mini-batches found so far, those not yet returned included."""

    @property
    def bytes_scanned(self) -> int:
        """Bytes of (decoded) text read so far."""

def read_header(
    path: _StrPath,
    *,
    delimiter: str = ",",
    quote: str | None = '"',
    multi_line: bool = True,
    encoding: str = "utf8",
) -> tuple[bytes, int]:
    """Reads the first record of a file.

    Returns:
        Its bytes without byte order mark and line end (UTF-8 if the encoding is utf16 or utf32), empty if
        there is no record; and the offset where the second record begins.

    Raises:
        RecordError: It is longer than 64 MiB, as it is when a quote is left open.
        OSError: The file cannot be read.
    """

def split_records(
    data: bytes,
    *,
    format: Literal["delimited", "jsonl"] = "delimited",  # noqa: A002 - the option's name
    delimiter: str = ",",
    quote: str | None = '"',
    multi_line: bool = True,
) -> list[tuple[int, int]]:
    """Begin and end of each record in the bytes of a mini-batch, without its line end."""

def read_range(path: _StrPath, offset: int, length: int) -> bytes:
    """Reads `length` bytes of a plain file from `offset` on.

    Raises:
        RecordError: The file is shorter.
        OSError: It cannot be read.
    """

def is_stream(path: _StrPath, encoding: str = "utf8") -> bool:
    """Whether a file can only be read from its beginning: compressed, or of encoding utf16 or utf32.

    Raises:
        ConfigError: The encoding is unknown.
    """

@final
class TextStream:
    """The text of a file from its beginning; threads may share it. utf16 and utf32 become UTF-8.

    What is not UTF-16 or UTF-32 becomes the byte 0xFF, which no text has.

    Other encodings are decompressed, but stay as they are. Every method releases the GIL.
    """

    def __new__(cls, path: _StrPath, *, encoding: str = "utf8") -> Self:
        """Opens a file.

        Raises:
            InputError: It is not a regular file.
            OSError: It cannot be opened.
        """

    def read_range(self, offset: int, length: int) -> bytes:
        """Reads a range that does not begin before `position`; what lies between is passed over.

        Raises:
            ConfigError: The range begins before `position`.
            RecordError: The text ends too early or cannot be decompressed.
            OSError: The file cannot be read.
        """

    @property
    def position(self) -> int:
        """Offset in the text of the next byte."""

# tensor

class Misfit(Exception):  # noqa: N818 - somebody else may still read the text
    """A text has something that a FieldReader does not read."""

@final
class FieldReader:
    """Reads delimited text into arrays of the caller; threads may share it.

    A number is the nearest that its type can hold. A field may be quoted, may have blanks around it, and an empty one
    is missing, which is NaN.

    Args:
        fields: For each field of a record: `(block, column, nullable)` for a number, `"text"`, or None to pass it
            over. A missing number is accepted if the field is nullable and its block holds floats.
        delimiter: One ASCII character.
        quote: One ASCII character, or None.
        missing: Spellings of a missing number beside the empty one.

    Raises:
        ConfigError: `delimiter` or `quote` cannot be used.
        ValueError: A field is something else.
    """

    def __new__(
        cls,
        fields: Sequence[tuple[int, int, bool] | str | None],
        *,
        delimiter: str = ",",
        quote: str | None = '"',
        missing: Sequence[str] = (),
    ) -> Self: ...
    def read(
        self, data: bytes, rows: int, blocks: Sequence[NDArray[Any]]
    ) -> tuple[list[tuple[bytes, bytes]], list[bool]]:
        """Reads all records of `data`, which begins and ends with one. Releases the GIL.

        Args:
            data: Text in UTF-8 or a superset of ASCII.
            rows: How many records there are.
            blocks: Writable arrays `[rows, columns]` of float32, float64 or int64, by rows or by columns without
                gaps. Nobody else may use them meanwhile.

        Returns:
            For each text field the int32 offsets `[rows + 1]` and the characters, as Arrow has them; for each field
            whether one of its values was missing.

        Raises:
            Misfit: A record has another number of fields, or a field is not plain; or there are not `rows` records.
                The blocks then hold anything.
            ValueError: A block cannot be written to, or two of them overlap.
            BufferError: A block holds another type.
        """

    def read_range(
        self, path: _StrPath, offset: int, length: int, rows: int, blocks: Sequence[NDArray[Any]]
    ) -> tuple[list[tuple[bytes, bytes]], list[bool]]:
        """Reads all records in a range of a plain file, piece by piece. Releases the GIL.

        Raises:
            Misfit, ValueError, BufferError: As `read`; Misfit also when the range ends neither with a line nor with
                the file.
            RecordError: The file is shorter.
            InputError: It is not a regular file.
            OSError: It cannot be read.
        """

# rows

def delimited_rows(
    columns: Sequence[
        tuple[bytes | NDArray[Any] | tuple[NDArray[np.int64], NDArray[np.uint8]], NDArray[np.uint8] | None]
    ],
    rows: int,
    *,
    delimiter: str = ",",
) -> bytes:
    """Writes columns as records: RFC 4180 with LF line ends, quotes only where they are needed. Releases the GIL.

    Args:
        columns: The values of each, and 0 for each that is missing or None if none is. Values are `[rows]` of int64,
            float32 or float64; a text for all rows; or the offsets `[rows + 1]` of texts and their bytes. Arrays have
            no gaps, and nobody may change them meanwhile.
        rows: How many records to write.
        delimiter: One ASCII character.

    Returns:
        One line per row. A missing value is an empty field, and a record of one blank field has quotes.

    Raises:
        TypeError: A column is something else.
        ValueError: An array has gaps, or the delimiter is not one character.
    """

# files

@final
class FileList:
    """The files behind files, folders and glob patterns, one portion at a time; threads may share it.

    Inputs are taken in their order; the files of one are sorted name by name, as bytes. Folders are walked to any
    depth, links are followed, loops and broken links passed over. Hidden files and folders are found only if an
    input, or a part of a pattern, spells the dot. Patterns (`*`, `?`, `[...]`, `**`) match files, not folders; an
    input that exists under that very name is no pattern. A file of several inputs is listed once, for the first.

    Raises:
        InputError: An input is missing; from `next_batch`, a folder or pattern has no file.
        ConfigError: A pattern is malformed.
        OSError: A folder cannot be read.
    """

    def __new__(cls, inputs: Sequence[_StrPath]) -> Self: ...
    def next_batch(self, limit: int) -> list[str]:
        """The next files, at most `limit`; fewer only at the end. Bytes that are not UTF-8 are surrogate-escaped."""

def count_by_suffix(inputs: Sequence[_StrPath], suffixes: Sequence[str]) -> tuple[int, int, str | None, str | None]:
    """Counts the files of `FileList` without a Python object for each.

    Args:
        inputs: As for `FileList`.
        suffixes: Endings of file names with their dots, such as `.csv.gz`; the case of ASCII letters does not matter.

    Returns:
        Files with one of the suffixes, other files, and the first of either kind.

    Raises:
        InputError, ConfigError, OSError: As for `FileList`.
    """

# guard

def guard(parent_pid: int) -> None:
    """Starts a thread that ends this process when its parent has ended, and returns.

    The thread needs no GIL. It writes one line to file descriptor 2 and sends SIGKILL: to the whole process group if
    this process leads it, else to this process alone. If the parent is another process already, that is done at once.

    Args:
        parent_pid: The parent's process id, as the parent knows it.

    Raises:
        OSError: The operating system lends no handle on the parent (Linux before 5.3), or no thread.
    """

# append and journal

@final
class Ending:
    """How a mini-batch ended; cannot be changed.

    Args:
        index: The mini-batch.
        identity: Tells the mini-batch from others that a changed input could have at its index; 32 bits of any meaning.
        attempt: The try that ended it, 0 for the first.
        total: Its items.
        succeeded: How many of them succeeded, at most `total` and at most `returned`.
        returned: Elements that `run()` returned for it, which are its rows in the output; may exceed `total`.

    Raises:
        OverflowError: A number is negative or too large: `identity` and `attempt` have 32 bits, the others 64.
    """

    def __new__(cls, *, index: int, identity: int, attempt: int, total: int, succeeded: int, returned: int) -> Self: ...
    @property
    def index(self) -> int: ...
    @property
    def identity(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def succeeded(self) -> int: ...
    @property
    def returned(self) -> int: ...

@final
class Summary:
    """What the records of a run come to.

    Attributes:
        end: Length of the output in bytes.
        failed_end: Length of the failed items in bytes.
        header: Bytes of the preamble, 0 without one.
        committed: Mini-batches that were scored in one piece.
        short: Those among the committed with fewer items succeeded than they have.
        bisected: Mini-batches that were scored in parts after they had failed as a whole.
        failed: Mini-batches that failed for good.
        items_total: Items of all these mini-batches.
        items_succeeded: How many of them succeeded.
        returned: Elements that `run()` returned for them.
    """

    @property
    def end(self) -> int: ...
    @property
    def failed_end(self) -> int: ...
    @property
    def header(self) -> int: ...
    @property
    def committed(self) -> int: ...
    @property
    def short(self) -> int: ...
    @property
    def bisected(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def items_total(self) -> int: ...
    @property
    def items_succeeded(self) -> int: ...
    @property
    def returned(self) -> int: ...

@final
class AppendWriter:
    """The only writer of a run's output, of its failed items and of its journal; threads may share it.

    An append writes the lines about failed items of a mini-batch, its rows, then its record; what an append left
    survives the death of the process, what a sync left survives a loss of power (docs/formats/journal.md). Syncs run
    beside the appends, in a thread of their own, which begins at half of a bound; an append waits for it where the
    whole bound would be passed. Times are seconds of any clock of the caller's that does not go back. Every method
    releases the GIL.

    Raises:
        ValueError: From every method but `close`, once the writer is closed.
        OSError: With `errno` and `filename`, when a write fails; the files are cut back to the mini-batch before
            and the writer stays usable. When a sync fails, also one beside the appends, the writer refuses everything
            afterwards.
    """

    @staticmethod
    def create(
        output: _StrPath | None,
        failed_items: _StrPath,
        journal: _StrPath,
        *,
        run_id: bytes,
        sync_bytes: int,
        sync_seconds: float,
        now: float,
    ) -> AppendWriter:
        """Creates the files, and nothing else in their folders.

        Args:
            output: The output file; None for a run that keeps only its summary.
            failed_items: The file of lines about items that failed.
            journal: The journal.
            run_id: 16 bytes computed from the input and settings that tell this run from others.
            sync_bytes: Whenever an append returns, fewer bytes than these of all files are not on the disk; 0 for
                none.
            sync_seconds: And none of them was appended that many seconds ago; infinity for no bound.
            now: Seconds.

        Raises:
            FileExistsError: One of them is there; it is not touched, and none of the others is left behind.
            ValueError: A run id of another length, or negative seconds.
        """

    @staticmethod
    def resume(
        output: _StrPath | None,
        failed_items: _StrPath,
        journal: _StrPath,
        *,
        run_id: bytes,
        sync_bytes: int,
        sync_seconds: float,
        now: float,
    ) -> AppendWriter:
        """Goes on with an earlier run: checks its files, cuts them behind the last good mini-batch.

        Reads every file once. A run of which nothing was committed begins anew: its journal is missing or shorter
        than a header, and the other files are missing or empty. Arguments as for `create`.

        Raises:
            OutputError: The journal is none, is of an unknown version, contradicts itself or belongs to another
                run; it is missing or cut off, but another file has bytes; or the first bytes of the output or of the
                failed items are not those of the run. Nothing was changed.
            FileNotFoundError: A file in which the run has bytes is missing.
            BlockingIOError: Another process is writing the run.
            ValueError: As for `create`.
        """

    def preamble(self, payload: bytes | bytearray | memoryview, now: float) -> int:
        """Writes the header line and returns the new end of the output in bytes.

        A resumed run needs one if, and only if, its `end_offset` is 0.

        Raises:
            ValueError: The output has bytes already, the payload has none, or there is no output file.
        """

    def append(
        self,
        kind: Literal["committed", "bisected", "failed"],
        ending: Ending,
        payload: bytes | bytearray | memoryview,
        failed_items: bytes | bytearray | memoryview,
        now: float,
    ) -> int:
        """Ends a mini-batch and returns the new end of the output in bytes.

        Args:
            kind: `committed` when it was scored in one piece, `bisected` when it was scored in parts, `failed` when
                it failed for good.
            ending: How it ended; nothing succeeded or returned if it failed.
            payload: Its encoded rows, none if it failed; `bytes` are not copied.
            failed_items: Its lines about items that failed; `bytes` are not copied.
            now: Seconds.

        Raises:
            ValueError: The kind is another, the mini-batch ended before, more items succeeded than it has or than
                were returned, a failed one has rows, or there are rows but no output file.
        """

    def committed(self, index: int) -> bool:
        """Whether the bytes of this mini-batch are in the output: it was committed or bisected."""

    def failed(self, index: int) -> bool:
        """Whether this mini-batch failed for good."""

    def identity(self, index: int) -> int | None:
        """The identity of a mini-batch that had ended when the run was resumed, as recorded; None for others."""

    @property
    def summary(self) -> Summary:
        """What all records so far come to, also after closing."""

    @property
    def end_offset(self) -> int:
        """Length of the output in bytes, also after closing."""

    @property
    def lost(self) -> int:
        """Undamaged records that `resume` cut off, because bytes of theirs or of one before were missing or changed.

        Their mini-batches have to be scored again. 0 for a new run.
        """

    @property
    def torn(self) -> bool:
        """Whether `resume` cut off a damaged end of the journal; False for a new run."""

    def keep_up(self, now: float) -> None:
        """Keeps to the bounds while nothing is appended.

        Args:
            now: Seconds.
        """

    def begin_sync(self) -> None:
        """Begins to bring everything appended so far to the disk, unless a sync is under way."""

    def sync(self) -> None:
        """Brings everything appended so far to the disk."""

    def close(self) -> None:
        """Syncs and closes; a second time does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_raised: object) -> None: ...

@final
class JournalRecord:
    """One record of a journal.

    Attributes:
        kind: What the record says.
        index: The mini-batch; this and the following numbers are 0 in a preamble.
        identity: As given by the writer.
        attempt: The try that ended it, 0 for the first.
        total: Its items.
        succeeded: How many of them succeeded.
        returned: Elements that `run()` returned for it.
        end: Length of the output in bytes once this record holds.
        failed_end: Length of the failed items in bytes once this record holds.
    """

    @property
    def kind(self) -> Literal["preamble", "committed", "failed", "bisected"]: ...
    @property
    def index(self) -> int: ...
    @property
    def identity(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def succeeded(self) -> int: ...
    @property
    def returned(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def failed_end(self) -> int: ...

@final
class JournalContents:
    """What a journal says up to its first damaged record.

    Attributes:
        run_id: 16 bytes.
        records: Its undamaged records, in order.
        torn: Whether the journal ends in a record that is cut off or damaged.
    """

    @property
    def run_id(self) -> bytes: ...
    @property
    def records(self) -> list[JournalRecord]: ...
    @property
    def torn(self) -> bool: ...

def read_journal(path: _StrPath) -> JournalContents:
    """Lists the records of a journal, all of them in memory.

    Raises:
        OutputError: It is not a journal, or of an unknown version.
        FileNotFoundError: There is none.
    """
