"""host:port as people write it."""

import pytest

from nitrosocks_lib.facts.address import halves, join_host_port, parse_port, split_host_port
from nitrosocks_lib.facts.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tunnel.example.net:443", "tunnel.example.net", 443),
        ("localhost:1", "localhost", 1),
        ("10.0.0.1:65535", "10.0.0.1", 65_535),
        ("127.1:80", "127.1", 80),
        ("[::1]:22", "::1", 22),
        ("[2001:DB8::1]:443", "2001:DB8::1", 443),
        ("[fe80::1%eth0]:443", "fe80::1%eth0", 443),
        ("[::ffff:10.0.0.1]:443", "::ffff:10.0.0.1", 443),
        ("bücher.example:00443", "bücher.example", 443),
        ("a_b-c.example.:8080", "a_b-c.example.", 8080),
    ],
)
def test_what_is_split(text: str, host: str, port: int) -> None:
    assert split_host_port(text) == (host, port)
    assert split_host_port(join_host_port(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no port"),
        ("host", "has no port"),
        ("host:", "has no port"),
        ("[::1]", "has no port"),
        ("[::1]:", "has no port"),
        (":443", "has no host"),
        ("host:http", "'http' is not a port"),
        ("host:-1", "'-1' is not a port"),
        ("host:+80", "'+80' is not a port"),
        ("host: 80", "' 80' is not a port"),
        ("host:80 ", "'80 ' is not a port"),
        ("host:8_0", "'8_0' is not a port"),
        ("host:٨٠", "is not a port"),
        ("host:8²", "is not a port"),
        ("host:000080", "is not a port"),
        ("host:0", "'0' is not a port"),
        ("host:65536", "'65536' is not a port"),
        ("host:99999", "'99999' is not a port"),
        ("::1:443", "needs brackets"),
        ("2001:db8::1", "needs brackets"),
        ("host:80:90", "too many colons"),
        ("443", "has no host"),
        ("[::1:443", "']' is missing"),
        ("[::1]443", "may follow ']'"),
        ("[host]:443", "'host' is not an IPv6 address"),
        ("[10.0.0.1]:443", "is not an IPv6 address"),
        ("[]:443", "is not an IPv6 address"),
        ("[::1%]:443", "is not an IPv6 address"),
        ("[fe80::1%\x1b]:443", "is not a host"),
        ("https://host:443", "no scheme here"),
        ("host:443/path", "has a '/'"),
        ("ho st:443", "is not a host"),
        (" host:443", "is not a host"),
        ("ho\nst:443", "is not a host"),
        ("ho\0st:443", "is not a host"),
        ("user@host:443", "no user here"),
        ("host]:443", "is not a host"),
        ("ho\u202est:443", "is not a host"),
        ("\udc80:443", "is not a host"),
        ("h" * 256 + ":443", "at most 255 bytes"),
        ("ü" * 128 + ":443", "at most 255 bytes"),
    ],
)
def test_what_is_refused(text: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_host_port(text)
    assert what in str(caught.value)
    assert str(caught.value).isprintable()


def test_names_are_what_was_typed_where_the_locale_knows_no_utf_8() -> None:
    typed = "中文.test:80".encode().decode("ascii", "surrogateescape")
    assert split_host_port(typed) == ("中文.test", 80)
    with pytest.raises(UsageError, match="is not a host"):
        split_host_port("\udcff\udcfe.test:80")


def test_port_zero_and_an_empty_host_are_for_listeners() -> None:
    assert split_host_port("127.0.0.1:0", zero=True) == ("127.0.0.1", 0)
    assert split_host_port(":443", empty=True) == ("", 443)
    assert split_host_port(":0", zero=True, empty=True) == ("", 0)
    with pytest.raises(UsageError, match="'65536' is not a port"):
        split_host_port(":65536", zero=True, empty=True)
    with pytest.raises(UsageError, match="is not an IPv6 address"):
        split_host_port("[]:443", empty=True)


@pytest.mark.parametrize("text", ["host", "::1:443", "[::1]443", "host:99999"])
def test_errors_say_what_to_do_or_name_the_bounds(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_host_port(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "instead"),
    [("ssh://a:22", "a:22"), ("ssh://a", "a:22"), ("http://a/b?c", "a:80"), ("HTTPS://[::1]/", "[::1]:443"),
     ("https://a:8443/", "a:8443"), ("ftp://a", "a:PORT"), ("ssh://me@a:22", "a:22"), ("me@a:22", "a:22"),
     ("a@b@c:1", "c:1")],
)  # fmt: skip
def test_a_url_or_a_user_is_told_what_to_write(text: str, instead: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_host_port(text)
    assert caught.value.hint == f"write {instead}"


def test_join_puts_brackets_around_ipv6_only() -> None:
    assert join_host_port("::1", 22) == "[::1]:22"
    assert join_host_port("host", 22) == "host:22"
    assert join_host_port("", 22) == ":22"


def test_halves_judge_neither_side() -> None:
    assert halves("*:8000-8010") == ("*", "8000-8010", False)
    assert halves("[2001:db8::/32]:*") == ("2001:db8::/32", "*", True)
    assert halves("10.0.0.0/8:") == ("10.0.0.0/8", "", False)
    with pytest.raises(UsageError, match="^rule 7 has no port$"):
        halves("x", "rule 7")


def test_a_port_alone() -> None:
    assert parse_port("443", "it") == 443
    with pytest.raises(UsageError, match="^it: 'x' is not a port$"):
        parse_port("x", "it")
