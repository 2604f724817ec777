import os
import threading
import time

import pytest

from consingan_jax import files


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "page.html"
    files.write_text(path, "old")
    with pytest.raises(OSError, match="full"), files.whole(path) as part:
        part.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["page.html"]


def test_writers_of_one_file_do_not_collide(tmp_path):
    """As a training and `consingan report` that write a run's page at once."""
    path, errors = tmp_path / "page.html", []

    def write(letter):
        for _ in range(100):
            try:
                files.write_text(path, 1000 * letter)
            except OSError as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and path.read_text() in (1000 * "a", 1000 * "b")
    assert os.listdir(tmp_path) == ["page.html"]


def test_what_killed_processes_have_left_goes_when_it_is_old(tmp_path):
    (tmp_path / "samples").mkdir()
    with files.whole(tmp_path / "samples/a.png") as part:
        part.write_bytes(b"half")
        files.remove_parts(tmp_path)
        assert part.exists()  # another process may be writing it
        old = time.time() - files.PART_SECONDS - 1
        os.utime(part, (old, old))
        files.remove_parts(tmp_path)
        assert not part.exists()
        part.write_bytes(b"whole")


def test_a_name_that_is_no_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    files.write_text(tmp_path / "a.csv", name)
    assert (tmp_path / "a.csv").read_bytes() == b"caf\xe9.png"
