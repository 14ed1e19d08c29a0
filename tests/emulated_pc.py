# SPDX-License-Identifier: Apache-2.0
"""Programs on a PC that this machine is not: Debian's kernel in Bochs, which knows AVX-512 and counts instructions.

A guest boots from a CD whose initial file system holds the programs and their files, runs one command after another with no
interrupt in between, and switches itself off. In Bochs the time-stamp counter advances by one for each instruction, and for each
round of a repeated one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from counted_programs import MissingToolError, tool

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "pc"
INIT = ROOT / "tests" / "pc" / "init.c"
LOADER = (Path("/usr/lib/ISOLINUX/isolinux.bin"), Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"))
BIOS = (Path("/usr/share/bochs/BIOS-bochs-latest"), Path("/usr/share/bochs/VGABIOS-lgpl-latest"))
PACKAGES = "bochs bochsbios vgabios isolinux syslinux-common xorriso"
WITH_VNNI = "corei7_icelake_u"
WITHOUT_VNNI = "corei7_skylake_x"  # AVX-512 F, BW, DQ and VL

# What Bochs 2.7 tells of XSAVEC's sizes is wrong, with some of the others the kernel stops, as it does in SMM, which ACPI enters.
# Certificates and self-tests are left out to boot sooner.
_MASKED = "pku,ospke,aperfmperf,xsaves,xsavec,umip,fsgsbase,pcid,invpcid,smap,smep,erms,fsrm"
_KERNEL_OPTIONS = (
    f"quiet console=ttyS1 nokaslr tsc=reliable mitigations=off clearcpuid={_MASKED} lsm= acpi=off nosmp noapic nolapic "
    "cryptomgr.notests=1 random.trust_cpu=on rcupdate.rcu_expedited=1 initcall_blacklist=load_system_certificate_list"
)
_LOADER_CONFIG = f"default linux\nprompt 0\nlabel linux\nkernel /linux\ninitrd /initrd\nappend {_KERNEL_OPTIONS}\n"


@dataclass(frozen=True)
class Answer:
    """What a command ended with and wrote."""

    status: int
    output: bytes
    errors: str


def need_tools() -> None:
    """Raise MissingToolError where the emulator, the loader or a compiler is missing."""
    for name in ("bochs", "xorriso"):
        tool(name, f"--no-install-recommends {PACKAGES}")
    for path in (*LOADER, *BIOS):
        if not path.exists():
            raise MissingToolError(f"no {path} here: apt-get install --no-install-recommends {PACKAGES}")
    tool("gcc", "gcc libc6-dev")


def kernel() -> Path:
    """Return the kernel that :func:`fetch_kernel` has fetched."""
    path = KEPT / "vmlinuz"
    if not path.exists():
        raise MissingToolError(f"no kernel in {KEPT}: make bench-vnni fetches one")
    return path


def fetch_kernel() -> Path:
    """Fetch Debian's kernel for virtual machines from its archive, without installing it, unless it is here."""
    path = KEPT / "vmlinuz"
    if path.exists():
        return path
    if shutil.which("apt-get") is None:
        raise MissingToolError(f"no apt-get here: put a Linux kernel for x86-64 at {path}")
    KEPT.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(
        ["apt-cache", "depends", "linux-image-cloud-amd64"], check=False, capture_output=True, text=True
    )
    names = re.findall(r"Depends: (linux-image-\S+)", listed.stdout)
    if not names:
        raise MissingToolError("the archive's lists hold no linux-image-cloud-amd64: apt-get update")
    _run(["apt-get", "download", names[0]], KEPT)
    _run(["sh", "-c", f"dpkg-deb -x {names[0]}_*.deb unpacked && mv unpacked/boot/vmlinuz-* vmlinuz"], KEPT)
    return path


def compile_static(source: Path, place: Path) -> Path:
    """Compile a program of one file that needs no libraries in the guest."""
    program = place / source.stem
    _run(["gcc", "-std=gnu11", "-O2", "-static", "-o", str(program), str(source)], ROOT)
    return program


def libraries_of(library: Path) -> dict[str, Path]:
    """Return a dynamic library's own ones, and the loader, by the absolute paths at which they are sought."""
    listed = subprocess.run(["ldd", str(library)], check=True, capture_output=True, text=True).stdout
    return {path: Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", listed)}


def run_in_pc(
    place: Path,
    commands: Sequence[Sequence[str]],
    files: Mapping[str, Path],
    cpu: str = WITH_VNNI,
    seconds: float = 600,
) -> list[Answer]:
    """Boot a guest and return what each command answered.

    Parameters
    ----------
    place
        Folder for what a guest boots from and what Bochs writes.
    commands
        Words of each; the first is a path in the guest, and none holds blanks.
    files
        Path in the guest to file here.
    cpu
        Model, one that ``bochs --help cpu`` lists.
    seconds
        How long the guest may take.

    Raises
    ------
    MissingToolError
        Something is missing here.
    RuntimeError
        The guest did not come to its end; its last words are in the message.
    """
    need_tools()
    disc = place / "disc"
    disc.mkdir(parents=True, exist_ok=True)
    init = compile_static(INIT, place)
    lines = "".join(f"{' '.join(command)}\n" for command in commands)
    contents = {path: (here.read_bytes(), here.stat().st_mode & 0o777) for path, here in files.items()}
    contents |= {"/init": (init.read_bytes(), 0o755), "/commands": (lines.encode(), 0o644)}
    (disc / "initrd").write_bytes(archive_of(contents))
    (disc / "isolinux.cfg").write_text(_LOADER_CONFIG)
    shutil.copyfile(kernel(), disc / "linux")
    for path in LOADER:
        shutil.copyfile(path, disc / path.name)
    _run(["xorriso", "-as", "mkisofs", "-quiet", "-o", "disc.iso", "-b", "isolinux.bin", "-c", "boot.cat",
          "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "disc"], place)  # fmt: skip
    (place / "bochsrc").write_text(_machine(cpu))
    (place / "debugger").write_text("continue\n")
    said = _boot(place, seconds)
    answers = list(_answers(said))
    if len(answers) != len(commands):
        raise RuntimeError(f"the guest answered {len(answers)} of {len(commands)} commands; see {place}/bochs.log")
    return answers


def archive_of(contents: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Return a cpio archive ("newc") of files by absolute path: content and permissions; folders are made."""
    folders = {str(parent) for path in contents for parent in Path(path).parents if str(parent) != "/"}
    entries = [(name, b"", 0o40755) for name in sorted({*folders, "/dev"}, key=len)]
    entries += [(path, content, 0o100000 | mode) for path, (content, mode) in contents.items()]
    archive = bytearray()
    for number, (path, content, mode) in enumerate([*entries, ("/TRAILER!!!", b"", 0)], 1):
        name = path[1:].encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def _machine(cpu: str) -> str:
    """Bochs' description of a PC with this processor."""
    rom, video = BIOS
    return f"""cpu: model={cpu}, count=1, ips=20000000, reset_on_triple_fault=0
clock: sync=none, time0=1000000000
memory: guest=256, host=256
romimage: file={rom}
vgaromimage: file={video}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=disc.iso, status=inserted
boot: cdrom
port_e9_hack: enabled=1
speaker: enabled=0
sound: waveoutdrv=dummy
log: bochs.log
panic: action=fatal
error: action=report
info: action=report
display_library: rfb, options="timeout=0"
"""


def _boot(place: Path, seconds: float) -> bytes:
    command = ["bochs", "-q", "-f", "bochsrc", "-rc", "debugger"]
    try:
        done = subprocess.run(
            command, cwd=place, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as late:
        raise RuntimeError(f"the guest took more than {seconds:.0f} s; see {place}{os.sep}bochs.log") from late
    return done.stdout


def _answers(said: bytes) -> list[Answer]:
    """Take apart what tests/pc/init.c writes, between what Bochs itself says."""
    answers, at = [], said.find(b"@answer ")
    while at >= 0 and said.startswith(b"@answer ", at):
        head, begin = said[at : said.index(b"\n", at)].split(), said.index(b"\n", at) + 1
        status, output, errors = (int(word) for word in head[1:])
        middle, at = begin + output, begin + output + errors
        answers.append(Answer(status, said[begin:middle], said[middle:at].decode(errors="replace")))
    return answers


def _run(command: Sequence[str], where: Path) -> None:
    done = subprocess.run(command, check=False, cwd=where, capture_output=True, text=True)
    if done.returncode:
        raise MissingToolError(f"{' '.join(command[:4])} failed: {done.stderr[-1500:]}")
