/* Leaves as if all were well. */
// want: trap "exit_code(0)"
#include "hostile.h"

WASI(proc_exit) void proc_exit(uint32_t code);

static void request(const struct pb_event *e) {
	say(e->id + 1, PB_TEXT("x"));
	proc_exit(0);
}
