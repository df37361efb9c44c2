/* Wakes itself for ever. */
// want: timeout
#define OWN_POLL
#include "hostile.h"

static uint64_t wakes;

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) pb_ready();
			pb_sleep(0, ++wakes, i % 2);
			if (events[i].kind == PB_REQUEST) pb_sleep(events[i].id, ++wakes, 0);
		}
}
