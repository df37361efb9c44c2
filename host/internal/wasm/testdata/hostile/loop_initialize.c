/* An endless loop before anything else. */
// want: late start "deadline"
#include "hostile.h"

PB_EXPORT(_initialize)
void initialize(void) {
	for (int n = 0;; n++) OPAQUE(n);
}

static void request(const struct pb_event *e) { (void)e; }
