# SPDX-License-Identifier: Apache-2.0
"""Fuzz both parsers of foreign bytes for a fixed time.

The container check (C) runs under libFuzzer with ASan and UBSan, seeded with containers of our own models; what the
check admits is also run, so a hole in the check shows as a fault in a kernel. The .tflite importer (Python) is fed
mutations of our own models; anything but a JouletError is a finding. Findings are written beside the seed and named.

    python tests/studies/fuzz.py [--seconds 60] [--seed 1]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from band_cases import chain
from memory_cases import in_halves
from sparse_cases import conv, sparse_plan

from joulet.container.isa_plan import with_isa_plan
from joulet.container.write import write_container
from joulet.errors import JouletError
from joulet.importers.tflite import load_tflite
from joulet.passes.pipeline import exact_passes
from joulet.quant.bare import bare_quant_graph

ROOT = Path(__file__).resolve().parents[2]
MODELS = sorted((ROOT / "tests" / "models").glob("*.tflite"))


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return ``data`` with a few bytes changed, cut, doubled or replaced by extreme integers."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, max(len(out), 1)))
        kind = int(rng.integers(0, 5))
        if kind == 0 and out:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out = out[: max(at, 1)]
        elif kind == 2:
            out[at:at] = out[at : at + int(rng.integers(1, 64))]
        elif kind == 3:
            value = int(rng.choice(np.array([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000], dtype=np.uint32)))
            out[at : at + 4] = value.to_bytes(4, "little")
        else:
            out[at : at + 8] = rng.bytes(8)
    return bytes(out)


def fuzz_importer(seconds: float, seed: int, findings: Path) -> int:
    """Return how many mutations raised something other than a JouletError."""
    rng = np.random.default_rng(seed)
    seeds = [path.read_bytes() for path in MODELS]
    end = time.monotonic() + seconds
    runs = imported = bad = 0
    while time.monotonic() < end:
        data = mutate(seeds[int(rng.integers(0, len(seeds)))], rng)
        runs += 1
        try:
            write_container(bare_quant_graph(exact_passes(load_tflite(data))))
            imported += 1
        except JouletError:
            pass
        except Exception as error:  # the point of the harness: nothing else may come out
            bad += 1
            name = findings / f"importer-{seed}-{runs}.tflite"
            name.write_bytes(data)
            print(f"importer: {type(error).__name__}: {error} on {name}", file=sys.stderr)
    print(f"importer: {runs} mutations, {imported} still imported, {bad} findings")
    return bad


def fuzz_container(seconds: float, seed: int, findings: Path) -> int:
    """Return 1 when libFuzzer found a fault in the container check or in a kernel behind it."""
    clang = shutil.which("clang")
    if clang is None:
        raise SystemExit("fuzz: clang is missing: apt-get install clang libclang-rt-14-dev")
    with tempfile.TemporaryDirectory() as folder:
        program, corpus = Path(folder) / "fuzz_container", Path(folder) / "corpus"
        corpus.mkdir()
        for seed_of_chain in range(6):
            for isa in ("ARMV6M", "AVX2"):
                name = corpus / f"bands-{seed_of_chain}-{isa}.jlt"
                name.write_bytes(with_isa_plan(chain(seed_of_chain), isa, ram_bytes=0))
                (corpus / f"memories-{seed_of_chain}-{isa}.jlt").write_bytes(in_halves(chain(seed_of_chain), isa))
        for seed_of_conv in range(4):
            name = corpus / f"sparse-{seed_of_conv}.jlt"
            content = conv(seed_of_conv, absent=0.5, out=(2, 5), kernel=(1, 1 + seed_of_conv), channels=(8, 4))
            name.write_bytes(sparse_plan(sparse_plan(sparse_plan(content, "ARMV7EM"), "ARMV6M"), "MVE"))
        for path in MODELS:
            graph = exact_passes(load_tflite(path))
            for precisions in (("w8",), ("w8", "w4", "mix", "f32")):
                seed_file = corpus / f"{path.stem}-{len(precisions)}.jlt"
                seed_file.write_bytes(write_container(bare_quant_graph(graph, precisions)))
                planned = corpus / f"{path.stem}-{len(precisions)}-planned.jlt"
                planned.write_bytes(with_isa_plan(with_isa_plan(seed_file.read_bytes(), "ARMV6M"), "AVX2"))
        sources = sorted(str(path) for path in (ROOT / "csrc").rglob("*.c"))
        harness = str(ROOT / "tests" / "c" / "fuzz_container.c")
        flags = ["-g", "-O1", "-std=c11", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
        flags.append("-Wno-pass-failed")  # at -O1 under sanitizers no loop is unrolled
        subprocess.run(
            [clang, *flags, "-I", str(ROOT / "csrc"), harness, *sources, "-lm", "-o", str(program)], check=True
        )
        options = [
            f"-max_total_time={int(seconds)}",
            f"-seed={seed}",
            "-max_len=200000",
            "-timeout=20",
            "-print_final_stats=1",
        ]
        command = [str(program), *options, f"-artifact_prefix={findings}/container-", str(corpus)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        stats = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line or "ERROR" in line]
        print(f"container: exit {done.returncode}; " + "; ".join(stats))
        if done.returncode:
            print("\n".join(done.stderr.splitlines()[-40:]), file=sys.stderr)
        return int(done.returncode != 0)


def main() -> int:
    """Fuzz and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="time for each parser [s]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="where failing inputs are kept")
    args = parser.parse_args()
    args.findings.mkdir(parents=True, exist_ok=True)
    found = fuzz_importer(args.seconds, args.seed, args.findings) + fuzz_container(
        args.seconds, args.seed, args.findings
    )
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
