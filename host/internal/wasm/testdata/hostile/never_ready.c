/* Never says that it is ready. */
// want: late start "deadline"
#define OWN_POLL
#include "hostile.h"

PB_EXPORT(patchbay_poll)
void poll(void) { pb_take(events, 16, data, sizeof data); }
