// SPDX-License-Identifier: Apache-2.0
// Whole batches in one call, for hosts. Not part of a firmware image.
#include "host/batch.h"

#include <string.h>

static bool is_unsigned(const jlt_tensor_t *tensor) { return (tensor->flags & JLT_TENSOR_FLAG_BORDER_U8) != 0; }

// q + 128 read as unsigned is q with its sign bit flipped.
static void flip_sign_bits(uint8_t *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    bytes[i] ^= 0x80U;
  }
}

jlt_status_t jlt_host_write(jlt_engine_t *engine, uint16_t input, const void *from, uint8_t *staging) {
  const jlt_tensor_t *tensor = &engine->container->tensors[engine->container->model->inputs[input]];
  uint32_t bytes = jlt_tensor_bytes(tensor);
  if (!is_unsigned(tensor)) {
    return jlt_engine_write(engine, input, from, bytes);
  }
  memcpy(staging, from, bytes);
  flip_sign_bits(staging, bytes);
  return jlt_engine_write(engine, input, staging, bytes);
}

jlt_status_t jlt_host_read(const jlt_engine_t *engine, uint16_t tensor, void *to) {
  const jlt_tensor_t *record = &engine->container->tensors[tensor];
  uint32_t bytes = jlt_tensor_bytes(record);
  jlt_status_t err = jlt_engine_read(engine, tensor, to, bytes);
  if (err == JLT_OK && is_unsigned(record)) {
    flip_sign_bits(to, bytes);
  }
  return err;
}

jlt_status_t jlt_host_run_to_exit(jlt_engine_t *engine, uint8_t exit, jlt_event_t *event) {
  jlt_status_t err;
  do {
    err = jlt_engine_step(engine, exit, event);
  } while (err == JLT_OK && event->kind != JLT_EVENT_EXIT);
  return err;
}

static jlt_status_t write_inputs(jlt_engine_t *engine, const jlt_batch_t *batch, uint32_t sample) {
  const jlt_model_t *model = engine->container->model;
  for (uint16_t i = 0; i < model->n_inputs; i++) {
    size_t bytes = jlt_tensor_bytes(&engine->container->tensors[model->inputs[i]]);
    const uint8_t *from = (const uint8_t *)batch->inputs[i] + (size_t)sample * bytes;
    jlt_status_t err = jlt_host_write(engine, i, from, batch->staging);
    if (err) {
      return err;
    }
  }
  return JLT_OK;
}

static jlt_status_t read_outputs(const jlt_engine_t *engine, const jlt_batch_t *batch, uint32_t sample, uint8_t exit) {
  const jlt_container_t *container = engine->container;
  const jlt_model_t *model = container->model;
  bool is_last = exit + 1U == model->n_exits;
  for (uint16_t i = 0; i < model->n_outputs; i++) {
    size_t bytes = jlt_tensor_bytes(&container->tensors[model->outputs[i]]);
    uint8_t *to = (uint8_t *)batch->outputs[i] + (size_t)sample * bytes;
    if (!is_last && i > 0) {
      memset(to, 0, bytes);
      continue;
    }
    jlt_status_t err = jlt_host_read(engine, is_last ? model->outputs[i] : container->exits[exit].output, to);
    if (err) {
      return err;
    }
  }
  return JLT_OK;
}

// From the first exit on, until the confidence reaches the path's threshold; the last exit always answers.
static jlt_status_t run_auto(jlt_engine_t *engine, uint16_t path, jlt_event_t *event) {
  uint8_t n_exits = (uint8_t)engine->container->model->n_exits;
  for (uint8_t exit = 0; exit < n_exits; exit++) {
    jlt_status_t err = jlt_host_run_to_exit(engine, exit, event);
    if (err) {
      return err;
    }
    if (event->confidence_q15 >= engine->container->paths[path].auto_threshold_q15[exit]) {
      return JLT_OK;
    }
  }
  return JLT_OK;
}

jlt_status_t jlt_host_infer_batch(jlt_engine_t *engine, const jlt_batch_t *batch) {
  if (batch->path >= engine->container->model->n_paths || batch->depth >= (int)engine->container->model->n_exits) {
    return JLT_ERR_ARGUMENT;
  }
  for (uint32_t sample = 0; sample < batch->n; sample++) {
    jlt_event_t event = {0};
    jlt_status_t err = jlt_engine_start(engine, batch->path);
    if (err == JLT_OK) {
      err = write_inputs(engine, batch, sample);
    }
    if (err == JLT_OK) {
      err = batch->depth == JLT_DEPTH_AUTO ? run_auto(engine, batch->path, &event)
                                           : jlt_host_run_to_exit(engine, (uint8_t)batch->depth, &event);
    }
    if (err == JLT_OK) {
      err = read_outputs(engine, batch, sample, event.exit);
    }
    if (err) {
      return err;
    }
    batch->exits[sample] = event.exit;
    batch->confidences_q15[sample] = event.confidence_q15;
    batch->macs[sample] = event.macs;
  }
  return JLT_OK;
}
