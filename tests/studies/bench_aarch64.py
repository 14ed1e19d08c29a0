# SPDX-License-Identifier: Apache-2.0
"""Instructions of an inference on AArch64, ours and LiteRT's with XNNPACK, one thread each, the same four models and inputs.

    python tests/studies/bench_aarch64.py --shared ../shared [--json counts.json]

Exact counts of a plugin in qemu-aarch64: those of 2N inferences less those of N, so that the start cancels; counted twice over, and
both must agree but for a few. Three cores: without dot products, with SDOT, with SMMLA. Both programs are C; LiteRT's library
is that of the wheel ai-edge-litert, called through its C API. LiteRT looks at /proc/cpuinfo and /sys for what core it runs
on, so those of each core are shown to it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from counted_programs import SOURCES, MissingToolError, build_programs, run, tool

from joulet.compile import compile_model
from joulet.container import layout
from joulet.container.isa_plan import with_isa_plan
from joulet.engine.host import HostEngine

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "ai-edge-litert==2.3.0"
MODELS = {"kws": "kws_ref_model_int8", "vww": "vww_96_int8", "ic": "ic_resnet8_int8", "ad": "ad01_int8"}
TIMES = 4
SPREAD = 64  # instructions by which LiteRT's counts differ from run to run: it allocates


@dataclass(frozen=True)
class Core:
    """A core of qemu's, the part number that Arm gave it, and whether LiteRT's count is the most that ours may be at w8."""

    name: str
    cpu: str
    part: int
    is_judged: bool


# SME, which qemu's `max` has too, is on no board that we know of
CORES = (
    Core("base", "cortex-a53", 0xD03, True),
    Core("dotprod", "cortex-a76", 0xD0B, True),
    Core("i8mm", "max,sme=off", 0xD40, False),
)


def build(place: Path) -> None:
    """Compile the plugin and both programs."""
    cross = tool("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    native = [tool("cc", "gcc"), "-O2", "-shared", "-fPIC"]
    run([*native, str(SOURCES / "count_instructions.c"), "-o", str(place / "count.so")])
    build_programs(cross, place)


def fetch_litert(place: Path) -> Path:
    """Return LiteRT's library for AArch64, from its wheel."""
    library = place / "libLiteRt.so"
    if not library.exists():
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.11",
              "--platform", "manylinux_2_27_aarch64", "--dest", str(place), WHEEL])  # fmt: skip
        with zipfile.ZipFile(next(place.glob("ai_edge_litert-*aarch64.whl"))) as wheel:
            library.write_bytes(wheel.read("ai_edge_litert/libLiteRt.so"))
    return library


def make_root(place: Path, core: Core) -> Path:
    """Return a root for the dynamic loader, in which one core of this kind is seen."""
    root = place / f"root_{core.name}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    libraries = Path("/usr/aarch64-linux-gnu/lib")
    if not (libraries / "libstdc++.so.6").exists():
        raise MissingToolError("no C++ library for AArch64 here: apt-get install libstdc++6-arm64-cross")
    (root / "lib").symlink_to(libraries)
    cpu = "sys/devices/system/cpu"
    known = {
        "proc/cpuinfo": f"processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x0\nCPU part\t: 0x{core.part:x}\nCPU revision\t: 4\n",
        **{f"{cpu}/{name}": "0" for name in ("possible", "present", "online")},
        **{
            f"{cpu}/cpu0/topology/{name}": "0"
            for name in (
                "cluster_cpus_list",
                "core_siblings_list",
                "thread_siblings_list",
                "physical_package_id",
                "core_id",
            )
        },
        f"{cpu}/cpu0/cache/index2/level": "2",
        f"{cpu}/cpu0/cache/index2/size": "512K",
        f"{cpu}/cpu0/cache/index2/shared_cpu_list": "0",
    }
    for name, text in known.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def count(emulator: list[str], program: list[str], times_at: int) -> tuple[int, bytes]:
    """Return an inference's instructions and its answer.

    Parameters
    ----------
    emulator
        Command that runs a program and counts.
    program
        Its command.
    times_at
        Where in ``program`` the number of inferences stands.
    """
    totals, answer = [], b""
    for times in (TIMES, 2 * TIMES, 3 * TIMES):
        command = [*emulator, *program[:times_at], str(times), *program[times_at + 1 :]]
        done = subprocess.run(command, check=False, capture_output=True)
        said = done.stderr.decode(errors="replace").splitlines()
        counted = [line for line in said if line.startswith("instructions ")]
        if done.returncode or not counted:
            raise RuntimeError(f"{' '.join(command)} failed ({done.returncode})\n" + "\n".join(said[-5:]))
        totals.append(int(counted[-1].split()[1]))
        answer = done.stdout
    first, second = ((later - earlier) / TIMES for earlier, later in pairwise(totals))
    if abs(first - second) > SPREAD:
        raise RuntimeError(f"{program[0]}: {first:.0f} and {second:.0f} instructions an inference")
    return round(first), answer


def rows_of(place: Path, shared: Path, name: str) -> list[dict[str, object]]:
    """Return one model's counts on every core."""
    tflite = shared / "data" / "mlperf_tiny" / "models" / f"{MODELS[name]}.tflite"
    content = compile_model(tflite, exits="off").container
    reference = HostEngine(content, isa="REF")
    sample = np.random.default_rng(7).integers(-128, 128, reference.inputs[0].shape).astype(np.int8)
    model, inputs = place / f"{name}.jlt", place / f"{name}.bin"
    model.write_bytes(with_isa_plan(content, "NEON"))
    inputs.write_bytes(sample.tobytes())
    emulator = [tool("qemu-aarch64", "qemu-user"), "-plugin", str(place / "count.so")]
    rows = []
    for core in CORES:
        on_core = [*emulator, "-cpu", core.cpu, "-L", str(place / f"root_{core.name}")]
        theirs, _ = count(
            on_core, [str(place / "infer_litert"), str(fetch_litert(place)), str(tflite), str(inputs), ""], 4
        )
        for path, label in enumerate(reference.path_names):
            isa = str(layout.CODES["Isa"]["NEON"])
            ours, answer = count(on_core, [str(place / "infer_joulet"), str(model), str(inputs), "", isa, str(path)], 3)
            exact = answer == reference.infer([sample[None]], path=path).outputs[0].tobytes()
            rows.append({"model": name, "core": core.name, "cpu": core.cpu, "path": label, "instructions": ours,
                         "litert_instructions": theirs, "ratio_to_litert": ours / theirs, "bit_exact": exact,
                         "most": theirs if core.is_judged and label == "w8" else None})  # fmt: skip
    return rows


def main() -> int:
    """Print the table; exit code 1 where ours are too many or an answer differs from the reference's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument(
        "--place", type=Path, default=ROOT / "build" / "bench-aarch64", help="for what is built and fetched"
    )
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    args.place.mkdir(parents=True, exist_ok=True)
    try:
        build(args.place)
        for core in CORES:
            make_root(args.place, core)
        print(f"  {'model':<6} {'core':<8} {'path':<5} {'LiteRT':>10} {'ours':>10} {'ratio':>6}")
        rows = []
        for name in MODELS:
            for row in rows_of(args.place, args.shared, name):
                rows.append(row)
                print(
                    f"  {row['model']:<6} {row['core']:<8} {row['path']:<5} {row['litert_instructions']:>10} "
                    f"{row['instructions']:>10} {row['ratio_to_litert']:>6.2f}{'' if row['bit_exact'] else '  differs'}",
                    flush=True,
                )
    except MissingToolError as error:
        print(f"bench_aarch64: {error}", file=sys.stderr)
        return 2
    if args.json:
        args.json.write_text(json.dumps({"litert": WHEEL, "rows": rows}, indent=2))
    missed = [row for row in rows if not row["bit_exact"] or row["instructions"] > (row["most"] or row["instructions"])]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
