// SPDX-License-Identifier: Apache-2.0
#include "sim/chain.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// no fused multiply-add in either clone: both give the same bits
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

enum { CHUNK = 256 };

uint64_t jlt_sim_serve_floats(const jlt_sim_chain_t *chain, uint32_t n) {
  return ((uint64_t)chain->n_nodes * chain->n_bins + 1U) * n;
}

// out[x] = sum over bins of weights[bin] * values[bin][x]
WIDE static void weigh(const float *weights, uint32_t n_bins, const float *values, uint32_t n, float *out) {
  for (uint32_t from = 0; from < n; from += CHUNK) {
    const uint32_t upto = from + CHUNK < n ? from + CHUNK : n;
    for (uint32_t x = from; x < upto; x++) {
      out[x] = 0.0F;
    }
    for (uint32_t bin = 0; bin < n_bins; bin++) {
      const float weight = weights[bin];
      const float *row = values + (uint64_t)bin * n;
      if (weight == 0.0F) {
        continue;
      }
      for (uint32_t x = from; x < upto; x++) {
        out[x] += weight * row[x];
      }
    }
  }
}

WIDE static void raise_shifted(float *best, const float *values, uint32_t shift, float rest, uint32_t n) {
  if (rest == 0.0F) {
    for (uint32_t x = shift; x < n; x++) {
      best[x] = values[x - shift] > best[x] ? values[x - shift] : best[x];
    }
    return;
  }
  for (uint32_t x = shift + 1U; x < n; x++) {
    const float value = values[x - shift] + rest * (values[x - shift - 1U] - values[x - shift]);
    best[x] = value > best[x] ? value : best[x];
  }
}

// best[x] = max(best[x], values[x - energy])
static void raise_by(float *best, const float *values, double levels, bool interpolate, uint32_t n) {
  if (!(levels < (double)n)) {
    return;
  }
  const uint32_t shift = (uint32_t)levels;
  raise_shifted(best, values, shift, interpolate ? (float)(levels - shift) : 0.0F, n);
}

WIDE static void add(float *out, const float *values, float constant, uint32_t n) {
  for (uint32_t x = 0; x < n; x++) {
    out[x] = values[x] + constant;
  }
}

static bool possible(const jlt_sim_serving_t *serving, uint32_t node) {
  const jlt_sim_chain_t *chain = serving->chain;
  const double seconds = chain->direct_s[node];
  return chain->direct_j[node] <= serving->limit_j + serving->income_w * seconds && seconds <= serving->limit_s;
}

void jlt_sim_serve(const jlt_sim_serving_t *serving, const float *after, uint32_t n, float *best, float *scratch) {
  const jlt_sim_chain_t *chain = serving->chain;
  const uint32_t n_bins = chain->n_bins;
  const uint64_t block = (uint64_t)n_bins * n;
  const double level_j = serving->level_j / serving->cost_share;
  float *mixed = scratch + block * chain->n_nodes;
  for (uint32_t node = chain->n_nodes; node-- > 0;) {
    if (!possible(serving, node)) {
      continue;
    }
    for (uint32_t bin = 0; bin < n_bins; bin++) {
      add(scratch + block * node + (uint64_t)bin * n, after, chain->accuracy[node * n_bins + bin], n);
    }
    for (uint32_t link = 0; link < chain->n_links; link++) {
      const uint32_t to = (uint32_t)chain->links[2U * link + 1U];
      if (chain->links[2U * link] != (int32_t)node || !possible(serving, to)) {
        continue;
      }
      for (uint32_t bin = 0; bin < n_bins; bin++) {
        weigh(chain->transition + ((uint64_t)link * n_bins + bin) * n_bins, n_bins, scratch + block * to, n, mixed);
        raise_by(scratch + block * node + (uint64_t)bin * n, mixed, chain->link_j[link] / level_j, serving->interpolate,
                 n);
      }
    }
  }
  for (uint32_t link = 0; link < chain->n_links; link++) {
    const uint32_t to = (uint32_t)chain->links[2U * link + 1U];
    if (chain->links[2U * link] < 0 && possible(serving, to)) {
      weigh(chain->transition + (uint64_t)link * n_bins * n_bins, n_bins, scratch + block * to, n, mixed);
      raise_by(best, mixed, chain->link_j[link] / level_j, serving->interpolate, n);
    }
  }
}

void jlt_sim_hit(double price_j, double level_j, bool interpolate, const float *after, uint32_t n, float *best) {
  const double levels = price_j / level_j;
  if (!(levels < (double)n)) {
    return;
  }
  const uint32_t shift = (uint32_t)levels;
  const float rest = interpolate ? (float)(levels - shift) : 0.0F;
  for (uint32_t x = shift + (rest > 0.0F ? 1U : 0U); x < n; x++) {
    const float below = rest > 0.0F ? after[x - shift - 1U] : 0.0F;
    const float value = 1.0F + after[x - shift] + (rest > 0.0F ? rest * (below - after[x - shift]) : 0.0F);
    best[x] = value > best[x] ? value : best[x];
  }
}
