// SPDX-License-Identifier: Apache-2.0
#include "link/frame.h"

uint16_t jlt_crc16(uint16_t crc, const void *data, size_t bytes) {
  // remainders of four bits: 32 bytes of flash, two look-ups a byte
  static const uint16_t nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7,
                                      0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF};
  const uint8_t *at = data;
  for (size_t i = 0; i < bytes; i++) {
    crc = (uint16_t)((uint32_t)crc << 4 ^ nibble[(crc >> 12 ^ at[i] >> 4) & 15u]);
    crc = (uint16_t)((uint32_t)crc << 4 ^ nibble[(crc >> 12 ^ at[i]) & 15u]);
  }
  return crc;
}

void jlt_frame_decoder_clear(jlt_frame_decoder_t *decoder) {
  decoder->length = 0;
  decoder->left = 0;
  decoder->full_block = false;
  decoder->begun = false;
  decoder->bad = false;
}

static void append(jlt_frame_decoder_t *decoder, uint8_t byte) {
  if (decoder->length == JLT_FRAME_BODY_BYTES) {
    decoder->bad = true;
  } else {
    decoder->body[decoder->length++] = byte;
  }
}

static uint16_t u16_at(const uint8_t *at) { return (uint16_t)(at[0] | (uint32_t)at[1] << 8); }

static bool view(const jlt_frame_decoder_t *decoder, jlt_frame_t *frame) {
  const uint8_t *body = decoder->body;
  if (decoder->bad || decoder->left > 0 || decoder->length < JLT_FRAME_HEAD_BYTES + JLT_FRAME_CRC_BYTES) {
    return false;
  }
  const uint16_t length = u16_at(body + 4);
  const uint32_t covered = (uint32_t)JLT_FRAME_HEAD_BYTES + length;
  if (body[0] != JLT_WIRE_VERSION || covered + JLT_FRAME_CRC_BYTES != decoder->length ||
      jlt_crc16(0xFFFFu, body, covered) != u16_at(body + covered)) {
    return false;
  }
  *frame = (jlt_frame_t){
      .type = body[1], .sequence = u16_at(body + 2), .length = length, .payload = body + JLT_FRAME_HEAD_BYTES};
  return true;
}

bool jlt_frame_feed(jlt_frame_decoder_t *decoder, uint8_t byte, jlt_frame_t *frame) {
  if (byte == 0) {
    const bool whole = view(decoder, frame);
    jlt_frame_decoder_clear(decoder);
    return whole;
  }
  if (decoder->bad) {
    return false;
  }
  if (decoder->left > 0) {
    decoder->left--;
    append(decoder, byte);
    return false;
  }
  if (decoder->begun && !decoder->full_block) {
    append(decoder, 0);
  }
  decoder->begun = true;
  decoder->full_block = byte == 0xFFu;
  decoder->left = (uint8_t)(byte - 1u);
  return false;
}

/// Encoding ///

void jlt_frame_begin(jlt_frame_writer_t *writer, uint8_t type, uint16_t sequence, const void *payload, uint16_t length) {
  *writer = (jlt_frame_writer_t){
      .payload = payload,
      .length = length,
      .head = {JLT_WIRE_VERSION, type, (uint8_t)sequence, (uint8_t)(sequence >> 8), (uint8_t)length,
               (uint8_t)(length >> 8)},
  };
  const uint16_t crc = jlt_crc16(jlt_crc16(0xFFFFu, writer->head, sizeof(writer->head)), payload, length);
  writer->crc[0] = (uint8_t)crc;
  writer->crc[1] = (uint8_t)(crc >> 8);
}

static uint8_t body_at(const jlt_frame_writer_t *writer, uint32_t at) {
  if (at < JLT_FRAME_HEAD_BYTES) {
    return writer->head[at];
  }
  at -= JLT_FRAME_HEAD_BYTES;
  return at < writer->length ? writer->payload[at] : writer->crc[at - writer->length];
}

bool jlt_frame_next(jlt_frame_writer_t *writer, uint8_t *byte) {
  const uint32_t end = (uint32_t)JLT_FRAME_HEAD_BYTES + writer->length + JLT_FRAME_CRC_BYTES;
  if (writer->left > 0) {
    writer->left--;
    *byte = body_at(writer, writer->at++);
    return true;
  }
  if (writer->at == end) {
    *byte = 0;
    const bool last = !writer->ended;
    writer->ended = true;
    return last;
  }
  writer->at = (uint16_t)(writer->at + writer->zero_next);
  uint32_t run = 0;
  while (run < 254u && writer->at + run < end && body_at(writer, writer->at + run) != 0) {
    run++;
  }
  writer->zero_next = run < 254u;
  writer->left = (uint8_t)run;
  *byte = (uint8_t)(run + 1u);
  return true;
}
