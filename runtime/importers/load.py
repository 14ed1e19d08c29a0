# SPDX-License-Identifier: Apache-2.0
"""Whatever model file it is: the bytes say which reader it needs."""

from __future__ import annotations

from pathlib import Path

from joulet.errors import UsageError
from joulet.importers.tflite import load_tflite
from joulet.ir import Graph


def load_model(source: Path | str | bytes, *, name: str | None = None) -> Graph:
    """Import a .tflite or .onnx model.

    Parameters
    ----------
    source
        A file, or its bytes.
    name
        Name of the graph; the file's stem where it is None.

    Raises
    ------
    ModelError, MissingDependencyError, UsageError
        As the readers of the two formats.
    """
    if not is_onnx(source):
        return load_tflite(source, name=name)
    from joulet.importers.onnx import load_onnx  # only ONNX models pay for this import

    return load_onnx(source, name=name)


def is_onnx(source: Path | str | bytes) -> bool:
    """Whether a model is an ONNX file: by its name, else by its first bytes."""
    if not isinstance(source, bytes):
        path = Path(source)
        if path.suffix.lower() in (".onnx", ".tflite"):
            return path.suffix.lower() == ".onnx"
        try:
            with path.open("rb") as file:
                source = file.read(8)
        except OSError as error:
            raise UsageError(f"cannot read '{path}': {error.strerror or error}; give a .tflite or .onnx") from error
    # ModelProto begins with the field ir_version, a small number.
    return source[4:8] != b"TFL3" and len(source) > 2 and source[0] == 0x08 and source[1] < 0x20
