"""What a recording holds is counted rightly, and whatever is not as promised is a row that says FAILED."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nitrosocks_lib.demo.findings import NOTICED, PASSWORD, SENTENCES, SIZE, Got, Row, Seen, entropy, look, table

GOT = Got(SIZE, True, 0.5, cut=3_000_000, sessions=1)
SEEN = Seen(2, 17_000, SIZE + 9_000, 7.99998, (0, 0, 0, 0))
CONTROL = Got(SIZE, True, 0.1)
PROOF = Seen(1, 115, SIZE + 117, 4.5, (1, 9, 9, 9))


def failed(noticed: bool = True, **changed: Any) -> list[str]:
    """The names of the rows that fail."""
    of = {"got": GOT, "seen": SEEN, "control": CONTROL, "proof": PROOF} | changed
    rows = table(of["got"], noticed, of["seen"], of["control"], of["proof"])
    assert all(str(row).endswith("  FAILED") is not row.good for row in rows)
    return [row.name.strip() for row in rows if not row.good]


def test_all_as_promised() -> None:
    assert failed() == []
    text = "\n".join(map(str, table(GOT, True, SEEN, CONTROL, PROOF)))
    assert "after 3,000,000 bytes; 1 session on 2 connections" in text and NOTICED in text
    assert "17,000 / 8,397,608" in text and "7.99998" in text
    assert "known plaintexts found without NitroSocks   28 > 0" in text


CUT = "connection cut and resumed"


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ({"size": SIZE - 1, "agrees": False}, ["bytes received", "SHA-256 agrees", CUT]),
        ({"agrees": False}, ["SHA-256 agrees", CUT]),
        ({"failure": "timed out"}, ["bytes received"]),
        ({"cut": 0}, [CUT]),
        ({"sessions": 2}, [CUT]),
        ({"sessions": 0}, [CUT]),
    ],
)
def test_what_the_client_did_not_get(change: dict[str, Any], rows: list[str]) -> None:
    assert failed(got=replace(GOT, **change)) == rows


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ({"connections": 1}, [CUT, "connections"]),
        ({"up": 0}, ["bytes up / down"]),
        ({"down": SIZE - 1}, ["bytes up / down"]),
        ({"entropy": 7.98}, ["entropy, bits per byte"]),
        ({"found": (1, 0, 0, 0)}, ["known plaintexts found"]),
        ({"found": (0, 0, 0, 1)}, ["known plaintexts found"]),
    ],
)
def test_what_the_box_must_not_see(change: dict[str, Any], rows: list[str]) -> None:
    assert failed(seen=replace(SEEN, **change)) == rows


def test_an_interception_that_went_unnoticed() -> None:
    assert failed(noticed=False) == ["interception noticed"]


@pytest.mark.parametrize("found", [(0, 0, 0, 0), (0, 9, 9, 9), (1, 9, 9, 0)])
def test_a_control_that_finds_nothing_or_not_everything(found: tuple[int, ...]) -> None:
    assert failed(proof=replace(PROOF, found=found)) == ["known plaintexts found without NitroSocks"]


def test_a_control_that_did_not_come_about() -> None:
    names = ["bytes received", "SHA-256 agrees", "bytes up / down", "entropy, bits per byte"]
    nothing = Seen(0, 0, 0, 0.0, (0, 0, 0, 0))
    assert failed(control=Got(0, False, 0.0, "refused"), proof=nothing)[:4] == names


def test_the_reason_of_a_failure_is_told() -> None:
    rows = [str(row) for row in table(replace(GOT, size=7, failure="timed out"), True, SEEN, CONTROL, PROOF)]
    assert any("7 of 8,388,608 (timed out)  FAILED" in row for row in rows)
    assert str(Row("heading")) == "heading"


# Recordings


def test_an_empty_recording(tmp_path: Path) -> None:
    assert look(tmp_path) == Seen(0, 0, 0, 0.0, (0, 0, 0, 0))


def test_a_recording_of_many_connections(tmp_path: Path) -> None:
    text = SENTENCES[1].encode()
    (tmp_path / "connection-1.up").write_bytes(f"X-Password: {PASSWORD}\r\n".encode())
    (tmp_path / "connection-1.down").write_bytes(b"1" + text + b"2" + text[:-1] + b"3" + text)
    (tmp_path / "connection-2.down").write_bytes(text)
    (tmp_path / "connection-12.up").write_bytes(SENTENCES[2].encode())
    seen = look(tmp_path)
    assert (seen.connections, seen.found) == (3, (1, 0, 3, 1))
    assert seen.up == 12 + len(PASSWORD) + 2 + len(SENTENCES[2])
    assert seen.down == 4 * len(text) - 1 + 3
    assert 4 < seen.entropy < 6


def test_entropy() -> None:
    assert entropy([]) == entropy([b""]) == entropy([bytes(1000)]) == 0
    assert entropy([bytes(range(256)) * 3]) == entropy([bytes(range(128)), bytes(range(128, 256))]) == 8
    assert entropy([b"ab", b"ba"]) == 1
    assert math.isclose(entropy([b"aab"]), math.log2(3) - 2 / 3)
