/* Pipes a stream, and traps a moment later. */
#define OWN_POLL
#include "../hostile/hostile.h"
static uint8_t block[256];
static void event(const struct pb_event *e) {
	const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("GET")}, {PB_TEXT(":url"), PB_TEXT("upstream://up/")}};
	if (e->kind == PB_CONFIG) pb_ready();
	if (e->kind == PB_REQUEST) pb_fetch(e->id, e->id, pb_fields_write(block, sizeof block, call, 2), PB_TEXT(""), 0, PB_OP_END);
	if (e->kind == PB_DONE && e->id >> 62 == 2) __builtin_trap();
	else if (e->kind == PB_DONE && e->id >> 63 == 0) {
		pb_head(e->id, 200, PB_TEXT(""), PB_TEXT(""), PB_LAZY);
		pb_pipe(e->id, e->id | 3ull << 62, e->id, PB_TEXT(""), 0, 0);
		pb_sleep(e->id, e->id | 2ull << 62, 3000000);
	}
}
PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) event(&events[i]);
}
