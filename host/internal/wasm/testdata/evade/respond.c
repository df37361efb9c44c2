/* Responds without end, with 64 KiB of headers and as much of a body. */
#include "headers.h"
static void request(const struct pb_event *e) {
	uint32_t size = headers();
	for (;;) pb_respond(e->id, 200, block, size, block, sizeof block);
}
