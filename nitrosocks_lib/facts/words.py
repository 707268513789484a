"""Words of others, as our lines show them: on one line, nothing that a terminal would obey, and not too long.

A peer, a box on the way, a file or a command line may say anything. Whoever puts such words into an error, a log line
or a text for the peer passes them through here. What decides anything looks at the words as they came.
"""

from __future__ import annotations

from .limits import QUOTED, WORDS


def foreign(what: object, most: int = WORDS) -> str:
    """The text of `what` in at most `most` printable characters; what is no longer and harmless stays as it is.

    Controls, line ends, all format characters (those that turn the direction of writing are among these), lone
    surrogates and characters that do not exist become escapes. "…" is the last character of what was cut.
    """
    text = str(what)
    if len(text) <= most and text.isprintable():
        return text
    shown = "".join(map(_escaped, text[: most + 1]))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def quoted(text: str, most: int = QUOTED) -> str:
    """At most `most` characters of a text, between quotes; only an escape makes it longer."""
    return repr(text if len(text) <= most else f"{text[:most]}…")


def said(error: BaseException) -> str:
    """What an exception says, which may be words of others; its name where it says nothing."""
    return foreign(error) or type(error).__name__


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()
