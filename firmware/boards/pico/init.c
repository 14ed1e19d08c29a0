// SPDX-License-Identifier: Apache-2.0
// Clocks and pins of the Raspberry Pi Pico: 125 MHz from its 12 MHz crystal. Registers: RP2040 datasheet, 2.14
// (resets), 2.15 (clocks), 2.16 (XOSC), 2.18 (PLL), 4.7 (watchdog). boot2.S has run before. [unverified on silicon]
#include "board.h"
#include "drivers.h"
#include "rp2040_pins.h"

enum { RESETS_CLEAR = 0x4000F000, RESETS_SET = 0x4000E000, RESET_DONE = 0x4000C008 };
enum { ADC = 1, IO_BANK0 = 1 << 5, PADS_BANK0 = 1 << 8, PLL_SYS = 1 << 12, PLL_USB = 1 << 13, SPI0 = 1 << 16 };
enum { TIMER = 1 << 21, UART0 = 1 << 22, USED = IO_BANK0 | PADS_BANK0 | SPI0 | TIMER | UART0 | ADC };

enum { XOSC_CTRL = 0x40024000, XOSC_STATUS = 0x40024004, XOSC_STARTUP = 0x4002400C };
enum { XOSC_ENABLE = 0xFABAA0, XOSC_1_MS = 47 };
#define XOSC_STABLE (1u << 31)

enum { PLL_SYS_BASE = 0x40028000, PLL_USB_BASE = 0x4002C000, PLL_PWR = 0x04, PLL_FBDIV = 0x08, PLL_PRIM = 0x0C };
enum { PWR_PD = 1, PWR_POSTDIVPD = 1 << 3, PWR_VCOPD = 1 << 5, PWR_OFF = 0x2D };
#define PLL_LOCK (1u << 31)

enum { CLK_REF_CTRL = 0x40008030, CLK_REF_SELECTED = 0x40008038, REF_XOSC = 2, REF_XOSC_SELECTED = 1 << 2 };
enum { CLK_SYS_CTRL = 0x4000803C, CLK_SYS_SELECTED = 0x40008044, SYS_PLL = 1, SYS_PLL_SELECTED = 2 };
enum { CLK_PERI_CTRL = 0x40008048, CLK_ADC_CTRL = 0x40008060, CLK_ON = 1 << 11 };  // from clk_sys and from pll_usb
enum { WATCHDOG_TICK = 0x4005802C, TICK_ON = 1 << 9, CRYSTAL_MHZ = 12 };

enum { UART0_TX = 0, UART0_RX = 1 };

static bool bring_up(uint32_t blocks) {
  JLT_REG(RESETS_CLEAR) = blocks;
  return jlt_wait_for(RESET_DONE, blocks, blocks);
}

// 12 MHz x times / first / second
static bool start_pll(uintptr_t pll, uint32_t reset, uint32_t times, uint32_t first, uint32_t second) {
  JLT_REG(RESETS_SET) = reset;
  if (!bring_up(reset)) {
    return false;
  }
  JLT_REG(pll) = 1;  // reference undivided
  JLT_REG(pll + PLL_FBDIV) = times;
  JLT_REG(pll + PLL_PWR) = PWR_OFF & ~(uint32_t)(PWR_PD | PWR_VCOPD);
  if (!jlt_wait_for(pll, PLL_LOCK, PLL_LOCK)) {
    return false;
  }
  JLT_REG(pll + PLL_PRIM) = first << 16 | second << 12;
  JLT_REG(pll + PLL_PWR) = PWR_OFF & ~(uint32_t)(PWR_PD | PWR_VCOPD | PWR_POSTDIVPD);
  return true;
}

// After a reset by software a PLL may be running the core: it is left first.
static void to_125_mhz(void) {
  JLT_REG(CLK_SYS_CTRL) = 0;
  (void)jlt_wait_for(CLK_SYS_SELECTED, 1, 1);
  JLT_REG(XOSC_STARTUP) = XOSC_1_MS;
  JLT_REG(XOSC_CTRL) = XOSC_ENABLE;
  if (!jlt_wait_for(XOSC_STATUS, XOSC_STABLE, XOSC_STABLE)) {
    return;
  }
  JLT_REG(CLK_REF_CTRL) = REF_XOSC;
  (void)jlt_wait_for(CLK_REF_SELECTED, REF_XOSC_SELECTED, REF_XOSC_SELECTED);
  JLT_REG(WATCHDOG_TICK) = TICK_ON | CRYSTAL_MHZ;  // 1 MHz for the timer
  if (start_pll(PLL_SYS_BASE, PLL_SYS, 125, 6, 2)) {
    JLT_REG(CLK_SYS_CTRL) = SYS_PLL;
    (void)jlt_wait_for(CLK_SYS_SELECTED, SYS_PLL_SELECTED, SYS_PLL_SELECTED);
  }
  if (start_pll(PLL_USB_BASE, PLL_USB, 100, 5, 5)) {
    JLT_REG(CLK_ADC_CTRL) = CLK_ON;  // 48 MHz
  }
}

void jlt_board_init(void) {
  to_125_mhz();
  JLT_REG(CLK_PERI_CTRL) = CLK_ON;
  (void)bring_up(USED);
  jlt_rp2040_function(UART0_TX, JLT_RP2040_UART);
  jlt_rp2040_function(UART0_RX, JLT_RP2040_UART);
}
