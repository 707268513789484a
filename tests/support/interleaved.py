"""Calls in the orders that several threads can give them, without threads: what runs is the code as it is.

A call is stopped in front of one of its bytecodes, and another one runs there, whole: that is what a thread meets which
is held up amid a call while others go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

Call = Callable[[], Any]


def stopped(call: Call, intruders: dict[int, Call]) -> int:
    """Runs `call`, and each intruder in front of the bytecode of its number, from 1; returns how many there were.

    Functions that `call` calls are part of it.
    """
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace = trace  # before the next: where there is none, Python 3.13 does not trace bytecodes
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            count += 1
            if count in intruders:
                sys.settrace(None)
                intruders[count]()
                sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 traces bytecodes only if some frame asked before settrace
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def each_order(scene: Callable[[], tuple[Call, Call, Call]]) -> int:
    """`scene()` makes a call, an intruder and a check: the check follows the call, wherever the intruder came.

    Returns in how many places it did.
    """
    call, _, check = scene()
    places = stopped(call, {})
    check_late(scene)
    for at in range(1, places + 1):
        call, intrude, check = scene()
        stopped(call, {at: intrude})
        check()
    return places


def check_late(scene: Callable[[], tuple[Call, Call, Call]]) -> None:
    """The intruder comes behind the call."""
    call, intrude, check = scene()
    call()
    intrude()
    check()


def each_order_of_two(scene: Callable[[], tuple[Call, Call, Call, Call]]) -> int:
    """The same with two intruders, of which the second comes in the same place as the first, or later."""
    places = stopped(scene()[0], {})
    for first in range(1, places + 1):
        for second in range(first, places + 1):
            call, one, two, check = scene()
            both = {first: one, second: two} if second > first else {first: lambda one=one, two=two: (one(), two())}
            stopped(call, both)
            check()
    return places
