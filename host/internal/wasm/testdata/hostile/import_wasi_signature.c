/* Imports a function of WASI as another type. */
// want: start "fd_write"
#include "hostile.h"

WASI(fd_write) uint64_t fd_write(uint64_t everything);

static void request(const struct pb_event *e) { (void)e, fd_write(1); }
