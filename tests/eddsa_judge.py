# SPDX-License-Identifier: Apache-2.0
"""EdDSA over edwards25519 with BLAKE2b, straight from the formulas of RFC 8032, section 5.1: slow, and a judge of others."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int]


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(b"".join(parts)).digest(), "little")


def _add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P
    return x, y


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _decode(data: bytes) -> Point | None:
    packed = int.from_bytes(data, "little")
    y, sign = packed & (1 << 255) - 1, packed >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square:
        return None
    return (P - x if x & 1 != sign else x), y


def _encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


_BASE = _decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
assert _BASE is not None


def public_key(seed: bytes) -> bytes:
    """Return the public key of a seed of 32 bytes."""
    scalar = int.from_bytes(hashlib.blake2b(seed).digest()[:32], "little")
    scalar = scalar & (1 << 254) - 8 | 1 << 254
    return _encode(_times(scalar, _BASE))


def valid(signature: bytes, public: bytes, message: bytes) -> bool:
    """Whether a signature of 64 bytes is one of this message by this key."""
    r, a = _decode(signature[:32]), _decode(public)
    s = int.from_bytes(signature[32:], "little")
    if r is None or a is None or s >= ORDER:
        return False
    h = _hash(signature[:32], public, message) % ORDER
    return _times(s, _BASE) == _add(r, _times(h, a))
