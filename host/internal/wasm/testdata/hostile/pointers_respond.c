/* Answers with what lies outside. */
// want: answer "ok"
#include "hostile.h"

static void request(const struct pb_event *e) {
	EXPECT(pb_respond(e->id, 200, FAR, 100, NULL, 0), -PB_FAULT);
	EXPECT(pb_respond(e->id, 200, NULL, 0, FAR, 100), -PB_FAULT);
	EXPECT(pb_respond(e->id, 200, END_OF_MEMORY, 1, NULL, 0), -PB_FAULT);
	EXPECT(pb_respond(e->id, 200, NULL, 0, data, 0xffffffff), -PB_FAULT);
	EXPECT(pb_respond(e->id, 0, NULL, 0, NULL, 0), -PB_INVALID);
	EXPECT(pb_respond(e->id, 100, NULL, 0, NULL, 0), -PB_INVALID);
	EXPECT(pb_respond(e->id, 199, NULL, 0, NULL, 0), -PB_INVALID);
	EXPECT(pb_respond(e->id, 600, NULL, 0, NULL, 0), -PB_INVALID);
	EXPECT(pb_respond(e->id, 0xffffffff, NULL, 0, NULL, 0), -PB_INVALID);
	EXPECT(pb_log(e->id, 0, FAR, 100), -PB_FAULT);
	EXPECT(pb_log(e->id, 0x7fffffff, END_OF_MEMORY, 1), -PB_FAULT);
	EXPECT(pb_log(~0ull, (int)0x80000000, "far from any level", 18), 0);
	EXPECT(pb_log(e->id, 0, "\xff\xfe\0\n\x1b[31m", 9), 0);
	report(e->id);
}
