"""docs/messages.md shows what the program answers to mistakes, as it answers today."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mistakes import PAGE, SECTIONS, TITLE, World, section, sections
from program import Site

SHOWN = list(sections(PAGE.read_text("utf-8")))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Site(tmp_path_factory.mktemp("mistakes")) as site:
        yield World(site)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_answers_are_those_of_the_page(name: str, world: World) -> None:
    (shown,) = [each for each in SHOWN if each.startswith(f"## {name}\n")]
    assert section(world, name) == shown, "run: python tests/long/messages.py --write"


def test_the_page_has_all_sections_in_order() -> None:
    page = PAGE.read_text("utf-8")
    assert page == "\n".join([TITLE, *SHOWN])
    assert [each.partition("\n")[0] for each in SHOWN] == [f"## {name}" for name in SECTIONS]
    assert page.count("\n% nitrosocks") + page.count("\n% HTTPS_PROXY") >= 30
