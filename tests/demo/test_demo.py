"""`nitrosocks demo`: it passes, and it does not pass when anything of what it shows is not so."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from nitrosocks_lib.cli import demo as command
from nitrosocks_lib.cli import main as cli
from nitrosocks_lib.demo import demo, findings
from nitrosocks_lib.demo.findings import NOTICED, PASSWORD, SENTENCES
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import CannotCreate, Refused
from nitrosocks_lib.facts.wire import Refusal

ROOT = Path(__file__).resolve().parents[2]
BOUND = 100.0  # seconds; no test comes near
SMALL = 512 << 10  # bytes, where the size of the document makes no difference


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made."""
    (place := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def small(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small document."""
    for module in (demo, findings):
        monkeypatch.setattr(module, "SIZE", SMALL)
    monkeypatch.setattr(demo, "_CUT_AFTER", SMALL // 4)
    monkeypatch.setattr(demo, "_HELD_BACK", SMALL // 8)
    return temporary


def run(keep: Path | None = None) -> int:
    return command.demo({"--keep": None if keep is None else str(keep), "-v": 0})


def failures(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The names of the rows that failed; the last line tells their number."""
    lines = capsys.readouterr().out.splitlines()
    failed = [line[:46].strip() for line in lines if line.endswith("  FAILED")]
    assert lines[-1] == f"{len(failed)} FAILED"
    return failed


def test_it_passes_and_leaves_nothing_but_the_recordings(tmp_path: Path) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    kept = tmp_path / "deep" / "er"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "nitrosocks.py", "demo", "--keep", kept],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True, text=True, timeout=BOUND, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout and "everything is as promised" in done.stdout
    said = done.stderr.splitlines()
    assert said[0] == f"nitrosocks: {NOTICED}"
    assert all("connection lost" in line or "connection restored" in line for line in said[1:])  # where it takes long
    assert not any(temporary.iterdir())
    recorded = {path.relative_to(kept).as_posix(): path.read_bytes() for path in kept.rglob("connection-*")}
    ways = (".up", ".down")
    through = {f"with-nitrosocks/connection-{n}{way}" for n in (1, 2) for way in ways}
    assert recorded.keys() == through | {f"without/connection-1{way}" for way in ways}
    assert PASSWORD.encode() in recorded["without/connection-1.up"]
    assert all(text.encode() in recorded["without/connection-1.down"] for text in SENTENCES)
    unreadable = b"".join(recorded[name] for name in sorted(through))
    assert len(unreadable) > findings.SIZE
    assert not any(text.encode() in unreadable for text in ("X-Password", PASSWORD, *SENTENCES))


def test_without_keep_nothing_is_left(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert not any(small.iterdir()) and "recordings" not in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_recordings_are_not_mixed(tmp_path: Path) -> None:
    assert run(tmp_path / "kept") == 0
    with pytest.raises(CannotCreate, match="already holds recordings") as caught:
        run(tmp_path / "kept")
    assert cli.exit_code(caught.value) == 73 and caught.value.hint


def test_a_place_that_cannot_be_made(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreate, match="cannot be made"):
        run(tmp_path / "file" / "kept")
    assert not any(temporary.iterdir())


@pytest.mark.usefixtures("small")
def test_a_place_that_takes_no_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as what it is, and nothing waits for what does not come."""
    monkeypatch.setattr(demo, "_PATIENCE", BOUND)
    folders = demo._folders

    def taken(place: Path) -> tuple[Path, Path]:
        through, control = folders(place)
        (through / "connection-1.down").mkdir()
        return through, control

    monkeypatch.setattr(demo, "_folders", taken)
    with pytest.raises(CannotCreate, match="cannot record in .*with-nitrosocks: Is a directory") as caught:
        run(tmp_path / "kept")
    assert cli.exit_code(caught.value) == 73 and "--keep" in caught.value.hint


def test_no_room_for_a_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(CannotCreate, match="temporary"):
        run()


# Mutants: what the demo would print if it were not so


@pytest.mark.usefixtures("small")
def test_readable_bytes_are_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "_with_nitrosocks", demo._without_nitrosocks)
    assert run() == 76
    assert "known plaintexts found" in failures(capsys)


@pytest.mark.usefixtures("small")
def test_a_control_that_finds_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SENTENCES", ("Nobody looks for this. " * 3,) * 3)
    assert run() == 70
    assert failures(capsys) == ["known plaintexts found without NitroSocks"]


@pytest.mark.usefixtures("small")
def test_an_interception_that_nobody_notices_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "BOX", "Another Box")
    assert run() == 70
    assert failures(capsys) == ["interception noticed"]


@pytest.mark.usefixtures("small")
def test_a_connection_that_was_not_cut_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gentle(demo.Interceptor):
        def cut(self) -> None:
            """Cuts nothing; `stop` still ends."""

    monkeypatch.setattr(demo, "Interceptor", Gentle)
    assert run() == 70
    assert failures(capsys) == ["connection cut and resumed", "connections"]


@pytest.mark.usefixtures("small")
def test_a_session_that_is_not_resumed_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any) -> Any:
        raise Refused(Refusal.UNKNOWN_SESSION)

    monkeypatch.setattr(demo.Dialler, "resume", refused)
    monkeypatch.setattr(limits, "RELEASE", 0.2)  # the server keeps the session, and would wait for it
    assert run() == 70
    failed = failures(capsys)
    assert failed[:3] == ["bytes received", "SHA-256 agrees", "connection cut and resumed"]
