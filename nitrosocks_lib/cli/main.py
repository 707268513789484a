"""The command line: docopt usage, exit codes, messages to people. The only place that maps errors to codes."""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from docopt import DocoptExit, docopt

from .. import __version__
from ..facts import errors
from ..facts.errors import NitroSocksError
from ..facts.wire import Refusal
from ..net.lines import STDERR
from . import logs, usage_errors
from .output import MORE_FILES, discard, tell
from .packages import install
from .usage import USAGE, usage_of

if TYPE_CHECKING:
    from .options import Options

    Command = Callable[[Options], int]

EXIT_USAGE = 64
EXIT_FAULT = 70
EXIT_CANNOT_CREATE = 73
EXIT_CONNECT = 255  # what ssh exits with
_CODES: tuple[tuple[type[NitroSocksError], int], ...] = (
    (errors.UsageError, EXIT_USAGE),
    (errors.KeyFileError, 65),
    (errors.NetworkError, 69),
    (errors.SessionLost, 69),
    (errors.CannotCreate, EXIT_CANNOT_CREATE),
    (errors.ProtocolError, 76),
    (errors.NotAuthorised, 77),
    (errors.ConfigurationError, 78),
)
log = logging.getLogger("nitrosocks")


# Each command is imported when it is chosen: none needs all, and most of the time until the first byte goes into this.


def _keygen() -> Command:
    from .keygen import keygen

    return keygen


def _clients() -> Command:
    from .clients import clients

    return clients


def _permit() -> Command:
    from .permit import permit

    return permit


def _forbid() -> Command:
    from .forbid import forbid

    return forbid


def _revoke() -> Command:
    from .revoke import revoke

    return revoke


def _rename() -> Command:
    from .rename import rename

    return rename


def _check() -> Command:
    from .check import check

    return check


def _serve() -> Command:
    from .serve import serve

    return serve


def _forward() -> Command:
    from .forward import forward

    return forward


def _connect() -> Command:
    from .connect import connect

    return connect


def _doctor() -> Command:
    from .doctor import doctor

    return lambda options: doctor(options, exit_code)


def _demo() -> Command:
    from .demo import demo

    return demo


_COMMANDS: dict[str, Callable[[], Command]] = {
    "keygen": _keygen,
    "clients": _clients,
    "permit": _permit,
    "forbid": _forbid,
    "revoke": _revoke,
    "rename": _rename,
    "check": _check,
    "serve": _serve,
    "forward": _forward,
    "connect": _connect,
    "doctor": _doctor,
    "demo": _demo,
}


def main(argv: list[str]) -> int:
    """Runs one command; returns its exit code. Errors end as one line on stderr, if that can be written."""
    _open_standard_descriptors()
    try:
        code = _main(argv)
    finally:
        STDERR.flush()
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:  # it came closed
                stream.flush()
        except OSError:  # told already, where that is possible; the interpreter would complain when it flushes again
            discard(descriptor)
    return code


def _main(argv: list[str]) -> int:
    if usage_errors.wants_help(argv):
        return _run(lambda: tell(USAGE))
    typed = _accepted(argv)
    try:
        words = [_named(word) if word in ("-4", "-6") else word for word in typed]
        options: Options = docopt(_named(usage_of(*typed[:1])), words, default_help=False)
    except DocoptExit:
        _say(*usage_errors.explain(typed))
        return EXIT_USAGE
    if options.get("--help"):  # shortened
        return _run(lambda: tell(USAGE))
    if options.get("--version"):
        return _run(lambda: tell(f"nitrosocks {__version__}\n"))
    for short in ("-4", "-6"):
        options[short] = options.pop(_named(short), False)
    command = next(name for name in _COMMANDS if options.get(name))
    if code := _run(lambda: logs.set_up(options["-v"], _least(command, options), options.get("--log-format"))):
        return code
    code = _command(_COMMANDS[command], options)
    return EXIT_CONNECT if command == "connect" and code not in (0, EXIT_USAGE) else code


def _command(load: Callable[[], Command], options: Options) -> int:
    if not sys.warnoptions:  # those of libraries are for developers: a strange certificate makes some, at every user's
        import warnings

        warnings.simplefilter("ignore")
    command = load()
    from ..crypto.identity import missing_algorithm
    from .options import given

    if missing := missing_algorithm():
        hint = f"its own wheels have it: {install('cryptography>=50', upgrade=True)}"
        return _say(f"this build of the Python package 'cryptography' lacks {missing}", hint)
    gc.freeze()
    gc.enable()
    _raise_descriptor_limit()
    threading.excepthook = _thread_failed
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # until here nothing had to be put in order
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return _run(lambda: command(given(options)))


def _run(work: Callable[[], int | None]) -> int:
    try:
        return work() or 0
    except NitroSocksError as error:
        _say(str(error), error.hint)
        return exit_code(error)
    except KeyboardInterrupt as error:
        return 128 + getattr(error, "number", signal.SIGINT)
    except BrokenPipeError:
        return EXIT_FAULT
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            _say("too many files are open", MORE_FILES)
            return EXIT_CANNOT_CREATE
        log.exception("internal error; please report it")
        return EXIT_FAULT


def _least(command: str, options: Options) -> int:
    """The level below which it says nothing, whatever -v says."""
    if command == "demo":  # its server's audit trail is nothing to show, unless one wants to see it
        return logging.NOTSET if options["-v"] else logging.WARNING
    if not options["-q"]:
        return logging.NOTSET
    return logging.WARNING if command == "serve" else logging.ERROR


def exit_code(error: NitroSocksError) -> int:
    """The exit code of an error (README, exit codes)."""
    if isinstance(error, errors.Refused):
        return 76 if error.reason is Refusal.NO_COMMON else 69
    return next((code for kind, code in _CODES if isinstance(error, kind)), EXIT_FAULT)


def _accepted(argv: list[str]) -> list[str]:
    """Without `forward --warm N`, which scripts may still have: sessions are made ahead of need anyway."""
    if argv[:1] == ["forward"] and usage_errors.WARM in argv[:-1]:
        at = argv.index(usage_errors.WARM)
        if argv[at + 1].isdigit():
            return argv[:at] + argv[at + 2 :]
    return argv


def _named(text: str) -> str:
    """docopt takes -4 and -6 for numbers; under long names it does not."""
    return text.replace("-4", "--ipv4").replace("-6", "--ipv6")


def _say(text: str, hint: str = "") -> int:
    """What went wrong, on one line."""
    STDERR.put(STDERR.form(logging.ERROR, f"{text}; {hint}" if hint else text) + "\n")
    return EXIT_FAULT


def _open_standard_descriptors() -> None:
    """A descriptor 0 to 2 that came closed would become one of our sockets, and be written to.

    What goes to a stdout that came closed must not seem to be written.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor == 1 else os.O_RDWR)  # takes the lowest number that is free


def _raise_descriptor_limit() -> None:
    """Each stream needs a descriptor, each session some, and soft limits of 1024 are common."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        log.debug("the descriptor limit stays as it is")


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_type is not SystemExit:
        name = failure.thread.name if failure.thread else os.strerror(0)
        log.error("a thread failed (%s)", name, exc_info=failure.exc_value)
