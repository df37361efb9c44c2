/* Imports the host's own tick, to give itself time. */
// want: start "reserved"
#include "hostile.h"

__attribute__((import_module("patchbay_meter"), import_name("tick"))) uint64_t tick(void);

static void request(const struct pb_event *e) { (void)e, tick(); }
