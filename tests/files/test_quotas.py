"""The limits in a client's file."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from keys import SERVER

from nitrosocks_lib.facts.errors import KeyFileError
from nitrosocks_lib.files import clients, enrol, profiles
from nitrosocks_lib.files.check import Checked
from nitrosocks_lib.files.writing import write_secret


@pytest.fixture
def path(tmp_path: Path) -> Path:
    _, text = enrol.make_client("alice", ["h:1"], SERVER.public, ["a:1"])
    write_secret(made := profiles.client_path(tmp_path, "alice"), text)
    return made


def test_limits_are_read_and_kept(path: Path) -> None:
    lines = 'streams = 20\nuntil = 2027-01-31\nfrom = ["10.0.0.0/8", "::1"]\n'
    path.write_text(lines + path.read_text())
    quota = profiles.load_client(path).quota
    assert (quota.streams, quota.until, [*map(str, quota.sources)]) == (20, "2027-01-31", ["10.0.0.0/8", "::1/128"])
    clients.permit(path.parent.parent, "alice", ["b:1"])
    assert path.read_text().startswith(lines) and profiles.load_client(path).quota == quota
    path.write_text(path.read_text().replace("2027-01-31", '"2027-01-31"'))
    assert profiles.load_client(path).quota == quota


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("streams = 0", "'streams' is not a number"), ("streams = true", "'streams' is not a number"),
        ('streams = "20"', "'streams' is not a number"), ("streams = -1", "'streams' is not a number"),
        ("until = 2027", "'until' is not a day"), ('until = "soon"', "'until' is not a day"),
        ("until = 2027-01-31T10:00:00", "'until' is not a day"), ("until = 2027-02-30", "not TOML"),
        ('up = "2X"', "'up' is not a valid rate"), ("up = 1000", "'up' is not a valid rate"),
        ("down = true", "'down' is not a valid rate"), ('down = "2.5M"', "'down' is not a valid rate"),
        ("down = -1", "'down' is not a valid rate"), ('down = ""', "'down' is not a valid rate"),
        ('up = "99999999G"', "'up' is not a valid rate"), ("up = [1]", "'up' is not a valid rate"),
        ("from = []", "'from' names no network"), ('from = ["10.0.0.1/8"]', "'10.0.0.1/8' is no network"),
        ('from = "10.0.0.0/8"', "'from' is not a list"), ("steams = 1", "unknown key 'steams'"),
    ],
)  # fmt: skip
def test_what_is_no_limit(path: Path, line: str, fault: str) -> None:
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(KeyFileError) as caught:
        profiles.load_client(path)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "rates"),
    [
        ('up = "2M"\ndown = "10m"\n', (2 << 20, 10 << 20)), ("up = 1024\n", (1024, 0)), ('down = "0"\n', (0, 0)),
        ('up = 0\ndown = "1K"\n', (0, 1024)),
    ],
)  # fmt: skip
def test_rates(path: Path, lines: str, rates: tuple[int, int]) -> None:
    path.write_text(lines + path.read_text())
    quota = profiles.load_client(path).quota
    assert (quota.up, quota.down) == rates


def test_check_names_the_line_of_a_rate_that_is_none_and_what_to_write(path: Path) -> None:
    path.write_text('streams = 2\nup = "fast"\n' + path.read_text())
    checked = Checked(path.parent.parent, datetime(2027, 1, 1, tzinfo=UTC), lambda *_: None)
    (fault,) = (each for each in checked.faults if "alice.toml" in str(each))
    assert str(fault) == f"{path}: 'up' is not a valid rate (at line 2)"
    assert fault.hint == 'in bytes a second, as in up = "2M", from 1K to 1024G; 0 is no limit'


def test_check_tells_of_one_whose_last_day_is_over(path: Path) -> None:
    path.write_text(f"until = 2027-01-31\n{path.read_text()}")
    for day, notes in ((datetime(2027, 1, 31, 23, tzinfo=UTC), 0), (datetime(2027, 2, 1, tzinfo=UTC), 1)):
        checked = Checked(path.parent.parent, day, lambda *_: None)
        assert len(checked.notes) == notes
