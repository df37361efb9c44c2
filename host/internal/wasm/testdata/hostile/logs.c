/* Logs without end, through both ways. */
// want: answer "ok"
#include "hostile.h"

WASI(fd_write) int fd_write(uint32_t fd, const void *vectors, uint32_t n, void *count);

static void request(const struct pb_event *e) {
	static uint8_t much[1 << 20];
	for (uint32_t i = 0; i < sizeof much; i++) much[i] = i % 64 ? 'x' : '\n';
	uint32_t count = 0, vectors[2 * 1024];
	for (uint32_t i = 0; i < 1024; i++) vectors[2 * i] = (uint32_t)much, vectors[2 * i + 1] = sizeof much;
	for (int i = 0; i < 20; i++) {
		EXPECT(fd_write(1 + i % 2, vectors, 1024, &count), 0);
		EXPECT(count, 65536); /* and not 1 GiB at once */
	}
	for (int i = 0; i < 20000; i++) EXPECT(pb_log(e->id, PB_LOG_ERROR, much, sizeof much), 0);
	report(e->id);
}
