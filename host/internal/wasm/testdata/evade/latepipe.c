/* Reads a stream, and pipes it a moment later: the host is within a read of it then. */
#define OWN_POLL
#include "../hostile/hostile.h"
static uint8_t block[256];
static void event(const struct pb_event *e) {
	const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("GET")}, {PB_TEXT(":url"), PB_TEXT("upstream://up/")}};
	if (e->kind == PB_CONFIG) pb_ready();
	if (e->kind == PB_REQUEST) pb_fetch(e->id, e->id, pb_fields_write(block, sizeof block, call, 2), PB_TEXT(""), 65536, PB_OP_END);
	if (e->kind == PB_CHUNK) pb_sleep(e->id, e->id | 1ull << 63, 20000000);
	if (e->kind == PB_DONE && e->id >> 63) {
		const uint64_t id = e->id & ~(1ull << 63);
		pb_head(id, 200, PB_TEXT(""), PB_TEXT(""), PB_LAZY);
		pb_pipe(id, id | 3ull << 62, id, PB_TEXT(""), 0, 0);
		pb_log(id, PB_INFO, "piped", 5);
	}
}
PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) event(&events[i]);
}
