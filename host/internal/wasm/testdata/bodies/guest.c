/* Has as much under way in the host as it can. Route 0 fetches with all the credit there is and answers with the length of what came; 1 sends
 * a body whole, 2 in pieces, 3 hands it back to a pipe, each of 1 MiB; 4 logs "hold"; 5 is 0 for the
 * request's own body. */
#include "patchbay.h"

enum { SLOTS = 64 };

static struct pb_event events[16];
static uint8_t data[PB_MIN_DATA], block[256], body[1 << 20];
static struct { uint32_t route; uint64_t length; } slots[SLOTS];

static void say(uint64_t id, uint32_t status, uint64_t n) {
	char digits[20];
	struct pb_span text = pb_decimal(digits, n);
	pb_respond(id, status, NULL, 0, text.ptr, text.len);
}

static void request(const struct pb_event *e) {
	const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("POST")}, {PB_TEXT(":url"), PB_TEXT("upstream://up/")}};
	struct pb_span fields = pb_fields_write(block, sizeof block, call, 2), all = {body, sizeof body};
	int result = 0;
	slots[(uint32_t)e->id % SLOTS].route = e->code;
	slots[(uint32_t)e->id % SLOTS].length = 0;
	switch (e->code) {
	case 0: result = pb_fetch(e->id, e->id, fields, PB_TEXT(""), PB_MAX_CREDIT, PB_OP_END); break;
	case 1: result = pb_fetch(e->id, e->id, fields, all, 0, PB_OP_END); break;
	case 2: result = pb_fetch(e->id, e->id, fields, all, 0, 0); break;
	case 3: result = pb_fetch(e->id, e->id, fields, PB_TEXT(""), 0, PB_OP_END); break;
	case 4:
		pb_log(e->id, PB_INFO, "hold", 4);
		say(e->id, 200, 0);
		break;
	case 5:
		slots[(uint32_t)e->id % SLOTS].length = pb_event_body(e, data).len;
		pb_read_request(e->id, PB_MAX_CREDIT);
	}
	if (result < 0) say(e->id, 503, (uint64_t)-result);
}

static void result(const struct pb_event *e) {
	uint64_t *length = &slots[(uint32_t)e->id % SLOTS].length;
	uint32_t n = pb_event_body(e, data).len;
	if (e->flags & PB_ERROR) {
		say(e->id, 502, e->code);
		return;
	}
	switch (slots[(uint32_t)e->id % SLOTS].route) {
	case 0:
		*length += n;
		if (e->flags & PB_END) say(e->id, 200, *length);
		else if (n > 0) pb_read_result(e->id, n);
		return;
	case 1:
	case 2: say(e->id, 200, sizeof body); return;
	}
	if (e->id >> 63) return; /* the pipe's own end */
	pb_head(e->id, 200, PB_TEXT(""), PB_TEXT(""), PB_LAZY);
	int code = pb_pipe(e->id, e->id | 1ull << 63, e->id, (struct pb_span){body, sizeof body}, 0, 0);
	if (code < 0) say(e->id, 503, (uint64_t)-code);
}

static void upload(const struct pb_event *e) {
	uint64_t *length = &slots[(uint32_t)e->id % SLOTS].length;
	uint32_t n = pb_event_body(e, data).len;
	*length += n;
	if (e->flags & PB_END) say(e->id, 200, *length);
	else pb_read_request(e->id, n);
}

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return pb_handshake(features, PB_FEATURE_PIPE);
}

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) pb_ready();
			if (events[i].kind == PB_REQUEST) request(&events[i]);
			if (events[i].kind == PB_BODY) upload(&events[i]);
			if (events[i].kind == PB_DONE || events[i].kind == PB_CHUNK) result(&events[i]);
		}
}
