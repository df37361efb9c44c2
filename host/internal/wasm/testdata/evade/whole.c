/* Takes all of 4 GiB. */
#include "../hostile/hostile.h"
static void request(const struct pb_event *e) {
	while (__builtin_wasm_memory_grow(0, 1) != (uint32_t)-1) {}
	uint32_t pages = __builtin_wasm_memory_size(0);
	char digits[20];
	say(e->id, pb_decimal(digits, pages));
}
