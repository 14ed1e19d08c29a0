// SPDX-License-Identifier: Apache-2.0
// The RP2040's ROM copies the first 256 bytes of flash into RAM, checks their CRC-32 and runs them (datasheet 2.8.1.3.1).
// This sets the SSI up to read the flash in place and enters the image behind it. boot2.c is made from this file:
// python -m joulet.tools.boot2
#include "rp2040_flash.h"

    .syntax unified
    .cpu cortex-m0plus
    .thumb

    .section .text
    .global jlt_boot2
    .thumb_func
jlt_boot2:
    ldr   r0, =JLT_SSI_BASE
    movs  r1, #0
    str   r1, [r0, #JLT_SSI_SSIENR]
    movs  r1, #JLT_SSI_DIVIDER
    str   r1, [r0, #JLT_SSI_BAUDR]
    ldr   r1, =JLT_SSI_FRAME
    str   r1, [r0, #JLT_SSI_CTRLR0]
    ldr   r1, =JLT_SSI_READ
    movs  r2, #JLT_SSI_SPI_CTRLR0
    adds  r2, r0, r2
    str   r1, [r2]
    movs  r1, #0
    str   r1, [r0, #JLT_SSI_CTRLR1]
    movs  r1, #1
    str   r1, [r0, #JLT_SSI_SSIENR]
    // the vector table of the image, and its first two words
    ldr   r0, =0x10000100
    ldr   r1, =0xE000ED08
    str   r0, [r1]
    ldmia r0, {r0, r1}
    msr   msp, r0
    bx    r1
    .ltorg
