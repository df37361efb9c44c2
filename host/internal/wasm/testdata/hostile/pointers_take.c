/* Takes to places that are none. */
// want: answer "ok"
#include "hostile.h"

static void request(const struct pb_event *e) {
	EXPECT(pb_take(FAR, 1, data, sizeof data), -PB_FAULT);
	EXPECT(pb_take(END_OF_MEMORY, 1, data, sizeof data), -PB_FAULT);
	EXPECT(pb_take(events, 0xffffffff, END_OF_MEMORY, sizeof data), -PB_FAULT);
	EXPECT(pb_take(events, 1, FAR, sizeof data), -PB_FAULT);
	EXPECT(pb_take(events, 1, data, 0xffffffff), -PB_FAULT);
	EXPECT(pb_take(events, 1, data, sizeof data - 1), -PB_INVALID);
	EXPECT(pb_take(events, 0, data, sizeof data), -PB_INVALID);
	EXPECT(pb_take(0, 1, data, 0), -PB_INVALID);
	report(e->id);
}
