// SPDX-License-Identifier: Apache-2.0
// Queue of one, the newest wins.
#include "session.h"

#include <string.h>

#include "board.h"
#include "clock.h"
#include "console.h"
#include "energy.h"
#include "input.h"
#include "journal.h"
#include "model.h"
#include "port.h"
#include "refit.h"
#include "sender.h"
#include "store.h"
#include "surplus.h"
#include "survive.h"

enum { CAP_PARTS = 32 };  // tiles of a capped inference
enum { EVERY_EXIT = 0x100 };  // of fixed_exit: the exits before it answer too
enum { FIRST_US = 1000, REST_US = 5000 };
#define NOTHING UINT32_MAX

static struct {
  const jlt_wire_session_t *plan;
  const jlt_input_driver_t *input;
  jlt_inference_t inference;  // that runs, or ran last
  uint32_t seen;              // events that have happened
  uint32_t waiting;           // index, or NOTHING
  uint64_t interval_ticks;    // of computing between two commits
  uint64_t cap_ticks;         // that an inference may take; UINT64_MAX: any
  bool inferring;
  bool running;
} session;

static void say(const char *text) { jlt_sender_tell(JLT_WIRE_MESSAGE_LOG, text, (uint16_t)strlen(text)); }

/// Events ///

static uint64_t arrival_us(uint32_t index) { return (uint64_t)index * session.plan->period_us; }

static uint32_t happened(uint64_t now) {
  const uint64_t until = now < session.plan->end_us ? now : session.plan->end_us - 1u;
  return (uint32_t)(until / session.plan->period_us) + 1u;
}

static void commit(uint8_t status) {
  jlt_mark(JLT_PHASE_COMMIT);
  session.inference.event.status = status;
  (void)jlt_journal_append(&session.inference.event);
  jlt_mark(JLT_PHASE_IDLE);
  jlt_sender_tell(JLT_WIRE_MESSAGE_EVENT, &session.inference.event, sizeof(session.inference.event));
}

static void take_in(uint64_t now) {
  const uint32_t count = happened(now);
  if (count > session.seen) {
    session.seen = count;
    session.waiting = count - 1u;
  }
  if (session.waiting != NOTHING && now > arrival_us(session.waiting) + session.plan->deadline_us) {
    session.waiting = NOTHING;
  }
}

// Nothing is under way any more.
static void forget(void) {
  session.inferring = false;
  jlt_survive_end();
}

static void finish(void) {
  commit(JLT_WIRE_EVENT_STATUS_ANSWERED);
#if JLT_WITH_REFIT
  jlt_refit_answered(&session.inference.event);
#endif
  forget();
}

// No more is spent on it: what has been answered stands.
static void stop_here(void) {
  if (session.inference.event.exit != 255u) {
    finish();
  } else {
    session.inference.event.end_us = jlt_now_us();
    commit(JLT_WIRE_EVENT_STATUS_DROPPED);
    forget();
  }
}

/// Decisions ///

// To the deadline of the event that is decided about.
static uint32_t left_us(uint64_t now) {
  const uint64_t deadline = arrival_us(session.inference.event.index) + session.plan->deadline_us;
  const uint64_t left = deadline > now ? deadline - now : 0u;
  return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

static jlt_answer_t ask(uint64_t *usable, bool at_exit) {
  jlt_mark(JLT_PHASE_DECIDE);
  const uint64_t now = jlt_now_us();
  jlt_question_t question;
  *usable = jlt_energy_usable_fj();
  jlt_energy_follow(*usable, now);
  jlt_energy_question(&question, jlt_energy_level_q16(*usable), now);
  question.deadline_left_us = left_us(now);
  if (at_exit) {
    question.at_exit = true;
    question.path = (uint8_t)session.inference.event.path;
    question.exit = session.inference.event.exit;
    question.confidence_q15 = session.inference.event.confidence_q15;
  }
  session.inference.event.decisions++;
  const jlt_answer_t answer = jlt_governor_decide(&jlt_loaded.governor, &question);
  jlt_mark(JLT_PHASE_IDLE);
  (void)jlt_energy_book(JLT_ACCOUNT_POLICY);
  return answer;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static bool is_capped(void) { return session.cap_ticks != UINT64_MAX; }

/// An inference ///

static void begin(uint16_t path, uint8_t exit) {
  const uint8_t *sample = session.input->sample(session.inference.event.sample);
  session.waiting = NOTHING;
  session.inference.event.start_us = jlt_now_us();
  session.inference.event.path = path;
  session.inference.target = exit;
  session.inference.spent_ticks = 0;
  session.inferring = sample && jlt_model_start(path, sample) == JLT_OK;
  if (session.inferring) {
    jlt_survive_begin(&session.inference);
  }
}

static void at_exit(const jlt_wire_reached_t *reached, uint64_t now) {
  session.inference.event.end_us = now;
  session.inference.event.cycles = reached->cycles;
  session.inference.event.confidence_q15 = reached->confidence_q15;
  session.inference.event.path = reached->path;
  session.inference.event.exit = reached->exit;
  session.inference.event.predicted = jlt_model_predicted();
  const bool fixed = session.plan->fixed_path != 0xFFFFu;
  if (reached->exit + 1u == jlt_loaded.container.model->n_exits ||
      (fixed && reached->exit == (session.plan->fixed_exit & 0xFFu))) {
    finish();
    return;
  }
  commit(JLT_WIRE_EVENT_STATUS_RUNNING);  // this answer stands whatever happens
  if (fixed) {
    session.inference.target = reached->exit + 1u;
    jlt_survive_keep_decision(&session.inference);
    return;
  }
  uint64_t usable;
  const jlt_answer_t answer = ask(&usable, true);
  const bool on = answer.action == JLT_ANSWER_CONTINUE &&
                  (answer.path == reached->path || jlt_engine_switch(&jlt_loaded.engine, answer.path) == JLT_OK);
  if (!on) {
    finish();
    return;
  }
  session.inference.event.path = answer.path;
  session.inference.target = answer.exit;
  jlt_survive_keep_decision(&session.inference);
}

// Whatever the input: what has been answered stands, and no more is spent on it.
static bool over_cap(void) {
  // with room for the next tiles, which may take longer than the last ones
  if (!is_capped() || session.inference.spent_ticks + 2u * session.interval_ticks <= session.cap_ticks) {
    return false;
  }
  stop_here();
  return true;
}

static void go_on(void) {
  if (over_cap()) {
    return;
  }
  jlt_wire_reached_t reached;
  bool done;
  const uint64_t ticks = jlt_now_ticks();
  if (!jlt_survive_tile(&session.inference, &reached, &done)) {
    forget();
    return;
  }
  const uint64_t now = jlt_energy_book(JLT_ACCOUNT_COMPUTE);
  session.inference.spent_ticks += jlt_now_ticks() - ticks;
  if (done) {
    jlt_survive_keep_answer();
    at_exit(&reached, now);
  } else {
    jlt_survive_keep(&session.inference);
  }
  (void)jlt_energy_book(JLT_ACCOUNT_POLICY);
}

// After a power cut: the inference that was under way goes on, is answered by its last exit, or is given up.
static void take_up(void) {
  session.inferring = jlt_survive_take_up(session.input, &session.inference);
  if (!session.inferring) {
    return;
  }
  if (jlt_now_us() > arrival_us(session.inference.event.index) + session.plan->deadline_us) {
    stop_here();  // too late: the rest is not worth its price
  }
}

static uint64_t start_waiting(uint64_t now) {
  const uint32_t index = session.waiting;
  if (session.inference.event.index != index || session.inference.event.start_us != 0) {
    session.inference.event =
        (jlt_wire_event_record_t){.index = index, .path = 0xFFFFu, .exit = 255u, .predicted = 0xFFFFu};
    session.inference.event.sample = (session.plan->first_sample + index) % session.input->count();
  }
  uint64_t usable;
  if (session.plan->fixed_path != 0xFFFFu) {
    const bool every = (session.plan->fixed_exit & EVERY_EXIT) != 0;
    begin(session.plan->fixed_path, every ? 0u : (uint8_t)session.plan->fixed_exit);
    return 0;
  }
  const jlt_answer_t answer = ask(&usable, false);
  if (answer.action != JLT_ANSWER_START) {
    const uint64_t next = earlier(arrival_us(session.seen), arrival_us(index) + session.plan->deadline_us + 1u);
    const uint64_t pace = session.plan->deadline_us / 4u;
    if (answer.wake_q16 == 0 || jlt_energy_of_level_fj(answer.wake_q16) <= usable) {
      return earlier(next, now + (pace > 1000u ? pace : 1000u));
    }
    // the voltage is looked at in steps of a thirty-second of the deadline
    return earlier(next, now + (pace / 8u > 1000u ? pace / 8u : 1000u));
  }
  begin(answer.path, answer.exit);
  return 0;
}

#if JLT_WITH_REFIT
/// Fitting a head again ///

// Between two events, with nothing else to do; returns when the store is to be looked at again.
static uint64_t refit(uint64_t now) {
  if (session.waiting != NOTHING || !jlt_refit_due()) {
    return UINT64_MAX;
  }
  if (!jlt_in_surplus(session.plan, jlt_refit_plan())) {
    return now + session.plan->deadline_us / 4u + FIRST_US;
  }
  (void)jlt_energy_book(JLT_ACCOUNT_POLICY);
  jlt_refit_learn();
  (void)jlt_energy_book(JLT_ACCOUNT_REFIT);
  return UINT64_MAX;
}
#else
static uint64_t refit(uint64_t now) {
  (void)now;
  return UINT64_MAX;
}
#endif

uint64_t jlt_session_step(void) {
  if (session.inferring) {
    if (!jlt_survive_should_rest()) {
      go_on();
    } else {
      const uint64_t now = jlt_energy_book(JLT_ACCOUNT_POLICY);
      jlt_console_idle(now + REST_US);
      (void)jlt_energy_book(JLT_ACCOUNT_SLEEP);
    }
    return 0;
  }
  const uint64_t now = jlt_energy_book(JLT_ACCOUNT_POLICY);
  take_in(now);
  if (session.waiting == NOTHING && now >= session.plan->end_us) {
    session.running = false;
    say("session ends");
    return UINT64_MAX;
  }
  const uint64_t look = refit(now);
  const uint64_t until = session.waiting == NOTHING
                             ? earlier(look, earlier(arrival_us(session.seen), session.plan->end_us))
                             : start_waiting(now);
  if (until > 0) {
    (void)jlt_energy_book(JLT_ACCOUNT_POLICY);
    jlt_console_idle(until);
    (void)jlt_energy_book(JLT_ACCOUNT_SLEEP);
  }
  return 0;
}

/// Start and stop ///

static bool plan_fits(const jlt_wire_session_t *plan, uint32_t bytes) {
  return bytes >= sizeof(*plan) && plan->magic == JLT_WIRE_SESSION_MAGIC && plan->period_us > 0 &&
         plan->end_us > 0 && plan->full_mv > plan->off_mv && plan->full_mv < 100000u && plan->capacity_nf > 0 &&
         plan->capacity_nf < 1000000000000u / 100u && plan->end_us / plan->period_us < NOTHING &&
         plan->dearness_q16 >= 65536u && plan->dearness_q16 < 16u * 65536u;
}

bool jlt_session_go(bool go) {
  session.running = false;
  session.inferring = false;
  if (!go) {
    return true;
  }
  uint32_t plan_bytes = 0;
  const jlt_wire_session_t *plan = jlt_slot_content(JLT_WIRE_SLOT_SESSION, &plan_bytes);
  const bool planned = plan && plan_fits(plan, plan_bytes);
  const bool decides = jlt_loaded.policy_status == JLT_OK || (planned && plan->fixed_path != 0xFFFFu);
  if (jlt_loaded.status != JLT_OK || !decides || !planned) {
    say(jlt_loaded.status != JLT_OK ? "no session without a model"
        : planned                   ? "no session without a policy for this model"
                                    : "no session without a plan in its slot");
    return false;
  }
  session.input = plan->input == JLT_WIRE_INPUT_LINK ? &jlt_input_link : &jlt_input_flash;
  if (!session.input->open()) {
    say("no session without samples that fit the model");
    return false;
  }
  session.plan = plan;
  jlt_energy_open(plan);
  session.inference.event = (jlt_wire_event_record_t){.index = NOTHING};
  session.waiting = NOTHING;
  const uint64_t began_us = jlt_power_on_us();
  // what happened while the board was off is missed; a board that is switched on at 0 sees event 0
  session.seen = began_us > FIRST_US ? happened(began_us) : 0u;
  const jlt_wire_slot_header_t *header = (const void *)jlt_board.session.address;
  jlt_journal_begin(header->crc32);
  session.running = true;
  const jlt_survive_plan_t kept = jlt_survive_plan(plan);
  session.interval_ticks = (uint64_t)kept.commit_cycles * jlt_board.timer.tick_hz / jlt_board.clock_hz;
  if (session.interval_ticks == 0 && kept.strategy == JLT_WIRE_STRATEGY_JIT_COPY) {
    session.interval_ticks = 1;  // a warning in the middle of an op must be seen: a look after every unit
  }
  session.cap_ticks = plan->cap_kcycles
                          ? (uint64_t)plan->cap_kcycles * 1000u * jlt_board.timer.tick_hz / jlt_board.clock_hz
                          : UINT64_MAX;
  if (is_capped() && (session.interval_ticks == 0 || session.interval_ticks > session.cap_ticks / CAP_PARTS)) {
    session.interval_ticks = session.cap_ticks / CAP_PARTS;
  }
  jlt_survive_open(&(jlt_survive_settings_t){
      .session = plan,
      .plan = kept,
      .interval_ticks = session.interval_ticks,
      .running_nw = jlt_energy_running_nw(),
      .epoch = header->crc32,
      .from_flash = session.input == &jlt_input_flash,
      .capped = is_capped(),
  });
  take_up();
  say("session begins");
  return true;
}

void jlt_session_open(void) {
  jlt_store_open();
  (void)jlt_input_flash.open();  // so that a first power-up, with a host beside it, checks all there is
  uint32_t bytes;
  const jlt_wire_session_t *plan = jlt_slot_content(JLT_WIRE_SLOT_SESSION, &bytes);
  if (plan && plan_fits(plan, bytes) && plan->autostart) {
    (void)jlt_session_go(true);
  }
}

bool jlt_session_running(void) { return session.running; }
