/* A trap within a request. */
// want: trap "unreachable"
#include "hostile.h"

static void request(const struct pb_event *e) {
	pb_head(e->id, 200, PB_TEXT(""), PB_TEXT(""), PB_LAZY);
	__builtin_trap();
}
