"""Stamps: each change of a file shows in them, and what cannot be seen is no change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.server.stamps import is_settled, seen, stamp_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "other").write_text("two")
    (tmp_path / "file").write_text("one")
    return tmp_path / "file"


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda path: path.write_text("longer"),
    "mode": lambda path: path.chmod(0o640),
    "time": lambda path: os.utime(path, (1, 1)),
    "another file": lambda path: (path.parent / "other").replace(path),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_shows(change: Callable[[Path], object], path: Path) -> None:
    before = seen(str(path))
    assert before is not None and before == seen(str(path)) == stamp_of(path.stat())
    change(path)
    assert seen(str(path)) != before


def test_a_link_that_leads_elsewhere_shows(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to("file")
    assert seen(str(link)) == seen(str(path))
    link.unlink()
    link.symlink_to("other")
    assert seen(str(link)) == seen(str(path.parent / "other")) != seen(str(path))


def test_what_is_gone_and_what_cannot_be_seen(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to("nothing")
    assert seen(str(link)) == () and seen(str(path.parent / "nothing")) is None
    assert seen(str(path / "beneath a file")) is None and seen(str(path.parent / ("x" * 300))) == ()


def test_what_changed_just_now_may_change_again_unseen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = path.stat().st_ctime_ns
    for late, settled in ((0.0, False), (0.9, False), (1.1, True), (-1.1, True)):
        monkeypatch.setattr(time, "time_ns", lambda late=late: changed + int(late * limits.LISTED_AGAIN * 1e9))
        assert is_settled(stamp_of(path.stat())) is settled, late
