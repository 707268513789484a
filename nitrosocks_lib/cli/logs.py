"""Where log lines go, which of them, and in what form: text, or one JSON object a line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from ..facts.errors import UsageError
from ..facts.levels import FRAMES, NOTE
from ..facts.limits import LINE
from ..facts.words import foreign
from ..net.lines import STDERR, LogLines

_LEVELS = (NOTE, logging.INFO, logging.DEBUG, FRAMES)  # without -v, with -v, with -vv, with -vvv
_LINE, _LONG = "nitrosocks: %(message)s", "%(asctime)s %(threadName)s %(name)s: %(message)s"
_JSON: Final = "json"
_FORMS: Final = ("text", _JSON)


def set_up(verbose: int, least: int, form: str | None = None) -> None:
    """Log lines go to stderr, one each; secrets never do. `verbose` is how often -v was given, `least` the level below
    which nothing is said whatever it is, `form` what --log-format says. Raises UsageError for another form."""
    if form not in (None, *_FORMS):
        raise UsageError(f"--log-format {foreign(form)}: no such form", f"it is one of {', '.join(_FORMS)}")
    level = max(least, _LEVELS[min(verbose, len(_LEVELS) - 1)])
    logging.addLevelName(NOTE, "NOTE")
    logging.addLevelName(FRAMES, "FRAMES")
    handler = LogLines(STDERR, _LINE if verbose < 2 else _LONG)
    if form == _JSON:
        handler.setFormatter(formatter := _JsonLine())
        STDERR.form = formatter.line
    logging.basicConfig(level=level, handlers=[handler])


class _JsonLine(logging.Formatter):
    """docs/logging.md says what stands in it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values: dict[str, Any] = {"time": at, "level": record.levelname.lower()}
        values |= {"event": getattr(record, "event", "message"), "message": foreign(record.getMessage(), LINE)}
        values |= getattr(record, "fields", {})
        if record.exc_info:
            values["traceback"] = [foreign(line, LINE) for line in self.formatException(record.exc_info).split("\n")]
        import json  # few want it

        return json.dumps(values)  # in ASCII, whatever stderr is encoded in

    def line(self, level: int, text: str) -> str:
        """As in Lines.form."""
        return self.format(logging.LogRecord("nitrosocks", level, "", 0, text, None, None))
