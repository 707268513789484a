"""What people type for ssh, and where `nitrosocks forward` differs: the data of docs/ssh.md and of the tests of it.

Ports and paths are those that the page shows. Here is what is at them:

* 80 and 6080 of [::1] are web servers, 5432 and /run/db.sock a database, xmpp-server a chat; nobody listens at 81;
* something else has 9000 at 127.0.0.1, and /tmp/stale.sock is the file of a socket at which nobody listens any more;
* all other ports are free.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class How(enum.Enum):
    """How a line is run."""

    TOGETHER = enum.auto()  # with the others of its section, by one ssh and one nitrosocks
    ALONE = enum.auto()
    STRICT = enum.auto()  # alone; the server permits port 80, and to listen at localhost, as sshd does by default
    UNPRIVILEGED = enum.auto()  # alone, without the right to bind ports below 1024
    BEHIND = enum.auto()  # alone, and it leaves a process behind


@dataclass(frozen=True)
class Line:
    """A command line, and how nitrosocks differs."""

    words: str  # behind `ssh`, and behind `nitrosocks forward`
    differs: str = ""  # nothing: it is the same
    how: How = How.ALONE
    ours: str = ""  # behind `nitrosocks`, where that is not `forward` and the same words
    http: bool = False  # what connects to -D speaks HTTP in place of SOCKS


def _same(*lines: str) -> list[Line]:
    return [Line(line, how=How.TOGETHER) for line in lines]


_ENDS: Final = "It ends, as `ssh -o ExitOnForwardFailure=yes` does."
_ALL: Final = "It ends where one of its addresses is taken."
_RESET: Final = "A reset, so that health checks and port scanners see that there is nothing."
_EARLY: Final = "A mistake is told at the start."
_REMOVED: Final = "The file goes at the end."
_MORE: Final = "ssh has no such thing."

LOCAL: Final = [
    *_same(
        "-L 8080:localhost:80", "-L localhost:8080:localhost:80", "-L 127.0.0.1:8080:localhost:80",
        "-L '[::1]:8080:localhost:80'", "-L 127.0.0.2:8080:localhost:80", "-L 0.0.0.0:8080:localhost:80",
        "-L '*:8080:localhost:80'", "-L :8080:localhost:80",
        "-L 127.0.0.1:8080:localhost:80 -L '[::1]:8080:localhost:5432'",
        "-L8080:localhost:80", "-L '8080:[::1]:6080'", "-L '8080:[127.0.0.1]:80'",
        "-L 127.0.0.3:xmpp-client:localhost:80", "-L 8080:localhost:xmpp-server",
        "-L 8080:/run/db.sock", "-L 127.0.0.1:8080:/run/db.sock",
        "-L 8080:localhost:80 -L 8081:localhost:5432 -D 1080",
    ),
    Line("-L /tmp/a.sock:localhost:80", _REMOVED, How.TOGETHER),
    Line("-L ./a.sock:localhost:80", _REMOVED, How.TOGETHER),
    Line("-L /tmp/a.sock:/run/db.sock", _REMOVED, How.TOGETHER),
    Line("-L '[::]:8080:localhost:80'", "`[::]` is all interfaces, as for `serve --listen`.", How.TOGETHER),
    Line("-L 8080:localhost:81", _RESET, How.TOGETHER),
    Line("-L 8080:no-such-host.invalid:80", _RESET, How.TOGETHER),
    Line("-L 8080:localhost:5432", _RESET, How.STRICT),
    Line("-L 9000:localhost:80", "It ends without `127.0.0.1`; without `[::1]` it would warn."),
    Line("-L 127.0.0.1:9000:localhost:80", _ENDS),
    Line("-L '*:9000:localhost:80'", _ALL),
    Line("-L /tmp/stale.sock:localhost:80", "The file is replaced if nobody listens at it."),
    Line("-L 443:localhost:80", _ENDS, How.UNPRIVILEGED),
    Line("-L 192.0.2.1:8080:localhost:80", _ENDS),
    Line("-L '[fe80::1%lo]:8080:localhost:80'", _ENDS),
    Line("-L no-such-host.invalid:8080:localhost:80", _ENDS),
    Line("-L 0:localhost:80", "Port 0 picks a free one."),
    Line("-L 8080-8081:localhost:80-81", _MORE),
    Line("-L 8080"),
    Line("-L 8080:80"),
    Line("-L 8080:localhost"),
    Line("-L 8080:localhost:0"),
    Line("-L 8080:localhost:99999"),
    Line("-L 99999:localhost:80"),
    Line("-L 8080:localhost:no-such-service"),
    Line("-L ::1:8080:localhost:80"),
    Line("-L 8080:::1:80"),
    Line("-L 8080/localhost/80"),
    Line("-L 127.0.0.1/8080/localhost/80"),
    Line("-L a.sock:localhost:80"),
    Line("-L 8080::80", _EARLY),
    Line("-L 8080:alice@localhost:80", _EARLY),
    Line("-L 8080:./db.sock", "A path at the server begins with `/`."),
]  # fmt: skip

DYNAMIC: Final = [
    *_same(
        "-D 1080", "-D localhost:1080", "-D 127.0.0.1:1080", "-D '[::1]:1080'", "-D '*:1080'", "-D :1080", "-D1080",
        "-D 127.0.0.4:xmpp-client", "-D 1080 -D 1081",
    ),
    Line("-D /tmp/a.sock", _REMOVED, How.TOGETHER),
    Line("-D 1080", "The port takes HTTP as well as SOCKS.", How.TOGETHER, http=True),
    Line("-D 127.0.0.1:9000", _ENDS),
    Line("-D 0", "Port 0 picks a free one."),
    Line("-D 1080-1081", _MORE),
    Line("-D 99999"),
    Line("-D no-such-service"),
]  # fmt: skip

_RULES: Final = "The client's rules to listen decide; nothing listens in another place than was asked for."
REMOTE: Final = [
    *_same(
        "-R 8080:localhost:80", "-R localhost:8080:localhost:80", "-R 127.0.0.1:8080:localhost:80",
        "-R '[::1]:8080:localhost:80'", "-R 127.0.0.2:8080:localhost:80", "-R '*:8080:localhost:80'",
        "-R :8080:localhost:80", "-R '8080:[::1]:6080'",
        "-R 8080:/run/db.sock",
        "-R 8080:localhost:80 -R 8081:localhost:5432", "-R 8080:localhost:80 -L 8081:localhost:80 -D 1080",
        "-R 1080", "-R localhost:1080",
    ),
    Line("-R '*:1080'", "Others can reach this port, and it asks for no password: that is told."),
    Line("-R 1080", "The port takes HTTP as well as SOCKS.", How.TOGETHER, http=True),
    Line("-R /tmp/a.sock:localhost:80", _REMOVED, How.TOGETHER),
    Line("-R /tmp/a.sock:/run/db.sock", _REMOVED, How.TOGETHER),
    Line("-R 0:localhost:80"),
    Line("-R 0.0.0.0:8080:localhost:80", "`0.0.0.0` is all interfaces, those of IPv6, too.", How.TOGETHER),
    Line("-R '[::]:8080:localhost:80'", "`[::]` is all interfaces.", How.TOGETHER),
    Line("-R 8080:localhost:81", _RESET, How.TOGETHER),
    Line("-R 8080:no-such-host.invalid:80", _RESET, How.TOGETHER),
    Line("-R '*:8080:localhost:80'", _RULES, How.STRICT),
    Line("-R 127.0.0.2:8080:localhost:80", _RULES, How.STRICT),
    Line("-R /tmp/a.sock:localhost:80", _RULES, How.STRICT),
    Line("-R 127.0.0.1:9000:localhost:80", _ENDS),
    Line("-R 9000:localhost:80", _ALL),
    Line("-R /tmp/stale.sock:localhost:80", "The file is replaced if nobody listens at it."),
    Line("-R 192.0.2.1:8080:localhost:80", _ENDS),
    Line("-R no-such-host.invalid:8080:localhost:80", _ENDS),
    Line("-R 8080-8081:localhost:80-81", _MORE),
    Line("-R 8080:localhost"),
    Line("-R 8080:localhost:99999"),
    Line("-R 99999:localhost:80"),
    Line("-R a.sock:localhost:80"),
]  # fmt: skip

OPTIONS: Final = [
    Line("-N -L 8080:localhost:80"),
    Line("-nNT -L 8080:localhost:80", how=How.TOGETHER),
    Line("-o 'LocalForward 8080 localhost:80'", how=How.TOGETHER, ours="forward -L 8080:localhost:80"),
    Line("-o 'RemoteForward 8080 localhost:80'", how=How.TOGETHER, ours="forward -R 8080:localhost:80"),
    Line("-o 'DynamicForward 1080'", how=How.TOGETHER, ours="forward -D 1080"),
    Line("-q -L 8080:localhost:80"),
    Line("-v -L 8080:localhost:80"),
    Line("-f -N -L 8080:localhost:80", how=How.BEHIND),
    Line("-g -L 8080:localhost:80 -D 1080", ours="forward -L '*:8080:localhost:80' -D '*:1080'"),
    Line("-4 -L 8080:localhost:80", ours="forward -L 127.0.0.1:8080:localhost:80"),
    Line("-o GatewayPorts=yes -L 8080:localhost:80", ours="forward -L '*:8080:localhost:80'"),
    Line("-o ExitOnForwardFailure=yes -L 127.0.0.1:9000:localhost:80", ours="forward -L 127.0.0.1:9000:localhost:80"),
    Line("-o ExitOnForwardFailure=yes -R 127.0.0.1:9000:localhost:80", ours="forward -R 127.0.0.1:9000:localhost:80"),
    Line(
        "-o StreamLocalBindUnlink=yes -o StreamLocalBindMask=0117 -L /tmp/stale.sock:localhost:80", _REMOVED,
        ours="forward --socket-mode 660 -L /tmp/stale.sock:localhost:80",
    ),
    Line("-W localhost:80", ours="connect localhost:80"),
    Line("-W '[::1]:6080'", ours="connect '[::1]:6080'"),
    Line("-W localhost:81", ours="connect localhost:81"),
    Line("-W localhost", ours="connect localhost"),
    Line("-C -L 8080:localhost:80", "Nothing is compressed."),
    Line("-F none -L 8080:localhost:80", "What a client needs stands in its profile."),
]  # fmt: skip

SECTIONS: Final = {
    "-L, line by line": LOCAL,
    "-D, line by line": DYNAMIC,
    "-R, line by line": REMOTE,
    "Other options, line by line": OPTIONS,
}
