"""crypto/token: the page's check values, the recorded ones, three hours, and nothing but what was made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.crypto.schedule import knock_key
from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.crypto.token import Token, Tokens
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.wire import What

ROOT = Path(__file__).parents[2]
RUNS = json.loads((ROOT / "tests" / "vectors" / "ns1.json").read_text())["runs"]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
HOUR, ID = 498725, bytes([0x51]) * wire.CARRIER_ID
ONE = Token(ID, What.UP, 5)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def tokens(byte: int = 1) -> Tokens:
    return Tokens(Secret(bytes([byte]) * 32))


def knock_of_the_page() -> Secret:
    (text,) = re.findall(r"^knock +([0-9a-f]{64})$", PAGE, re.MULTILINE)
    return Secret(bytes.fromhex(text))


@pytest.mark.parametrize(("name", "what", "n"), [("websocket", 0, 0), ("up 0", 1, 0), ("down 7", 2, 7)])
def test_check_values_of_the_page(name: str, what: int, n: int) -> None:
    (text,) = re.findall(rf"^{name} +([\w-]{{43}})$", PAGE, re.MULTILINE)
    assert Tokens(knock_of_the_page()).make(HOUR, Token(ID, What(what), n)) == text


@pytest.mark.parametrize("run", RUNS, ids=["one", "two"])
def test_recorded_ones(run: dict) -> None:
    made, carrier = Tokens(knock_key(bytes.fromhex(run["server_public"]))), run["carrier"]
    assert len(carrier["tokens"]) == 5
    for row in carrier["tokens"]:
        token = Token(bytes.fromhex(carrier["id"]), What(row["what"]), row["n"])
        assert made.make(carrier["hour"], token) == row["token"]
        assert made.read(row["token"], carrier["hour"]) == (token, carrier["hour"])


@given(st.binary(min_size=10, max_size=10), st.sampled_from(What), st.integers(0, 2**40 - 1), st.integers(1, 2**40))
def test_what_is_made_is_read(name: bytes, what: What, n: int, hour: int) -> None:
    token = Token(name, what, n)
    text = tokens().make(hour, token)
    assert len(text) == wire.TOKEN_TEXT and set(text) <= set(LETTERS)
    assert tokens().read(text, hour) == (token, hour)


def test_three_hours_are_tried() -> None:
    text = tokens().make(HOUR, ONE)
    found = [tokens().read(text, HOUR + ahead) for ahead in (-2, -1, 0, 1, 2)]
    assert found == [None, (ONE, HOUR), (ONE, HOUR), (ONE, HOUR), None]


def test_the_first_hour_of_all() -> None:
    assert tokens().read(tokens().make(0, ONE), 0) == (ONE, 0)


def test_keys_of_old_hours_are_not_kept() -> None:
    made = tokens()
    for hour in range(HOUR, HOUR + 50):
        made.read("A" * wire.TOKEN_TEXT, hour)
    assert len(made._kept) <= 5


def test_another_server_reads_nothing() -> None:
    assert tokens(2).read(tokens(1).make(HOUR, ONE), HOUR) is None


@pytest.mark.parametrize("at", range(wire.TOKEN_TEXT))
def test_one_letter_changed(at: int) -> None:
    text = tokens().make(HOUR, ONE)
    for letter in LETTERS:
        changed = text[:at] + letter + text[at + 1 :]
        assert changed == text or tokens().read(changed, HOUR) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "=", lambda text: text[:-1], lambda text: text + "A", lambda text: " " + text[:-1],
        lambda text: text[:-1] + "é", lambda text: "", lambda text: text[:20] + "\n" + text[21:],
        lambda text: "\ud800" + text[1:],
    ],
)  # fmt: skip
def test_what_is_not_written_as_we_write_it(change) -> None:
    assert tokens().read(change(tokens().make(HOUR, ONE)), HOUR) is None


def test_the_other_alphabet_of_base64() -> None:
    texts = (tokens().make(HOUR, Token(ID, What.UP, n)) for n in range(100))
    text = next(each for each in texts if "-" in each or "_" in each)
    assert tokens().read(text, HOUR) and tokens().read(text.replace("-", "+").replace("_", "/"), HOUR) is None


def test_a_what_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows S can make one; it is none of ours."""
    text = tokens().make(HOUR, Token(ID, 3, 5))  # type: ignore[arg-type]
    assert tokens().read(text, HOUR) is None


def test_two_tokens_share_nothing() -> None:
    one, other = (tokens().make(HOUR, Token(ID, What.UP, n)) for n in (5, 6))
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 10
