/* Takes no event after the first. */
// want: error "no worker"
#define OWN_POLL
#include "hostile.h"

static int ready;

PB_EXPORT(patchbay_poll)
void poll(void) {
	if (ready) return;
	pb_take(events, 1, data, sizeof data);
	pb_ready();
	ready = 1;
}
