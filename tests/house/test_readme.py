"""README tells of commands that exist and of every exit code; each check fails on a bad sample."""

import re
import shlex
from pathlib import Path

import pytest
import usage_texts
from docopt import DocoptExit, docopt

from nitrosocks_lib.cli.usage import USAGE

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAN = (ROOT / usage_texts.DOCUMENTS["man"]).read_text("utf-8")
EXAMPLES = usage_texts.plain(usage_texts.man_section(MAN, "EXAMPLES"))


def commands(text: str) -> list[list[str]]:
    """The arguments of each line that runs nitrosocks, of a ProxyCommand too."""
    found = re.findall(r"^(?: *ProxyCommand |.*&& \.venv/bin/)?nitrosocks (.*)$", text, re.MULTILINE)
    found += re.findall(r"ProxyCommand='nitrosocks ([^']*)'", text)
    return [shlex.split(line) for line in found if ": " not in line]  # "nitrosocks: " begins what it says


def wrong(lines: list[list[str]]) -> list[str]:
    faults = []
    for line in lines:
        try:
            docopt(USAGE, line)
        except DocoptExit:
            faults.append(shlex.join(line))
    return faults


def codes(text: str) -> set[str]:
    table = text.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE))


@pytest.mark.parametrize("bad", ["keygen bob", "serve --quiet", "forward -i x", "connect -L 1:a:2 host:1"])
def test_a_command_that_does_not_exist_is_found(bad: str) -> None:
    for line in (f"nitrosocks {bad}\n", f"    ProxyCommand nitrosocks {bad}\n", f"ProxyCommand='nitrosocks {bad}'\n"):
        assert wrong(commands(line)) == [bad]


def test_the_commands_exist() -> None:
    assert {line[0] for line in commands(README)} == {"keygen", "serve", "forward", "connect", "doctor", "demo"}
    assert {line[0] for line in commands(EXAMPLES)} == {"keygen", "serve", "forward", "connect"}
    assert wrong(commands(README) + commands(EXAMPLES)) == []


def test_the_exit_codes_are_those_of_the_usage_text() -> None:
    assert codes(README.replace("| 77 |", "| 79 |")) != usage_texts.usage_codes(USAGE)
    assert codes(README) == usage_texts.usage_codes(USAGE)
