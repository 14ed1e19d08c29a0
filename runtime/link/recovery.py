# SPDX-License-Identifier: Apache-2.0
"""From whatever state a board is in to a known one; PROTOCOL.md §5."""

from __future__ import annotations

import time

from joulet.errors import LinkError
from joulet.link import wire
from joulet.link.frames import Frame, encode
from joulet.link.port import Port
from joulet.link.runner import Runner

_TRIES = 6


def recover(port: Port, timeout_s: float = 5.0) -> Runner:
    """Bring a board to ASCII mode from whatever state it is in.

    Raises
    ------
    LinkError
        If it does not answer ``name%``.
    """
    runner = Runner(port, timeout_s)
    end_s = time.monotonic() + 1.5 * timeout_s
    for attempt in range(_TRIES):
        # ends a frame, leaves frame mode, ends a command; then the board is asked who it is
        port.write(b"\0" + encode(Frame(wire.CODES["Message"]["BYE"], 0, b"")) + b"%")
        runner.clear()
        try:
            runner.name()
        except LinkError:
            if attempt == _TRIES - 1 or time.monotonic() > end_s:
                raise
        else:
            if not runner.clear() or attempt == _TRIES - 1:
                return runner
    raise AssertionError("unreachable")


def ask_for_frames(port: Port, timeout_s: float) -> None:
    """Bring a board to where HELLO switches to frames.

    Raises
    ------
    LinkError
        If nothing answers, or the firmware is another one.
    """
    end_s = time.monotonic() + 2.0 * timeout_s
    for attempt in range(_TRIES):
        runner = recover(port, timeout_s)
        final = attempt == _TRIES - 1 or time.monotonic() > end_s
        try:
            lines = runner.command("joulet 1")
        except LinkError:
            if final:
                raise
            continue
        if not lines:
            return
        if final:
            raise LinkError(
                f"the board knows no frames ({' '.join(lines)}): it runs another firmware; joulet flash puts ours on it"
            )
