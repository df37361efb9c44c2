/* Recursion that ends: a thousand calls deep, and the answer says so. */
// want: answer "1000"
#include "hostile.h"

__attribute__((noinline)) static int deeper(int n) {
	OPAQUE(n);
	if (n == 0) return 0;
	int m = deeper(n - 1);
	OPAQUE(m);
	return m + 1;
}

static void request(const struct pb_event *e) {
	char digits[20];
	say(e->id, pb_decimal(digits, (uint64_t)deeper(1000)));
}
