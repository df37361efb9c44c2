/* A trap in the handshake. */
// want: start "unreachable"
#define OWN_HANDSHAKE
#include "hostile.h"

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max, (void)features;
	__builtin_trap();
}

static void request(const struct pb_event *e) { (void)e; }
