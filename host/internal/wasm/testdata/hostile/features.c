/* Wants features that nobody offered. */
// want: start "needs features"
#define OWN_HANDSHAKE
#include "hostile.h"

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max, (void)features;
	return 1ull << 32 | 0xffffffff;
}

static void request(const struct pb_event *e) { (void)e; }
