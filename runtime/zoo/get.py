# SPDX-License-Identifier: Apache-2.0
"""A model of the zoo as a container: the one that comes with the package, or one made here from a folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulet.compile import compile_model
from joulet.errors import DataError, UsageError
from joulet.zoo.datasets import load_split
from joulet.zoo.measure import FORMAT, measure, parse_measured
from joulet.zoo.recipe import Recipe, packaged

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A container's bytes and its scores; ``made`` tells whether it was compiled and measured now."""

    container: bytes
    measured: dict[str, Any]
    made: bool


def shipped_entry(recipe: Recipe) -> Entry | None:
    """Return what the package carries of a model: container and scores, None where it carries none."""
    container, scores = packaged(f"{recipe.name}.jlt"), packaged(f"{recipe.name}.json")
    if container is None or scores is None:
        return None
    return Entry(container=container, measured=parse_measured(scores, f"{recipe.name}.json"), made=False)


def shipped_scores(recipe: Recipe) -> dict[str, Any] | None:
    """Return the scores that the package carries, also of models whose weights it does not."""
    scores = packaged(f"{recipe.name}.json")
    return None if scores is None else parse_measured(scores, f"{recipe.name}.json")


def make_entry(recipe: Recipe, folder: Path | None, *, progress: Progress | None = None) -> Entry:
    """Compile a model by its recipe and measure it on the test split.

    Parameters
    ----------
    recipe
        Which model.
    folder
        Holds the dataset, and the weights of a reference model.
    progress
        Called with (what, done, total).

    Raises
    ------
    DataError, UsageError, ModelError
        For data or weights that are missing or not what the recipe names.
    """
    model = _weights(recipe, folder)
    calibration = load_split(recipe.dataset.loader, folder, "calibration")
    test = load_split(recipe.dataset.loader, folder, "test")
    data: dict[str, Any] = {"input_0": calibration.x, "labels": calibration.y}
    if calibration.groups is not None:
        data["groups"] = calibration.groups
    result = compile_model(
        model, data=data, exits=recipe.exits, precisions=recipe.precisions, progress=progress, name=recipe.name
    )
    measured = {
        "format": FORMAT,
        "name": recipe.name,
        "model_hash": result.report.model_hash,
        "container_sha256": hashlib.sha256(result.container).hexdigest(),
        "provenance": {
            "how": f"joulet zoo get {recipe.name}" + ("" if folder is None else " --from DIR"),
            "dataset": recipe.dataset.title,
            "calibration": {"samples": len(calibration.y), "sha256": calibration.sha256},
            "test": {"samples": len(test.y), "sha256": test.sha256},
        },
        "paths": measure(result.container, test, progress=progress),
    }
    return Entry(container=result.container, measured=measured, made=True)


def _weights(recipe: Recipe, folder: Path | None) -> bytes:
    if recipe.shipped:
        data = packaged(recipe.model)
        if data is None:
            raise DataError(f"{recipe.name}: the package lacks {recipe.model}; install joulet again")
        source = recipe.model
    else:
        if folder is None:
            raise UsageError(
                f"{recipe.name}: its weights are not ours to ship; give the folder that holds {recipe.model}, --from DIR "
                f"({recipe.model_source})"
            )
        path = _find(folder, recipe.model)
        data, source = path.read_bytes(), str(path)
    found = hashlib.sha256(data).hexdigest()
    if found != recipe.model_sha256:
        raise DataError(
            f"'{source}': sha256 is {found[:16]}…, the recipe {recipe.name!r} is for {recipe.model_sha256[:16]}…; "
            "compile other models with joulet compile"
        )
    return data


def _find(folder: Path, name: str) -> Path:
    """Return a file in a folder, or up to two below it."""
    if not folder.is_dir():
        raise UsageError(f"--from {folder}: is no folder")
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    raise DataError(f"'{folder}': holds no {name}; joulet zoo show says where it comes from")


def write_entry(entry: Entry, path: Path, *, force: bool = False) -> Path:
    """Write a container and its scores beside it, each whole or not at all; return where the scores are.

    Raises
    ------
    UsageError
        If something else is there and ``force`` was not said.
    """
    scores = path.with_suffix(".json")
    text = (json.dumps(entry.measured, indent=1) + "\n").encode()
    wanted = ((path, entry.container), (scores, text))
    if path.suffix == ".json" or path.is_dir():
        raise UsageError(f"-o {path}: give the name of a container, such as {path.stem}.jlt")
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: there is no folder {path.parent}; make it first")
    for place, content in wanted:
        if place.exists() and not force and place.read_bytes() != content:
            raise UsageError(f"'{place}' is there and holds something else; name another file, or say --force")
    for place, content in wanted:
        _write_whole(place, content)
    return scores


def _write_whole(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
