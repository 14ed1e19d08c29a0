# SPDX-License-Identifier: Apache-2.0
"""``joulet build``: firmware and container as one image for a board."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulet.boards import Board, load_board
from joulet.container.isa_plan import arena_bytes, fast_bytes, slow_bytes
from joulet.container.layout import MAGIC
from joulet.container.ram import input_room_bytes
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.engine.samples import load_inputs
from joulet.errors import UsageError
from joulet.firmware.board_files import FirmwareFacts, firmware_facts
from joulet.firmware.build import Firmware, build_firmware, work_bytes
from joulet.firmware.slots import policy_slot, samples_slot
from joulet.flash.build import FORMAT, MANIFEST, default_folder
from joulet.flash.image import MAX_SPAN_BYTES, Image, read_elf, write_hex
from joulet.flash.uf2 import write_uf2
from joulet.link.signing import read_public
from joulet.plan.copies import copies_on, copies_text, copy_bills
from joulet.plan.nvm_comparison import STRATEGY_NAMES
from joulet.plan.on_board import Room, image_container, keep_ram
from joulet.tools.compile import progress_lines, report_text
from joulet.units import parse_quantity

if TYPE_CHECKING:
    from joulet.compile import CompileResult

MODEL = "model.jlt"
RAM_LIMIT_HELP = "RAM that tensors and scratch may take: ops run in bands of rows where whole tensors take more"
EPILOG = """\
The firmware finds the container, and a policy and samples where they are given, at fixed addresses. It has no kernels but
those that the model runs, on all its paths, so another model that comes over the link must do with these; --kernels all
makes the firmware that takes any model, as --key does by itself. It is compiled from source the first time and kept. DIR
then holds

  image.hex      everything, for any programmer; image.bin the same from the lowest address on
  image.uf2      for boards that show up as a drive
  firmware.elf   the firmware alone, with symbols
  manifest.json  build id, model hash, addresses, sizes and hashes
  model.jlt      the container, where MODEL was a .tflite or .onnx and was compiled first

  joulet build --board nucleo_l4r5zi kws.jlt
  joulet build --board virtual_m4 kws.jlt --policy shadow.jltp --samples clips.npz
  joulet build --board pico kws.jlt --key updates.key.pub
  joulet build --board virtual_m4 kws.jlt --kernels all          # other models may be uploaded
  joulet build --board nucleo_l4r5zi kws.onnx --data clips.npz      # compile, build: one command from model to image
  joulet build --board virtual_m4 kws.jlt --capacitor 4.7mF
  joulet flash --board nucleo_l4r5zi

For a board with non-volatile memory the image says how an inference outlives power cuts: the cheapest way that makes
progress on the store's energy, printed beside the others.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "build",
        help="firmware and container as one image for a board",
        description="Build the firmware of a board and put a container beside it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="container from joulet compile, or a .tflite or .onnx to compile first",
    )
    parser.add_argument("--board", required=True, metavar="B", help="board; joulet boards lists them")
    parser.add_argument("--out", "-o", type=Path, metavar="DIR", help="folder (default joulet-build/B)")
    group = parser.add_argument_group("for a .tflite or .onnx, as joulet compile has them")
    group.add_argument("--data", type=Path, metavar="CAL.npz", help="calibration data")
    group.add_argument("--exits", metavar="auto|N|off", help="early exits to attach (auto)")
    group.add_argument("--precisions", metavar="LIST", help="out of w8, w4, mix (w8,w4,mix)")
    parser.add_argument("--policy", type=Path, metavar="P.jltp", help="policy table, from joulet simulate --export")
    parser.add_argument(
        "--samples", type=Path, metavar="IN.npz", help="inputs kept in flash, for running without a host"
    )
    parser.add_argument(
        "--key",
        metavar="PUBLIC",
        help="file or 64 hex digits: take updates over the link only when signed with this key",
    )
    parser.add_argument("--ram-limit", type=int, metavar="BYTES", help=RAM_LIMIT_HELP)
    parser.add_argument("--capacitor", metavar="C", help="store that the board lives on between power cuts (1mF)")
    parser.add_argument("--strategy", choices=STRATEGY_NAMES, help="how to outlive power cuts (the cheapest)")
    parser.add_argument(
        "--kernels",
        choices=("model", "all"),
        help="what the firmware can run: this model, or any (model; all with --key, as updates may need more)",
    )
    parser.add_argument("--energy-mode", action="store_true", help="boot in the MLPerf runner's energy mode")
    parser.add_argument(
        "--refit",
        action="store_true",
        help="with what fits an exit's head again on the board, from labels over the link",
    )
    parser.add_argument("--toolchain", choices=("gcc", "zig"), help="compiler (default gcc, where installed)")
    parser.add_argument("--json", action="store_true", help="print the manifest as one JSON object")


@dataclass(frozen=True, slots=True)
class Piece:
    """Something at an address."""

    name: str
    address: int
    content: bytes
    room: int  # bytes that there are for it


def run(args: argparse.Namespace) -> int:
    """Build; return the exit code."""
    facts = firmware_facts(args.board)
    if not args.model.is_file():
        raise UsageError(f"cannot read '{args.model}': no such file; make one with joulet compile")
    compiled = _compiled(args)
    engine = HostEngine(args.model if compiled is None else compiled.container, isa="REF")
    board = load_board(args.board)
    key = read_public(args.key) if args.key is not None else None
    make = partial(
        build_firmware, args.board, toolchain=args.toolchain, energy_mode=args.energy_mode, key=key, refit=args.refit
    )
    whole = make()
    capacitor_f = None if args.capacitor is None else parse_quantity(args.capacitor, "F", what="--capacitor")
    image = image_container(
        engine.container.data,
        board,
        Room(work_bytes=work_bytes(whole), ram_bytes=args.ram_limit),
        capacitor_f=capacitor_f,
        strategy=args.strategy,
    )
    container, cuts = image.data, image.cuts
    keep_ram(container, board, args.ram_limit)
    planned = Container.from_bytes(container)
    bills = copy_bills(planned, board, copies_on(planned, board))
    takes_any = (args.kernels or ("model" if key is None else "all")) == "all"
    firmware = whole if takes_any else make(model=container)
    saved_bytes = _flash_bytes(whole) - _flash_bytes(firmware)
    elf = read_elf(firmware.elf)
    pieces = [Piece("firmware", address, content, facts.slots["firmware"].size) for address, content in elf.segments]
    pieces.append(_piece(facts, "model", container))
    if args.policy is not None:
        pieces.append(_piece(facts, "policy", policy_slot(_read(args.policy), engine.container.model_hash)))
    if args.samples is not None:
        pieces.append(_piece(facts, "samples", samples_slot(load_inputs(args.samples, engine.inputs))))
    memory = check_memory(engine, container, board, firmware)
    folder = args.out or default_folder(args.board)
    source = None if compiled is None else compiled.container
    manifest = write_build(
        folder, facts, firmware, engine.container, pieces, memory, key, compiled=source, saved_bytes=saved_bytes
    )
    if args.json:
        report = None if compiled is None else compiled.report.to_json()
        more = {
            "power_cuts": None if cuts is None else cuts.to_json(),
            "compiled": report,
            "packed": [asdict(bill) for bill in bills],
        }
        print(json.dumps({**manifest, **more}, indent=2))
    else:
        if compiled is not None:
            print(report_text(folder / MODEL, compiled.report.to_json()))
        said = [str(cuts) if cuts is not None else "", copies_text(bills, board), _text(manifest, folder)]
        print("\n".join(part for part in said if part))
    return 0


def _flash_bytes(firmware: Firmware) -> int:
    return sum(len(data) for _, data in read_elf(firmware.elf).segments)


def _compiled(args: argparse.Namespace) -> CompileResult | None:
    """Compile a model that is no container yet; None for a container."""
    with args.model.open("rb") as file:
        is_container = file.read(len(MAGIC)) == MAGIC
    wishes = {"--data": args.data, "--exits": args.exits, "--precisions": args.precisions}
    if is_container:
        given = [name for name, value in wishes.items() if value is not None]
        if given:
            raise UsageError(f"{given[0]}: '{args.model}' is compiled already; give the .tflite or .onnx it came from")
        return None
    from joulet.compile import DEFAULT_PRECISIONS, compile_model

    precisions = DEFAULT_PRECISIONS
    if args.precisions is not None:
        precisions = tuple(part.strip() for part in args.precisions.split(",") if part.strip())
    return compile_model(
        args.model, data=args.data, exits=args.exits or "auto", precisions=precisions, progress=progress_lines()
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from error


def _piece(facts: FirmwareFacts, slot: str, content: bytes) -> Piece:
    if slot not in facts.slots:
        raise UsageError(f"board {facts.name} has no room for {slot}: its board.toml lacks slots.{slot}")
    region = facts.slots[slot]
    if len(content) > region.size:
        raise UsageError(
            f"the {slot} has {len(content):,} bytes, its slot on {facts.name} {region.size:,}: take fewer samples, "
            "or a smaller model"
        )
    return Piece(slot, region.address, content, region.size)


def check_memory(engine: HostEngine, planned: bytes, board: Board, firmware: Firmware) -> dict[str, int]:
    """Return what the model needs of RAM and what there is [bytes]; ``planned`` is the container of the image.

    Raises
    ------
    UsageError
        If it does not fit.
    """
    container = engine.container
    if all(_is_float(container, path) for path in range(len(engine.path_names))):
        raise UsageError("the container has float paths only; boards run integers: compile with --precisions w8,w4")
    inputs = sum(info.bytes for info in engine.inputs)
    arena, there = arena_bytes(planned, board.isa), work_bytes(firmware)
    if board.slow is not None:
        return {"arena_bytes": arena, "input_bytes": inputs, **_check_two(planned, board, there, inputs)}
    needed = arena + input_room_bytes(container)
    if needed > there:
        raise UsageError(
            f"the model needs {needed:,} bytes of RAM (arena {arena:,}, input {inputs:,}); {firmware.board} has {there:,}"
        )
    return {"arena_bytes": arena, "input_bytes": inputs, "work_bytes": there}


def _check_two(planned: bytes, board: Board, there: int, inputs: int) -> dict[str, int]:
    """Check both memories; the input waits in the slow one."""
    assert board.slow is not None
    fast, slow = fast_bytes(planned, board.isa), slow_bytes(planned, board.isa)
    if fast > there or slow + inputs > board.slow.bytes:
        raise UsageError(
            f"the model needs {fast:,} bytes of fast RAM and {slow + inputs:,} of slow (its input's {inputs:,} among them); "
            f"{board.name} has {there:,} and {board.slow.bytes:,}"
        )
    return {"work_bytes": there + board.slow.bytes, "fast_bytes": fast, "slow_bytes": slow}


def _is_float(container: Container, path: int) -> bool:
    precision = int(container.paths[path]["precisions"][0])
    return bool(container.precisions[precision]["is_f32"])


def write_build(
    folder: Path,
    facts: FirmwareFacts,
    firmware: Firmware,
    container: Container,
    pieces: list[Piece],
    memory: dict[str, int],
    key: bytes | None = None,
    *,
    compiled: bytes | None = None,
    saved_bytes: int = 0,
) -> dict[str, Any]:
    """Write the build folder beside its place, then put it there whole; return the manifest.

    ``compiled`` is the container to keep beside the image, ``saved_bytes`` what a firmware for any model would take more.

    Raises
    ------
    UsageError
        If the folder holds something else.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
        raise UsageError(f"--out {folder}: holds other files; name a new folder or one of an earlier build")
    folder.parent.mkdir(parents=True, exist_ok=True)
    image = Image.of((piece.address, piece.content) for piece in pieces)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        part.chmod(0o755)
        files = {"hex": "image.hex", "elf": "firmware.elf"}
        (part / files["hex"]).write_bytes(write_hex(image))
        if image.end - image.base <= MAX_SPAN_BYTES:  # else it would be mostly filling
            files["bin"] = "image.bin"
            (part / files["bin"]).write_bytes(image.to_bytes())
        shutil.copyfile(firmware.elf, part / files["elf"])
        if compiled is not None:
            files["model"] = MODEL
            (part / MODEL).write_bytes(compiled)
        family = facts.table.get("flash", {}).get("family")
        if family is not None:
            files["uf2"] = "image.uf2"
            (part / files["uf2"]).write_bytes(write_uf2(image, int(family)))
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "board": facts.name,
            "build_id": firmware.build_id.hex(),
            "model_hash": container.model_hash.hex(),
            "compiler": firmware.toolchain.version,
            "key": key.hex() if key is not None else None,
            "files": files,
            "base": image.base,
            "memory": memory,
            "kernels": {
                "of": "all" if firmware.kernels is None else "model",
                "ops": None if firmware.kernels is None else list(firmware.kernels.op_names),
                "saved_bytes": saved_bytes,
            },
            "segments": [
                {
                    "name": piece.name,
                    "address": piece.address,
                    "bytes": len(piece.content),
                    "room_bytes": piece.room,
                    "sha256": hashlib.sha256(piece.content).hexdigest(),
                }
                for piece in pieces
            ],
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _text(manifest: dict[str, Any], folder: Path) -> str:
    memory = manifest["memory"]
    lines = [f"{manifest['board']}, build {manifest['build_id']}, model {manifest['model_hash'][:16]}"]
    for segment in manifest["segments"]:
        lines.append(
            f"  {segment['name']:<10} 0x{segment['address']:08x}  {segment['bytes']:>10,} of {segment['room_bytes']:,} bytes"
        )
    lines.append(
        f"  {'RAM':<10} arena {memory['arena_bytes']:,} and input {memory['input_bytes']:,} of {memory['work_bytes']:,} bytes"
    )
    if "slow_bytes" in memory:
        lines.append(f"  {'':<10} of the arena {memory['fast_bytes']:,} fast and {memory['slow_bytes']:,} slow")
    if manifest["kernels"]["of"] == "model":
        ops, saved = ", ".join(manifest["kernels"]["ops"]), manifest["kernels"]["saved_bytes"]
        lines.append(f"  {'kernels':<10} of this model alone: {ops}; --kernels all would take {saved:,} bytes more")
    else:
        lines.append(f"  {'kernels':<10} of every op: any model may be uploaded")
    lines.append(f"  written to {folder}; next: joulet flash --board {manifest['board']}")
    return "\n".join(lines)
