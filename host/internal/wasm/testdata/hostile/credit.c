/* Writes more than it may. */
// want: answer "ok"
#include "hostile.h"

static uint8_t much[PB_RESPONSE_CREDIT + 1];

static void request(const struct pb_event *e) {
	struct pb_span all = {much, sizeof much};
	EXPECT(pb_write(e->id, PB_TEXT("before the head"), 0), -PB_STATE);
	EXPECT(pb_respond(e->id, 200, NULL, 0, much, sizeof much), -PB_NO_CREDIT);
	EXPECT(pb_head(e->id, 200, PB_TEXT(""), all, 0), -PB_NO_CREDIT);
	EXPECT(pb_head(e->id, 200, PB_TEXT(""), PB_TEXT(""), PB_LAZY), 0);
	EXPECT(pb_write(e->id, all, PB_OP_END), -PB_NO_CREDIT);
	EXPECT(pb_read_request(e->id, PB_MAX_CREDIT + 1), -PB_LIMIT);
	EXPECT(pb_read_request(e->id, 0xffffffff), -PB_LIMIT);
	report(e->id);
}
