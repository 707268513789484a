"""What answers a proxy that asks who we are: challenges (RFC 9110, 11), Basic (RFC 7617) and Digest (RFC 7616)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ITEM: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*+"?|[^",])+')  # between commas that are not in quotes
_PARAMETER: Final = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*+)"?|({_TOKEN}))')
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:\s+(.*))?", re.DOTALL)
_ALGORITHMS: Final = {"SHA-256": "sha256", "MD5": "md5"}  # the stronger first


@dataclass(frozen=True, slots=True)
class Login:
    """User and password; no text ever shows them."""

    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in which a proxy lets itself be told who we are."""

    scheme: str  # lower case
    token: str = ""  # what stands alone behind the scheme, base64 mostly
    parameters: dict[str, str] = field(default_factory=dict)  # by name in lower case


def challenges(values: Iterable[str]) -> list[Challenge]:
    """Those of all Proxy-Authenticate headers, in their order; what is malformed is passed over."""
    found: list[Challenge] = []
    for value in values:
        begun = False  # parameters do not go on from one header to the next
        for item in map(str.strip, _ITEM.findall(value)):
            if parameter := _PARAMETER.fullmatch(item):
                if begun:
                    _add(found[-1], parameter)
            elif scheme := _SCHEME.fullmatch(item):
                found.append(_begin(scheme))
                begun = True
    return found


def _begin(scheme: re.Match[str]) -> Challenge:
    rest = (scheme[2] or "").strip()
    parameter = _PARAMETER.fullmatch(rest)
    challenge = Challenge(scheme[1].lower(), "" if parameter else rest)
    if parameter:
        _add(challenge, parameter)
    return challenge


def _add(challenge: Challenge, parameter: re.Match[str]) -> None:
    name, quoted, bare = parameter.groups()
    value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    challenge.parameters.setdefault(name.lower(), value)


def raw(text: str) -> bytes:
    """The bytes of what came in a header or from the environment, also where they are no UTF-8; see `header`."""
    return text.encode("utf-8", "surrogateescape")


def header(value: bytes) -> str:
    """A header's value as text, from which `raw` makes the same bytes again: a realm goes back as it came."""
    return value.decode("utf-8", "surrogateescape")


def basic(login: Login) -> str:
    """The value of Proxy-Authorization."""
    return "Basic " + b64encode(raw(f"{login.user}:{login.password}")).decode()


def strongest(offered: Iterable[Challenge]) -> Challenge | None:
    """The Digest challenge to answer: the first with the strongest hash that is known; None where there is none."""
    known = [each for each in offered if each.scheme == "digest" and _known(each)]
    return min(known, key=lambda each: list(_ALGORITHMS).index(_algorithm(each)[0]), default=None)


def _algorithm(challenge: Challenge) -> tuple[str, bool]:
    """The hash, and whether the key is that of a session."""
    name = challenge.parameters.get("algorithm", "MD5").upper()
    return name.removesuffix("-SESS"), name.endswith("-SESS")


def _known(challenge: Challenge) -> bool:
    has = challenge.parameters
    plain = "qop" not in has or "auth" in _words(has["qop"])
    return "nonce" in has and plain and _algorithm(challenge)[0] in _ALGORITHMS


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",")]


def digest(challenge: Challenge, login: Login, method: str, uri: str, cnonce: str, count: int = 1) -> str:
    """The value of Proxy-Authorization for a challenge that `strongest` chose; it is the `count`th with its nonce."""
    has = challenge.parameters
    name, of_session = _algorithm(challenge)
    realm, nonce, qop = has.get("realm", ""), has["nonce"], "auth" if "qop" in has else ""

    def h(*parts: str) -> str:
        return hashlib.new(_ALGORITHMS[name], raw(":".join(parts)), usedforsecurity=False).hexdigest()

    key = h(login.user, realm, login.password)
    if of_session:
        key = h(key, nonce, cnonce)
    counted = (f"{count:08x}", cnonce, qop) if qop else ()
    response = h(key, nonce, *counted, h(method, uri))
    said = {"username": login.user, "realm": realm, "nonce": nonce, "uri": uri, "response": response}
    if qop or of_session:
        said["cnonce"] = cnonce
    if "opaque" in has:
        said["opaque"] = has["opaque"]
    out = [f'{key}="{_escaped(value)}"' for key, value in said.items()]
    if "algorithm" in has:
        out.append(f"algorithm={has['algorithm']}")
    if qop:
        out += [f"qop={qop}", f"nc={count:08x}"]
    return "Digest " + ", ".join(out)


def _escaped(text: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", text)
