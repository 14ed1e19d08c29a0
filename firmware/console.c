// SPDX-License-Identifier: Apache-2.0
#include "console.h"

#include "clock.h"
#include "cpu.h"
#include "port.h"

enum { RING_BYTES = 1024 };  // WINDOW frames of the largest size, and some

static struct {
  volatile uint16_t head;  // written by whoever receives, interrupts held off
  volatile uint16_t tail;
  uint8_t bytes[RING_BYTES];
} ring;

void jlt_console_open(void) {
  const jlt_uart_t *uart = &jlt_board.uart;
  (void)uart->driver->open(uart);
  if (uart->irq >= 0) {
    jlt_irq_enable((uint32_t)uart->irq);
  }
}

static bool full(void) { return (ring.head + 1u) % RING_BYTES == ring.tail; }

static bool take_one(void) {
  uint8_t byte;
  if (!jlt_board.uart.driver->read(&jlt_board.uart, &byte)) {
    return false;
  }
  if (!full()) {
    ring.bytes[ring.head] = byte;
    ring.head = (uint16_t)((ring.head + 1u) % RING_BYTES);
  }
  return true;
}

// What does not fit is lost: an interrupt that is left standing would come again at once.
void jlt_console_irq(void) {
  for (uint32_t turn = 0; turn < RING_BYTES && take_one(); turn++) {
  }
}

void jlt_console_poll(void) {
  jlt_irq_off();
  while (!full() && take_one()) {
  }
  jlt_irq_on();
}

bool jlt_console_read(uint8_t *byte) {
  if (ring.head == ring.tail) {
    jlt_console_poll();
  }
  if (ring.head == ring.tail) {
    return false;
  }
  *byte = ring.bytes[ring.tail];
  ring.tail = (uint16_t)((ring.tail + 1u) % RING_BYTES);
  return true;
}

void jlt_console_write(const uint8_t *bytes, size_t count) {
  const jlt_uart_t *uart = &jlt_board.uart;
  for (size_t i = 0; i < count; i++) {
    uint32_t turn = 0;
    while (!uart->driver->can_write(uart) && turn++ < JLT_WAIT_TURNS) {
      jlt_console_poll();
    }
    if (turn < JLT_WAIT_TURNS) {
      uart->driver->write(uart, bytes[i]);
    }
  }
}

void jlt_console_puts(const char *text) {
  while (*text) {
    jlt_console_write((const uint8_t *)text++, 1);
  }
}

void jlt_console_put_u64(uint64_t value) {
  char digits[21];
  uint32_t at = sizeof(digits);
  digits[--at] = 0;
  do {
    digits[--at] = (char)('0' + value % 10u);
    value /= 10u;
  } while (value);
  jlt_console_puts(digits + at);
}

void jlt_console_put_hex(uint8_t byte) {
  static const char digits[] = "0123456789abcdef";
  const uint8_t text[2] = {(uint8_t)digits[byte >> 4], (uint8_t)digits[byte & 15]};
  jlt_console_write(text, sizeof(text));
}

void jlt_console_idle(uint64_t until_us) {
  jlt_console_poll();
  // interrupts are held off from the question to the sleep: a byte in between still wakes the core
  jlt_irq_off();
  if (ring.head == ring.tail) {
    jlt_sleep_until_us(until_us);
  }
  jlt_irq_on();
}
