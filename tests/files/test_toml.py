"""Key files are read as TOML says, and what is not flat is refused before it costs anything."""

import random
import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from keys import SERVER

from nitrosocks_lib.facts.limits import FILE
from nitrosocks_lib.files import enrol, toml

WRITTEN = enrol.make_client("alice", ["h:1", "[::1]:2"], SERVER.public, ["db.example:*", "*:443"], ["[::1]:22"])


@pytest.mark.parametrize("text", [*WRITTEN, "", "a = []\n", 'b = ""\n'])
def test_what_keygen_writes_is_read_without_tomllib(text: str) -> None:
    assert toml._plain(text) == tomllib.loads(text)


def test_sizes_of_what_keygen_writes() -> None:
    """The bound leaves room for rules."""
    assert [len(text) for text in WRITTEN] < [2_000, 4_600] and FILE == 16_384


KEYS = st.text(st.sampled_from("abc-_ .é"), max_size=4)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(KEYS, TEXTS | st.lists(TEXTS)))
def test_what_is_written_is_read(values: dict[str, object]) -> None:
    assert toml.loads(tomli_w.dumps(values)) == values


PARTS = ["a = ", "b", " = ", '"x.y"', "\n", "\n\n", '"', "'", '"""', "'''", "\\", '\\"', "[", "]", ",", "    ", "#",
         "{", ".", "1", "\r\n", "\t", "\x7f", "é", '["x"]', '[\n    "x",\n]', "true", "[t]", "[[t]]",
         "a = \"x\"\n"]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=24).map("".join))
def test_nothing_is_read_in_another_way_than_tomllib_does(text: str) -> None:
    """It may be refused: what is not flat, and what is not TOML."""
    try:
        values = toml.loads(text)
    except ValueError:
        return
    assert values == tomllib.loads(text)


FLAT = [
    'a = "x.y{}[[[["', "a = 'x.y{}[[['", 'a = """\n.{}[[[\n""""', "a = '''\n.{'''", 'a = "\\"."', 'a = "\\\\" # .{',
    "# a.b = {", 'a = [\n  "x.y", # one.\n  \'z.\', ]', "[t]\na = 1", "[[t]]",
    "a=\'\'\'x\'\'\'\'\'\nb='.'", '"a.b" = 1',
]  # fmt: skip


@pytest.mark.parametrize("text", FLAT)
def test_what_stands_in_quotes_and_comments_is_free(text: str) -> None:
    assert toml.loads(text) == tomllib.loads(text)


DEEP = {
    "a.b = 1": "'.' outside of quotes (at line 1)",
    "x = 1\n'a'.b = 1": "'.' outside of quotes (at line 2)",
    'x = """\n\n"""\n"a"."b" = 1': "'.' outside of quotes (at line 4)",
    "[a.b]": "'.' outside of quotes (at line 1)",
    "server = h.example:1": "'.' outside of quotes (at line 1)",
    "a = {}": "'{' outside of quotes (at line 1)",
    "a = [[[]]]": "nested too deep",
}


@pytest.mark.parametrize(("text", "reason"), DEEP.items(), ids=DEEP)
def test_what_is_deep_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        toml.loads(text)
    assert str(caught.value) == reason


def test_a_quote_that_is_never_closed_is_what_is_told() -> None:
    """Dots behind it are in no key."""
    with pytest.raises(ValueError, match=r"Illegal character|Unterminated string"):
        toml.loads('server = "h.example:1\n')


HOSTILE = [
    "a." * 8_000 + "a=1", '"a".' * 4_000 + "a=1", "[" + "a." * 8_000 + "a]", "a=" + "[" * 16_000, "a=" + "{a=" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_tomllib_never_sees_what_costs_it_seconds(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(tomllib, "loads", seen.append)
    for behind in ("", "\n" + "".join(random.Random(1).choices("ab=.\"'\n", k=300))):
        with pytest.raises(ValueError):
            toml.loads(text + behind)
    assert not seen


@pytest.mark.parametrize("text", [WRITTEN[0], "a = 'b'  # not as keygen writes it\n"])
def test_a_byte_order_mark_is_no_part_of_it(text: str) -> None:
    assert toml.loads("\ufeff" + text) == tomllib.loads(text)
    with pytest.raises(ValueError):
        toml.loads(text + "\ufeff")
