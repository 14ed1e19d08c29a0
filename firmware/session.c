// SPDX-License-Identifier: Apache-2.0
// Queue of one, the newest wins. Energy is known from the store's voltage, and what was spent from time and the figures
// of the session; what came in is the rest.
#include "session.h"

#include <string.h>

#include "board.h"
#include "clock.h"
#include "console.h"
#include "core/ledger.h"
#include "input.h"
#include "journal.h"
#include "model.h"
#include "port.h"
#include "refit.h"
#include "sender.h"
#include "store.h"
#include "survive.h"

enum { CAP_PARTS = 32 };  // tiles of a capped inference
enum { EVERY_EXIT = 0x100 };  // of fixed_exit: the exits before it answer too
enum { HALF_HOUR_S = 1800, DAY_S = 86400, FIRST_US = 1000, REST_US = 5000 };
#define NOTHING UINT32_MAX

static struct {
  const jlt_wire_session_t *plan;
  const jlt_input_driver_t *input;
  jlt_ledger_t ledger;
  jlt_harvest_mean_t harvest;
  jlt_inference_t inference;  // that runs, or ran last
  uint64_t booked_us;     // time up to which energy has been booked
  uint64_t began_us;
  int64_t stored_nj;      // when the session began
  uint64_t full_fj;       // of a full store, above brown-out
  uint32_t running_nw;    // from the store while the core runs
  uint32_t sleeping_nw;
  uint32_t seen;          // events that have happened
  uint32_t waiting;       // index, or NOTHING
  uint64_t interval_ticks;  // of computing between two commits
  uint64_t cap_ticks;     // that an inference may take; UINT64_MAX: any
  bool inferring;
  bool running;
  bool has_counter;
  bool asked_counter;
} session;

static void say(const char *text) { jlt_sender_tell(JLT_WIRE_MESSAGE_LOG, text, (uint16_t)strlen(text)); }

/// Energy ///

static uint64_t energy_fj(uint64_t mv) { return session.plan->capacity_nf * mv * mv / 2u; }

// Above brown-out; a store that cannot be read counts as full.
static uint64_t usable_fj(void) {
  uint32_t mv;
  if (!jlt_store_read_mv(&mv)) {
    return session.full_fj;
  }
  const uint64_t off_fj = energy_fj(session.plan->off_mv);
  const uint64_t now_fj = energy_fj(mv);
  return now_fj > off_fj ? now_fj - off_fj : 0u;
}

static uint32_t level_q16(uint64_t usable) {
  const uint32_t top = (uint32_t)(jlt_loaded.governor.header->n_levels - 1u) << 16;
  // a full store may hold more femtojoules than leave room for the product
  const uint64_t unit = session.full_fj >> 32 ? session.full_fj >> 20 : 1u;
  const uint64_t level = usable / unit * top / (session.full_fj / unit);
  return level < top ? (uint32_t)level : top;
}

static uint64_t usable_of_level(uint32_t level) {
  const uint32_t top = (uint32_t)(jlt_loaded.governor.header->n_levels - 1u) << 16;
  return session.full_fj / top * level + session.full_fj % top * level / top;
}

// Books what has been drawn since the last booking.
static uint64_t book(uint32_t account, uint32_t power_nw) {
  const uint64_t now = jlt_now_us();
  while (session.booked_us < now) {
    const uint64_t left = now - session.booked_us;
    const uint32_t piece = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
    jlt_ledger_post_nw_us(&session.ledger, account, power_nw, piece);
    session.booked_us += piece;
  }
  return now;
}

static int64_t spent_nj(void) {
  uint64_t pj = 0;
  for (uint32_t account = JLT_ACCOUNT_COMPUTE; account < JLT_ACCOUNTS; account++) {
    pj += session.ledger.pj[account];
  }
  return (int64_t)(pj / 1000u);
}

// What came in is what is stored now and was not, and what was spent.
static int64_t delivered_nj(uint64_t usable) {
  const int64_t delivered = (int64_t)(usable / 1000000u) - session.stored_nj + spent_nj();
  const uint64_t harvested = delivered > 0 ? (uint64_t)delivered * 1000u : 0u;
  if (harvested > session.ledger.pj[JLT_ACCOUNT_HARVESTED]) {
    session.ledger.pj[JLT_ACCOUNT_HARVESTED] = harvested;
  }
  return delivered;
}

static void fill_question(jlt_question_t *question, uint64_t usable, uint64_t now) {
  jlt_harvest_mean_take(&session.harvest, &jlt_loaded.governor, now - session.began_us, delivered_nj(usable), 0);
  const uint64_t deadline = (uint64_t)session.inference.event.index * session.plan->period_us + session.plan->deadline_us;
  const uint64_t left = deadline > now ? deadline - now : 0u;
  *question = (jlt_question_t){
      .energy_q16 = level_q16(usable),
      .harvest_nw = session.harvest.mean_nw,
      .slow_nw = session.harvest.slow_nw,
      .deadline_left_us = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX,
      .half_hour = (uint8_t)(now / 1000000u % DAY_S / HALF_HOUR_S),
  };
}

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

static jlt_answer_t ask(uint64_t *usable, bool at_exit) {
  jlt_mark(JLT_PHASE_DECIDE);
  const uint64_t now = jlt_now_us();
  jlt_question_t question;
  *usable = usable_fj();
  fill_question(&question, *usable, now);
  if (at_exit) {
    question.at_exit = true;
    question.path = (uint8_t)session.inference.event.path;
    question.exit = session.inference.event.exit;
    question.confidence_q15 = session.inference.event.confidence_q15;
  }
  session.inference.event.decisions++;
  const jlt_answer_t answer = jlt_governor_decide(&jlt_loaded.governor, &question);
  jlt_mark(JLT_PHASE_IDLE);
  (void)book(JLT_ACCOUNT_POLICY, session.running_nw);
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
  const uint64_t now = book(JLT_ACCOUNT_COMPUTE, session.running_nw);
  session.inference.spent_ticks += jlt_now_ticks() - ticks;
  if (done) {
    jlt_survive_keep_answer();
    at_exit(&reached, now);
  } else {
    jlt_survive_keep(&session.inference);
  }
  (void)book(JLT_ACCOUNT_POLICY, session.running_nw);
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
    if (answer.wake_q16 == 0 || usable_of_level(answer.wake_q16) <= usable) {
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

// Of the next sixteenth of a full store: a single fit takes too little for the table's steps.
static uint32_t price(jlt_question_t *question, uint64_t usable) {
  question->energy_q16 = level_q16(usable);
  const uint32_t worth = jlt_governor_worth(&jlt_loaded.governor, question);
  question->energy_q16 = level_q16(usable - session.full_fj / 16u);
  return worth - jlt_governor_worth(&jlt_loaded.governor, question);
}

// The store is above the level that the plan names; or energy is worth no more to the policy than out of a full store, by
// a sixteenth: its price is at its floor.
static bool in_surplus(const jlt_wire_refit_t *plan) {
  const uint64_t usable = usable_fj();
  const uint64_t cost_fj = (uint64_t)plan->cycles * session.plan->energy_fj_per_cycle / 65536u * session.plan->dearness_q16;
  if (usable < 2u * cost_fj) {
    return false;
  }
  if (plan->surplus_mv > 0) {
    const uint64_t surplus = energy_fj(plan->surplus_mv);
    return usable + energy_fj(session.plan->off_mv) >= surplus;
  }
  if (jlt_loaded.policy_status != JLT_OK || usable < session.full_fj / 16u) {
    return false;
  }
  jlt_question_t question;
  jlt_session_question(&question, 0);
  const uint32_t least = price(&question, session.full_fj);
  return price(&question, usable) <= least + least / 16u;
}

// Between two events, with nothing else to do; returns when the store is to be looked at again.
static uint64_t refit(uint64_t now) {
  if (session.waiting != NOTHING || !jlt_refit_due()) {
    return UINT64_MAX;
  }
  if (!in_surplus(jlt_refit_plan())) {
    return now + session.plan->deadline_us / 4u + FIRST_US;
  }
  (void)book(JLT_ACCOUNT_POLICY, session.running_nw);
  jlt_refit_learn();
  (void)book(JLT_ACCOUNT_REFIT, session.running_nw);
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
      const uint64_t now = book(JLT_ACCOUNT_POLICY, session.running_nw);
      jlt_console_idle(now + REST_US);
      (void)book(JLT_ACCOUNT_SLEEP, session.sleeping_nw);
    }
    return 0;
  }
  const uint64_t now = book(JLT_ACCOUNT_POLICY, session.running_nw);
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
    (void)book(JLT_ACCOUNT_POLICY, session.running_nw);
    jlt_console_idle(until);
    (void)book(JLT_ACCOUNT_SLEEP, session.sleeping_nw);
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

static uint32_t scaled_nw(uint64_t nw, uint32_t dearness_q16) {
  const uint64_t scaled = (nw >> 8) * dearness_q16 >> 8;
  return scaled < UINT32_MAX ? (uint32_t)scaled : UINT32_MAX;
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
  session.full_fj = energy_fj(plan->full_mv) - energy_fj(plan->off_mv);
  session.running_nw =
      scaled_nw((uint64_t)jlt_board.clock_hz * plan->energy_fj_per_cycle / 1000000u, plan->dearness_q16);
  session.sleeping_nw = scaled_nw((uint64_t)plan->sleep_nw << 8, plan->dearness_q16) >> 8;
  jlt_ledger_clear(&session.ledger);
  memset(&session.harvest, 0, sizeof(session.harvest));
  session.inference.event = (jlt_wire_event_record_t){.index = NOTHING};
  session.waiting = NOTHING;
  session.stored_nj = (int64_t)(usable_fj() / 1000000u);
  session.began_us = session.booked_us = jlt_power_on_us();
  // what happened while the board was off is missed; a board that is switched on at 0 sees event 0
  session.seen = session.began_us > FIRST_US ? happened(session.began_us) : 0u;
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
      .running_nw = session.running_nw,
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

void jlt_session_question(jlt_question_t *question, uint32_t energy_q16) {
  const uint64_t us = jlt_now_us();
  *question = (jlt_question_t){
      .energy_q16 = energy_q16,
      .harvest_nw = session.harvest.mean_nw,
      .slow_nw = session.harvest.slow_nw,
      .half_hour = (uint8_t)(us / 1000000u % DAY_S / HALF_HOUR_S),
  };
}

void jlt_session_ledger(jlt_wire_ledger_record_t *out) {
  int64_t stored_pj = 0;
  if (session.plan) {
    const uint64_t usable = usable_fj();
    (void)delivered_nj(usable);
    stored_pj = (int64_t)(usable / 1000u) - session.stored_nj * 1000;
  }
  memcpy(out->pj, session.ledger.pj, sizeof(out->pj));
  out->stored_delta_pj = (uint64_t)stored_pj;
  out->time_us = jlt_now_us();
}

// Looked for when first asked: a bus in software is slow, and nothing else here needs the part.
static bool has_counter(void) {
  if (!session.asked_counter) {
    session.asked_counter = true;
    session.has_counter = jlt_board.counter.driver && jlt_board.counter.driver->open(&jlt_board.counter);
  }
  return session.has_counter;
}

void jlt_session_sensors(jlt_wire_sensors_t *out) {
  *out = (jlt_wire_sensors_t){.time_us = jlt_now_us()};
  const bool stored = jlt_store_read_mv(&out->store_mv);
  const bool drawn = has_counter() && jlt_board.counter.driver->read_energy_nj &&
                     jlt_board.counter.driver->read_energy_nj(&jlt_board.counter, &out->drawn_nj);
  out->valid = (stored ? 1u : 0u) | (drawn ? 2u : 0u);
}
