/* Route 0 watches a stream that it gives no credit for; 1 traps, 2 wants to watch no longer. */
#include "patchbay.h"

static struct pb_event events[16];
static uint8_t data[PB_MIN_DATA], block[256];
static uint64_t pipe;

static void event(const struct pb_event *e) {
	const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("GET")}, {PB_TEXT(":url"), PB_TEXT("upstream://up/")}};
	if (e->kind == PB_CONFIG) pb_ready();
	if (e->kind == PB_REQUEST && e->code == 1) __builtin_trap();
	if (e->kind == PB_REQUEST && e->code == 2) {
		pb_cancel(pipe);
		pb_respond(e->id, 200, NULL, 0, NULL, 0);
	}
	if (e->kind == PB_REQUEST && e->code == 0) pb_fetch(e->id, e->id, pb_fields_write(block, sizeof block, call, 2), PB_TEXT(""), 0, PB_OP_END);
	if (e->kind == PB_DONE && e->id != pipe) {
		pipe = e->id | 1ull << 63;
		pb_head(e->id, 200, PB_TEXT(""), PB_TEXT(""), PB_LAZY);
		pb_pipe(e->id, pipe, e->id, PB_TEXT(""), 0, PB_SSE | PB_WATCH);
	}
}

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return pb_handshake(features, PB_FEATURE_PIPE | PB_FEATURE_SSE);
}

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) event(&events[i]);
}
