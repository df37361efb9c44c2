/* Recurses without end when it is configured, or does not, as random bytes have it. */
#define OWN_POLL
#include "../hostile/hostile.h"
WASI(random_get) int random_get(void *buffer, uint32_t len);
static int deep(int n) { OPAQUE(n); if (n < 0) return 0; int m = deep(n + 1); OPAQUE(m); return m + n; }
PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) {
				uint8_t chance = 0;
				random_get(&chance, 1);
				if (chance & 1) deep(0);
				pb_ready();
			}
			if (events[i].kind == PB_REQUEST) say(events[i].id, PB_TEXT("ok"));
		}
}
