// SPDX-License-Identifier: Apache-2.0
// What a hosted program needs to run on QEMU's mps3-an547 with newlib's semihosting: vectors, its arguments from a file, as a command
// line has no room for them, and allocations between guard bytes that are looked at as they are freed.
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64, LINES = 256, FILLING = 0xC3 };

void _start(void);
int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);
void __real_free(void *at);
void __wrap_free(void *at);
int posix_memalign(void **to, size_t alignment, size_t bytes);

static void reset(void) {
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;  // CPACR: the vector unit
  __asm__ volatile("dsb\n\tisb");
  _start();
}

static void fault(void) {
  static const char message[] = "fault\n";
  register uint32_t call __asm__("r0") = 0x04;  // SYS_WRITE0
  register const void *text __asm__("r1") = message;
  __asm__ volatile("bkpt 0xab" : "+r"(call) : "r"(text) : "memory");
  call = 0x18;  // SYS_EXIT
  text = (const void *)0x20023;
  __asm__ volatile("bkpt 0xab" : "+r"(call) : "r"(text) : "memory");
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    (const void *)0x21010000, reset, fault, fault, fault, fault, fault, fault,
};

// [guard][size, unguarded start | up to the alignment][bytes][guard]
typedef struct {
  uint8_t *whole;
  size_t bytes;
} header_t;

int posix_memalign(void **to, size_t alignment, size_t bytes) {
  const size_t before = alignment > GUARD ? alignment : GUARD;
  uint8_t *whole = memalign(before, before + bytes + GUARD);
  if (!whole) {
    return 1;
  }
  memset(whole, FILLING, before + bytes + GUARD);
  *(header_t *)whole = (header_t){.whole = whole, .bytes = bytes};
  *to = whole + before;
  return 0;
}

static void look(const uint8_t *at, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    if (at[i] != FILLING) {
      fprintf(stderr, "guard byte %u\n", (unsigned)i);
      exit(1);
    }
  }
}

// Every free of the program is of such an allocation; all are aligned to at most GUARD.
void __wrap_free(void *at) {
  if (!at) {
    return;
  }
  const header_t *header = (const header_t *)((uint8_t *)at - GUARD);
  look((const uint8_t *)(header + 1), GUARD - sizeof(*header));
  look((const uint8_t *)at + header->bytes, GUARD);
  __real_free(header->whole);
}

int __wrap_main(int argc, char **argv) {
  static char text[1 << 16];
  static char *lines[LINES];
  FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
  if (!file) {
    return __real_main(argc, argv);
  }
  text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
  fclose(file);
  int count = 1;
  lines[0] = argv[0];
  for (char *line = strtok(text, "\n"); line && count < LINES; line = strtok(NULL, "\n")) {
    lines[count++] = line;
  }
  return __real_main(count, lines);
}
