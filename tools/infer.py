# SPDX-License-Identifier: Apache-2.0
"""``joulet infer``: run arrays through a model, without energy."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.engine.samples import load_inputs
from joulet.engine.seam import Depth, Engine, InferResult
from joulet.errors import UsageError
from joulet.tools.engines import ENGINES, open_engine

Array = npt.NDArray[np.generic]

EPILOG = """\
IN.npz holds input_0, input_1, … in the model's own types; the first axis counts samples.
OUT.npz gets output_0 … in the model's own types, and for each sample: exit (u8), confidence_q15 (u16, P(correct) in
units of 1/32768) and macs (u64); on boards also cycles and, in emulation, instructions (u64).

  joulet infer kws.jlt --input clips.npz --output answers.npz
  joulet infer kws.jlt --input clips.npz --output answers.npz --precision w4 --depth auto
  joulet infer kws.tflite --engine litert --input clips.npz --output answers.npz
  joulet infer small.tflite --engine litert:large.tflite --precision large --input clips.npz --output answers.npz
  joulet infer kws.jlt --engine virtual:virtual_m4 --input clips.npz --output answers.npz

--depth last runs the whole network, a number or name stops at that exit (the first is 0), auto stops at the first exit
whose confidence reaches the threshold that the container was compiled with.

engines:
{engines}
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "infer",
        help="run arrays through a model, without energy",
        description="Run every sample of an .npz file through a model and write the answers to another.",
        epilog=EPILOG.format(engines=ENGINES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="M.jlt", help="container (a .tflite with --engine litert)")
    parser.add_argument("--input", type=Path, required=True, metavar="IN.npz", help="samples")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT.npz", help="where the answers go")
    parser.add_argument("--precision", metavar="NAME", help="path, as inspect lists them (default w8, else the first)")
    parser.add_argument("--depth", default="last", metavar="last|K|auto", help="where to stop (default last)")
    parser.add_argument("--engine", default="host", metavar="E", help="who computes (default host); see below")
    parser.add_argument("--json", action="store_true", help="print a summary as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Infer all samples; return the exit code."""
    with open_engine(args.model, args.engine) as engine:
        path = pick_path(engine, args.precision)
        depth = pick_depth(engine, args.depth)
        inputs = load_inputs(args.input, engine.inputs)
        result = infer_with_progress(engine, inputs, path, depth)
    write_npz_atomically(args.output, _arrays(result))
    summary = _summary(engine, result, path)
    print(json.dumps(summary) if args.json else _text(summary, args.output))
    return 0


def pick_path(engine: Engine, name: str | None) -> str:
    """Return the path asked for; by default w8, or the first where there is no w8."""
    names = engine.path_names
    if name is None:
        return "w8" if "w8" in names else names[0]
    if name not in names:
        raise UsageError(f"--precision {name}: this model has {', '.join(names)}")
    return name


def pick_depth(engine: Engine, text: str) -> Depth:
    """Return ``last``, ``auto`` or the index of an exit given by number or name."""
    if text in ("last", "auto"):
        return text
    names = engine.exit_names
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    listed = ", ".join(f"{index} ({name})" for index, name in enumerate(names))
    raise UsageError(f"--depth {text}: give last, auto or one of the exits {listed}")


def infer_with_progress(engine: Engine, inputs: Sequence[Array], path: str, depth: Depth) -> InferResult:
    """Infer all samples: in one call, or in twenty with a progress line where a person is looking on."""
    count = len(inputs[0])
    if not sys.stderr.isatty() or count < 20:
        return engine.infer(inputs, path=path, depth=depth)
    parts = []
    edges = np.linspace(0, count, 21).astype(int)
    for start, stop in itertools.pairwise(edges):
        parts.append(engine.infer([array[start:stop] for array in inputs], path=path, depth=depth))
        print(f"\r{stop}/{count} samples", end="" if stop < count else "\n", file=sys.stderr, flush=True)
    return InferResult(
        outputs=tuple(np.concatenate(arrays) for arrays in zip(*(part.outputs for part in parts), strict=True)),
        exit=np.concatenate([part.exit for part in parts]),
        confidence_q15=np.concatenate([part.confidence_q15 for part in parts]),
        macs=np.concatenate([part.macs for part in parts]),
        cycles=_joined([part.cycles for part in parts]),
        instructions=_joined([part.instructions for part in parts]),
    )


def _joined(parts: Sequence[npt.NDArray[np.uint64] | None]) -> npt.NDArray[np.uint64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _arrays(result: InferResult) -> dict[str, Array]:
    arrays: dict[str, Array] = {f"output_{index}": array for index, array in enumerate(result.outputs)}
    arrays |= {"exit": result.exit, "confidence_q15": result.confidence_q15, "macs": result.macs}
    for name, counts in (("cycles", result.cycles), ("instructions", result.instructions)):
        if counts is not None and counts.any():
            arrays[name] = counts
    return arrays


def write_npz_atomically(path: Path, arrays: dict[str, Array]) -> None:
    """Write an .npz so that the file is either complete or not there."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _summary(engine: Engine, result: InferResult, path: str) -> dict[str, object]:
    names = engine.exit_names
    counts = np.bincount(result.exit, minlength=len(names))
    return {
        "samples": len(result.exit),
        "precision": path,
        "exits": {name: int(count) for name, count in zip(names, counts, strict=False)},
        "mean_macs": float(result.macs.mean()),
        "mean_confidence": float(result.confidence_q15.mean() / 32768),
        "model_hash": engine.model_hash,
        **_means(result),
    }


def _means(result: InferResult) -> dict[str, float]:
    counts = {"mean_cycles": result.cycles, "mean_instructions": result.instructions}
    return {name: float(each.mean()) for name, each in counts.items() if each is not None and each.any()}


def _text(summary: dict[str, object], output: Path) -> str:
    exits = summary["exits"]
    assert isinstance(exits, dict)
    taken = ", ".join(f"{name} {count}" for name, count in exits.items() if count)
    return (
        f"{summary['samples']} samples at {summary['precision']}: exits {taken}; "
        f"{summary['mean_macs']:,.0f} MACs and confidence {summary['mean_confidence']:.3f} on average -> {output}"
    )
