"""The registry of models: versions, what is kept of them, and many processes at once."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.errors import ModelError
from batch_score.registry import DRAFT, REFERENCE, STALE_S, Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"some weights")
    return path


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "net"
    (root / "part").mkdir(parents=True)
    (root / "a.bin").write_bytes(b"a")
    (root / "part" / "b.bin").write_bytes(b"bb")
    return root


def test_versions_count_from_1_and_the_newest_is_what_a_name_means(registry, weights):
    assert [registry.register("m", weights).version for _ in range(12)] == list(range(1, 13))
    assert registry.find("m").version == 12
    assert registry.find("m", 2).version == 2
    assert [one.version for one in registry.models("m")] == list(range(1, 13))


def test_a_file_keeps_its_name_content_and_hash(registry, weights):
    model = registry.register("m", weights)
    assert model.path.name == "weights.bin"
    assert model.path.read_bytes() == b"some weights"
    assert model.digest == hashlib.sha256(b"some weights").hexdigest()
    assert (model.files, model.size) == (1, 12)
    assert list(model.folder.iterdir()) == [model.path]


def test_a_folder_lies_inside_the_folder_of_its_version(registry, folder):
    model = registry.register("m", folder)
    assert model.path == model.folder / "net"
    assert (model.path / "part" / "b.bin").read_bytes() == b"bb"
    assert (model.files, model.size) == (2, 3)


def test_a_version_does_not_change_with_its_source(registry, weights):
    model = registry.register("m", weights)
    weights.write_bytes(b"others")
    assert model.path.read_bytes() == b"some weights"
    assert registry.register("m", weights).digest != model.digest


def test_what_is_told_of_a_model_is_kept(registry, weights):
    about = {"tags": {"a": 1, "b": "x"}, "properties": {"p": 2.5}, "description": "words", "framework": "Onnx"}
    model = registry.register("m", weights, **about, framework_version="1.2", run_id="r")
    found = registry.find("m")
    assert found == model
    assert (found.tags, found.properties) == ({"a": "1", "b": "x"}, {"p": "2.5"})
    assert (found.description, found.framework, found.framework_version, found.run_id) == ("words", "Onnx", "1.2", "r")
    assert found.source == str(weights)
    assert json.loads(json.dumps(found.as_json()))["path"] == str(found.path)


@pytest.mark.parametrize("reference", ["m", "m:2", "m@latest", "azureml:m", "azureml:m:2", "azureml:m@latest"])
def test_a_model_can_be_named_in_several_ways(reference, registry, weights):
    registry.register("m", weights)
    registry.register("m", weights)
    assert registry.get(reference).id == "m:2"


def test_an_unknown_model_is_an_error_that_says_what_there_is(registry, weights):
    with pytest.raises(ModelError, match=f"model m is not known; {registry.root} has no models"):
        registry.find("m")
    registry.register("one", weights)
    registry.register("two", weights)
    with pytest.raises(ModelError, match=r"model m is not known; .* has one, two"):
        registry.find("m")
    with pytest.raises(ModelError, match=r"model one:7 is not known; .* has version 1 of it"):
        registry.get("one:7")
    with pytest.raises(ModelError, match="'one:0' is no model"):
        registry.get("one:0")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a b", "a" * 256, "a\n", "ä"])
def test_a_name_that_could_lead_elsewhere_is_refused(name, registry, weights):
    with pytest.raises(ModelError, match="model name"):
        registry.register(name, weights)
    with pytest.raises(ModelError):
        registry.find(name)
    assert registry.models(name) == []
    assert not registry.root.exists()


def test_nothing_is_left_of_what_cannot_be_registered(registry, folder, tmp_path):
    with pytest.raises(ModelError, match="nowhere does not exist"):
        registry.register("m", tmp_path / "nowhere")
    (folder / "gone").symlink_to("nowhere")
    with pytest.raises(ModelError, match="cannot be copied"):
        registry.register("m", folder)
    with pytest.raises(ModelError, match="holds the registry"):
        registry.register("m", tmp_path)
    assert registry.names() == []
    assert list((registry.root / "m").iterdir()) == []


def test_a_draft_is_no_version_and_is_swept_when_it_is_old(registry, weights):
    registry.register("m", weights)
    young, old = (registry.root / "m" / f"{DRAFT}{name}" for name in ("young", "old"))
    for draft in (young, old):
        draft.mkdir()
    os.utime(old, (time.time() - STALE_S - 1,) * 2)
    assert registry.register("m", weights).version == 2
    assert young.exists()
    assert not old.exists()


def test_a_damaged_version_is_told_and_left_out_of_lists(registry, weights):
    registry.register("m", weights)
    damaged = registry.register("m", weights)
    (damaged.folder.parent / "model.json").write_text("{")
    assert [one.version for one in registry.models()] == [1]
    with pytest.raises(ModelError, match="is not a registered model"):
        registry.find("m")


@given(st.from_regex(REFERENCE, fullmatch=True))
def test_every_reference_leads_to_a_name_within_the_registry(reference):
    name = REFERENCE.fullmatch(reference)[1]
    root = Registry("/registry").root
    assert (root / name).parent == root
    assert (root / name).resolve() == root / name


REGISTER = """
import sys
from pathlib import Path
from batch_score.registry import Registry

root, own, times = sys.argv[1:]
for k in range(int(times)):
    source = Path(root).parent / f"source-{own}"
    source.mkdir(exist_ok=True)
    for part in range(5):
        (source / f"{part}.txt").write_text(f"{own} {k} " * 200)
    print(Registry(root).register("shared", source, tags={"own": own, "k": k}).version, flush=True)
"""


def started(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_many_processes_register_at_once_and_each_version_is_whole(registry):
    processes = [started(REGISTER, registry.root, own, 10) for own in range(4)]
    seen = 0
    while any(process.poll() is None for process in processes):  # a reader beside them sees whole versions only
        for model in registry.models("shared"):
            assert model.files == 5
            assert len(list(model.path.iterdir())) == 5
        seen += 1
    told = [[int(line) for line in process.communicate()[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert seen
    assert sorted(version for versions in told for version in versions) == list(range(1, 41))
    for versions in told:
        assert versions == sorted(versions)
    for model in registry.models("shared"):
        texts = {path.read_text() for path in model.path.iterdir()}
        assert texts == {f"{model.tags['own']} {model.tags['k']} " * 200}


def test_a_process_that_is_killed_leaves_no_version(registry, tmp_path):
    """Killed at any moment while it registers: what there is afterwards is whole, and numbers go on without a gap."""
    for k in range(8):
        process = started(REGISTER, registry.root, "killed", 1_000)
        process.stdout.readline()
        time.sleep(0.003 * k)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    found = registry.models("shared")
    assert [model.version for model in found] == list(range(1, len(found) + 1))
    assert all(len({path.read_text() for path in model.path.iterdir()}) == 1 for model in found)
    assert registry.register("shared", tmp_path / "source-killed").version == len(found) + 1
