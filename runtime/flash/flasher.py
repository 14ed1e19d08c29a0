# SPDX-License-Identifier: Apache-2.0
"""The seam between an image and a board: what every way of flashing offers, and the events it tells.

Events are what ``joulet flash --json`` prints, one object a line: ``{"type": "task_begin" | "task_progress" | "task_end" |
"log", "data": {…}}``. ``data`` of a task has ``task``, and ``title`` and ``total`` when it begins, ``done`` and ``total`` as
it goes on, ``ok`` when it ends; ``data`` of a log has ``level`` and ``message``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from joulet.errors import UsageError
from joulet.flash.facts import FlashFacts
from joulet.flash.image import Image

OnEvent = Callable[[dict[str, object]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One thing an image can be given to: a probe, a volume, a port or a program. ``id`` tells it from others."""

    via: str
    id: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How flashing ended.

    ``read_back`` says that the way itself compared what it wrote; ``verified`` that the board, running, answered with the
    build id that was sent. ``reason`` is empty when verified, else says why not.
    """

    via: str
    device: str
    bytes_written: int
    read_back: bool
    verified: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user said about the way: serial port, probe, CMSIS pack, mount point; None where nothing was said."""

    port: str | None = None
    probe: str | None = None
    pack: Path | None = None
    mount: Path | None = None


class Flasher(Protocol):
    """One way of flashing, made for one board."""

    @property
    def via(self) -> str:
        """Name, as ``--via`` takes it."""

    def probe(self) -> list[Device]:
        """Return what is there now to flash through; empty when nothing is.

        Raises
        ------
        JouletError
            If this way cannot work here at all, with the remedy.
        """

    def plan(self, image: Image) -> list[str]:
        """Return the steps that :meth:`flash` would take, in words."""

    def flash(self, image: Image, on_event: OnEvent) -> Result:
        """Put the image onto the board and start it.

        Raises
        ------
        FlashError
            If the board, probe or volume does not take it.
        """


@dataclass(slots=True)
class Task:
    """A task under way; :meth:`advance` tells of each whole per cent once."""

    name: str
    total: int
    on_event: OnEvent
    told: int = -1

    def advance(self, done: float) -> None:
        """Tell how many of ``total`` are done."""
        per_cent = int(100 * min(done, self.total) / max(self.total, 1))
        if per_cent > self.told:
            self.told = per_cent
            data: dict[str, object] = {"task": self.name, "done": int(min(done, self.total)), "total": self.total}
            self.on_event({"type": "task_progress", "data": data})


@contextmanager
def task(on_event: OnEvent, name: str, title: str, total: int = 1) -> Iterator[Task]:
    """Tell that a task begins, and how it ended."""
    on_event({"type": "task_begin", "data": {"task": name, "title": title, "total": total}})
    ok = False
    try:
        yield Task(name, total, on_event)
        ok = True
    finally:
        on_event({"type": "task_end", "data": {"task": name, "ok": ok}})


def log(on_event: OnEvent, level: str, message: str) -> None:
    """Tell a line; ``level`` is ``info``, ``warning`` or ``error``."""
    on_event({"type": "log", "data": {"level": level, "message": message}})


def check_fits(image: Image, facts: FlashFacts) -> None:
    """Refuse an image that is not within the board's flash.

    Raises
    ------
    UsageError
        With the addresses.
    """
    end = facts.base + facts.flash_bytes
    if image.base < facts.base or image.end > end:
        raise UsageError(
            f"the image covers {image.base:#010x} to {image.end - 1:#010x}, but the flash of {facts.board} for images is "
            f"{facts.base:#010x} to {end - 1:#010x}: it was built for another board, or is too large"
        )


def one_of(devices: list[Device], wanted: str | None, option: str) -> Device:
    """Return the device to use: the one asked for, or the only one.

    Raises
    ------
    UsageError
        If there is none, or no way to tell which.
    """
    chosen = [device for device in devices if wanted is None or wanted.lower() in device.id.lower()]
    if len(chosen) == 1:
        return chosen[0]
    listed = ", ".join(f"{device.id} ({device.description})" for device in devices) or "nothing"
    if chosen:
        raise UsageError(f"several devices fit: {listed}; say which with {option}")
    raise UsageError(f"no device {'fits ' + repr(wanted) if wanted else 'is there'}; found: {listed}")
