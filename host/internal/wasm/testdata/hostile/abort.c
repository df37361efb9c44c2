/* Gives its request up, and then answers. */
// want: error "aborted"
#include "hostile.h"

static void request(const struct pb_event *e) {
	pb_abort(e->id);
	pb_abort(e->id);
	say(e->id, PB_TEXT("after all"));
}
