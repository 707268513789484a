"""Words for people that are no errors: lines on stderr, which -q leaves out, and what a command prints on stdout."""

from __future__ import annotations

import errno
import logging
import os
import resource
import sys
from contextlib import suppress
from io import UnsupportedOperation
from typing import Final

from ..facts import limits
from ..facts.errors import CannotCreate
from ..facts.levels import NOTE
from ..net.lines import BATCH, STDERR, STDOUT, await_reader

log = logging.getLogger("nitrosocks")
MORE_FILES: Final = "raise the limit: ulimit -n 4096 where the program is started, or LimitNOFILE= in its unit"
_PIECE: Final = BATCH // 4  # characters
_MORE_THREADS: Final = "raise the limit: ulimit -u where the program is started, or TasksMax= in its unit"


def note(text: str) -> None:
    """One line on stderr. Never waits."""
    log.log(NOTE, "%s", text)


def counted(count: int, what: str) -> str:
    """As in "1 stream", "2 streams"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def warn_of_few_descriptors() -> None:
    """What comes of a low limit on open files looks like many other faults: connections that are refused."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < limits.DESCRIPTORS:
        wanted = f"{limits.DESCRIPTORS} are needed at least, and one more for each stream"
        log.warning("only %d files may be open at once; %s; %s", most, wanted, MORE_FILES)


def lack(error: BaseException) -> tuple[str, str] | None:
    """What this machine lacks, and what to do, where that is why it was raised: then it is no fault of ours."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open", MORE_FILES
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "no further thread can be started", _MORE_THREADS
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "there is no memory left", "free some, or raise the limit: ulimit -v, or MemoryMax= in its unit"
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        return "the current directory is gone", "change to another one, or name whole paths"
    if getattr(error, "reason", "") == "LIBRARY_HAS_NO_CIPHERS":  # of ssl.SSLError
        return "OpenSSL has no ciphers", "see its settings: the file that OPENSSL_CONF names, or openssl.cnf"
    return None


def _is_nowhere() -> bool:
    """Whether the directory was removed from which paths would be relative."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def tell(text: str) -> None:
    """Text on stdout, at once, or nothing where its reader is gone. Raises CannotCreate where it cannot be written."""
    with suppress(BrokenPipeError):  # as in `nitrosocks --help | head -1`
        hand_over(text)


def announce(lines: list[str]) -> None:
    """As tell, for a program that goes on: where nobody reads, they wait for a reader, and it does not."""
    STDERR.flush()
    STDOUT.put("".join(f"{line}\n" for line in lines))
    if STDOUT.flush() and STDOUT.error is not None and not isinstance(STDOUT.error, BrokenPipeError):
        raise _unwritable(STDOUT.error)


def hand_over(text: str) -> None:
    """As tell, for what must arrive: raises BrokenPipeError, too."""
    STDERR.flush()  # where both go to one place, what was said before comes before
    try:
        if sys.stdout is None:  # it came closed
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        for at in range(0, len(text), _PIECE):
            with suppress(UnsupportedOperation):  # it is no descriptor
                await_reader(sys.stdout.fileno())
            sys.stdout.write(text[at : at + _PIECE])
            sys.stdout.flush()
    except OSError as error:
        discard(1)
        if isinstance(error, BrokenPipeError):
            raise
        raise _unwritable(error) from None
    except BaseException:  # a signal, while nobody reads
        discard(1)
        raise


def _unwritable(error: OSError) -> CannotCreate:
    return CannotCreate(f"cannot write to stdout: {error.strerror}", "redirect stdout to another place")


def discard(descriptor: int) -> None:
    """What a stream of Python's still holds goes nowhere, or the interpreter would complain when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
