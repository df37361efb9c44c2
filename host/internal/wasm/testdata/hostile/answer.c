/* An answer without end, within its credit. */
// want: error "limits.answer"
#define OWN_POLL
#include "hostile.h"

PB_EXPORT(patchbay_poll)
void poll(void) {
	static uint8_t piece[16384];
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			uint64_t id = events[i].id;
			if (events[i].kind == PB_CONFIG) pb_ready();
			if (events[i].kind == PB_REQUEST) pb_head(id, 200, PB_TEXT(""), PB_TEXT(""), 0);
			if (events[i].kind == PB_REQUEST || events[i].kind == PB_CREDIT)
				while (pb_write(id, (struct pb_span){piece, sizeof piece}, 0) == 0) {}
		}
}
