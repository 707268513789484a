"""Challenges as proxies write them, and the worked examples of the RFCs for Basic and Digest."""

from __future__ import annotations

import hashlib
import re
import time

import pytest

from nitrosocks_lib.protocol.proxy_auth import Challenge, Login, basic, challenges, digest, strongest

LOGIN = Login("Mufasa", "Circle of Life")
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
RFC7616 = {
    "realm": "http-auth@example.org",
    "qop": "auth, auth-int",
    "nonce": NONCE,
    "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
}
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def values(header: str) -> dict[str, str]:
    """The parameters of an Authorization value."""
    return {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header)}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (["Basic"], [("basic", "", {})]),
        (['Basic realm="a, b"'], [("basic", "", {"realm": "a, b"})]),
        (["NTLM", "Negotiate"], [("ntlm", "", {}), ("negotiate", "", {})]),
        (["Negotiate, NTLM, Basic realm=x"], [("negotiate", "", {}), ("ntlm", "", {}), ("basic", "", {"realm": "x"})]),
        (["NTLM TlRMTVNTUAAC=="], [("ntlm", "TlRMTVNTUAAC==", {})]),
        (["Negotiate YII=, Basic"], [("negotiate", "YII=", {}), ("basic", "", {})]),
        (['Digest a="1" , b = 2,C="\\"q\\\\"'], [("digest", "", {"a": "1", "b": "2", "c": '"q\\'})]),
        (['Digest realm="never ends, x=1'], [("digest", "", {"realm": "never ends, x=1"})]),
        (["Digest nonce=1, nonce=2"], [("digest", "", {"nonce": "1"})]),
        ([",, ,Basic,,"], [("basic", "", {})]),
        (["a=1, Basic"], [("basic", "", {})]),
        (["", '"', "=", "\x7f"], []),
    ],
)
def test_challenges(headers: list[str], found: list[tuple[str, str, dict[str, str]]]) -> None:
    assert challenges(headers) == [Challenge(*each) for each in found]


@pytest.mark.parametrize("piece", ['"', '\\"', "\\", ",", "a=", 'a="', '"\\', "a ", "=a, "])
def test_the_longest_header_is_read_in_no_time(piece: str) -> None:
    begun = time.process_time()
    challenges([piece * (16_384 // len(piece))])
    assert time.process_time() - begun < 5  # what looks from everywhere to the end takes a minute


def test_basic() -> None:
    assert basic(Login("Aladdin", "open sesame")) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert basic(Login("test", "123£")) == "Basic dGVzdDoxMjPCow=="


def test_digest_of_rfc_7616() -> None:
    for algorithm, response in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        challenge = Challenge("digest", parameters=RFC7616 | {"algorithm": algorithm})
        said = values(digest(challenge, LOGIN, "GET", "/dir/index.html", CNONCE))
        assert said == {
            "username": "Mufasa",
            "realm": RFC7616["realm"],
            "uri": "/dir/index.html",
            "algorithm": algorithm,
            "nonce": NONCE,
            "nc": "00000001",
            "cnonce": CNONCE,
            "qop": "auth",
            "response": response,
            "opaque": RFC7616["opaque"],
        }


def test_digest_of_rfc_2069_has_no_qop() -> None:
    challenge = Challenge("digest", parameters={"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f6"})
    said = values(digest(challenge, LOGIN, "CONNECT", "a:1", CNONCE))
    assert said.keys() == {"username", "realm", "nonce", "uri", "response"}


def test_a_session_key_takes_both_nonces() -> None:
    def response(algorithm: str, cnonce: str) -> str:
        challenge = Challenge("digest", parameters={"realm": "r", "nonce": "n", "algorithm": algorithm})
        return values(digest(challenge, LOGIN, "CONNECT", "a:1", cnonce))["response"]

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    key = md5(md5("Mufasa", "r", "Circle of Life"), "n", "1")
    assert response("MD5-sess", "1") == md5(key, "n", md5("CONNECT", "a:1"))
    assert response("MD5", "1") == response("MD5", "2")
    assert response("MD5-sess", "1") != response("MD5-sess", "2")
    assert response("SHA-256-SESS", "1") != response("SHA-256", "1")


def test_the_strongest_hash_that_is_known() -> None:
    def of(**parameters: str) -> Challenge:
        return Challenge("digest", parameters={"nonce": "n"} | parameters)

    md5, sha, unknown = of(), of(algorithm="sha-256"), of(algorithm="SHA-512-256")
    assert strongest([unknown, md5, sha, of(algorithm="SHA-256", nonce="later")]) is sha
    assert strongest([Challenge("basic"), unknown, md5]) is md5
    assert strongest([unknown, of(qop="auth-int"), Challenge("digest")]) is None


def test_quotes_in_names_stay_what_they_are() -> None:
    challenge = Challenge("digest", parameters={"realm": 'a"b\\', "nonce": "n"})
    said = digest(challenge, Login('x"y', ""), "CONNECT", "a:1", "")
    assert 'username="x\\"y"' in said and 'realm="a\\"b\\\\"' in said
    assert challenges([said])[0].parameters["realm"] == 'a"b\\'


def test_no_text_shows_a_login() -> None:
    assert "Mufasa" not in repr(LOGIN) and "Circle" not in str(LOGIN)
