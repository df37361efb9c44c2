/* Speaks another version. */
// want: start "speaks ABI 2, this host 1"
#define OWN_HANDSHAKE
#include "hostile.h"

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return 2ull << 32 | (uint32_t)features;
}

static void request(const struct pb_event *e) { (void)e; }
