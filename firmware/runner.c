// SPDX-License-Identifier: Apache-2.0
// Commands end with '%'; replies are lines that end with CR LF, the last of them m-ready. Nothing else may contain it.
#include "runner.h"

#include <string.h>

#include "board.h"
#include "clock.h"
#include "console.h"
#include "core/quantise.h"
#include "input.h"
#include "model.h"
#include "port.h"
#include "session.h"

enum { LINE_BYTES = 80, DEFAULT_WARM_UP = 10, LAST_RUN = 100000 };

// The benchmark's models are known by the size of their input.
typedef struct {
  const char *id;
  uint32_t elements;
  uint32_t wire_bytes;  // of one element
  uint8_t flip;         // what turns a byte on the wire into an int8
} profile_t;

static const profile_t profiles[] = {
    {"kws01", 490, 1, 0x00},
    {"vww01", 27648, 1, 0x80},
    {"ic01", 3072, 1, 0x80},
    {"ad01", 640, 4, 0x00},
};

static struct {
  char line[LINE_BYTES + 1];
  uint32_t length;
  bool too_long;
  bool foreign;  // a byte that is not printable ASCII
  bool armed;
  uint32_t expected;  // bytes of `db load` on the wire
  uint32_t got;
  uint8_t word[4];
} runner;

static void line(const char *text) {
  jlt_console_puts(text);
  jlt_console_puts("\r\n");
}

static void number_line(const char *before, uint64_t value, const char *after) {
  jlt_console_puts(before);
  jlt_console_put_u64(value);
  line(after);
}

static void ready(void) { line("m-ready"); }

static void error(const char *what) {
  jlt_console_puts("e-[");
  jlt_console_puts(what);
  line("]");
}

static const profile_t *profile(void) {
  static const profile_t other = {"custom", 0, 1, 0x00};
  for (uint32_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
    if (jlt_loaded.status == JLT_OK && jlt_loaded.input_bytes == profiles[i].elements) {
      return &profiles[i];
    }
  }
  return &other;
}

void jlt_runner_open(void) {
#if BOARD_ENERGY_MODE
  line("m-timestamp-mode-energy");
#else
  line("m-timestamp-mode-performance");
  number_line("m-lap-us-", 0, "");
#endif
  line("m-init-done");
  ready();
}

static void stamp(void) {
#if BOARD_ENERGY_MODE
  jlt_mark_time();
#else
  number_line("m-lap-us-", jlt_now_us(), "");
#endif
}

/// Numbers in commands ///

static const char *skip(const char *text) {
  while (*text == ' ') {
    text++;
  }
  return text;
}

// Null when there is no number; `fallback` when the text has ended.
static const char *number(const char *text, uint32_t fallback, uint32_t most, uint32_t *value) {
  text = skip(text);
  *value = fallback;
  if (*text == 0) {
    return text;
  }
  uint32_t sum = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9'; at++) {
    sum = sum * 10u + (uint32_t)(*at - '0');
    if (sum > most) {
      return NULL;
    }
  }
  *value = sum;
  return at != text && (*at == ' ' || *at == 0) ? at : NULL;
}

static int32_t hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Results ///

// As C prints %.3f: exact, ties to even. What does not fit in 64 bits, and what is no number, is the largest number.
static uint64_t milli_of(uint32_t bits) {
  const int32_t exponent = (int32_t)(bits >> 23 & 0xFFu);
  const uint64_t scaled = ((bits & 0x7FFFFFu) | (exponent ? 0x800000u : 0u)) * (uint64_t)1000u;  // below 2^34
  const int32_t right = 150 - (exponent ? exponent : 1);
  if (right <= 0) {
    return right > -30 ? scaled << -right : UINT64_MAX;
  }
  if (right > 35) {
    return 0;
  }
  const uint64_t whole = scaled >> right;
  const uint64_t rest = scaled - (whole << right);
  const uint64_t half = (uint64_t)1u << (right - 1);
  return whole + (rest > half || (rest == half && (whole & 1u)));
}

static void put_milli(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  if (bits >> 31) {
    jlt_console_puts("-");
  }
  const uint64_t milli = milli_of(bits);
  jlt_console_put_u64(milli / 1000u);
  jlt_console_puts(".");
  for (uint32_t unit = 100; unit > 0; unit /= 10u) {
    const uint8_t digit = (uint8_t)('0' + milli / unit % 10u);
    jlt_console_write(&digit, 1);
  }
}

// Not inlined: GCC 12 makes a conditional vcvt of it, which Binutils 2.40 takes for Helium's vcvtn on a Cortex-M55.
__attribute__((noinline)) static float of_whole(int32_t whole) { return (float)whole; }

static float value_at(const jlt_tensor_t *tensor, uint32_t index) {
  uint8_t raw[4];
  const uint32_t size = tensor->dtype == JLT_DTYPE_S8 ? 1u : 4u;
  if (jlt_model_answer(index * size, raw, size) != JLT_OK) {
    return 0;
  }
  if (size == 1u) {
    return jlt_dequantise_s8((int8_t)raw[0], tensor->scale, tensor->zero_point);
  }
  float value;
  int32_t whole;
  memcpy(&value, raw, sizeof(value));
  memcpy(&whole, raw, sizeof(whole));
  return tensor->dtype == JLT_DTYPE_F32 ? value : of_whole(whole);
}

// The session has the engine.
static bool busy(void) {
  if (jlt_session_running()) {
    error("A session is running");
  }
  return jlt_session_running();
}

// Where the floats of ad01 are kept: under the int8 input, if the arena leaves room.
static uint8_t *floats(void) {
  const uint32_t bytes = jlt_loaded.input_bytes * 4u;
  return jlt_loaded.input - jlt_loaded.work >= (int32_t)(jlt_loaded.arena_bytes + bytes) ? jlt_loaded.input - bytes : NULL;
}

// Mean square of what an autoencoder did not rebuild.
static float anomaly(const jlt_tensor_t *in, const jlt_tensor_t *out) {
  float sum = 0;
  const uint8_t *raw = jlt_loaded.floats ? floats() : NULL;
  for (uint32_t i = 0; i < in->elements; i++) {
    float x = jlt_dequantise_s8((int8_t)jlt_loaded.input[i], in->scale, in->zero_point);
    if (raw) {
      memcpy(&x, raw + 4u * i, sizeof(x));
    }
    const float difference = value_at(out, i) - x;
    sum += difference * difference;
  }
  return sum / (float)in->elements;
}

static void results(void) {
  if (busy()) {
    return;
  }
  if (!jlt_loaded.answered) {
    error("No results yet");
    return;
  }
  const jlt_container_t *c = &jlt_loaded.container;
  const jlt_tensor_t *in = &c->tensors[c->model->inputs[0]];
  const jlt_tensor_t *out = &c->tensors[c->exits[jlt_loaded.exit].output];
  jlt_console_puts("m-results-[");
  if (profile()->wire_bytes == 4u && out->elements == in->elements) {
    put_milli(anomaly(in, out));
  } else {
    for (uint32_t i = 0; i < out->elements; i++) {
      jlt_console_puts(i ? "," : "");
      put_milli(value_at(out, i));
    }
  }
  line("]");
}

/// Commands ///

static bool run_once(void) {
  const uint8_t last = (uint8_t)(jlt_loaded.container.model->n_exits - 1u);
  jlt_wire_reached_t reached;
  bool done = false;
  jlt_status_t err = jlt_model_start(0, jlt_loaded.input);
  while (!err && !done) {
    err = jlt_model_step(last, &reached, &done);
    jlt_console_poll();
  }
  return err == JLT_OK;
}

static bool run_many(uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (!run_once()) {
      return false;
    }
  }
  return true;
}

static void infer(const char *arguments) {
  uint32_t count, warm_up;
  const char *rest = number(arguments, 1, LAST_RUN, &count);
  rest = rest ? number(rest, DEFAULT_WARM_UP, LAST_RUN, &warm_up) : NULL;
  if (!rest || *skip(rest) || count == 0) {
    error("infer takes a number of runs and of warm-up runs");
  } else if (busy()) {
    return;
  } else if (jlt_loaded.status != JLT_OK) {
    error("No model: flash one, or upload it over the link");
  } else {
    number_line("m-warmup-start-", warm_up, "");
    bool ok = run_many(warm_up);
    line("m-warmup-done");
    number_line("m-infer-start-", count, "");
    stamp();
    ok = ok && run_many(count);
    stamp();
    line("m-infer-done");
    if (ok) {
      results();
    } else {
      error("The engine refused");
    }
  }
}

static void db_load(const char *arguments) {
  uint32_t bytes;
  const uint32_t expected = jlt_loaded.input_bytes * profile()->wire_bytes;
  const char *rest = number(arguments, 0, UINT32_MAX / 16u, &bytes);
  if (!rest || *skip(rest) || bytes == 0 || jlt_loaded.status != JLT_OK || bytes != expected) {
    jlt_console_puts("e-[This model takes ");
    jlt_console_put_u64(jlt_loaded.status == JLT_OK ? expected : 0);
    line(" bytes]");
    return;
  }
  runner.expected = bytes;
  runner.got = 0;
  jlt_loaded.fed = jlt_loaded.floats = false;
  number_line("m-[Expecting ", bytes, " bytes]");
}

static void db_byte(uint8_t byte) {
  const profile_t *p = profile();
  if (p->wire_bytes == 1u) {
    jlt_loaded.input[runner.got++] = byte ^ p->flip;
    return;
  }
  runner.word[runner.got % 4u] = byte;
  uint8_t *kept = floats();
  if (kept) {
    kept[runner.got] = byte;
  }
  if (runner.got++ % 4u == 3u) {
    const jlt_container_t *c = &jlt_loaded.container;
    const jlt_tensor_t *in = &c->tensors[c->model->inputs[0]];
    float value;
    memcpy(&value, runner.word, sizeof(value));
    jlt_loaded.input[(runner.got - 1u) / 4u] = (uint8_t)jlt_quantise_s8(value, in->scale, in->zero_point);
  }
}

static void db_data(const char *hex) {
  // a model that has come in the meantime may take fewer bytes
  if (runner.got >= runner.expected || jlt_loaded.status != JLT_OK ||
      runner.expected != jlt_loaded.input_bytes * profile()->wire_bytes) {
    error("db load first");
    return;
  }
  for (; *hex; hex += 2) {
    const int32_t high = hex_digit(hex[0]);
    const int32_t low = high >= 0 ? hex_digit(hex[1]) : -1;
    if (low < 0 || runner.got >= runner.expected) {
      error("Not hexadecimal, or too much");
      return;
    }
    db_byte((uint8_t)(high << 4 | low));
  }
  if (runner.got == runner.expected) {
    jlt_loaded.fed = true;
    jlt_input_arrived();
    jlt_loaded.floats = profile()->wire_bytes == 4u && floats();
    line("m-load-done");
  }
}

static void db_print(void) {
  for (uint32_t i = 0; i < jlt_loaded.input_bytes; i++) {
    if (i % 8u == 0) {
      jlt_console_puts(i ? "\r\nm-buffer" : "m-buffer");
    }
    jlt_console_puts("-");
    jlt_console_put_hex(jlt_loaded.input[i] ^ profile()->flip);
  }
  line("");
}

static const char *after(const char *text, const char *word) {
  const size_t length = strlen(word);
  if (strncmp(text, word, length) != 0 || (text[length] != ' ' && text[length] != 0)) {
    return NULL;
  }
  return skip(text + length);
}

// True when the command asks for frames.
static bool run_command(const char *text) {
  const char *rest;
  bool frames = false;
  text = skip(text);
  if (after(text, "name")) {
    line("m-name-dut-[joulet]");
  } else if (after(text, "profile")) {
    line("m-profile-[ULPMark for tinyML Firmware V0.0.1]");
    jlt_console_puts("m-model-[");
    jlt_console_puts(profile()->id);
    line("]");
  } else if (after(text, "timestamp")) {
    stamp();
  } else if ((rest = after(text, "infer"))) {
    infer(rest);
  } else if (after(text, "results")) {
    results();
  } else if ((rest = after(text, "db"))) {
    const char *arguments = after(rest, "load");
    if (arguments) {
      db_load(arguments);
    } else if (after(rest, "print")) {
      db_print();
    } else {
      db_data(rest);
    }
  } else if ((rest = after(text, "joulet")) && strcmp(rest, "1") == 0) {
    frames = true;
  } else if (after(text, "help")) {
    line("name% profile% timestamp% db load N% db HEX% db print% infer N W% results% joulet 1% help%");
  } else {
    error("Unknown command");
  }
  ready();
  return frames;
}

void jlt_runner_clear(void) {
  runner.length = 0;
  runner.too_long = false;
  runner.foreign = false;
}

void jlt_runner_arm(bool armed) { runner.armed = armed; }

bool jlt_runner_feed(uint8_t byte) {
  if (byte != '%') {
    runner.foreign = runner.foreign || byte < 0x20 || byte > 0x7E;
    runner.too_long = runner.too_long || runner.length == LINE_BYTES;
    if (runner.length < LINE_BYTES) {
      runner.line[runner.length++] = (char)byte;
    }
    return false;
  }
  bool frames = false;
  runner.line[runner.length] = 0;
  if (runner.foreign || runner.too_long) {
    if (!runner.armed) {
      error(runner.too_long ? "Command too long" : "Commands are ASCII without CR and LF");
      ready();
    }
  } else {
    frames = run_command(runner.line);
  }
  jlt_runner_clear();
  return frames;
}
