"""What is wrong with a command line that docopt rejects, and what to write instead: docopt itself says neither."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from ..facts.words import quoted
from .usage import USAGE

_OPTION: Final = re.compile(r"^  (-{1,2}[\w-]+)(?: (--[\w-]+))?(?: ([A-Z][A-Z:]*))?  ", re.MULTILINE)
_VALUES: Final = {name: value for *names, value in _OPTION.findall(USAGE) for name in names if name}  # of each option
_COMMANDS: Final = tuple(dict.fromkeys(re.findall(r"^  nitrosocks ([a-z]+)", USAGE, re.MULTILINE)))
_CLIENTS: Final = ("forward", "connect", "doctor")  # whose options people may take for those of ssh
_ARGUMENTS: Final = {"keygen": 1, "connect": 2, "permit": 999, "forbid": 999, "revoke": 1, "rename": 2}  # words behind
_SEE_HELP: Final = "see: nitrosocks --help"
_PROXY: Final = "-o ProxyCommand='nitrosocks connect %h %p'"
_BIND_ALL: Final = "to let other machines connect, bind all interfaces: -L '*:8080:host:80'"
_ALIVE: Final = "leave it out: a connection that is dead is noticed, and replaced"
_OF_SSH: Final = {  # what ssh has and this program has not, and how to get it
    "-A": f"to forward an agent, run: ssh -A {_PROXY} host",
    "-C": f"to compress, run: ssh -C {_PROXY} host",
    "-F": "what a client needs stands in its profile: -i PROFILE",
    "-g": _BIND_ALL,
    "-J": f"to go on through the server, run: ssh {_PROXY} host",
    "-l": f"users are for ssh: ssh -l user {_PROXY} host",
    "-o": f"options of ssh are for ssh: ssh -o Option=value {_PROXY} host",
    "-p": "write the port behind the host, as in host:22",
    "-t": f"for a terminal, run: ssh -t {_PROXY} host",
    "-w": "it carries connections only, no packets",
    "-W": "write: nitrosocks connect HOST:PORT",
    "-X": f"for X11, run: ssh -X {_PROXY} host",
    "-Y": f"for X11, run: ssh -Y {_PROXY} host",
}
_SSH_OPTIONS: Final = {  # what `ssh -o` has, in lower case, and how `forward` does the same
    "dynamicforward": "write -D [bind:]port",
    "exitonforwardfailure": "leave it out: it ends wherever it cannot listen",
    "gatewayports": _BIND_ALL,
    "localforward": "write -L [bind:]port:host:hostport",
    "remoteforward": "write -R [bind:]port:host:hostport",
    "serveralivecountmax": _ALIVE,
    "serveraliveinterval": _ALIVE,
    "streamlocalbindmask": "write --socket-mode, as in --socket-mode 660",
    "streamlocalbindunlink": "leave it out: the file of a socket at which nobody listens is replaced",
    "tcpkeepalive": _ALIVE,
}
_OTHER_WORDS: Final = {  # commands that people may expect
    "add": "'keygen', for a client, or 'permit', for a rule",
    "allow": "'permit'",
    "client": "'clients', 'forward' or 'connect'",
    "delete": "'revoke', for a client, or 'forbid', for a rule",
    "deny": "'forbid'",
    "help": "'nitrosocks --help'",
    "init": "'keygen'",
    "list": "'clients'",
    "proxy": "'forward -D 1080'",
    "remove": "'revoke', for a client, or 'forbid', for a rule",
    "run": "'serve' or 'forward'",
    "socks": "'forward -D 1080'",
    "ssh": f"ssh {_PROXY} host",
    "start": "'serve' or 'forward'",
    "status": "'doctor' or 'clients'",
    "test": "'doctor'",
    "tunnel": "'forward'",
    "version": "'nitrosocks --version'",
}
_SERVICE: Final = "it stays in the foreground; to keep it running, make it a service: docs/service.md"
_OTHER_OPTIONS: Final = {  # what people may expect under another name, of some commands or of all
    ("serve", "-p"): "the port goes with --listen, as in --listen :8443",
    ("serve", "--port"): "the port goes with --listen, as in --listen :8443",
    ("serve", "-f"): _SERVICE,
    ("serve", "--daemon"): _SERVICE,
    ("serve", "--pidfile"): _SERVICE,
    ("serve", "--user"): "start it as that user, as the unit of docs/service.md does",
    ("forward", "--background"): "write -f",
    ("forward", "--daemon"): "write -f",
    ("keygen", "-f"): "write --force",
    ("keygen", "--name"): "the name stands alone, as in: nitrosocks keygen alice --server vpn.example:8443",
    ("", "--client"): "the name of a client stands alone, behind the command",
    ("", "--config"): "there is no file of options: all of them stand on the command line",
    ("", "--debug"): "write -vv",
    ("", "--log-file"): "the log goes to standard error: 2>>FILE",
    ("", "--port"): "write the port behind the host, as in host:22",
    ("", "--profile"): "write -i PROFILE",
    ("", "--quiet"): "write -q",
    ("", "--verbose"): "write -v",
    ("forward", "--server"): "the server is the one that the profile names",
    ("connect", "--server"): "the server is the one that the profile names",
    ("doctor", "--server"): "the server is the one that the profile names",
}
_TOO_MANY: Final = {  # what people may have meant by a word too many
    "connect": "'connect' takes HOST:PORT, or HOST and PORT",
    "doctor": "a target goes with --open, as in --open intranet.example:80",
    "forward": "-L takes one word, as in -L 8080:intranet.example:80; the server is the one that the profile names",
    "keygen": "several rules take several --permit, and a * needs quotes",
    "revoke": "one client at a time",
    "serve": "an address goes with --listen, as in --listen :8443",
}
_EXAMPLES: Final = {
    "-D": "as in -D 1080",
    "-L": "as in -L 8080:intranet.example:80",
    "-R": "as in -R 8080:localhost:80",
    "--open": "as in --open intranet.example:80",
    "--permit": "as in --permit 'intranet.example:80'",
    "--cert": "--cert and --key go together",
    "--key": "--cert and --key go together",
    "--server": "as in --server vpn.example:8443",
    "connect": "as in: nitrosocks connect intranet.example:22",
    "keygen": "as in: nitrosocks keygen alice --server vpn.example:8443",
    "permit": "as in: nitrosocks permit alice 'intranet.example:80'",
    "forbid": "as in: nitrosocks forbid alice 'intranet.example:80'",
    "revoke": "as in: nitrosocks revoke alice",
    "rename": "as in: nitrosocks rename alice alice-laptop",
}
WARM: Final = "--warm"  # an option of old, which has no effect
_WARM: Final = "leave it out: sessions are made ahead of need anyway"


class Fault(NamedTuple):
    """What is wrong, and what to do."""

    what: str
    hint: str = _SEE_HELP


def wants_help(words: Iterable[str]) -> bool:
    """Whether -h or --help stands there, before a `--`."""
    for word in words:
        if word in ("--", "-h", "--help"):
            return word != "--"
    return False


def explain(words: list[str]) -> Fault:
    """What is wrong, in one line, and what to do."""
    line = _Line(words)
    if not line.arguments:
        if not line.fault and {"-L", "-R", "-D"} & {*line.options}:
            return Fault("no command", "write: nitrosocks forward, and then the options")
        return line.fault or Fault("no command")
    command, *arguments = line.arguments
    usage = _usage(command)
    if not usage:
        return line.fault or _no_command(command)
    fault = line.fault or next(_faults(command, arguments, line, usage), None)
    what, hint = fault or Fault(f"these are not words that '{command}' takes")
    return Fault(what if f"'{command}'" in what else f"'{command}': {what}", hint)


def _no_command(word: str) -> Fault:
    what = f"no such command: {quoted(word)}"
    if word.lower() in _OTHER_WORDS:
        return Fault(what, f"try {_OTHER_WORDS[word.lower()]}")
    if ":" in word or "@" in word:
        return Fault(what, "to reach a target write: nitrosocks connect HOST:PORT")
    near = _nearest(word, _COMMANDS)
    return Fault(what, f"did you mean '{near}'?" if near else f"commands are {', '.join(_COMMANDS)}")


def _no_option(name: str, command: str) -> Fault:
    what = f"{quoted(name)} is not an option"
    if hint := _elsewhere(name, command):
        return Fault(what, hint)
    usage = _usage(command)
    known = [option for option in _VALUES if not usage or re.search(rf"{option}\b", usage)]
    near = _nearest(name, [*known, WARM] if command == "forward" else known) if name.startswith("--") else ""
    if near == WARM:
        return Fault(what, f"if you mean {WARM}, {_WARM}")
    return Fault(what, f"did you mean {near}?") if near else Fault(what)


def _elsewhere(name: str, command: str, value: str = "") -> str:
    """Where to write what people expect from an option that this command does not have; nothing if that is unknown."""
    if command == "forward" and (found := _SSH_OPTIONS.get(re.split(r"[\s=]", value, maxsplit=1)[0].lower())):
        return found
    found = _OTHER_OPTIONS.get((command, name)) or _OTHER_OPTIONS.get(("", name))
    return found or (_OF_SSH.get(name, "") if command in ("", *_CLIENTS) else "")


def _nearest(word: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # for mistakes only

    return next(iter(get_close_matches(word, known, n=1)), "")


class _Line:
    """A command line as docopt reads it, as far as its first fault."""

    def __init__(self, words: list[str]) -> None:
        self.options: list[str] = []
        self.values: dict[str, str] = {}  # the last of each
        self.arguments: list[str] = []
        self.fault: Fault | None = None
        rest = iter(words)
        for word in rest:
            if word == "--":
                self.arguments += rest
            elif word.startswith("--"):
                self._long(word, rest)
            elif word.startswith("-") and word != "-":
                self._short(word[1:], rest)
            else:
                self.arguments.append(word)

    def _long(self, word: str, rest: Iterator[str]) -> None:
        given, equals, value = word.partition("=")
        found = [given] if given in _VALUES else [name for name in _VALUES if name.startswith(given)]
        if given == WARM:
            self._say(Fault(f"{WARM} needs a number: {WARM} N", f"or {_WARM}"))
        elif not found:
            self._say(_no_option(given, "".join(self.arguments[:1])))
        elif len(found) > 1:
            self._say(Fault(f"{given} may be {' or '.join(found)}"))
        elif equals and not _VALUES[found[0]]:
            self._say(Fault(f"{found[0]} takes no value"))
        else:
            self._add(found[0], value if equals else None, rest)

    def _short(self, letters: str, rest: Iterator[str]) -> None:
        for at, letter in enumerate(letters, 1):
            if f"-{letter}" not in _VALUES:
                long = next((name for name in _VALUES if name == f"--{letters}"), "")
                fault = _no_option(f"-{letter}", "".join(self.arguments[:1]))
                self._say(Fault(f"'-{letters}' is not an option", f"did you mean {long}?") if long else fault)
                return
            self._add(f"-{letter}", letters[at:] or None, rest)
            if _VALUES[f"-{letter}"]:
                return

    def _add(self, name: str, value: str | None, rest: Iterator[str]) -> None:
        self.options.append(name)
        if not _VALUES[name]:
            return
        value = next(rest, None) if value is None else value
        self.values[name] = value or ""
        if value is None:
            self._say(Fault(f"{name} needs a value: {name} {_VALUES[name]}", _EXAMPLES.get(name, _SEE_HELP)))

    def _say(self, fault: Fault) -> None:
        self.fault = self.fault or fault


def _faults(command: str, arguments: list[str], line: _Line, usage: str) -> Iterator[Fault]:
    """What the usage lines of a command do not allow, the plainest first."""
    options = line.options
    for name, times in Counter(options).items():
        if not re.search(rf"{name}\b", usage):
            where = _elsewhere(name, command, line.values.get(name, ""))
            yield Fault(f"'{command}' does not take {name}", where or _SEE_HELP)
        elif times > 1 and not re.search(rf"{name}( [A-Z:]+)?[\])]\.\.\.", usage):
            yield Fault(f"{name} is given {times} times")
    if {"-4", "-6"} <= {*options}:
        yield Fault("-4 and -6 exclude each other", "choose one, or leave both out")
    pair = ("--cert", "--key") if {"--cert", "--key"} & {*options} else ()
    listens = () if {"-D", "-R"} & set(options) else ("-L",)
    needed = {"keygen": ("--server",) if arguments else (), "serve": pair, "forward": listens}
    for name in needed.get(command, ()):
        if name not in options:
            what = "-L SPEC, -R SPEC or -D SPEC" if command == "forward" else f"{name} {_VALUES[name]}"
            yield Fault(f"'{command}' needs {what}", _EXAMPLES.get(name, _SEE_HELP))
    tests, listen = "--test" in options, "--listen" in options and command in ("permit", "forbid")
    if listen and len(arguments) > 1:
        yield Fault(
            f"{quoted(arguments[1])} is not behind --listen",
            "write --listen before each rule to listen, and other rules in a command of their own",
        )
    yield from _missing(f"{command} OPTION" if listen or (tests and command == "permit") else command, arguments)
    if len(arguments) > (most := 1 if tests else _ARGUMENTS.get(command, 0)):
        yield Fault(f"{quoted(arguments[most])} is one word too many", _TOO_MANY.get(command, _SEE_HELP))
    if not arguments and (command == "connect" or {*options} & {"--server", "--permit", "-o", "--force"}):
        what = "HOST:PORT" if command == "connect" else "the NAME of a client"
        yield Fault(f"'{command}' needs {what}", _EXAMPLES[command])


def _missing(command: str, arguments: list[str]) -> Iterator[Fault]:
    """Words behind a command that are not there. OPTION: what is to be done stands in an option."""
    wanted = {
        "permit": ("NAME", "RULE"),
        "forbid": ("NAME", "RULE"),
        "permit OPTION": ("NAME",),
        "forbid OPTION": ("NAME",),
        "revoke": ("NAME",),
        "rename": ("OLD", "NEW"),
    }
    rules = wanted.get(command, ())[-1:] == ("RULE",) and len(arguments) == 1 and re.search("[:/@*]", arguments[0])
    if lacking := ("NAME",) if rules else wanted.get(command, ())[len(arguments) :]:
        name = command.split(maxsplit=1)[0]
        yield Fault(f"'{name}' needs {' and '.join(lacking)}", _EXAMPLES[name])


def _usage(command: str) -> str:
    """What the usage text says of one command, on one line; nothing where there is no such command."""
    section = USAGE.partition("Usage:\n")[2].partition("\n\n")[0]
    pieces = re.findall(r"^  nitrosocks (\S+)(.*(?:\n {4,}.*)*)", section, re.MULTILINE)
    return " ".join(rest for name, rest in pieces if name == command)
