# SPDX-License-Identifier: Apache-2.0
"""How a knob was found is written down before it is touched, so that even after a crash it is put back.

The note lies in /var/lib/joulet (root) or in the user's own state folder. The next run, or ``joulet doctor --restore``, puts back
what a run has left behind. A reboot takes clocks back to what the system sets, so that a note from before it is only dropped;
modes of nvpmodel outlive a reboot and are put back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from joulet.errors import KnobError, MeterError
from joulet.knobs.cpufreq import Write, write_file
from joulet.knobs.open import put_back
from joulet.knobs.seam import Knob
from joulet.meters.machine import Machine

_FORMAT = "joulet knob 1"
_NAME = "knob.json"
_OVER_A_BOOT = ("nvpmodel",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was written down: knob, how it was found, who changed it and since which boot."""

    path: Path
    kind: str
    saved: dict[str, str]
    process: int
    started: str
    boot: str


def note_paths(machine: Machine) -> tuple[Path, ...]:
    """Return where notes may lie: of the system, and of the user."""
    home = Path.home().relative_to(Path("/")) if Path.home().is_absolute() else Path.home()
    return (
        machine.root / "var" / "lib" / "joulet" / _NAME,
        machine.root / home / ".local" / "state" / "joulet" / _NAME,
    )


def left_behind(machine: Machine) -> list[Note]:
    """Return notes of runs that are over and did not put their knob back.

    Raises
    ------
    KnobError
        If a note cannot be read.
    """
    return [note for note in _notes(machine) if not _alive(machine, note)]


def restore(machine: Machine, write: Write = write_file) -> list[str]:
    """Put back what runs have left behind; return what was done, a line each.

    Raises
    ------
    KnobError
        If a knob cannot be put back; its note stays.
    """
    done = []
    for note in left_behind(machine):
        if note.boot != _boot(machine) and note.kind not in _OVER_A_BOOT:
            done.append(f"{note.kind}: this machine was restarted since, which has put it back")
        else:
            try:
                put_back(note.kind, note.saved, machine, write)
            except KnobError as error:
                raise KnobError(f"{note.kind} could not be put back: {error} (written down in {note.path})") from error
            done.append(
                f"{note.kind}: put back to {', '.join(f'{k} {v}' for k, v in note.saved.items()) or 'how it was'}"
            )
        note.path.unlink(missing_ok=True)
    return done


@contextlib.contextmanager
def held(knob: Knob, machine: Machine, write: Write = write_file) -> Iterator[None]:
    """Write down how a knob was found; put it back at the end, also after errors, SIGINT, SIGTERM and SIGHUP.

    Raises
    ------
    KnobError
        If another run that is alive holds a knob, or one that is over has left it behind (call :func:`restore` before the knob is
        opened), or it cannot be written down or put back.
    """
    for note in _notes(machine):
        if _alive(machine, note):
            raise KnobError(f"process {note.process} holds {note.kind} ({note.path}); wait for it, or end it")
        raise KnobError(f"a run has left {note.kind} behind ({note.path}): joulet doctor --restore first")
    saved = knob.saved()
    path = _write_note(machine, knob.name, saved)
    with _signals():
        try:
            yield
        finally:
            with _no_signals():
                try:
                    put_back(knob.name, saved, machine, write)
                except KnobError as error:
                    raise KnobError(
                        f"{knob.name} could not be put back: {error}. Run joulet doctor --restore (as root)"
                    ) from error
                path.unlink(missing_ok=True)


class StoppedError(SystemExit):
    """A signal asked for the end; knobs are put back on the way out."""


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError(128 + number)

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _no_signals() -> Iterator[None]:
    """Hold signals back while a knob is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, kinds)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _boot(machine: Machine) -> str:
    with contextlib.suppress(MeterError):
        return machine.text(machine.root / "proc" / "sys" / "kernel" / "random" / "boot_id")
    return ""


def _started(machine: Machine, process: int) -> str:
    """Return when a process started, in ticks since boot; empty when there is none."""
    with contextlib.suppress(MeterError, IndexError):
        return machine.text(machine.root / "proc" / str(process) / "stat").rpartition(")")[2].split()[19]
    return ""


def _alive(machine: Machine, note: Note) -> bool:
    return note.boot == _boot(machine) and note.started != "" and _started(machine, note.process) == note.started


def _write_note(machine: Machine, kind: str, saved: dict[str, str]) -> Path:
    content = {
        "format": _FORMAT, "knob": kind, "saved": saved, "process": os.getpid(),
        "started": _started(machine, os.getpid()), "boot": _boot(machine),
    }  # fmt: skip
    wrong = []
    for path in note_paths(machine):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path, json.dumps(content))
            return path
        except OSError as error:
            wrong.append(f"{path}: {error.strerror or error}")
    raise KnobError(
        f"how {kind} was found cannot be written down, so it is left alone: {'; '.join(wrong)}; run as root"
    )


def _create(path: Path, text: str) -> None:
    """Make a file that is whole or not there; an error where one is there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    finally:
        part.unlink(missing_ok=True)


def _notes(machine: Machine) -> list[Note]:
    found = []
    for path in note_paths(machine):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise KnobError(f"{path}: {error.strerror or error}; run joulet doctor --restore as root") from error
        found.append(_parse(path, text))
    return found


def _parse(path: Path, text: str) -> Note:
    try:
        told: Any = json.loads(text)
        saved = {str(name): str(value) for name, value in told["saved"].items()}
        if told["format"] != _FORMAT:
            raise ValueError(told["format"])
        return Note(
            path=path, kind=str(told["knob"]), saved=saved, process=int(told["process"]), started=str(told["started"]),
            boot=str(told["boot"]),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise KnobError(
            f"{path}: is not what joulet writes; look at it, put the clocks right, and delete it"
        ) from error
