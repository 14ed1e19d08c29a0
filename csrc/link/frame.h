// SPDX-License-Identifier: Apache-2.0
// Frames of the link: COBS(version, type, sequence, length, payload, CRC-16) and a zero byte. PROTOCOL.md §3.
//
// COBS is that of S. Cheshire and M. Baker, "Consistent overhead byte stuffing", IEEE/ACM Trans. Networking 7(2), 1999;
// the CRC is CRC-16/CCITT-FALSE (polynomial 0x1021, initial value 0xFFFF, nothing reflected).
#ifndef JLT_LINK_FRAME_H
#define JLT_LINK_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/wire.h"

enum {
  JLT_FRAME_HEAD_BYTES = 6,
  JLT_FRAME_CRC_BYTES = 2,
  JLT_FRAME_BODY_BYTES = JLT_FRAME_HEAD_BYTES + JLT_WIRE_MAX_PAYLOAD + JLT_FRAME_CRC_BYTES,
};

// The payload starts at a multiple of 8.
typedef struct {
  uint16_t length;  // of the body so far
  uint8_t left;     // bytes until the next code byte
  bool full_block;  // the block that is running holds no zero at its end
  bool begun;
  bool bad;         // too long, or broken: skipped up to the next zero
  _Alignas(8) uint8_t pad[2];
  uint8_t body[JLT_FRAME_BODY_BYTES];
} jlt_frame_decoder_t;

// What a whole frame says; the payload lies in the decoder until the next byte is fed.
typedef struct {
  const uint8_t *payload;
  uint16_t length;
  uint16_t sequence;
  uint8_t type;
} jlt_frame_t;

void jlt_frame_decoder_clear(jlt_frame_decoder_t *decoder);

// Takes one byte; true when it ended a frame whose version, length and CRC are right. Empty frames are ignored.
bool jlt_frame_feed(jlt_frame_decoder_t *decoder, uint8_t byte, jlt_frame_t *frame);

// A frame on its way out, byte by byte: it is never held whole. The payload must stay until the last byte is taken.
typedef struct {
  const uint8_t *payload;
  uint8_t head[JLT_FRAME_HEAD_BYTES];
  uint8_t crc[JLT_FRAME_CRC_BYTES];
  uint16_t length;  // of the payload
  uint16_t at;      // of the body, next byte
  uint8_t left;     // of the block that is running
  bool zero_next;   // the block that is running stands for the zero after it, too
  bool ended;
} jlt_frame_writer_t;

void jlt_frame_begin(jlt_frame_writer_t *writer, uint8_t type, uint16_t sequence, const void *payload, uint16_t length);

// Gives the next byte, the zero at the end among them; false when there are no more.
bool jlt_frame_next(jlt_frame_writer_t *writer, uint8_t *byte);

// Continues a CRC-16/CCITT-FALSE; begins with 0xFFFF.
uint16_t jlt_crc16(uint16_t crc, const void *data, size_t bytes);

#endif
