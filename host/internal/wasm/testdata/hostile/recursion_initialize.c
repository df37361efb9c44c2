/* Endless recursion in _initialize. */
// want: start "limits.stack (8 MiB)"
#include "hostile.h"

__attribute__((noinline)) static int deeper(int n) {
	OPAQUE(n);
	if (n == 0) return 0;
	int m = deeper(n + 1);
	OPAQUE(m);
	return m + n;
}

PB_EXPORT(_initialize)
void initialize(void) {
	int n = deeper(1);
	OPAQUE(n);
}

static void request(const struct pb_event *e) { (void)e; }
