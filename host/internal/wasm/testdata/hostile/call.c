/* Calls what is no function. */
// want: trap "invalid table access"
#include "hostile.h"

static void request(const struct pb_event *e) {
	void (*nobody)(void) = (void (*)(void))0x7fffffff;
	OPAQUE(nobody);
	nobody();
	say(e->id, PB_TEXT("called"));
}
