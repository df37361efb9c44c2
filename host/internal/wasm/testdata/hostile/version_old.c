/* Speaks a version that is no more. */
// want: start "speaks ABI 0, this host 1"
#define OWN_HANDSHAKE
#include "hostile.h"

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return (uint32_t)features;
}

static void request(const struct pb_event *e) { (void)e; }
