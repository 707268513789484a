"""A box in the middle presents what no library would make: people read our line, and no warning of a library's."""

from __future__ import annotations

import ssl
from pathlib import Path

import program
import pytest
import strange

from nitrosocks_lib.demo.interceptor import Interceptor

site = program.site


@pytest.fixture(scope="module")
def server(site: program.Site) -> program.Process:
    return site.serve()


# OpenSSL itself does not load the others.
PRESENTED = {what: each for what, each in strange.STRANGE.items() if what not in ("no UTF-8", "half a surrogate")}


@pytest.mark.parametrize(("serial", "issued_by", "said"), PRESENTED.values(), ids=PRESENTED)
def test_one_line_names_the_issuer(
    site: program.Site, server: program.Process, tmp_path: Path, serial: bytes, issued_by: bytes, said: str
) -> None:
    der, key = strange.certificate(serial, issued_by)
    (tmp_path / "box.crt").write_text(ssl.DER_cert_to_PEM_cert(der))
    (tmp_path / "box.key").write_bytes(key)
    box = Interceptor(("127.0.0.1", server.port), tmp_path / "box.crt", tmp_path / "box.key")
    box.start()
    site.callback(box.stop)
    profile = site.profile(f"client-{box.port}", box.port)
    done = site.run("connect", "-i", profile, f"127.0.0.1:{server.port}", give=b"x")
    notice = f'nitrosocks: TLS is intercepted by "{said}"; your data stays end-to-end encrypted\n'
    assert notice in done.stderr.decode()
    assert all(line.startswith("nitrosocks: ") for line in done.stderr.decode().splitlines())
