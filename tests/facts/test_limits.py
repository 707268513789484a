"""facts/limits against the numbers of docs/protocol.md, and what the limits promise one another."""

import re
from pathlib import Path

import pytest

from nitrosocks_lib.facts import limits, wire

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "h": 3600, "min": 60, "ms": 0.001}


def number(stated: str) -> float:
    """The number in braces, with its unit: {2^20}, {64 GiB}, {1,024}, {± 30 %}."""
    (text,) = re.findall(r"\{(.*)\}", stated)
    digits, _, unit = re.sub(r"[,±]|(?<=\d) (?=\d{3})", "", text).strip().partition(" ")
    base, _, power = digits.partition("^")
    return (int(base) ** int(power or 1)) * (0.01 if unit == "%" else UNITS.get(unit, 1))


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("PAD_MAX", "`pad` is drawn anew for each message, from 0 to {1024}"),
        ("WINDOW_MIN", "{64 KiB} to 64 MiB (65 536"),
        ("WINDOW_MAX", "64 KiB to {64 MiB} (65 536"),
        ("RESUME_MAX", "| resume | 0 to {86 400} s |"),
        ("HEARTBEAT_MIN", "| heartbeat | {5} to 300 s |"),
        ("HEARTBEAT_MAX", "| heartbeat | 5 to {300} s |"),
        ("ADDRESS_MAX", "n ≤ {255} and n + 2"),
        ("NONCES_PER_HOUR", "When an hour's set holds {2^20} nonces"),
        ("TOTP_STEP", "steps of {30} s"),
        ("CLOCK_SKEW", "more than {30} s away from server time"),
        ("HANDSHAKE", "A knock whose first Enc is not complete {10} s after accept"),
        ("FIRST_FRAME", "first frame has not opened {10} s after RECOVERED"),
        ("LATE", "closes `{30} + (u16 of"),
        ("KEY_FRAMES", "at most {2^22} frames"),
        ("KEY_BYTES", "frames or {64 GiB}"),
        ("KEY_AGE", "whose frame keys are older than {2 h}"),
        ("REFRESH", "by default after {30 min}"),
        ("REFRESH_BYTES", "30 min, {4 GiB} or"),
        ("REFRESH_FRAMES", "or {2^20} frames of either direction"),
        ("REFRESH_MAX", "The interval is {60 min} at most"),
        ("REFRESH_ANSWER", "a server without REFRESHED {60} s after REFRESH"),
        ("REFRESH_ANSWER", "a client without SWITCH {60} s after REFRESHED"),
        ("WINDOW", "as its limit (default {256 KiB})"),
        ("WINDOW_GROWN", "It doubles, up to {16 MiB},"),
        ("PROMISES", "stay within a budget (default {64 MiB})"),
        ("STREAMS", "Streams and listeners of a session: by default {1,024}"),
        ("SESSIONS_PER_CLIENT", "Sessions of one client: {64}."),
        ("KEPT_BYTES", "by default {16 MiB} and 65,536 frames a session"),
        ("KEPT_FRAMES", "by default 16 MiB and {65,536} frames a session"),
        ("LINGER", "until the local socket makes no progress for {60} s"),
        ("NAME_MAX", "a host has at most {255} bytes"),
        ("NAME_MAX", "an address in an answer at most {255}"),
        ("PATH_MAX", "a path at most {107},"),
        ("TEXT_MAX", "a text for people at most {1,024},"),
        ("PACE_LEAST", "in the last 100 ms, but {1 KiB} at least"),
        ("FRAME_TIME", "as long as no single frame takes longer than {120} s"),
        ("FRAME_SILENCE", "given up when no byte of it came for {4} s"),
        ("FRAME_WHOLE", "when it is not whole after {5} s and came"),
        ("FRAME_RATE", "more slowly than {6,500} bytes a second"),
        ("DOUBT_LEAST", "D = max({1} s, 4 ×"),
        ("DOUBT_MOST", "to its acknowledgement), and {120} s at most"),
        ("ACK_BYTES", "at the latest after {1 MiB}"),
        ("ACK_FRAMES", "or {64} numbered frames"),
        ("ACK_DELAY", "numbered frames, and within {100 ms}"),
        ("HEARTBEAT_JITTER", "`heartbeat` seconds ({± 30 %})"),
        ("RELEASE", "or after {5} s, whichever is first"),
        ("BODY", "Content-Length and at most {512 KiB}"),
        ("BODY_LEAST", "later ones send at most half as much ({4 KiB} at least"),
        ("UPS", "sends n only when 0 … n − {4} are answered"),
        ("DOWNS", "m + {2} is asked only when"),
        ("PARKED", "After {20} s ± 30 % the answer"),
        ("PARKED_JITTER", "After 20 s {± 30 %} the answer"),
        ("UP_ANSWER", "The time-out is max({5} s, D)"),
        ("DOWN_ANSWER", "The time-out is {30} s. Empty answers"),
        ("REPEATS", "Repeats are still answered for {45} s"),
        ("CARRIER_IDLE", "that has had no request for {130} s"),
        ("WAITING", "wait unread, {8} at most an id"),
        ("WAITING_TIME", "After {10} s, or without the knock"),
        ("HEAD", "is awaited, up to {16 KiB} and 10 s"),
        ("HEAD_TIME", "is awaited, up to 16 KiB and {10} s"),
        ("MESSAGE", "or a message over {1 MiB} ends"),
        ("RELEASE", "without DISCONNECT_ACK closes after {5} s"),
    ],
)
def test_a_limit_is_that_of_the_page(name: str, stated: str) -> None:
    assert stated.replace("{", "").replace("}", "") in PAGE
    assert getattr(limits, name) == pytest.approx(number(stated))


def test_a_request_that_fails_is_repeated_three_times() -> None:
    assert "is repeated three times on fresh connections" in PAGE and limits.REPEATED == 3


def test_three_silent_periods() -> None:
    assert "Three silent periods" in PAGE and limits.SILENT_PERIODS == 3


@pytest.mark.parametrize(
    ("low", "value", "high"),
    [
        ("WINDOW_MIN", "WINDOW", "WINDOW_MAX"),
        ("HEARTBEAT_MIN", "HEARTBEAT", "HEARTBEAT_MAX"),
        ("ACK_DELAY", "RESUME", "RESUME_MAX"),
        ("REFRESH_ANSWER", "REFRESH", "REFRESH_MAX"),
        ("REFRESH", "REFRESH_MAX", "KEY_AGE"),  # a key is refreshed long before it is too old or worn out
        ("ACK_FRAMES", "REFRESH_FRAMES", "KEY_FRAMES"),
        ("ACK_BYTES", "REFRESH_BYTES", "KEY_BYTES"),
        ("WINDOW", "WINDOW_GROWN", "WINDOW_MAX"),
        ("WINDOW_GROWN", "PROMISES", "HELD"),
        ("ACK_BYTES", "KEPT_BYTES", "HELD"),  # ACKs come long before a sender stops for what it keeps
        ("ACK_FRAMES", "KEPT_FRAMES", "KEY_FRAMES"),
        ("WINDOW_GROWN", "KEPT_BYTES", "KEPT_BYTES"),  # a window may be used up before the first ACK
        ("PACE_LEAST", "PACE_FIRST", "PACE_MOST"),
        ("DOUBT_LEAST", "HEARTBEAT", "DOUBT_MOST"),  # a client is much quicker than a heartbeat
        ("STREAMS_EACH", "STREAMS_EACH", "STREAMS"),
        ("BODY_LEAST", "BODY", "MESSAGE"),
        ("PARKED", "DOWN_ANSWER", "REPEATS"),  # a repeat of a down whose answer was lost still gets it
        ("DOWN_ANSWER", "CARRIER_IDLE", "CARRIER_IDLE"),
        ("BACKOFF_FIRST", "BACKOFF_FIRST", "BACKOFF_MAX"),
        ("SESSIONS", "SESSIONS_MAX", "SESSIONS_PER_CLIENT"),
    ],
)
def test_defaults_lie_within_their_bounds(low: str, value: str, high: str) -> None:
    assert getattr(limits, low) <= getattr(limits, value) <= getattr(limits, high)


def test_a_full_data_frame_fills_tls_records_to_the_byte() -> None:
    record = 16_384
    assert limits.DATA_SIZE <= wire.DATA_MAX < limits.WINDOW_MIN
    assert (limits.DATA_SIZE + wire.DATA_HEAD + wire.FRAME_OVERHEAD) % record == 0
    assert record == limits.FIRST_READ and limits.SLOT == wire.PLAIN_MAX


def test_an_ack_with_all_its_limits_fits_a_frame() -> None:
    assert 1 + wire.ACK_RECEIVED.size + limits.ACK_ROWS * wire.ACK_LIMIT.size <= wire.PLAIN_MAX
    assert limits.ACK_ROWS >= limits.STREAMS


def test_three_silent_periods_stay_below_what_proxies_cut() -> None:
    assert limits.HEARTBEAT * limits.SILENT_PERIODS <= 60
    assert limits.HEARTBEAT * (1 + limits.HEARTBEAT_JITTER) < 60


def test_a_session_outlives_the_silence_that_reveals_its_loss() -> None:
    assert limits.RESUME > limits.HEARTBEAT * limits.SILENT_PERIODS * (1 + limits.HEARTBEAT_JITTER)


def test_the_largest_frame_gets_through_the_slowest_line_in_time() -> None:
    """Protocol 5, Liveness: down to 4.4 kbit/s no frame is cut for ever."""
    assert wire.FRAME_MAX * 8 / limits.FRAME_TIME < 4_400


def test_a_doubt_waits_longer_than_an_ack() -> None:
    """Else each frame on a quiet line would make a doubt."""
    assert limits.DOUBT_LEAST > limits.ACK_DELAY + limits.ROUND_TRIP


def test_a_release_is_over_before_whoever_waits_for_it_gives_up() -> None:
    assert limits.FAREWELL < limits.RELEASE < limits.DRAIN
