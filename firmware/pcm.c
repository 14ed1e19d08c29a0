// SPDX-License-Identifier: Apache-2.0
// Sound that comes over the link becomes features, in memory that the arena leaves.
#include "board.h"
#include "input.h"

#if BOARD_HAS_FRONT

#include "front/mfcc.h"
#include "model.h"

enum { FRAMES = 49 };

// Lives under the input.
typedef struct {
  jlt_mfcc_t mfcc;
  jlt_mfcc_frame_t ring[FRAMES];
  uint32_t frames;  // since the beginning
} front_t;

static struct {
  uint32_t generation;  // of the work memory that the front end was begun in
  bool begun;
} front_end;

static front_t *front(void) {
  const uint32_t room = jlt_loaded.work_bytes - jlt_loaded.arena_bytes - ((jlt_loaded.input_bytes + 15u) & ~15u);
  const uint32_t bytes = (sizeof(front_t) + 15u) & ~15u;
  return room >= bytes ? (front_t *)(void *)(jlt_loaded.input - bytes) : NULL;
}

static bool grid_fits(const jlt_wire_pcm_t *head) { return head->multiplier < 32768u && head->shift <= 20u; }

// The last 49 frames in their order, wherever the ring begins.
static void quantise(const front_t *f, const jlt_mfcc_grid_t *grid) {
  // a clip of 49 frames is measured by its own peak, a stream by that of the frames in the ring
  const int16_t peak = f->frames == FRAMES ? f->mfcc.peak : jlt_mfcc_peak(f->ring, FRAMES);
  const uint32_t oldest = f->frames % FRAMES;
  int8_t *out = (int8_t *)jlt_loaded.input;
  jlt_mfcc_quantise(f->ring + oldest, FRAMES - oldest, peak, grid, out);
  jlt_mfcc_quantise(f->ring, oldest, peak, grid, out + (FRAMES - oldest) * JLT_MFCC_COEFFICIENTS);
}

jlt_status_t jlt_input_pcm(const jlt_wire_pcm_t *head, const int16_t *samples, uint32_t count,
                           jlt_wire_pcm_reply_t *reply) {
  front_t *f = front();
  if (jlt_loaded.status != JLT_OK || !f || jlt_loaded.input_bytes != FRAMES * JLT_MFCC_COEFFICIENTS ||
      !grid_fits(head)) {
    return JLT_ERR_ARGUMENT;
  }
  if (!head->begin && (!front_end.begun || front_end.generation != jlt_loaded.generation)) {
    return JLT_ERR_STATE;
  }
  if (head->begin) {
    jlt_mfcc_begin(&f->mfcc);
    f->frames = 0;
    front_end.begun = true;
    front_end.generation = jlt_loaded.generation;
  }
  jlt_pcm_t pcm = {samples, count};
  while (pcm.n > 0) {
    f->frames += jlt_mfcc_take(&f->mfcc, &pcm, &f->ring[f->frames % FRAMES], 1);
  }
  const bool ready = f->frames >= FRAMES;
  if (ready) {
    const jlt_mfcc_grid_t grid = {head->multiplier, head->shift, head->zero_point};
    quantise(f, &grid);
    jlt_loaded.fed = true;
    jlt_input_arrived();
  }
  *reply = (jlt_wire_pcm_reply_t){.frames = f->frames, .ready = ready};
  return JLT_OK;
}

#else

jlt_status_t jlt_input_pcm(const jlt_wire_pcm_t *head, const int16_t *samples, uint32_t count,
                           jlt_wire_pcm_reply_t *reply) {
  (void)head;
  (void)samples;
  (void)count;
  (void)reply;
  return JLT_ERR_ABSENT;
}

#endif
