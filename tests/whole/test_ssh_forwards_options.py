"""docs/ssh.md: ssh -D, and the other options that people type with it, beside nitrosocks."""

from __future__ import annotations

import ssh_compared
from ssh_compared import Compare

compare = ssh_compared.compare


def test_dynamic_forwards(compare: Compare) -> None:
    compare("-D, line by line")


def test_other_options(compare: Compare) -> None:
    compare("Other options, line by line")
