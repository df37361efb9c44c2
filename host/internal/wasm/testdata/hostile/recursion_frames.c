/* Endless recursion with large frames: a hundred values that live across the call. */
// want: stack "limits.stack (8 MiB)"
#include "hostile.h"

static int heap[128];

__attribute__((noinline)) static int deeper(int n) {
	OPAQUE(n);
	if (n == 0) return 0;
#define READ(i) int v##i = heap[(n + i) & 127];
#define TEN(m, t) m(t##0) m(t##1) m(t##2) m(t##3) m(t##4) m(t##5) m(t##6) m(t##7) m(t##8) m(t##9)
#define HUNDRED(m) TEN(m, 1) TEN(m, 2) TEN(m, 3) TEN(m, 4) TEN(m, 5) TEN(m, 6) TEN(m, 7) TEN(m, 8) TEN(m, 9) TEN(m, 10)
	HUNDRED(READ)
	int m = deeper(n + 1);
	OPAQUE(m);
#define ADD(i) m = m * 3 + v##i;
	HUNDRED(ADD)
	return m;
}

static void request(const struct pb_event *e) {
	int n = deeper(1 + (int)e->id);
	OPAQUE(n);
}
