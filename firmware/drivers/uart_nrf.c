// SPDX-License-Identifier: Apache-2.0
// UARTE of the nRF52840 (PS 6.34): it moves bytes by DMA, and only to and from RAM.
//
// Reception never stops: the end of the buffer is tied to its start, so that the hardware runs round in it, and TIMER1
// counts its bytes through PPI channel 0 (PS 6.16, 6.30), which no register of the UARTE does. [unverified on silicon]
#include "drivers.h"

enum { STARTRX = 0x000, STARTTX = 0x008, RXDRDY = 0x108, ENDTX = 0x120, SHORTS = 0x200, INTENSET = 0x304 };
enum { ENABLE = 0x500, BAUDRATE = 0x524, RXD_PTR = 0x534, RXD_MAXCNT = 0x538, TXD_PTR = 0x544, TXD_MAXCNT = 0x548 };
enum { ENABLE_UARTE = 8, ENDRX_STARTRX = 1 << 5, INT_RXDRDY = 1 << 2 };
enum { TIMER1 = 0x40009000, START = 0x000, COUNT = 0x008 };
enum { CLEAR = 0x00C, CAPTURE = 0x040, MODE = 0x504, BITMODE = 0x508 };
enum { CC = 0x540, MODE_COUNTER = 1, BITMODE_32 = 3 };
enum { PPI_CHENSET = 0x4001F504, PPI_CH0_EEP = 0x4001F510, PPI_CH0_TEP = 0x4001F514 };
enum { RING_BYTES = 64 };

static struct {
  uint8_t ring[RING_BYTES];
  uint32_t taken;  // of the bytes counted
  uint8_t out;
  bool sending;
} state;

// BAUDRATE is not linear; the values are those of PS 6.34.9.
static uint32_t rate_of(uint32_t baud) {
  switch (baud) {
    case 9600: return 0x00275000u;
    case 115200: return 0x01D60000u;
    case 1000000: return 0x10000000u;
    default: return 0;
  }
}

static bool open_uart(const jlt_uart_t *uart) {
  const uint32_t rate = rate_of(uart->baud);
  if (rate == 0) {
    return false;
  }
  JLT_REG(TIMER1 + MODE) = MODE_COUNTER;
  JLT_REG(TIMER1 + BITMODE) = BITMODE_32;
  JLT_REG(TIMER1 + CLEAR) = 1;
  JLT_REG(TIMER1 + START) = 1;
  JLT_REG(PPI_CH0_EEP) = (uint32_t)uart->base + RXDRDY;
  JLT_REG(PPI_CH0_TEP) = TIMER1 + COUNT;
  JLT_REG(PPI_CHENSET) = 1;
  JLT_REG(uart->base + BAUDRATE) = rate;
  JLT_REG(uart->base + ENABLE) = ENABLE_UARTE;
  JLT_REG(uart->base + RXD_PTR) = (uint32_t)(uintptr_t)state.ring;
  JLT_REG(uart->base + RXD_MAXCNT) = RING_BYTES;
  JLT_REG(uart->base + SHORTS) = ENDRX_STARTRX;
  JLT_REG(uart->base + INTENSET) = uart->irq >= 0 ? INT_RXDRDY : 0;
  JLT_REG(uart->base + STARTRX) = 1;
  return true;
}

static bool can_write(const jlt_uart_t *uart) { return !state.sending || JLT_REG(uart->base + ENDTX) != 0; }

static void write(const jlt_uart_t *uart, uint8_t byte) {
  state.out = byte;
  state.sending = true;
  JLT_REG(uart->base + ENDTX) = 0;
  JLT_REG(uart->base + TXD_PTR) = (uint32_t)(uintptr_t)&state.out;
  JLT_REG(uart->base + TXD_MAXCNT) = 1;
  __asm volatile("dmb" ::: "memory");  // the byte lies in memory before the DMA reads it
  JLT_REG(uart->base + STARTTX) = 1;
}

// The event is cleared before the count is taken: a byte in between makes the interrupt pending again.
static bool read(const jlt_uart_t *uart, uint8_t *byte) {
  JLT_REG(uart->base + RXDRDY) = 0;
  JLT_REG(TIMER1 + CAPTURE) = 1;
  const uint32_t count = JLT_REG(TIMER1 + CC);
  if (count == state.taken) {
    return false;
  }
  if (count - state.taken > RING_BYTES) {
    state.taken = count;  // overrun: what is left is not a whole frame
    return false;
  }
  *byte = ((volatile uint8_t *)state.ring)[state.taken % RING_BYTES];
  state.taken++;
  return true;
}

const jlt_uart_driver_t jlt_uart_nrf = {open_uart, can_write, write, read};
