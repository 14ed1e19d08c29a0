// SPDX-License-Identifier: Apache-2.0
// The board as one const struct, from what board.toml says (board.h is generated).
#include "board.h"
#include "drivers.h"

#ifdef BOARD_SPI_DRIVER
static const jlt_spi_t spi = BOARD_SPI;
#endif
#ifdef BOARD_I2C_DRIVER
static const jlt_i2c_t i2c = BOARD_I2C;
#endif

const jlt_port_t jlt_board = {
    .name = BOARD_NAME,
    .build_id = BOARD_BUILD_ID,
    .clock_hz = BOARD_CLOCK_HZ,
    .init = BOARD_INIT,
    .uart = BOARD_UART,
    .timer = BOARD_TIMER,
    .flash = BOARD_FLASH,
    .nvm = BOARD_NVM,
    .store = BOARD_STORE,
    .counter = BOARD_COUNTER,
    .marker = BOARD_MARKER,
    .model = BOARD_SLOT_MODEL,
    .model_b = BOARD_SLOT_MODEL_B,
    .policy = BOARD_SLOT_POLICY,
    .policy_b = BOARD_SLOT_POLICY_B,
    .samples = BOARD_SLOT_SAMPLES,
    .session = BOARD_SLOT_SESSION,
    .activation = BOARD_SLOT_ACTIVATION,
    .progress = BOARD_SLOT_PROGRESS,
    .has_cycle_counter = BOARD_HAS_CYCLE_COUNTER,
};
