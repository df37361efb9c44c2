/* An endless loop. */
// want: cpu
#include "hostile.h"

static void request(const struct pb_event *e) {
	for (int n = (int)e->id;; n++) OPAQUE(n);
}
