/* Fetches with credit, so that the host is within a read of the body when it is told to pipe it. */
#include "patchbay.h"

static struct pb_event events[16];
static uint8_t data[PB_MIN_DATA], block[256];

static void event(const struct pb_event *e) {
	const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("GET")}, {PB_TEXT(":url"), PB_TEXT("upstream://up/")}};
	if (e->kind == PB_CONFIG) pb_ready();
	if (e->kind == PB_REQUEST) pb_fetch(e->id, e->id, pb_fields_write(block, sizeof block, call, 2), PB_TEXT(""), 65536, PB_OP_END);
	if (e->kind == PB_CHUNK) {
		pb_head(e->id, 200, PB_TEXT(""), PB_TEXT(""), PB_LAZY);
		pb_pipe(e->id, e->id | 1ull << 63, e->id, pb_event_body(e, data), 0, 0);
		pb_log(e->id, PB_INFO, "piped", 5);
	}
}

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return pb_handshake(features, PB_FEATURE_PIPE);
}

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) event(&events[i]);
}
