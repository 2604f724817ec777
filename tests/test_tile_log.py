import json
import re

import pytest

from consingan_jax.errors import InputError
from consingan_jax.tiled.tile_log import TileLog


def _journal(tmp_path, grid=(2, 3), **about):
    return TileLog(tmp_path / "p.tiles.txt", {"seed": 0, "tile": (4, 4), **about}, grid)


def test_a_map_of_the_windows(tmp_path):
    journal = _journal(tmp_path)
    journal.create()
    for number in (0, 1, 5):
        journal.mark(number)
    head, *rows = journal.path.read_text().splitlines()
    assert json.loads(head) == {"format": 2, "seed": 0, "tile": [4, 4]}
    assert rows == ["##.", "..#"]
    again = _journal(tmp_path)
    again.resume(tmp_path / "p")
    assert list(again.done) == list(journal.done) == [1, 1, 0, 0, 0, 1]
    again.create()
    assert journal.path.read_text().splitlines()[1:] == ["...", "..."]


def test_a_mark_has_its_place_whatever_the_first_line_says(tmp_path):
    journal = _journal(tmp_path)
    journal.create()
    head, _, windows = journal.path.read_text().partition("\n")
    journal.path.write_text(f'{head[:-1]}, "more": 1}}\n{windows}')
    journal = _journal(tmp_path)
    journal.resume(tmp_path / "p")
    journal.mark(4)
    assert journal.path.read_text().splitlines()[1:] == ["...", ".#."]


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"seed": 1}, "p is another picture, with seed=0 and not 1: give that value or another"),
        ({"tile": (4, 5)}, r"with tile=\[4, 4\] and not \[4, 5\]"),
        ({"width": 9}, "with width=None and not 9"),
    ],
)
def test_another_picture(about, message, tmp_path):
    _journal(tmp_path).create()
    with pytest.raises(InputError, match=message):
        _journal(tmp_path, **about).resume(tmp_path / "p")


@pytest.mark.parametrize("text", ["", "words\n", "[1, 2]\n", b"\xff\xfe", "3\n"])
def test_what_is_no_journal(text, tmp_path):
    journal = _journal(tmp_path)
    journal.path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=f"{re.escape(str(journal.path))} is no journal"):
        journal.check()


@pytest.mark.parametrize("windows", ["", "##.\n..", "##.\n..x\n", "##.\n..#\n#"])
def test_a_damaged_map(windows, tmp_path):
    journal = _journal(tmp_path)
    journal.create()
    head = journal.path.read_text().splitlines()[0]
    journal.path.write_text(f"{head}\n{windows}")
    journal.check()
    with pytest.raises(InputError, match="is no journal of a picture: delete it"):
        journal.resume(tmp_path / "p")


def test_a_newer_format(tmp_path):
    journal = _journal(tmp_path)
    journal.path.write_text('{"format": 9}\n')
    with pytest.raises(InputError, match="has the format 9, but this version"):
        journal.check()
