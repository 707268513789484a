"""Words of others in the lines of real programs: names, texts, files and certificates that try to write on terminals.

    python tests/attack/injection.py

A peer, a box that ends TLS, a file and a command line say what a terminal would obey, what would pass for a line of
ours, what turns the direction of writing, and ten thousand characters. `serve`, `forward` and `keygen` run with no
option, -v and -vv. Each line that they say must be printable, begin as ours do, and be within the bound of a line.
Prints how many lines each field made; exits 1 when one is not as it must be.
"""

import contextlib
import os
import ssl
import sys
import tempfile
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

import peer  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.hashes import SHA256  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: E402
from cryptography.x509.oid import NameOID  # noqa: E402
from hosts import TARGET, Host  # noqa: E402
from peer_judge import PeerError  # noqa: E402
from program import Site  # noqa: E402
from visits import Served, Visit  # noqa: E402

from nitrosocks_lib.facts import limits  # noqa: E402

WORDS = (
    "\x1b]0;owned\x07\x1b[2J\u202ex\u2066\u200f\u061c\u2028\x9b2K\x85\x7f\r\nnitrosocks: ready",
    "\0\r\n2026-01-01 00:00:00,000 MainThread nitrosocks: ready\t",
    "x" * 10_000,
    "\u202e" * 3_000,
)
LEVELS = ((), ("-v",), ("-vv",))


def cut(words: str, most: int) -> str:
    """As much as a frame or a file system takes, in bytes."""
    return words.encode()[:most].decode(errors="ignore")


def judge(field: str, log: str, wanted: str = "") -> str:
    """What is wrong with these lines; nothing where all is well. One of them must have `wanted` in it."""
    lines = log.splitlines() if log.isprintable() else log.split("\n")[:-1]
    for line in lines:
        ours = line.startswith("nitrosocks: ") or line[:4].isdigit()  # with -vv a date comes first
        if not (line.isprintable() and ours and len(line) <= limits.LINE):
            return f"{field}: {line[:200]!r}"
        if line == "nitrosocks: ready" and lines.count(line) > 1:
            return f"{field}: a line that was not ours"
    if not any(wanted in line for line in lines):
        return f"{field}: no line has {wanted!r}:\n{log[:500]!r}"
    print(f"{field}: {len(lines)} lines, {max(map(len, lines), default=0)} characters at most")
    return ""


# What the server says


def at_the_server(site: Site, level: tuple[str, ...]) -> Iterator[str]:
    """OPEN of names and paths, RESET, LISTEN and ABORT of an enrolled client; files of clients with strange names."""
    served = Served(site, *level, permit="*:*")
    for number, words in enumerate(WORDS):
        with contextlib.suppress(OSError):
            name = os.fsencode(cut(words, 200)).replace(b"\0", b"0").replace(b"/", b"_")
            (site.home / "clients.d" / os.fsdecode(b"%d-\xff%s.toml" % (number, name))).write_text("name = 1\n")
    with Visit(served) as visit:
        for words in WORDS:
            visitor = visit.visitor()
            visitor.answered(visitor.open(7, cut(words, 255)), visitor.open(0, cut(words, 107), kind=2))
            visitor.reset(visitor.open(7, "127.0.0.1"), 1, cut(words, 1024))
            visitor.listen(0, cut(words, 255))
            visitor.send(peer.ABORT, b"\0" + cut(words, 1024).encode())
            with contextlib.suppress(PeerError):
                visitor.read(lambda: False)
    served.process.signal().wait()
    yield judge(f"serve {' '.join(level)}", str(served.process.err), "clients.d" if level else "")


# What the client says


def strange(place: Path, words: str) -> ssl.SSLContext:
    """TLS with a certificate whose issuer says this."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is longer than a name may be
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words, _validate=False)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    path = place / "strange.pem"
    path.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def at_the_client(site: Site, level: tuple[str, ...], words: str) -> Iterator[str]:
    """REFUSED, RESET and ABORT of a server, and the certificate of a box in between."""
    with Host(site, certificate_hash=b"x" * 32) as host:
        host._context = strange(site.place, words[:2000])
        host.forward(*level)
        assert host.process is not None
        server, number, _ = host.asked()
        server.refused(number, 1, cut(words, 1024))
        host.process.err.wait("the server cannot open it")
        server, number, _ = host.opened()
        server.reset(number, 1, cut(words, 1024))
        server, number, _ = host.opened()
        server.send(peer.ABORT, b"\0" + cut(words, 1024).encode())
        host.process.err.wait("the other side ended the session")
        host.process.signal().wait()
        yield judge(f"forward {' '.join(level)}", str(host.process.err), "TLS is intercepted by")


def at_the_handshake(site: Site, level: tuple[str, ...], words: str) -> Iterator[str]:
    """An address in SESSION that is none; an HTTP answer."""
    with Host(site, address=cut(words, 255)) as host:
        process = site.nitrosocks("forward", "-i", host.profile, "-L", f"0:{TARGET[1]}:7", *level)
        with contextlib.suppress(PeerError, OSError):
            host.accept()
        assert process.wait() == 76
        yield judge(f"SESSION {' '.join(level)}", str(process.err), "an invalid reconnect address")
        process = site.nitrosocks("forward", "-i", host.profile, "-L", f"0:{TARGET[1]}:7", *level)
        with contextlib.suppress(PeerError, OSError), host.arrival().sock as sock:
            sock.recv(8192)
            sock.sendall(f"HTTP/1.1 400 {words}\r\nDate: {words}\r\n\r\n".encode())
        assert process.wait() == 76
        yield judge(f"HTTP {' '.join(level)}", str(process.err), "did not answer the greeting")


# What a command line and a file say


def at_the_command_line(site: Site, level: tuple[str, ...], words: str) -> Iterator[str]:
    """Words behind options, names of files, and keys in them."""
    words = words.replace("\0", "0")
    path = site.place / "strange.profile"
    path.write_text(f'"{"".join(f"{chr(92)}U{ord(c):08x}" for c in words[:2000])}" = 1\n')
    path.chmod(0o600)
    for given in (
        ["forward", "-i", words[:4000], "-L", "0:a:1"], ["forward", "-L", words], ["forward", "-L", f"0:[{words}]:1"],
        ["forward", "-i", path, "-L", "0:a:1"], ["connect", words], ["connect", f"{words}:22"], [words],
        ["serve", words],
        ["keygen", words, "--server", "a:1"], ["keygen", "a", "--server", words], ["serve", f"--{words}"],
        ["keygen", "a", "--server", "a:1", "--permit", words], ["serve", "--listen", words, "--home", site.home],
        ["keygen", "--home", f"/dev/null/{words[:4000]}"], ["serve", "--refresh", words], ["serve", "--cipher", words],
    ):  # fmt: skip
        done = site.run(*given, *(level if given[0] in ("serve", "forward", "connect", "keygen") else ()))
        assert done.returncode not in (0, 70), done
        yield judge(f"{given[0][:8]!r} {' '.join(level)}", done.stderr.decode(errors="surrogateescape"), "nitrosocks: ")


def attack(words: tuple[str, ...] = WORDS, levels: tuple[tuple[str, ...], ...] = LEVELS) -> list[str]:
    """All of it; what was not as it must be."""
    faults: list[str] = []
    for level in levels:
        with tempfile.TemporaryDirectory() as place, Site(Path(place)) as site:
            faults += at_the_server(site, level)
        for each in words:
            for field in (at_the_client, at_the_handshake, at_the_command_line)[: 2 if level else 3]:
                with tempfile.TemporaryDirectory() as place, Site(Path(place)) as site:
                    faults += field(site, level, each)
    return [fault for fault in faults if fault]


def main() -> int:
    faults = attack()
    print("\n".join(faults) or "all lines are as they must be")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
