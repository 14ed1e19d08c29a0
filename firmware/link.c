// SPDX-License-Identifier: Apache-2.0
#include "link.h"

#include <string.h>

#include "board.h"
#include "clock.h"
#include "console.h"
#include "core/crc32.h"
#include "energy.h"
#include "input.h"
#include "journal.h"
#include "kernels/selection.h"
#include "link/frame.h"
#include "model.h"
#include "port.h"
#include "refit.h"
#include "sender.h"
#include "session.h"
#include "signature.h"
#include "store.h"
#include "transfer.h"

enum { REPLY_BYTES = sizeof(jlt_wire_reached_t) };  // largest reply that is remembered

static struct {
  jlt_frame_decoder_t decoder;
  uint8_t last_reply[REPLY_BYTES];  // to the request that changed something last
  uint32_t conversation;
  uint16_t last_sequence;
  uint16_t last_length;
  uint8_t last_type;
  uint8_t last_reply_type;
  uint8_t marks;  // of the inference that was started last
} link;

void jlt_link_open(void) { jlt_frame_decoder_clear(&link.decoder); }

void jlt_link_close(void) { jlt_sender_listen(false); }

static void reply(const jlt_frame_t *frame, const void *payload, uint16_t length) {
  jlt_sender_send(frame->type | JLT_WIRE_REPLY, frame->sequence, payload, length);
}

// Sends a reply and keeps it, so that the same request does not act twice.
static void reply_once(const jlt_frame_t *frame, uint8_t type, const void *payload, uint16_t length) {
  link.last_type = frame->type;
  link.last_sequence = frame->sequence;
  link.last_reply_type = type;
  link.last_length = length;
  memcpy(link.last_reply, payload, length);
  jlt_sender_send(type, frame->sequence, payload, length);
}

static void refuse(const jlt_frame_t *frame, jlt_status_t status) {
  const jlt_wire_nack_t nack = {.status = status, .type = frame->type};
  reply_once(frame, JLT_WIRE_MESSAGE_NACK | JLT_WIRE_REPLY, &nack, sizeof(nack));
}

__attribute__((noinline)) static void say_hello(const jlt_frame_t *frame) {
  jlt_wire_hello_reply_t hello = {
      .clock_hz = jlt_board.clock_hz,
      .tick_hz = jlt_board.timer.tick_hz,
      .work_bytes = jlt_model_room_bytes(),
      .arena_bytes = jlt_model_arena_bytes(),
      .model_status = jlt_loaded.status,
      .policy_status = jlt_loaded.policy_status,
      .resets = jlt_journal_resets(),
      .protocol = JLT_WIRE_VERSION,
      .max_payload = JLT_WIRE_MAX_PAYLOAD,
      .window = JLT_WIRE_WINDOW,
      .model_side = jlt_loaded.model_side,
      .model_other = jlt_other_runs(JLT_WIRE_SLOT_MODEL),
      .policy_side = jlt_loaded.policy_side,
      .policy_other = jlt_other_runs(JLT_WIRE_SLOT_POLICY),
      .ops = JLT_OPS,
  };
  memcpy(hello.build_id, jlt_board.build_id, sizeof(hello.build_id));
  memcpy(hello.board, jlt_board.name, sizeof(hello.board));
  if (jlt_loaded.status == JLT_OK) {
    memcpy(hello.model_hash, ((const jlt_header_t *)(const void *)jlt_loaded.container.base)->model_hash, 32);
  }
  hello.caps = (jlt_counts_cycles() ? JLT_WIRE_CAP_CYCLES : 0u) | (jlt_journal_bytes() ? JLT_WIRE_CAP_NVM : 0u) |
               (jlt_store_senses() ? JLT_WIRE_CAP_POWER : 0u) | (jlt_board.flash.driver ? JLT_WIRE_CAP_FLASH : 0u) |
               (BOARD_ENERGY_MODE ? JLT_WIRE_CAP_ENERGY_MODE : 0u) | (jlt_signed_only() ? JLT_WIRE_CAP_SIGNED : 0u) |
               (JLT_WITH_REFIT ? JLT_WIRE_CAP_REFIT : 0u);
  uint32_t conversation = 0;
  memcpy(&conversation, frame->payload, frame->length < sizeof(conversation) ? frame->length : sizeof(conversation));
  if (conversation == 0 || conversation != link.conversation) {
    link.last_type = 0;
  }
  link.conversation = conversation;
  reply(frame, &hello, sizeof(hello));
}

static jlt_status_t run_to(uint8_t exit, jlt_wire_reached_t *reached) {
  bool done = false;
  jlt_status_t err = JLT_OK;
  while (!err && !done) {
    err = jlt_model_step(exit, reached, &done);
    if (link.marks & JLT_WIRE_MARK_STEPS) {
      jlt_mark_tick();
    }
    jlt_console_poll();
  }
  return err;
}

static void show_exit(uint8_t exit) {
  if (link.marks & JLT_WIRE_MARK_EXIT) {
    jlt_mark_exit(exit);
  }
}

static void step(const jlt_frame_t *frame) {
  jlt_wire_reached_t reached;
  const jlt_status_t err = run_to(((const jlt_wire_step_t *)(const void *)frame->payload)->exit, &reached);
  if (err) {
    refuse(frame, err);
  } else {
    show_exit(reached.exit);
    reply_once(frame, frame->type | JLT_WIRE_REPLY, &reached, sizeof(reached));
  }
}

// Nothing runs on an input that nobody has sent.
static jlt_status_t start(uint16_t path, uint8_t marks) {
  link.marks = marks;
  return jlt_loaded.fed ? jlt_model_start(path, jlt_loaded.input) : JLT_ERR_STATE;
}

static void infer(const jlt_frame_t *frame) {
  const jlt_wire_infer_t *infer = (const void *)frame->payload;
  const jlt_container_t *c = &jlt_loaded.container;
  jlt_wire_reached_t reached = {0};
  jlt_status_t err = start(infer->path, infer->marks);
  const bool by_confidence = infer->exit == 255u;
  for (uint32_t exit = by_confidence ? 0u : infer->exit; !err; exit++) {
    err = run_to((uint8_t)exit, &reached);
    const bool last = !by_confidence || exit + 1u >= c->model->n_exits;
    if (err || last || reached.confidence_q15 >= c->paths[infer->path].auto_threshold_q15[exit]) {
      break;
    }
    jlt_sender_tell(JLT_WIRE_MESSAGE_EVENT, &reached, sizeof(reached));
  }
  if (err) {
    refuse(frame, err);
  } else {
    show_exit(reached.exit);
    reply_once(frame, frame->type | JLT_WIRE_REPLY, &reached, sizeof(reached));
  }
}

static void acknowledge(const jlt_frame_t *frame, jlt_status_t err) {
  if (err) {
    refuse(frame, err);
  } else {
    reply_once(frame, frame->type | JLT_WIRE_REPLY, NULL, 0);
  }
}

// A copy of the image with holes in it may run well enough to answer; its sum tells.
static void check_firmware(jlt_wire_firmware_check_t *out) {
  extern const uint8_t jlt_image_start[], jlt_image_end[];
  const uint32_t bytes = (uint32_t)((uintptr_t)jlt_image_end - (uintptr_t)jlt_image_start);
  *out = (jlt_wire_firmware_check_t){
      .address = (uint32_t)(uintptr_t)jlt_image_start,
      .bytes = bytes,
      .crc32 = jlt_crc32(0, jlt_image_start, bytes),
      .model_status = jlt_model_recheck(),
  };
}

// Not inlined: its buffer would lie under all that requests do.
__attribute__((noinline)) static void read(const jlt_frame_t *frame) {
  const jlt_wire_read_t *read = (const void *)frame->payload;
  struct {
    _Alignas(8) jlt_wire_read_reply_t head;
    uint8_t data[JLT_WIRE_CHUNK_BYTES];
  } out;
  if (read->bytes > sizeof(out.data)) {
    refuse(frame, JLT_ERR_ARGUMENT);
    return;
  }
  out.head.offset = read->offset;
  out.head.total_bytes = 0;
  jlt_status_t err = JLT_ERR_ARGUMENT;
  if (read->what == JLT_WIRE_READ_ANSWER) {
    out.head.total_bytes = jlt_model_answer_bytes();
    err = jlt_model_answer(read->offset, out.data, read->bytes);
  } else if (read->what == JLT_WIRE_READ_EVENTS) {
    out.head.total_bytes = jlt_journal_used_bytes();
    err = jlt_journal_read(read->offset, out.data, read->bytes) ? JLT_OK : JLT_ERR_ARGUMENT;
  } else if (read->what == JLT_WIRE_READ_FEATURES) {
    out.head.total_bytes = jlt_loaded.status == JLT_OK ? jlt_loaded.input_bytes : 0u;
    if (read->offset <= out.head.total_bytes && read->bytes <= out.head.total_bytes - read->offset) {
      memcpy(out.data, jlt_loaded.input + read->offset, read->bytes);
      err = JLT_OK;
    }
  } else if (read->what == JLT_WIRE_READ_FIRMWARE && read->offset == 0 &&
             read->bytes == sizeof(jlt_wire_firmware_check_t)) {
    out.head.total_bytes = sizeof(jlt_wire_firmware_check_t);
    check_firmware((jlt_wire_firmware_check_t *)(void *)out.data);
    err = JLT_OK;
  } else if (read->what == JLT_WIRE_READ_LEDGER && read->offset == 0 && read->bytes == sizeof(jlt_wire_ledger_record_t)) {
    out.head.total_bytes = sizeof(jlt_wire_ledger_record_t);
    jlt_energy_ledger((jlt_wire_ledger_record_t *)(void *)out.data);
    err = JLT_OK;
#if JLT_WITH_REFIT
  } else if (read->what == JLT_WIRE_READ_REFIT) {
    out.head.total_bytes = jlt_refit_state_bytes();
    err = jlt_refit_read(read->offset, out.data, read->bytes) ? JLT_OK : JLT_ERR_ARGUMENT;
#endif
  } else if (read->what == JLT_WIRE_READ_SENSORS && read->offset == 0 && read->bytes == sizeof(jlt_wire_sensors_t)) {
    out.head.total_bytes = sizeof(jlt_wire_sensors_t);
    jlt_store_sensors((jlt_wire_sensors_t *)(void *)out.data);
    err = JLT_OK;
  }
  if (err) {
    refuse(frame, err);
  } else {
    reply(frame, &out, (uint16_t)(sizeof(out.head) + read->bytes));
  }
}

static void price(const jlt_frame_t *frame) {
  const jlt_wire_price_t *price = (const void *)frame->payload;
  if (jlt_loaded.policy_status != JLT_OK) {
    refuse(frame, JLT_ERR_POLICY);
    return;
  }
  jlt_question_t question;
  jlt_energy_question(&question, price->energy_q16, jlt_now_us());
  jlt_wire_price_reply_t out = {.worth = jlt_governor_worth(&jlt_loaded.governor, &question)};
  question.energy_q16 = price->spend_q16 < price->energy_q16 ? price->energy_q16 - price->spend_q16 : 0u;
  out.price = out.worth - jlt_governor_worth(&jlt_loaded.governor, &question);
  reply(frame, &out, sizeof(out));
}

static void pcm(const jlt_frame_t *frame) {
  const uint32_t head = sizeof(jlt_wire_pcm_t);
  jlt_wire_pcm_reply_t out;
  const jlt_status_t err = jlt_input_pcm((const void *)frame->payload, (const void *)(frame->payload + head),
                                         (frame->length - head) / 2u, &out);
  if (err) {
    refuse(frame, err);
  } else {
    reply_once(frame, frame->type | JLT_WIRE_REPLY, &out, sizeof(out));
  }
}

#if JLT_WITH_REFIT
// While a session runs it learns in its own time; else a host is there, and power with it.
static void label(const jlt_frame_t *frame) {
  const jlt_wire_label_t *label = (const void *)frame->payload;
  const jlt_status_t err = jlt_refit_label(label->index, label->label);
  if (!err && !jlt_session_running()) {
    jlt_refit_learn();
  }
  acknowledge(frame, err);
}
#endif

static uint32_t least_bytes(uint8_t type) {
  switch (type) {
    case JLT_WIRE_MESSAGE_START: return sizeof(jlt_wire_start_t);
    case JLT_WIRE_MESSAGE_STEP: return sizeof(jlt_wire_step_t);
    case JLT_WIRE_MESSAGE_SWITCH: return sizeof(jlt_wire_switch_t);
    case JLT_WIRE_MESSAGE_READ: return sizeof(jlt_wire_read_t);
    case JLT_WIRE_MESSAGE_BEGIN: return sizeof(jlt_wire_begin_t);
    case JLT_WIRE_MESSAGE_CHUNK: return sizeof(jlt_wire_chunk_t) + 1u;
    case JLT_WIRE_MESSAGE_INFER: return sizeof(jlt_wire_infer_t);
    case JLT_WIRE_MESSAGE_PRICE: return sizeof(jlt_wire_price_t);
    case JLT_WIRE_MESSAGE_RUN: return sizeof(jlt_wire_run_t);
    case JLT_WIRE_MESSAGE_PCM: return sizeof(jlt_wire_pcm_t);
    case JLT_WIRE_MESSAGE_ROLLBACK: return sizeof(jlt_wire_rollback_t);
#if JLT_WITH_REFIT
    case JLT_WIRE_MESSAGE_LABEL: return sizeof(jlt_wire_label_t);
#endif
    default: return 0;
  }
}

static void transfer(const jlt_frame_t *frame) {
  jlt_wire_progress_t progress;
  if (frame->type == JLT_WIRE_MESSAGE_BEGIN) {
    jlt_transfer_begin((const void *)frame->payload, &progress);
    reply(frame, &progress, sizeof(progress));
  } else if (frame->type == JLT_WIRE_MESSAGE_CHUNK) {
    const uint32_t head = sizeof(jlt_wire_chunk_t);
    jlt_transfer_chunk((const void *)frame->payload, frame->payload + head, frame->length - head, &progress);
    reply(frame, &progress, sizeof(progress));
  } else {
    const bool bare = frame->length < sizeof(jlt_wire_commit_t);
    jlt_transfer_commit(bare ? NULL : (const void *)frame->payload, &progress);
    reply_once(frame, frame->type | JLT_WIRE_REPLY, &progress, sizeof(progress));
  }
}

// While the session runs, the engine and what lies in flash are its own; samples may come.
static bool disturbs_session(const jlt_frame_t *frame) {
  const void *payload = frame->payload;
  switch (frame->type) {
    case JLT_WIRE_MESSAGE_START:
    case JLT_WIRE_MESSAGE_STEP:
    case JLT_WIRE_MESSAGE_SWITCH:
    case JLT_WIRE_MESSAGE_ROLLBACK:
    case JLT_WIRE_MESSAGE_INFER: return true;
    case JLT_WIRE_MESSAGE_READ: return ((const jlt_wire_read_t *)payload)->what == JLT_WIRE_READ_ANSWER;
    case JLT_WIRE_MESSAGE_BEGIN: return ((const jlt_wire_begin_t *)payload)->slot != JLT_WIRE_SLOT_INPUT;
    case JLT_WIRE_MESSAGE_CHUNK: return ((const jlt_wire_chunk_t *)payload)->slot != JLT_WIRE_SLOT_INPUT;
    case JLT_WIRE_MESSAGE_COMMIT: return jlt_transfer_into_flash();
    default: return false;
  }
}

static void serve(const jlt_frame_t *frame) {
  if (frame->length < least_bytes(frame->type)) {
    refuse(frame, JLT_ERR_ARGUMENT);
    return;
  }
  if (jlt_session_running() && disturbs_session(frame)) {
    refuse(frame, JLT_ERR_STATE);
    return;
  }
  const void *payload = frame->payload;
  switch (frame->type) {
    case JLT_WIRE_MESSAGE_START:
      acknowledge(frame, start(((const jlt_wire_start_t *)payload)->path, ((const jlt_wire_start_t *)payload)->marks));
      break;
    case JLT_WIRE_MESSAGE_SWITCH:
      acknowledge(frame, jlt_loaded.status == JLT_OK
                             ? jlt_engine_switch(&jlt_loaded.engine, ((const jlt_wire_switch_t *)payload)->path)
                             : JLT_ERR_STATE);
      break;
    case JLT_WIRE_MESSAGE_STEP:
      step(frame);
      break;
    case JLT_WIRE_MESSAGE_INFER:
      infer(frame);
      break;
    case JLT_WIRE_MESSAGE_READ:
      read(frame);
      break;
    case JLT_WIRE_MESSAGE_BEGIN:
    case JLT_WIRE_MESSAGE_CHUNK:
    case JLT_WIRE_MESSAGE_COMMIT:
      transfer(frame);
      break;
    case JLT_WIRE_MESSAGE_ROLLBACK:
      acknowledge(frame, (jlt_status_t)jlt_transfer_rollback(((const jlt_wire_rollback_t *)payload)->slot));
      break;
    case JLT_WIRE_MESSAGE_PRICE:
      price(frame);
      break;
    case JLT_WIRE_MESSAGE_PCM:
      pcm(frame);
      break;
#if JLT_WITH_REFIT
    case JLT_WIRE_MESSAGE_LABEL:
      label(frame);
      break;
#endif
    case JLT_WIRE_MESSAGE_RUN:
      acknowledge(frame, jlt_session_go(((const jlt_wire_run_t *)payload)->go != 0) ? JLT_OK : JLT_ERR_STATE);
      break;
    default:
      refuse(frame, JLT_ERR_ARGUMENT);
      break;
  }
}

jlt_link_heard_t jlt_link_feed(uint8_t byte, bool armed) {
  jlt_frame_t frame;
  if (!jlt_frame_feed(&link.decoder, byte, &frame)) {
    return JLT_LINK_NOTHING;
  }
  if (frame.type == JLT_WIRE_MESSAGE_HELLO) {
    jlt_sender_listen(true);
    say_hello(&frame);
    return JLT_LINK_HELLO;
  }
  if (frame.type == JLT_WIRE_MESSAGE_BYE) {
    if (!armed) {
      reply(&frame, NULL, 0);
    }
    jlt_sender_listen(false);
    return JLT_LINK_BYE;
  }
  if (armed || (frame.type & JLT_WIRE_REPLY)) {
    return JLT_LINK_NOTHING;
  }
  if (link.last_type == frame.type && link.last_sequence == frame.sequence) {
    jlt_sender_send(link.last_reply_type, frame.sequence, link.last_reply, link.last_length);
  } else {
    serve(&frame);
  }
  return JLT_LINK_REQUEST;
}
