// SPDX-License-Identifier: Apache-2.0
// The seam between the firmware and a board: drivers behind one const struct in flash.
//
// A driver is a struct of functions that take the description they were given; descriptions hold addresses and numbers
// from board.toml. No function waits without a bound; one that can fail returns false.
#ifndef JLT_FIRMWARE_PORT_H
#define JLT_FIRMWARE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JLT_WAIT_TURNS = 1000000 };  // bound of every wait for hardware: turns of its loop

/// Serial line ///

typedef struct jlt_uart jlt_uart_t;

typedef struct {
  bool (*open)(const jlt_uart_t *uart);
  bool (*can_write)(const jlt_uart_t *uart);
  void (*write)(const jlt_uart_t *uart, uint8_t byte);
  bool (*read)(const jlt_uart_t *uart, uint8_t *byte);  // false: nothing there
} jlt_uart_driver_t;

struct jlt_uart {
  const jlt_uart_driver_t *driver;
  uintptr_t base;
  uint32_t clock_hz;
  uint32_t baud;
  int32_t irq;  // of received bytes; -1: polled only
};

/// Time ///

typedef struct jlt_timer jlt_timer_t;

typedef struct {
  void (*open)(const jlt_timer_t *timer);
  uint64_t (*ticks)(const jlt_timer_t *timer);  // since power-up, or of a clock that outlives it
  void (*sleep_until)(const jlt_timer_t *timer, uint64_t tick);  // may return early, for a received byte
} jlt_timer_driver_t;

struct jlt_timer {
  const jlt_timer_driver_t *driver;
  uintptr_t base;
  uint32_t tick_hz;   // a multiple of 1 MHz, or a power of two
  uint32_t clock_hz;  // that a prescaler divides; 0: none
  uint32_t irq;       // of its alarm
};

/// Internal flash: slots for models, policies, samples ///

typedef struct jlt_flash jlt_flash_t;

typedef struct {
  bool (*erase)(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes);  // one page; reads as 0xFF afterwards
  bool (*program)(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes);  // whole granules
  bool (*torn)(const jlt_flash_t *flash);  // whether what was read since the last time was beyond ECC; null: no ECC
} jlt_flash_driver_t;

struct jlt_flash {
  const jlt_flash_driver_t *driver;  // null: slots cannot be written
  uintptr_t base;          // of its controller
  uint32_t granule_bytes;  // a power of two, at most 8; a driver pads where the part wants more at once
};

typedef struct {
  uintptr_t address;
  uint32_t bytes;
  uint32_t page_bytes;  // that are erased at once
} jlt_region_t;

/// Non-volatile memory for what the board keeps ///

typedef struct jlt_nvm jlt_nvm_t;

typedef struct {
  uint32_t (*open)(const jlt_nvm_t *nvm);  // its size; 0: not there
  bool (*read)(const jlt_nvm_t *nvm, uint32_t from, void *to, uint32_t bytes);
  bool (*write)(const jlt_nvm_t *nvm, uint32_t to, const void *from, uint32_t bytes);
  bool (*erase)(const jlt_nvm_t *nvm);  // all of it; null where writing is enough
} jlt_nvm_driver_t;

struct jlt_nvm {
  const jlt_nvm_driver_t *driver;  // null: none
  const struct jlt_spi *spi;
  jlt_region_t region;  // of internal flash
  uint32_t bytes;
  uint32_t device_id;  // first three bytes of RDID that tell the part; 0: do not ask
};

/// Buses ///

typedef struct jlt_spi jlt_spi_t;

typedef struct {
  bool (*open)(const jlt_spi_t *spi);
  void (*select)(const jlt_spi_t *spi, bool on);
  bool (*exchange)(const jlt_spi_t *spi, const uint8_t *out, uint8_t *in, uint32_t bytes);  // either may be null
} jlt_spi_driver_t;

struct jlt_spi {
  const jlt_spi_driver_t *driver;
  uintptr_t base;
  uint32_t clock_hz;
  uint32_t rate_hz;
  uintptr_t select_base;  // of the GPIO port that drives chip select
  uint32_t select_pin;
  uint32_t pins[3];  // clock, data out, data in; as the driver numbers them
};

typedef struct jlt_i2c jlt_i2c_t;

// Two open-drain lines. The transfer itself is software, the same on every board.
typedef struct {
  bool (*open)(const jlt_i2c_t *i2c);
  void (*clock)(const jlt_i2c_t *i2c, bool high);
  void (*data)(const jlt_i2c_t *i2c, bool high);
  bool (*sense_clock)(const jlt_i2c_t *i2c);
  bool (*sense_data)(const jlt_i2c_t *i2c);
} jlt_i2c_driver_t;

struct jlt_i2c {
  const jlt_i2c_driver_t *driver;  // null: none
  uintptr_t base;
  uint32_t clock_pin;
  uint32_t data_pin;
  uint32_t half_period_turns;  // of an empty loop
};

/// Power ///

typedef struct jlt_power jlt_power_t;

typedef struct {
  bool (*open)(const jlt_power_t *power);
  bool (*read_store_mv)(const jlt_power_t *power, uint32_t *mv);
  bool (*read_energy_nj)(const jlt_power_t *power, uint64_t *nj);  // drawn since open; null: it cannot
} jlt_power_driver_t;

struct jlt_power {
  const jlt_power_driver_t *driver;  // null: none
  uintptr_t base;
  const jlt_i2c_t *i2c;
  uint32_t address;      // on the bus
  uint32_t shunt_uohm;
  uint32_t current_lsb_na;  // of the current register
  uint32_t full_scale_mv;   // of the converter, times the divider
  uint32_t bits;
  uint32_t channel;
};

/// Marker pins: what the board is doing, for a meter's logic inputs ///

enum {
  JLT_PHASE_IDLE = 0,
  JLT_PHASE_INFER = 1,
  JLT_PHASE_DECIDE = 2,
  JLT_PHASE_COMMIT = 3,
  JLT_PHASE_SENSE = 4,
  JLT_PHASE_REFIT = 5,
  JLT_PHASE_EXIT = 7,  // which exit was reached is being told
};

typedef struct jlt_marker jlt_marker_t;

typedef struct {
  void (*open)(const jlt_marker_t *marker);
  void (*write)(const jlt_marker_t *marker, uint32_t bits);  // bits 0..2 phase in Gray code, 3: low during time stamps and ticks
} jlt_marker_driver_t;

struct jlt_marker {
  const jlt_marker_driver_t *driver;  // null: none
  uintptr_t base;
  uint32_t first_pin;
};

/// The board ///

typedef struct {
  char name[24];
  uint8_t build_id[8];
  uint32_t clock_hz;
  void (*init)(void);  // clocks and pins; null: the reset state will do
  jlt_uart_t uart;
  jlt_timer_t timer;
  jlt_flash_t flash;
  jlt_nvm_t nvm;
  jlt_power_t store;    // voltage of the store
  jlt_power_t counter;  // energy drawn
  jlt_marker_t marker;
  jlt_region_t model;
  jlt_region_t model_b;  // of no bytes: there is one side only
  jlt_region_t policy;
  jlt_region_t policy_b;
  jlt_region_t samples;
  jlt_region_t session;
  jlt_region_t activation;  // two pages or more, where non-volatile memory is flash
  jlt_region_t progress;    // as well
  bool has_cycle_counter;  // DWT CYCCNT of ARMv7-M and later
} jlt_port_t;

extern const jlt_port_t jlt_board;

/// Exceptions ///

_Noreturn void jlt_restart(void);
void jlt_nmi(void);  // starts over, unless a driver has its own

#define JLT_REG(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define JLT_REG8(address) (*(volatile uint8_t *)(uintptr_t)(address))

static inline uint32_t jlt_gray(uint32_t x) { return x ^ x >> 1; }

#endif
