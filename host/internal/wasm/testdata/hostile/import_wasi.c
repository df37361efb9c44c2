/* Imports a function that WASI does not have. */
// want: start "fd_everything"
#include "hostile.h"

WASI(fd_everything) int fd_everything(void);

static void request(const struct pb_event *e) { (void)e, fd_everything(); }
