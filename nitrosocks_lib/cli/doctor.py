"""`doctor`: why a client gets through or not, one line for each finding, or all of them as one object of JSON."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from .. import __version__
from ..client import findings, notices
from ..client.asking import Asked
from ..client.carriers import Carriers
from ..client.dialler import Dialler
from ..client.doctor import Doctor, Examining, Make
from ..client.findings import Finding, State, Verdict
from ..client.openers import Web
from ..facts.errors import Intercepted, NitroSocksError, NotAuthorised, UsageError
from ..facts.wire import Kind
from ..files.profiles import Profile
from ..net.connect import Route, authorities
from ..net.process import harden, settle
from ..net.signals import Stop
from ..protocol.frames import Target
from . import options as given
from . import pac, specs
from .diagnosis import as_json, words
from .opening import load_profile, way, web_of
from .options import Options
from .output import hand_over, tell

ExitCode = Callable[[NitroSocksError], int]
FORMAT: Final = 1  # of --json; a new field does not change it, a changed one does
INTERRUPTED: Final = 130  # as after SIGINT
_MARKS: Final = {State.GOOD: "✓", State.BAD: "✗", State.NOTED: "·"}
_PLAIN: Final = {State.GOOD: "+", State.BAD: "x", State.NOTED: "-"}
_WIDTH: Final = 13


def doctor(options: Options, exit_code: ExitCode) -> int:
    """Looks at everything, and says at once what it finds. The exit code is the one that `forward` would have.

    A signal ends it with what was found so far.
    """
    harden()
    asked, offered = _asked(options), given.carriers(options["--carrier"])
    stop, profile = Stop(hangup_ends=True), load_profile(options)
    route, readable = way(options)
    script = pac.find(os.environ)
    if not options["-v"]:  # it would say on stderr what a line says anyway
        logging.getLogger(notices.__name__).setLevel(logging.ERROR)
    settle(readable | authorities())
    make = _maker(profile, route, web_of(options), forced=len(offered) == 1)
    made = Doctor(profile.name, profile.servers, route, offered, make, asked)
    early = [] if script is None else [findings.Pac(url=script.url, named_by=script.named_by, state=State.NOTED)]
    show = (lambda finding: None) if options["--json"] else Lines(is_utf8(os.environ), len(profile.servers) > 1)
    found, complete = _run(early, made, stop, show)
    code = judged(found, exit_code) if complete else INTERRUPTED
    if options["--json"]:
        print_json(found, complete, code)
    return code


def print_json(found: Iterable[Finding], complete: bool, code: int) -> None:
    """The one object of --json, on stdout."""
    whole = {"format": FORMAT, "program": __version__, "complete": complete, "exit": code}
    hand_over(json.dumps(whole | {"findings": [as_json(each) for each in found]}, indent=1) + "\n")


def _asked(options: Options) -> Asked:
    idle, age = (given.lifetime(name, options[name]) for name in ("--idle", "--age"))
    echo = None if options["--echo"] is None else _target("--echo", options["--echo"])
    targets = tuple(_target("--open", text) for text in options["--open"])
    return Asked(targets, idle, age, options["--speed"] or echo is not None, echo)


def _target(option: str, text: str) -> Target:
    try:
        target = specs.destination(text, None)
    except UsageError as error:
        raise UsageError(f"{option} {error}", error.hint) from None
    if option == "--echo" and target.kind == Kind.UDP:
        raise UsageError(f"--echo {target}: datagrams may be lost, so they are not measured")
    return target


def _maker(profile: Profile, route: Route, web: Web, forced: bool) -> Make:
    """Diallers that tell of interception and go on: whether it is allowed is judged by doctor itself."""
    lenient = replace(route, direct=False)
    return lambda server, carrier: Dialler(
        profile.credentials, (server,), lenient, carriers=Carriers((carrier,), forced=forced), web=web
    )


def _run(
    early: Iterable[Finding], made: Doctor, stop: Stop, show: Callable[[Finding], None]
) -> tuple[list[Finding], bool]:
    """Examines in a thread, so that a signal is not kept waiting; what was found, and whether that is all."""
    found, shown, ends = Examining(early, made, stop.tell), 0, False
    while not ends:
        ends = stop.wait() or found.over
        for finding in (new := found.take(shown)):
            show(finding)
        shown += len(new)
    return found.take()[:shown], not stop.came


class Lines:
    """Prints a line for each finding, at once."""

    def __init__(self, utf8: bool, several: bool) -> None:
        """`several`: each server has a heading."""
        self._utf8, self._several, self._server = utf8, several, ""
        self._before = ("", "")  # the remedy told last, and its label
        self._failures: dict[str, str] = {}  # the errors told, with the label of each

    def __call__(self, finding: Finding) -> None:
        """Prints it, without the remedy where that was told last, of the same."""
        if self._several and finding.server != self._server:
            self._server = finding.server
            self._print(f"{finding.server}:")
        label, seen, remedy = words(finding)
        if finding.error is not None:
            told = self._failures.setdefault(str(finding.error), label)
            if isinstance(finding, Verdict) and told != label:
                seen = f"{finding.server} cannot be used: see {told} above"
        new = (label, remedy) != self._before
        mark = (_MARKS if self._utf8 else _PLAIN)[finding.state]
        self._print(f"{mark} {label:{_WIDTH}}{seen}" + f"; {remedy}" * (bool(remedy) and new))
        self._before = (label, remedy) if remedy else self._before

    def _print(self, line: str) -> None:
        tell((line if self._utf8 else line.encode("ascii", "backslashreplace").decode()) + "\n")


def is_utf8(environ: Mapping[str, str]) -> bool:
    """Whether the locale takes more than ASCII."""
    name = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environ.get(name))), "")
    return "utf8" in name.lower().replace("-", "")


def judged(found: Iterable[Finding], exit_code: ExitCode) -> int:
    """What `forward` would exit with; where it would run, 0, or the code of the first thing asked for that failed."""
    verdicts = [each for each in found if isinstance(each, Verdict)]
    codes: list[int] = []
    for verdict in verdicts:
        if verdict.error is None:
            break
        codes.append(exit_code(verdict.error))
        if isinstance(verdict.error, (NotAuthorised, Intercepted)):  # no further server is asked then
            return codes[-1]
    else:
        return max(codes, default=0)
    asked = (findings.Destination, findings.Idle, findings.Age, findings.Speed)
    failed = (each.error for each in found if isinstance(each, asked) and each.error is not None)
    return next(map(exit_code, failed), 0)
