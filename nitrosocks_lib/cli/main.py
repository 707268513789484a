"""The command line: docopt usage, exit codes, messages to people. The only place that maps errors to codes."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

from docopt import DocoptExit, docopt

from .. import __version__
from ..facts import errors
from ..facts.errors import NitroSocksError
from ..facts.wire import Refusal
from ..net.lines import STDERR
from . import logs, usage_errors
from .output import discard, lack, tell
from .packages import install
from .usage import USAGE, usage_of

if TYPE_CHECKING:
    from .options import Options

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


# The module of each command, which has a function of the same name. It is imported when it is chosen: no command needs
# all of them, and most of the time until the first byte goes into imports.
_COMMANDS: Final[dict[str, Callable[[], ModuleType]]] = {
    "keygen": lambda: import_module("nitrosocks_lib.cli.keygen"),
    "clients": lambda: import_module("nitrosocks_lib.cli.clients"),
    "permit": lambda: import_module("nitrosocks_lib.cli.permit"),
    "forbid": lambda: import_module("nitrosocks_lib.cli.forbid"),
    "revoke": lambda: import_module("nitrosocks_lib.cli.revoke"),
    "rename": lambda: import_module("nitrosocks_lib.cli.rename"),
    "check": lambda: import_module("nitrosocks_lib.cli.check"),
    "serve": lambda: import_module("nitrosocks_lib.cli.serve"),
    "forward": lambda: import_module("nitrosocks_lib.cli.forward"),
    "connect": lambda: import_module("nitrosocks_lib.cli.connect"),
    "doctor": lambda: import_module("nitrosocks_lib.cli.doctor"),
    "demo": lambda: import_module("nitrosocks_lib.cli.demo"),
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
    code = _command(command, options)
    return EXIT_CONNECT if command == "connect" and code not in (0, EXIT_USAGE) else code


def _load(command: str) -> Callable[[Options], int]:
    chosen: Callable[..., int] = getattr(_COMMANDS[command](), command)
    return partial(chosen, exit_code=exit_code) if command == "doctor" else chosen


def _command(name: str, options: Options) -> int:
    if not sys.warnoptions:  # those of libraries are for developers: a strange certificate makes some, at every user's
        import warnings

        warnings.simplefilter("ignore")
    command = _load(name)
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
        if lacking := lack(error):
            _say(*lacking)
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
    """Without `forward --warm N`, which scripts may still have: sessions are made ahead of need anyway. Without a `--`,
    too, where nothing behind it would be taken for an option: for docopt it is a word like others."""
    if "--" in argv and not any(word.startswith("-") for word in argv[argv.index("--") + 1 :]):
        argv = [word for word in argv if word != "--"]
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
