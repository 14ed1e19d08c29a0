// SPDX-License-Identifier: Apache-2.0
// Clocks and pins of the nRF52840 DK. Registers: nRF52840 PS, 5.4 (CLOCK), 5.3 (POWER), 4.3 (NVMC), 6.34 (UARTE); pins:
// its user guide. [unverified on silicon]
#include "board.h"
#include "drivers.h"
#include "nrf_pins.h"

enum { HFCLKSTART = 0x40000000, HFCLKSTARTED = 0x40000100, DCDCEN = 0x40000578, ICACHECNF = 0x4001E540 };
enum { UARTE_PSEL_TXD = 0x4000250C, UARTE_PSEL_RXD = 0x40002514 };
enum { TX_PIN = 6, RX_PIN = 8 };

void jlt_board_init(void) {
  JLT_REG(DCDCEN) = 1;  // the board has its inductor: about half the current
  JLT_REG(ICACHECNF) = 1;
  // the core runs at 64 MHz from reset on; the crystal makes the serial line's clock exact
  JLT_REG(HFCLKSTARTED) = 0;
  JLT_REG(HFCLKSTART) = 1;
  (void)jlt_wait_for(HFCLKSTARTED, 1, 1);
  jlt_nrf_write(jlt_nrf_port(TX_PIN), TX_PIN, true);
  jlt_nrf_pin(jlt_nrf_port(TX_PIN), TX_PIN, JLT_NRF_OUTPUT);
  jlt_nrf_pin(jlt_nrf_port(RX_PIN), RX_PIN, JLT_NRF_INPUT);
  JLT_REG(UARTE_PSEL_TXD) = TX_PIN;
  JLT_REG(UARTE_PSEL_RXD) = RX_PIN;
}
