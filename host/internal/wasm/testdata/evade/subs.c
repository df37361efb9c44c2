/* Asks for 4,096 clocks of an absolute time without end. */
#include "../hostile/hostile.h"
WASI(poll_oneoff) int poll_oneoff(const void *in, void *out, uint32_t n, void *count);
static uint8_t subs[48 * 4096], out[32 * 4096];
static void request(const struct pb_event *e) {
	(void)e;
	for (int i = 0; i < 4096; i++) { subs[48 * i + 40] = 1; subs[48 * i + 24] = 1; }
	uint32_t count;
	for (;;) poll_oneoff(subs, out, 4096, &count);
}
