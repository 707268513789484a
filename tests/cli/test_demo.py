"""demo as a command: what it prints, and its exit codes; the demonstration itself is in tests/demo."""

from __future__ import annotations

import signal
from pathlib import Path

import program
import pytest
from program import Site

from nitrosocks_lib.cli import demo as command
from nitrosocks_lib.demo.demo import Shown
from nitrosocks_lib.demo.findings import Row

site = program.own_site
GOOD, BAD = Row("  agrees", "yes"), Row("  agrees", "no", good=False)


@pytest.mark.parametrize(
    ("rows", "readable", "code", "last"),
    [
        ([GOOD, GOOD], False, 0, "everything is as promised"),
        ([GOOD, BAD, BAD], False, 70, "2 FAILED"),
        ([GOOD, BAD], True, 76, "1 FAILED"),
    ],
)
@pytest.mark.parametrize("keep", [None, "kept"])
def test_what_is_printed(
    rows: list[Row], readable: bool, code: int, last: str, keep: str | None,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[Path | None] = []

    def show(where: Path | None) -> Shown:
        asked.append(where)
        return Shown(rows, readable, (Path("a"), Path("b")))

    monkeypatch.setattr(command, "show", show)
    monkeypatch.setattr(command, "ended_by_exception", lambda: None)
    assert command.demo({"--keep": keep}) == code
    lines = [*map(str, rows), last, *(["the recordings are in a and b"] if keep else [])]
    assert capsys.readouterr().out.splitlines() == lines
    assert asked == [Path(keep) if keep else None]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_leaves_nothing(site: Site, number: signal.Signals) -> None:
    """There are keys in what it makes."""
    (temporary := site.place / "temporary").mkdir()
    demo = site.nitrosocks("demo", env={"TMPDIR": str(temporary)})
    demo.err.wait("TLS is intercepted")
    assert demo.signal(number).wait() == 128 + number
    assert not [*temporary.iterdir()]
