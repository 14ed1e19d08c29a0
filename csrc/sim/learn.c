// SPDX-License-Identifier: Apache-2.0
#include "sim/learn.h"

#include <math.h>
#include <string.h>

#include "core/arena.h"
#include "host/batch.h"

void jlt_sim_learn_begin(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner) {
  *learner = (jlt_sim_learner_t){.label = JLT_SIM_NO_LABEL};
  jlt_refit_reset(learning->refit);
  memcpy(learning->kept, learning->refit->state, learning->refit->state_bytes);
}

// The first of the largest, as whoever reads the answer takes it.
static uint16_t largest(const jlt_tensor_t *tensor, const uint8_t *at) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < tensor->elements; i++) {
    const bool above = tensor->dtype == JLT_DTYPE_F32
                           ? ((const float *)(const void *)at)[i] > ((const float *)(const void *)at)[best]
                           : ((const int8_t *)at)[i] > ((const int8_t *)at)[best];
    best = above ? i : best;
  }
  return (uint16_t)best;
}

jlt_status_t jlt_sim_learn_answer(const jlt_sim_learning_t *learning, uint32_t row, uint32_t sample,
                                  uint16_t *confidence_q15, uint16_t *predicted) {
  jlt_engine_t *engine = learning->engine;
  const jlt_head_t *head = &learning->refit->head;
  const jlt_container_t *c = engine->container;
  jlt_event_t event;
  jlt_status_t err = jlt_engine_restore(engine, &learning->marks[row]);
  if (err) {
    return err;
  }
  memcpy(jlt_tensor_at(engine, c->ops[head->op].inputs[0]),
         learning->features + ((uint64_t)row * learning->n_samples + sample) * head->n_features, head->n_features);
  err = jlt_host_run_to_exit(engine, head->exit, &event);
  if (err) {
    return err;
  }
  const uint16_t output = c->exits[head->exit].output;
  *confidence_q15 = event.confidence_q15;
  *predicted = largest(&c->tensors[output], jlt_tensor_at(engine, output));
  return JLT_OK;
}

void jlt_sim_learn_forget(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner) {
  learner->late += learner->label != JLT_SIM_NO_LABEL;
  learner->label = JLT_SIM_NO_LABEL;
  learning->refit->head.fresh = false;
}

void jlt_sim_learn_answered(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner, uint32_t node,
                            uint32_t sample, double now_s) {
  if (learning->refit->head.fresh) {
    learner->label = learning->taught ? learning->taught[(uint64_t)node * learning->n_samples + sample]
                                      : learning->labels[sample];
    learner->heard_s = now_s + learning->delay_s;
  }
}

void jlt_sim_learn_update(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner) {
  const jlt_status_t err = jlt_refit_update(learning->refit, learner->label);
  learner->label = JLT_SIM_NO_LABEL;
  learner->learned++;
  learner->unkept += err == JLT_OK;
  if (learning->keep_every > 0 && learner->unkept >= learning->keep_every) {
    memcpy(learning->kept, learning->refit->state, learning->refit->state_bytes);
    learner->kept_updates = learning->refit->updates;
    learner->unkept = 0;
  }
}

void jlt_sim_learn_lose(const jlt_sim_learning_t *learning, jlt_sim_learner_t *learner) {
  jlt_sim_learn_forget(learning, learner);
  learner->unkept = 0;
  memcpy(learning->refit->state, learning->kept, learning->refit->state_bytes);
  if (jlt_refit_restore(learning->refit, learner->kept_updates) != JLT_OK) {
    jlt_refit_reset(learning->refit);
  }
}

// Of the next sixteenth of a full store.
static uint32_t price(const jlt_governor_t *governor, jlt_question_t *question, double usable_j, double full_j) {
  const double top = (double)(governor->header->n_levels - 1U) * 65536.0;
  const double level = floor(usable_j / full_j * top);
  question->energy_q16 = (uint32_t)(level < top ? level : top);
  const uint32_t worth = jlt_governor_worth(governor, question);
  question->energy_q16 = (uint32_t)floor((usable_j / full_j - 0.0625) * top);
  return worth - jlt_governor_worth(governor, question);
}

bool jlt_sim_learn_is_cheap(const jlt_governor_t *governor, jlt_question_t question, double usable_j, double full_j) {
  if (usable_j < full_j / 16.0) {
    return false;
  }
  const uint32_t least = price(governor, &question, full_j, full_j);
  return price(governor, &question, usable_j, full_j) <= least + least / 16U;
}
