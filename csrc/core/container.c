// SPDX-License-Identifier: Apache-2.0
// Header and section table of a container; FORMAT.md §2. Everything past it is checked in check_*.c.
#include <string.h>

#include "core/bytes.h"
#include "core/check.h"
#include "core/crc32.h"
#include "kernels/selection.h"
#include "kernels/variants.h"

enum { SECTIONS_LIMIT = 256 };

static jlt_status_t check_header(const jlt_header_t *header, uint32_t bytes, bool vouched) {
  static const uint8_t magic[] = JLT_MAGIC_BYTES;
  if (memcmp(header->magic, magic, sizeof(magic)) != 0) {
    return JLT_ERR_MAGIC;
  }
  if (header->version_major != JLT_VERSION_MAJOR) {
    return JLT_ERR_VERSION;
  }
  if (header->file_bytes > bytes) {
    return JLT_ERR_TRUNCATED;
  }
  const uint64_t table = sizeof(*header) + (uint64_t)header->n_sections * sizeof(jlt_section_t);
  if (table > header->file_bytes || header->n_sections > SECTIONS_LIMIT) {
    return JLT_ERR_SECTION;
  }
  if (vouched) {
    return JLT_OK;
  }
  static const uint32_t zero = 0;  // stands for the field itself
  const size_t at = offsetof(jlt_header_t, crc32);
  uint32_t crc = jlt_crc32(0, header, at);
  crc = jlt_crc32(crc, &zero, sizeof(zero));
  crc = jlt_crc32(crc, (const uint8_t *)header + at + sizeof(zero), (size_t)table - at - sizeof(zero));
  return crc == header->crc32 ? JLT_OK : JLT_ERR_CRC;
}

static jlt_status_t check_section(const jlt_header_t *header, const jlt_section_t *section) {
  if (!(section->flags & JLT_SECTION_FLAG_PRESENT)) {
    return section->offset == 0 ? JLT_OK : JLT_ERR_SECTION;
  }
  const uint64_t table_end = sizeof(*header) + (uint64_t)header->n_sections * sizeof(*section);
  const uint32_t alignment =
      section->code == JLT_SECTION_PLANE_LOW ? JLT_LOW_PLANE_ALIGN_BYTES : JLT_SECTION_ALIGN_BYTES;
  if (section->offset % alignment || section->offset < table_end ||
      !jlt_within(section->offset, section->bytes, header->file_bytes)) {
    return JLT_ERR_SECTION;
  }
  const uint8_t *content = (const uint8_t *)header + section->offset;
  return jlt_crc32(0, content, section->bytes) == section->crc32 ? JLT_OK : JLT_ERR_CRC;
}

// Bounds, checksums, and no two sections over each other or twice the same of one part.
static jlt_status_t check_sections(const jlt_header_t *header) {
  const jlt_section_t *sections = (const jlt_section_t *)(header + 1);
  for (uint32_t i = 0; i < header->n_sections; i++) {
    const jlt_section_t *a = &sections[i];
    const jlt_status_t err = check_section(header, a);
    if (err) {
      return err;
    }
    for (uint32_t k = 0; k < i; k++) {
      const jlt_section_t *b = &sections[k];
      const bool both = (a->flags & b->flags & JLT_SECTION_FLAG_PRESENT) != 0;
      if ((a->code == b->code && a->part == b->part) ||
          (both && jlt_ranges_overlap(a->offset, a->bytes, b->offset, b->bytes))) {
        return JLT_ERR_SECTION;
      }
    }
  }
  return JLT_OK;
}

// Sections of the canonical part by their code, null when not there or empty; found in one pass.
typedef struct {
  const jlt_header_t *header;
  const jlt_section_t *of[JLT_SECTION_ARENA + 1];
} index_t;

static index_t index_of(const jlt_header_t *header) {
  const jlt_section_t *sections = (const jlt_section_t *)(header + 1);
  index_t index = {.header = header};
  for (const jlt_section_t *s = sections; s < sections + header->n_sections; s++) {
    if (s->part == 0 && s->code <= JLT_SECTION_ARENA && (s->flags & JLT_SECTION_FLAG_PRESENT) && s->bytes > 0) {
      index.of[s->code] = s;
    }
  }
  return index;
}

static const void *content_of(const jlt_header_t *header, const jlt_section_t *section) {
  return (const uint8_t *)header + section->offset;
}

static const void *find(const index_t *index, uint16_t code, uint32_t *bytes) {
  const jlt_section_t *s = index->of[code];
  *bytes = s ? s->bytes : 0;
  return s ? content_of(index->header, s) : NULL;
}

// Where the view of a container points to the records of a section, and how many the model says there are.
typedef struct {
  uint8_t section;
  uint8_t view;   // offset of the pointer in jlt_container_t
  uint8_t count;  // offset of the 16-bit count in jlt_model_t
  uint8_t bytes;  // of one record
} records_t;

#define RECORDS(section, field, type) \
  {JLT_SECTION_##section, offsetof(jlt_container_t, field), offsetof(jlt_model_t, n_##field), sizeof(type)}
static const records_t records[] = {
    RECORDS(TENSORS, tensors, jlt_tensor_t), RECORDS(OPS, ops, jlt_op_t),
    RECORDS(WEIGHTS, weights, jlt_weight_t), RECORDS(PRECISIONS, precisions, jlt_precision_t),
    RECORDS(EXITS, exits, jlt_exit_t),       RECORDS(PATHS, paths, jlt_path_t),
};

static bool view_table(const index_t *index, jlt_container_t *c, const records_t *r) {
  uint16_t count;
  uint32_t bytes;
  const void *content = find(index, r->section, &bytes);
  memcpy((uint8_t *)c + r->view, &content, sizeof(content));
  memcpy(&count, (const uint8_t *)c->model + r->count, sizeof(count));
  return bytes == (uint32_t)count * r->bytes;
}

static jlt_status_t view_records(const index_t *index, jlt_container_t *c) {
  uint32_t bytes;
  c->model = find(index, JLT_SECTION_MODEL, &bytes);
  if (bytes != sizeof(*c->model)) {
    return JLT_ERR_SECTION;
  }
  const jlt_model_t *m = c->model;
  bool ok = true;
  for (const records_t *r = records; r < records + sizeof(records) / sizeof(records[0]); r++) {
    ok = view_table(index, c, r) && ok;
  }
  c->layers = find(index, JLT_SECTION_LAYERS, &bytes);
  ok = ok && bytes == (uint64_t)m->n_precisions * m->n_weights * sizeof(jlt_layer_t);
  c->confidence = find(index, JLT_SECTION_CONFIDENCE, &bytes);
  c->n_confidence = bytes / (JLT_CONFIDENCE_BINS * 2u);
  ok = ok && bytes % (JLT_CONFIDENCE_BINS * 2u) == 0;
  c->arena = find(index, JLT_SECTION_ARENA, &bytes);
  ok = ok && c->arena && bytes == sizeof(jlt_arena_t) + 4u * m->n_tensors;
  return ok ? JLT_OK : JLT_ERR_SECTION;
}

static jlt_status_t view_data(const index_t *index, jlt_container_t *c) {
  uint32_t low_bytes;
  c->pool = find(index, JLT_SECTION_POOL, &c->pool_bytes);
  c->data_s8 = find(index, JLT_SECTION_DATA_S8, &c->data_s8_bytes);
  c->plane_high = find(index, JLT_SECTION_PLANE_HIGH, &c->plane_bytes);
  c->plane_low = find(index, JLT_SECTION_PLANE_LOW, &low_bytes);
  c->data_f32 = find(index, JLT_SECTION_DATA_F32, &c->data_f32_bytes);
  return c->plane_low && low_bytes != c->plane_bytes ? JLT_ERR_SECTION : JLT_OK;
}

static JLT_NO_INLINE jlt_status_t view(const jlt_header_t *header, jlt_container_t *c) {
  const index_t index = index_of(header);
  const jlt_status_t err = view_records(&index, c);
  if (err) {
    return err;
  }
  c->f32_arena = c->arena;
  c->arena_offsets = c->f32_offsets = (const uint32_t *)(c->arena + 1);
  return view_data(&index, c);
}

static jlt_status_t check_contents(const jlt_container_t *c) {
  jlt_status_t err = jlt_check_records(c);
  if (err) {
    return err;
  }
  err = jlt_check_weights(c);
  if (err) {
    return err;
  }
  err = jlt_check_ops(c);
  return err ? err : jlt_check_arena(c);
}

// A section that is there, of a plan part; null without.
static const jlt_section_t *section_of(const jlt_header_t *header, uint16_t part, uint16_t code) {
  const jlt_section_t *sections = (const jlt_section_t *)(header + 1);
  for (const jlt_section_t *s = sections; s < sections + header->n_sections; s++) {
    if (s->part == part && s->code == code && (s->flags & JLT_SECTION_FLAG_PRESENT)) {
      return s;
    }
  }
  return NULL;
}

static const jlt_packed_t *packed_in(const jlt_header_t *header, const jlt_section_t *s) {
  const bool there = s->code == JLT_SECTION_PACKED && (s->flags & JLT_SECTION_FLAG_PRESENT);
  return there && s->bytes >= sizeof(jlt_packed_t) ? content_of(header, s) : NULL;
}

static bool is_of_today(const jlt_packed_t *packed) {
  return packed->version == JLT_PACKING_VERSION || (JLT_SPARSE && packed->version == JLT_PACKING_VERSION_SPARSE);
}

// The sparse copies of a part that has some.
static jlt_status_t view_sparse(const jlt_header_t *header, uint16_t part, jlt_container_t *c) {
  const jlt_section_t *s = section_of(header, part, JLT_SECTION_SPARSE);
  if (!s || s->bytes < sizeof(jlt_sparse_t) + 4u * (size_t)c->model->n_weights) {
    return JLT_ERR_SECTION;
  }
  c->sparse = content_of(header, s);
  return c->sparse->section_bytes == s->bytes && c->sparse->n_weights == c->model->n_weights ? JLT_OK : JLT_ERR_SECTION;
}

// Where the arena of a part is divided, if it is.
static jlt_status_t view_memories(const jlt_header_t *header, uint16_t part, jlt_container_t *c) {
#if JLT_TWO_MEMORIES
  const jlt_section_t *s = section_of(header, part, JLT_SECTION_MEMORIES);
  if (!s) {
    return JLT_OK;
  }
  if (s->bytes != sizeof(jlt_memories_t)) {
    return JLT_ERR_SECTION;
  }
  c->slow_bytes = ((const jlt_memories_t *)content_of(header, s))->slow_bytes;
#else
  (void)header;
  (void)part;
  (void)c;
#endif
  return JLT_OK;
}

// The part whose packed weights are for an instruction set.
static jlt_status_t view_plan(const jlt_header_t *header, uint32_t isa, jlt_container_t *c) {
  const jlt_section_t *sections = (const jlt_section_t *)(header + 1);
  const uint32_t head = (uint32_t)sizeof(jlt_packed_t) + c->model->n_weights * (uint32_t)sizeof(jlt_packing_t);
  for (const jlt_section_t *s = sections; s < sections + header->n_sections; s++) {
    const jlt_packed_t *packed = packed_in(header, s);
    if (!packed || packed->isa != isa || !is_of_today(packed)) {
      continue;
    }
    const jlt_section_t *arena = section_of(header, s->part, JLT_SECTION_ARENA);
    const jlt_section_t *bands = section_of(header, s->part, JLT_SECTION_BANDS);
    if (s->bytes < head || packed->n_weights != c->model->n_weights || !arena ||
        arena->bytes != sizeof(jlt_arena_t) + 4u * c->model->n_tensors ||
        (bands && bands->bytes % sizeof(jlt_band_group_t))) {
      return JLT_ERR_SECTION;
    }
    if (bands) {
      c->bands = content_of(header, bands);
      c->n_bands = bands->bytes / (uint32_t)sizeof(jlt_band_group_t);
    }
    const jlt_status_t odd = view_memories(header, s->part, c);
    if (odd) {
      return odd;
    }
    if (JLT_SPARSE && packed->version == JLT_PACKING_VERSION_SPARSE) {
      const jlt_status_t err = view_sparse(header, s->part, c);
      if (err) {
        return err;
      }
    }
    c->isa = isa;
    c->packed = (const uint8_t *)packed;
    c->packed_bytes = s->bytes;
    c->packings = (const jlt_packing_t *)(packed + 1);
    c->arena = content_of(header, arena);
    c->arena_offsets = (const uint32_t *)(c->arena + 1);
    return JLT_OK;
  }
  return JLT_ERR_ABSENT;
}

// Changes `c` even where it fails.
static jlt_status_t use(jlt_container_t *c, uint32_t isa, bool checked) {
  c->isa = JLT_ISA_REF;
  c->packed = NULL;
  c->packings = NULL;
  c->packed_bytes = 0;
  c->bands = NULL;
  c->n_bands = 0;
#if JLT_SPARSE
  c->sparse = NULL;
#endif
#if JLT_TWO_MEMORIES
  c->slow_bytes = 0;
#endif
  c->arena = c->f32_arena;
  c->arena_offsets = c->f32_offsets;
  if (isa == JLT_ISA_REF) {
    return JLT_OK;
  }
  const jlt_status_t err = view_plan((const jlt_header_t *)(const void *)c->base, isa, c);
  return err || checked ? err : jlt_check_plan(c);
}

jlt_status_t jlt_container_use(jlt_container_t *container, uint32_t isa, bool checked) {
  if (!container) {
    return JLT_ERR_ARGUMENT;
  }
  const jlt_container_t before = *container;
  const jlt_status_t err = use(container, isa, checked);
  if (err) {
    *container = before;
  }
  return err;
}

static jlt_status_t open_container(const void *base, uint32_t bytes, bool vouched, jlt_container_t *out) {
  if (!base || !out) {
    return JLT_ERR_ARGUMENT;
  }
  if ((uintptr_t)base % JLT_BASE_ALIGN_BYTES) {
    return JLT_ERR_ALIGNMENT;
  }
  const jlt_header_t *header = base;
  if (bytes < sizeof(*header)) {
    return JLT_ERR_TRUNCATED;
  }
  jlt_status_t err = check_header(header, bytes, vouched);
  if (!err && !vouched) {
    err = check_sections(header);
  }
  if (err) {
    return err;
  }
  *out = (jlt_container_t){.base = base, .bytes = header->file_bytes};
  err = view(header, out);
  if (!err && !vouched) {
    err = check_contents(out);
  }
  if (!err && JLT_ISA_BUILD != JLT_ISA_REF) {
    err = use(out, JLT_ISA_BUILD, vouched);
    err = err == JLT_ERR_ABSENT ? JLT_OK : err;  // the reference kernels run in the generic plan
  }
  if (!err && !vouched) {
    err = jlt_check_kernels(out);
  }
  if (err) {
    *out = (jlt_container_t){0};
  }
  return err;
}

jlt_status_t jlt_container_check(const void *base, uint32_t bytes, jlt_container_t *out) {
  return open_container(base, bytes, false, out);
}

jlt_status_t jlt_container_reopen(const void *base, uint32_t bytes, jlt_container_t *out) {
  return open_container(base, bytes, true, out);
}
