"""Files that a crash cut off, or a disk damaged: a run goes on to the same result, or refuses and touches nothing."""

import shutil
from dataclasses import dataclass
from functools import partial

import pytest
from tests.faults.scenario import HEADER, RESUME, Place, Scenario, by_effort, chance, options, table

from batch_score.cli.app import run_app

pytestmark = pytest.mark.timeout(1_200)

JOURNAL, FAILED, GROWING = "journal", "failed_items.jsonl", "growing"
RECORD = 72  # bytes of each record of the journal
LONG = 1_000  # bytes of a file of which not every one is tried
# Its last act, when all mini-batches are in the journal, is to kill the coordinator.
SCRIPT = """
    import os, pathlib, signal

    def run(rows):
        if set(rows["id"]) & {3, 33, 39}:
            raise ValueError("a bad row")
        return rows[rows["id"] != 32]

    def shutdown():
        if pathlib.Path("deadly").exists():
            os.kill(os.getppid(), signal.SIGKILL)
"""


def small(folder):
    table("t.csv")(folder)
    lines = (folder / "t.csv").read_text().splitlines(keepends=True)
    (folder / "t.csv").write_text("".join(lines[:41]))


FORMS = {
    form: Scenario(form or "summary", "t.csv", small, SCRIPT, options(1, size="100"), form, 40)
    for form in ("csv", "jsonl", "parquet", "")
}


@dataclass(frozen=True)
class Told:
    """How the command ended, when it ran in this process."""

    code: int
    out: str
    err: str


class Killed(Place):
    """A run that was killed when its last mini-batch was in the journal; it can be damaged, and put back."""

    def kill(self):
        (self.folder / "deadly").touch()
        assert self.ended(self.start()).code < 0
        (self.folder / "deadly").unlink()
        assert self.record["status"] == "running"
        assert sum(record.total for record in self.journal) == self.scenario.items
        shutil.rmtree(self.run_dir / "logs")  # nothing reads them, and they are many
        shutil.copytree(self.run_dir, self.folder / "kept")

    def put_back(self):
        shutil.rmtree(self.run_dir)
        shutil.copytree(self.folder / "kept", self.run_dir)

    @property
    def parts(self):
        """The files that the journal speaks of, and itself."""
        return [JOURNAL, FAILED, *([GROWING] if self.scenario.form else [])]

    def path(self, part):
        return self.growing if part == GROWING else self.run_dir / part

    def size(self, part):
        return self.path(part).stat().st_size

    def ends(self, part):
        """Where each record ends, or what it speaks of."""
        if part == JOURNAL:
            return range(HEADER + RECORD, self.size(part) + 1, RECORD)
        return [record.failed_end if part == FAILED else record.end for record in self.journal]

    def cut(self, part, length):
        with self.path(part).open("r+b") as file:
            file.truncate(length)

    def cut_all(self, lengths):
        for part, length in lengths.items():
            self.cut(part, length)

    def add(self, part, tail):
        with self.path(part).open("ab") as file:
            file.write(tail)

    def flip(self, part, position, bit):
        content = bytearray(self.path(part).read_bytes())
        content[position] ^= bit
        self.path(part).write_bytes(content)

    def begin(self, length, *, there):
        """Leaves so much of the journal, None for none, and of the other files nothing, or nothing in them."""
        for part in self.parts[1:]:
            self.cut(part, 0)
            if not there:
                self.path(part).unlink()
        self.cut(JOURNAL, length or 0)
        if length is None:
            self.path(JOURNAL).unlink()

    def content(self):
        return {path: path.read_bytes() for path in self.run_dir.rglob("*") if path.is_file()}


@pytest.fixture(
    scope="module", params=by_effort(quick=["csv", "parquet"], ci=FORMS, full=FORMS), ids=lambda form: form or "summary"
)
def kept(request, tmp_path_factory, counts):
    scenario = FORMS[request.param]
    wanted = Place(scenario, tmp_path_factory.mktemp("undisturbed")).complete()
    place = Killed(scenario, tmp_path_factory.mktemp("killed"), counts, wanted)
    place.kill()
    return place


@pytest.fixture
def killed(kept):
    """A run of each form, as it was when it was killed."""
    kept.put_back()
    return kept


@pytest.fixture
def command(killed, monkeypatch, capsys):
    """The command in this process, where it takes a moment only."""
    monkeypatch.chdir(killed.folder)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            run_app([*arguments, "--engine", "inline", "--resource-monitor-interval", "0"])
        told = capsys.readouterr()
        return Told(end.value.code, told.out, told.err)

    return run


@pytest.fixture
def becomes(killed, command):
    """Damages a run and goes on with it: `becomes(damage, ...)` is `complete`, as if nothing had been, or `refused`."""

    def go_on(damage, *how, by=RESUME):
        killed.put_back()
        damage(*how)
        killed.counts.damages += 1
        before = killed.content()
        told = command(*by)
        if told.code == 0:
            found = killed.found()
            killed.counts.compare(killed.wanted.rows, found.rows)
            assert found == killed.wanted
            return "complete"
        assert (told.code, told.out, told.err.count("\n")) == (2, "", 1), told
        assert killed.content() == before
        killed.counts.refusals += 1
        return "refused"

    return go_on


def some(positions, *, quick, seed):
    """A few of the positions in a file: all with full effort, but of a long file one in seven."""
    draw, positions = chance(seed), list(positions)
    few = by_effort(quick=quick, ci=10 * quick, full=None)
    if few is not None:
        return sorted(draw.sample(positions, min(few, len(positions))))
    return positions if len(positions) <= LONG else positions[draw.randrange(7) :: 7]


def test_a_file_may_be_cut_anywhere_behind_the_last_but_two_mini_batches(killed, becomes):
    for part, last_but_two, size in [(part, killed.ends(part)[-3], killed.size(part)) for part in killed.parts]:
        for length in some(range(last_but_two, size), quick=2, seed=f"{killed.scenario.name} {part}"):
            assert becomes(killed.cut, part, length) == "complete", (part, length)


def test_all_files_may_be_cut_anywhere_at_once(killed, becomes):
    """Short of the header of the journal, without which nobody knows what the other files hold."""
    draw = chance(f"cuts {killed.scenario.name}")
    sizes = {part: killed.size(part) for part in killed.parts}
    for _ in range(by_effort(quick=3, ci=30, full=300)):
        lengths = {part: draw.randint(HEADER if part == JOURNAL else 0, size) for part, size in sizes.items()}
        assert becomes(killed.cut_all, lengths) == "complete", lengths


def test_what_stands_behind_the_last_record_is_cut_off(killed, becomes):
    draw = chance(f"tails {killed.scenario.name}")
    for number in range(by_effort(quick=2, ci=10, full=60)):
        tail = draw.choice([bytes, draw.randbytes])(draw.randint(1, 2 * RECORD))
        part = killed.parts[number % len(killed.parts)]
        assert becomes(killed.add, part, tail) == "complete", (part, tail)


def test_a_flipped_bit_costs_no_row_and_adds_none(killed, becomes):
    """Where it shows that the file may be another one, in its very first bytes, nothing is touched."""
    draw = chance(f"flips {killed.scenario.name}")
    for part, wanted, positions in [half for name in killed.parts for half in halves(killed, name)]:
        for position in some(positions, quick=2, seed=f"{killed.scenario.name} {part} {wanted}"):
            bit = 1 << draw.randrange(8)
            assert becomes(killed.flip, part, position, bit) == wanted, (part, position, bit)


def halves(killed, part):
    """The bytes of a file that show whose it is, and all others."""
    first = HEADER if part == JOURNAL else next(end for end in killed.ends(part) if end)
    return (part, "refused", range(first)), (part, "complete", range(first, killed.size(part)))


def test_a_journal_without_its_whole_header_says_nothing_about_the_other_files(killed, becomes):
    for length in some(range(HEADER), quick=2, seed="headers"):
        assert becomes(killed.cut, JOURNAL, length) == "refused", length


@pytest.mark.parametrize("length", by_effort(quick=[None, 31], ci=[None, 0, 31], full=[None, *range(HEADER)]))
def test_a_run_that_was_killed_before_its_journal_had_a_header_begins_anew(length, killed, becomes):
    """Its other files are not there, or empty; `None` stands for no journal."""
    for there in (True, False):
        assert becomes(partial(killed.begin, length, there=there)) == "complete", there


def test_half_a_record_of_the_run_is_refused(killed, becomes):
    record = "run.json"
    for length in some(range(len(killed.path(record).read_bytes().rstrip())), quick=2, seed=record):
        for by in (RESUME, killed.scenario.arguments):
            assert becomes(killed.cut, record, length, by=by) == "refused", (length, by)
