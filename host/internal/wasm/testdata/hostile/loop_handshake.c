/* An endless loop in the handshake. */
// want: late start "deadline"
#define OWN_HANDSHAKE
#include "hostile.h"

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	for (;; min++) OPAQUE(min);
	return max + features;
}

static void request(const struct pb_event *e) { (void)e; }
