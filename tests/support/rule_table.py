"""The table tests/vectors/rules.txt: targets against lists of rules, and the verdict on each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nitrosocks_lib.facts.address import halves
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target

TABLE = Path(__file__).parents[1] / "vectors" / "rules.txt"
OWN = {"192.0.2.7", "198.51.100.7", "2001:db8:7::7", "2002:cb00:7101::5"}  # of the server's machine
GROUPS = {"web": ["!intranet.example:80", "*:80"], "ssh": ["!10.0.0.5:22", "10.0.0.0/8:22"]}


@dataclass(frozen=True, slots=True)
class Row:
    """One target. `verdicts` has an address, whether it is permitted, and the rule that decides, with its group."""

    rules: tuple[str, ...]
    target: Target
    verdicts: tuple[tuple[str, bool, str], ...]
    asked: bool  # of the program, too

    def __str__(self) -> str:
        return f"{self.target} by {' '.join(self.rules)}"


def rows() -> Iterator[Row]:
    """All of the table."""
    rules: tuple[str, ...] = ()
    for line in TABLE.read_text(encoding="utf-8").replace(r"\0", "\0").split("\n"):
        mark, text = line[:1], line[1:].strip()
        if mark == "p":
            rules = tuple(line.split()[1:])
        elif text and mark != "#":
            target, _, cells = text.partition(" ")
            yield Row(rules, _target(target), tuple(map(_verdict, cells.split(";"))), mark == ">")


def _target(text: str) -> Target:
    host, port, _ = halves(text.removeprefix("udp:"))
    return Target(Kind.UDP if text.startswith("udp:") else Kind.TCP, host, int(port))


def _verdict(cell: str) -> tuple[str, bool, str]:
    address, _, rest = cell.strip().partition(" ")
    sign, _, rule = rest.partition(" ")
    return address, sign == "+", rule
