"""What `demo` finds: what the client got, what a recording holds, and which of it is not as promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Final

SIZE: Final = 8 << 20  # bytes of the document
BOX: Final = "Demo Inspection Box"
NOTICED: Final = f'TLS is intercepted by "{BOX}"; your data stays end-to-end encrypted'
PASSWORD: Final = "correct-horse-battery-staple-4711"
SENTENCES: Final = (
    "The meeting with the auditors is moved to Thursday at noon.",
    "Account 4471-0093 holds 18250 crowns; do not name it on the phone.",
    "The code of the side door is 7351 until the end of the month.",
)
_RANDOM: Final = 7.99  # bits per byte: 64 KiB of random bytes have more, text has less than 6


@dataclass(frozen=True, slots=True)
class Got:
    """What the client has; `cut` is what the box had passed down when it cut, `sessions` how many were made in all."""

    size: int
    agrees: bool
    seconds: float
    failure: str = ""
    cut: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in a recording; `entropy` in bits per byte, `found` how often each of the known plaintexts is there."""

    connections: int
    up: int
    down: int
    entropy: float
    found: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    name: str
    value: str = ""
    good: bool = True

    def __str__(self) -> str:
        return f"{self.name:<46}{self.value}{'' if self.good else '  FAILED'}".rstrip()


def look(recording: Path) -> Seen:
    """Counts what an Interceptor has recorded in this folder."""
    ups, downs = ({path.stem: path.read_bytes() for path in recording.glob(f"*{way}")} for way in (".up", ".down"))
    pieces = [*ups.values(), *downs.values()]
    found = (sum(piece.count(text.encode()) for piece in pieces) for text in (PASSWORD, *SENTENCES))
    up, down = (sum(map(len, way.values())) for way in (ups, downs))
    return Seen(len(ups.keys() | downs.keys()), up, down, entropy(pieces), tuple(found))


def entropy(pieces: Iterable[bytes]) -> float:
    """Shannon's, of single bytes, in bits per byte."""
    counts: Counter[int] = Counter()
    for piece in pieces:
        counts.update(piece)
    total = counts.total()
    return sum(n / total * log2(total / n) for n in counts.values())


def table(got: Got, noticed: bool, seen: Seen, control: Got, proof: Seen) -> list[Row]:
    """The rows; `good` is False where something is not as promised."""
    resumed = got.cut > 0 and got.sessions == 1 and seen.connections > 1 and got.agrees
    cut = f"after {got.cut:,} bytes; " if got.cut else "not cut; "
    cut += f"1 session on {seen.connections} connections" if resumed else f"not resumed, {got.sessions} sessions"
    found, known = sum(proof.found), all(proof.found)
    return [
        Row("What the client got through NitroSocks"),
        *_received(got),
        Row("  connection cut and resumed", cut, resumed),
        Row("  interception noticed", NOTICED if noticed else "no", noticed),
        Row(f"What the {BOX} saw of it"),
        Row("  connections", str(seen.connections), seen.connections > 1),
        _bytes(seen),
        Row("  entropy, bits per byte", f"{seen.entropy:.5f}", seen.entropy > _RANDOM),
        Row("  known plaintexts found", f"{sum(seen.found):,}", not any(seen.found)),
        Row("Control: the same download through the same box"),
        *_received(control),
        _bytes(proof),
        Row("  entropy, bits per byte", f"{proof.entropy:.5f}", 0 < proof.entropy < _RANDOM),
        Row("  known plaintexts found without NitroSocks", f"{found:,}" + " > 0" * known, known),
    ]


def _received(got: Got) -> list[Row]:
    why = f" ({got.failure})" if got.failure else ""
    return [
        Row("  bytes received", f"{got.size:,} of {SIZE:,}{why}", got.size == SIZE and not why),
        Row("  SHA-256 agrees", "yes" if got.agrees else "no", got.agrees),
        Row("  seconds", f"{got.seconds:.2f}"),
    ]


def _bytes(seen: Seen) -> Row:
    return Row("  bytes up / down", f"{seen.up:,} / {seen.down:,}", seen.up > 0 and seen.down >= SIZE)
