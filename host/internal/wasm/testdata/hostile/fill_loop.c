/* Fills 1 GiB again and again, a few MiB at a time. */
// want: cpu
#include "hostile.h"

__attribute__((target("bulk-memory"))) static void fill(char *at, uint32_t n) { __builtin_memset(at, 1, n); }

static void request(const struct pb_event *e) {
	char *at = (char *)(__builtin_wasm_memory_grow(0, 64) << 16);
	for (;;) fill(at, 64 << 16);
	say(e->id, PB_TEXT("filled"));
}
