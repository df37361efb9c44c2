/* Divides by zero. */
// want: trap "integer divide by zero"
#include "hostile.h"

static void request(const struct pb_event *e) {
	int zero = 0, n = 1;
	OPAQUE(zero);
	OPAQUE(n);
	n /= zero;
	OPAQUE(n);
	say(e->id, PB_TEXT("divided"));
}
