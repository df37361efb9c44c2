/* What the hostile guests share: a plugin that behaves, around the one thing that does not.
 * A case may define OWN_HANDSHAKE or OWN_POLL and write that itself; else it defines request(). */
#include "patchbay.h"

static struct pb_event events[16];
static uint8_t data[PB_MIN_DATA];

/* say answers a request with a text. */
static inline void say(uint64_t id, struct pb_span text) { pb_respond(id, 200, NULL, 0, text.ptr, text.len); }

/* Expectations: what a call gave is compared with what the ABI says, and the first that differs is the answer. */
static int wrong_line, wrong_value;
#define EXPECT(call, want) \
	do { \
		int got = (int)(call); \
		if (got != (int)(want) && wrong_line == 0) wrong_line = __LINE__, wrong_value = got; \
	} while (0)

/* report answers "ok", or the line and the value of the first expectation that was not met. */
static inline void report(uint64_t id) {
	if (wrong_line == 0) {
		say(id, PB_TEXT("ok"));
		return;
	}
	char text[64], digits[20];
	struct pb_span line = pb_decimal(digits, (uint64_t)wrong_line);
	memcpy(text, "line ", 5);
	memcpy(text + 5, line.ptr, line.len);
	uint32_t n = 5 + line.len;
	memcpy(text + n, wrong_value < 0 ? " gave -" : " gave ", wrong_value < 0 ? 7 : 6);
	n += wrong_value < 0 ? 7 : 6;
	struct pb_span value = pb_decimal(digits, (uint64_t)(wrong_value < 0 ? -(int64_t)wrong_value : wrong_value));
	memcpy(text + n, value.ptr, value.len);
	say(id, (struct pb_span){text, n + value.len});
}

/* Keeps the compiler from finding out that something has no end or no use. */
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))

#define END_OF_MEMORY ((void *)(__builtin_wasm_memory_size(0) << 16))
#define FAR ((void *)0xfffffff0)

#ifndef OWN_HANDSHAKE
PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return pb_handshake(features, PB_FEATURE_PIPE | PB_FEATURE_SSE);
}
#endif

#ifndef OWN_POLL
static void request(const struct pb_event *e);

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) pb_ready();
			if (events[i].kind == PB_REQUEST) request(&events[i]);
		}
}
#endif
