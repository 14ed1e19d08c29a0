# SPDX-License-Identifier: Apache-2.0
"""Instructions of an inference with AVX-512 VNNI, ours and LiteRT's with XNNPACK, one thread each, the same four models and inputs.

    python tests/studies/bench_vnni.py --shared ../shared [--ops] [--json counts.json]

Emulated: instructions, not time; a repeated string instruction counts once a round, so the C library is kept from those. Both
engines run in Bochs on a core with VNNI, LiteRT also on one without, which shows that it takes kernels for VNNI where it may. Every
answer of ours is compared with the reference kernels' here. Debian's kernel is fetched from its archive, LiteRT's library is that
of the wheel ai-edge-litert in this environment, called through its C API.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_host import large_convolution
from counted_programs import MissingToolError, build_programs
from emulated_pc import (
    WITH_VNNI,
    WITHOUT_VNNI,
    Answer,
    fetch_kernel,
    libraries_of,
    need_tools,
    run_in_pc,
)

from joulet.compile import compile_model
from joulet.container import layout
from joulet.container.isa_plan import with_isa_plan
from joulet.engine.host import HostEngine

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"kws": "kws_ref_model_int8", "vww": "vww_96_int8", "ic": "ic_resnet8_int8", "ad": "ad01_int8"}
ISAS = ("AVX512VNNI", "AVX2")
LABEL = "emulated: instructions, not time"
TIMES = 3
SPREAD = 0.005  # by which LiteRT's counts differ from one inference to the next: it allocates
LARGE = "large"  # a convolution
LIBRARY = "/litert/libLiteRt.so"


@dataclass(frozen=True)
class Case:
    """A run of ours in the guest, which of its commands it is, LiteRT's beside it, and what it must answer."""

    model: str
    isa: str
    label: str
    command: int
    litert: int | None
    wanted: bytes
    ops: tuple[tuple[str, int], ...]  # code, MACs

    @property
    def macs(self) -> int:
        """Of an inference."""
        return sum(macs for _, macs in self.ops)


@dataclass
class Session:
    """What a guest runs."""

    files: dict[str, Path]
    commands: list[list[str]] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)


def build(place: Path) -> dict[str, Path]:
    """Compile both programs; return them, LiteRT and its libraries, by where the guest has them."""
    ours, theirs = build_programs("gcc", place)
    package = find_spec("ai_edge_litert")
    if package is None or package.origin is None:
        raise MissingToolError("no ai-edge-litert here: pip install ai-edge-litert")
    library = Path(package.origin).with_name("libLiteRt.so")
    own = {"/infer_joulet": ours, "/infer_litert": theirs, LIBRARY: library}
    return {**own, **libraries_of(library), **libraries_of(theirs)}


def add_model(session: Session, place: Path, name: str, content: bytes, tflite: Path | None = None) -> None:
    """Add ours of every instruction set and path, and LiteRT's where the model has a file of its kind."""
    reference = HostEngine(content, isa="REF")
    sample = np.random.default_rng(7).integers(-128, 128, reference.inputs[0].shape).astype(np.int8)
    inputs = place / f"{name}.bin"
    inputs.write_bytes(sample.tobytes())
    session.files[f"/{name}.bin"] = inputs
    litert = None
    if tflite:
        session.files[f"/{name}.tflite"] = tflite
        litert = len(session.commands)
        session.commands.append(["/infer_litert", LIBRARY, f"/{name}.tflite", f"/{name}.bin", str(TIMES)])
    codes = {code: word for word, code in layout.CODES["OpCode"].items()}
    ops = tuple((codes[int(op["code"])].lower(), int(op["macs"])) for op in reference.container.ops)
    for isa in ISAS:
        model = place / f"{name}_{isa}.jlt"
        model.write_bytes(with_isa_plan(content, isa))
        session.files[f"/{model.name}"] = model
        for path, label in enumerate(reference.path_names):
            wanted = reference.infer([sample[None]], path=path).outputs[0].tobytes()
            session.cases.append(Case(name, isa, label, len(session.commands), litert, wanted, ops))
            code = str(layout.CODES["Isa"][isa])
            session.commands.append(["/infer_joulet", f"/{model.name}", f"/{name}.bin", str(TIMES), code, str(path)])


def counted(answer: Answer) -> tuple[int, list[int]]:
    """Return the instructions of an inference, and of its ops where they are told."""
    first, second = (int(word) for word in re.findall(r"^inference (\d+)$", answer.errors, re.MULTILINE))
    if abs(first - second) > SPREAD * second:
        raise RuntimeError(f"{first} and {second} instructions an inference")
    return min(first, second), [int(word) for word in re.findall(r"^op \d+ (\d+)$", answer.errors, re.MULTILINE)]


def rows_of(session: Session, answers: list[Answer], without_vnni: dict[int, int]) -> Iterator[dict[str, object]]:
    """Yield a row for each of our runs.

    Parameters
    ----------
    without_vnni
        LiteRT's instructions on a core without VNNI, by command.
    """
    for case in session.cases:
        answer = answers[case.command]
        ours, ops = counted(answer)
        theirs = None if case.litert is None else counted(answers[case.litert])[0]
        yield {
            "model": case.model,
            "isa": case.isa,
            "path": case.label,
            "macs": case.macs,
            "instructions": ours,
            "litert_instructions": theirs,
            "litert_instructions_without_vnni": None if case.litert is None else without_vnni[case.litert],
            "ratio_to_litert": None if theirs is None else ours / theirs,
            "most": theirs if (case.isa, case.label) == ("AVX512VNNI", "w8") else None,
            "bit_exact": answer.output == case.wanted,
            "ops": [
                {"code": code, "macs": macs, "instructions": count}
                for (code, macs), count in zip(case.ops, ops, strict=True)
            ],
        }


def count_all(place: Path, shared: Path) -> list[dict[str, object]]:
    """Run both guests and return the rows."""
    session = Session(build(place))
    for name, stem in MODELS.items():
        tflite = shared / "data" / "mlperf_tiny" / "models" / f"{stem}.tflite"
        add_model(session, place, name, compile_model(tflite, exits="off").container, tflite)
    add_model(session, place, LARGE, large_convolution())
    _say("a PC with AVX-512 VNNI boots and runs both engines")
    answers = _in_guest(place / "with", session.commands, session.files, WITH_VNNI)
    theirs = sorted({case.litert for case in session.cases if case.litert is not None})
    _say("one without runs LiteRT")
    others = _in_guest(place / "without", [session.commands[i] for i in theirs], session.files, WITHOUT_VNNI)
    without = {i: counted(answer)[0] for i, answer in zip(theirs, others, strict=True)}
    return list(rows_of(session, answers, without))


def print_rows(rows: list[dict[str, Any]], with_ops: bool) -> None:
    """Print the table, and each op's share where asked."""
    print(LABEL)
    print(
        f"  {'model':<6} {'kernels':<10} {'path':<4} {'LiteRT, no VNNI':>15} {'LiteRT':>9} {'ours':>9} {'ratio':>6} "
        f"{'MACs each':>9}"
    )
    for row in rows:
        ratio = "" if row["ratio_to_litert"] is None else f"{row['ratio_to_litert']:.2f}"
        print(
            f"  {row['model']:<6} {row['isa']:<10} {row['path']:<4} {row['litert_instructions_without_vnni'] or '':>15} "
            f"{row['litert_instructions'] or '':>9} {row['instructions']:>9} {ratio:>6} "
            f"{row['macs'] / row['instructions']:>9.1f}{'' if row['bit_exact'] else '  differs'}"
        )
        for index, op in enumerate(row["ops"] if with_ops else ()):
            rate = f"{op['macs'] / op['instructions']:.1f}" if op["macs"] else ""
            print(f"    {index:>3} {op['code']:<24} {op['macs']:>10} {op['instructions']:>9} {rate:>6}")


def main() -> int:
    """Print the table; exit code 1 where an answer differs, LiteRT took no kernels for VNNI, or ours at w8 are more than its."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--place", type=Path, default=ROOT / "build" / "bench-vnni", help="for what is built")
    parser.add_argument("--ops", action="store_true", help="also print each op")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    args.place.mkdir(parents=True, exist_ok=True)
    try:
        need_tools()
        fetch_kernel()
        rows = count_all(args.place, args.shared)
    except MissingToolError as error:
        print(f"bench_vnni: {error}", file=sys.stderr)
        return 2
    print_rows(rows, args.ops)
    if args.json:
        args.json.write_text(
            json.dumps({"emulated": LABEL, "litert": version("ai-edge-litert"), "rows": rows}, indent=2)
        )
    return 1 if any(map(_is_missed, rows)) else 0


def _is_missed(row: dict[str, Any]) -> bool:
    theirs, without = row["litert_instructions"], row["litert_instructions_without_vnni"]
    is_above = row["most"] is not None and row["instructions"] > row["most"]
    return is_above or not row["bit_exact"] or (theirs is not None and theirs >= without)


def _in_guest(place: Path, commands: list[list[str]], files: Mapping[str, Path], cpu: str) -> list[Answer]:
    answers = run_in_pc(place, commands, files, cpu)
    for command, answer in zip(commands, answers, strict=True):
        if answer.status:
            raise RuntimeError(f"{' '.join(command)} ended with {answer.status}: {answer.errors[-500:]}")
    return answers


def _say(what: str) -> None:
    print(f"bench_vnni: {what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
