"""The commands, and how every one of them ends: one line for an error, and an exit code."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch_score import __version__
from batch_score.cli.options import options_of, settings
from batch_score.cli.sections import JobCommand
from batch_score.cli.streams import prepare_streams, print_end
from batch_score.config import ParallelRunConfig, ReaderOptions
from batch_score.errors import BatchScoreError, JobFailedError
from batch_score.importing import importing

if TYPE_CHECKING:
    from batch_score.job.request import RunResult

WHO_GETS_WHAT = ("process_count_per_node", "device", "gpus", "processes_per_gpu", "gpu_names")
INPUT_TYPES = click.Choice(["tabular", "file"])
FOLDER = click.Path(path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def run_app(argv: list[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code.

    Args:
        argv: Arguments, by default those of the process. What follows `--` is the entry script's.
    """
    prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    script = []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, script = arguments[:cut], arguments[cut + 1 :]
    sys.exit(_guarded(arguments, script))


def _guarded(arguments: list[str], script: list[str]) -> int:
    """The exit code; whatever goes wrong is said in one line on stderr."""
    try:
        result = commands.main(args=arguments, prog_name="batch-score", standalone_mode=False, obj=script)
    except BrokenPipeError:  # whoever read our output has gone
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - never a bare traceback of ours
        message, code = _explained(error)
        print(f"batch-score: error: {message}", file=sys.stderr)
        return code
    return result if isinstance(result, int) else 0


def _explained(error: BaseException) -> tuple[str, int]:
    """An error as one line and an exit code; the traceback of a fault of our own goes to a file."""
    if isinstance(error, click.ClickException):
        return error.format_message().replace("\n", " "), error.exit_code
    if isinstance(error, BatchScoreError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return f"{error}; {_advice(error)}", 2
    if isinstance(error, (KeyboardInterrupt, click.Abort)):  # a job that runs takes care of itself
        return "interrupted, while no job was running", 130
    return f"internal error, please report it: {type(error).__name__}: {error}; traceback in {_kept(error)}", 1


def _kept(error: BaseException) -> str:
    """The file that the traceback of an error was written to."""
    import tempfile  # noqa: PLC0415 - rarely needed, and --help is to be quick
    import traceback  # noqa: PLC0415 - as above

    with tempfile.NamedTemporaryFile("w", prefix="batch-score-", suffix=".log", delete=False) as log:
        traceback.print_exception(error, file=log)
    return str(log.name)


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room there, then give the command again"
    return "check that the path is there and can be read or written"


@click.group(context_settings=CONTEXT, invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...")
@click.version_option(__version__, prog_name="batch-score")
@click.pass_context
def commands(context: click.Context) -> None:
    """Score table rows or files with one Python script or ONNX model; every row comes back once, with its key."""
    import logging  # noqa: PLC0415 - --help ends before this

    logging.getLogger("batch_score").addHandler(logging.NullHandler())
    _check_command(context)


def _check_command(context: click.Context) -> None:
    """Ends a call of a group without a command, which is wrong usage, with the group's help."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        context.exit(2)


@commands.command(cls=JobCommand, script=True)
@click.argument("scorer")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--run-dir", type=FOLDER, help="what the run leaves behind  [default: runs/DATE-TIME-SCORER]")
@click.option("--output", type=FOLDER, help="folder of the output file  [default: RUN_DIR/outputs]")
@click.option("--config", type=FOLDER, help="YAML file with any of the options below, names with underscores")
@click.option("--input-type", type=INPUT_TYPES, help="what the inputs are, when their extensions do not tell")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout at the end")
@click.option("--quiet", is_flag=True, help="no figures on stderr, only notes and errors")
@options_of(ParallelRunConfig, ReaderOptions)
@click.pass_obj
def run(script: list[str], /, as_json: bool, **given: Any) -> int:  # noqa: FBT001 - click hands options over by name
    """Score INPUT... with SCORER.

    SCORER is score.py, package.module or model.onnx. INPUT is files, folders or globs: .csv .tsv .jsonl .ndjson
    .parquet (text also .gz .zst .bz2) are tables, anything else is files. What follows -- goes to the script.
    """
    with importing():
        from batch_score.cli.score import score  # noqa: PLC0415 - --help needs none of it

    return _told(score(given, script), as_json=as_json)


def _told(result: RunResult, *, as_json: bool) -> int:
    """Prints how a run ended; gives the exit code."""
    if as_json:
        import json  # noqa: PLC0415 - --help needs none of it

        print_end(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        print_end(str(result))
    if result.exit_code and as_json:
        where = f"; log {result.ending.log}" if result.ending.log else ""
        print(f"batch-score: {result.status}: {result.ending.cause}{where}", file=sys.stderr)
    return result.exit_code


@commands.command(cls=JobCommand)
@click.argument("run_dir", type=FOLDER)
@click.option("--force", is_flag=True, help="go on also when the input, the scorer or fixed settings have changed")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout at the end")
@click.option("--quiet", is_flag=True, help="no figures on stderr, only notes and errors")
@options_of(ParallelRunConfig, resumed=True)
@click.pass_obj
def resume(script: list[str], /, run_dir: Path, *, as_json: bool, force: bool, quiet: bool, **given: Any) -> int:
    """Go on with the unfinished run in RUN_DIR.

    What has ended stays as it is. The options below may be other ones than before; what is not given is as recorded.
    """
    with importing():
        from batch_score.cli.resume import resume_run  # noqa: PLC0415 - --help needs none of it

    result = resume_run(run_dir, given, script, force=force, quiet=quiet)
    if result.reused and not as_json:
        print(f"{result.run_dir} is complete already, nothing was done")
    elif result.ended_before and not as_json:
        from batch_score.wording import counted  # noqa: PLC0415 - as above

        print(f"resumed after {counted(result.ended_before, 'mini-batch')} that had ended before")
    return _told(result, as_json=as_json)


@commands.command(cls=JobCommand)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--mini-batch-size", help="as in run")
@click.option("--input-type", type=INPUT_TYPES, help="as in run")
@click.option("--json", "as_json", is_flag=True, help="print one object a line")
@options_of(ParallelRunConfig, only=("partition_keys",))
@options_of(ReaderOptions)
def plan(as_json: bool, **given: Any) -> None:  # noqa: FBT001 - click hands options over by name
    """Show how INPUT... would be cut into mini-batches."""
    with importing():
        from batch_score.cli.plan import show_plan  # noqa: PLC0415 - --help needs none of it

    show_plan(given, sys.stdout, as_json=as_json)


@commands.command(cls=JobCommand, script=True, short_help="Run one mini-batch here and show all of it.")
@click.argument("scorer", metavar="SCORER|RUN_DIR")
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@click.option("--mini-batch", type=click.IntRange(0), help="which one of the plan  [default: 0]")
@click.option("--failed-item", type=click.IntRange(1), help="a line of the run's failed_items.jsonl, the first is 1")
@click.option("--pdb", is_flag=True, help="start pdb where the script raises")
@click.option("--break", "first", is_flag=True, help="start pdb at the first line of run()")
@click.option("--listen", metavar="[HOST:]PORT", help="wait for a debugger (debugpy) before the script is loaded")
@click.option("--config", type=FOLDER, help="as in run")
@click.option("--input-type", type=INPUT_TYPES, help="as in run")
@options_of(ParallelRunConfig, ReaderOptions, defaults=False)
@click.pass_obj
def debug(script: list[str], /, **given: Any) -> int:
    """Run one mini-batch in this process and show what run() got and returned; nothing is kept, no time limit applies.

    With RUN_DIR it is a mini-batch, or a failed item, of that run, with its settings, arguments and inputs. An option
    that is not given is then as in that run, else as in run.
    """
    with importing():
        from batch_score.cli.debug import Stops  # noqa: PLC0415 - --help needs none of it
        from batch_score.cli.debug import debug as debug_one  # noqa: PLC0415 - as above

    stops = Stops(pdb=given.pop("pdb"), first=given.pop("first"), listen=given.pop("listen"))
    chosen = {name: given.pop(name) for name in ("mini_batch", "failed_item")}
    return debug_one(given, script, stops=stops, **chosen)


@commands.command(cls=JobCommand, short_help="Show the GPUs and what each worker would get.")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@options_of(ParallelRunConfig, only=WHO_GETS_WHAT)
def gpus(as_json: bool, **given: Any) -> None:  # noqa: FBT001 - as above
    """Show the GPUs, what each worker would get, and what is wrong with them."""
    from batch_score.cli.gpus import show_gpus  # noqa: PLC0415 - --help needs none of it

    config, _ = settings(given, None)
    show_gpus(config, sys.stdout, as_json=as_json)


@commands.group(
    short_help="Keep models under names and versions.",
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.pass_context
def model(context: click.Context) -> None:
    """Keep models under names and versions, for --model-dir and for Model.get_model_path() of scripts.

    They lie in the folder BATCH_SCORE_MODELS, or else in ~/.batch-score/models.
    """
    _check_command(context)


@model.command()
@click.argument("name")
@click.argument("path", type=FOLDER)
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="a tag; may be given several times")
@click.option("--description", help="a few words")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def register(name: str, path: Path, tags: tuple[str, ...], description: str | None, *, as_json: bool) -> None:
    """Keep the file or folder PATH as the next version of NAME."""
    from batch_score.cli.model import register_model  # noqa: PLC0415 - --help needs none of it

    register_model(name, path, tags, description, sys.stdout, as_json=as_json)


@model.command("list")
@click.argument("name", required=False)
@click.option("--tag", "tags", multiple=True, metavar="NAME[=VALUE]", help="only models with this tag")
@click.option("--json", "as_json", is_flag=True, help="print one object a line")
def list_(name: str | None, tags: tuple[str, ...], *, as_json: bool) -> None:
    """Show all models, or the versions of NAME."""
    from batch_score.cli.model import list_models  # noqa: PLC0415 - as above

    list_models(name, tags, sys.stdout, as_json=as_json)


@model.command(short_help="Show what is known of a model.")
@click.argument("name", metavar="NAME[:VERSION]")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def show(name: str, *, as_json: bool) -> None:
    """Show what is known of a model, the newest version if none is given."""
    from batch_score.cli.model import show_model  # noqa: PLC0415 - as above

    show_model(name, sys.stdout, as_json=as_json)


@model.command("path")
@click.argument("name", metavar="NAME[:VERSION]")
def path_(name: str) -> None:
    """Print where the file or folder of a model lies."""
    from batch_score.cli.model import print_path  # noqa: PLC0415 - as above

    print_path(name, sys.stdout)


@commands.command(short_help="Run a pipeline or batch deployment of Azure ML.")
@click.argument("file", type=FOLDER)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="another value, as inputs.data=new.csv")
@click.option("--runs", type=FOLDER, default="runs", help="folder of all runs  [default: runs]")
@click.option("--force", is_flag=True, help="run every step, also what an earlier run has the result of")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout at the end")
@click.option("--quiet", is_flag=True, help="say nothing on stderr meanwhile, but for notes and errors")
def pipeline(as_json: bool, **given: Any) -> int:  # noqa: FBT001 - as above
    """Run a pipeline, or a batch deployment on INPUT..., that a YAML FILE of Azure Machine Learning describes."""
    with importing():
        from batch_score.cli.pipeline import run_pipeline, summary  # noqa: PLC0415 - --help needs none of it

    result, code = run_pipeline(given.pop("file"), given.pop("inputs"), given.pop("overrides"), **given)
    if as_json:
        import json  # noqa: PLC0415 - --help needs none of it

        print(json.dumps(result, ensure_ascii=False))
    else:
        print(summary(result))
    return code


@commands.command(short_help="Score real images with a model and with a script.")
@click.argument("folder", type=FOLDER, required=False)
def demo(folder: Path | None) -> None:
    """Score real images of handwritten digits twice: a table with an ONNX model, PNG files with a script."""
    from batch_score.cli.demo import DEFAULT_FOLDER, run_demo  # noqa: PLC0415 - --help needs none of it

    run_demo(folder or DEFAULT_FOLDER, run_as_typed, sys.stdout)


def run_as_typed(arguments: list[str]) -> dict[str, Any]:
    """What `batch-score run ARGUMENTS --json` tells; used by the demo, which runs what it tells the user to type.

    Raises:
        JobFailedError: The job did not complete.
    """
    with importing():
        from batch_score.cli.score import score  # noqa: PLC0415 - --help needs none of it

    context = run.make_context("run", [*arguments, "--json", "--quiet"])
    given = {name: value for name, value in context.params.items() if name != "as_json"}
    result = score(given, [])
    if result.exit_code:
        raise JobFailedError(f"{result.ending.cause}; log {result.ending.log}")
    return result.as_json()
