// SPDX-License-Identifier: Apache-2.0
// Clocks and pins of the NUCLEO-L4R5ZI: 120 MHz from the internal 16 MHz oscillator, whose accuracy will do for a
// serial line. Registers: RM0432, chapters 3 (FLASH), 5 (PWR), 6 (RCC), 8 (GPIO); pins: UM2179. [unverified on silicon]
#include "board.h"
#include "drivers.h"
#include "stm32_pins.h"

enum { RCC = 0x40021000, PWR = 0x40007000, FLASH = 0x40022000, GPIOA = 0x48000000, GPIOG = 0x48001800 };

enum { RCC_CR = RCC, CR_HSION = 1 << 8, CR_HSIRDY = 1 << 10, CR_PLLON = 1 << 24, CR_PLLRDY = 1 << 25 };
enum { RCC_CFGR = RCC + 0x08, CFGR_SW_PLL = 3, CFGR_SWS = 3 << 2, CFGR_SWS_PLL = 3 << 2, CFGR_HPRE_2 = 8 << 4 };
enum { RCC_PLLCFGR = RCC + 0x0C, PLL_HSI = 2, PLL_M_4 = 3 << 4, PLL_N_60 = 60 << 8, PLL_REN = 1 << 24 };  // R = 2
enum { RCC_AHB2ENR = RCC + 0x4C, RCC_APB1ENR1 = RCC + 0x58, RCC_APB1ENR2 = RCC + 0x5C, RCC_APB2ENR = RCC + 0x60 };
enum { AHB2_GPIO_A_B_D_F_G = 1 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6, AHB2_ADC = 1 << 13 };
enum { APB1_TIM2 = 1, APB1_PWR = 1 << 28, APB1_LPUART1 = 1, APB2_SPI1 = 1 << 12 };
enum { RCC_CCIPR = RCC + 0x88, CCIPR_LPUART1_HSI = 2 << 10 };

enum { PWR_CR2 = PWR + 0x04, CR2_IOSV = 1 << 9, PWR_SR2 = PWR + 0x14, SR2_VOSF = 1 << 10 };
enum { PWR_CR5 = PWR + 0x80, CR5_R1MODE = 1 << 8 };
enum { FLASH_ACR = FLASH, ACR_5_WAITS = 5, ACR_LATENCY = 15 };
enum { ACR_PRFTEN = 1 << 8, ACR_ICEN = 1 << 9, ACR_DCEN = 1 << 10 };

enum { LPUART1_TX = 7, LPUART1_RX = 8, LPUART1_FUNCTION = 8 };
enum { SPI1_SCK = 5, SPI1_MISO = 6, SPI1_MOSI = 7, SPI1_FUNCTION = 5 };

// Above 80 MHz the regulator must be in boost mode, and the bus divided while the frequency jumps (RM0432, 5.1.8).
// Where a step does not come to its end the core goes on slowly, and still answers.
static void to_120_mhz(void) {
  JLT_REG(PWR_CR5) &= ~(uint32_t)CR5_R1MODE;
  if (!jlt_wait_for(PWR_SR2, SR2_VOSF, 0)) {
    return;
  }
  JLT_REG(FLASH_ACR) = ACR_5_WAITS | ACR_PRFTEN | ACR_ICEN | ACR_DCEN;
  if (!jlt_wait_for(FLASH_ACR, ACR_LATENCY, ACR_5_WAITS)) {
    return;
  }
  JLT_REG(RCC_PLLCFGR) = PLL_HSI | PLL_M_4 | PLL_N_60 | PLL_REN;
  JLT_REG(RCC_CR) |= CR_PLLON;
  if (!jlt_wait_for(RCC_CR, CR_PLLRDY, CR_PLLRDY)) {
    return;
  }
  JLT_REG(RCC_CFGR) = CFGR_HPRE_2 | CFGR_SW_PLL;
  if (!jlt_wait_for(RCC_CFGR, CFGR_SWS, CFGR_SWS_PLL)) {
    return;
  }
  for (volatile uint32_t i = 0; i < 60u; i++) {  // a microsecond and more
  }
  JLT_REG(RCC_CFGR) = CFGR_SW_PLL;
}

void jlt_board_init(void) {
  JLT_REG(RCC_APB1ENR1) |= APB1_PWR | APB1_TIM2;
  JLT_REG(RCC_APB1ENR2) |= APB1_LPUART1;
  JLT_REG(RCC_APB2ENR) |= APB2_SPI1;
  JLT_REG(RCC_AHB2ENR) |= AHB2_GPIO_A_B_D_F_G | AHB2_ADC;
  JLT_REG(PWR_CR2) |= CR2_IOSV;  // PG2 to PG15 have a supply of their own and are dead without it
  JLT_REG(RCC_CR) |= CR_HSION;
  (void)jlt_wait_for(RCC_CR, CR_HSIRDY, CR_HSIRDY);
  to_120_mhz();
  JLT_REG(RCC_CCIPR) = CCIPR_LPUART1_HSI;
  jlt_stm32_alternate(GPIOG, LPUART1_TX, LPUART1_FUNCTION);
  jlt_stm32_alternate(GPIOG, LPUART1_RX, LPUART1_FUNCTION);
  jlt_stm32_alternate(GPIOA, SPI1_SCK, SPI1_FUNCTION);
  jlt_stm32_alternate(GPIOA, SPI1_MISO, SPI1_FUNCTION);
  jlt_stm32_alternate(GPIOA, SPI1_MOSI, SPI1_FUNCTION);
}
