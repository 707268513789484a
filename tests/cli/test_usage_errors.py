"""usage_errors: each line that docopt does not take is told by what is wrong with it."""

from __future__ import annotations

import pytest
from docopt import DocoptExit, docopt

from nitrosocks_lib.cli import usage_errors
from nitrosocks_lib.cli.usage import USAGE

LINES = {
    "": "no command",
    "-v": "no command",
    "--home D": "no command",
    "--bogus": "'--bogus' is not an option",
    "fly": "no such command: 'fly'",
    "--home D fly": "no such command: 'fly'",
    "--home D serve --bogus": "'serve': '--bogus' is not an option",
    "serve -Z": "'serve': '-Z' is not an option",
    "serve -vvZ": "'serve': '-Z' is not an option",
    "serve --home": "'serve': --home needs a value: --home DIR",
    "forward -L": "'forward': -L needs a value: -L SPEC",
    "keygen alice --server": "'keygen': --server needs a value: --server HOST:PORT",
    "forward -L 1:a:2 --retry=3": "'forward': --retry takes no value",
    "serve --c x": "'serve': --c may be --cert or --cipher or --carrier",
    "serve --retry": "'serve' does not take --retry",
    "serve -L 1:a:2": "'serve' does not take -L",
    "demo -q": "'demo' does not take -q",
    "forward": "'forward' needs -L SPEC, -R SPEC or -D SPEC",
    "forward -i -L": "'forward' needs -L SPEC, -R SPEC or -D SPEC",
    "forward -L1:a:2 -Nq -Nq": "'forward': -N is given 2 times",
    "serve --home a --home b": "'serve': --home is given 2 times",
    "serve --cert x": "'serve' needs --key FILE",
    "serve --key x": "'serve' needs --cert FILE",
    "serve x": "'serve': 'x' is one word too many",
    "serve -- -x": "'serve': '-x' is one word too many",
    "connect": "'connect' needs HOST:PORT",
    "connect -i x": "'connect' needs HOST:PORT",
    "connect a 1 2": "'connect': '2' is one word too many",
    "connect -4 -6 x:1": "'connect': -4 and -6 exclude each other",
    "keygen alice": "'keygen' needs --server HOST:PORT",
    "keygen --server a:1": "'keygen' needs the NAME of a client",
    "keygen -o -": "'keygen' needs the NAME of a client",
    "forward --warm -L 1:a:2": "'forward': --warm needs a number: --warm N",
    "-R 1:a:2": "no command",
    "clients -json": "'clients': '-json' is not an option",
    "serve --cert": "'serve': --cert needs a value: --cert FILE",
    "keygen a b --server a:1": "'keygen': 'b' is one word too many",
    "permit a": "'permit' needs RULE",
    "permit a:1": "'permit' needs NAME",
    "forbid @web": "'forbid' needs NAME",
    "permit --listen *:1": "'permit' needs NAME",
    "permit a --listen 127.0.0.1:1 127.0.0.1:2": "'permit': '127.0.0.1:2' is not behind --listen",
    "forbid a b --listen 127.0.0.1:1": "'forbid': 'b' is not behind --listen",
}


@pytest.mark.parametrize(("line", "told"), LINES.items())
def test_what_is_wrong(line: str, told: str) -> None:
    with pytest.raises(DocoptExit):
        docopt(USAGE, line.split(), default_help=False)
    assert usage_errors.explain(line.split()).what == told


def test_what_it_does_not_understand_is_told_all_the_same() -> None:
    assert usage_errors.explain(["connect", "-4q", "a:1"]).what == "these are not words that 'connect' takes"


def test_a_long_word_is_not_said_again_as_a_whole() -> None:
    for words in (["x" * 1000], ["serve", "x" * 1000], ["serve", "--" + "x" * 1000]):
        assert len(usage_errors.explain(words).what) < 130


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("-h", True), ("--help", True), ("serve -h", True), ("forward --help", True), ("connect -h x:1", True),
        ("serve --bogus --help", True), ("", False), ("serve", False), ("connect -- -h", False),
    ],
)  # fmt: skip
def test_help_may_stand_anywhere(line: str, wanted: bool) -> None:
    assert usage_errors.wants_help(line.split()) is wanted


SSH = "ssh {}-o ProxyCommand='nitrosocks connect %h %p' host"
HINTS = {
    "fly": "commands are keygen, clients, ",
    "server": "did you mean 'serve'?",
    "foward -L 1:a:2": "did you mean 'forward'?",
    "help": "try 'nitrosocks --help'",
    "ssh host": "try " + SSH.format(""),
    "host:22": "to reach a target write: nitrosocks connect HOST:PORT",
    "user@host": "to reach a target write: nitrosocks connect HOST:PORT",
    "serve --decoi x": "did you mean --decoy?",
    "serve --zzz": "see: nitrosocks --help",
    "serve -f": "it stays in the foreground; to keep it running, make it a service: docs/service.md",
    "serve --pidfile x": "it stays in the foreground; ",
    "serve --daemon": "it stays in the foreground; ",
    "serve --config x": "there is no file of options: all of them stand on the command line",
    "serve --log-file x": "the log goes to standard error: 2>>FILE",
    "forward --daemon -L 1:a:2": "write -f",
    "forward --warn 3": "if you mean --warm, leave it out: sessions are made ahead of need anyway",
    "serve -o x": "see: nitrosocks --help",
    "serve --cert x": "--cert and --key go together",
    "forward --warm -L 1:a:2": "or leave it out: sessions are made ahead of need anyway",
    "forward -gL 1:a:2": "to let other machines connect, bind all interfaces: -L '*:8080:host:80'",
    "forward -nNT -w 0:0 -L 1:a:2": "it carries connections only, no packets",
    "forward -F none -L 1:a:2": "what a client needs stands in its profile: -i PROFILE",
    "forward -o ExitOnForwardFailure=yes -L 1:a:2": "leave it out: it ends wherever it cannot listen",
    "forward -oStreamLocalBindUnlink=yes -L 1:a:2": "leave it out: the file of a socket at which nobody listens",
    "forward -o gatewayports=yes -L 1:a:2": "to let other machines connect, bind all interfaces",
    "forward -o Compression=yes -L 1:a:2": "options of ssh are for ssh: " + SSH.format("-o Option=value "),
    "forward -L 1:a:2 -o": "see: nitrosocks --help",
    "connect -J a b:22": "to go on through the server, run: " + SSH.format(""),
    "connect -W a:22": "write: nitrosocks connect HOST:PORT",
    "connect -p 22 a": "write the port behind the host, as in host:22",
    "connect -l me a:22": "users are for ssh: " + SSH.format("-l user "),
    "connect -o Port=22 a": "options of ssh are for ssh: " + SSH.format("-o Option=value "),
    "connect -C a:22": "to compress, run: " + SSH.format("-C "),
    "connect -A a:22": "to forward an agent, run: " + SSH.format("-A "),
    "connect -X a:22": "for X11, run: " + SSH.format("-X "),
    "connect -t a:22": "for a terminal, run: " + SSH.format("-t "),
    "-L 1:a:2": "write: nitrosocks forward, and then the options",
    "-R 1:a:2 host": "commands are keygen, clients, ",
    "list": "try 'clients'",
    "delete bob": "try 'revoke', for a client",
    "serve -p 443": "the port goes with --listen, as in --listen :8443",
    "serve --port 443": "the port goes with --listen, as in --listen :8443",
    "serve :443": "an address goes with --listen",
    "keygen bob --server a:1 -f": "write --force",
    "keygen --name bob": "the name stands alone",
    "keygen bob --server a:1 --permit a:1 b:2": "several rules take several --permit",
    "permit --client bob a:1": "the name of a client stands alone",
    "permit bob -p 22": "see: nitrosocks --help",
    "forward --verbose": "write -v",
    "forward -L 1:a:2 --server a:1": "the server is the one that the profile names",
    "forward -L 1:a:2 host": "-L takes one word",
    "doctor a:1": "a target goes with --open",
    "clients -json": "did you mean --json?",
    "forward -D": "as in -D 1080",
    "doctor --idel 5m": "did you mean --idle?",
    "clients --pemrit x": "see: nitrosocks --help",
    "forward 8080:a:80": "as in -L 8080:intranet.example:80",
    "connect": "as in: nitrosocks connect intranet.example:22",
    "keygen alice": "as in --server vpn.example:8443",
}


@pytest.mark.parametrize(("line", "told"), HINTS.items())
def test_what_to_write_instead(line: str, told: str) -> None:
    assert usage_errors.explain(line.split()).hint.startswith(told)
