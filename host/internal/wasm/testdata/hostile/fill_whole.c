/* Fills 1 GiB that it has with one instruction. */
// want: cpu
#include "hostile.h"

__attribute__((target("bulk-memory"))) static void fill(char *at, uint32_t n) { __builtin_memset(at, 1, n); }

static void request(const struct pb_event *e) {
	uint32_t page = __builtin_wasm_memory_grow(0, 1 << 14);
	if (page == (uint32_t)-1) return;
	for (;;) fill((char *)(page << 16), 1u << 30); /* stopped within the first */
	say(e->id, PB_TEXT("filled"));
}
