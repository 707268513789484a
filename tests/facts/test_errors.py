"""facts/errors: the tree in its docstring is the tree of its classes, and each error knows what it is about."""

import inspect
import re

import pytest

from nitrosocks_lib.facts import errors
from nitrosocks_lib.facts.errors import NitroSocksError, Violation
from nitrosocks_lib.facts.wire import Abort, Refusal

BRANCH = re.compile(r"^(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>[A-Z]\w+)(?: .*)?$")
KINDS = inspect.getmembers(errors, inspect.isclass)
CLASSES = {name: kind for name, kind in KINDS if kind.__module__ == errors.__name__}


def drawn() -> dict[str, str]:
    """Name and parent of each error in the tree of the docstring."""
    lines = (errors.__doc__ or "").split("\n\n")[1].splitlines()
    tree, path = {}, [""]
    for line in lines:
        found = BRANCH.match(line)
        assert found, line
        depth = 0 if line[0] not in "│├└ " else 1 + len(found["indent"]) // 4
        path[depth:] = [found["name"]]
        tree[found["name"]] = path[depth - 1] if depth else "Exception"
    return tree


def test_the_tree_is_drawn_as_it_is() -> None:
    assert drawn() == {name: kind.__bases__[0].__name__ for name, kind in CLASSES.items()}
    assert len(CLASSES) > 10


@pytest.mark.parametrize("reason", Refusal)
def test_a_refusal_says_why(reason: Refusal) -> None:
    refused = errors.Refused(reason, "what to do")
    assert (refused.reason, refused.hint) == (reason, "what to do")
    assert str(refused) == f"the server refuses: {errors.REFUSAL_TEXT[reason]}"
    assert set(errors.REFUSAL_TEXT) == set(Refusal)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES.values() if "__init__" not in vars(kind)])
def test_an_error_has_a_text_and_perhaps_a_hint(kind: type[NitroSocksError]) -> None:
    assert (str(kind("what")), kind("what").hint, kind("what", "do").hint) == ("what", "", "do")


def test_what_some_errors_carry() -> None:
    assert (Violation("what").reason, Violation("what", Abort.LIMIT).reason) == (Abort.VIOLATION, Abort.LIMIT)
    assert errors.DecoyAnswer(b"HTTP/1.1 404").head == b"HTTP/1.1 404"
