// SPDX-License-Identifier: Apache-2.0
// Clocks and pins of the NUCLEO-F446RE: 96 MHz from the 8 MHz that the ST-LINK puts out, or from the internal
// oscillator where that is not there. Registers: RM0390, chapters 3 (FLASH), 6 (RCC), 7 (GPIO); pins: UM1724.
// [unverified on silicon]
#include "board.h"
#include "drivers.h"
#include "stm32_pins.h"

enum { RCC = 0x40023800, FLASH = 0x40023C00, GPIOA = 0x40020000 };

enum { RCC_CR = RCC, CR_HSEON = 1 << 16, CR_HSERDY = 1 << 17 };
enum { CR_HSEBYP = 1 << 18, CR_PLLON = 1 << 24, CR_PLLRDY = 1 << 25 };
enum { RCC_PLLCFGR = RCC + 0x04, PLL_N_384 = 384 << 6, PLL_P_4 = 1 << 16 };
enum { PLL_HSE = 1 << 22, PLL_Q_8 = 8 << 24, PLL_R_2 = 2 << 28 };
enum { RCC_CFGR = RCC + 0x08, CFGR_SW_PLL = 2, CFGR_SWS = 3 << 2 };
enum { CFGR_SWS_PLL = 2 << 2, CFGR_APB1_4 = 5 << 10, CFGR_APB2_2 = 4 << 13 };
enum { RCC_AHB1ENR = RCC + 0x30, RCC_APB1ENR = RCC + 0x40, RCC_APB2ENR = RCC + 0x44 };
enum { AHB1_GPIO_A_B_C = 7, APB1_TIM2 = 1, APB1_USART2 = 1 << 17, APB2_ADC1 = 1 << 8, APB2_SPI1 = 1 << 12 };
enum { FLASH_ACR = FLASH, ACR_3_WAITS = 3, ACR_LATENCY = 15 };
enum { ACR_PRFTEN = 1 << 8, ACR_ICEN = 1 << 9, ACR_DCEN = 1 << 10 };

enum { ADC_IN0 = 0, USART2_TX = 2, USART2_RX = 3, USART2_FUNCTION = 7 };
enum { SPI1_SCK = 5, SPI1_MISO = 6, SPI1_MOSI = 7, SPI1_FUNCTION = 5 };

// APB1 may run at 45 MHz and APB2 at 90 MHz: 24 and 48. Where a step does not come to its end the core goes on slowly.
static void to_96_mhz(void) {
  JLT_REG(RCC_CR) |= CR_HSEBYP;
  JLT_REG(RCC_CR) |= CR_HSEON;
  const bool outside = jlt_wait_for(RCC_CR, CR_HSERDY, CR_HSERDY);
  JLT_REG(FLASH_ACR) = ACR_3_WAITS | ACR_PRFTEN | ACR_ICEN | ACR_DCEN;
  if (!jlt_wait_for(FLASH_ACR, ACR_LATENCY, ACR_3_WAITS)) {
    return;
  }
  const uint32_t source = outside ? PLL_HSE | 8u : 16u;  // 1 MHz either way
  JLT_REG(RCC_PLLCFGR) = source | PLL_N_384 | PLL_P_4 | PLL_Q_8 | PLL_R_2;
  JLT_REG(RCC_CFGR) = CFGR_APB1_4 | CFGR_APB2_2;
  JLT_REG(RCC_CR) |= CR_PLLON;
  if (jlt_wait_for(RCC_CR, CR_PLLRDY, CR_PLLRDY)) {
    JLT_REG(RCC_CFGR) = CFGR_APB1_4 | CFGR_APB2_2 | CFGR_SW_PLL;
    (void)jlt_wait_for(RCC_CFGR, CFGR_SWS, CFGR_SWS_PLL);
  }
}

void jlt_board_init(void) {
  to_96_mhz();
  JLT_REG(RCC_AHB1ENR) |= AHB1_GPIO_A_B_C;
  JLT_REG(RCC_APB1ENR) |= APB1_TIM2 | APB1_USART2;
  JLT_REG(RCC_APB2ENR) |= APB2_ADC1 | APB2_SPI1;
  jlt_stm32_alternate(GPIOA, USART2_TX, USART2_FUNCTION);
  jlt_stm32_alternate(GPIOA, USART2_RX, USART2_FUNCTION);
  jlt_stm32_alternate(GPIOA, SPI1_SCK, SPI1_FUNCTION);
  jlt_stm32_alternate(GPIOA, SPI1_MISO, SPI1_FUNCTION);
  jlt_stm32_alternate(GPIOA, SPI1_MOSI, SPI1_FUNCTION);
  jlt_stm32_mode(GPIOA, ADC_IN0, JLT_STM32_ANALOG);
}
