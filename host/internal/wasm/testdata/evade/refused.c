/* The first request is refused memory and lives on; the second traps for another reason. */
#include "../hostile/hostile.h"
static int n;
static void request(const struct pb_event *e) {
	if (n++ == 0) { __builtin_wasm_memory_grow(0, 60000); say(e->id, PB_TEXT("ok")); return; }
	__builtin_trap();
}
