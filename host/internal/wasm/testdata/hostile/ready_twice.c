/* Says that it is ready twice, and then that it is not. */
// want: answer "ok"
#define OWN_POLL
#include "hostile.h"

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) EXPECT(pb_ready(), 0);
			EXPECT(pb_ready(), -PB_STATE);
			EXPECT(pb_refuse(PB_TEXT("on second thoughts")), -PB_STATE);
			if (events[i].kind == PB_REQUEST) report(events[i].id);
		}
}
