# SPDX-License-Identifier: Apache-2.0
"""Every record of a .jlt container, declared once.

``tools/structs.py`` writes csrc/core/format.h and the tables of FORMAT.md from this file; Python reads and writes
the records through :func:`dtype`. All records are little-endian and naturally aligned: the generator refuses holes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAGIC = b"\x89JLT\r\n\x1a\n"
VERSION_MAJOR = 1
VERSION_MINOR = 0
SECTION_ALIGN_BYTES = 64
LOW_PLANE_ALIGN_BYTES = 4096
NO_INDEX = 0xFFFF
NO_OFFSET = 0xFFFFFFFF
BACKBONE = 0xFF  # Op.exit of an op that belongs to no head
MAX_RANK = 6
MAX_EXITS = 16
MAX_INPUTS = 8
MAX_OUTPUTS = 16
MAX_TENSORS = 8192
MAX_OPS = 4096
MAX_BAND_OPS = 8
PACKING_VERSION = 3  # of the order of packed weights: raised when that of any kernel changes
PACKING_VERSION_SPARSE = 259  # of a part that also has sparse copies, which not every reader knows
CONFIDENCE_BINS = 32  # bin = margin >> 3, margin 0..255

SECTIONS = {
    # name: (code, what it holds)
    "META": (1, "UTF-8 JSON for people and hosts: names, labels, provenance; a board never reads it"),
    "MODEL": (2, "one Model record"),
    "TENSORS": (3, "Tensor records"),
    "OPS": (4, "Op records in execution order"),
    "WEIGHTS": (5, "Weight records, one for each conv, dwconv and fc op"),
    "LAYERS": (6, "Layer records, precision-major: index = precision * n_weights + weight"),
    "PRECISIONS": (7, "Precision records"),
    "EXITS": (8, "Exit records in order of depth"),
    "PATHS": (9, "Path records"),
    "CONFIDENCE": (10, "tables of 32 uint16 q15, indexed by Path.confidence"),
    "POOL": (11, "op parameters, requantisation, lookup and index tables, biases (int32), constant tensors"),
    "DATA_S8": (12, "plain int8 weights"),
    "PLANE_HIGH": (13, "high nibbles of nested weights, two a byte, low nibble first"),
    "PLANE_LOW": (14, "low nibbles of nested weights, same order; may be absent; 4 KiB aligned"),
    "DATA_F32": (15, "float weights and biases; present where an f32 precision is"),
    "ARENA": (16, "one Arena record, then a u32 arena offset [bytes] for each tensor (NO_OFFSET for constants)"),
    "BOARD": (32, "plan part: one Board record, then u32 cycles, precision-major, for each op"),
    "NVM": (33, "plan part: one NvmPlan record, then a u32 offset [bytes] for each tensor (NO_OFFSET where not kept)"),
    "PACKED": (34, "plan part: one Packed record, a Packing record for each weight, then weights as kernels read them"),
    "MEASURED": (
        35,
        "plan part: one Measured record, then UTF-8 JSON: costs measured on a board; a board never reads it",
    ),
    "BANDS": (36, "plan part: BandGroup records of a part with PACKED, in order of first_op; may be left out"),
    "SPARSE": (
        39,
        "plan part: one Sparse record, then a u32 offset for each weight, then sparse copies; there where PACKED says so",
    ),
    "MEMORIES": (
        40,
        "plan part: one Memories record of a part with PACKED; left out where the arena lies in one memory",
    ),
}

CODES = {
    "DType": {"S8": 1, "S32": 2, "F32": 3},
    "OpCode": {
        "CONV": 1,
        "DWCONV": 2,
        "FC": 3,
        "AVGPOOL": 4,
        "MAXPOOL": 5,
        "MEAN": 6,
        "ADD": 7,
        "SUB": 8,
        "MUL": 9,
        "COPY": 10,
        "FILL": 11,
        "LUT": 12,
        "SOFTMAX": 13,
        "RESIZE_NEAREST": 14,
        "RESIZE_BILINEAR": 15,
        "QUANTIZE": 16,
        "DEQUANTIZE": 17,
        "ARGMAX": 18,
    },
    "Storage": {"S8": 1, "NESTED": 2},
    "Rounding": {"TWICE": 0, "ONCE": 1},
    "TensorFlag": {"INPUT": 1, "OUTPUT": 2, "CONST": 4, "BORDER_U8": 8},
    "ExitFlag": {"IMPORTED": 1, "REFIT": 2, "CLASSES": 4},
    "SectionFlag": {"PRESENT": 1},
    "Isa": {"REF": 0, "ARMV6M": 1, "ARMV7EM": 2, "MVE": 3, "NEON": 4, "AVX2": 5, "AVX512VNNI": 6},
    "NvmStrategy": {"IN_NVM": 1, "JIT_COPY": 2, "RESTART_FROM_EXIT": 3},
    "Unary": {
        "REQUANTIZE": 1,
        "RELU": 2,
        "RELU6": 3,
        "RELU_N1_TO_1": 4,
        "LEAKY_RELU": 5,
        "HARD_SWISH": 6,
        "LOGISTIC": 7,
        "TANH": 8,
    },
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``type`` is u8 u16 u32 u64 i8 i32 or f32; ``count`` 1 means a scalar."""

    name: str
    type: str
    count: int
    doc: str


def _f(name: str, type: str, doc: str, count: int = 1) -> Field:
    return Field(name, type, count, doc)


STRUCTS: dict[str, tuple[str, tuple[Field, ...]]] = {
    "Header": (
        "first 64 bytes of a container",
        (
            _f("magic", "u8", "89 4A 4C 54 0D 0A 1A 0A", 8),
            _f("version_major", "u16", "readers refuse another major"),
            _f("version_minor", "u16", "higher minors only add sections and flags that may be ignored"),
            _f("file_bytes", "u32", "whole container [bytes]"),
            _f("n_sections", "u16", "entries in the section table that follows at byte 64"),
            _f("reserved0", "u16", "0"),
            _f("crc32", "u32", "CRC-32 (IEEE 802.3) of header and section table with this field 0"),
            _f("reserved1", "u32", "0", 2),
            _f("model_hash", "u8", "SHA-256 over (code, size, sha256) of the canonical sections in table order", 32),
        ),
    ),
    "Section": (
        "section table entry",
        (
            _f("code", "u16", "what it is; see the list of sections"),
            _f("part", "u16", "0 canonical; n > 0 belongs to plan part n"),
            _f("flags", "u32", "bit 0: present in this file"),
            _f("offset", "u32", "from the start of the container [bytes], multiple of 64; 0 when absent"),
            _f("bytes", "u32", "size of the content, also when absent [bytes]"),
            _f("crc32", "u32", "CRC-32 of the content"),
            _f("reserved", "u32", "0", 3),
            _f("sha256", "u8", "SHA-256 of the content, kept when absent", 32),
        ),
    ),
    "Model": (
        "counts and borders of the network",
        (
            _f("n_tensors", "u16", "records in TENSORS"),
            _f("n_ops", "u16", "records in OPS, 1 or more"),
            _f("n_weights", "u16", "records in WEIGHTS"),
            _f("n_precisions", "u16", "records in PRECISIONS, 1 or more"),
            _f("n_exits", "u16", "records in EXITS, 1..16"),
            _f("n_paths", "u16", "records in PATHS, 1 or more"),
            _f("n_inputs", "u16", "1..8"),
            _f("n_outputs", "u16", "1..16"),
            _f("inputs", "u16", "tensor indices, unused ones 0xFFFF", 8),
            _f("outputs", "u16", "tensor indices, unused ones 0xFFFF", 16),
        ),
    ),
    "Tensor": (
        "shape, type and quantisation",
        (
            _f("dtype", "u8", "DType"),
            _f("rank", "u8", "0..6"),
            _f("flags", "u8", "TensorFlag"),
            _f("reserved", "u8", "0"),
            _f("elements", "u32", "product of dims"),
            _f("dims", "u32", "extents, outermost first, unused ones 1", 6),
            _f("scale", "f32", "real = scale * (q - zero_point); 0 when not quantised"),
            _f("zero_point", "i32", "-128..127 for s8"),
            _f("const_offset", "u32", "into POOL [bytes] when CONST, else NO_OFFSET"),
        ),
    ),
    "Op": (
        "one step of the generic plan",
        (
            _f("code", "u8", "OpCode"),
            _f("exit", "u8", "exit whose head this op belongs to, 255 for the backbone"),
            _f("segment", "u8", "which entry of a path's precisions governs it"),
            _f("n_inputs", "u8", "0..2"),
            _f("inputs", "u16", "tensor indices, unused ones 0xFFFF", 2),
            _f("output", "u16", "tensor index"),
            _f("weight", "u16", "index into WEIGHTS or 0xFFFF"),
            _f("params_offset", "u32", "parameter record in POOL [bytes], multiple of 4"),
            _f("params_bytes", "u32", "size of the parameter record and the tables behind it [bytes]"),
            _f("macs", "u32", "multiply-accumulates of one execution"),
        ),
    ),
    "Weight": (
        "how the weights of one op are stored; rows are output channels (one row for dwconv)",
        (
            _f("storage", "u8", "Storage"),
            _f("rounding", "u8", "Rounding; once only for fc that was uint8"),
            _f("channels", "u16", "output channels = entries of every bias"),
            _f("rows", "u32", "rows of weights"),
            _f("row_elements", "u32", "weights in a row; a nibble row takes (row_elements + 1) / 2 bytes"),
            _f("offset", "u32", "into DATA_S8 (s8) or into both planes (nested) [bytes]"),
            _f("f32_offset", "u32", "into DATA_F32 [bytes]: weights, then one bias a channel; NO_OFFSET without f32"),
            _f("zero_point", "i32", "subtracted from every weight, -128..127; 0 unless the model was uint8"),
            _f("n_multipliers", "u32", "1 or channels"),
            _f("multiplier_offset", "u32", "into POOL: int32 multipliers (q31) [bytes]"),
            _f("shift_offset", "u32", "into POOL: int32 shifts, -31..30, left when positive [bytes]"),
        ),
    ),
    "Layer": (
        "one weighted op at one precision",
        (
            _f("bits", "u8", "8, 4 or 32"),
            _f("reserved", "u8", "0", 3),
            _f("bias_offset", "u32", "into POOL: int32 bias a channel [bytes]; NO_OFFSET at 32 bits"),
        ),
    ),
    "Precision": (
        "an assignment of bits to every weighted op",
        (
            _f("name", "u8", "ASCII, padded with 0", 12),
            _f("is_f32", "u32", "1 when every layer has 32 bits, else 0"),
        ),
    ),
    "Exit": (
        "a head and where it answers",
        (
            _f("logits", "u16", "s8 tensor whose top-1 minus top-2 margin is the confidence"),
            _f("output", "u16", "tensor that holds the answer"),
            _f("last_op", "u16", "the exit is reached when this op has run"),
            _f("n_classes", "u16", "elements of logits; 0 for a model without classes"),
            _f("flags", "u32", "ExitFlag"),
        ),
    ),
    "Path": (
        "operating points along one choice of precisions",
        (
            _f("precisions", "u8", "precision of each segment, one a exit", 16),
            _f("confidence", "u16", "index of the table in CONFIDENCE for each exit, 0xFFFF without classes", 16),
            _f("accuracy_q15", "u16", "P(correct) at each exit on the calibration set; 32767: not measured", 16),
            _f("auto_threshold_q15", "u16", "stop at this exit from this confidence on", 16),
        ),
    ),
    "Arena": (
        "generic plan for the reference kernels",
        (
            _f("tensor_bytes", "u32", "arena of the integer precisions without scratch; f32 takes four times as much"),
            _f("scratch_bytes", "u32", "most scratch any op asks for at integer precisions"),
            _f("scratch_f32_bytes", "u32", "most scratch any op asks for at f32"),
            _f("n_tensors", "u32", "offsets that follow"),
        ),
    ),
    "Board": (
        "cost table of one board",
        (
            _f("name", "u8", "ASCII, padded with 0", 32),
            _f("clock_hz", "u32", "core clock [Hz]"),
            _f("energy_pj_per_cycle", "u32", "[pJ]"),
            _f("n_precisions", "u32", "rows of the table"),
            _f("n_ops", "u32", "columns of the table"),
        ),
    ),
    "Measured": (
        "costs that were measured on one board",
        (
            _f("name", "u8", "ASCII, padded with 0", 32),
            _f("json_bytes", "u32", "of the JSON that follows [bytes]"),
            _f("reserved", "u32", "0"),
        ),
    ),
    "NvmPlan": (
        "how an inference outlives power cuts on one board",
        (
            _f("name", "u8", "board, ASCII, padded with 0", 32),
            _f("strategy", "u32", "NvmStrategy"),
            _f("commit_cycles", "u32", "IN_NVM: cycles to aim for between two commits; else 0"),
            _f("warn_mv", "u32", "JIT_COPY: copy when the store is at or below this [mV]; else 0"),
            _f("interval_ops", "u32", "ops, by index, that one interval between commits may reach over, 1 or more"),
            _f("record_bytes", "u32", "size of a progress record that was planned with [bytes]"),
            _f("copy_bytes", "u32", "one copy of the tensors, multiple of 4 [bytes]"),
            _f("copies", "u32", "1 IN_NVM; 2 in turn else, the second at copy_bytes"),
            _f("total_bytes", "u32", "copies * copy_bytes"),
            _f("n_tensors", "u32", "offsets that follow"),
            _f("flags", "u32", "0"),
        ),
    ),
    "Packed": (
        "weights in the order in which one instruction set's kernels read them; the part's ARENA is theirs too",
        (
            _f("isa", "u32", "Isa, not REF"),
            _f("n_weights", "u32", "Packing records that follow"),
            _f(
                "version",
                "u32",
                "PACKING_VERSION of who packed, or PACKING_VERSION_SPARSE in a part with SPARSE; with another one the part "
                "stands for nothing, as if it were not there",
            ),
            _f("reserved", "u32", "0"),
        ),
    ),
    "Packing": (
        "where one weight's packed copies lie; their layout belongs to the kernel",
        (
            _f(
                "offset_8", "u32", "at 8 bits, from the start of the section [bytes], multiple of 64; NO_OFFSET without"
            ),
            _f(
                "offset_4",
                "u32",
                "at 4 bits; equal to offset_8: one copy, of as many bytes as one of 8 bits, serves both",
            ),
        ),
    ),
    "Memories": (
        "an arena in two memories",
        (
            _f(
                "slow_bytes",
                "u32",
                "of the arena, from its beginning, that lie in the slower one [bytes]; multiple of 16",
            ),
            _f("reserved", "u32", "0", 3),
        ),
    ),
    "Sparse": (
        "weights of which blocks are absent, as one instruction set's kernels read them",
        (
            _f("section_bytes", "u32", "of the section [bytes]"),
            _f("n_weights", "u32", "offsets that follow"),
            _f("reserved", "u32", "0", 2),
        ),
    ),
    "BandGroup": (
        "ops in a row that run band by band; of what one hands to the next, only a few rows are ever in the arena",
        (
            _f("first_op", "u16", "index of the first"),
            _f("n_ops", "u16", "2..8"),
            _f("rows", "u16", "of each op's output: rows that the arena holds; the last op's: rows in a band", 8),
        ),
    ),
    "ConvParams": (
        "CONV, DWCONV and FC (FC: h = w = k = stride = 1, in_n = rows of x)",
        (
            _f("n", "u32", "batch"),
            _f("in_h", "u32", "input height"),
            _f("in_w", "u32", "input width"),
            _f("in_c", "u32", "input channels"),
            _f("out_h", "u32", "output height"),
            _f("out_w", "u32", "output width"),
            _f("out_c", "u32", "output channels; dwconv: a multiple of in_c"),
            _f("k_h", "u16", "kernel height"),
            _f("k_w", "u16", "kernel width"),
            _f("stride_h", "u16", "1 or more"),
            _f("stride_w", "u16", "1 or more"),
            _f("dilation_h", "u16", "1 or more"),
            _f("dilation_w", "u16", "1 or more"),
            _f("pad_top", "u16", "rows of zeros above"),
            _f("pad_left", "u16", "columns of zeros to the left"),
            _f("groups", "u32", "divides in_c and out_c; 1 for dwconv and fc"),
            _f("in_zero_point", "i32", "-128..127"),
            _f("out_zero_point", "i32", "-128..127"),
            _f("act_min", "i32", "clamp after requantisation"),
            _f("act_max", "i32", "clamp after requantisation"),
            _f("f32_min", "f32", "clamp at f32"),
            _f("f32_max", "f32", "clamp at f32"),
        ),
    ),
    "PoolParams": (
        "AVGPOOL and MAXPOOL",
        (
            _f("n", "u32", "batch"),
            _f("in_h", "u32", "input height"),
            _f("in_w", "u32", "input width"),
            _f("c", "u32", "channels"),
            _f("out_h", "u32", "output height"),
            _f("out_w", "u32", "output width"),
            _f("k_h", "u16", "window height"),
            _f("k_w", "u16", "window width"),
            _f("stride_h", "u16", "1 or more"),
            _f("stride_w", "u16", "1 or more"),
            _f("pad_top", "u16", "rows above that never count"),
            _f("pad_left", "u16", "columns to the left that never count"),
            _f("act_min", "i32", "clamp"),
            _f("act_max", "i32", "clamp"),
            _f("f32_min", "f32", "clamp at f32"),
            _f("f32_max", "f32", "clamp at f32"),
        ),
    ),
    "MeanParams": (
        "MEAN over any dimensions",
        (
            _f("dims", "u32", "input extents, outermost first, padded with leading 1s", 6),
            _f("reduced", "u8", "1 where the dimension is summed away", 6),
            _f("reserved", "u8", "0", 2),
            _f("count", "u32", "elements in each mean"),
            _f("in_zero_point", "i32", "-128..127"),
            _f("out_zero_point", "i32", "-128..127"),
            _f("multiplier", "i32", "q31"),
            _f("shift", "i32", "-31..30"),
        ),
    ),
    "BinaryParams": (
        "ADD, SUB and MUL; a stride of 0 broadcasts",
        (
            _f("dims", "u32", "output extents, outermost first, padded with leading 1s", 6),
            _f("stride_a", "u32", "element strides of the first input", 6),
            _f("stride_b", "u32", "element strides of the second input", 6),
            _f("a_zero_point", "i32", "-128..127"),
            _f("b_zero_point", "i32", "-128..127"),
            _f("out_zero_point", "i32", "-128..127"),
            _f("left_shift", "i32", "headroom of add and sub (20 for s8); 0 for mul"),
            _f("a_multiplier", "i32", "q31; unused by mul"),
            _f("a_shift", "i32", "-31..0"),
            _f("b_multiplier", "i32", "q31; unused by mul"),
            _f("b_shift", "i32", "-31..0"),
            _f("out_multiplier", "i32", "q31"),
            _f("out_shift", "i32", "-31..30"),
            _f("act_min", "i32", "clamp"),
            _f("act_max", "i32", "clamp"),
            _f("f32_min", "f32", "clamp at f32"),
            _f("f32_max", "f32", "clamp at f32"),
        ),
    ),
    "CopyParams": (
        "COPY: out[out_offset + i·out_stride] = in[in_offset + i·in_stride] over dims; transpose, slice, concat, pad",
        (
            _f("dims", "u32", "extents, outermost first, padded with leading 1s", 6),
            _f("in_stride", "i32", "element strides in the input", 6),
            _f("out_stride", "i32", "element strides in the output", 6),
            _f("in_offset", "u32", "first element read"),
            _f("out_offset", "u32", "first element written"),
        ),
    ),
    "FillParams": (
        "FILL the whole output with one value",
        (
            _f("value", "i32", "the integer value"),
            _f("f32_value", "f32", "the value at f32"),
        ),
    ),
    "LutParams": (
        "LUT: out[i] = table[in[i] + 128]; f32 evaluates the function",
        (
            _f("table", "i8", "256 outputs", 256),
            _f("function", "u32", "Unary, for f32"),
            _f("alpha", "f32", "slope of leaky relu, for f32"),
        ),
    ),
    "SoftmaxParams": (
        "SOFTMAX over the last dimension",
        (
            _f("rows", "u32", "vectors"),
            _f("columns", "u32", "elements of each"),
            _f("beta", "f32", "for f32"),
            _f("exp_table", "i32", "exp of minus the scaled difference d = max - q, q31, for d 0..255", 256),
        ),
    ),
    "ResizeParams": (
        "RESIZE_NEAREST and RESIZE_BILINEAR; for nearest, u16 source rows and columns follow the record in POOL",
        (
            _f("n", "u32", "batch"),
            _f("in_h", "u32", "input height"),
            _f("in_w", "u32", "input width"),
            _f("c", "u32", "channels"),
            _f("out_h", "u32", "output height"),
            _f("out_w", "u32", "output width"),
            _f("align_corners", "u32", "0 or 1"),
            _f("half_pixel_centers", "u32", "0 or 1"),
        ),
    ),
    "ConvertParams": (
        "QUANTIZE (f32 to s8) and DEQUANTIZE (s8 to f32); at f32 both copy",
        (
            _f("scale", "f32", "of the s8 side"),
            _f("zero_point", "i32", "of the s8 side"),
        ),
    ),
    "ArgMaxParams": (
        "ARGMAX; the first of equal values",
        (
            _f("outer", "u32", "product of the dimensions before the axis"),
            _f("size", "u32", "extent of the axis"),
            _f("inner", "u32", "product of the dimensions after the axis"),
        ),
    ),
}

_NUMPY = {"u8": "u1", "i8": "i1", "u16": "<u2", "u32": "<u4", "i32": "<i4", "f32": "<f4", "u64": "<u8"}
SIZES = {"u8": 1, "i8": 1, "u16": 2, "u32": 4, "i32": 4, "f32": 4, "u64": 8}


def record_dtype(record: tuple[Field, ...]) -> np.dtype[np.void]:
    """Return the NumPy structured dtype of a list of fields."""
    fields = []
    for field in record:
        base = _NUMPY[field.type]
        fields.append((field.name, base) if field.count == 1 else (field.name, base, (field.count,)))
    return np.dtype(fields)


def dtype(name: str) -> np.dtype[np.void]:
    """Return the NumPy structured dtype of one record."""
    return record_dtype(STRUCTS[name][1])
