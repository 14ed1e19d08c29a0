# SPDX-License-Identifier: Apache-2.0
"""Every message of the link and every record a board keeps, declared once; PROTOCOL.md explains them.

``tools/structs.py`` writes csrc/link/wire.h from this file. All records are little-endian and naturally aligned.
"""

from __future__ import annotations

import numpy as np

from joulet.container.layout import Field
from joulet.container.layout import record_dtype as _record_dtype

VERSION = 1
MAX_PAYLOAD = 256  # of one frame [bytes]
FRAME_OVERHEAD = 8  # version, type, sequence, length, CRC-16 [bytes]
CHUNK_BYTES = 248  # data of one CHUNK [bytes]
WINDOW = 3  # CHUNK frames that may be on their way
SILENCE_US = 10_000_000  # without a valid frame, nothing pending: back to ASCII
REPLY = 0x80  # type of a reply = type of its request | REPLY
SLOT_MAGIC = 0x4C544C4A  # "JLTL"
SAMPLES_MAGIC = 0x53544C4A  # "JLTS"
SESSION_MAGIC = 0x434C544A  # "JTLC"
REFIT_MAGIC = 0x46544C4A  # "JLTF"
ANY_EVENT = 0xFFFF_FFFF  # of a LABEL: whatever inference came last
ACTIVATIONS_AT = 64  # two of them in memory that is written byte by byte, each with 64 bytes of room
JOURNAL_AT = 192  # first record of the journal in that memory
BLOCK_NONE = 0xFF

CODES = {
    "Message": {
        "HELLO": 1,
        "BYE": 2,
        "START": 3,
        "STEP": 4,
        "SWITCH": 5,
        "READ": 6,
        "BEGIN": 7,
        "CHUNK": 8,
        "COMMIT": 9,
        "INFER": 10,
        "PRICE": 11,
        "RUN": 12,
        "PCM": 13,
        "ROLLBACK": 14,
        "LABEL": 15,
        "EVENT": 32,
        "LOG": 33,
        "NACK": 127,
    },
    "Slot": {"INPUT": 0, "MODEL": 1, "POLICY": 2, "SAMPLES": 3, "SESSION": 4},
    "Read": {"ANSWER": 0, "LEDGER": 1, "EVENTS": 2, "FEATURES": 3, "SENSORS": 4, "FIRMWARE": 5, "REFIT": 6},
    "Cap": {"CYCLES": 1, "NVM": 2, "POWER": 4, "FLASH": 8, "F32": 16, "ENERGY_MODE": 32, "SIGNED": 64, "REFIT": 128},
    "RefitFlag": {"LABELLED": 1, "DISTIL": 2},
    "Input": {"FLASH": 0, "LINK": 1},
    "Mark": {"EXIT": 1, "STEPS": 2},
    "Strategy": {"PLANNED": 0, "IN_NVM": 1, "JIT_COPY": 2, "RESTART_FROM_EXIT": 3, "NONE": 4},
    "EventStatus": {"RUNNING": 1, "ANSWERED": 2, "DROPPED": 3, "EXPIRED": 4, "CUT": 5},
}


def _f(name: str, type: str, doc: str, count: int = 1) -> Field:
    return Field(name, type, count, doc)


STRUCTS: dict[str, tuple[str, tuple[Field, ...]]] = {
    "HelloReply": (
        "HELLO is answered by this",
        (
            _f("build_id", "u8", "first 8 bytes of the SHA-256 over sources, board and compiler", 8),
            _f("model_hash", "u8", "of the container in the model slot; zeros without one", 32),
            _f("board", "u8", "ASCII, padded with 0", 24),
            _f("clock_hz", "u32", "of the core"),
            _f("caps", "u32", "Cap bits"),
            _f("work_bytes", "u32", "memory for arena and input together [bytes]"),
            _f("arena_bytes", "u32", "that the model's most demanding path needs [bytes]; 0 without a model"),
            _f("model_status", "i32", "0, or the negative status of the container check"),
            _f("policy_status", "i32", "0, or the negative status of the policy check"),
            _f("resets", "u32", "counted in non-volatile memory; 0 without one"),
            _f("tick_hz", "u32", "of the board's timer"),
            _f("protocol", "u16", "VERSION"),
            _f("max_payload", "u16", "of a frame it takes [bytes]"),
            _f("window", "u16", "CHUNK frames it can hold"),
            _f("reserved", "u16", "0"),
            _f("model_side", "u8", "that runs: 0 A, 1 B"),
            _f(
                "model_other", "u8", "1: the other side holds a model that would run; 0: not, or there is no other side"
            ),
            _f("policy_side", "u8", "as model_side"),
            _f("policy_other", "u8", "1: the other side holds a policy for the model that runs"),
            _f("reserved2", "u8", "0", 4),
        ),
    ),
    "Hello": (
        "HELLO: who are you; with the number of the last HELLO, the memory of the last acting request stays",
        (_f("conversation", "u32", "any number that tells this host's conversation from others"),),
    ),
    "Start": (
        "START: begin an inference with the content of the INPUT slot",
        (
            _f("path", "u16", "of the container"),
            _f(
                "marks",
                "u8",
                "Mark bits: what the marker pins are to show besides, held long enough for a meter to see",
            ),
            _f("reserved", "u8", "0"),
        ),
    ),
    "Step": (
        "STEP: run to an exit, evaluating no other head",
        (_f("exit", "u8", "index"), _f("reserved", "u8", "0", 3)),
    ),
    "Infer": (
        "INFER: START, then STEP to one exit, or from exit to exit until the confidence reaches the path's threshold",
        (
            _f("path", "u16", "of the container"),
            _f("exit", "u8", "index, or 255: stop by confidence"),
            _f("marks", "u8", "as in Start"),
        ),
    ),
    "Reached": (
        "answer to STEP and INFER, and an EVENT for each exit passed on the way",
        (
            _f("cycles", "u64", "of the core's counter since START; 0 without one"),
            _f("ticks", "u64", "of the board's timer since START, tick_hz a second"),
            _f("macs", "u64", "multiply-accumulates since START"),
            _f("confidence_q15", "u16", "P(correct)"),
            _f("margin", "u16", "top-1 minus top-2 of the logits"),
            _f("path", "u16", "of the container"),
            _f("exit", "u8", "index"),
            _f("reserved", "u8", "0"),
        ),
    ),
    "Switch": (
        "SWITCH: continue along another path",
        (_f("path", "u16", "that agrees in all that has run"), _f("reserved", "u16", "0")),
    ),
    "Read": (
        "READ: part of something the board holds; answered by ReadReply and the bytes",
        (
            _f("offset", "u32", "[bytes]"),
            _f("bytes", "u16", "at most CHUNK_BYTES"),
            _f("what", "u8", "Read code"),
            _f("reserved", "u8", "0"),
        ),
    ),
    "ReadReply": (
        "goes before the bytes",
        (_f("offset", "u32", "[bytes]"), _f("total_bytes", "u32", "of the whole")),
    ),
    "Begin": (
        "BEGIN: a transfer into a slot; one of the same size and CRC that was cut short goes on where it stopped",
        (
            _f("bytes", "u32", "of all [bytes]"),
            _f("crc32", "u32", "of all"),
            _f("slot", "u8", "Slot code"),
            _f("reserved", "u8", "0", 3),
        ),
    ),
    "Chunk": (
        "CHUNK: goes before at most CHUNK_BYTES bytes",
        (
            _f("offset", "u32", "of these bytes, a multiple of 8"),
            _f("slot", "u8", "Slot code"),
            _f("reserved", "u8", "0", 3),
        ),
    ),
    "Commit": (
        "COMMIT: have all of it checked, and used from then on; may be left out",
        (
            _f("sha256", "u8", "of all", 32),
            _f("signature", "u8", "EdDSA-BLAKE2b over Signed; zeros without", 64),
        ),
    ),
    "Signed": (
        "what is signed",
        (
            _f("magic", "u8", "ASCII joulet-update-1, padded with 0", 16),
            _f("slot", "u32", "Slot code"),
            _f("bytes", "u32", "of all"),
            _f("sha256", "u8", "of all", 32),
        ),
    ),
    "Rollback": (
        "ROLLBACK: go back to what the other side of a slot holds",
        (_f("slot", "u8", "MODEL or POLICY"), _f("reserved", "u8", "0", 3)),
    ),
    "Activation": (
        "which side of a slot is used, as the board keeps it in non-volatile memory",
        (
            _f("build_id", "u8", "of the firmware that wrote it; another one does not heed it", 8),
            _f("sequence", "u32", "the highest one counts"),
            _f("model_side", "u8", "0 A, 1 B"),
            _f("policy_side", "u8", "0 A, 1 B"),
            _f("vouched", "u8", "bit 1 MODEL, bit 2 POLICY: this firmware has itself committed what side B holds"),
            _f("reserved", "u8", "0"),
            _f("model_head_crc32", "u32", "of the first 64 bytes of side A of MODEL when this was written"),
            _f("policy_head_crc32", "u32", "of the first 64 bytes of side A of POLICY when this was written"),
            _f("model_hash", "u8", "first 16 bytes of that of the model on model_side", 16),
            _f("reserved2", "u32", "0"),
            _f("crc32", "u32", "of all before it"),
        ),
    ),
    "Progress": (
        "answer to BEGIN, CHUNK and COMMIT",
        (
            _f("next", "u32", "first byte that is missing: all before it is stored"),
            _f("status", "i32", "0, or a negative status"),
            _f("slot", "u8", "Slot code"),
            _f("reserved", "u8", "0", 3),
        ),
    ),
    "Price": (
        "PRICE: what some energy is worth now",
        (_f("energy_q16", "u32", "usable, in levels of the policy"), _f("spend_q16", "u32", "to be spent, in levels")),
    ),
    "PriceReply": (
        "answer to PRICE, in right answers times 2^gain_q",
        (_f("worth", "u32", "of the usable energy"), _f("price", "u32", "of spending: worth lost")),
    ),
    "Run": (
        "RUN: start the autonomous loop from the SESSION slot, or 0 to stop it",
        (_f("go", "u32", "0 or 1"),),
    ),
    "Pcm": (
        "PCM: 16 kHz int16 samples follow; once 49 frames are in, their MFCC are the content of the INPUT slot",
        (
            _f("multiplier", "u16", "grid of the model's input: multiplier * 2^-shift steps for one unit; below 2^15"),
            _f("shift", "u8", "0..20"),
            _f("zero_point", "i8", "of the model's input"),
            _f("begin", "u8", "1: forget what came before"),
            _f("reserved", "u8", "0", 3),
        ),
    ),
    "PcmReply": (
        "answer to PCM",
        (
            _f("frames", "u32", "since the beginning"),
            _f("ready", "u32", "1: the INPUT slot holds the features of the last 49"),
        ),
    ),
    "Label": (
        "LABEL: what an inference should have answered",
        (
            _f("index", "u32", "of the event; ANY_EVENT for the last inference"),
            _f("label", "u16", "class"),
            _f("reserved", "u16", "0"),
        ),
    ),
    "Nack": (
        "NACK: a request that was understood and refused",
        (_f("status", "i32", "negative status"), _f("type", "u8", "of the request"), _f("reserved", "u8", "0", 3)),
    ),
    "SlotHeader": (
        "in front of the content of the POLICY, SAMPLES and SESSION slots; the content starts 64 bytes later",
        (
            _f("magic", "u32", "SLOT_MAGIC"),
            _f("bytes", "u32", "of the content"),
            _f("crc32", "u32", "of the content"),
            _f("slot", "u32", "Slot code"),
            _f("reserved", "u32", "0", 12),
        ),
    ),
    "Samples": (
        "content of the SAMPLES slot: this, then the samples one after the other, each padded to a multiple of 4",
        (
            _f("magic", "u32", "SAMPLES_MAGIC"),
            _f("count", "u32", "of samples, 1 or more"),
            _f("bytes_each", "u32", "of one sample, all inputs in their order [bytes]"),
            _f("stride", "u32", "from one to the next [bytes]"),
        ),
    ),
    "Session": (
        "content of the SESSION slot: how the autonomous loop runs",
        (
            _f("magic", "u32", "SESSION_MAGIC"),
            _f("autostart", "u32", "1: begin at power-up"),
            _f("period_us", "u64", "between events, the first at 0"),
            _f("deadline_us", "u64", "from event to answer"),
            _f("end_us", "u64", "no event from then on"),
            _f("capacity_nf", "u64", "of the store, from its voltage to its energy"),
            _f("off_mv", "u32", "store at brown-out"),
            _f("full_mv", "u32", "full store"),
            _f("on_mv", "u32", "power-good threshold"),
            _f("sleep_nw", "u32", "drawn while asleep"),
            _f("energy_fj_per_cycle", "u32", "drawn while running"),
            _f("first_sample", "u32", "of event 0; the next events take the next ones"),
            _f("dearness_q16", "u32", "energy taken from the store for one joule that the board gets"),
            _f("input", "u32", "Input code: where samples come from"),
            _f("commit_cycles", "u32", "of computing between two commits of progress; 0: whole ops"),
            _f("warn_mv", "u32", "JIT_COPY: store at which progress is copied; IN_NVM: store from which on it is not"),
            _f(
                "strategy",
                "u32",
                "Strategy code: what survives a power cut; PLANNED: what the container plans for this board",
            ),
            _f("cap_kcycles", "u32", "most cycles of one inference, in thousands, whatever the input; 0: any"),
            _f("reserved", "u32", "0"),
            _f("fixed_path", "u16", "0xFFFF: ask the policy; else every inference runs this path"),
            _f("fixed_exit", "u16", "with fixed_path: to this exit; plus 256: the exits before it answer too"),
        ),
    ),
    "Refit": (
        "may follow the Session: a head is fitted again on the device, by firmware that can",
        (
            _f("magic", "u32", "REFIT_MAGIC"),
            _f("exit", "u8", "whose head"),
            _f(
                "flags",
                "u8",
                "RefitFlag bits: labels follow the samples in their slot, u16 each; the last exit teaches",
            ),
            _f("sure_q15", "u16", "DISTIL: least confidence of the last exit"),
            _f("forgetting", "f32", "weight of a sample when the next one comes, 0.9..1"),
            _f("prior", "f32", "1 / the samples that the factory head weighs, 1e-6..1e3"),
            _f("target", "f32", "logit of the right class [steps]; 0: as the head was fitted"),
            _f(
                "surplus_mv",
                "u32",
                "store from which on it is fitted [mV]; 0: where the policy's price is at its floor",
            ),
            _f("cycles", "u32", "of one fit, kept [cycles]"),
            _f("keep_every", "u32", "fits between two that are kept, 1 or more"),
        ),
    ),
    "RefitHead": (
        "in front of a head's state in non-volatile memory; a CRC-32 of both follows the state",
        (
            _f("magic", "u32", "REFIT_MAGIC"),
            _f("sequence", "u32", "the highest one counts"),
            _f("updates", "u32", "samples learned from"),
            _f("plan_crc32", "u32", "of the Refit record; under another one the state does not count"),
            _f("model_hash", "u8", "first 16 bytes of the model's", 16),
        ),
    ),
    "RefitState": (
        "READ REFIT: this, then bias, multipliers and shifts (i32 a class) and weights (i8) of the head that runs",
        (
            _f("status", "i32", "0; ABSENT without a Refit record; what the record, the exit or the memory failed in"),
            _f("updates", "u32", "samples learned from"),
            _f("sequence", "u32", "of what is kept; 0: nothing is"),
            _f("refused", "u32", "labels that were not learned from since power-up"),
            _f("n_features", "u16", "that the head reads"),
            _f("n_classes", "u16", "that it answers with"),
            _f("kept", "u8", "1: what is learned outlives a power cut"),
            _f("exit", "u8", "whose head"),
            _f("reserved", "u16", "0"),
        ),
    ),
    "EventRecord": (
        "one event, as the board keeps it in non-volatile memory",
        (
            _f("index", "u32", "of the event"),
            _f("sample", "u32", "index"),
            _f("start_us", "u64", "of the inference"),
            _f("end_us", "u64", "of the answer; 0 without one"),
            _f("cycles", "u64", "of the inference; 0 without a counter"),
            _f("confidence_q15", "u16", "of the answer"),
            _f("predicted", "u16", "class; 0xFFFF without one"),
            _f("path", "u16", "0xFFFF before a start"),
            _f("exit", "u8", "255 without an answer"),
            _f("status", "u8", "EventStatus"),
            _f("decisions", "u32", "asked of the policy"),
            _f("crc32", "u32", "of all before it"),
        ),
    ),
    "FirmwareCheck": (
        "what the board finds where its firmware lies",
        (
            _f("address", "u32", "of the first byte"),
            _f("bytes", "u32", "up to the last one"),
            _f("crc32", "u32", "of them"),
            _f("model_status", "i32", "of the container with all its sums read again, whatever has been trusted"),
        ),
    ),
    "Sensors": (
        "what the board's sensors say now",
        (
            _f("drawn_nj", "u64", "energy counter since power-up"),
            _f("time_us", "u64", "of the board's timer"),
            _f("store_mv", "u32", "voltage of the store"),
            _f("valid", "u32", "bit 0: store_mv, bit 1: drawn_nj"),
        ),
    ),
    "LedgerRecord": (
        "what the board counted itself since power-up",
        (
            _f(
                "pj",
                "u64",
                "harvested (estimated), compute, redone, abandoned, sleep, sensing, policy, conversion, leakage, "
                "clipped, refit",
                11,
            ),
            _f("stored_delta_pj", "u64", "two's complement"),
            _f("time_us", "u64", "of the board's timer"),
        ),
    ),
}


def dtype(name: str) -> np.dtype[np.void]:
    """Return the NumPy structured dtype of one record."""
    return _record_dtype(STRUCTS[name][1])
