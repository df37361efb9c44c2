/* Takes a request and never answers. */
// want: timeout
#include "hostile.h"

static void request(const struct pb_event *e) { (void)e; }
