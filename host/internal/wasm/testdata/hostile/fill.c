/* Fills 1 GiB with one instruction. */
// want: trap "out of bounds memory access"
#include "hostile.h"

__attribute__((target("bulk-memory"))) static void fill(char *at, uint32_t n) { __builtin_memset(at, 1, n); }

static void request(const struct pb_event *e) {
	fill((char *)data, 1u << 30);
	say(e->id, PB_TEXT("filled"));
}
