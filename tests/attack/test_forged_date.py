"""What forged_date.py does, in short: a forged Date costs a client one attempt at most."""

from __future__ import annotations

from pathlib import Path

from forged_date import DATES, attack


def test_a_forged_date_costs_an_attempt_and_no_session(tmp_path: Path) -> None:
    attack({name: DATES[name] for name in ("2000", "9999", "garbage")}, tmp_path)
