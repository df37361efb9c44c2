/* A trap in the first poll. */
// want: start "unreachable"
#define OWN_POLL
#include "hostile.h"

PB_EXPORT(patchbay_poll)
void poll(void) { __builtin_trap(); }
