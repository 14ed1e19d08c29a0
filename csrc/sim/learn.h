// SPDX-License-Identifier: Apache-2.0
// An exit's head fitted again while events are simulated, by the engine and the refit of core/ themselves; twin of
// runtime/engine/learner.py and of firmware/refit.c.
//
// What comes before the head was computed once: an inference is taken up where the head begins, as after a power cut.
#ifndef JLT_SIM_LEARN_H
#define JLT_SIM_LEARN_H

#include "core/governor.h"
#include "core/refit.h"
#include "joulet.h"

// What there is to learn from, and when.
typedef struct {
  jlt_engine_t *engine;   // whose head is that of `refit`
  jlt_refit_t *refit;
  const int32_t *row_of;  // (n_nodes,) row of the next two for a node at the head's exit that answers in integers; else -1
  const jlt_engine_mark_t *marks;  // (n_rows,) where the head begins
  const int8_t *features;          // (n_rows, n_samples, n_features) that it reads there
  const uint16_t *labels;          // (n_samples,)
  const uint16_t *taught;  // (n_nodes, n_samples) class that an answer there teaches, or JLT_SIM_NO_LABEL; null: labels teach
  float *kept;          // (state_bytes / 4,) the state that outlives power; written first of all
  double delay_s;       // from an answer to its label
  double surplus_v;     // of the store, from which on a label is learned; 0: by the governor's price
  double cycles;        // of one fit
  double cost_j;        // that these take from the store, at worst
  uint32_t n_samples;
  uint32_t keep_every;  // labels between two states that are kept; 0: none outlives power
} jlt_sim_learning_t;

enum { JLT_SIM_NO_LABEL = 0xFFFF };

// What is under way.
typedef struct {
  double heard_s;    // when the label that waits is heard
  uint32_t learned;  // labels, in all
  uint32_t unkept;   // since the state was kept
  uint32_t kept_updates;
  uint32_t late;     // labels whose features had gone before they were heard
  uint16_t label;    // that waits, or JLT_SIM_NO_LABEL
} jlt_sim_learner_t;

// The head as shipped; nothing waits.
void jlt_sim_learn_begin(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner);

// Answers a sample at a row's node with the head as it stands.
JLT_MUST_CHECK jlt_status_t jlt_sim_learn_answer(const jlt_sim_learning_t *learning, uint32_t row, uint32_t sample,
                                                 uint16_t *confidence_q15, uint16_t *predicted);

// A new inference begins: what the last one left is not learned from any more.
void jlt_sim_learn_forget(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner);

// An event has its last answer, at a node; what that teaches is heard after the delay.
void jlt_sim_learn_answered(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner, uint32_t node,
                            uint32_t sample, double now_s);

// Learns what waits.
void jlt_sim_learn_update(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner);

// Power has failed: what was kept last is what is known.
void jlt_sim_learn_lose(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner);

// Whether a policy's table asks for energy no more than it would out of a full store, by a sixteenth; as firmware/session.c.
// `question` has all but the energy.
bool jlt_sim_learn_is_cheap(const jlt_governor_t *governor, jlt_question_t question, double usable_j, double full_j);

#endif
