# SPDX-License-Identifier: Apache-2.0
"""What every reader of model files shares: files, limits on foreign bytes, and how what no kernel covers is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from joulet.errors import UnsupportedModelError, UsageError

MAX_RANK = 6
MAX_ELEMENTS = 1 << 28
MAX_NAME_CHARS = 200
# Beyond these a scale is noise, and products of scales would leave the range of float32.
MIN_SCALE, MAX_SCALE = 1e-12, 1e12


class NotCoveredError(Exception):
    """An operator, type or option that no kernel covers; collected by the importer, never seen by a user."""


def read_source(
    source: Path | str | bytes, name: str | None, kind: str, most_bytes: int | None = None
) -> tuple[bytes, str]:
    """Return a model's bytes and the title that messages use; ``kind`` is that of the file, such as ``an .onnx``.

    Raises
    ------
    UnsupportedModelError
        If the file has more than ``most_bytes``.
    UsageError
        If it cannot be read.
    """
    if isinstance(source, bytes):
        return source, name or "model"
    path = Path(source)
    try:
        size = path.stat().st_size
        if most_bytes is not None and size > most_bytes:
            raise UnsupportedModelError(f"{path.name}: has {size:,} bytes, at most {most_bytes:,}")
        return path.read_bytes(), path.name
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror or error}; give the path of {kind}") from error


def refusal(title: str, missing: Sequence[tuple[str, str]], noun: str) -> str:
    """Return one message that lists everything missing as (what, where), grouped; ``noun`` is what is counted."""
    places: dict[str, list[str]] = {}
    for what, where in missing:
        places.setdefault(what, []).append(where)
    listed = "; ".join(f"{what} at {', '.join(repr(n) for n in names)}" for what, names in places.items())
    return (
        f"{title}: {len(missing)} {noun}(s) are not supported: {listed}. "
        "Replace these layers, or cut the model before them"
    )
