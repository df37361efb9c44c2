/* Imports a function as another type. */
// want: start "take"
#define pb_take other_take
#include "hostile.h"
#undef pb_take

PB_IMPORT(take) uint64_t third_take(uint64_t where);

static void request(const struct pb_event *e) { (void)e, third_take(1); }
