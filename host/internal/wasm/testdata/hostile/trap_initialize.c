/* A trap before anything else. */
// want: start "unreachable"
#include "hostile.h"

PB_EXPORT(_initialize)
void initialize(void) { __builtin_trap(); }

static void request(const struct pb_event *e) { (void)e; }
