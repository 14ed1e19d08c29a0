# SPDX-License-Identifier: Apache-2.0
"""Signed updates: keys, signatures against a judge of our own, and firmware that takes no others."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
from pathlib import Path

import eddsa_judge
import numpy as np
import pytest
from link_bench import other_container, raw, tiny_container
from thumb import need_tools
from update_bench import Memory, Model

from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.errors import LinkError, UsageError
from joulet.firmware import monocypher
from joulet.firmware.build import Firmware, build_firmware, cache_folder
from joulet.firmware.sizes import firmware_sizes
from joulet.link import connect, signing, wire
from joulet.tools.main import main

SECRET, WRONG = (seed + eddsa_judge.public_key(seed) for seed in (bytes(range(32)), bytes(range(1, 33))))

pytest.importorskip("monocypher", reason="needs pymonocypher (pip install 'joulet[sign]')")


@pytest.fixture(scope="module")
def keyed() -> Firmware:
    need_tools()
    try:
        monocypher.monocypher_source(cache_folder())
    except UsageError as error:
        pytest.skip(str(error))
    return build_firmware("virtual_m4", key=signing.public_key(SECRET))


def machine(firmware: Firmware, container: bytes) -> VirtualBoard:
    board = VirtualBoard("virtual_m4", firmware=firmware)
    board.load(board.facts.slots["model"].address, container)
    board.power_on()
    return board


def test_signatures_are_those_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    made = signing.new_secret()
    assert signing.public_key(made) == eddsa_judge.public_key(made[:32])
    for size in (0, 1, 100, 5000):
        content = rng.bytes(size)
        message = signing.signed_bytes("MODEL", content)
        assert message == b"joulet-update-1\0" + bytes([1, 0, 0, 0]) + size.to_bytes(4, "little") + (
            hashlib.sha256(content).digest()
        )
        signature, public = signing.sign(SECRET, "MODEL", content), signing.public_key(SECRET)
        assert eddsa_judge.valid(signature, public, message)
        assert not eddsa_judge.valid(signature, public, signing.signed_bytes("POLICY", content))
        assert not eddsa_judge.valid(signature, signing.public_key(WRONG), message)


def test_only_what_is_signed_with_the_key_is_taken(keyed: Firmware) -> None:
    old, new = Model(tiny_container()), Model(other_container())
    board = machine(keyed, old.container)
    with connect(VirtualPort(board)) as link:
        assert "SIGNED" in link.hello.caps
        foreign = signing.sign(SECRET, "POLICY", new.container)
        for key in (None, WRONG):
            with pytest.raises(LinkError, match="signed with its key"):
                link.upload("MODEL", new.container, sign=key)
            assert (link.greet().model_side, link.hello.model_other) == ("A", False)
            at = board.facts.slots["model_b"].address
            assert (board.core.flash[at : at + 8] == 0xFF).all()  # without its first bytes it is nothing
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(signing, "sign", lambda *_: foreign)  # of another slot
            with pytest.raises(LinkError, match="signed with its key"):
                link.upload("MODEL", new.container, sign=SECRET)
        with pytest.raises(LinkError, match="ROLLBACK"):
            link.rollback("MODEL")
        assert old.answers(link)
        link.upload("MODEL", new.container, sign=SECRET)
        assert (link.greet().model_side, link.hello.model_other) == ("B", True)
        assert new.answers(link)
        assert link.rollback("MODEL").model_hash == old.hash
        assert link.rollback("MODEL").model_hash == new.hash
    board.cut()
    board.power_on()
    with connect(VirtualPort(board)) as link:
        assert new.answers(link)
    board.check()


def test_what_was_sent_whole_and_never_committed_does_not_run(keyed: Firmware) -> None:
    old, new = Model(tiny_container()), Model(other_container())
    board = machine(keyed, old.container)
    port = VirtualPort(board)
    with connect(port) as link, pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "_send_chunks", _stop_after(link._send_chunks))
        with pytest.raises(KeyboardInterrupt):
            link.upload("MODEL", new.container)
        patch.undo()
        with pytest.raises(LinkError, match="ROLLBACK"):
            link.rollback("MODEL")
    # not even when side A is gone
    board.core.flash[board.facts.slots["model"].address :][:64] = 0xFF
    board.cut()
    board.power_on()
    with connect(VirtualPort(board)) as link:
        assert link.hello.model_status < 0


def _stop_after(send: object) -> object:
    def sent(*arguments: object) -> int:
        send(*arguments)  # type: ignore[operator]
        raise KeyboardInterrupt

    return sent


def test_what_firmware_without_the_key_has_taken_does_not_run_under_it(keyed: Firmware) -> None:
    old, new = Model(tiny_container()), Model(other_container())
    board = machine(build_firmware("virtual_m4"), old.container)
    with connect(VirtualPort(board)) as link:
        link.upload("MODEL", new.container)
        assert link.greet().model_side == "B"
    left, code = Memory.of(board), board.facts.slots["firmware"].size
    board = machine(keyed, old.container)
    board.cut()
    board.core.flash[code:] = left.flash[code:]
    board.fram.data[:] = left.fram
    board.power_on()
    with connect(VirtualPort(board)) as link:
        assert (link.hello.model_side, link.hello.model_other) == ("A", False)
        with pytest.raises(LinkError, match="signed with its key"):
            link.rollback("MODEL")
        assert old.answers(link)
        link.upload("MODEL", new.container, sign=SECRET)
        assert link.greet().model_side == "B"


def test_another_key_is_another_firmware(keyed: Firmware) -> None:
    other = build_firmware("virtual_m4", key=signing.public_key(WRONG))
    assert other.build_id != keyed.build_id != build_firmware("virtual_m4").build_id
    board = machine(other, tiny_container())
    with connect(VirtualPort(board)) as link:
        with pytest.raises(LinkError, match="signed"):
            link.upload("MODEL", other_container(), sign=SECRET)
        link.upload("MODEL", other_container(), sign=WRONG)


def test_unsigned_firmware_takes_signed_updates() -> None:
    need_tools()
    board = machine(build_firmware("virtual_m4"), tiny_container())
    with connect(VirtualPort(board)) as link:
        assert "SIGNED" not in link.hello.caps
        link.upload("MODEL", other_container(), sign=WRONG)


def test_what_checking_signatures_takes(keyed: Firmware) -> None:
    sizes, plain = firmware_sizes(keyed), firmware_sizes(build_firmware("virtual_m4", toolchain="gcc"))
    assert sizes.stack_bound <= sizes.stack_reserved
    assert sizes.beside_arena - plain.beside_arena <= 1100
    assert sizes.flash - plain.flash < 16_384


def test_the_stack_suffices_in_fact(keyed: Firmware) -> None:
    board = machine(keyed, tiny_container())
    with connect(VirtualPort(board)) as link:
        link.upload("MODEL", other_container(), sign=SECRET)
    sizes = firmware_sizes(keyed)
    taken = sizes.stack_reserved - int(np.argmax(board.core.ram[: sizes.stack_reserved] != 0xAA))
    assert 1000 < taken <= sizes.stack_bound


# keys and the tool


def test_keys_are_made_once_and_for_their_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "k"
    assert main(["keys", "--new", str(path)]) == 0
    public = capsys.readouterr().out.strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["keys", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["public"] == public
    assert signing.read_public(f"{path}.pub") == signing.read_public(public) == bytes.fromhex(public)
    assert signing.public_key(signing.read_secret(path)).hex() == public
    before = path.read_bytes()
    assert main(["keys", "--new", str(path)]) == 2
    assert "there already" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("-----BEGIN PUBLIC KEY-----\nMCow\n", "PEM"),
        (f"{signing.SECRET_WORD} {SECRET.hex()}\n", "secret key"),
        (f"{signing.PUBLIC_WORD} 12\n", "damaged"),
        ("nonsense\n", "no key"),
        (None, "neither a file nor"),
    ],
)
def test_what_is_no_public_key_is_said(
    text: str | None, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_tools()
    model, key = tmp_path / "m.jlt", tmp_path / "key"
    model.write_bytes(tiny_container())
    if text is not None:
        key.write_text(text)
    assert main(["build", str(model), "--board", "virtual_m4", "--key", str(key), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("joulet: error: ")
    assert word in said


def test_an_image_with_a_key_is_built(keyed: Firmware, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.jlt"
    model.write_bytes(tiny_container())
    public = signing.public_key(SECRET).hex()
    words = ["build", str(model), "--board", "virtual_m4", "--key", public, "-o", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["key"], manifest["build_id"]) == (public, keyed.build_id.hex())


# where Monocypher comes from


def test_a_source_that_is_not_the_known_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "monocypher" / monocypher.VERSION
    folder.mkdir(parents=True)
    with tarfile.open(folder / monocypher.SDIST, "w:gz") as archive:
        for name in monocypher.FILES:
            path = tmp_path / name
            path.write_text("int x;\n")
            archive.add(path, f"pymonocypher-{monocypher.VERSION}/{name}")
    digest = hashlib.sha256((folder / monocypher.SDIST).read_bytes()).hexdigest()
    monkeypatch.setattr(monocypher, "SDIST_SHA256", digest)
    with pytest.raises(UsageError, match="not the one that is known"):
        monocypher.monocypher_source(tmp_path)


def test_no_network_is_said_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UsageError, match="put that file"):
        monocypher.monocypher_source(tmp_path)
    assert not (tmp_path / "monocypher" / monocypher.VERSION / monocypher.SDIST).exists()


def test_rollback_frames_of_any_content_break_nothing(keyed: Firmware) -> None:
    board = machine(keyed, tiny_container())
    port = VirtualPort(board)
    with connect(port) as link:
        for slot in range(256):
            (reply,) = raw(port, "ROLLBACK", 1 + slot, bytes([slot, 0, 0, 0]))
            assert reply.type == wire.CODES["Message"]["NACK"] | wire.REPLY
        assert Model(tiny_container()).answers(link)
