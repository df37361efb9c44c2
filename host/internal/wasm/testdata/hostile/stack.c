/* Runs its own stack in linear memory down below zero. */
// want: trap "out of bounds memory access"
#include "hostile.h"

__attribute__((noinline)) static int deeper(int n) {
	volatile char room[4096];
	room[n & 4095] = (char)n;
	if (n == 0) return 0;
	return deeper(n + 1) + room[(n + 1) & 4095];
}

static void request(const struct pb_event *e) {
	int n = deeper(1 + (int)e->id);
	OPAQUE(n);
}
