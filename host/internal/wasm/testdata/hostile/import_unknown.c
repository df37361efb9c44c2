/* Imports from nowhere. */
// want: start "env.nobody"
#include "hostile.h"

__attribute__((import_module("env"), import_name("nobody"))) void nobody(void);

static void request(const struct pb_event *e) { (void)e, nobody(); }
