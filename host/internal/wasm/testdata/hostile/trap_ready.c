/* Says that it is ready, and traps. */
// want: start "unreachable"
#define OWN_POLL
#include "hostile.h"

PB_EXPORT(patchbay_poll)
void poll(void) {
	pb_take(events, 16, data, sizeof data);
	pb_ready();
	__builtin_trap();
}
