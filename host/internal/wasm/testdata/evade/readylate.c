/* Is ready after a moment, and grows its memory in the same poll. */
#define OWN_POLL
#include "../hostile/hostile.h"
static void request(const struct pb_event *e) { say(e->id, PB_TEXT("ok")); }
PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) { struct pb_op o; memset(&o, 0, sizeof o); o.code = PB_OP_SLEEP; o.op = 7; o.arg64 = 2000000; pb_submit(&o, 1); }
			if (events[i].kind == PB_DONE) {
				pb_ready();
				for (int j = 0; j < 500; j++) __builtin_wasm_memory_grow(0, 1);
			}
			if (events[i].kind == PB_REQUEST) request(&events[i]);
		}
}
