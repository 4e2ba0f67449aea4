"""Entry scripts: found, loaded and called as the ParallelRunStep contract says, from real files."""

import code
import json.tool
import pickle
import subprocess
import sys
from functools import partial

import pytest

from batch_score.entry_script import EntryScript, MiniBatchContext, ScriptLocation, context_parameter, load, locate
from batch_score.errors import ScorerError

CONTEXT = MiniBatchContext(4, 40, 1, ["f"])


@pytest.fixture(autouse=True)
def _python_as_it_was():
    """Undoes what loading scripts does to this interpreter."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


@pytest.fixture
def script(tmp_path):
    """Writes a file below the code root and loads it as a worker would, the code root on sys.path."""

    def make(text, name="score_me.py", *, entry=None, root=True):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        location = locate(entry or name if root else str(file), str(tmp_path) if root else None)
        sys.path.insert(0, location.code_root)
        return load(location)

    return make


WRAPPED = """
import functools
def logged(f):
    @functools.wraps(f)
    def inner(*args): return f(*args)
    return inner
@logged
def run(mini_batch, context): return [mini_batch, context]
"""
SIGNATURES = [
    ("def run(mini_batch): return [mini_batch]", "none"),
    ("def run(mini_batch, mini_batch_context): return [mini_batch, mini_batch_context]", "positional"),
    ("def run(mini_batch, anything): return [mini_batch, anything]", "positional"),
    ("def run(mini_batch, context=None): return [mini_batch, context]", "positional"),
    ("def run(mini_batch, mini_batch_context=None): return [mini_batch, mini_batch_context]", "positional"),
    ("def run(mini_batch, threshold=0.5): return [mini_batch]", "none"),
    ("def run(mini_batch, threshold=0.5, context=None): return [mini_batch]", "none"),
    ("def run(mini_batch, *, mini_batch_context): return [mini_batch, mini_batch_context]", "keyword"),
    ("def run(mini_batch, *, mini_batch_context=None): return [mini_batch, mini_batch_context]", "keyword"),
    ("def run(mini_batch, *, context=None): return [mini_batch]", "none"),
    ("def run(mini_batch, threshold=1, *, mini_batch_context): return [mini_batch, mini_batch_context]", "keyword"),
    ("def run(mini_batch, /): return [mini_batch]", "none"),
    ("def run(mini_batch, context, /): return [mini_batch, context]", "positional"),
    ("def run(*args): return list(args)", "none"),
    ("def run(mini_batch, *args): return [mini_batch, *args]", "none"),
    ("def run(mini_batch, **options): return [mini_batch]", "none"),
    ("def run(*args, mini_batch_context): return [*args, mini_batch_context]", "keyword"),
    ("run = lambda mini_batch: [mini_batch]", "none"),
    ("run = lambda mini_batch, context: [mini_batch, context]", "positional"),
    ("class Model:\n    def __call__(self, rows): return [rows]\nrun = Model()", "none"),
    ("class Model:\n    def __call__(self, rows, context): return [rows, context]\nrun = Model()", "positional"),
    ("class Model:\n    def score(self, rows): return [rows]\nrun = Model().score", "none"),
    ("from functools import partial\ndef f(model, rows): return [rows]\nrun = partial(f, 'model')", "none"),
    (WRAPPED, "positional"),
    ("def run(mini_batch):\n    yield mini_batch", "none"),
]


@pytest.mark.parametrize(("text", "how"), SIGNATURES)
def test_run_gets_the_context_when_its_signature_asks(script, text, how):
    loaded = script(text)
    assert loaded.context == how
    assert list(loaded.call(["f"], CONTEXT)) == ([["f"]] if how == "none" else [["f"], CONTEXT])


def test_a_callable_without_a_signature_gets_the_mini_batch_only():
    assert context_parameter(dict.fromkeys) == "none"
    assert context_parameter(type("Odd", (), {"__signature__": 3, "__call__": print})()) == "none"


def test_partial_functions_count_what_is_left():
    assert context_parameter(partial(lambda model, rows, context: None, "m")) == "positional"  # noqa: ARG005


def test_init_and_shutdown_are_optional(script):
    loaded = script("def run(b): return b")
    assert loaded.init() is None
    assert loaded.shutdown() is None


def test_functions_share_their_globals(script):
    loaded = script(
        "calls = []\n"
        "def init(): calls.append('init')\n"
        "def run(b): calls.append('run'); return calls\n"
        "def shutdown(): calls.append('shutdown')\n"
    )
    loaded.init()
    loaded.run([])
    assert loaded.call([], CONTEXT) == ["init", "run", "run"]
    loaded.shutdown()
    assert loaded.run([])[-2:] == ["shutdown", "run"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def score(b): return b", "has no function run"),
        ("run = 3", "has no function run"),
        ("run = None", "has no function run"),
        ("async def run(b): return b", "coroutine function"),
    ],
)
def test_a_script_without_a_usable_run(script, text, message):
    with pytest.raises(ScorerError, match=rf"score_me\.py: .*{message}"):
        script(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def run(b) return b", SyntaxError),
        ("import no_such_module_at_all\ndef run(b): return b", ModuleNotFoundError),
        ("1 / 0\ndef run(b): return b", ZeroDivisionError),
        ("raise SystemExit(3)", SystemExit),
    ],
)
def test_what_a_broken_script_raises_passes_through(script, text, error):
    with pytest.raises(error):
        script(text)


def test_file_is_the_real_path(script, tmp_path):
    loaded = script(
        "import os\nHERE = os.path.realpath(os.path.join(__file__, '..'))\ndef run(b): return [HERE, __file__]\n",
        "sub/score_me.py",
    )
    assert loaded.run(None) == [str(tmp_path / "sub"), str(tmp_path / "sub" / "score_me.py")]


def test_a_file_in_the_code_root_has_the_dotted_form_of_its_path(script):
    loaded = script("def run(b): return [__name__, __package__]\n", "src/deep/entry.py")
    assert loaded.run(None) == ["src.deep.entry", "src.deep"]


@pytest.mark.parametrize("folder", ["code", "site", "types", "platform/deep"])
def test_a_folder_may_have_the_name_of_a_module_of_python(script, tmp_path, folder):
    (tmp_path / "beside.py").write_text("weight = 7\n")
    text = "import code\nfrom beside import weight\ndef run(b): return [__name__, weight, code.__file__]\n"
    name, weight, file = script(text, f"{folder}/score_me.py").run(None)
    assert (name, weight) == ("score_me", 7)
    assert file == code.__file__


@pytest.mark.parametrize("name", ["json.py", "code/json.py"])
def test_a_script_that_would_hide_a_module_of_python_is_refused(tmp_path, name):
    (tmp_path / "code").mkdir()
    (tmp_path / name).write_text("")
    with pytest.raises(ScorerError, match=r"its name would hide Python's own module json; rename the file"):
        locate(name, str(tmp_path))


def test_a_file_in_a_folder_of_the_code_root_imports_its_siblings_relatively(script, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "model.py").write_text("weight = 7\n")
    assert script("from .model import weight\ndef run(b): return [weight]\n", "src/entry.py").run(None) == [7]


def test_only_the_code_root_is_on_the_path_not_the_scripts_folder(script, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "beside.py").write_text("")
    with pytest.raises(ModuleNotFoundError, match="beside"):
        script("import beside\ndef run(b): return b\n", "src/entry.py")


def test_a_module_of_the_code_root_is_importable(script, tmp_path):
    (tmp_path / "top_of_root.py").write_text("weight = 8\n")
    assert script("import top_of_root\ndef run(b): return [top_of_root.weight]\n", "src/entry.py").run(None) == [8]


def test_a_dotted_module_is_a_member_of_its_package(script, tmp_path):
    package = tmp_path / "scoring_package"
    package.mkdir()
    (package / "__init__.py").write_text("SCALE = 3\n")
    (package / "weights.py").write_text("from . import SCALE\nweight = SCALE * 2\n")
    loaded = script(
        "from .weights import weight\nfrom . import SCALE\ndef run(b): return [weight, SCALE, __name__]\n",
        "scoring_package/main.py",
        entry="scoring_package.main",
    )
    assert loaded.run(None) == [6, 3, "scoring_package.main"]


def test_a_package_with_run_in_its_init_is_a_module(script):
    assert script("def run(b): return [1]\n", "whole_package/__init__.py", entry="whole_package").run(None) == [1]


@pytest.mark.parametrize("name", ["my-score.py", "2nd.py", "with space.py", "score.v2.py", "a b/score_it.py"])
def test_file_names_that_are_no_identifiers(script, name):
    assert script("def run(b): return [__file__]\n", name).run(None)[0].endswith(name)


def test_a_script_named_like_our_package_leaves_ours_alone(tmp_path):
    name = "batch_score.py"
    (tmp_path / name).write_text("def run(rows): return [float(value) for value in rows['a']]\n")
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")
    options = ["--quiet", "--json", "--run-dir", "out", "--process-count-per-node", "1"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from batch_score.cli import main; main()", "run", name, "rows.csv", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"succeeded": 2' in done.stdout


def test_classes_of_a_script_can_be_pickled(script):
    loaded = script("class Row:\n    weight = 5\ndef run(b): return [Row()]\n", "score.v3.py")
    assert pickle.loads(pickle.dumps(loaded.run(None)[0])).weight == 5


def test_a_file_without_a_source_directory_has_its_folder_as_the_code_root(script, tmp_path):
    (tmp_path / "beside_it.py").write_text("weight = 9\n")
    loaded = script("import beside_it\ndef run(b): return [beside_it.weight, __name__]\n", root=False)
    assert loaded.run(None) == [9, "score_me"]


def test_a_relative_file_lies_in_the_source_directory(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "s.py").write_text("")
    (tmp_path / "s.py").write_text("")
    monkeypatch.chdir(tmp_path)
    wanted = ScriptLocation(str(tmp_path / "code"), "s", str(tmp_path / "code" / "s.py"))
    assert locate("s.py", "code") == wanted
    assert locate("s.py", None) == ScriptLocation(str(tmp_path), "s", str(tmp_path / "s.py"))
    assert locate("code/s.py", None) == wanted


def test_an_absolute_file_outside_of_the_source_directory_has_its_stem(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "s.py").write_text("")
    found = locate(str(tmp_path / "s.py"), str(tmp_path / "code"))
    assert found == ScriptLocation(str(tmp_path / "code"), "s", str(tmp_path / "s.py"))


def test_a_module_that_python_finds_by_itself(tmp_path):
    assert locate("json.tool", str(tmp_path)) == ScriptLocation(str(tmp_path), "json.tool", None, json.tool.__file__)


@pytest.mark.parametrize("name", ["gone.py", "folder/gone.py", "gone_module", "gone.module", "json.gone", "x.y.z"])
def test_what_is_not_there(tmp_path, name):
    with pytest.raises(ScorerError, match=r"no such file|no module of that name"):
        locate(name, str(tmp_path))


def test_a_source_directory_that_is_not_there(tmp_path):
    with pytest.raises(ScorerError, match=r"source_directory .*gone: no such folder"):
        locate("s.py", str(tmp_path / "gone"))


def test_locating_does_not_run_the_script(tmp_path):
    (tmp_path / "explosive.py").write_text("raise RuntimeError\n")
    assert locate("explosive.py", str(tmp_path)).module == "explosive"
    assert locate("explosive", str(tmp_path)).module == "explosive"


def test_the_context_as_the_script_sees_it():
    assert (CONTEXT.minibatch_index, CONTEXT.global_row_index_lower_bound, CONTEXT.retry_count) == (4, 40, 1)
    assert CONTEXT.partition_key_value == {}
    assert EntryScript(print, lambda b, c: (b, c), print, "positional").call(1, CONTEXT) == (1, CONTEXT)
