// SPDX-License-Identifier: Apache-2.0
#include "string.h"

#include <stdint.h>

// The compiler must not turn these loops into calls of themselves: -fno-builtin, -fno-tree-loop-distribute-patterns.

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  uint8_t *d = to;
  const uint8_t *s = from;
  if ((((uintptr_t)d | (uintptr_t)s) & 3u) == 0) {
    for (; bytes >= 4u; bytes -= 4u, d += 4, s += 4) {
      *(uint32_t *)(void *)d = *(const uint32_t *)(const void *)s;
    }
  }
  while (bytes--) {
    *d++ = *s++;
  }
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  uint8_t *d = to;
  const uint8_t *s = from;
  if (d <= s || d >= s + bytes) {
    return memcpy(to, from, bytes);
  }
  while (bytes--) {
    d[bytes] = s[bytes];
  }
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  uint8_t *d = to;
  for (; bytes > 0 && ((uintptr_t)d & 3u); bytes--) {
    *d++ = (uint8_t)value;
  }
  const uint32_t word = (uint8_t)value * 0x01010101u;
  for (; bytes >= 4u; bytes -= 4u, d += 4) {
    *(uint32_t *)(void *)d = word;
  }
  while (bytes--) {
    *d++ = (uint8_t)value;
  }
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const uint8_t *x = a;
  const uint8_t *y = b;
  for (; bytes > 0; bytes--, x++, y++) {
    if (*x != *y) {
      return *x < *y ? -1 : 1;
    }
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) {
    length++;
  }
  return length;
}

int strncmp(const char *a, const char *b, size_t bytes) {
  for (; bytes > 0; bytes--, a++, b++) {
    if (*a != *b || *a == 0) {
      return (uint8_t)*a - (uint8_t)*b;
    }
  }
  return 0;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, SIZE_MAX); }
