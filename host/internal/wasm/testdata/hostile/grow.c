/* Takes all the memory it can get, page by page, touches it, and asks for more. */
// want: answer "refused"
// memory: 8388608
#include "hostile.h"

static void request(const struct pb_event *e) {
	for (;;) {
		uint32_t at = __builtin_wasm_memory_grow(0, 1);
		if (at == (uint32_t)-1) break;
		*(volatile char *)(at << 16) = 1;
	}
	if (__builtin_wasm_memory_grow(0, 65535) != (uint32_t)-1) return;
	say(e->id, PB_TEXT("refused"));
}
