# SPDX-License-Identifier: Apache-2.0
"""The checks of ``joulet doctor``. None of them raises: what cannot be looked at is told as not found."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from joulet.doctor.machine import JOBS, Check, Machine
from joulet.errors import JouletError
from joulet.flash.surroundings import Surroundings

OLDEST_PYTHON = (3, 10)
UDEV_FILE = "/etc/udev/rules.d/60-joulet.rules"
UDEV_RULE = (
    'SUBSYSTEM=="usb", ATTR{idVendor}=="0483|0d28|1366|1915|2e8a", MODE="0660", GROUP="plugdev", TAG+="uaccess", '
    'ENV{ID_MM_DEVICE_IGNORE}="1"'
)
UDEV_FIX = f"echo '{UDEV_RULE}' | sudo tee {UDEV_FILE} && sudo udevadm control --reload && sudo udevadm trigger"

# (package to import, name at the package index, what it is for, job that needs it, command)
_PACKAGES = (
    ("numpy", "numpy", "arrays", "infer", "pip install numpy"),
    ("_cffi_backend", "cffi", "the way to the compiled core", "infer", "pip install cffi"),
    ("flatbuffers", "flatbuffers", "reading .tflite", "infer", "pip install flatbuffers"),
    ("tflite", "tflite", "reading .tflite", "infer", "pip install tflite"),
    ("serial", "pyserial", "serial ports", "serial", "pip install pyserial"),
    ("unicorn", "unicorn", "the virtual board", "emulate", "pip install 'joulet[emulator]'"),
    ("elftools", "pyelftools", "reading firmware ELF files", "emulate", "pip install 'joulet[emulator]'"),
)
_EXTRAS = (
    ("ai_edge_litert", "ai-edge-litert", "running .tflite ladders", "tflite"),
    ("onnx", "onnx", "reading .onnx models", "onnx"),
    ("matplotlib", "matplotlib", "plots in reports", "report"),
    ("pvlib", "pvlib", "irradiance of the sun", "solar"),
    ("h5py", "h5py", "Shepherd traces", "shepherd"),
    ("distributed", "distributed", "sweeps on a cluster", "cluster"),
    ("smbus2", "smbus2", "power monitors on I2C", "i2c"),
    ("rich", "rich", "the live view of joulet power", "ui"),
)
_PROGRAMS = (
    ("cmake", "CMake projects around the firmware", "build", "sudo apt install cmake"),
    ("qemu-system-arm", "a second opinion on the virtual board", "emulate", "sudo apt install qemu-system-arm"),
    ("riscv64-unknown-elf-gcc", "firmware of RISC-V boards", "build", "sudo apt install gcc-riscv64-unknown-elf"),
    ("qemu-system-riscv32", "boards with a RISC-V core", "emulate", "sudo apt install qemu-system-misc"),
    ("openocd", "flashing without pyOCD", "flash", "sudo apt install openocd"),
    ("probe-rs", "flashing without pyOCD", "flash", "see probe.rs/docs/getting-started/installation"),
)


def examine(machine: Machine, jobs: Collection[str]) -> list[Check]:
    """Return all checks; ``jobs`` are the stated ones of :data:`JOBS`."""
    return [
        *_python(machine),
        *_packages(machine.around, jobs),
        _core(machine.around, jobs),
        *_compilers(machine.around, jobs),
        *_programs(machine.around),
        *_pyocd(machine.around),
        *_extras(machine.around),
        _ports(machine, jobs),
        *_udev(machine.around.root),
        *_modem_manager(machine.around.root),
    ]


def _lacking(job: str, jobs: Collection[str]) -> str:
    return "missing" if job in jobs else "optional"


def _python(machine: Machine) -> Iterator[Check]:
    version = ".".join(map(str, machine.python))
    wanted = ".".join(map(str, OLDEST_PYTHON))
    if machine.python < OLDEST_PYTHON:
        fix = f"sudo apt install python{wanted}, or another Python from {wanted} on"
        yield Check(
            name="Python", status="missing", found=f"{version}, {wanted} or later is needed", jobs=("infer",), fix=fix
        )
    else:
        yield Check(name="Python", status="ok", found=version, jobs=("infer",))
    if not machine.in_environment and (machine.stdlib / "EXTERNALLY-MANAGED").exists():
        yield Check(
            name="virtual environment",
            status="warning",
            found="none, and pip refuses to install beside the system's Python (PEP 668)",
            jobs=tuple(JOBS),
            fix="python3 -m venv ~/joulet && ~/joulet/bin/pip install joulet",
        )


def _packages(around: Surroundings, jobs: Collection[str]) -> Iterator[Check]:
    for module, name, use, job, fix in _PACKAGES:
        yield _package(around, module, name, use, job, _lacking(job, jobs), fix)


def _extras(around: Surroundings) -> Iterator[Check]:
    for module, name, use, extra in _EXTRAS:
        yield _package(around, module, name, use, "infer", "optional", f"pip install 'joulet[{extra}]'")


def _package(around: Surroundings, module: str, name: str, use: str, job: str, lacking: str, fix: str) -> Check:
    if reason := around.lacks(module):
        return Check(name=name, status=lacking, found=f"{reason} ({use})", jobs=(job,), fix=fix)
    version = getattr(around.load(module), "__version__", "")
    return Check(name=name, status="ok", found=str(version) or "installed", jobs=(job,))


def _core(around: Surroundings, jobs: Collection[str]) -> Check:
    reason = around.lacks("joulet._core")
    if not reason:
        return Check(name="compiled core", status="ok", found="loads", jobs=("infer",))
    return Check(
        name="compiled core",
        status=_lacking("infer", jobs),
        found=f"joulet._core: {reason}; it was not built, or for another Python",
        jobs=("infer",),
        fix="pip install --force-reinstall joulet (in a checkout: pip install -e .; without a wheel it needs a C compiler: "
        "sudo apt install gcc python3-dev)",
    )


def _compilers(around: Surroundings, jobs: Collection[str]) -> Iterator[Check]:
    """Either compiler is enough."""
    gcc, zig = around.find_program("arm-none-eabi-gcc"), not around.lacks("ziglang")
    lacking = "optional" if gcc or zig else _lacking("build", jobs)
    if gcc:
        yield Check(name="arm-none-eabi-gcc", status="ok", found=gcc, jobs=("build",))
    else:
        found = "not on the search path (compiles firmware; ziglang can too)"
        fix = "sudo apt install gcc-arm-none-eabi libnewlib-arm-none-eabi"
        yield Check(name="arm-none-eabi-gcc", status=lacking, found=found, jobs=("build",), fix=fix)
    if zig:
        yield Check(name="ziglang", status="ok", found="installed", jobs=("build",))
    else:
        found = "not installed (compiles firmware where arm-none-eabi-gcc is not to be had)"
        yield Check(name="ziglang", status="optional", found=found, jobs=("build",), fix="pip install 'joulet[zig]'")


def _programs(around: Surroundings) -> Iterator[Check]:
    for name, use, job, fix in _PROGRAMS:
        path = around.find_program(name)
        if path:
            yield Check(name=name, status="ok", found=path, jobs=(job,))
        else:
            yield Check(name=name, status="optional", found=f"not on the search path ({use})", jobs=(job,), fix=fix)


def _pyocd(around: Surroundings) -> Iterator[Check]:
    if reason := around.lacks("pyocd"):
        found = f"{reason} (flashing through debug probes)"
        yield Check(name="pyOCD", status="optional", found=found, jobs=("flash",), fix="pip install 'joulet[swd]'")
        return
    yield Check(name="pyOCD", status="ok", found=str(getattr(around.load("pyocd"), "__version__", "")), jobs=("flash",))
    for target, board in _pyocd_targets():
        if not _knows(around, target):
            yield Check(
                name=f"CMSIS pack of {board}",
                status="optional",
                found=f"pyOCD does not know {target}",
                jobs=("flash",),
                fix=f"pyocd pack install {target} (needs the network), or joulet flash --pack FILE, or another --via",
            )


def _pyocd_targets() -> list[tuple[str, str]]:
    try:
        from joulet.boards import board_names
        from joulet.flash.facts import flash_facts
    except ImportError:  # without numpy; that is told on its own line
        return []
    targets = []
    for board in board_names():
        try:
            target = flash_facts(board).pyocd_target
        except JouletError:
            continue
        if target is not None:
            targets.append((target, board))
    return targets


def _knows(around: Surroundings, target: str) -> bool:
    from joulet.flash.swd import installed_pack_targets

    try:
        return target in around.load("pyocd.target").TARGET or target in installed_pack_targets(around)
    except (ImportError, AttributeError):
        return False


def _ports(machine: Machine, jobs: Collection[str]) -> Check:
    root = machine.around.root
    ports = [path for pattern in ("ttyACM*", "ttyUSB*") for path in sorted((root / "dev").glob(pattern))]
    if not ports:
        return Check(name="serial ports", status="ok", found="none plugged in", jobs=("serial", "flash"))
    closed = [path for path in ports if not machine.can_open(path)]
    if not closed:
        found = ", ".join(path.name for path in ports)
        return Check(name="serial ports", status="ok", found=f"{found}: may be opened", jobs=("serial", "flash"))
    return Check(
        name="serial ports",
        status="missing" if {"serial", "flash"} & set(jobs) else "warning",
        found=f"{', '.join(path.name for path in closed)}: permission denied",
        jobs=("serial", "flash"),
        fix=f"sudo usermod -aG {_group(root, closed[0])} $USER, then log in again",
    )


def _group(root: Path, port: Path) -> str:
    """Return the group that may open a port: dialout on Debian, uucp elsewhere."""
    try:
        number = str(port.stat().st_gid)
        for line in (root / "etc" / "group").read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(":")
            if len(fields) >= 3 and fields[2] == number and fields[0] != "root":
                return fields[0]
    except OSError:
        pass
    return "dialout"


def _udev(root: Path) -> Iterator[Check]:
    """Look for a rule that lets users open debug probes, where there is udev at all."""
    folders = [root / folder / "udev" / "rules.d" for folder in ("etc", "lib", "usr/lib")]
    if not any(folder.is_dir() for folder in folders):
        return
    for folder in folders:
        for path in sorted(folder.glob("*.rules")):
            try:
                text = path.read_text(encoding="utf-8", errors="replace").lower()
            except OSError:
                continue
            if "0d28" in text or "cmsis-dap" in text or ("0483" in text and "374b" in text):
                yield Check(name="udev rule", status="ok", found=str(path), jobs=("flash",))
                return
    found = "no rule for debug probes, so only root may use them"
    yield Check(name="udev rule", status="optional", found=found, jobs=("flash",), fix=UDEV_FIX)


def _modem_manager(root: Path) -> Iterator[Check]:
    for path in (root / "proc").glob("[0-9]*/comm"):
        try:
            running = path.read_text(encoding="utf-8", errors="replace").strip() == "ModemManager"
        except OSError:  # a process that ended meanwhile
            continue
        if running:
            yield Check(
                name="ModemManager",
                status="warning",
                found="it is running, and talks to new serial ports for some seconds as if they were modems",
                jobs=("serial", "flash"),
                fix='sudo systemctl disable --now ModemManager (if you need it: put ENV{ID_MM_DEVICE_IGNORE}="1" into a udev rule '
                "for the board)",
            )
            return
