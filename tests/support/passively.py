"""A passive reader of the TLS plaintext: what it records, and rules by which it could tell our HTTP from a site's.

Each rule is a function of what was seen; it returns whether it holds, and a figure. AVOIDABLE ones must not hold; of
KNOWN ones the protocol wants what they see (docs/protocol.md, 8.12).
"""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from statistics import median

import browsing
from browsing import Head, common, parsed

from nitrosocks_lib.demo.interceptor import Interceptor

BOUND = 200.0
MOST = 0.5  # this part of something is "most"
FEW = 5  # polls: fewer tell nothing
USUAL = ("Content-Length", "Referer", "Cookie", "Host", "Origin")  # fields whose values are a matter of the request
_CLOCK = 3.0  # seconds


@dataclass(slots=True)
class Message:
    """A request or an answer: its head, and its body; with when its head was whole (unix time)."""

    at: float
    head: bytes
    body: bytes

    @property
    def first(self) -> list[str]:
        """The words of its first line."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")

    @property
    def fields(self) -> Head:
        return parsed(self.head)

    def value(self, name: str) -> str:
        return {line[0]: line[1] for line in self.fields}.get(name, "")


@dataclass(slots=True)
class Seen:
    """All that was said: requests, each with its answer or None; messages of WebSockets (their payloads)."""

    pairs: list[tuple[Message, Message | None]] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    @property
    def requests(self) -> list[Message]:
        return [request for request, _ in self.pairs]

    @property
    def answers(self) -> list[Message]:
        return [answer for _, answer in self.pairs if answer is not None]

    @property
    def polls(self) -> list[float]:
        """Seconds that empty requests waited for an empty answer."""
        both = [(one, other) for one, other in self.pairs if other is not None and other.first[1] == "200"]
        return [other.at - one.at for one, other in both if not one.body and not other.body]


class Listener(Interceptor):
    """Ends the TLS, keeps what passes, and changes nothing."""

    def __init__(self, upstream: tuple[str, int], cert: Path, key: Path) -> None:
        super().__init__(upstream, cert, key)
        self._came: dict[tuple[int, str], list[tuple[float, bytes]]] = {}
        self._changed = threading.Condition()

    def __enter__(self) -> Listener:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def saw(self, number: int, way: str, plain: bytes, mode: str = "ab") -> bytes:
        """As in Interceptor."""
        with self._changed:
            if plain:
                self._came.setdefault((number, way), []).append((time.time(), plain))
            self._changed.notify_all()
        return plain

    def heard(self) -> Seen:
        """What passed until now."""
        seen = Seen()
        with self._changed:
            came = {key: list(pieces) for key, pieces in self._came.items()}
        for number in sorted({number for number, _ in came}):
            requests, rest = messages(came.get((number, "up"), []))
            answers, back = messages(came.get((number, "down"), []))
            seen.pairs += zip(requests, [*answers, *[None] * (len(requests) - len(answers))], strict=True)
            seen.messages += [*payloads(rest), *payloads(back)]
        return seen

    def wait(self, condition: Callable[[Seen], object]) -> Seen:
        """Until it is true of what was seen."""
        end = time.monotonic() + BOUND
        while not condition(seen := self.heard()):
            assert time.monotonic() < end, "what should have passed did not"
            with self._changed:
                self._changed.wait(1.0)
        return seen


def messages(pieces: list[tuple[float, bytes]]) -> tuple[list[Message], bytes]:
    """The whole ones of one direction; and what is behind an upgrade."""
    found, data = [], b""
    for at, piece in pieces:
        data += piece
        while True:
            head, ends, rest = data.partition(b"\r\n\r\n")
            upgrades = re.search(rb"\r\nupgrade: websocket", head, re.IGNORECASE)
            size = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
            length = int(size[1]) if size else 0
            if not ends or len(rest) < length or (found and upgrades is None and not head.startswith(_STARTS)):
                break
            found.append(Message(at, head + ends, rest[:length]))
            data = rest[length:]
    return found, data


_STARTS = (b"POST ", b"GET ", b"HTTP/1.1 ")


def payloads(data: bytes) -> Iterable[bytes]:
    """Of the whole frames of a WebSocket; masked ones as they are."""
    while len(data) >= 2:
        size, at = data[1] & 127, 2
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at])
        at += 4 if data[1] & 128 else 0
        if len(data) < at + size:
            return
        yield data[at : at + size]
        data = data[at + size :]


# -- rules ------------------------------------------------------------------------------------------------------------

Rule = Callable[[Seen], tuple[bool, str]]


def share(values: Iterable[object]) -> float:
    """The part that the most frequent one is of all."""
    counts = Counter(values)
    return max(counts.values()) / counts.total() if counts else 0.0


def most(values: Iterable[object]) -> tuple[bool, str]:
    part = share(values)
    return part > MOST, f"{part:.0%}"


def _compared(kind: str, message: Message, *without: str) -> list[str]:
    """How it differs from what was captured, but for fields whose values or presence are free."""
    made, kept = common(message.fields), browsing.kept()[kind]
    strip = lambda head: [[name, "" if name in USUAL else value] for name, value in head if name not in without]  # noqa: E731
    return browsing.differences({kind: strip(kept)}, {kind: strip(made)})


def _first(found: list[str]) -> tuple[bool, str]:
    return bool(found), found[0] if found else "none"


def requests_differ(seen: Seen) -> tuple[bool, str]:
    """A field is missing or too much, in another order, or with another value than Chromium's."""
    without = ("Cookie", "Sec-WebSocket-Extensions")
    kind = lambda each: "upgrade" if each.first[0] == "GET" else "post"  # noqa: E731
    return _first([line for each in seen.requests for line in _compared(kind(each), each, *without)])


def answers_differ(seen: Seen) -> tuple[bool, str]:
    """The same of answers, against nginx."""
    kinds = {"200": "answer", "204": "end", "101": "switching"}
    return _first([line for each in seen.answers for line in _compared(kinds[each.first[1]], each)])


def date_is_wrong(seen: Seen) -> tuple[bool, str]:
    """The Date of an answer is that of another time, or is not there."""
    dates = [(each.at, each.value("Date")) for each in seen.answers]
    far = [abs(at - _unix(said)) for at, said in dates]
    return any(each > _CLOCK for each in far), f"{max(far, default=0):.1f} s"


def _unix(said: str) -> float:
    at: datetime | None = parsedate_to_datetime(said) if said else None
    return at.timestamp() if at else 0.0


def heads_have_one_size(seen: Seen) -> tuple[bool, str]:
    """Of requests."""
    return most(len(each.head) for each in seen.requests)


def polls_take_one_time(seen: Seen) -> tuple[bool, str]:
    """A tenth of their median more or less."""
    usual = median(seen.polls or [0.0])
    near = sum(abs(each - usual) <= usual / 10 for each in seen.polls) / (len(seen.polls) or 1)
    return near > 0.8 and len(seen.polls) >= FEW, f"{near:.0%} of {len(seen.polls)}"


def no_referer_twice(seen: Seen) -> tuple[bool, str]:
    """Nobody goes to another page for each request."""
    different = len({each.value("Referer") for each in seen.requests}) / len(seen.requests)
    return different > 0.9, f"{different:.0%}"


def one_referer(seen: Seen) -> tuple[bool, str]:
    """Nobody does anything on the page."""
    return most(each.value("Referer") for each in seen.requests)


def path_is_a_token(seen: Seen) -> tuple[bool, str]:
    """43 characters of base64url."""
    return all(re.fullmatch(r"(?:/.*)?/[\w-]{43}", each.first[1]) for each in seen.requests), "all"


def no_path_twice(seen: Seen) -> tuple[bool, str]:
    """Each has its own."""
    paths = Counter(each.first[1] for each in seen.requests)
    return max(paths.values()) == 1, f"{len(paths)} paths"


def only_posts(seen: Seen) -> tuple[bool, str]:
    """No page is loaded, no picture and no script."""
    return {each.first[0] for each in seen.requests} == {"POST"}, f"{len(seen.requests)} requests"


def posts_are_empty(seen: Seen) -> tuple[bool, str]:
    """Most of them."""
    empty = sum(not each.body for each in seen.requests) / len(seen.requests)
    return empty > MOST, f"{empty:.0%}"


def bodies_look_random(seen: Seen) -> tuple[bool, str]:
    """They do not become smaller."""
    data = b"".join(each.body for each in [*seen.requests, *seen.answers]) + b"".join(seen.messages)
    part = len(zlib.compress(data)) / len(data)
    return part > 0.99, f"{part:.0%}"


def pieces_have_one_size(seen: Seen) -> tuple[bool, str]:
    """Bodies of requests, of those that have some; messages of a WebSocket. So it is where somebody types."""
    bodies = [each.body for each in seen.requests if each.body]
    return most(map(len, bodies or filter(None, seen.messages)))


def no_extension(seen: Seen) -> tuple[bool, str]:
    """Chromium always offers one."""
    return not any(each.value("Sec-WebSocket-Extensions") for each in seen.requests), "all"


AVOIDABLE: dict[str, list[Rule]] = {
    "http": [
        requests_differ, answers_differ, date_is_wrong, heads_have_one_size, polls_take_one_time, no_referer_twice,
        one_referer,
    ],
    "websocket": [requests_differ, answers_differ, date_is_wrong],
}  # fmt: skip
KNOWN: dict[str, dict[Rule, str]] = {
    "http": {
        path_is_a_token: "TK2", no_path_twice: "TK3", only_posts: "HP1", posts_are_empty: "HP5",
        bodies_look_random: "HP1", pieces_have_one_size: "8.12",
    },
    "websocket": {path_is_a_token: "TK2", bodies_look_random: "WS1", no_extension: "WS1", pieces_have_one_size: "8.12"},
}  # fmt: skip
IDLE: dict[Rule, str] = {pieces_have_one_size: "LV2"}  # known, too: heartbeats alone
