# SPDX-License-Identifier: Apache-2.0
"""Tables of a study file, and the options in them, checked against the fields of a job: a new field is a new option."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from joulet.errors import UsageError
from joulet.simulate.job import Job
from joulet.units import parse_quantity

_UNITS = {"f": "F", "s": "s", "j": "J", "w": "W", "v": "V", "a": "A", "hz": "Hz", "ohm": "ohm"}
_HINTS = typing.get_type_hints(Job)
# what a study says by its models and traces, or not at all
_OWN = ("model", "data", "trace", "cache")
TUPLES = tuple(name for name, hint in _HINTS.items() if typing.get_origin(hint) is tuple)
"""Fields that hold several words; a list in a study is one value of them."""
_POSITIVE = ("capacitor_f", "store_inferences", "scale", "harvest_ratio", "duration_s", "deadline_s", "leakage_ohm")
_NO_FILES = ("policies", "arrivals", "family", "refit", "refit_rule", "refit_surplus")
_LEAST = {"queue": 1}


class Options(dict[str, list[Any]]):
    """Values by field of a job, and where they were read."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where


@dataclass(frozen=True, slots=True)
class Entry:
    """A table of a study: its content, its name for messages, and the folder that its paths are relative to."""

    table: Mapping[str, Any]
    where: str
    folder: Path

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value as it stands."""
        return self.table.get(key, default)

    def inner(self, key: str, table: object) -> Entry:
        """Return a table within this one."""
        if not isinstance(table, dict):
            raise UsageError(f'{self.where}: {key} must be a table, such as {{data = "FIT.npz"}}')
        return Entry(table, f"{self.where}, {key}", self.folder)

    def tables(self, key: str) -> list[Entry]:
        """Return the tables of a list such as ``[[model]]``, at least one."""
        found = self.get(key, [])
        if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
            raise UsageError(f"{self.where}: needs one [[{key}]] or more")
        return [Entry(each, f"{self.where}, {key} {number}", self.folder) for number, each in enumerate(found, 1)]

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text."""
        value = self.get(key, default)
        if not isinstance(value, str) or not value:
            raise UsageError(
                f"{self.where}: {key} must be a text" if key in self.table else f"{self.where}: lacks {key}"
            )
        return value

    def path(self, key: str) -> Path:
        """Return the path of a file that is there."""
        path = self.folder / self.text(key)
        if not path.is_file():
            raise UsageError(f"{self.where}: {key} '{self.text(key)}': there is no file {path}")
        return path

    def check_keys(self, known: Iterable[str]) -> None:
        """Refuse a key that is not known, and name the nearest one."""
        names = list(known)
        for key in self.table:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
                advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names))}"
                raise UsageError(f"{self.where}: no option '{key}'; {advice}")


def option_names() -> dict[str, str]:
    """Return how options may be written, each with its field: ``leakage`` and ``leakage_ohm``."""
    names = {field.name: field.name for field in fields(Job) if field.name not in _OWN}
    return {_short(name): name for name in names} | names


def _short(name: str) -> str:
    stem, _, last = name.rpartition("_")
    return stem if stem and last in _UNITS else name


def read_options(entry: Entry, *, but: Sequence[str] = ()) -> Options:
    """Return the options of a table; ``but`` names its other keys.

    Raises
    ------
    UsageError
        If a key is not known or a value does not fit; the message names the table.
    """
    names = option_names()
    entry.check_keys([*but, *names])
    options = Options(entry.where)
    for key, value in entry.table.items():
        if key in but:
            continue
        field = names[key]
        if field in options:
            raise UsageError(f"{entry.where}: {_short(field)} and {field} are the same; give one")
        several = isinstance(value, list) and field not in TUPLES
        if several and not value:
            raise UsageError(f"{entry.where}: {key} is an empty list; give it a value or leave it out")
        read = [_value(entry, key, field, each) for each in (value if several else [value])]
        options[field] = list(dict.fromkeys(read))
    return options


def _value(entry: Entry, key: str, field: str, value: Any) -> Any:
    what = f"{entry.where}: {key}"
    hint = _HINTS[field]
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    kind = kinds[0] if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else hint
    if field in TUPLES:
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            raise UsageError(f"{what} must be a list of texts")
        return tuple(dict.fromkeys(_file(entry, key, field, each) for each in value))
    if kind is float:
        return _number(what, field, value)
    if kind is str and isinstance(value, str):
        return _file(entry, key, field, value)
    if kind is Path and isinstance(value, str):
        return entry.folder / value
    least = _LEAST.get(field, 0)
    if type(value) is not kind or (kind is int and value < least):
        wanted = {bool: "true or false", int: f"a whole number of {least} or more"}.get(kind, "a text")
        raise UsageError(f"{what} is {value!r}; it must be {wanted}")
    return value


def _number(what: str, field: str, value: object) -> float:
    unit = _UNITS.get(field.rpartition("_")[2])
    if isinstance(value, str) and unit is not None:
        return parse_quantity(value, unit, what=what, allow_zero=field not in _POSITIVE)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{what} is {value!r}; it must be a number" + (f" or a quantity in {unit}" if unit else ""))
    least = "more than zero" if field in _POSITIVE else "zero or more"
    if not math.isfinite(value) or value < 0.0 or (value == 0.0 and field in _POSITIVE):
        raise UsageError(f"{what} is {value}; it must be {least}")
    return float(value)


def _file(entry: Entry, key: str, field: str, text: str) -> str:
    """Return the path of a file beside the study, or the text itself where there is none of that name."""
    path = entry.folder / text
    if field not in _NO_FILES and path.is_file():
        return str(path)
    if field == "train" and ":" not in text:
        raise UsageError(f"{entry.where}: {key} '{text}': there is no file {path}")
    return text
