"""options: what people write behind options, and what they read when it is wrong."""

from __future__ import annotations

import pytest
from wrongly import wrong

from nitrosocks_lib.cli import options as specs
from nitrosocks_lib.client.openers import OPENERS
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier, EncryptType
from nitrosocks_lib.server.tunnel import RefreshPolicy

DIGITS = "9" * 5_000  # more than int() takes


def test_a_tilde_that_no_shell_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    options = {"--home": "~/x", "-i": "/a/~", "--keep": "~", "-o": None, "-L": ["~/a.sock:b:1"], "NAME": "~", "-v": 1}
    replaced = {"--home": "/home/alice/x", "--keep": "/home/alice"}
    assert specs.given(dict(options)) == {**options, **replaced}


@pytest.mark.parametrize(
    ("text", "address"),
    [(":8443", ("", 8443)), ("*:1", ("", 1)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:443", ("::1", 443))],
)
def test_listening_addresses(text: str, address: tuple[str, int]) -> None:
    assert specs.listen(text) == address


@pytest.mark.parametrize("text", ["8443", "0", "99999"])
def test_a_port_alone_is_no_listening_address(text: str) -> None:
    assert wrong(lambda: specs.listen(text)) == f"--listen {text}: a port alone; write it as host:port or :{text}"


@pytest.mark.parametrize("text", ["", "8443", ":", ":x", ":65536", "::1:443", "[::1]", "http://a:1"])
def test_listening_addresses_that_are_none(text: str) -> None:
    wrong(lambda: specs.listen(text))


BAD_NUMBERS = ["", " ", "x", "-1", "+1", "1.5", "1e3", "1KB", "K", "²", "٣", "1_000", "0x10"]


@pytest.mark.parametrize(("text", "window"), [(None, limits.WINDOW), ("64K", 65_536), ("64M", 64 << 20)])
def test_windows(text: str | None, window: int) -> None:
    assert specs.window(text) == window


@pytest.mark.parametrize("text", ["0", "65535", "63K", "65M", "1G", *BAD_NUMBERS])
def test_windows_that_are_none(text: str) -> None:
    assert "--window" in wrong(lambda: specs.window(text))


@pytest.mark.parametrize(("text", "most"), [(None, limits.SESSIONS), ("1", 1), ("16", 16)])
def test_sessions(text: str | None, most: int) -> None:
    assert specs.sessions(text) == most


@pytest.mark.parametrize("text", ["0", "17", "x", "-1", ""])
def test_sessions_that_are_none(text: str) -> None:
    assert wrong(lambda: specs.sessions(text)).startswith(f"--sessions {text}: not a number from 1 to 16")


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("5", 5), ("300s", 300), ("5m", 300)])
def test_heartbeats(text: str | None, seconds: int | None) -> None:
    assert specs.heartbeat(text) == seconds


@pytest.mark.parametrize("text", ["4", "301", "6m", "5S"])
def test_heartbeats_that_are_none(text: str) -> None:
    assert "--heartbeat" in wrong(lambda: specs.heartbeat(text))


@pytest.mark.parametrize(
    ("text", "resumed", "drained", "redialled"),
    [
        (None, limits.RESUME, limits.DRAIN, None),
        ("90", 90, 90, 90.0),
        ("5m", 300, 300, 300.0),
        ("24h", 86_400, 86_400, 86_400.0),
    ],
)
def test_times(text: str | None, resumed: int, drained: int, redialled: float | None) -> None:
    assert (specs.resume(text), specs.drain(text), specs.redial(text)) == (resumed, drained, redialled)


def test_a_connection_is_replaced_at_an_age_only() -> None:
    assert wrong(lambda: specs.redial("0")) == "--redial 0: out of range; write 1s to 24h"


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 0.0), ("1", 60.0), ("5m", 300.0), ("90s", 90.0), ("24h", 86_400.0)]
)
def test_a_plain_lifetime_is_in_minutes(text: str | None, seconds: float) -> None:
    assert specs.lifetime("--idle", text) == seconds


@pytest.mark.parametrize("text", ["0", "59s", "25h", "1441", "x"])
def test_lifetimes_that_are_none(text: str) -> None:
    assert wrong(lambda: specs.lifetime("--age", text)).startswith(f"--age {text}: ")


DEFAULT = RefreshPolicy()


@pytest.mark.parametrize(
    ("text", "every", "volume"),
    [
        (None, DEFAULT.every, DEFAULT.volume),
        ("30m", 1_800, DEFAULT.volume),
        ("1s", 1, DEFAULT.volume),
        ("4G", DEFAULT.every, 4 << 30),
        ("60m,64K", 3_600, 65_536),
        ("64k,90s", 90, 65_536),
        ("32G", DEFAULT.every, 32 << 30),
        ("1h", 3_600, DEFAULT.volume),
    ],
)
def test_refreshes(text: str | None, every: float, volume: int) -> None:
    assert specs.refresh(text) == RefreshPolicy(every, volume)


@pytest.mark.parametrize(
    "text",
    ["4G,30m,5m", "0s", "61m", "0m", "3601s", "63K", "33G", "m", "s", ",", "30m,", "30m 4G", "30h", "2h", "1H",
     "²m", "-1m", "1.5m", DIGITS + "m", DIGITS + "s", DIGITS],
)  # fmt: skip
def test_refreshes_that_are_none(text: str) -> None:
    assert "--refresh" in wrong(lambda: specs.refresh(text))


def test_a_refresh_that_is_not_understood_is_told_with_an_example() -> None:
    told = "--refresh 5m,1d: not a time, a size or both; as in 30m, 4G or 30m,4G"
    assert wrong(lambda: specs.refresh("5m,1d")) == told


@pytest.mark.parametrize(
    ("text", "cipher"),
    [
        (None, EncryptType(2)),
        ("aes-256-gcm", EncryptType(2)),
        ("aes-128-gcm", EncryptType(1)),
        ("AES-256-GCM", EncryptType(2)),
    ],
)
def test_ciphers(text: str | None, cipher: EncryptType) -> None:
    assert specs.cipher(text) is cipher


@pytest.mark.parametrize("text", ["", "aes", "chacha20-poly1305", "aes-256-gcm "])
def test_ciphers_that_are_none(text: str) -> None:
    assert "aes-128-gcm" in wrong(lambda: specs.cipher(text))


RAW, WEBSOCKET = Carrier.RAW, Carrier.WEBSOCKET


@pytest.mark.parametrize(
    ("text", "carriers"),
    [(None, tuple(OPENERS)), ("auto", tuple(OPENERS)), ("RAW", (RAW,)), ("websocket", (WEBSOCKET,))],
)
def test_carriers(text: str | None, carriers: tuple[Carrier, ...]) -> None:
    assert specs.carriers(text) == carriers


@pytest.mark.parametrize("text", ["", "pigeon", "raw,websocket", "websocket "])
def test_carriers_that_are_none(text: str) -> None:
    assert "raw, websocket" in wrong(lambda: specs.carriers(text))


@pytest.mark.parametrize("text", ["/a", "/some/path", "/~user/v1.2/a_b-c", "/" + 254 * "a"])
def test_prefixes(text: str) -> None:
    assert specs.prefix(text) == text


@pytest.mark.parametrize(("text", "prefix"), [(None, ""), ("", ""), ("/", ""), ("/a/", "/a")])
def test_a_slash_at_the_end_counts_for_nothing(text: str | None, prefix: str) -> None:
    assert specs.prefix(text) == prefix


@pytest.mark.parametrize(
    "text",
    ["a", "//a", "/a//b/", "/a//b", "/a?b", "/a b", "/%41", "/..", "/a/../b", "/.a", "/\u00e4", "/" + 255 * "a"],
)
def test_prefixes_that_are_none(text: str) -> None:
    assert "as in /some/path" in wrong(lambda: specs.prefix(text))


@pytest.mark.parametrize("text", ["www.example", "www.example:8443", "192.0.2.1", "[2001:db8::1]", "[2001:db8::1]:443"])
def test_host_headers(text: str) -> None:
    assert specs.host_header(text) == text and specs.host_header(None) == ""


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a\r\nb", "2001:db8::1", "a:", "a:b", "a:123456", "ä", 256 * "a"])
def test_host_headers_that_are_none(text: str) -> None:
    assert "as in www.example" in wrong(lambda: specs.host_header(text))
