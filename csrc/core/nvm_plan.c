// SPDX-License-Identifier: Apache-2.0
#include "core/nvm_plan.h"

#include <string.h>

#include "core/bands.h"
#include "core/bytes.h"

typedef struct {
  uint32_t first;  // op that writes it first
  uint32_t last;   // op that uses it last; the number of ops for what is read at the end
  bool used;
} life_t;

static bool reads(const jlt_op_t *op, uint32_t tensor) {
  return (op->n_inputs > 0 && op->inputs[0] == tensor) || (op->n_inputs > 1 && op->inputs[1] == tensor);
}

static bool is_answer(const jlt_container_t *c, uint32_t tensor) {
  for (uint32_t k = 0; k < c->model->n_exits; k++) {
    if (c->exits[k].output == tensor) {
      return true;
    }
  }
  for (uint32_t i = 0; i < c->model->n_outputs; i++) {
    if (c->model->outputs[i] == tensor) {
      return true;
    }
  }
  return false;
}

// Constants and inputs are never kept; of the others, when they must be.
static life_t life_of(const jlt_container_t *c, uint32_t tensor) {
  life_t life = {0, 0, false};
  if (c->tensors[tensor].flags & (JLT_TENSOR_FLAG_CONST | JLT_TENSOR_FLAG_INPUT)) {
    return life;
  }
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    const bool writes = c->ops[i].output == tensor;
    if (writes && !life.used) {
      life.first = i;
      life.used = true;
    }
    if (writes || reads(&c->ops[i], tensor)) {
      life.last = i;
    }
  }
  for (uint32_t k = 0; life.used && k < c->model->n_exits; k++) {
    const jlt_exit_t *e = &c->exits[k];
    // the confidence is read when the exit's last op has run
    if (e->n_classes && e->logits == tensor && e->last_op > life.last) {
      life.last = e->last_op;
    }
  }
  if (life.used && is_answer(c, tensor)) {
    life.last = c->model->n_ops;
  }
  return life;
}

static bool outlives_an_exit(const jlt_container_t *c, life_t life) {
  for (uint32_t k = 0; k < c->model->n_exits; k++) {
    if (life.first <= c->exits[k].last_op && life.last > c->exits[k].last_op) {
      return true;
    }
  }
  return false;
}

static jlt_status_t check_place(const jlt_container_t *c, const jlt_nvm_plan_view_t *v, uint32_t tensor) {
  const life_t life = life_of(c, tensor);
  const uint32_t offset = v->offsets[tensor];
  if (offset == JLT_NO_OFFSET) {
    const bool kept = life.used && (v->plan->strategy != JLT_NVM_STRATEGY_RESTART_FROM_EXIT || outlives_an_exit(c, life));
    return kept ? JLT_ERR_ARENA : JLT_OK;
  }
  const bool fits = jlt_within(offset, jlt_tensor_bytes(&c->tensors[tensor]), v->plan->copy_bytes);
  return life.used && offset % 4u == 0 && fits ? JLT_OK : JLT_ERR_ARENA;
}

// What the first writer writes over is seen from the other side, as the life of what lay there.
static jlt_status_t check_life(const jlt_container_t *c, const jlt_nvm_plan_view_t *v, uint32_t tensor) {
  const life_t life = life_of(c, tensor);
  const uint32_t bytes = jlt_tensor_bytes(&c->tensors[tensor]);
  const uint64_t end = (uint64_t)life.last + v->plan->interval_ops;
  for (uint32_t i = life.first + 1u; i < c->model->n_ops && i < end; i++) {
    const uint32_t output = c->ops[i].output;
    if (output != tensor && v->offsets[output] != JLT_NO_OFFSET &&
        jlt_ranges_overlap(v->offsets[output], jlt_tensor_bytes(&c->tensors[output]), v->offsets[tensor], bytes)) {
      return JLT_ERR_OVERLAP;
    }
  }
  return JLT_OK;
}

// A band group lies in one interval, whatever the plan's aim.
static bool groups_fit(const jlt_container_t *c, uint32_t interval_ops) {
  for (uint32_t i = 0; i < c->n_bands; i++) {
    if (c->bands[i].n_ops > interval_ops) {
      return false;
    }
  }
  return true;
}

static jlt_status_t check_plan(const jlt_container_t *c, const jlt_nvm_plan_view_t *v, uint32_t nvm_bytes) {
  const jlt_nvm_plan_t *p = v->plan;
  const uint32_t copies = p->strategy == JLT_NVM_STRATEGY_IN_NVM ? 1u : 2u;
  if (p->strategy < JLT_NVM_STRATEGY_IN_NVM || p->strategy > JLT_NVM_STRATEGY_RESTART_FROM_EXIT ||
      p->copies != copies || p->interval_ops == 0 || p->copy_bytes % 4u ||
      (uint64_t)copies * p->copy_bytes != p->total_bytes) {
    return JLT_ERR_SECTION;
  }
  if (p->total_bytes > nvm_bytes) {
    return JLT_ERR_ARENA;
  }
  if (p->strategy == JLT_NVM_STRATEGY_IN_NVM && !groups_fit(c, p->interval_ops)) {
    return JLT_ERR_OVERLAP;
  }
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    if (reads(&c->ops[i], c->ops[i].output)) {
      return JLT_ERR_OVERLAP;
    }
  }
  for (uint32_t t = 0; t < c->model->n_tensors; t++) {
    const jlt_status_t err = check_place(c, v, t);
    if (err) {
      return err;
    }
  }
  for (uint32_t t = 0; t < c->model->n_tensors; t++) {
    const jlt_status_t err = v->offsets[t] == JLT_NO_OFFSET ? JLT_OK : check_life(c, v, t);
    if (err) {
      return err;
    }
  }
  return JLT_OK;
}

static bool is_named(const jlt_nvm_plan_t *plan, const char *board) {
  const size_t length = strlen(board);
  return length < sizeof(plan->name) && memcmp(plan->name, board, length) == 0 && plan->name[length] == 0;
}

jlt_status_t jlt_nvm_plan_head(const jlt_container_t *c, const char *board, const jlt_nvm_plan_t **out) {
  if (!c || !board || !out) {
    return JLT_ERR_ARGUMENT;
  }
  // bounds and checksums of sections have been checked with the container
  const jlt_header_t *header = (const jlt_header_t *)(const void *)c->base;
  const jlt_section_t *sections = (const jlt_section_t *)(header + 1);
  for (uint32_t i = 0; i < header->n_sections; i++) {
    const jlt_section_t *s = &sections[i];
    if (s->code != JLT_SECTION_NVM || s->part == 0 || !(s->flags & JLT_SECTION_FLAG_PRESENT) ||
        s->bytes < sizeof(jlt_nvm_plan_t)) {
      continue;
    }
    const jlt_nvm_plan_t *plan = (const jlt_nvm_plan_t *)(const void *)(c->base + s->offset);
    if (!is_named(plan, board)) {
      continue;
    }
    if (plan->n_tensors != c->model->n_tensors || s->bytes != sizeof(*plan) + 4u * (uint64_t)plan->n_tensors) {
      return JLT_ERR_SECTION;
    }
    *out = plan;
    return plan->strategy >= JLT_NVM_STRATEGY_IN_NVM && plan->strategy <= JLT_NVM_STRATEGY_RESTART_FROM_EXIT
               ? JLT_OK
               : JLT_ERR_SECTION;
  }
  return JLT_ERR_ABSENT;
}

jlt_status_t jlt_nvm_plan_find(const jlt_container_t *c, const char *board, uint32_t nvm_bytes,
                               jlt_nvm_plan_view_t *out) {
  const jlt_nvm_plan_t *plan = NULL;
  jlt_status_t err = out ? jlt_nvm_plan_head(c, board, &plan) : JLT_ERR_ARGUMENT;
  if (err) {
    return err;
  }
  const jlt_nvm_plan_view_t view = {plan, (const uint32_t *)(const void *)(plan + 1)};
  err = check_plan(c, &view, nvm_bytes);
  if (!err) {
    *out = view;
  }
  return err;
}
