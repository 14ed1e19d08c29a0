# SPDX-License-Identifier: Apache-2.0
"""A ladder of .tflite files on tflite-runtime 2.14 with numpy 1, in an environment of its own, against ai-edge-litert here.

Both run the same commands of joulet: ``infer`` on each file, and a metered run that chooses among files and threads. The
environment needs Python 3.11 or older, for which alone there are wheels; it is made once, under build/ (or --venv). Exit code 1:
answers differ. Exit code 77: the environment cannot be made, and why.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from model_zoo import RELU, Net  # noqa: E402

SKIPPED = 77
PYTHONS = ("python3.11", "python3.10")
_ABSENT = (
    "No matching distribution",
    "Could not find a version",
    "Failed to establish",
    "Connection",
    "Temporary failure",
)


class CannotError(Exception):
    """The environment cannot be made here."""


def environment(place: Path) -> Path:
    """Return the Python of the environment, made if need be.

    Raises
    ------
    CannotError
        If there is no Python old enough, or pip finds no wheel.
    """
    python = place / "bin" / "python"
    if not (place / ".made").exists():
        old = sys.executable if sys.version_info < (3, 12) else next(filter(None, map(shutil.which, PYTHONS)), None)
        if old is None:
            raise CannotError("tflite-runtime has wheels up to Python 3.11; none of python3.11, python3.10 is here")
        _run(old, "-m", "venv", "--clear", str(place))
        # the package first, in full view of its extra, so that one resolution decides on numpy
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", f"{ROOT}[tflite-legacy]"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            if any(words in done.stderr for words in _ABSENT):
                raise CannotError(f"pip cannot install it: {done.stderr.strip().splitlines()[-1]}")
            raise SystemExit(done.stderr)
        (place / ".made").touch()
    return python


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def rung(folder: Path, name: str, width: int) -> Path:
    """Write a small classifier; return its path."""
    net = Net(name, width)
    x = net.act("input", (1, 16), 0.04, 8)
    hidden = net.dense(x, width, activation=RELU, name="hidden")
    path = folder / f"{name}.tflite"
    path.write_bytes(net.finish((x,), (net.softmax(net.dense(hidden, 4, name="logits")),)))
    return path


def compare(python: Path, folder: Path) -> dict[str, object]:
    """Run the ladder in both environments; return versions, how many answers differ, and points that were chosen."""
    files = [rung(folder, "small", 4), rung(folder, "large", 64)]
    samples = np.random.default_rng(0).integers(-128, 128, (64, 16)).astype(np.int8)
    np.savez(folder / "in.npz", input_0=samples)
    both = {"ai-edge-litert": Path(sys.executable), "tflite-runtime": python}
    answers: dict[str, list[np.ndarray]] = {name: [] for name in both}
    for name, each in both.items():
        for file in files:
            out = folder / f"{name}-{file.stem}.npz"
            _run(
                str(each), "-m", "joulet.tools.main", "infer", str(files[0]), "--engine", f"litert:{files[1]}", "--precision",
                file.stem, "--input", str(folder / "in.npz"), "--output", str(out),
            )  # fmt: skip
            with np.load(out) as found:
                answers[name].append(found["output_0"])
    steps = [np.abs(a.astype(int) - b.astype(int)) for a, b in zip(*answers.values(), strict=True)]
    told = json.loads(
        _run(
            str(python), "-m", "joulet.tools.main", "run", str(files[0]), "--engine", f"litert:{files[1]}", "--input",
            str(folder / "in.npz"), "--out", str(folder / "run"), "--meter", "simulated:5W", "--power-cap", "6W", "--period",
            "20ms", "--duration", "1500ms", "--window", "1s", "--rate", "100", "--idle", "100ms", "--threads", "1,2", "--json",
        )
    )  # fmt: skip
    versions = _run(
        str(python), "-c", "import numpy, tflite_runtime; print(numpy.__version__, tflite_runtime.__version__)"
    )
    return {
        "numpy": versions.split()[0],
        "tflite_runtime": versions.split()[1],
        "answers": sum(int(step.size) for step in steps),
        "differ": sum(int((step > 0).sum()) for step in steps),
        "most_steps": max(int(step.max()) for step in steps),
        "chosen": {point["name"]: point["chosen"] for point in told["points"]},
        "kept": told["kept"],
    }


def main() -> int:
    """Make the environment, compare, print."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "tflite-runtime")
    args = parser.parse_args()
    try:
        python = environment(args.venv)
    except CannotError as error:
        print(f"skipped: {error}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        told = compare(python, Path(folder))
    print(json.dumps(told))
    return 0 if told["most_steps"] == 0 and told["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
