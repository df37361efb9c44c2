/* An endless loop where it should get ready. */
// want: late start "deadline"
#define OWN_POLL
#include "hostile.h"

PB_EXPORT(patchbay_poll)
void poll(void) {
	pb_take(events, 16, data, sizeof data);
	for (int n = 0;; n++) OPAQUE(n);
}
