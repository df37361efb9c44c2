/*
 * A plugin in C: one route that answers from the request, and one that fetches. Build it in this folder:
 *
 *     clang --target=wasm32 -nostdlib -O2 -Wl,--no-entry -I.. -o greeting.wasm plugin.c
 */
#include "patchbay.h"

PB_MANIFEST("manifest.json")

enum { HELLO, QUOTE }; /* the manifest's order */

static struct pb_event events[64];
static uint8_t data[PB_MIN_DATA];
static uint8_t block[PB_MAX_BLOCK];

static const struct pb_field plain[] = {{{"content-type", 12}, {"text/plain; charset=utf-8", 25}}};

static struct pb_span headers(void) { return pb_fields_write(block, sizeof block, plain, 1); }

/* The answer is small, so it goes out in one call. */
static void hello(uint64_t request, struct pb_span fields) {
	static uint8_t text[PB_MAX_BLOCK + 16];
	struct pb_span name = pb_fields_get(fields, PB_TEXT(":param.name"));
	memcpy(text, "Hello, ", 7);
	memcpy(text + 7, name.ptr, name.len);
	memcpy(text + 7 + name.len, "!\n", 2);
	struct pb_span head = headers();
	pb_respond(request, 200, head.ptr, head.len, text, name.len + 9);
}

/* The answer is the upstream's, passed on by the host. A request makes one fetch and one pipe at most, one after the
 * other, so its own id serves as the id of the fetch, and with the top bit set as that of the pipe. */
#define PIPE(request) ((request) | 1ull << 63)

static void quote(uint64_t request) {
	const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("GET")}, {PB_TEXT(":url"), PB_TEXT("upstream://quotes/today")}};
	int result = pb_fetch(request, request, pb_fields_write(block, sizeof block, call, 2), PB_TEXT(""), 0, PB_OP_END);
	if (result != 0) pb_respond(request, 502, NULL, 0, "The quotes cannot be asked.\n", 28);
}

static void done(const struct pb_event *e) {
	uint64_t request = e->id & ~(1ull << 63);
	if (e->flags & PB_ERROR) { /* the text says what to do about it, which is for the log and not for the client */
		struct pb_span text = pb_event_body(e, data);
		pb_log(request, PB_WARN, text.ptr, text.len);
		pb_head(request, 502, headers(), PB_TEXT("The quotes do not answer.\n"), PB_OP_END);
	} else if (e->id != request) {
		return; /* the pipe has sent everything */
	} else if (e->flags & PB_END) { /* it has no body, or a short one that came at once */
		pb_head(request, e->code, headers(), pb_event_body(e, data), PB_OP_END);
	} else {
		pb_head(request, e->code, headers(), PB_TEXT(""), PB_LAZY);
		pb_pipe(request, PIPE(request), request, pb_event_body(e, data), 0, 0);
	}
}

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return pb_handshake(features, PB_FEATURE_PIPE);
}

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 64, data, sizeof data)) > 0;) {
		for (int i = 0; i < n; i++) {
			const struct pb_event *e = &events[i];
			switch (e->kind) {
			case PB_CONFIG: pb_ready(); break;
			case PB_REQUEST:
				if (e->code == HELLO) hello(e->id, pb_event_fields(e, data));
				else quote(e->id);
				break;
			case PB_DONE: done(e); break;
			default: break; /* nothing is kept of a request, so a cancelled one needs no care */
			}
		}
	}
}
