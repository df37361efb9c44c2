/* Uses the host before the handshake is done. */
// want: answer "ok"
#define OWN_HANDSHAKE
#include "hostile.h"

static void early(void) {
	EXPECT(pb_take(events, 16, data, sizeof data), -PB_STATE);
	EXPECT(pb_ready(), -PB_STATE);
	EXPECT(pb_sleep(0, 1, 0), -PB_STATE);
	EXPECT(pb_respond(1, 200, NULL, 0, NULL, 0), -PB_STATE);
	EXPECT(pb_log(0, 0, "early", 5), 0);
}

PB_EXPORT(_initialize)
void initialize(void) { early(); }

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max, (void)features;
	early();
	return pb_handshake(features, 0);
}

static void request(const struct pb_event *e) { report(e->id); }
