/* Endless recursion through a table, with many locals. */
// want: stack "limits.stack (8 MiB)"
#include "hostile.h"

typedef long long (*step)(long long, long long, long long, long long, long long, long long);
static long long ping(long long, long long, long long, long long, long long, long long);
static long long pong(long long, long long, long long, long long, long long, long long);
static volatile step next[2] = {ping, pong};

static long long ping(long long a, long long b, long long c, long long d, long long e, long long f) { return next[1](b, c, d, e, f, a) + a * b + c * d + e * f; }
static long long pong(long long a, long long b, long long c, long long d, long long e, long long f) { return next[0](b, c, d, e, f, a) + a * d + c * f + e * b; }

static void request(const struct pb_event *e) {
	long long n = next[0](1, 2, 3, 4, 5, (long long)e->id);
	OPAQUE(n);
}
