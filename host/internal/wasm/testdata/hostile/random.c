/* Fills its memory with random bytes again and again. */
// want: cpu
#include "hostile.h"

WASI(random_get) int random_get(void *buffer, uint32_t len);

static void request(const struct pb_event *e) {
	char *at = (char *)(__builtin_wasm_memory_grow(0, 64) << 16);
	while (random_get(at, 64 << 16) == 0) {}
	say(e->id, PB_TEXT("random"));
}
