# SPDX-License-Identifier: Apache-2.0
"""The folder that ``joulet build`` makes: an image, and a manifest that says for which board and what must be in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulet.errors import DataError, UsageError
from joulet.flash.image import Image, read_file, read_hex

FORMAT = "joulet-image/1"
MANIFEST = "manifest.json"
_MAX_SEGMENTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build: its image, the board it is for, and what the board must answer when it runs.

    ``build_id`` is the 8 bytes of HELLO, ``model_hash`` the hash of the container's canonical part [hex digits];
    both are empty for an image file that came without a manifest, and so may ``board`` be.
    """

    image: Image
    source: Path
    board: str = ""
    build_id: bytes = b""
    model_hash: str = ""


def default_folder(board: str) -> Path:
    """Return where ``joulet build`` leaves its files for a board."""
    return Path("joulet-build") / board


def read_build(folder: Path) -> Build:
    """Read a build folder; every segment that the manifest names is compared with its hash.

    Raises
    ------
    UsageError
        If there is no build.
    DataError
        If the manifest is broken, or the image is not the one it describes.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(
            f"'{folder}' holds no {MANIFEST}: make it with joulet build M.jlt --board B, or give --image DIR"
        )
    manifest = _parse(read_file(path), path)
    board, build_id, model_hash = (_text(manifest, key, path) for key in ("board", "build_id", "model_hash"))
    for key, value, digits in (("build_id", build_id, 16), ("model_hash", model_hash, 64)):
        if not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
            raise DataError(f"'{path}': {key} is not {digits} lower-case hex digits")
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise DataError(f"'{path}': files is not a table")
    name = _text(files, "hex", path)
    if not name or Path(name).name != name:
        raise DataError(f"'{path}': the file name '{name}' leads out of the folder")
    image = read_hex(read_file(folder / name), str(folder / name))
    _compare(image, manifest.get("segments"), path)
    return Build(image=image, source=folder, board=board, build_id=bytes.fromhex(build_id), model_hash=model_hash)


def _parse(data: bytes, path: Path) -> Mapping[str, Any]:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}': no JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise DataError(f"'{path}': format is {found!r}; this joulet reads '{FORMAT}'")
    return manifest


def _text(table: Mapping[str, Any], key: str, path: Path) -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise DataError(f"'{path}': {key} is missing or is no text")
    return value


def _compare(image: Image, segments: object, path: Path) -> None:
    if not isinstance(segments, list) or not 0 < len(segments) <= _MAX_SEGMENTS:
        raise DataError(f"'{path}': segments is not a list of 1 to {_MAX_SEGMENTS}")
    for index, segment in enumerate(segments):
        fields = segment if isinstance(segment, dict) else {}
        address, size, digest = (fields.get(key) for key in ("address", "bytes", "sha256"))
        for value in (address, size):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
                raise DataError(f"'{path}': segment {index} lacks an address or a number of bytes")
        assert isinstance(address, int)
        assert isinstance(size, int)
        try:
            found = image.part(address, size)
        except DataError as error:
            raise DataError(f"'{path}': segment {index}: {error}; build again") from error
        if hashlib.sha256(found).hexdigest() != digest:
            name = fields.get("name")
            raise DataError(f"'{path}': segment {index} ({name}) is not what the manifest hashed; build again")
