/* Endless recursion before hands are shaken. */
// want: start "limits.stack (8 MiB)"
#define OWN_HANDSHAKE
#include "hostile.h"

__attribute__((noinline)) static int deeper(int n) {
	OPAQUE(n);
	if (n == 0) return 0;
	int m = deeper(n + 1);
	OPAQUE(m);
	return m + n;
}

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	return (uint64_t)deeper((int)(min + max + features) | 1);
}

static void request(const struct pb_event *e) { (void)e; }
