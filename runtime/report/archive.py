# SPDX-License-Identifier: Apache-2.0
"""Run records as JSON files and back, so that a report can be made, or made again, from a run folder."""

from __future__ import annotations

import collections.abc
import dataclasses
import gzip
import json
import types
import typing
import zlib
from enum import Enum
from pathlib import Path
from typing import Any, cast

from joulet.errors import DataError
from joulet.records import RunRecord

FORMAT = "joulet run 1"


def to_json(run: RunRecord) -> str:
    """Return ``run`` as JSON text; :func:`from_json` gives back an equal record."""
    return json.dumps({"format": FORMAT, "run": _plain(run)}, separators=(",", ":"), default=_unexpected)


def from_json(text: str, *, name: str = "run record") -> RunRecord:
    """Return the record that ``text`` holds.

    Raises
    ------
    DataError
        If the text is not a run record of this version; ``name`` says which file in the message.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DataError(f"{name}: not a run record ('{FORMAT}'); give a file that joulet run or joulet demo wrote")
        return cast(RunRecord, _typed(RunRecord, content["run"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{name}: damaged run record ({error}); run it again") from error


def read(path: Path) -> RunRecord:
    """Return the record in a file, gzipped or not."""
    raw = path.read_bytes()
    try:
        # looked at by content, so that a renamed file still works
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: not a run record; give a .json.gz of a run folder") from error
    return from_json(text, name=path.name)


def save(path: Path, run: RunRecord) -> Path:
    """Write ``run`` gzipped, whole or not at all; the same run gives the same bytes. Return ``path``."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(gzip.compress(to_json(run).encode(), compresslevel=6, mtime=0))
    part.replace(path)
    return path


def _unexpected(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no place in a run record")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, collections.abc.Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _typed(kind: Any, value: Any) -> Any:
    """Return JSON ``value`` as ``kind``, one of the types that the records use."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _choice(arguments, value)
    if origin is tuple:
        return tuple(_typed(arguments[0], item) for item in _of(list, value))
    if origin is collections.abc.Mapping:
        return {key: _typed(arguments[1], item) for key, item in _of(dict, value).items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints, given = typing.get_type_hints(kind), _of(dict, value)
        return kind(**{name: _typed(hints[name], item) for name, item in given.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _of(kind, value)


def _choice(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in kinds:
        return None
    exact = [kind for kind in kinds if kind is type(value)]
    return _typed(exact[0] if exact else kinds[0], value)


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value
