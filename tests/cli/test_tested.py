"""permit --test: what a server would say of a target, and which rule says it."""

from __future__ import annotations

from pathlib import Path

import program
from program import Site, expect_one_line

site = program.own_site


def test_a_target_is_tested_and_nothing_changed(site: Site) -> None:
    rules = "!*.example:*", "!127.0.0.1:23", "127.0.0.0/8:*", "localhost:80", "*:443", "/run/ns-*.sock"
    site.profile("alice", 1, *rules)
    before = (path := site.home / "clients.d" / "alice.toml").read_text()
    for target, code, said in (
        ("127.0.0.1:22", 0, "127.0.0.1:22: permitted by '127.0.0.0/8:*'"),
        ("127.1:22", 0, "127.1:22 at 127.0.0.1:22: permitted by '127.0.0.0/8:*'"),
        ("127.0.0.1:23", 77, "127.0.0.1:23: forbidden by '!127.0.0.1:23'"),
        ("[::1]:443", 77, "[::1]:443: not permitted: no rule permits it; only a rule with this address permits it"),
        ("a.example:443", 77, "a.example:443: forbidden by '!*.example:*'"),
        ("udp:127.0.0.1:22", 77, "udp:127.0.0.1:22: not permitted: no rule permits it"),
        ("/run/ns-a.sock", 0, "/run/ns-a.sock: permitted by '/run/ns-*.sock'"),
        ("unix:/run/x/../y", 77, "/run/x/../y at /run/y: not permitted: no rule permits it"),
        ("name.invalid:443", 69, "cannot find name.invalid"),
        ("22", 64, "has no host"),
        ("*:22", 64, "is not a target"),
        ("udp:22", 64, "'udp:22' has no port; write it as udp:host:port"),
        ("UDP:a:22", 64, "for datagrams write udp: in front"),
    ):
        done = site.run("permit", "alice", "--test", target, "--home", site.home)
        assert done.returncode == code and said in (done.stdout or done.stderr).decode(), (target, done)
    assert path.read_text() == before
    for words, said in (
        (("alice", "a:1", "--test", "b:1"), "one word too many"),
        (("--test", "b:1"), "needs NAME"),
    ):
        done = site.run("permit", *words, "--home", site.home)
        assert done.returncode == 64 and said in expect_one_line(done.stderr)


def test_a_star_counts_where_a_link_leads_and_a_path_without_one_is_what_the_operator_named(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (link := tmp_path / "in" / "link.sock").symlink_to(leads := tmp_path / "out.sock")
    site.profile("alice", 1, str(link))
    site.profile("bob", 1, f"{tmp_path}/in/*.sock")
    for name, code, said in (("alice", 0, f"permitted by '{link}'"), ("bob", 77, "not permitted: no rule permits it")):
        done = site.run("permit", name, "--test", link, "--home", site.home)
        assert done.returncode == code and done.stdout.decode() == f"{link} at {leads}: {said}\n"
