"""Key files as operators have them: a value changes, and nothing else does."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.files import editing
from nitrosocks_lib.files.editing import changed, line_of

FILE = """\
# ours
permit = [  # for the web
    "a:1",
    # until May
    'b:2' # last
]
name = "alice"  # she
"""


def test_an_item_is_added_and_comments_stay() -> None:
    assert changed(FILE, "permit", ["a:1", "b:2", "c:3"]) == FILE.replace(
        "    'b:2' # last\n", '    "b:2", # last\n    "c:3",\n'
    )


def test_an_item_is_removed_with_its_line() -> None:
    assert changed(FILE, "permit", ["b:2"]) == FILE.replace('    "a:1",\n', "").replace("'b:2' #", '"b:2", #')
    assert changed(FILE, "permit", ["a:1"]) == FILE.replace("    'b:2' # last\n", "")


def test_a_text_is_changed() -> None:
    assert changed(FILE, "name", "bob") == FILE.replace('"alice"', '"bob"')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("permit = []\n", 'permit = [\n    "a:1",\n]\n'),
        ('permit = ["b:2", "c:3"] # x\n', 'permit = [\n    "a:1",\n] # x\n'),
        ('permit = [\n]\nname = "n"\n', 'permit = [\n    "a:1",\n]\nname = "n"\n'),
        ('\ufeff\nname = "n"\n', '\ufeff\npermit = [\n    "a:1",\n]\nname = "n"\n'),
        ('# c\nname = "n"', 'permit = [\n    "a:1",\n]\n# c\nname = "n"'),
        ('permit = [\r\n    "a:1",\r\n    "b:2",\r\n]\r\n', 'permit = [\r\n    "a:1",\r\n]\r\n'),
        ('"permit" = ["b:2"]\nname = "n"\n', 'permit = [\n    "a:1",\n]\nname = "n"\n'),
        ('x = """\npermit = [\n"""\npermit = ["b:2"]\n', 'x = """\npermit = [\n"""\npermit = [\n    "a:1",\n]\n'),
        ("permit = [\n    'a:1', 'b:2',\n    # gone\n]\n", 'permit = [\n    "a:1",\n]\n'),
    ],
)
def test_whatever_the_file_looks_like(before: str, after: str) -> None:
    assert changed(before, "permit", ["a:1"]) == after


def test_the_last_item_leaves_an_empty_list() -> None:
    assert changed('permit = [\n    "a:1",\n]\n', "permit", []) == "permit = []\n"
    assert changed(FILE, "permit", []) == FILE.replace('    "a:1",\n', "").replace("    'b:2' # last\n", "")


ITEMS = st.sampled_from(["a:1", "b:2", "*:3", "[::1]:4", "/p'x", '/q"x', "/é"])
PARTS = st.sampled_from(["\n", "# c\n", "  ", "\r\n", "permit = [", "]", "name = 'n'\n", ",", "'a:1'", '"b:2"', "'''"])


@given(st.lists(PARTS | ITEMS.map(editing._quoted), max_size=16).map("".join), st.lists(ITEMS, unique=True))
def test_what_is_read_afterwards(before: str, values: list[str]) -> None:
    try:
        old = editing.toml.loads(before)
    except ValueError:
        return
    after = tomllib.loads(changed(before, "permit", values).removeprefix("\ufeff"))
    assert sorted(after.pop("permit")) == sorted(values)
    old.pop("permit", None)
    assert after == old


def test_lines() -> None:
    assert [line_of(FILE, "permit"), line_of(FILE, "permit", "a:1"), line_of(FILE, "permit", "b:2")] == [2, 3, 5]
    assert line_of(FILE, "name") == 7 and line_of(FILE, "token") == 0
    assert line_of(FILE, "permit", "none") == 2
    assert line_of('x = """\nname = 1\n"""\r\nname = 3', "name") == 4
    assert line_of("\ufeffname = 3", "name") == 1
