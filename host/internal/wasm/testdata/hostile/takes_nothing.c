/* Never takes its events. */
// want: start "had taken none"
#define OWN_POLL
#include "hostile.h"

PB_EXPORT(patchbay_poll)
void poll(void) {}
