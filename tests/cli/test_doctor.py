"""doctor as a command: its lines and marks, its exit codes, what a signal leaves; the real thing is in tests/whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nitrosocks_lib.cli import doctor as command
from nitrosocks_lib.cli.main import exit_code
from nitrosocks_lib.client import findings as f
from nitrosocks_lib.client.findings import Finding, State
from nitrosocks_lib.facts.errors import Intercepted, NetworkError, NitroSocksError, NotAuthorised, Refused, Unanswered
from nitrosocks_lib.facts.wire import Refusal

LOST, WRONG, UNKNOWN = NetworkError("lost"), Unanswered("wrong"), NotAuthorised("unknown")


def verdict(error: NitroSocksError | None = None) -> Finding:
    return f.Verdict(error=error)


def asked(error: NitroSocksError | None) -> Finding:
    return f.Destination(target="a:1", error=error)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([verdict()], 0),
        ([f.Carrier(carrier="raw", seconds=1, state=State.BAD, error=LOST), verdict()], 0),
        ([verdict(LOST)], 69),
        ([verdict(Refused(Refusal.FULL))], 69),
        ([verdict(WRONG)], 76),
        ([verdict(UNKNOWN)], 77),
        ([verdict(LOST), verdict()], 0),
        ([verdict(LOST), verdict(WRONG), verdict(LOST)], 76),
        ([verdict(UNKNOWN), verdict()], 77),
        ([verdict(Intercepted("i")), verdict()], 76),
        ([asked(None), verdict()], 0),
        ([asked(UNKNOWN), asked(LOST), verdict()], 77),
        ([asked(LOST), verdict()], 69),
        ([asked(LOST), verdict(WRONG)], 76),
        ([f.Age(asked=1, lived=1, error=LOST), verdict()], 69),
    ],
)
def test_the_exit_code_is_the_one_of_forward(found: list[Finding], code: int) -> None:
    assert command.judged(found, exit_code) == code


@pytest.mark.parametrize(
    ("environ", "yes"),
    [
        ({"LANG": "de_DE.UTF-8"}, True), ({"LC_ALL": "C.utf8"}, True), ({"LC_ALL": "C", "LANG": "C.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, True), ({"LC_ALL": "", "LANG": "en_US.ISO-8859-1"}, False), ({}, False),
    ],
)  # fmt: skip
def test_which_locale_takes_ticks(environ: dict[str, str], yes: bool) -> None:
    assert command.is_utf8(environ) is yes


ROWS = [
    f.Clock(unix=0.0),
    f.Certificate(server="a:1", issuer="Ünser", sha256="", verifies=True),
    f.Key(server="a:1", fingerprint="x", state=State.NOTED),
    f.Verdict(server="b:1", state=State.BAD, error=LOST),
]


def test_lines_with_ticks(capsys: pytest.CaptureFixture[str]) -> None:
    show = command.Lines(utf8=True, several=True)
    for row in ROWS:
        show(row)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "✓ clock        1970-01-01 00:00:00 UTC"
    assert lines[1] == "a:1:" and lines[2].startswith('✓ certificate  issued by "Ünser"')
    assert lines[3].startswith("· server key   x is expected, but the server did not prove it; ask the operator")
    assert lines[4:] == ["b:1:", "✗ verdict      b:1 cannot be used: lost"]


def test_a_remedy_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    show, key = command.Lines(utf8=True, several=False), NetworkError("odd", "ask")
    for name, error in (("raw", key), ("websocket", NetworkError("hangs")), ("http", key), ("http", LOST)):
        show(f.Carrier(carrier=name, seconds=1, state=State.BAD, error=error))
    show(f.Client(name="alice", state=State.BAD, error=key))
    ends = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert ends == ["odd; ask", "hangs", "odd", "lost", "odd; ask"]


def test_a_verdict_leads_to_its_error_and_is_good_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    show, lost = command.Lines(utf8=True, several=False), NetworkError("lost")
    for row in (ROWS[0], f.Verdict(server="a:1", carrier="raw"), f.Clock(unix=0.0, state=State.BAD, error=lost)):
        show(row)
    show(f.Verdict(server="b:1", state=State.BAD, error=lost))
    verdicts = [line for line in capsys.readouterr().out.splitlines() if "verdict" in line]
    assert verdicts[0] == "✓ verdict      a:1 can be used, over raw"
    assert verdicts[1] == "✗ verdict      b:1 cannot be used: see clock above"


def test_lines_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    show = command.Lines(utf8=False, several=False)
    for row in ROWS:
        show(row)
    out = capsys.readouterr().out
    assert out.isascii() and [line[:2] for line in out.splitlines()] == ["+ ", "+ ", "- ", "x "]
    assert 'issued by "\\xdcnser"' in out


class Stop:
    """As net.signals has it; the signal comes when `end` is called."""

    def __init__(self) -> None:
        self.came, self._told = False, threading.Semaphore(0)

    def tell(self) -> None:
        self._told.release()

    def end(self) -> None:
        self.came = True
        self.tell()

    def wait(self) -> bool:
        assert self._told.acquire(timeout=30)
        return self.came


class Examining:
    """As client.doctor has it."""

    def __init__(self, *findings: Finding | Any) -> None:
        self._findings = findings

    def examine(self) -> Iterator[Finding]:
        for each in self._findings:
            if callable(each):
                each()
            else:
                yield each


def run(stop: Stop, *findings: Any) -> tuple[list[Finding], list[Finding], bool]:
    shown: list[Finding] = []
    made: Any = Examining(*findings)
    found, complete = command._run(ROWS[:1], made, stop, shown.append)  # type: ignore[arg-type]
    return found, shown, complete


def test_all_is_shown_in_its_order() -> None:
    assert run(Stop(), *ROWS[1:]) == (ROWS, ROWS, True)


def test_a_signal_ends_it_with_what_was_found() -> None:
    stop, over = Stop(), threading.Event()

    def hang() -> None:
        stop.end()
        over.wait(30)

    try:
        assert run(stop, ROWS[1], hang, ROWS[2]) == (ROWS[:2], ROWS[:2], False)
    finally:
        over.set()


def test_a_fault_is_no_finding() -> None:
    def fault() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Stop(), ROWS[1], fault)


def test_the_object_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    command.print_json(ROWS, complete=False, code=130)
    out = capsys.readouterr().out
    told = json.loads(out)
    assert out.isascii() and out.endswith("}\n")
    assert (told["format"], told["complete"], told["exit"], len(told["findings"])) == (1, False, 130, 4)
    assert told["findings"][3] == {
        "check": "verdict", "server": "b:1", "state": "bad", "error": "lost", "carrier": "",
        "seen": "b:1 cannot be used: lost", "remedy": "",
    }  # fmt: skip
