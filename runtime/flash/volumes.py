# SPDX-License-Identifier: Apache-2.0
"""USB volumes that take images: UF2 boot loaders and the debuggers of boards (ST-LINK, DAPLink, J-Link)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from joulet.errors import FlashError, UsageError
from joulet.flash.surroundings import Surroundings

_FILE_SYSTEMS = {"vfat", "msdos", "exfat", "fuseblk"}
_DEBUGGER_FILES = ("DETAILS.TXT", "MBED.HTM", "MBED.HTML")
_MAX_TEXT_BYTES = 16_384
_CHUNK_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume: ``kind`` is ``uf2`` or ``debugger``; ``board_id`` and ``model`` are what its files say, or empty."""

    path: Path
    kind: str
    board_id: str = ""
    model: str = ""


def find_volumes(around: Surroundings) -> list[Volume]:
    """Return the mounted volumes that take images, by mount point."""
    found = (look_at(path) for path in _mount_points(around.root))
    return sorted((volume for volume in found if volume is not None), key=lambda volume: volume.path)


def look_at(path: Path) -> Volume | None:
    """Return what volume a folder is, or None when it takes no images."""
    info = read_text(path / "INFO_UF2.TXT")
    if info is not None:
        return Volume(path=path, kind="uf2", board_id=_entry(info, "Board-ID"), model=_entry(info, "Model"))
    for name in _DEBUGGER_FILES:
        if (text := read_text(path / name)) is not None:
            model = "DAPLink" if "daplink" in text.lower() else "J-Link" if "segger" in text.lower() else "debugger"
            return Volume(path=path, kind="debugger", board_id=_entry(text, "Unique ID"), model=model)
    return None


def at_mount(path: Path, kind: str) -> Volume:
    """Return the volume that the user pointed at.

    Raises
    ------
    UsageError
        If it is no volume of this kind.
    """
    volume = look_at(path)
    if volume is None or volume.kind != kind:
        missing = "INFO_UF2.TXT" if kind == "uf2" else "DETAILS.TXT or MBED.HTM"
        raise UsageError(f"--mount {path}: no {missing} there, so it is no {kind} volume; joulet devices lists them")
    return volume


def read_text(path: Path) -> str | None:
    """Return a small text file of a volume, or None when it is not there (or no longer)."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return None


def copy_onto(target: Path, data: bytes, tell: Callable[[int], None]) -> None:
    """Write a file onto a volume and flush it; a volume may vanish with the last byte, as the board restarts.

    Raises
    ------
    FlashError
        If it cannot be written.
    """
    done = 0
    try:
        with target.open("wb", buffering=0) as file:
            while done < len(data):
                done += file.write(data[done : done + _CHUNK_BYTES])
                tell(done)
            os.fsync(file.fileno())
    except OSError as error:
        if done < len(data) or target.parent.is_dir():
            raise FlashError(
                f"cannot write '{target}': {error.strerror or error} ({done} of {len(data)} bytes went); "
                "unplug the board, plug it in again and flash again"
            ) from error


def _entry(text: str, key: str) -> str:
    found = re.search(rf"^\s*{re.escape(key)}\s*:[ \t]*([^\r\n]*)", text, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else ""


def _mount_points(root: Path) -> list[Path]:
    table = read_mounts(root)
    if table is None:  # no Linux
        folder = root / "Volumes"
        return sorted(folder.iterdir()) if folder.is_dir() else []
    points = []
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) >= 3 and fields[2] in _FILE_SYSTEMS:
            name = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1])
            points.append(root / name.lstrip("/"))
    return points


def read_mounts(root: Path) -> str | None:
    """Return the table of mounts, or None where there is none."""
    try:
        return (root / "proc" / "mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
