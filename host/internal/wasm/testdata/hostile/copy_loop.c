/* Copies a few MiB back and forth. */
// want: cpu
#include "hostile.h"

__attribute__((target("bulk-memory"))) static void copy(char *to, char *from, uint32_t n) { __builtin_memmove(to, from, n); }

static void request(const struct pb_event *e) {
	char *at = (char *)(__builtin_wasm_memory_grow(0, 64) << 16);
	for (;;) copy(at, at + 1, (64 << 16) - 1);
	say(e->id, PB_TEXT("copied"));
}
