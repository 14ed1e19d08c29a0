# SPDX-License-Identifier: Apache-2.0
"""The state of a fine-tuning between sittings: one .npz, written whole or not at all, tied to what is being trained."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from joulet.errors import DataError, UsageError
from joulet.quant.probe import Array

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """Where a fine-tuning stands; arrays are in the order of ``Net.state``."""

    step: int
    parameters: list[Array]
    moments: list[Array]
    best: list[Array]
    best_score: float
    losses: list[float]
    epochs: list[tuple[int, float, dict[str, float]]]


class Store:
    """A checkpoint file, or nothing when ``path`` is None.

    Parameters
    ----------
    path
        The file.
    identity
        A hash of model, data and options; a checkpoint of something else is refused.
    resume
        Continue from the file if it is there; without it an existing file is an error, so that no work is lost.
    """

    def __init__(self, path: Path | None, identity: str, *, resume: bool) -> None:
        self.path, self.identity, self.resume = path, identity, resume
        if path is not None and path.exists() and not resume:
            raise UsageError(f"{path}: a checkpoint is there; continue it with --resume, or delete it to begin again")

    def load(self, net: Any) -> Checkpoint | None:
        """Return the checkpoint, or None where there is none.

        Raises
        ------
        DataError
            For a file that is damaged, or belongs to another model, data or options.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                head = json.loads(bytes(file["head"]).decode())
                arrays = {key: file[key] for key in file.files if key != "head"}
            if head["format"] != _FORMAT:
                raise ValueError(f"format {head['format']}")
            shapes = [a.shape for a in net.state()]
            parts = {k: [arrays[f"{k}_{i}"] for i in range(len(shapes))] for k in ("parameters", "best")}
            moments = [arrays[f"moments_{i}"] for i in range(2 * len(shapes))]
            wanted = [*shapes, *shapes, *(s for s in shapes for _ in (0, 1))]
            if [a.shape for a in [*parts["parameters"], *parts["best"], *moments]] != wanted:
                raise ValueError("arrays of other shapes")
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: is not a usable checkpoint ({error}); delete it to begin again") from error
        if head["identity"] != self.identity:
            raise DataError(f"{self.path}: belongs to another model, data or options; give those, or delete it")
        return Checkpoint(
            step=int(head["step"]),
            parameters=parts["parameters"],
            moments=moments,
            best=parts["best"],
            best_score=float(head["best_score"]),
            losses=[float(v) for v in head["losses"]],
            epochs=[(int(n), float(loss), dict(held)) for n, loss, held in head["epochs"]],
        )

    def save(self, state: Checkpoint) -> None:
        """Write the checkpoint so that it is there whole or not at all."""
        if self.path is None:
            return
        head = {
            "format": _FORMAT,
            "identity": self.identity,
            "step": state.step,
            "best_score": state.best_score,
            "losses": state.losses,
            "epochs": state.epochs,
        }
        arrays = {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)}
        for key, group in (("parameters", state.parameters), ("moments", state.moments), ("best", state.best)):
            arrays.update({f"{key}_{i}": a for i, a in enumerate(group)})
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def done(self) -> None:
        """Remove the file: its result is written elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
