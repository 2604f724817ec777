"""The studio: what its buttons do, and all of it in a browser."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.errors import DivergedError, InputError, StoppedError
from consingan_jax.images import display, loading
from consingan_jax.studio import form
from consingan_jax.studio.queue import TrainingQueue
from consingan_jax.studio.service import StudioService
from consingan_jax.training import trainer
from consingan_jax.training.progress import Progress
from tests import tiny

TINY = "num_stages=2\nmin_size=12\nmax_size=20\nnum_filters=4\nnum_iters=4\nnum_layers=2"
MOMENT = Progress(1, 3, (20, 30), 40, 100, False, 0.25, 65.0, 0.1234)


def _until(condition, seconds=60.0):
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


class Hand:
    """Stands for `train`: each call reports one moment, then ends when and as it is told."""

    def __init__(self):
        self.begun, self._ends, self._turn = [], {}, threading.Condition()

    def __call__(self, config, run, *, watcher):
        """Trains, so to say."""
        with self._turn:
            self.begun.append(run.name)
        while True:
            if watcher(MOMENT):
                raise StoppedError("told to")
            with self._turn:
                self._turn.wait(0.01)
                if run.name in self._ends:
                    if isinstance(how := self._ends.pop(run.name), Exception):
                        raise how
                    return how

    def end(self, name, how=None):
        """Ends the training of a run, with an error if one is given."""
        with self._turn:
            self._ends[name] = how
            self._turn.notify()


def test_one_training_at_a_time_in_the_order_of_asking(tmp_path):
    hand, config = Hand(), Config.create()
    trainings = TrainingQueue(hand)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for run in (one, two, three):
        trainings.add(config, run)
    _until(lambda: "iteration" in trainings.describe(one))
    assert trainings.describe(one) == (
        "stage 1 (of 0-2), 20x30 px: iteration 40 of 100, 01:05 left, reconstruction 0.1234"
    )
    assert trainings.share(one) == 0.25
    assert trainings.describe(three) == "waiting: 2 before it, one trains at a time"
    trainings.stop(two)
    assert trainings.describe(two) == "removed from the queue"
    assert trainings.describe(three).startswith("waiting: 1 before")
    hand.end("one")
    _until(lambda: trainings.describe(one) == "finished")
    _until(lambda: trainings.share(three) == 0.25)
    trainings.stop(three)
    _until(lambda: trainings.describe(three) == "stopped; it can continue from here")
    assert hand.begun == ["one", "three"] and not trainings.is_open(three)
    assert trainings.describe(tmp_path / "unknown") == ""


def test_the_thread_outlives_what_goes_wrong(tmp_path):
    hand = Hand()
    trainings = TrainingQueue(hand)
    for error, words in (
        (DivergedError("it diverged"), "it diverged"),
        (KeyError("a fault"), "KeyError: 'a fault'"),
    ):
        trainings.add(Config.create(), tmp_path / "run")
        hand.end("run", error)
        _until(lambda: not trainings.is_open(tmp_path / "run"))
        assert trainings.describe(tmp_path / "run") == words


def test_a_run_that_trains_takes_no_other_settings(tmp_path):
    hand = Hand()
    trainings = TrainingQueue(hand)
    trainings.add(Config.create(), tmp_path / "run")
    trainings.add(Config.create(), tmp_path / "run")
    with pytest.raises(InputError, match="run trains with other settings: stop it first"):
        trainings.add(Config.create(seed=3), tmp_path / "run")
    hand.end("run")
    _until(lambda: not trainings.is_open(tmp_path / "run"))


@pytest.fixture
def service(tmp_path, finished_run):
    shutil.copytree(finished_run, tmp_path / "runs/there")
    return StudioService(tmp_path / "runs")


def test_pictures_are_kept_under_names_of_their_own(service, picture, tmp_path):
    other = tmp_path / "elsewhere/picture.png"
    other.parent.mkdir()
    display.save(other, np.zeros((9, 9, 3)))
    assert [
        service.pictures.keep(str(picture)),
        service.pictures.keep(str(other)),
        service.pictures.keep(str(picture)),
    ] == [*("picture.png", "picture-2.png", "picture.png")]
    assert sorted(service.pictures.names()) == ["picture-2.png", "picture.png"]
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(InputError, match=r"no\.png is of no known image format"):
        service.pictures.keep(str(tmp_path / "no.png"))


@pytest.mark.parametrize("name", ["../secret", "there/model", "/etc", ".pictures", ".."])
def test_nothing_outside_the_folder(name, service):
    for use in (service.look, service.archive, service.resume):
        with pytest.raises(InputError, match="is not in"):
            use(name)
    with pytest.raises(InputError, match="is not here"):
        service.pictures.file(name)


def test_what_is_made_with_a_run(service):
    made = service.sample("there", 2, seed=5, start_stage=0, width="2x", height=None)
    assert [caption for _, caption in made] == ["seed 5", "seed 6"]
    assert loading.load(made[0][0]).shape == (21, 56, 3)
    walk = {"frames": 3, "start_stage": 0, "alpha": 0.1, "beta": 0.9, "loop": False}
    film = service.animate("there", seed=0, fps=10, suffix=".gif", width=None, height=None, **walk)
    assert film.endswith("there/generated/animation/walk-seed_0.gif")
    names = zipfile.ZipFile(service.archive("there")).namelist()
    assert {"there/run.json", "there/generated/animation/walk-seed_0.gif"} <= set(names)
    assert service.look("there")[:2] == ("finished", 1.0)
    with pytest.raises(InputError, match="25 images: use 1 to 24"):
        service.sample("there", 25, seed=0)
    with pytest.raises(InputError, match="999 frames: use 2 to 240"):
        service.animate("there", seed=0, fps=10, suffix=".gif", frames=999)


def test_a_painted_mask(harmonization_run, tmp_path):
    service = StudioService(tmp_path, [str(harmonization_run)])
    composite, painted = np.zeros((30, 40, 4), np.uint8), np.zeros((30, 40), np.uint8)
    words, files = service.apply(str(harmonization_run), composite, painted, 0)
    assert "no mask" in words and loading.load(files[0]).shape == (30, 40, 3)
    painted[5:20, 5:20] = 200
    words, files = service.apply(str(harmonization_run), composite, painted, 0)
    (mask_file,) = (harmonization_run / "generated").glob("composite-*_mask.png")
    assert mask_file.name in words
    mask = loading.load(mask_file)[..., 0] > 0
    np.testing.assert_array_equal(mask, painted > 0)
    with pytest.raises(InputError, match="a composite is missing"):
        service.apply(str(harmonization_run), None, None, 0)


def test_a_drawn_picture(editing_run, tmp_path):
    shutil.copytree(editing_run, tmp_path / "there")
    service, drawn = StudioService(tmp_path), np.zeros((60, 80, 4), np.uint8)
    drawn[:30] = (20, 60, 200, 255)
    assert service.start_stages("there") == range(2)
    asked = {"start_stage": 1, "seed": 3, "colours": 0}
    (file, caption), *made = service.paint("there", drawn, 2, **asked)
    assert [caption, *(words for _, words in made)] == [
        *("painting", "stage_1-seed_3", "stage_1-seed_4")
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(file)), drawn)
    # What nothing was drawn on is white.
    drawn[30:, :, :3] = 255
    expected = trainer.load(tmp_path / "there").paint(drawn[..., :3], 3, start_stage=1)[0]
    np.testing.assert_allclose(loading.load(made[0][0]), expected, atol=1 / 255)
    with pytest.raises(InputError, match="a painting is missing: draw one"):
        service.paint("there", 0 * drawn, 1, **asked)
    with pytest.raises(InputError, match="25 images: use 1 to 24"):
        service.paint("there", drawn, 25, **asked)


def test_a_run_that_takes_no_paintings(service):
    assert not service.start_stages("there") and not service.start_stages(None)
    with pytest.raises(InputError, match="paintings need one of"):
        service.paint("there", np.full((9, 9, 4), 255, np.uint8), 1, start_stage=1, seed=0)
    assert not (service.folder / "there/generated").exists()


def test_runs_are_named_by_picture_and_setting(service, picture, tmp_path, monkeypatch):
    """Another picture of the same stem, or another setting, is another run with another state."""
    monkeypatch.setattr(service, "_trainings", TrainingQueue(Hand()))
    service.pictures.keep(str(picture))
    other = tmp_path / "picture.tif"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(other)
    service.pictures.keep(str(other))
    asked = [
        ("picture.png", TINY),
        ("picture.png", f"{TINY}\nseed=1"),
        ("picture.tif", TINY),
        ("picture.png", "num_iters=10"),
        ("picture.png", TINY),
    ]
    names = [service.train(name, "generation", "quick", settings) for name, settings in asked]
    run = "picture-unconditional-quick"
    assert names == [run, f"{run}-2", f"{run}-3", f"{run}-num_iters_10", run]


def test_a_finished_run_is_not_the_one_that_was_asked_for(service, picture):
    service.pictures.keep(str(picture))
    first = service.train("picture.png", "generation", "quick", TINY)
    _until(lambda: not service.look(first).is_open)
    assert service.look(first).words == "finished"
    second = service.train("picture.png", "generation", "quick", f"{TINY}\nseed=5")
    assert second != first and service.look(second).words != "finished"
    _until(lambda: not service.look(second).is_open)
    assert service.look(second).words == "finished"


def test_samples_of_a_deep_picture_are_shown(tmp_path):
    """A browser shows no TIFF: a preview of what was written is made."""
    values = np.random.default_rng(0).integers(-1000, 900, (30, 40)).astype(np.int16)
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "ct.tif", values)
    settings = tiny.CONFIG | {"num_stages": 1, "num_iters": 1, "value_range": "data"}
    trainer.train(tmp_path / "ct.tif", tmp_path / "runs/ct", **settings)
    service = StudioService(tmp_path / "runs")
    ((shown, _),) = service.sample("ct", 1, seed=3, start_stage=0, width=None, height=None)
    assert shown.endswith("generated/21x28/seed_3.tif.preview.png")
    written = tifffile.imread(shown.removesuffix(".preview.png"))
    low, high = values.min(), values.max()
    with Image.open(shown) as picture:
        expected = np.rint(255 * (written.astype(float) - low) / (int(high) - low))
        assert np.abs(np.asarray(picture) - expected).max() <= 1


def test_a_picture_is_shown_as_the_training_would_see_it(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "ct.tif", np.linspace(1000, 3000, 1200, dtype=np.uint16)[:, None])
    service = StudioService(tmp_path / "runs")
    name = service.pictures.keep(str(tmp_path / "ct.tif"))
    pixels, notes = service.preview(name, "generation", "quick", "")
    assert "values 1000 to 3000" in notes and pixels.max() == round(3000 / 65535 * 255)
    pixels, _ = service.preview(name, "generation", "paper", "value_range=data")
    assert (pixels.shape, pixels.min(), pixels.max()) == ((1200, 1, 3), 0, 255)


@pytest.mark.parametrize(("dtype", "shown"), [(np.uint16, (0, 255)), (np.uint8, (40, 90))])
def test_a_composite_is_applied_as_the_model_sees_its_file(dtype, shown, tmp_path):
    """Also where 40 is black and 90 is white."""
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(40, 91, (30, 40, 3)).astype(dtype)
    tifffile.imwrite(tmp_path / "picture.tif", values, photometric="rgb")
    settings = tiny.HARMONIZATION | {"num_stages": 1, "num_iters": 1, "value_range": "40,90"}
    trainer.train(tmp_path / "picture.tif", tmp_path / "runs/run", **settings)
    service = StudioService(tmp_path / "runs")
    view = service.view("run", str(tmp_path / "picture.tif"))
    assert (view.min(), view.max()) == shown
    service.apply("run", view, None, 0)
    (file,) = (tmp_path / "runs/run/generated").glob("composite-*.png")
    model = trainer.load(tmp_path / "runs/run")
    one, other = (
        loading.read_alike(path, model.config, model.encoding, 3).pixels
        for path in (tmp_path / "picture.tif", file)
    )
    np.testing.assert_allclose(one, other, atol=1 / 255)


def test_two_users_apply_their_composites_at_once(harmonization_run, tmp_path):
    service = StudioService(tmp_path, [str(harmonization_run)])
    composites = [np.full((30, 40, 3), value, np.uint8) for value in (50, 200)]
    made = [service.apply(str(harmonization_run), one, None, 0)[1] for one in composites]
    assert not set(made[0]) & set(made[1])
    assert np.any(loading.load(made[0][0]) != loading.load(made[1][0]))


def test_the_address_in_use(tmp_path):
    pytest.importorskip("gradio", reason="needs gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = f"--port={taken.getsockname()[1]}"
        command = [sys.executable, "-m", "consingan_jax", "studio", f"--folder={tmp_path}", port]
        done = subprocess.run([*command, "--nobrowser"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "is in use: use another --port, or --port=0 for any" in done.stderr


def test_settings_are_lines():
    assert dict(form.fields("num_iters = [5, 6]\n\npyramid_rule=new\nlr_scale=0.5")) == {
        **{"num_iters": [5, 6], "pyramid_rule": "new", "lr_scale": 0.5}
    }
    for line in ("task=retarget", "image=x.png", "naive=/etc/a.png", "mask=m.png", "fine_tune=."):
        with pytest.raises(InputError, match=f"setting {line.split('=')[0]}: the studio takes no"):
            dict(form.fields(line))
    with pytest.raises(InputError, match="setting 'seven': give name=value"):
        dict(form.fields("seven"))


def test_a_stopped_training_goes_on_in_the_folder(service, picture):
    service.pictures.keep(str(picture))
    name = service.train("picture.png", "generation", "quick", f"{TINY}\nnum_iters=100000")
    assert name == "picture-unconditional-quick"
    _until(lambda: "iteration" in service.look(name).words)
    service.stop(name)
    _until(lambda: not service.look(name).is_open)
    assert "can continue from here" in service.look(name).words
    assert checkpoint.latest_step(service.folder / name / "checkpoints") is not None
    service.resume(name)
    _until(lambda: "iteration" in service.look(name).words)
    service.stop(name)
    _until(lambda: not service.look(name).is_open)


@pytest.fixture(params=[""])
def address(request, tmp_path, monkeypatch):
    """The address of a studio, opened as its users open it: by the command, in a process."""
    pytest.importorskip("gradio", reason="needs gradio")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    command = [sys.executable, "-m", "consingan_jax", "studio", f"--folder={tmp_path / 'runs'}"]
    words = tmp_path / "words"
    with words.open("w") as file:
        studio = subprocess.Popen(
            [*command, "--port=0", "--nobrowser", f"--root_path={request.param}"],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        _until(lambda: studio.poll() is not None or "http://" in words.read_text())
        assert studio.poll() is None, words.read_text()
        yield re.findall(r"http://[\w.]+:\d+", words.read_text())[0]
        studio.send_signal(signal.SIGINT)
        studio.wait(30)
        assert "Traceback" not in words.read_text(), words.read_text()
    finally:
        studio.kill()
        studio.wait()


@pytest.mark.parametrize("address", ["/pictures/studio"], indirect=True)
def test_a_page_below_a_path(address):
    """A proxy that shows the studio below a path of its own finds all of its parts there."""
    with urllib.request.urlopen(f"{address}/config") as answer:
        assert json.load(answer)["root"].endswith("/pictures/studio")


def test_the_page_from_upload_to_download(address, browser, picture):
    expect = pytest.importorskip("playwright.sync_api").expect
    context = browser.new_context()
    view, said, asked = context.new_page(), [], []
    view.set_default_timeout(90_000)
    view.on("console", lambda line: line.type == "error" and said.append(line.text))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(address)
    with view.expect_file_chooser() as chooser:
        view.click("#upload")
    chooser.value.set_files(str(picture))
    view.get_by_label("Other settings").fill(TINY)
    expect(view.get_by_label("Picture to train on")).to_have_value("picture.png")
    view.click("#train")
    expect(view.locator("#words")).to_have_text("finished", timeout=120_000)
    view.wait_for_selector("#grid img")
    view.reload()  # who comes back finds the run
    expect(view.locator("#words")).to_have_text("finished")
    view.get_by_role("tab", name="Sample").click()
    view.get_by_label("Width").first.fill("none")
    view.click("#sample")
    view.get_by_text("width=none").wait_for()
    view.get_by_label("Width").first.fill("2x")
    view.click("#sample")
    view.wait_for_selector("#images img")
    view.get_by_role("tab", name="Download").click()
    view.click("#pack")
    with view.expect_download() as download:
        view.locator("#file a").first.click()
    names = zipfile.ZipFile(download.value.path()).namelist()
    context.close()
    run = "picture-unconditional-quick"
    assert {f"{run}/generated/15x40/seed_0.png", f"{run}/report.html"} <= set(names)
    assert not said
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
