"""`permit`: a client may reach more, or have the server listen at more places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..facts.address import typed
from ..facts.words import foreign, quoted
from ..files import clients
from ..protocol.listening import ListenRules
from ..protocol.permit import Rules, futile
from .home import opened
from .output import announce, note

if TYPE_CHECKING:
    from .options import Options


def permit(options: Options) -> int:
    """Adds rules to the client's file, and prints those that are in force now; with --test, changes nothing."""
    if options["--test"] is not None:
        from .tested import test

        return test(options)
    if options["--listen"]:
        return _permit_listening(options)
    name, rules = options["NAME"], [*map(typed, options["RULE"])]
    with opened(options) as home:
        now, there = clients.permit(home, name, rules)
    for rule in there:
        note(f"{quoted(rule)} was permitted already")
    tell_futile(rules)
    for rule in rules:
        if first := now.precluding(rule):
            note(
                f"{quoted(rule)} permits nothing, since {quoted(first)} comes before it: the first that matches decides"
            )
    announce(in_force(name, now))
    return 0


def _permit_listening(options: Options) -> int:
    name, rules = options["NAME"], [*map(typed, options["--listen"])]
    with opened(options) as home:
        now, there = clients.permit_listening(home, name, rules)
    for rule in there:
        note(f"{quoted(rule)} was permitted already")
    announce(may_listen(name, now))
    if any(rule.startswith("/") for rule in rules if rule not in there):
        note("a server that runs makes sockets only in directories that it found in rules when it started: restart it")
    return 0


def may_listen(name: str, rules: ListenRules) -> list[str]:
    """Where the server may listen for a client, for people."""
    listed = [f"  {foreign(rule)}" for rule in rules.texts]
    return [f"the server may listen for {name} on:", *listed] if listed else [f"the server may not listen for {name}"]


def tell_futile(rules: list[str]) -> None:
    """Rules with a name that can never lead anywhere."""
    for rule, better in futile(rules):
        note(f"the rule {foreign(rule)} permits nothing, since names never reach loopback; write {foreign(better)}")


def in_force(name: str, rules: Rules) -> list[str]:
    """What a client may reach from its next stream on, for people."""
    return [f"{name} may reach:", *(f"  {foreign(rule)}" for rule in rules.texts)] if rules.texts else [_none(name)]


def _none(name: str) -> str:
    return f"{name} may reach nothing"
