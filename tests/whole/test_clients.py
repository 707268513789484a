"""`clients`, `permit`, `forbid`, `revoke`, `rename` and `check`, beside a server that runs."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import program
from program import NITROSOCKS, Site, expect_one_line
from service import NOBODY, home_of_a_service

site = program.own_site
service = home_of_a_service


def run(site: Site, *words: object, code: int = 0) -> str:
    """What it prints on stdout; on stderr where it fails."""
    done = site.run(*words, "--home", site.home)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout.decode() if code in (0, 65) and done.stdout else done.stderr.decode()


def test_a_server_that_runs_follows_at_once(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        where = f"127.0.0.1:{target.getsockname()[1]}"
        server = site.serve()
        profile = site.profile("alice", server.port, "a.example:1")

        def reached() -> bool:
            process = site.connect(profile, where)
            if process.popen.poll() is None:
                target.settimeout(None)
            code = process.wait()
            return code == 0

        def accept() -> None:
            target.accept()[0].close()

        assert not reached()
        assert run(site, "permit", "alice", where).splitlines() == ["alice may reach:", "  a.example:1", f"  {where}"]
        process = site.connect(profile, where)
        accept()
        assert process.wait() == 0
        assert "alice is carol now" in run(site, "rename", "alice", "carol")
        process = site.connect(profile, where)
        accept()
        assert process.wait() == 0
        assert run(site, "forbid", "carol", where).splitlines() == ["carol may reach:", "  a.example:1"]
        assert not reached()
        run(site, "permit", "carol", where)
        held = site.connect(profile, where, stdin=subprocess.PIPE)
        peer = target.accept()[0]
        assert "carol is revoked" in run(site, "revoke", "carol")
        assert held.wait() == 255
        peer.close()
        assert not reached() and "no client is authorised" in run(site, "clients")


def test_a_list_for_people_and_one_for_programs(site: Site) -> None:
    site.profile("bob", 1, "b:1", "*:2")
    site.profile("alice", 1, "a:1")
    heads, alice, bob = run(site, "clients").splitlines()
    assert heads.split()[:3] == ["NAME", "ADDED", "LAST"] and heads.index("MAY") == alice.index("a:1")
    assert alice.startswith("alice  20") and bob.endswith("  b:1, *:2")
    one, other = json.loads(run(site, "clients", "--json"))["clients"]
    assert (one["name"], one["permit"], one["fault"]) == ("alice", ["a:1"], None) and other["fingerprint"] in bob
    (site.home / "clients.d" / "bob.toml").chmod(0o644)
    assert "nothing, for a fault: bob.toml: permissions 0644 are too open; run: chmod 600" in run(site, "clients")


def test_limits_are_listed_and_judged(site: Site) -> None:
    site.profile("alice", 1, "a:1")
    file = site.home / "clients.d" / "alice.toml"
    file.write_text('streams = 20\nup = "2M"\ndown = 1500000\n' + (text := file.read_text()))
    assert run(site, "clients").endswith("  a:1 (20 streams, up 2M/s, down 1500000/s)\n")
    (alice,) = json.loads(run(site, "clients", "--json"))["clients"]
    assert (alice["streams"], alice["up"], alice["down"]) == (20, 2 << 20, 1_500_000)
    file.write_text(f'up = "512"\n{text}')
    line = "'up' is not a valid rate (at line 1)"
    hint = 'in bytes a second, as in up = "2M", from 1K to 1024G; 0 is no limit'
    assert f"{file}: {line}; {hint}\n" in run(site, "check", code=65)


def test_when_a_client_was_seen(site: Site) -> None:
    """Though its session was short, and the server may write nothing else in its home."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        server = site.serve()
        profile = site.profile("alice", server.port)
        site.profile("bob", server.port)
        process = site.connect(profile, f"127.0.0.1:{target.getsockname()[1]}")
        target.accept()[0].close()
        assert process.wait() == 0 and server.signal().wait() == 0
    alice, bob = json.loads(run(site, "clients", "--json"))["clients"]
    assert alice["last_seen"] >= alice["added"] and bob["last_seen"] is None
    assert f"{alice['last_seen'][:10]} {alice['last_seen'][11:16]}" in run(site, "clients").splitlines()[1]
    assert run(site, "revoke", "alice") and os.listdir(site.home / "seen") == []


def test_what_goes_wrong_is_one_line(site: Site) -> None:
    site.profile("alice", 1, "a:1")
    for words, code, said in (
        (("permit", "alcie", "a:1"), 65, "did you mean 'alice'?"),
        (("permit", "alice", "a"), 64, "has no port"),
        (("forbid", "alice", "b:1"), 64, "alice has no rule 'b:1'"),
        (("revoke", "bob"), 65, "there is no client 'bob'"),
        (("rename", "alice", "../x"), 64, "is not a name"),
        (("rename", "alice"), 64, "needs NEW"),
        (("revoke",), 64, "needs NAME"),
    ):
        assert said in expect_one_line(run(site, *words, code=code)), words
    assert 'name = "alice"' in (site.home / "clients.d" / "alice.toml").read_text()


def test_check_and_the_programs_agree(site: Site) -> None:
    profile = site.profile("alice", 1, "a:1")
    (site.home / "alice.profile").write_bytes(profile.read_bytes())
    (site.home / "alice.profile").chmod(0o600)
    assert "3 files read" in run(site, "check") and "0 faults" in run(site, "check")
    (site.home / "alice.profile").chmod(0o640)
    fault = run(site, "check", code=65)
    refused = site.run("connect", "-i", site.home / "alice.profile", "a:1")
    assert refused.returncode == 255 and expect_one_line(refused.stderr) == f"nitrosocks: {fault.rstrip()}"


def test_root_changes_the_files_of_a_service_as_that_service(service: Site) -> None:
    service.profile("alice", 1, "a:1")
    run(service, "permit", "alice", "b:1")
    run(service, "rename", "alice", "carol")
    file = service.home / "clients.d" / "carol.toml"
    assert file.stat().st_uid == NOBODY and '"b:1"' in file.read_text()
    assert "0 faults" in run(service, "check")
    os.chown(file, 0, 0)
    assert f"run: chown {NOBODY}" in run(service, "check", code=65)


def test_no_command_loads_client_or_server(site: Site) -> None:
    site.profile("alice", 1, "a:1")
    code = f"""import sys
sys.path.insert(0, {str(Path(NITROSOCKS[1]).parent)!r})
from nitrosocks_lib.cli.main import main
code = main(sys.argv[1:])
print([name for name in sys.modules if name.startswith(("nitrosocks_lib.client.", "nitrosocks_lib.server."))])
raise SystemExit(code)"""
    for words in (["clients"], ["permit", "alice", "b:1"], ["forbid", "alice", "b:1"], ["check"], ["revoke", "alice"]):
        done = site.call(sys.executable, "-c", code, *words, "--home", site.home)
        assert done.returncode == 0 and done.stdout.decode().splitlines()[-1] == "[]", (words, done)
