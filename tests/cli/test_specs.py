"""specs: what people write behind -L and -D, and as a target of `connect`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from wrongly import wrong

from nitrosocks_lib.cli import specs
from nitrosocks_lib.client.forward import LOOPBACK, Forward
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.facts.words import foreign
from nitrosocks_lib.protocol.frames import Target

DIGITS = "9" * 5_000  # more than int() takes


def tcp(host: str, port: int) -> Target:
    return Target(Kind.TCP, host, port)


def unix(path: str) -> Target:
    return Target(Kind.UNIX, path, 0)


@pytest.mark.parametrize(
    ("spec", "near", "port", "host", "hostport"),
    [
        ("8080:intranet.example:80", LOOPBACK, 8080, "intranet.example", 80),
        ("0:a:1", LOOPBACK, 0, "a", 1),
        (":8080:a:80", "", 8080, "a", 80),
        ("*:8080:a:80", "", 8080, "a", 80),
        ("10.0.0.1:8080:a:80", "10.0.0.1", 8080, "a", 80),
        ("[::1]:8080:a:80", "::1", 8080, "a", 80),
        ("8080:[2001:db8::1]:80", LOOPBACK, 8080, "2001:db8::1", 80),
        ("[::]:8080:[::1]:65535", "::", 8080, "::1", 65_535),
        ("localhost:1:localhost:2", "localhost", 1, "localhost", 2),
    ],
)
def test_forwards(spec: str, near: str, port: int, host: str, hostport: int) -> None:
    assert specs.local(spec) == [Forward(Target(Kind.TCP, near, port), Target(Kind.TCP, host, hostport))]


@pytest.mark.parametrize(
    "spec",
    [
        "", ":", "::", ":::", "8080", "8080:a", "8080:a:", ":a:80", "8080::80", "a:b:c:d:e", "8080:a:80:", "x:a:80",
        "8080:a:x", "65536:a:80", "8080:a:65536", "8080:a:0", "-1:a:80", "8080:a:+80", "8080:a: 80", "8080:a:８０",
        "8080:::1:80", "8080:[::1:80", "8080:[::1]80", "8080:x[::1]:80", "]:1:a:2", "[", "]", "8080:a:" + DIGITS,
    ],
)  # fmt: skip
def test_forwards_that_are_none(spec: str) -> None:
    assert wrong(lambda: specs.local(spec)).startswith(f"-L {foreign(spec)}")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("8080:http://intranet.example/", "no URL here"),
        ("http://localhost:8080:a:80", "no URL here"),
        ("8080:a:80/", "the '/' at the end is too much"),
    ],
)
def test_urls_are_no_forwards(spec: str, told: str) -> None:
    assert wrong(lambda: specs.local(spec)).startswith(f"-L {spec}: {told}; as in -L 8080:intranet.example:80")


@pytest.mark.parametrize(
    ("host", "port", "target"),
    [
        ("a.example:22", None, Target(1, "a.example", 22)),
        ("[::1]:22", None, Target(1, "::1", 22)),
        ("a.example", "22", Target(1, "a.example", 22)),
        ("[::1]", "22", Target(1, "::1", 22)),
        ("::1", "22", Target(1, "::1", 22)),
        ("a.example", "ssh", Target(1, "a.example", 22)),
        ("a.example:ssh", None, Target(1, "a.example", 22)),
        ("[::1]:ssh", None, Target(1, "::1", 22)),
        ("udp:a.example:domain", None, Target(3, "a.example", 53)),
    ],
)
def test_destinations(host: str, port: str | None, target: Target) -> None:
    assert specs.destination(host, port) == target


@pytest.mark.parametrize(
    ("host", "port"),
    [("a", None), ("", None), (":22", None), ("a:0", None), ("a:x", None), ("a", ""), ("a", "0"), ("a", "65536"),
     ("", "22"), ("[]", "22"), ("::1:22", None), ("a/b:22", None)],
)  # fmt: skip
def test_destinations_that_are_none(host: str, port: str | None) -> None:
    wrong(lambda: specs.destination(host, port))


def test_a_path_needs_a_word_before_it() -> None:
    told = "'/run/a.sock' has no port; for a unix socket at the server write unix:/run/a.sock"
    assert wrong(lambda: specs.destination("/run/a.sock", None)) == told


def test_a_destination_with_two_ports() -> None:
    assert wrong(lambda: specs.destination("a:1", "2")) == "a:1 2: two ports; write HOST:PORT or HOST PORT"


@pytest.mark.parametrize(
    ("spec", "where", "target"),
    [
        ("8080:/run/a.sock", tcp(LOOPBACK, 8080), unix("/run/a.sock")),
        ("*:8080:/run/a.sock", tcp("", 8080), unix("/run/a.sock")),
        ("/tmp/l.sock:a.example:80", unix("/tmp/l.sock"), tcp("a.example", 80)),
        ("./l.sock:[::1]:80", unix("./l.sock"), tcp("::1", 80)),
        ("/tmp/l.sock:/run/a.sock", unix("/tmp/l.sock"), unix("/run/a.sock")),
        ("8080:a:http", tcp(LOOPBACK, 8080), tcp("a", 80)),
        ("https:a:443", tcp(LOOPBACK, 443), tcp("a", 443)),
    ],
)
def test_paths_and_services(spec: str, where: Target, target: Target) -> None:
    assert specs.local(spec) == [Forward(where, target)]


def test_ranges() -> None:
    made = specs.local("*:8000-8010:a:9000-9010")
    assert made == [Forward(tcp("", 8000 + n), tcp("a", 9000 + n)) for n in range(11)]
    assert specs.local("5-5:a:6") == [Forward(tcp(LOOPBACK, 5), tcp("a", 6))]


@pytest.mark.parametrize(
    "spec",
    ["8000-8010:a:9000-9009", "8000-8010:a:80", "8010-8000:a:9010-9000", "8000-:a:80", "-8000:a:80",
     "1-60000:a:1-60000", "0-5:a:0-5", "8080:run/a.sock", "/tmp/l.sock", "/tmp/l.sock:a", "/tmp/l.sock:80:a:80",
     "/:/:/", "8080:/a\nb", "8080:/" + "a" * 107, "8080:a:nosuchservice"],
)  # fmt: skip
def test_ranges_and_paths_that_are_none(spec: str) -> None:
    assert wrong(lambda: specs.local(spec)).startswith(f"-L {foreign(spec)}")


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ("1080", [tcp(LOOPBACK, 1080)]),
        ("*:1080", [tcp("", 1080)]),
        (":1080", [tcp("", 1080)]),
        ("[::1]:0", [tcp("::1", 0)]),
        ("localhost:socks", [tcp("localhost", 1080)]),
        ("/tmp/p.sock", [unix("/tmp/p.sock")]),
        ("1080-1081", [tcp(LOOPBACK, 1080), tcp(LOOPBACK, 1081)]),
    ],
)
def test_proxies(spec: str, where: list[Target]) -> None:
    assert specs.dynamic(spec) == [Forward(each, None) for each in where]


@pytest.mark.parametrize("spec", ["", "x", "a:b:1080", "1080:a:80", "65536", "/tmp/p.sock:1080", "a b:1080"])
def test_proxies_that_are_none(spec: str) -> None:
    assert wrong(lambda: specs.dynamic(spec)).startswith(f"-D {foreign(spec)}")


def test_a_path_to_connect_to() -> None:
    assert specs.destination("unix:/run/a.sock", None) == unix("/run/a.sock")
    assert "begins with /" in wrong(lambda: specs.destination("unix:a.sock", None))


# -- datagrams --------------------------------------------------------------------------------------------------------


def udp(host: str, port: int) -> Target:
    return Target(Kind.UDP, host, port)


def test_datagrams() -> None:
    assert specs.local("udp:53:10.0.0.2:53") == [Forward(udp(LOOPBACK, 53), udp("10.0.0.2", 53))]
    assert specs.local("udp:*:5000-5001:[::1]:6000-6001") == [
        Forward(udp("", 5000), udp("::1", 6000)), Forward(udp("", 5001), udp("::1", 6001)),
    ]  # fmt: skip
    assert specs.remote("udp:127.0.0.1:5353:localhost:53") == [(udp("127.0.0.1", 5353), udp("localhost", 53))]
    assert specs.destination("udp:dns.example:53", None) == specs.destination("udp:dns.example", "53")
    assert specs.destination("udp:[::1]:53", None) == udp("::1", 53)


@pytest.mark.parametrize("spec", ["udp:53", "udp:", "udp:53:/run/a.sock", "udp:/run/a.sock:a:53", "udp:53:a:b:c:d"])
def test_datagrams_that_are_none(spec: str) -> None:
    assert wrong(lambda: specs.local(spec)).startswith(f"-L {spec}: ")
    assert wrong(lambda: specs.remote(spec)).startswith(f"-R {spec}: ")


@pytest.mark.parametrize(
    "target", ["udp:", "udp:a", "udp:a:0", "udp:unix:/run/a.sock", "udp:/run/a.sock", "udp:udp:a:1"]
)
def test_targets_of_datagrams_that_are_none(target: str) -> None:
    assert wrong(lambda: specs.destination(target, None))


# -- proxies at the server --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ("1080", tcp("localhost", 1080)),
        ("0", tcp("localhost", 0)),
        ("*:1080", tcp("", 1080)),
        (":1080", tcp("", 1080)),
        ("[::1]:1080", tcp("::1", 1080)),
        ("10.0.0.1:socks", tcp("10.0.0.1", 1080)),
        ("/run/proxy.sock", unix("/run/proxy.sock")),
    ],
)
def test_proxies_at_the_server(spec: str, where: Target) -> None:
    assert specs.remote(spec) == [(where, None)]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("1080-1090", "no target for a range; one port is enough for a proxy, as in -R 1080"),
        ("*:1080-1090", "no target for a range; one port is enough for a proxy, as in -R 1080"),
        ("8080:80", "no target; name one near this client, as in -R 8080:localhost:80"),
        ("8080:host", "no target; name one near this client, as in -R 8080:localhost:80"),
        ("run/p.sock", "'run/p.sock' is not a whole path; "),
        ("udp:1080", "not udp:[bind:]port:host:hostport; as in -R udp:5353:10.0.0.2:53"),
        ("host:x", "'x' is not a port; "),
        ("a:b:1080", "'a' is not a port; "),
    ],
)
def test_proxies_at_the_server_that_are_none(spec: str, told: str) -> None:
    assert wrong(lambda: specs.remote(spec)).startswith(f"-R {spec}: {told}")


@pytest.mark.parametrize(
    ("read", "option", "spec", "told"),
    [
        (specs.local, "-L", "udp:53", "not udp:[bind:]port:host:hostport; as in -L udp:5353:10.0.0.2:53"),
        (specs.local, "-L", "5353:udp:a:53", "for datagrams write udp: in front; as in -L udp:5353:10.0.0.2:53"),
        (specs.local, "-L", "/tmp/a:udp:a:53", "for datagrams write udp: in front; "),
        (specs.local, "-L", "UDP:5353:a:53", "for datagrams write udp: in front; "),
        (specs.local, "-L", "5353/udp:a:53", "for datagrams write udp: in front; "),
        (specs.local, "-L", "udp:5353:a:53/udp", "for datagrams write udp: in front; "),
        (specs.remote, "-R", "5353:udp:a:53", "for datagrams write udp: in front; as in -R udp:5353:10.0.0.2:53"),
        (specs.remote, "-R", "UDP:5353", "for datagrams write udp: in front; as in -R "),
        (
            specs.dynamic,
            "-D",
            "udp:1080",
            "no udp: here; SOCKS5 carries datagrams through any port of -D, as in -D 1080",
        ),
        (specs.dynamic, "-D", "1080/UDP", "no udp: here; "),
        (specs.local, "-L", "tcp:8080:a:80", "no tcp here; leave it out: "),
        (specs.remote, "-R", "8080/tcp", "no tcp here; "),
        (specs.local, "-L", "8080:unix:/run/a", "no unix: here; write the path alone, as in /run/db.sock"),
        (specs.local, "-L", "unix:/run/a:a:80", "no unix: here; "),
        (specs.dynamic, "-D", "unix:./a", "no unix: here; "),
        (specs.remote, "-R", "unix:/run/a", "no unix: here; "),
        (specs.local, "-L", "8080:/run/a:a:80", "nothing stands in front of a path; leave '8080' out"),
        (specs.dynamic, "-D", "::1:/run/a", "not [bind:]port; "),
        (specs.dynamic, "-D", "localhost:/run/a", "nothing stands in front of a path; leave 'localhost' out"),
        (specs.local, "-L", "8-9:a:8", "2 and 1 ports; as many on both sides, as in -L 8000-8010:"),
    ],
)
def test_what_people_write_for_a_kind(read: Callable[[str], object], option: str, spec: str, told: str) -> None:
    assert wrong(lambda: read(spec)).startswith(f"{option} {spec}: {told}")


@pytest.mark.parametrize("spec", ["8080:udp:80", "8080:tcp:80", "8080:unix:80", "lo:8080:udp:80", "8080:/run/1/udp"])
def test_names_that_are_also_kinds(spec: str) -> None:
    assert [each.target.kind for each in specs.local(spec) if each.target] != [Kind.UDP]


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("udp:53", None, "'udp:53' has no port; write it as udp:host:port"),
        ("udp:/run/a", None, "'udp:/run/a': no paths behind udp:; "),
        ("udp:unix:/run/a", None, "'udp:unix:/run/a': no paths behind udp:; "),
        ("UDP:a:53", None, "'UDP:a:53': for datagrams write udp: in front; as in udp:10.0.0.2:53"),
        ("a:53/udp", None, "'a:53/udp': for datagrams write udp: in front; "),
        ("tcp:a:53", None, "'tcp:a:53': no tcp here; "),
        ("ssh://a:ssh", None, "'ssh://a:ssh': no scheme here; write a:ssh"),
        ("::ssh", None, "'::ssh': an IPv6 address needs brackets; "),
        ("*:53", None, "'*:53' is not a target; "),
        ("@web", None, "'@web' is not a target; "),
        ("unix:/run/a", "80", "unix:/run/a 80: a path has no port; write unix:/run/a alone"),
    ],
)
def test_what_people_write_for_a_destination(host: str, port: str | None, told: str) -> None:
    assert wrong(lambda: specs.destination(host, port)).startswith(told)
