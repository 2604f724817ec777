import csv
import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

import consingan_jax
from consingan_jax.cli import train
from consingan_jax.config import Config
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.images import display, listing, loading
from consingan_jax.runs import inputs
from consingan_jax.sweeps import report, sweep, work
from consingan_jax.sweeps.sweep import Sweep
from consingan_jax.sweeps.work import Result
from consingan_jax.training import trainer
from tests import tiny

SMALL = tiny.CONFIG | {"num_stages": 2, "num_iters": 2}


@pytest.fixture
def folder(tmp_path):
    """Two pictures of two sizes, a broken one, and what is none."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    tiny.paint(pictures / "a.png")
    display.save(pictures / "c.png", loading.load(pictures / "a.png")[:, ::-1][:24])
    (pictures / "b.png").write_text("no picture")
    (pictures / "notes.txt").write_text("nothing")
    (pictures / ".hidden.png").write_text("nothing")
    return pictures


def _fleet(folder, workdir, **options):
    return Sweep(Config.create(images=str(folder), **SMALL), workdir, **options)


def _rows(workdir):
    with (workdir / "summary.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_the_images_of_a_folder_a_pattern_and_a_name_like_one(folder):
    names = [str(folder / name) for name in ("a.png", "b.png", "c.png")]
    assert listing.images(str(folder)) == names
    assert listing.images(f"{folder}/[ab].png") == names[:2]
    assert listing.images([names[2], str(folder)]) == [names[2], *names[:2]]
    literal = folder / "[ab].png"
    tiny.paint(literal)
    assert listing.images(str(literal)) == [str(literal)]  # before it is read as a pattern


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("none", "images .*none: no image is there; give a folder"),
        ("pictures/*.tif", "no image is there"),
        ("pictures/x.png", "image .*x.png: no such file; there is .*a.png|image .*no such file"),
    ],
)
def test_folders_without_images(what, message, folder, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=message):
        listing.images(str(tmp_path / what))


def test_two_images_of_one_name(folder):
    display.save(folder / "a.webp", loading.load(folder / "a.png"))
    with pytest.raises(InputError, match=r"images .*a.png and .*a.webp have one name: rename"):
        listing.images(str(folder))


def test_a_folder_is_trained_and_what_fails_stops_nothing(folder, tmp_path, monkeypatch):
    workdir, said = tmp_path / "set", []
    many = _fleet(folder, workdir)
    many.train(say=said.append, measure=lambda model: {"SIZE": float(model.size[0])})
    assert list(many.errors) == ["b"] and [one.name for one in many.left()] == ["b"]
    assert [line for line in said if "failed" in line] == [f"2 of 3: b failed: {many.errors['b']}"]
    alone = trainer.train(Config.create(image=str(folder / "c.png"), **SMALL), tmp_path / "alone")
    model = consingan_jax.load(workdir / "c")
    jax.tree.map(np.testing.assert_array_equal, alone.tree(), model.tree())
    rows = _rows(workdir)
    assert [rows[name]["state"] for name in "abc"] == ["finished", "failed", "finished"]
    assert rows["c"]["SIZE"] == str(float(model.size[0])) and not rows["b"]["SIZE"]
    assert float(rows["a"]["rmse"]) > 0 and "no known image format" in rows["b"]["error"]
    page = (workdir / "index.html").read_text()
    assert "2 of 3 finished, 1 failed" in page and 'href="a/report.html"' in page
    assert all((workdir / src).is_file() for src in _sources(page)) and len(_sources(page)) == 4
    # The same again does what is left: the broken one, mended.
    tiny.paint(folder / "b.png")
    trained = []
    train_all = trainer.train_together

    def noted(configs, runs, **rest):
        trained.extend(runs)
        return train_all(configs, runs, **rest)

    monkeypatch.setattr(trainer, "train_together", noted)
    again = _fleet(folder, workdir)
    again.train(say=said.append)
    assert trained == [str(workdir / "b")] and not again.errors and not again.left()
    assert _rows(workdir)["c"]["SIZE"]  # is kept
    # Another picture of a name whose run is finished is no member of this set.
    display.save(folder / "c.png", loading.load(folder / "a.png")[:, ::-1])
    (folder / "a.png").unlink()
    changed = _fleet(folder, workdir)
    changed.train(say=said.append)
    assert list(changed.errors) == ["c"] and "belongs to another picture" in changed.errors["c"]


def _sources(page):
    return [part.partition('"')[0] for part in page.split(' src="')[1:]]


def test_several_seeds_of_one_image_and_a_stop_between(folder, tmp_path):
    config = Config.create(image=str(folder / "a.png"), **SMALL)
    many = Sweep(config, tmp_path / "set", seeds=2)
    assert [(one.name, one.config.seed) for one in many.members] == [
        ("a-seed_0", 0),
        ("a-seed_1", 1),
    ]
    with pytest.raises(StoppedError):
        many.train(watcher=lambda moment: moment.stage == 1)
    assert len(many.left()) == 2
    assert "stage 0 (of 0-1)" in _rows(tmp_path / "set")["a-seed_0"]["state"]
    many.train()
    first, second = (consingan_jax.load(many.run(one).path) for one in many.members)
    assert not many.left() and not np.array_equal(first.sample(), second.sample())


def test_the_directory_of_something_else(folder, tmp_path):
    workdir = tmp_path / "set"
    (tmp_path / "other").mkdir()
    tiny.paint(tmp_path / "other/z.png")
    with pytest.raises(InputError, match=r"pictures exists and is not a sweep: give another"):
        _fleet(folder, folder)
    with pytest.raises(InputError, match=r"a.png is a file: give another --workdir"):
        _fleet(folder, folder / "a.png")
    with pytest.raises(StoppedError):
        _fleet(folder, workdir).train(watcher=lambda _: True)
    with pytest.raises(InputError, match=r"belongs to a sweep of other images, such as a: give"):
        _fleet(tmp_path / "other", workdir)
    with pytest.raises(InputError, match=r"a sweep with config.num_iters=2, not 3: give another"):
        Sweep(Config.create(images=str(folder), **SMALL | {"num_iters": 3}), workdir)
    about = json.loads((workdir / "set.json").read_text())
    for damage in (
        *({"names": []}, {"names": [1]}, {"names": "abc"}, {"images": "photos"}),
        *({"seeds": "x"}, {"seeds": -1}, {"seeds": float("inf")}, {"format": None}),
        *({"errors": 3}, {"errors": []}, {"errors": {"a": 1}}, {"measures": {"a": 3}}),
    ):
        (workdir / "set.json").write_text(json.dumps(about | damage))
        with pytest.raises(InputError, match=r"set.json (is damaged: delete it|has the format)"):
            _fleet(folder, workdir)
    (workdir / "set.json").write_text(json.dumps(about | {"of_a_later_version": 1}))
    assert len(_fleet(folder, workdir).left()) == 3
    (workdir / "set.json").write_text("{}")
    with pytest.raises(InputError, match=r"set.json is damaged: delete it"):
        _fleet(folder, workdir)
    (workdir / "set.json").unlink()
    assert len(_fleet(folder, workdir).left()) == 3  # as it was told
    for wrong in ({"fine_tune": "run", "naive": "n.png", "task": "editing"}, {}):
        with pytest.raises(InputError, match=r"a sweep cannot fine-tune|an image is missing"):
            Sweep(Config.create(**SMALL | wrong), tmp_path / "new")
    with pytest.raises(InputError, match="seeds=0: give 1 or more"):
        _fleet(folder, tmp_path / "new", seeds=0)
    with pytest.raises(InputError, match="several images are trained by"):
        trainer.train(Config.create(images=str(folder), **SMALL), tmp_path / "new")


def test_the_command_trains_a_folder(folder, tmp_path, monkeypatch, capsys):
    fields = [f"--config.{name}={value}" for name, value in SMALL.items()]
    command = [str(folder), *fields, f"--workdir={tmp_path / 'set'}", "--compilation_cache=off"]
    train.COMMAND.run("train", [*command, "--dry_run"])
    said = capsys.readouterr().out
    assert "b: image" in said and "  image: 30x40 px, 3 channels of uint8" in said
    assert "TFLOP; a large matmul makes" in said
    assert "3 of 3 runs to train" in said and not (tmp_path / "set").exists()
    with pytest.raises(SystemExit, match="2"):
        train.COMMAND.run("train", command)
    out, err = capsys.readouterr()
    assert f"2 of 3 runs are finished: {tmp_path}/set/index.html" in out
    assert "train: b failed: image " in err.splitlines()[-1]
    assert {"SWD-1/1", "place"} & set(_rows(tmp_path / "set")["a"])
    # Its directory alone says which images it is of.
    tiny.paint(folder / "b.png")
    goes_on = [f"--workdir={tmp_path / 'set'}", "--compilation_cache=off"]
    with pytest.raises(SystemExit, match="2"):
        train.COMMAND.run("train", [*goes_on, "--config.num_iters=9"])
    assert "a sweep with config.num_iters=2, not 9: give another" in capsys.readouterr().err
    train.COMMAND.run("train", goes_on)
    assert "3 of 3 runs are finished" in capsys.readouterr().out
    # One of them asked for again: the page has all.
    train.COMMAND.run("train", [str(folder / "c.png"), "--seeds=1", *command[1:]])
    assert set(_rows(tmp_path / "set")) == set("abc")


def _stopped(many):
    with pytest.raises(StoppedError):
        many.train(watcher=lambda _: True)


def test_a_set_goes_on_from_another_directory(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config.create(**SMALL)
    _stopped(
        Sweep(config, "set", paths=[pathlib.Path("pictures/a.png"), "pictures/[c].png"], seeds=2)
    )
    names = ["a-seed_0", "a-seed_1", "c-seed_0", "c-seed_1"]
    # A part of it that is asked for does not make it smaller.
    _stopped(Sweep(config, "set", paths=["pictures/a.png"], seeds=2))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = sweep.restored("../set")
    assert [member.name for member in again.members] == names
    with pytest.raises(InputError, match="a sweep with 2 seeds of each image, not 1: give another"):
        sweep.restored("../set", seeds=1)
    # More images, and more seeds, make it larger.
    _stopped(Sweep(config, "../set", paths=["../pictures/a.png", "../pictures/c.png"], seeds=3))
    assert len(sweep.restored("../set").members) == 6
    # An earlier version did not say which images.
    about = json.loads((tmp_path / "set/set.json").read_text())
    del about["images"], about["seeds"]
    (tmp_path / "set/set.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="did not record its images: give them, and --seeds, once"):
        sweep.restored("../set")
    assert len(Sweep(config, "../set", paths=["../pictures/a.png"], seeds=2).members) == 2


def test_a_mask_for_each_image(folder, tmp_path):
    (folder / "b.png").unlink()
    (tmp_path / "masks").mkdir()
    halves = np.where(np.arange(40) < 20, -1.0, 1.0)
    for name, height in (("a", 30), ("c", 24)):
        display.save(
            tmp_path / f"masks/{name}.png", np.broadcast_to(halves[:, None], (height, 40, 1))
        )
    config = Config.create(images=str(folder), mask=str(tmp_path / "masks"), **SMALL)
    many = Sweep(config, tmp_path / "set")
    assert [inputs.load_inputs(one.config).pixels.shape[-1] for one in many.members] == [4, 4]
    assert [one.config.mask for one in many.members] == [
        str(tmp_path / f"masks/{name}.png") for name in "ac"
    ]
    (tmp_path / "masks/c.png").unlink()
    (one,) = [one for one in Sweep(config, tmp_path / "set").members if one.name == "c"]
    with pytest.raises(InputError, match=r"config.mask: image .*masks/c.png: no such file"):
        inputs.load_inputs(one.config)
    for mask, message in (
        ("masks/a.png", "is the mask of one image: for several images give a folder"),
        ("mask", "no such directory; there is .*masks"),
    ):
        wrong = dataclasses.replace(config, mask=str(tmp_path / mask))
        with pytest.raises(InputError, match=message):
            Sweep(wrong, tmp_path / "set")
    display.save(tmp_path / "masks/a.webp", loading.load(tmp_path / "masks/a.png"))
    with pytest.raises(InputError, match=r"masks .*a.png and .*a.webp have one name: rename one"):
        Sweep(config, tmp_path / "set")


@pytest.mark.parametrize(
    ("arguments", "workdir"),
    [
        (["photos"], "runs/photos-unconditional-set"),
        (["photos/*.jpg", "--quick"], "runs/photos-unconditional-quick-set"),
        (["photos/a.jpg", "photos/b.jpg"], "runs/photos-unconditional-set"),
        (["photos/a.jpg", "--seeds=3", "--task=editing"], "runs/a-editing-set"),
        (["--config.images=photos"], "runs/photos-unconditional-set"),
    ],
)
def test_where_a_set_goes(arguments, workdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        tiny.paint(tmp_path / f"photos/{name}.jpg")
    made = []

    def stop(config, path, **options):
        made.append((config, path, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "Sweep", stop)
    with pytest.raises(SystemExit, match="130"):
        train.COMMAND.run("train", [*arguments, "--compilation_cache=off"])
    assert made[0][1] == workdir


def test_many_outcomes_are_not_each_written_down(tmp_path, monkeypatch):
    """The page and the table hold all runs: to write them after each would be quadratic."""
    (tmp_path / "pictures").mkdir()
    for k in range(40):
        tiny.paint(tmp_path / f"pictures/{k}.png")
    many = Sweep(Config.create(), tmp_path / "set", paths=[str(tmp_path / "pictures")])
    written = []
    write = report.SweepReport.write
    monkeypatch.setattr(report.SweepReport, "write", lambda self: written.append(1) or write(self))

    class Done:
        is_local = True

        def map(self, function, units):
            return ((unit, [Result("")] * len(unit.runs)) for unit in units)

    many.train(engine=Done(), say=lambda line: None)
    assert len(written) == 2  # before and after
    assert (tmp_path / "set/summary.csv").read_text().count("\n") == 41


def test_a_callers_compiled_programs_stay(folder, tmp_path, monkeypatch):
    mine = jax.jit(lambda x: x + 1)
    mine(1.0)
    monkeypatch.setattr(work.WorkUnit, "work", lambda unit, watcher: unit.failed("not tried"))
    _fleet(folder, tmp_path / "set").train(say=lambda line: None)
    assert mine._cache_size() == 1
