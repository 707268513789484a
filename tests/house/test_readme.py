"""README and the pages of docs/: links, commands, exit codes; each check fails on a bad sample."""

import re
import shlex
from pathlib import Path

import pytest
import usage_texts
from docopt import DocoptExit, docopt

from nitrosocks_lib.cli.usage import USAGE

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {f"docs/{path.name}": path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
MAN = (ROOT / usage_texts.DOCUMENTS["man"]).read_text("utf-8")
EXAMPLES = usage_texts.plain(usage_texts.man_section(MAN, "EXAMPLES"))
README_LINES = 200
CODES = PAGES["docs/reference.md"]


def commands(text: str) -> list[list[str]]:
    """The arguments of each line that runs nitrosocks, of a ProxyCommand or a unit too."""
    text = text.replace("\\\n", "")
    before = r"(?: *ProxyCommand |.*&& \.venv/bin/|\$ |ExecStart=/usr/local/bin/)?"
    found = re.findall(rf"^{before}nitrosocks (.*)$", text, re.MULTILINE)
    found += re.findall(r"ProxyCommand='nitrosocks ([^']*)'", text)
    lines = [line.partition(" > ")[0].removesuffix(" &") for line in found if ": " not in line]  # "nitrosocks: " says
    return [shlex.split(line) for line in lines]


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


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page: str, text: str) -> list[str]:
    """Links to files that are not there, or to headings that a page has not."""
    faults = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        place = (ROOT / page).parent / file if file else ROOT / page
        if "://" not in link and not (place.exists() and (not anchor or anchor in anchors(place.read_text("utf-8")))):
            faults.append(f"{page}: {link}")
    return faults


def unexplained(text: str) -> bool:
    """Whether a page does not begin with its title and a paragraph that says what it is for."""
    return not re.match(r"# \S.*\n\n[A-Z][^|#`]", text)


@pytest.mark.parametrize("bad", ["keygen bob", "serve --quiet", "forward -i x", "connect -L 1:a:2 host:1"])
def test_a_command_that_does_not_exist_is_found(bad: str) -> None:
    for line in (f"nitrosocks {bad}\n", f"    ProxyCommand nitrosocks {bad}\n", f"ProxyCommand='nitrosocks {bad}'\n"):
        assert wrong(commands(line)) == [bad]
    assert wrong(commands(f"nitrosocks {bad} \\\n  --nonsense > file\n")) == [f"{bad} --nonsense"]


def test_the_commands_exist() -> None:
    named = {line[0] for page in (README, *PAGES.values()) for line in commands(page)}
    assert named >= set(re.findall(r"^  nitrosocks (\w+)", USAGE, re.MULTILINE))
    assert {line[0] for line in commands(EXAMPLES)} == {"keygen", "serve", "forward", "connect"}
    pages = {page: faults for page, text in PAGES.items() if (faults := wrong(commands(text)))}
    assert (wrong(commands(README) + commands(EXAMPLES)), pages) == ([], {})


def test_the_exit_codes_are_those_of_the_usage_text() -> None:
    assert codes(CODES.replace("| 77 |", "| 79 |")) != usage_texts.usage_codes(USAGE)
    assert codes(CODES) == usage_texts.usage_codes(USAGE)


def test_a_dead_link_is_found() -> None:
    text = (
        "[a](docs/none.md) [b](docs/files.md#none) [c](docs/files.md#which-profile-is-used) [d](https://vpn.example/)"
    )
    assert dead_links("README.md", text) == ["README.md: docs/none.md", "README.md: docs/files.md#none"]


def test_readme_and_pages_lead_somewhere() -> None:
    assert [fault for page, text in ({"README.md": README} | PAGES).items() for fault in dead_links(page, text)] == []


def test_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) < README_LINES
    assert [page for page in PAGES if f"]({page})" not in README] == []


@pytest.mark.parametrize("text", ["Files\n", "# Files\n\n| a |\n", "# Files\n\n## More\n", "# Files\nWhich files.\n"])
def test_a_page_that_does_not_say_what_it_is_for_is_found(text: str) -> None:
    assert unexplained(text) and not unexplained("# Files\n\nWhich files there are.\n")


def test_each_page_says_what_it_is_for() -> None:
    assert [page for page, text in PAGES.items() if unexplained(text)] == []
