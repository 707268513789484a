"""When a client last had a session, as far as that can be kept."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nitrosocks_lib.files import seen

ID = bytes(range(16))


def test_it_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    directory = seen.prepare(tmp_path / "home")
    assert directory is not None and stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert seen.when(tmp_path / "home", ID) is None
    seen.note(directory, ID)
    os.utime(directory / ID.hex(), (1, 1))
    assert seen.when(tmp_path / "home", ID) == datetime.fromtimestamp(1, UTC)
    seen.note(directory, ID)
    later = seen.when(tmp_path / "home", ID)
    assert later is not None and later.year > 2000 and os.listdir(directory) == [ID.hex()]
    seen.forget(tmp_path / "home", ID)
    seen.forget(tmp_path / "home", ID)
    assert seen.when(tmp_path / "home", ID) is None


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("")
    assert seen.prepare(tmp_path) is None and seen.when(tmp_path, ID) is None
    with pytest.raises(OSError):
        seen.note(tmp_path / "seen", ID)


def test_a_fifo_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ID.hex())
    with pytest.raises(OSError, match="No such device or address"):
        seen.note(tmp_path, ID)
