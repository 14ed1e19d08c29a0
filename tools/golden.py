# SPDX-License-Identifier: Apache-2.0
"""Write the small models of tests/models and the judges' outputs for them in tests/golden.

::

    python -m joulet.tools.golden            # build the models, run the judges, write
    python -m joulet.tools.golden --check    # exit 1 where a fresh run differs from what is committed

Each vector file holds ``input_0…`` and ``output_0…`` with samples along the first axis. TensorFlow Lite Micro judges,
or LiteRT's reference kernels for what it lacks; MANIFEST.json says which, in which version, from which seed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import MissingDependencyError, UsageError

SAMPLES = 8
SEED = 20240607

Arrays = dict[str, npt.NDArray[np.generic]]


def sample_inputs(inputs: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], seed: int) -> list[npt.NDArray[np.generic]]:
    """Return :data:`SAMPLES` samples a model input: uniform over the integers, standard normal for floats.

    The first two samples of an integer input are its extremes.
    """
    rng = np.random.default_rng(seed)
    arrays: list[npt.NDArray[np.generic]] = []
    for shape, dtype in inputs:
        if dtype.kind == "f":
            arrays.append(rng.standard_normal((SAMPLES, *shape)).astype(dtype))
            continue
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, (SAMPLES, *shape), endpoint=True)
        values[0], values[1] = limits.min, limits.max
        arrays.append(values.astype(dtype))
    return arrays


def without_batch(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return ``(n, 1, …)`` as ``(n, …)``: samples take the place of a batch of one."""
    return array[:, 0] if array.ndim > 1 and array.shape[1] == 1 else array


def vectors(name: str, model: bytes, judges: Any) -> tuple[str, Arrays]:
    """Return the judge's name and the inputs and outputs of one model."""
    try:
        judge = judges.tflm(model)
    except (RuntimeError, ValueError):
        judge = judges.litert(model)
    inputs = sample_inputs(judge.inputs, SEED + sum(name.encode()))
    outputs = judge.run(inputs)
    arrays = {f"input_{i}": without_batch(a) for i, a in enumerate(inputs)}
    arrays.update({f"output_{i}": without_batch(a) for i, a in enumerate(outputs)})
    return str(judge.name), arrays


def digest(arrays: Arrays) -> str:
    """Return the SHA-256 of names, types, shapes and values: zip and NumPy versions do not matter."""
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype.str} {array.shape};".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for package in ("tflite-micro", "ai-edge-litert"):
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise MissingDependencyError(f"golden vectors need the judge '{package}': pip install {package}") from error
    return found


def build(root: Path) -> tuple[dict[str, bytes], dict[str, Arrays], dict[str, Any]]:
    """Return models, vectors and the manifest, all computed afresh."""
    tests = root / "tests"
    if not (tests / "model_zoo.py").is_file():
        raise UsageError(f"'{root}' is not a checkout of Joulet: run this in one, or give --root")
    versions = _versions()
    sys.path.append(str(tests))
    try:
        zoo, judges = importlib.import_module("model_zoo"), importlib.import_module("judges")
    finally:
        sys.path.remove(str(tests))
    models = {name: bytes(make()) for name, make in zoo.MODELS.items()}
    everything: dict[str, Arrays] = {}
    rows: dict[str, Any] = {}
    for name, model in models.items():
        judge, everything[name] = vectors(name, model, judges)
        rows[name] = {
            "judge": judge,
            "seed": SEED + sum(name.encode()),
            "samples": SAMPLES,
            "model_sha256": hashlib.sha256(model).hexdigest(),
            "vectors_sha256": digest(everything[name]),
        }
        print(f"{name}: {len(model)} bytes, judged by {judge}", file=sys.stderr)
    return models, everything, {"judges": versions, "models": rows}


def write(root: Path, models: dict[str, bytes], everything: dict[str, Arrays], manifest: dict[str, Any]) -> None:
    """Write all files."""
    models_dir, golden_dir = root / "tests" / "models", root / "tests" / "golden"
    models_dir.mkdir(exist_ok=True)
    golden_dir.mkdir(exist_ok=True)
    for name, model in models.items():
        (models_dir / f"{name}.tflite").write_bytes(model)
        np.savez_compressed(golden_dir / f"{name}.npz", **everything[name])  # type: ignore[arg-type]
    (golden_dir / "MANIFEST.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def check(root: Path, manifest: dict[str, Any]) -> list[str]:
    """Return what differs between a fresh manifest and the committed files."""
    path = root / "tests" / "golden" / "MANIFEST.json"
    try:
        committed = json.loads(path.read_text())["models"]
    except (OSError, ValueError, KeyError):
        return [f"{path} is missing or unreadable"]
    rows = manifest["models"]
    wrong = [f"{name}: added or removed" for name in sorted(set(rows) ^ set(committed))]
    for name in sorted(set(rows) & set(committed)):
        wrong += [f"{name}: {key} differs" for key, value in rows[name].items() if committed[name].get(key) != value]
    return wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m joulet.tools.golden", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a fresh run differs")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: here)")
    args = parser.parse_args(argv)
    try:
        models, everything, manifest = build(args.root)
    except (UsageError, MissingDependencyError) as error:
        print(f"joulet: error: {error}", file=sys.stderr)
        return 2
    if not args.check:
        write(args.root, models, everything, manifest)
        return 0
    wrong = check(args.root, manifest)
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
