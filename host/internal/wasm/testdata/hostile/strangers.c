/* Answers requests that are not its own, unknown, or over. */
// want: answer "ok"
#include "hostile.h"

static void nobody(uint64_t id) {
	EXPECT(pb_respond(id, 200, NULL, 0, "x", 1), -PB_NOT_FOUND);
	EXPECT(pb_head(id, 200, PB_TEXT(""), PB_TEXT("x"), 0), -PB_NOT_FOUND);
	EXPECT(pb_write(id, PB_TEXT("x"), PB_OP_END), -PB_NOT_FOUND);
	EXPECT(pb_read_request(id, 1), -PB_NOT_FOUND);
	EXPECT(pb_abort(id), -PB_NOT_FOUND);
	EXPECT(pb_pipe(id, 5, 6, PB_TEXT(""), 0, 0), -PB_NOT_FOUND);
	if (id != 0) EXPECT(pb_sleep(id, 5, 1), -PB_NOT_FOUND);
}

static void request(const struct pb_event *e) {
	nobody(0);
	nobody(~0ull);
	nobody(e->id + 1);
	nobody(e->id - 1);
	nobody(e->id + (1ull << 32));
	nobody(e->id - (1ull << 32));
	nobody(e->id & 0xffffffff);
	nobody(e->id | 0xffffffff);
	EXPECT(pb_cancel(99), -PB_NOT_FOUND);
	EXPECT(pb_read_result(99, 1), -PB_NOT_FOUND);
	EXPECT(pb_send(99, PB_TEXT("x"), 0), -PB_NOT_FOUND);
	EXPECT(pb_sleep(e->id, 5, 3600000000000ull), 0);
	EXPECT(pb_sleep(e->id, 5, 1), -PB_INVALID); /* in use */
	EXPECT(pb_sleep(0, 5, 1), -PB_INVALID);
	EXPECT(pb_send(5, PB_TEXT("x"), 0), -PB_STATE); /* no fetch */
	EXPECT(pb_pipe(e->id, 6, 5, PB_TEXT(""), 0, 0), -PB_STATE);
	EXPECT(pb_cancel(5), 0);
	EXPECT(pb_cancel(5), -PB_NOT_FOUND);
	report(e->id);
}
