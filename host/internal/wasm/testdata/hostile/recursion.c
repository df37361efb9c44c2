/* Endless recursion without a loop. */
// want: stack "limits.stack (8 MiB)"
#include "hostile.h"

__attribute__((noinline)) static int deeper(int n) {
	OPAQUE(n);
	if (n == 0) return 0;
	int m = deeper(n + 1);
	OPAQUE(m);
	return m + n;
}

static void request(const struct pb_event *e) {
	int n = deeper(1 + (int)e->id);
	OPAQUE(n);
}
