/* Fetches without a grant, a thousand times, and never looks at what comes of it. */
// want: answer "ok"
#include "hostile.h"

static uint8_t block[PB_MAX_BLOCK];

static void request(const struct pb_event *e) {
	const struct pb_field call[] = {{PB_TEXT(":method"), PB_TEXT("GET")}, {PB_TEXT(":url"), PB_TEXT("http://169.254.169.254/")}};
	struct pb_span fields = pb_fields_write(block, sizeof block, call, 2);
	for (uint64_t i = 0; i < 1000; i++) EXPECT(pb_fetch(i % 2 ? e->id : 0, 1 + i, fields, PB_TEXT(""), 0xffffffff, PB_OP_END), -PB_DENIED);
	report(e->id);
}
