import errno
import os

import pytest

from summand.atomic import replacing


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_raises_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half(temporary):
        temporary.write_text("ne")
        raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"), replacing(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_with_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as said, replacing(tmp_path / "a.png"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert said.value.filename == str(tmp_path / "a.png")
    with pytest.raises(OSError, match="No space left") as said, replacing(tmp_path / "a.png"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "elsewhere")
    assert said.value.filename == "elsewhere"


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())
