/* Imports a function that the ABI does not have. */
// want: start "patchbay_v1.obey"
#include "hostile.h"

PB_IMPORT(obey) int obey(void);

static void request(const struct pb_event *e) { (void)e, obey(); }
