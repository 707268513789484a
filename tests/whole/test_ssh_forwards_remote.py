"""docs/ssh.md: what people type behind ssh -R does the same with nitrosocks, or differs as the page says."""

from __future__ import annotations

import ssh_compared
from ssh_compared import Compare

compare = ssh_compared.compare


def test_remote_forwards(compare: Compare) -> None:
    compare("-R, line by line")
