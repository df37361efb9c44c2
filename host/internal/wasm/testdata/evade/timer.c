/* Has a timer that is due at once, and grows its memory whenever it is polled. */
#define OWN_POLL
#include "../hostile/hostile.h"
WASI(poll_oneoff) int poll_oneoff(const void *in, void *out, uint32_t n, void *count);
static uint8_t sub[48], out[32];
static void request(const struct pb_event *e) { say(e->id, PB_TEXT("ok")); }
PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) pb_ready();
			if (events[i].kind == PB_REQUEST) request(&events[i]);
		}
	__builtin_wasm_memory_grow(0, 1);
	uint64_t soon = 30000000; uint32_t count;
	memset(sub, 0, sizeof sub);
	sub[16] = 1; memcpy(sub + 24, &soon, 8);
	poll_oneoff(sub, out, 1, &count);
}
