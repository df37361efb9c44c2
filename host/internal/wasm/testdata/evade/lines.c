/* Logs empty lines without end, 64 KiB in a call. */
#include "../hostile/hostile.h"
WASI(fd_write) int fd_write(uint32_t fd, const void *vectors, uint32_t n, void *count);
static uint8_t much[65536];
static void request(const struct pb_event *e) {
	(void)e;
	for (uint32_t i = 0; i < sizeof much; i++) much[i] = '\n';
	uint32_t count = 0, v[2] = {(uint32_t)much, sizeof much};
	for (;;) fd_write(1, v, 1, &count);
}
