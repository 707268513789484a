"""demo as a command: what it prints, and its exit codes; the demonstration itself is in tests/demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from nitrosocks_lib.cli import demo as command
from nitrosocks_lib.demo.demo import Shown
from nitrosocks_lib.demo.findings import Row

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
    assert command.demo({"--keep": keep}) == code
    lines = [*map(str, rows), last, *(["the recordings are in a and b"] if keep else [])]
    assert capsys.readouterr().out.splitlines() == lines
    assert asked == [Path(keep) if keep else None]
