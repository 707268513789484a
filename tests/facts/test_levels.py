"""levels: a note stands between what -v shows and what is a warning."""

import logging

from nitrosocks_lib.facts.levels import NOTE


def test_a_note_is_more_than_info_and_less_than_a_warning() -> None:
    assert logging.INFO < NOTE < logging.WARNING
