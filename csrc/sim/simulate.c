// SPDX-License-Identifier: Apache-2.0
#include "sim/simulate.h"

#include <math.h>
#include <string.h>

typedef struct {
  uint32_t index;
  double energy_j;
  int32_t path;  // of the running inference; -1 before a start
  int32_t exit;
  int32_t node;
  int32_t bin;
  uint16_t confidence_q15;
} event_t;

typedef struct {
  const jlt_sim_model_t *model;
  const jlt_sim_events_t *events;
  const jlt_sim_policy_t *policy;
  jlt_sim_result_t *result;
  jlt_sim_world_t *world;
  uint32_t arrived;
  event_t waiting[JLT_SIM_WAITING_LIMIT];
  uint32_t n_waiting;
  jlt_harvest_mean_t mean;
  double counted_j;   // by the energy counter since it was last read: drawn, and foretold by the cost table
  double foretold_j;
  double reading;     // NaN without one
  int32_t readings;
  const jlt_sim_learning_t *learning;
  bool failed;
} loop_t;

/// Outcomes ///

// splitmix64: every draw depends on event and exit alone, so that all policies meet the same luck.
static double draw(uint64_t seed, uint32_t event, uint32_t exit) {
  uint64_t z = seed + 0x9E3779B97F4A7C15U * ((uint64_t)event * JLT_SIM_EXITS_LIMIT + exit + 1U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

// The exit's head learns: it answers as it stands.
static float answer_anew(loop_t *loop, event_t *event, uint32_t row, uint32_t sample) {
  uint16_t predicted = 0;
  if (jlt_sim_learn_answer(loop->learning, row, sample, &event->confidence_q15, &predicted) != JLT_OK) {
    loop->failed = true;
  }
  return predicted == loop->learning->labels[sample] ? 1.0F : 0.0F;
}

static void reach(loop_t *loop, event_t *event, int32_t path, int32_t exit) {
  const jlt_sim_model_t *model = loop->model;
  const int32_t node = model->node_of[(uint32_t)path * model->n_exits + (uint32_t)exit];
  float value;
  if (model->n_samples != 0) {
    const uint64_t at = (uint64_t)node * model->n_samples + loop->events->sample[event->index];
    event->confidence_q15 = model->confidence_q15[at];
    value = model->correct[at] != 0 ? 1.0F : 0.0F;
    if (loop->learning && loop->learning->row_of[node] >= 0) {
      value = answer_anew(loop, event, (uint32_t)loop->learning->row_of[node], loop->events->sample[event->index]);
    }
  } else {
    const int32_t link = model->link_of[(uint32_t)(event->node + 1) * model->n_nodes + (uint32_t)node];
    const float *row = model->transition + ((uint64_t)link * model->n_bins + (uint32_t)event->bin) * model->n_bins;
    const double luck = draw(model->seed, event->index, (uint32_t)exit);
    double sum = (double)row[0];
    uint32_t bin = 0;
    while (bin + 1U < model->n_bins && luck >= sum) {
      sum += (double)row[++bin];
    }
    const uint64_t at = (uint64_t)node * model->n_bins + bin;
    event->bin = (int32_t)bin;
    event->confidence_q15 = model->confidence_q15[at];
    value = model->accuracy[at];
  }
  event->node = node;
  event->path = path;
  event->exit = exit;
  loop->result->path[event->index] = (int8_t)path;
  loop->result->exit[event->index] = (int8_t)exit;
  loop->result->value[event->index] = value;
  loop->result->confidence_q15[event->index] = event->confidence_q15;
}

/// Events ///

static double arrival_s(const loop_t *loop, const event_t *event) { return loop->events->event_s[event->index]; }

static bool more_by(const loop_t *loop, double upto_s) {
  return loop->arrived < loop->events->n_events && loop->events->event_s[loop->arrived] <= upto_s;
}

static void end_oldest(loop_t *loop, uint8_t status) {
  loop->result->status[loop->waiting[0].index] = status;
  loop->n_waiting--;
  memmove(loop->waiting, loop->waiting + 1, loop->n_waiting * sizeof(event_t));
}

// What arrived before a cut waits in RAM too, and goes with it.
static void lose_waiting(loop_t *loop) {
  loop->counted_j = 0.0;
  loop->foretold_j = 0.0;
  loop->reading = NAN;
  if (loop->learning) {
    jlt_sim_learn_lose(loop->learning, &loop->result->learner);
  }
  while (more_by(loop, loop->world->now_s)) {
    loop->result->stored_j[loop->arrived] = (float)loop->world->held.energy_j;
    loop->result->status[loop->arrived++] = JLT_SIM_LOST;
  }
  while (loop->n_waiting > 0) {
    end_oldest(loop, JLT_SIM_LOST);
  }
}

static bool spend(loop_t *loop, uint32_t load, double duration_s, uint32_t account, event_t *event) {
  const bool alive = jlt_sim_advance(loop->world, loop->world->now_s + duration_s, load, account, INFINITY);
  event->energy_j += loop->world->last_drawn_j;
  if (!alive) {
    lose_waiting(loop);
  }
  return alive;
}

static void nap(loop_t *loop, double until_s, double wake_v) {
  if (!jlt_sim_advance(loop->world, until_s, JLT_SIM_LOAD_SLEEP, JLT_ACCOUNT_SLEEP, wake_v)) {
    lose_waiting(loop);
  }
}

// Lets all events up to now happen; what arrives while samples are taken is for the next time.
static void take_in(loop_t *loop) {
  const double upto_s = loop->world->now_s;
  while (more_by(loop, upto_s)) {
    const uint32_t index = loop->arrived++;
    loop->result->stored_j[index] = (float)loop->world->held.energy_j;
    if (!loop->world->powered) {
      loop->result->status[index] = JLT_SIM_MISSED;
      continue;
    }
    loop->waiting[loop->n_waiting++] = (event_t){.index = index, .path = -1, .exit = -1, .node = -1};
    if (loop->n_waiting > loop->events->queue) {
      end_oldest(loop, JLT_SIM_DROPPED);
    }
    if (loop->events->sensing_s > 0.0) {
      (void)spend(loop, JLT_SIM_LOAD_SENSE, loop->events->sensing_s, JLT_ACCOUNT_SENSING,
                  &loop->waiting[loop->n_waiting - 1U]);
    }
  }
  while (loop->n_waiting > 0 && loop->world->now_s > arrival_s(loop, &loop->waiting[0]) + loop->events->deadline_s) {
    end_oldest(loop, JLT_SIM_EXPIRED);
  }
}

/// Decisions ///

static double full_j(const jlt_sim_supply_t *supply) { return supply->storage.full_j - supply->off_j; }

static jlt_sim_observation_t observe(loop_t *loop, const event_t *event, uint32_t backlog) {
  jlt_sim_world_t *world = loop->world;
  const double now_s = world->now_s;
  return (jlt_sim_observation_t){
      .time_s = now_s,
      .store_voltage_v = world->held.voltage_v,
      .usable_j = jlt_sim_usable_j(world),
      .full_j = full_j(world->supply),
      .harvest_w = jlt_sim_output_w(world),
      .deadline_left_s = arrival_s(loop, event) + loop->events->deadline_s - now_s,
      .spent_j = event->energy_j,
      .delivered_j = world->delivered_j,
      .energy_ratio = loop->reading,
      .slot = (int32_t)(fmod(now_s + loop->events->clock_start_s, 86400.0) / 1800.0),
      .backlog = (int32_t)backlog,
      .path = event->path,
      .exit = event->exit,
      .confidence_q15 = event->path < 0 ? -1 : (int32_t)event->confidence_q15,
      .event = (int32_t)event->index,
      .readings = loop->readings,
  };
}

static const jlt_governor_t *governor_at(const loop_t *loop, double time_s) {
  const double fold_s = loop->policy->fold_s;
  return loop->policy->governor[fold_s > 0.0 ? (uint32_t)fmod(floor(time_s / fold_s), 2.0) : 0U];
}

static double held(double value, double low, double high) { return value < low ? low : value > high ? high : value; }

// How a board would ask its governor.
static void ask_governor(loop_t *loop, const jlt_sim_observation_t *seen, jlt_sim_decision_t *decision) {
  const jlt_governor_t *governor = governor_at(loop, seen->time_s);
  const double top = (double)(governor->header->n_levels - 1U) * 65536.0;
  jlt_harvest_mean_take(&loop->mean, governor, (uint64_t)(seen->time_s * 1e6), (int64_t)floor(seen->delivered_j * 1e9),
                        (uint32_t)held(seen->harvest_w * 1e9, 0.0, 2147483647.0));
  const jlt_question_t question = {
      .energy_q16 = (uint32_t)held(floor(seen->usable_j / seen->full_j * top), 0.0, top),
      .harvest_nw = loop->mean.mean_nw,
      .slow_nw = loop->mean.slow_nw,
      .deadline_left_us = (uint32_t)held(floor(seen->deadline_left_s * 1e6), 0.0, 4294967295.0),
      .confidence_q15 = (uint16_t)(seen->exit < 0 ? 0 : seen->confidence_q15),
      .half_hour = (uint8_t)seen->slot,
      .path = (uint8_t)(seen->exit < 0 ? 0 : seen->path),
      .exit = (uint8_t)(seen->exit < 0 ? 0 : seen->exit),
      .at_exit = seen->exit >= 0,
  };
  const jlt_answer_t answer = jlt_governor_decide(governor, &question);
  const bool waits = answer.action == JLT_ANSWER_DEFER && answer.wake_q16 > 0U;
  *decision = (jlt_sim_decision_t){
      .action = answer.action,
      .path = answer.path,
      .exit = answer.exit,
      .wake_j = waits ? (double)answer.wake_q16 / top * seen->full_j : -1.0,
  };
}

static bool shares(const jlt_sim_model_t *model, int32_t path, int32_t other, int32_t exit) {
  return model->node_of[(uint32_t)path * model->n_exits + (uint32_t)exit] ==
         model->node_of[(uint32_t)other * model->n_exits + (uint32_t)exit];
}

// As joulet.policies.seam.fault.
static bool legal(const loop_t *loop, const event_t *event, const jlt_sim_decision_t *decision) {
  const jlt_sim_model_t *model = loop->model;
  const int32_t n_paths = (int32_t)model->n_paths;
  const int32_t n_exits = (int32_t)model->n_exits;
  const bool exit_fits = decision->exit == -1 || (decision->exit > event->exit && decision->exit < n_exits);
  if (event->exit < 0) {
    const bool starts = decision->action == JLT_SIM_START;
    return (starts || decision->action == JLT_SIM_OFF || decision->action == JLT_SIM_DEFER) &&
           (!starts || (decision->path >= 0 && decision->path < n_paths && exit_fits));
  }
  if (decision->action == JLT_SIM_STOP) {
    return true;
  }
  return decision->action == JLT_SIM_CONTINUE && event->exit < n_exits - 1 && exit_fits && decision->path < n_paths &&
         (decision->path == -1 || shares(model, decision->path, event->path, event->exit));
}

// Reads the energy counter and pays for it; false after a brown-out.
static bool read_counter(loop_t *loop, event_t *event) {
  loop->reading = NAN;
  if (loop->foretold_j > 0.0) {
    loop->reading = loop->counted_j / loop->foretold_j;
    loop->readings++;
    loop->counted_j = 0.0;
    loop->foretold_j = 0.0;
  }
  const double reading_s = loop->events->reading_s;
  return reading_s <= 0.0 || spend(loop, JLT_SIM_LOAD_READ, reading_s, JLT_ACCOUNT_POLICY, event);
}

// Asks and pays; false after a brown-out, or when the run has failed.
static bool ask(loop_t *loop, event_t *event, uint32_t backlog, jlt_sim_decision_t *decision) {
  const jlt_sim_observation_t seen = observe(loop, event, backlog);
  loop->reading = NAN;
  *decision = (jlt_sim_decision_t){.action = JLT_SIM_STOP, .path = -1, .exit = -1, .wake_j = -1.0};
  if (loop->policy->decide == NULL) {
    ask_governor(loop, &seen, decision);
  } else if (loop->policy->decide(loop->policy->handle, &seen, decision) != 0) {
    loop->failed = true;
    return false;
  }
  if (!legal(loop, event, decision)) {
    loop->failed = true;
    loop->result->bad_event = (int32_t)event->index;
    loop->result->bad = *decision;
    return false;
  }
  loop->result->decisions++;
  const double seconds = loop->events->decision_cycles / loop->events->clock_hz;
  return spend(loop, JLT_SIM_LOAD_RUN, seconds, JLT_ACCOUNT_POLICY, event) &&
         (decision->read == 0 || read_counter(loop, event));
}

/// Inference ///

static double step_of(const loop_t *loop, const double *table, int32_t path, int32_t reached, int32_t exit) {
  const uint32_t n_exits = loop->model->n_exits;
  return table[((uint32_t)path * (n_exits + 1U) + (uint32_t)(reached + 1)) * n_exits + (uint32_t)exit];
}

static bool step(loop_t *loop, event_t *event, int32_t path, int32_t reached, int32_t exit) {
  const double cycles = step_of(loop, loop->model->cycles, path, reached, exit) +
                        (reached < 0 ? loop->events->wake_cycles : 0.0);
  const double seconds = cycles / loop->events->clock_hz;
  const bool alive = spend(loop, JLT_SIM_LOAD_RUN, seconds, JLT_ACCOUNTS, event);
  jlt_sim_post(loop->world, alive ? JLT_ACCOUNT_COMPUTE : JLT_ACCOUNT_ABANDONED, loop->world->last_drawn_j);
  if (alive) {
    loop->counted_j += loop->world->last_drawn_j;
    loop->foretold_j += loop->events->run_w * seconds;
  }
  return alive;
}

static void infer(loop_t *loop, event_t *event, int32_t path, int32_t exit) {
  const int32_t last = (int32_t)loop->model->n_exits - 1;
  double end_s = 0.0;
  double macs = 0.0;
  double bit_macs = 0.0;
  int32_t reached = -1;
  if (loop->learning) {
    jlt_sim_learn_forget(loop->learning, &loop->result->learner);
  }
  for (;;) {
    if (!step(loop, event, path, reached, exit)) {
      loop->result->cut++;
      break;
    }
    macs += step_of(loop, loop->model->macs, path, reached, exit);
    bit_macs += step_of(loop, loop->model->bit_macs, path, reached, exit);
    reached = exit;
    end_s = loop->world->now_s;
    reach(loop, event, path, exit);
    if (reached == last) {
      break;
    }
    jlt_sim_decision_t decision;
    if (!ask(loop, event, 1U + loop->n_waiting, &decision)) {
      loop->result->cut += loop->failed ? 0U : 1U;
      break;
    }
    if (decision.action == JLT_SIM_STOP) {
      break;
    }
    path = decision.path < 0 ? path : decision.path;
    exit = decision.exit < 0 ? reached + 1 : decision.exit;
  }
  if (reached < 0) {
    loop->result->status[event->index] = JLT_SIM_LOST;
    return;
  }
  loop->result->macs += macs;
  loop->result->bit_macs += bit_macs;
  loop->result->latency_s[event->index] = (float)(end_s - arrival_s(loop, event));
  loop->result->status[event->index] =
      end_s <= arrival_s(loop, event) + loop->events->deadline_s ? JLT_SIM_ON_TIME : JLT_SIM_LATE;
  if (loop->learning && loop->world->powered) {
    jlt_sim_learn_answered(loop->learning, &loop->result->learner, (uint32_t)event->node,
                           loop->events->sample[event->index], loop->world->now_s);
  }
}

// Sleeps until something changes: energy, the next event, the deadline, or a quarter of the deadline.
static void defer(loop_t *loop, const event_t *event, double next_s, double wake_j) {
  jlt_sim_world_t *world = loop->world;
  const double expiry_s = nextafter(arrival_s(loop, event) + loop->events->deadline_s, INFINITY);
  const double quarter_s = loop->events->deadline_s / 4.0;
  const double pace_s = world->now_s + (quarter_s > 1e-3 ? quarter_s : 1e-3);
  const jlt_sim_supply_t *supply = world->supply;
  const bool waits = wake_j >= 0.0 && jlt_sim_usable_j(world) < wake_j && wake_j < full_j(supply) * (1.0 - 1e-6);
  double until_s = next_s < expiry_s ? next_s : expiry_s;
  if (!waits) {
    until_s = until_s < pace_s ? until_s : pace_s;
  }
  const double before_s = world->now_s;
  // a hair more than asked: woken exactly at it, rounding could find it just short and ask for ever
  const double hair_j = (supply->off_j + wake_j) * (1.0 + 1e-9);
  nap(loop, until_s, waits ? jlt_sim_voltage_at_v(&supply->storage, hair_j) : INFINITY);
  if (world->now_s == before_s && world->powered) {
    nap(loop, next_s < pace_s ? next_s : pace_s, INFINITY);
  }
}

static void serve(loop_t *loop, double next_s) {
  event_t event = loop->waiting[0];
  const double decision_j = loop->events->decision_j;
  if (loop->events->guard && loop->world->supply->storage.esr_ohm > 0.0 &&
      jlt_sim_usable_j(loop->world) < 2.0 * decision_j) {
    // through series resistance, asking alone would pull the terminal down to brown-out
    defer(loop, &event, next_s, 4.0 * decision_j);
    return;
  }
  jlt_sim_decision_t decision;
  if (!ask(loop, &event, loop->n_waiting, &decision)) {
    return;
  }
  loop->waiting[0].energy_j = event.energy_j;
  if (decision.action == JLT_SIM_OFF) {
    while (loop->n_waiting > 0) {
      end_oldest(loop, JLT_SIM_DROPPED);
    }
    return;
  }
  double wake_j = decision.wake_j;
  if (decision.action == JLT_SIM_START) {
    const int32_t exit = decision.exit < 0 ? 0 : decision.exit;
    const double cycles =
        step_of(loop, loop->model->cycles, decision.path, -1, exit) + loop->events->wake_cycles;
    const double need_j = cycles * loop->events->cycle_j;
    if (!loop->events->guard || jlt_sim_usable_j(loop->world) >= need_j) {
      end_oldest(loop, JLT_SIM_PENDING);
      infer(loop, &event, decision.path, exit);
      return;
    }
    // asking again has its price too: woken at need_j itself, the board would ask, fall short, and ask for ever
    wake_j = 1.02 * need_j + loop->events->retry_j;
  }
  defer(loop, &event, next_s, wake_j);
}

/// Learning ///

static bool in_surplus(const loop_t *loop) {
  const jlt_sim_world_t *world = loop->world;
  const double usable_j = jlt_sim_usable_j(world);
  if (usable_j < 2.0 * loop->learning->cost_j) {
    return false;
  }
  if (loop->learning->surplus_v > 0.0) {
    return world->held.voltage_v >= loop->learning->surplus_v;
  }
  const double day_s = fmod(world->now_s + loop->events->clock_start_s, 86400.0);
  const jlt_question_t question = {
      .harvest_nw = loop->mean.mean_nw,
      .slow_nw = loop->mean.slow_nw,
      .half_hour = (uint8_t)(day_s / 1800.0),
  };
  return jlt_sim_learn_is_cheap(governor_at(loop, world->now_s), question, usable_j, full_j(world->supply));
}

// Nothing waits: fits the head where a label has been heard and there is energy to spare, else sleeps.
static void rest(loop_t *loop, double until_s) {
  const jlt_sim_learning_t *learning = loop->learning;
  jlt_sim_learner_t *learner = &loop->result->learner;
  const double now_s = loop->world->now_s;
  if (!learning || learner->label == JLT_SIM_NO_LABEL) {
    nap(loop, until_s, INFINITY);
    return;
  }
  if (now_s < learner->heard_s || !in_surplus(loop)) {
    // another look soon, at the pace at which a deferred event is looked at
    const double look_s = now_s < learner->heard_s ? learner->heard_s : now_s + loop->events->deadline_s / 4.0 + 1e-3;
    nap(loop, until_s < look_s ? until_s : look_s, INFINITY);
    return;
  }
  const double end_s = now_s + learning->cycles / loop->events->clock_hz;
  if (jlt_sim_advance(loop->world, end_s, JLT_SIM_LOAD_RUN, JLT_ACCOUNT_REFIT, INFINITY)) {
    jlt_sim_learn_update(learning, learner);
  } else {
    lose_waiting(loop);
  }
}

/// The loop ///

static bool fits(const jlt_sim_model_t *model, const jlt_sim_events_t *events, const jlt_sim_policy_t *policy) {
  const bool governed = policy->governor[0] != NULL && (policy->fold_s <= 0.0 || policy->governor[1] != NULL);
  return events->queue >= 1 && events->queue < JLT_SIM_WAITING_LIMIT && model->n_exits >= 1 &&
         model->n_exits <= JLT_SIM_EXITS_LIMIT && model->n_paths >= 1 && (policy->decide != NULL || governed) &&
         (!policy->learning || (model->n_samples > 0 && (policy->learning->surplus_v > 0.0 || !policy->decide)));
}

jlt_status_t jlt_sim_run(const jlt_sim_supply_t *supply, const jlt_sim_model_t *model, const jlt_sim_events_t *events,
                         const jlt_sim_policy_t *policy, jlt_sim_result_t *result) {
  if (!fits(model, events, policy)) {
    return JLT_ERR_ARGUMENT;
  }
  loop_t loop = {.model = model, .events = events, .policy = policy, .result = result, .world = &result->world};
  loop.reading = NAN;
  loop.learning = policy->learning;
  if (loop.learning) {
    jlt_sim_learn_begin(loop.learning, &result->learner);
  }
  jlt_sim_world_begin(loop.world, supply);
  result->bad_event = -1;
  for (;;) {
    take_in(&loop);
    const double now_s = loop.world->now_s;
    if (now_s >= events->duration_s || loop.failed) {
      break;
    }
    double next_s = loop.arrived < events->n_events ? events->event_s[loop.arrived] : events->duration_s;
    next_s = next_s < events->duration_s ? next_s : events->duration_s;
    if (!loop.world->powered) {
      jlt_sim_wait_for_power(loop.world, next_s);
    } else if (loop.n_waiting == 0) {
      rest(&loop, next_s);
    } else {
      serve(&loop, next_s);
    }
  }
  return loop.failed ? JLT_ERR_ARGUMENT : JLT_OK;
}
