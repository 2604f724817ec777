import numpy as np
import pytest

from consingan_jax.images import display
from consingan_jax.measures import sample_sets


def _subjects(folders):
    return sample_sets.of_folders(str(folders / "real"), str(folders / "samples"))


def test_files_pair_by_name(folders):
    (folders / "samples/notes.txt").write_text("not an image")
    found = _subjects(folders)
    assert [(one.name, len(one.samples), one.note) for one in found] == [
        ("a", 3, ""),
        ("b_1", 3, ""),
    ]
    alone = sample_sets.of_folders(str(folders / "real"), str(folders / "real"))
    assert [len(one.samples) for one in alone] == [1, 1]


def test_a_pixel_more_is_cropped_and_said(folders):
    display.save(folders / "samples/a_0.png", np.zeros((61, 63, 3)))
    subject = _subjects(folders)[0]
    assert subject.note.endswith("a: cropped to 60x63 px, the size that all have")
    assert "the sample a_0.png uses 0.0% of that range, it is faint" in subject.note
    assert {one.shape for one in (subject.real, *subject.samples)} == {(60, 63, 3)}


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "real/d.png",
            (60, 64),
            r"d\.png has no samples in .*: name them .* as in d_0\.png",
        ),
        ("samples/a_5.png", (62, 64), r"a_5\.png has 62x64 px, but its image a 60x64"),
    ],
)
def test_folders_that_do_not_pair(name, size, message, folders):
    display.save(folders / name, np.zeros((*size, 3)))
    with pytest.raises(ValueError, match=message):
        _subjects(folders)


def test_strangers_are_passed_over_and_counted(folders):
    display.save(folders / "samples/grid.png", np.zeros((99, 99, 3)))
    found = _subjects(folders)
    assert [len(one.samples) for one in found] == [3, 3]
    assert found[0].note == f"a file in {folders / 'samples'} passed over: grid.png"
    display.save(folders / "samples/c_0.png", np.zeros((9, 9, 3)))
    assert "2 files in" in _subjects(folders)[0].note
    display.save(folders / "samples/.a_4.png", np.zeros((9, 9, 3)))
    assert [len(one.samples) for one in _subjects(folders)] == [3, 3]


def test_samples_of_one_photo(folders):
    photo, samples = folders / "photo.png", folders / "samples"
    rows, columns = np.mgrid[-1:1:120j, -1:1:128j]
    display.save(photo, np.stack([rows, columns, rows * columns], -1))
    display.save(samples / "grid.png", np.zeros((60, 64, 3)))
    display.save(samples / "wide.png", np.zeros((60, 128, 3)))
    (subject,) = sample_sets.of_folders(str(photo), str(samples))
    assert (subject.name, len(subject.samples), subject.real.shape) == ("photo", 6, (60, 64, 3))
    assert subject.note == f"2 files in {samples} passed over: grid.png, ..."
    np.testing.assert_allclose(subject.real[30, :, 1], np.linspace(-1, 1, 64), atol=0.03)


def test_folders_that_are_none(folders):
    with pytest.raises(ValueError, match="real no/such: no such directory"):
        sample_sets.of_folders("no/such", str(folders / "samples"))
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match=r"samples .*empty holds no image files"):
        sample_sets.of_folders(str(folders / "real"), str(folders / "empty"))


def test_a_sample_belongs_to_the_longest_name(folders):
    display.save(folders / "real/a_long.png", np.zeros((60, 64, 3)))
    display.save(folders / "samples/a_long_seed_0.png", np.zeros((60, 64, 3)))
    numbers = {one.name: len(one.samples) for one in _subjects(folders)}
    assert numbers == {"a": 3, "a_long": 1, "b_1": 3}
    display.save(folders / "real/a.bmp", np.zeros((60, 64, 3)))
    with pytest.raises(ValueError, match="have one name: rename or remove one"):
        _subjects(folders)


def test_everything_is_shrunk_alike(folders):
    subject = sample_sets.shrunk(_subjects(folders)[0], 32)
    assert {one.shape for one in (subject.real, *subject.samples)} == {(30, 32, 3)}
    assert subject.note == "a: shrunk from 60x64 to 30x32 px"
    assert sample_sets.shrunk(subject, 32) is subject
