// SPDX-License-Identifier: Apache-2.0
// How the RP2040 reads its flash in place: the same for boot2 and for the driver, which restores it after a write.
// RP2040 datasheet 4.10.13 (registers of the SSI), W25Q16JV datasheet 8.2.6 (command 03h: 24 bits of address, no
// dummies, up to 50 MHz).
#ifndef JLT_FIRMWARE_RP2040_FLASH_H
#define JLT_FIRMWARE_RP2040_FLASH_H

#define JLT_SSI_BASE 0x18000000
#define JLT_SSI_CTRLR0 0x00
#define JLT_SSI_CTRLR1 0x04
#define JLT_SSI_SSIENR 0x08
#define JLT_SSI_BAUDR 0x14
#define JLT_SSI_SPI_CTRLR0 0xF4

#define JLT_SSI_DIVIDER 4                 // even: 31 MHz at 125 MHz
#define JLT_SSI_FRAME 0x001F0300          // one data line, frames of 32 bits, "EEPROM read"
#define JLT_SSI_READ 0x03000218           // command 03h, 8 bits of it, 24 of address, all on one line

#endif
