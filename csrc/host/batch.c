// SPDX-License-Identifier: Apache-2.0
// Batches for hosts: uint8 borders, the depth rule, one status for all.
#include "host/batch.h"

#include <string.h>

static void flip_border(uint8_t *bytes, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    bytes[i] ^= 0x80u;
  }
}

static bool has_u8_border(const jlt_tensor_t *tensor) { return (tensor->flags & JLT_TENSOR_FLAG_BORDER_U8) != 0; }

jlt_status_t jlt_host_write(jlt_engine_t *engine, uint16_t input, const uint8_t *from) {
  const jlt_container_t *c = engine->container;
  const jlt_tensor_t *t = &c->tensors[c->model->inputs[input]];
  if (!has_u8_border(t)) {
    return jlt_engine_write(engine, input, from, jlt_tensor_bytes(t));
  }
  if (!engine->started || engine->entered) {
    return JLT_ERR_STATE;
  }
  // q_u8 − 128 is q_u8 with its top bit flipped
  uint8_t *to = engine->arena + (size_t)c->arena_offsets[c->model->inputs[input]] * (engine->is_f32 ? 4u : 1u);
  if (!engine->is_f32) {
    for (uint32_t i = 0; i < t->elements; i++) {
      to[i] = from[i] ^ 0x80u;
    }
    return JLT_OK;
  }
  float *real = (float *)(void *)to;
  for (uint32_t i = 0; i < t->elements; i++) {
    real[i] = t->scale * (float)((int32_t)from[i] - 128 - t->zero_point);
  }
  return JLT_OK;
}

static jlt_status_t read_out(const jlt_engine_t *engine, uint16_t tensor, uint8_t *to) {
  const jlt_tensor_t *t = &engine->container->tensors[tensor];
  const jlt_status_t err = jlt_engine_read(engine, tensor, to, jlt_tensor_bytes(t));
  if (!err && has_u8_border(&engine->container->tensors[engine->container->model->outputs[0]]) &&
      t->dtype == JLT_DTYPE_S8) {
    flip_border(to, t->elements);
  }
  return err;
}

jlt_status_t jlt_host_answer(const jlt_engine_t *engine, uint8_t exit, uint8_t *to) {
  return read_out(engine, engine->container->exits[exit].output, to);
}

jlt_status_t jlt_host_run_to_exit(jlt_engine_t *engine, uint8_t exit, jlt_event_t *event) {
  do {
    const jlt_status_t err = jlt_engine_step(engine, exit, event);
    if (err) {
      return err;
    }
  } while (event->kind != JLT_EVENT_EXIT);
  return JLT_OK;
}

static jlt_status_t run_sample(jlt_engine_t *engine, const jlt_host_call_t *call, jlt_event_t *event) {
  const jlt_container_t *c = engine->container;
  const uint8_t last = (uint8_t)(c->model->n_exits - 1u);
  if (call->depth != JLT_DEPTH_AUTO) {
    const uint8_t exit = call->depth == JLT_DEPTH_LAST ? last : (uint8_t)call->depth;
    return jlt_host_run_to_exit(engine, exit, event);
  }
  for (uint8_t exit = 0;; exit++) {
    const jlt_status_t err = jlt_host_run_to_exit(engine, exit, event);
    if (err || exit == last || event->confidence_q15 >= c->paths[call->path].auto_threshold_q15[exit]) {
      return err;
    }
  }
}

static jlt_status_t write_inputs(jlt_engine_t *engine, const jlt_host_call_t *call, uint64_t sample) {
  const jlt_container_t *c = engine->container;
  for (uint16_t i = 0; i < c->model->n_inputs; i++) {
    const uint32_t bytes = jlt_tensor_bytes(&c->tensors[c->model->inputs[i]]);
    const jlt_status_t err = jlt_host_write(engine, i, call->inputs[i] + sample * bytes);
    if (err) {
      return err;
    }
  }
  return JLT_OK;
}

static jlt_status_t read_outputs(const jlt_engine_t *engine, const jlt_host_call_t *call, uint64_t sample,
                                 uint8_t exit) {
  const jlt_container_t *c = engine->container;
  const uint32_t answer_bytes = jlt_tensor_bytes(&c->tensors[c->model->outputs[0]]);
  const jlt_status_t err = jlt_host_answer(engine, exit, call->outputs[0] + sample * answer_bytes);
  if (err) {
    return err;
  }
  for (uint32_t i = 1; i < c->model->n_outputs; i++) {
    const uint16_t tensor = c->model->outputs[i];
    const jlt_tensor_t *t = &c->tensors[tensor];
    const uint32_t bytes = jlt_tensor_bytes(t);
    uint8_t *to = call->outputs[i] + sample * bytes;
    if (exit + 1u < c->model->n_exits) {
      memset(to, 0, bytes);
      continue;
    }
    const jlt_status_t read_err = jlt_engine_read(engine, tensor, to, bytes);
    if (read_err) {
      return read_err;
    }
    if (has_u8_border(t)) {
      flip_border(to, bytes);
    }
  }
  return JLT_OK;
}

jlt_status_t jlt_host_infer_batch(jlt_engine_t *engine, const jlt_host_call_t *call) {
  if (call->depth >= (int32_t)engine->container->model->n_exits || call->depth < JLT_DEPTH_AUTO) {
    return JLT_ERR_ARGUMENT;
  }
  for (uint64_t sample = 0; sample < call->samples; sample++) {
    jlt_event_t event;
    jlt_status_t err = jlt_engine_start(engine, call->path);
    if (!err) {
      err = write_inputs(engine, call, sample);
    }
    if (!err) {
      err = run_sample(engine, call, &event);
    }
    if (!err) {
      err = read_outputs(engine, call, sample, event.exit);
    }
    if (err) {
      return err;
    }
    call->exits[sample] = event.exit;
    call->confidences_q15[sample] = event.confidence_q15;
    call->macs[sample] = event.macs;
  }
  return JLT_OK;
}
