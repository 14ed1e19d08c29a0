# SPDX-License-Identifier: Apache-2.0
"""Recipes: one TOML file a model says where its weights and data come from and how it is compiled."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from joulet.errors import DataError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the newest Python is what tests run on
    import tomli as tomllib

FORMAT = "joulet zoo 1"
WEIGHTS = ("ours", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What a model is calibrated and measured on.

    ``url`` is where its owners keep it, ``archive_sha256`` the hash of what lies there, empty where it is not known;
    then nothing is downloaded, and a folder must be given. ``contents`` says what that folder holds.
    """

    loader: str
    title: str
    licence: str
    url: str
    archive_sha256: str
    contents: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model. ``weights`` is ``ours`` (``model`` comes with the package) or ``reference`` (the user's folder has it)."""

    name: str
    title: str
    description: str
    weights: str
    licence: str
    model: str
    model_sha256: str
    model_source: str
    labels: tuple[str, ...]
    dataset: Dataset
    exits: str
    precisions: tuple[str, ...]

    @property
    def shipped(self) -> bool:
        """Whether the package carries the weights."""
        return self.weights == "ours"


def parse_recipe(text: str, source: str) -> Recipe:
    """Return a recipe.

    Raises
    ------
    DataError
        Naming the field that is missing or wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{source}: is no TOML ({error})") from error
    if table.get("format") != FORMAT:
        raise DataError(f"{source}: format is {table.get('format')!r}, this joulet reads '{FORMAT}'")
    data, how = _table(table, "dataset", source), _table(table, "compile", source)
    recipe = Recipe(
        **{
            key: _text(table, key, source)
            for key in (
                "name", "title", "description", "weights", "licence", "model", "model_sha256", "model_source",
            )
        },
        labels=_texts(table, "labels", source),
        dataset=Dataset(
            **{
                key: _text(data, key, source)
                for key in ("loader", "title", "licence", "url", "archive_sha256", "contents")
            }
        ),
        exits=_text(how, "exits", source),
        precisions=_texts(how, "precisions", source),
    )  # fmt: skip
    if recipe.weights not in WEIGHTS:
        raise DataError(f"{source}: weights is {recipe.weights!r}, one of {', '.join(WEIGHTS)} is needed")
    for key, value in (
        ("model_sha256", recipe.model_sha256),
        ("archive_sha256", recipe.dataset.archive_sha256 or "0" * 64),
    ):
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise DataError(f"{source}: {key} is not 64 lower-case hex digits")
    return recipe


def _table(table: dict[str, Any], key: str, source: str) -> dict[str, Any]:
    value = table.get(key)
    if not isinstance(value, dict):
        raise DataError(f"{source}: the table [{key}] is missing")
    return value


def _text(table: dict[str, Any], key: str, source: str) -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise DataError(f"{source}: {key} is missing or is no text")
    return value


def _texts(table: dict[str, Any], key: str, source: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise DataError(f"{source}: {key} is missing or is no list of texts")
    return tuple(value)


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    folder = files("joulet.zoo") / "recipes"
    return tuple(sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")))


def load_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in recipe_names():
        raise UsageError(f"no model {name!r} in the zoo; there are {', '.join(recipe_names())}")
    return parse_recipe((files("joulet.zoo") / "recipes" / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml")


def packaged(name: str) -> bytes | None:
    """Return a file that the package carries among its models, None where it does not."""
    for path in (files("joulet.zoo") / "models" / name, files("joulet.demo") / name):
        if path.is_file():
            return path.read_bytes()
    return None


def card(name: str) -> str:
    """Return the model card."""
    path = files("joulet.zoo") / "cards" / f"{name}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
