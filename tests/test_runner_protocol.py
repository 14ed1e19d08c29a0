# SPDX-License-Identifier: Apache-2.0
"""An independent client of the MLPerf Tiny runner's protocol drives the firmware, on virtual boards and on QEMU."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from runner_client import Dut, ProtocolError
from thumb import need_tools

from joulet.compile import compile_model
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.host import HostEngine
from joulet.errors import LinkError
from joulet.firmware.build import build_firmware
from joulet.link import Runner, connect, open_port, wire

ROOT = Path(__file__).resolve().parents[1]
MODELS = {
    "kws01": ("kws_ref_model_int8", 490),
    "vww01": ("vww_96_int8", 27_648),
    "ad01": ("ad01_int8", 2_560),
    "ic01": ("ic_resnet8_int8", 3_072),
}
Bytes = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return (ROOT / "tests" / "golden" / "containers" / "v1" / "tiny.jlt").read_bytes()


@pytest.fixture(scope="module")
def benchmark(shared_data: Path) -> Callable[[str], bytes]:
    """Return what compiles a model of the benchmark."""
    folder = shared_data / "mlperf_tiny" / "models"
    return lambda id: compile_model(folder / f"{MODELS[id][0]}.tflite", exits="off", precisions=("w8",)).container


def powered(container: bytes, name: str = "virtual_m4", **options: object) -> VirtualBoard:
    need_tools()
    machine = VirtualBoard(name, **options)  # type: ignore[arg-type]
    if container:
        machine.load(machine.facts.slots["model"].address, container)
    machine.power_on()
    return machine


def on(machine: VirtualBoard) -> Dut:
    """Return a client that has seen the board boot."""
    dut = Dut(VirtualPort(machine), lambda: machine.now_s)
    assert dut.boot() == "performance"
    return dut


@pytest.fixture
def dut(tiny: bytes) -> Iterator[Dut]:
    machine = powered(tiny)
    client = on(machine)
    yield client
    assert client.raw.isascii()
    machine.check()


def tiny_input() -> bytes:
    return np.random.default_rng(2).integers(0, 256, 32, dtype=np.uint8).tobytes()


def answer_of(container: bytes, raw: bytes) -> list[str]:
    """Return what HostEngine answers to quantised input, as text with three decimals."""
    engine = HostEngine(container)
    info, out = engine.inputs[0], engine.outputs[0]
    x = np.frombuffer(raw, info.dtype).reshape(1, *info.shape[1:])
    q = np.ravel(engine.infer([x], path=0, depth=len(engine.exit_names) - 1).outputs[0]).astype(np.float32)
    values = (q - np.float32(out.zero_point)) * np.float32(out.scale) if out.scale else q
    return [f"{value:.3f}" for value in values]


# single commands


def test_names_and_models(dut: Dut) -> None:
    assert dut.name() == "joulet"
    assert dut.profile() == "ULPMark for tinyML Firmware V0.0.1"
    assert dut.model() == "custom"
    assert len(dut.command("help")) == 1


def test_a_flood_of_names_is_answered_one_by_one(tiny: bytes) -> None:
    machine = powered(tiny)
    client = on(machine)
    for count in (3, 500):
        VirtualPort(machine).write(b"name%" * count)
        for _ in range(count):
            assert client.answer() == ["m-name-dut-[joulet]"]
    with pytest.raises(ProtocolError, match="no line"):
        client.answer()


@pytest.mark.parametrize("command", ["name\r\n", "\r\nname", "na\nme", "\tname", "name\x7f", "n\x01ame"])
def test_control_characters_are_refused_in_words(dut: Dut, command: str) -> None:
    assert dut.command(command) == ["e-[Commands are ASCII without CR and LF]"]
    assert dut.name() == "joulet"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("", "Unknown command"),
        ("names", "Unknown command"),
        ("NAME", "Unknown command"),
        ("m-ready", "Unknown command"),
        ("joulet 2", "Unknown command"),
        ("joulet", "Unknown command"),
        ("x" * 80, "Unknown command"),
        ("x" * 81, "Command too long"),
        ("name" + " " * 196, "Command too long"),
        ("db 00", "db load first"),
        ("db", "db load first"),
        ("db load", "This model takes 32 bytes"),
        ("db load 31", "This model takes 32 bytes"),
        ("db load 99999999999999999999", "This model takes 32 bytes"),
        ("db load -1", "This model takes 32 bytes"),
        ("db load 32x", "This model takes 32 bytes"),
        ("db load 32 32", "This model takes 32 bytes"),
        ("results", "No results yet"),
        ("infer x", "infer takes a number of runs and of warm-up runs"),
        ("infer 0", "infer takes a number of runs and of warm-up runs"),
        ("infer 1 2 3", "infer takes a number of runs and of warm-up runs"),
        ("infer 100001", "infer takes a number of runs and of warm-up runs"),
    ],
)
def test_what_is_wrong_is_said_and_ends_ready(dut: Dut, command: str, text: str) -> None:
    assert dut.command(command) == [f"e-[{text}]"]
    assert dut.name() == "joulet"


def test_spaces_do_not_matter(dut: Dut) -> None:
    assert dut.command("  name ") == ["m-name-dut-[joulet]"]
    assert dut.command("db  load   32 ") == ["m-[Expecting 32 bytes]"]


def test_hexadecimal_that_is_none_or_too_much(dut: Dut) -> None:
    for data in ("0", "0g", "00 11", "00" * 33):
        assert dut.command("db load 32") == ["m-[Expecting 32 bytes]"]
        assert dut.command(f"db {data}") == ["e-[Not hexadecimal, or too much]"]
    dut.load(tiny_input())
    assert dut.command("db 00") == ["e-[db load first]"]  # full


def test_the_buffer_is_printed_as_it_was_sent(dut: Dut) -> None:
    data = tiny_input()
    dut.command("db load 32")
    assert dut.command(f"db {data[:20].hex()}") == []
    assert dut.command(f"db {data[20:].hex().upper()}") == ["m-load-done"]
    lines = dut.command("db print")
    assert len(lines) == 4
    for line in lines:
        assert line.startswith("m-buffer-")
        assert len(line) == len("m-buffer") + 8 * 3
    assert bytes.fromhex("".join(line.removeprefix("m-buffer").replace("-", "") for line in lines)) == data


def test_infer_and_results(dut: Dut, tiny: bytes) -> None:
    data = tiny_input()
    dut.load(data)
    done = dut.infer(5, 1)
    assert done.results == answer_of(tiny, data)
    assert done.laps_us[1] > done.laps_us[0]
    assert dut.command("results") == [f"m-results-[{','.join(done.results)}]"]
    assert dut.command("infer")[0] == "m-warmup-start-10"
    assert dut.command("infer 2")[:3] == ["m-warmup-start-10", "m-warmup-done", "m-infer-start-2"]
    assert dut.infer(1, 0).results == done.results
    one, ten = (dut.infer(runs, 0).laps_us for runs in (1, 10))
    assert ten[1] - ten[0] == pytest.approx(10 * (one[1] - one[0]), rel=0.3)


def test_time_stamps_go_past_32_bits(tiny: bytes) -> None:
    machine = powered(tiny)
    client = on(machine)
    first = client.timestamp_us()
    assert 0 < client.timestamp_us() - first < 10_000
    machine.power.slept(5000.0)
    late = client.timestamp_us()
    assert 5_000_000_000 <= late < 5_001_000_000
    assert late > 2**32


def test_without_a_model() -> None:
    machine = powered(b"")
    client = on(machine)
    assert client.model() == "custom"
    assert client.command("db load 32") == ["e-[This model takes 0 bytes]"]
    assert client.command("db 00") == ["e-[db load first]"]
    assert client.command("infer 1 1") == ["e-[No model: flash one, or upload it over the link]"]
    assert client.command("results") == ["e-[No results yet]"]


def test_a_load_does_not_outlive_its_model(tiny: bytes, models: Path) -> None:
    small = compile_model(models / "dense_int8.tflite", exits="off", precisions=("w8",)).container
    machine = powered(tiny)
    client = on(machine)
    assert client.command("db load 32") == ["m-[Expecting 32 bytes]"]
    with connect(VirtualPort(machine)) as board:
        board.upload("MODEL", small)
        n_bytes = int(np.prod(HostEngine(small).inputs[0].shape))
    assert n_bytes != 32
    assert client.command("db " + "00" * 31) == ["e-[db load first]"]
    assert client.name() == "joulet"


def test_frames_and_ascii_see_one_input_and_one_answer(tiny: bytes) -> None:
    machine = powered(tiny)
    client = on(machine)
    data = tiny_input()
    client.load(data)
    with connect(VirtualPort(machine)) as board:
        assert board.read("FEATURES") == data
        board.infer(0, 1)
        answer = np.frombuffer(board.answer(), np.int8)
    assert client.command("results") == [f"m-results-[{','.join(answer_of(tiny, data))}]"]
    assert len(answer) == len(answer_of(tiny, data))
    assert client.infer(1, 0).results == answer_of(tiny, data)


def test_our_own_client_agrees(tiny: bytes) -> None:
    machine = powered(tiny)
    runner = Runner(VirtualPort(machine))
    runner.clear()
    runner.load(tiny_input())
    elapsed_us, results = runner.infer(3, 1)
    assert elapsed_us > 0
    assert [f"{value:.3f}" for value in results] == answer_of(tiny, tiny_input())
    assert runner.model() == "custom"
    assert runner.timestamp_us() > 0


class Canned:
    """A line that says the same to everything."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.waiting = answer, b""

    def write(self, data: bytes) -> None:
        self.waiting = self.answer

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        out, self.waiting = self.waiting[:n_bytes], self.waiting[n_bytes:]
        return out

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "no answer"),
        (b"m-rea", "no answer"),
        (b"m-lap-us-1\r\nm-lap-us-2\r\nm-results-[0.1x]\r\nm-ready\r\n", "no numbers"),
        (b"m-lap-us-1\r\nm-results-[0.1]\r\nm-ready\r\n", "lacks"),
        (b"m-ready\r\n", "lacks"),
        (b"e-[No model]\r\nm-ready\r\n", "refuses: No model"),
        (b"\xff\xfe" * 40_000, "no answer"),
        (b"chatter\n" * 5000, "without end"),
    ],
)
def test_our_own_client_says_what_it_does_not_understand(answer: bytes, text: str) -> None:
    with pytest.raises(LinkError, match=text):
        Runner(Canned(answer)).infer(1)
    for call in (lambda r: r.name(), lambda r: r.model(), lambda r: r.load(b"x")):
        with pytest.raises(LinkError):
            call(Runner(Canned(answer)))


# numbers


@pytest.mark.parametrize("name", ["virtual_m4", "virtual_m0plus"])
@pytest.mark.parametrize("model", ["activations", "depthwise", "borders", "argmax"])
def test_results_are_rounded_as_printf_does(name: str, model: str, models: Path) -> None:
    container = compile_model(models / f"{model}_int8.tflite", exits="off", precisions=("w8",)).container
    client = on(powered(container, name))
    info = HostEngine(container).inputs[0]
    values = set()
    for x in np.random.default_rng(4).integers(-128, 128, (3, *info.shape), dtype=np.int8):
        if info.dtype == np.float32:
            x = x.astype(np.float32) / 17
        client.load(x.tobytes())
        results = client.infer(1, 0).results
        assert results == answer_of(container, x.tobytes())
        values |= set(results)
    if model == "activations":
        assert {"0.062", "0.188"} & values  # 16/256 and 48/256 lie in the middle
    if model == "depthwise":
        assert any(value.startswith("-") for value in values)


# energy mode


def test_energy_mode_pulses_twice_around_the_window(tiny: bytes) -> None:
    need_tools()
    machine = powered(tiny, firmware=build_firmware("virtual_m4", energy_mode=True))
    pins: list[tuple[float, int]] = []
    gpio = machine._devices[0x1_1000]
    forward = gpio._changed  # type: ignore[union-attr]

    def changed(out: int) -> None:
        pins.append((machine.now_s, out >> 3 & 1))
        forward(out)

    gpio._changed = changed  # type: ignore[union-attr, method-assign]
    client = Dut(VirtualPort(machine), lambda: machine.now_s)
    assert client.boot() == "energy"
    client.load(tiny_input())

    def pulses() -> list[tuple[float, float]]:
        """Return (start, width) of low pulses [s]."""
        edges = [pins[0], *(b for a, b in pairwise(pins) if a[1] != b[1])]
        falls = [time_s for time_s, level in edges[1:] if not level]
        rises = [time_s for time_s, level in edges[1:] if level]
        return [(fall, rise - fall) for fall, rise in zip(falls, rises, strict=True)]

    pins[:] = [(machine.now_s, 1)]
    done = client.infer(4, 2)
    assert done.laps_us == []
    assert done.results == answer_of(tiny, tiny_input())
    (first, width), (second, _) = pulses()
    assert width >= 1e-6
    reference = on(powered(tiny))
    reference.load(tiny_input())
    laps = reference.infer(4, 2).laps_us
    assert second - first == pytest.approx((laps[1] - laps[0]) * 1e-6, rel=0.05)
    pins[:] = [(machine.now_s, 1)]
    assert client.command("timestamp") == []
    assert len(pulses()) == 1
    assert b"m-lap" not in client.raw
    with connect(VirtualPort(machine)) as board:
        assert "ENERGY_MODE" in board.hello.caps
    header = (machine.firmware.folder / "board.h").read_text()
    assert f".baud = 0x{9600:X}u" in header  # as the runner's interface board speaks


# the benchmark


def real_inputs(id: str, data: Path, count: int) -> list[bytes]:
    """Return inputs as the runner would send them."""
    if id == "kws01":
        return [x.tobytes() for x in np.load(data / "speech_commands" / "mfcc.npz")["mfcc_int8"][:count]]
    if id == "ad01":
        raw = (data / "mlperf_tiny" / "inputs" / "ad01_normal_id_01_00000000_hist_librosa.bin").read_bytes()
        return [raw[512 * i : 512 * i + 2560] for i in range(count)]
    images = np.load(data / "cifar10" / "test.npz")["x"][:count]
    if id == "vww01":
        images = images.repeat(3, axis=1).repeat(3, axis=2)
    return [image.tobytes() for image in images]


def check_answer(id: str, container: bytes, sent: bytes, results: list[str]) -> None:
    """Compare results with HostEngine's."""
    if id != "ad01":
        flip = 0 if id == "kws01" else 0x80
        assert results == answer_of(container, bytes(byte ^ flip for byte in sent))
        return
    engine = HostEngine(container)
    info, out = engine.inputs[0], engine.outputs[0]
    floats = np.frombuffer(sent, np.float32)
    q = np.clip(np.round(floats / np.float32(info.scale)) + info.zero_point, -128, 127).astype(np.int8)
    answer = np.ravel(engine.infer([q.reshape(1, *info.shape[1:])], path=0, depth=0).outputs[0])
    rebuilt = (answer.astype(np.float64) - out.zero_point) * np.float64(out.scale)
    assert len(results) == 1
    assert float(results[0]) == pytest.approx(float(np.mean((rebuilt - floats) ** 2)), abs=6e-4)


@pytest.mark.parametrize("id", MODELS)
def test_accuracy_and_performance_mode(id: str, shared_data: Path, benchmark: Callable[[str], bytes]) -> None:
    container = benchmark(id)
    machine = powered(container)
    client = on(machine)
    assert client.name() == "joulet"
    assert client.model() == id
    data = real_inputs(id, shared_data, 3)
    assert len(data[0]) == MODELS[id][1]
    answers = set()
    for one in data:
        client.load(one)
        done = client.infer(1, 0)
        check_answer(id, container, one, done.results)
        answers.add(tuple(done.results))
    assert len(answers) > 1
    laps = client.infer(1, 0).laps_us
    # a slower crystal: an inference takes 10.5 s, and fills a window that would else take hundreds
    cycles = (laps[1] - laps[0]) * 1e-6 * machine.clock_hz
    machine.settle()
    machine.clock_hz = round(cycles / 10.5)
    assert client.performance(data[0], 1 if len(data[0]) < 3000 else 0) == pytest.approx(1 / 10.5, rel=0.02)
    assert client.raw.isascii()


def test_under_qemu_over_a_pseudo_terminal(
    tmp_path: Path, shared_data: Path, benchmark: Callable[[str], bytes]
) -> None:
    need_tools()
    program = shutil.which("qemu-system-arm")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI lacks qemu-system-arm")
        pytest.skip("needs qemu-system-arm (Debian: qemu-system-arm)")
    container = benchmark("kws01")
    model = tmp_path / "model.jlt"
    model.write_bytes(container)
    command = [program, "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "pty"]
    command += ["-kernel", str(build_firmware("virtual_m4").elf)]
    command += ["-device", f"loader,file={model},addr=0x40000,force-raw=on", "-S"]
    command[command.index("-monitor") + 1] = "stdio"  # it is held until somebody listens
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            said = ""
            while "redirected to " not in said:
                line = process.stdout.readline()
                assert line, f"QEMU has ended: {said}"
                said += line
            port = open_port(said.split("redirected to ")[1].split()[0])
            try:
                process.stdin.write("cont\n")
                process.stdin.flush()
                client = Dut(port)
                assert client.boot() == "performance"
                assert client.model() == "kws01"
                port.write(b"name%name%name%")
                assert [client.answer() for _ in range(3)] == 3 * [["m-name-dut-[joulet]"]]
                for one in real_inputs("kws01", shared_data, 2):
                    client.load(one)
                    check_answer("kws01", container, one, client.infer(2, 1).results)
                assert client.timestamp_us() > 0
                with connect(port) as board:
                    assert board.hello.board == "virtual_m4"
                    assert board.infer(0, 0).macs > 0
                assert wire.VERSION == 1
                assert client.name() == "joulet"
            finally:
                port.close()
        finally:
            process.kill()
