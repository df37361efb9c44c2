/* What the benchmarks ask of a guest without a runtime of its own: nothing, an echo, a fetch, an endless fill. */
#include "patchbay.h"

enum { NOOP, ECHO, FETCH, FILL }; /* the order of benchRoutes */

static struct pb_event events[16];
static uint8_t data[PB_MIN_DATA];
static uint8_t block[256];

static const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("GET")}, {PB_TEXT(":url"), PB_TEXT("http://up/")}};

__attribute__((target("bulk-memory"))) static void fill(char *at, uint32_t n) { __builtin_memset(at, 1, n); }

static void request(const struct pb_event *e) {
	struct pb_span body = {NULL, 0};
	switch (e->code) {
	case ECHO: body = pb_event_body(e, data); break;
	case FETCH:
		pb_fetch(e->id, e->id, pb_fields_write(block, sizeof block, call, 2), body, PB_REQUEST_CREDIT, PB_OP_END);
		return;
	case FILL: /* 1 GiB in one instruction, again and again; the fetch is cancelled when that is stopped */
		pb_fetch(e->id, e->id, pb_fields_write(block, sizeof block, call, 2), body, PB_REQUEST_CREDIT, PB_OP_END);
		for (char *at = (char *)(__builtin_wasm_memory_grow(0, 1u << 14) << 16);;) fill(at, 1u << 30);
	}
	pb_respond(e->id, 200, NULL, 0, body.ptr, body.len);
}

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return pb_handshake(features, 0);
}

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			const struct pb_event *e = &events[i];
			struct pb_span body = pb_event_body(e, data);
			if (e->kind == PB_CONFIG) pb_ready();
			if (e->kind == PB_REQUEST) request(e);
			if (e->kind == PB_DONE) pb_respond(e->id, e->code, NULL, 0, body.ptr, body.len);
		}
}
