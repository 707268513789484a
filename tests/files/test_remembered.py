"""The file of ways to servers: bounded, whole or not there, and never a reason for a connection to fail."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from pathlib import Path

import pytest
from logged import by

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.files.remembered import Remembered, state
from nitrosocks_lib.protocol.carriers import Known

RAW, WEBSOCKET, HTTP = Carrier
HERE, SERVER = "0123456789abcdef", "server.example:443"
NOW = int(time.time())


def test_where_it_lies(tmp_path: Path) -> None:
    assert state({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "nitrosocks"
    for relative in ("", "not/absolute"):
        found = state({"XDG_STATE_HOME": relative, "HOME": "/home/a"})
        assert found == Path("/home/a/.local/state/nitrosocks")


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    kept, known = Remembered(tmp_path / "new" / "nitrosocks"), Known(WEBSOCKET, NOW, 65_536)
    assert kept.look(SERVER, HERE) is None
    kept.keep(SERVER, HERE, known)
    kept.keep("[2001:db8::1]:8443", "", Known(HTTP, NOW))
    again = Remembered(tmp_path / "new" / "nitrosocks")
    assert again.look(SERVER, HERE) == known
    assert again.look("[2001:db8::1]:8443", "") == Known(HTTP, NOW, limits.BODY)
    assert again.look(SERVER, "fedcba9876543210") is None and again.look("other.example:443", HERE) is None


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    Remembered(tmp_path / "nitrosocks").keep(SERVER, HERE, Known(RAW, NOW))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "nitrosocks", tmp_path / "nitrosocks/carriers")]
    assert modes == [0o700, 0o600]
    assert os.listdir(tmp_path / "nitrosocks") == ["carriers"], "nothing is left of its making"


def test_what_was_learnt_longest_ago_is_forgotten(tmp_path: Path) -> None:
    kept = Remembered(tmp_path)
    for number in range(limits.CARRIERS_KNOWN + 5):
        kept.keep(f"server{number}.example:443", HERE, Known(HTTP, NOW - 1_000 + number))
    there = [number for number in range(limits.CARRIERS_KNOWN + 5) if kept.look(f"server{number}.example:443", HERE)]
    assert there == list(range(5, limits.CARRIERS_KNOWN + 5))


def test_long_names_never_make_it_too_large_to_be_read(tmp_path: Path) -> None:
    kept = Remembered(tmp_path)
    for number in range(limits.CARRIERS_KNOWN + 5):
        kept.keep(f"{number:02}{'a' * 250}:443", HERE, Known(HTTP, NOW - 1_000 + number))
    assert (tmp_path / "carriers").stat().st_size <= limits.FILE
    assert kept.look(f"{limits.CARRIERS_KNOWN + 4:02}{'a' * 250}:443", HERE) is not None
    kept.keep('a"\n:443', HERE, Known(HTTP, NOW))
    assert kept.look(f"{limits.CARRIERS_KNOWN + 4:02}{'a' * 250}:443", HERE) is not None


FAULTY = {
    "no TOML": "ways = [",
    "no list": "ways = 1\n",
    "another key": 'roads = ["a"]\n',
    "no way": 'ways = ["server.example:443"]\n',
    "no carrier": f'ways = ["{SERVER} {HERE} pigeon 65536 {NOW}"]\n',
    "no size": f'ways = ["{SERVER} {HERE} raw 1 {NOW}"]\n',
    "no network": f'ways = ["{SERVER} home raw 65536 {NOW}"]\n',
    "too large": f"# {'a' * limits.FILE}\n",
}


@pytest.mark.parametrize("text", FAULTY.values(), ids=FAULTY)
def test_a_faulty_file_is_ignored_said_once_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    file = tmp_path / "carriers"
    file.write_text(text)
    file.chmod(0o600)
    kept = Remembered(tmp_path)
    with caplog.at_level(logging.INFO):
        assert kept.look(SERVER, HERE) is None and kept.look(SERVER, HERE) is None
    (record,) = by(caplog, "files.remembered")
    line = record.getMessage()
    assert line.startswith(f"which carriers work is not remembered: {file}: ") and "\n" not in line
    assert record.levelno == logging.INFO
    kept.keep(SERVER, HERE, Known(HTTP, NOW))
    assert kept.look(SERVER, HERE) == Known(HTTP, NOW)


def test_a_file_of_many_hands_is_not_believed(tmp_path: Path) -> None:
    kept = Remembered(tmp_path)
    kept.keep(SERVER, HERE, Known(HTTP, NOW))
    (tmp_path / "carriers").chmod(0o666)
    assert kept.look(SERVER, HERE) is None


def test_what_a_clock_that_was_ahead_left_is_forgotten(tmp_path: Path) -> None:
    kept = Remembered(tmp_path)
    kept.keep(SERVER, HERE, Known(HTTP, NOW + 10_000_000))
    kept.keep("other.example:443", HERE, Known(HTTP, NOW))
    assert kept.look(SERVER, HERE) is None and kept.look("other.example:443", HERE) == Known(HTTP, NOW)


def test_a_directory_that_cannot_be_made_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.INFO):
        kept = Remembered(tmp_path / "file" / "nitrosocks")
        kept.keep(SERVER, HERE, Known(HTTP, NOW))
        assert kept.look(SERVER, HERE) is None
    assert len(by(caplog, "files.remembered")) == 1


def test_whoever_reads_while_others_write_sees_a_whole_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def write(number: int) -> None:
        for _ in range(50):
            Remembered(tmp_path).keep(f"server{number}.example:443", HERE, Known(HTTP, NOW))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    with caplog.at_level(logging.INFO):
        for thread in threads:
            thread.start()
        reader = Remembered(tmp_path)
        while any(thread.is_alive() for thread in threads):
            reader.look(SERVER, HERE)
    assert by(caplog, "files.remembered") == []


def test_a_place_that_cannot_even_be_looked_at(tmp_path: Path) -> None:
    """As $HOME of another user, which `sudo -u` leaves there. root may look anywhere, but not at such a name."""
    kept = Remembered(tmp_path / ("x" * 256))
    kept.keep(SERVER, HERE, Known(RAW, NOW))
    assert kept.look(SERVER, HERE) is None
