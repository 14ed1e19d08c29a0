# SPDX-License-Identifier: Apache-2.0
"""After flashing: ask the running board which build and which model it has.

That finds copies with holes in them: the build id is the firmware's, the board sums up all of its firmware, and it checks
the sum of every section of the model before it answers for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

from joulet.errors import JouletError, MissingDependencyError
from joulet.flash.build import Build
from joulet.flash.flasher import OnEvent, Result, task
from joulet.flash.surroundings import BAUD, Surroundings

_ANSWERS_WITHIN_S = 15.0
_REPLY_S = 5.0


class Connect(Protocol):
    """:func:`joulet.link.connect`, or what stands for it."""

    def __call__(self, port: str, *, baud: int, timeout_s: float) -> AbstractContextManager[Any]:
        """Shake hands with the board at a port; its HELLO is ``.hello``, ``.firmware()`` the sum of its firmware."""


def load_connect() -> Connect:
    """Return :func:`joulet.link.connect`.

    Raises
    ------
    MissingDependencyError
        If this installation has no link.
    """
    try:
        from joulet.link import connect
    except ImportError as error:
        raise MissingDependencyError(f"this installation cannot talk to boards ({error})") from error
    return connect


def verify(
    result: Result,
    build: Build,
    port: str | None,
    around: Surroundings,
    on_event: OnEvent,
    *,
    connect: Callable[[], Connect] = load_connect,
    baud: int = BAUD,
    within_s: float = _ANSWERS_WITHIN_S,
) -> Result:
    """Return the result with what the board answered: ``verified``, or the reason why not."""
    if not build.build_id:
        return replace(result, reason=f"'{build.source}' has no build id to compare with (no manifest.json)")
    if port is None:
        return replace(result, reason="no serial port is known: give --port (joulet devices lists them)")
    with task(on_event, "handshake", f"asking {port} for its build id"):
        try:
            hello, firmware = _ask(connect(), port, around, baud, within_s)
        except (JouletError, OSError) as error:
            return replace(result, reason=f"no handshake on {port}: {error}")
    reason = _difference(hello, build, port) or _holes(firmware, build, port)
    return replace(result, verified=not reason, reason=reason)


def _difference(hello: Any, build: Build, port: str) -> str:
    """Return what the board answers otherwise than it should; empty when nothing."""
    found = bytes(hello.build_id)
    if found != build.build_id:
        return (
            f"the board at {port} runs build {found.hex()} ({hello.board}), not {build.build_id.hex()}: the copy did not "
            "arrive, or another board answers; flash again"
        )
    if not build.model_hash.strip("0"):  # firmware alone
        return ""
    if hello.model_status != 0:
        return (
            f"the board at {port} runs the firmware and refuses the model (status {hello.model_status}): the copy has holes, or "
            "the model needs more RAM than there is; flash again, and see what joulet build says of its memory"
        )
    if hello.model_hash != build.model_hash and hello.model_side == "B":
        return (
            f"the board at {port} runs model {hello.model_hash[:16]}…, which came over its link after this very image: "
            "Board.rollback('MODEL') of joulet.link goes back"
        )
    if hello.model_hash != build.model_hash:
        return f"the board at {port} has model {hello.model_hash[:16]}…, not {build.model_hash[:16]}…; flash again"
    return ""


def _holes(firmware: tuple[int, int, int, int], build: Build, port: str) -> str:
    """Return where the firmware differs from the image; empty when it does not."""
    address, n_bytes, crc32, model_status = firmware
    expected = bytearray(b"\xff") * n_bytes
    for start, data in build.image.segments:
        low, high = max(start, address), min(start + len(data), address + n_bytes)
        if low < high:
            expected[low - address : high - address] = data[low - start : high - start]
    if build.model_hash.strip("0") and model_status != 0:
        return f"the model on the board at {port} has holes: its sums are wrong (status {model_status}); flash again"
    if zlib.crc32(expected) == crc32:
        return ""
    return f"the firmware of the board at {port} has holes: its sum is not that of the image; flash again"


def _ask(
    connect: Connect, port: str, around: Surroundings, baud: int, within_s: float
) -> tuple[Any, tuple[int, int, int, int]]:
    """Shake hands; try again while the board restarts and its port comes back."""
    ends_s = around.clock() + within_s
    while True:
        try:
            with connect(port, baud=baud, timeout_s=_REPLY_S) as board:
                return board.hello, board.firmware()
        except (JouletError, OSError):
            if around.clock() >= ends_s:
                raise
            around.sleep(0.5)
