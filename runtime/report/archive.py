# SPDX-License-Identifier: Apache-2.0
"""Run records as JSON files and back, so that a report can be made, or made again, from a run folder."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import gzip
import json
import types
import typing
import zlib
from enum import Enum
from pathlib import Path
from typing import Any, cast

from joulet.errors import DataError, UsageError
from joulet.metered_run import EdgeRecord
from joulet.records import RunRecord

FORMAT = "joulet run 1"
METERED = "joulet metered run 1"
_KINDS = {FORMAT: RunRecord, METERED: EdgeRecord}

AnyRun = RunRecord | EdgeRecord
_LEAVES = (float, int, str, bool, type(None))  # most of a record by far


def to_json(run: AnyRun) -> str:
    """Return ``run`` as JSON text; :func:`from_json` gives back an equal record."""
    name = METERED if isinstance(run, EdgeRecord) else FORMAT
    return json.dumps({"format": name, "run": plain(run)}, separators=(",", ":"), default=_unexpected)


def from_json(text: str, *, name: str = "run record") -> RunRecord:
    """Return the record of a simulated or live run that ``text`` holds.

    Raises
    ------
    DataError
        As :func:`any_from_json`, and if it is that of a metered run.
    """
    return _simulated(any_from_json(text, name=name), name)


def any_from_json(text: str, *, name: str = "run record") -> AnyRun:
    """Return the record that ``text`` holds, of a simulated or live run or of a metered one.

    Raises
    ------
    DataError
        If the text is not a run record of this version; ``name`` says which file in the message.
    """
    try:
        content = json.loads(text)
        kind = _KINDS.get(str(content.get("format"))) if isinstance(content, dict) else None
        if kind is None:
            raise DataError(f"{name}: not a run record ('{FORMAT}'); give a file that joulet run or joulet demo wrote")
        return cast(AnyRun, typed(kind, content["run"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{name}: damaged run record ({error}); run it again") from error


def find(path: Path) -> Path:
    """Return the run record that a path means: itself, or the one in a run folder.

    Raises
    ------
    UsageError
        If there is none, or several.
    """
    if not path.is_dir():
        if not path.is_file():
            raise UsageError(f"cannot read '{path}': no such file")
        return path
    records = sorted(path.glob("*.json.gz"))
    if len(records) != 1:
        raise UsageError(f"'{path}' holds {len(records)} run records (*.json.gz); name one of them")
    return records[0]


def _simulated(run: AnyRun, name: str) -> RunRecord:
    if isinstance(run, EdgeRecord):
        raise DataError(f"{name}: a metered run; here one of a harvester is asked for")
    return run


def read(path: Path) -> RunRecord:
    """Return the record of a simulated or live run in a file, gzipped or not."""
    return _simulated(read_any(path), path.name)


def read_any(path: Path) -> AnyRun:
    """Return the record in a file, gzipped or not, of whichever kind."""
    return any_from_json(read_text(path, remedy="not a run record; give a .json.gz of a run folder"), name=path.name)


def read_text(path: Path, *, remedy: str) -> str:
    """Return the text of a file, gzipped or not; ``remedy`` ends the message where it is neither."""
    raw = path.read_bytes()
    try:
        # looked at by content, so that a renamed file still works
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: {remedy}") from error


def save(path: Path, run: AnyRun) -> Path:
    """Write ``run`` gzipped, whole or not at all; the same run gives the same bytes. Return ``path``."""
    return save_bytes(path, gzip.compress(to_json(run).encode(), compresslevel=6, mtime=0))


def save_bytes(path: Path, content: bytes) -> Path:
    """Write ``content`` whole or not at all; return ``path``."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    return path


def _unexpected(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no place in a run record")


def plain(value: Any) -> Any:
    """Return a record, or what it holds, as what JSON knows: dicts of its fields, lists, enum values."""
    if type(value) in _LEAVES:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, collections.abc.Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def typed(kind: Any, value: Any) -> Any:
    """Return JSON ``value`` as ``kind``, one of the types that the records use."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _choice(arguments, value)
    if origin is tuple:
        return tuple(typed(arguments[0], item) for item in _of(list, value))
    if origin is collections.abc.Mapping:
        return {key: typed(arguments[1], item) for key, item in _of(dict, value).items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints, given = _hints(kind), _of(dict, value)
        return kind(**{name: typed(hints[name], item) for name, item in given.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _of(kind, value)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _choice(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in kinds:
        return None
    exact = [kind for kind in kinds if kind is type(value)]
    return typed(exact[0] if exact else kinds[0], value)


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value
