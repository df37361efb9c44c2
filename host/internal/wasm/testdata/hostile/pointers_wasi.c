/* Asks WASI for what lies outside, for too much, and for what nobody has. */
// want: answer "ok"
#include "hostile.h"

WASI(poll_oneoff) int poll_oneoff(const void *in, void *out, uint32_t n, void *count);
WASI(fd_read) int fd_read(uint32_t fd, const void *vectors, uint32_t n, void *count);
WASI(fd_write) int fd_write(uint32_t fd, const void *vectors, uint32_t n, void *count);
WASI(fd_fdstat_get) int fd_fdstat_get(uint32_t fd, void *out);
WASI(fd_renumber) int fd_renumber(uint32_t from, uint32_t to);
WASI(fd_pwrite) int fd_pwrite(uint32_t fd, const void *vectors, uint32_t n, uint64_t offset, void *count);
WASI(fd_readdir) int fd_readdir(uint32_t fd, void *buffer, uint32_t len, uint64_t cookie, void *used);
WASI(fd_prestat_get) int fd_prestat_get(uint32_t fd, void *out);
WASI(path_open) int path_open(uint32_t fd, uint32_t f, const void *path, uint32_t len, uint32_t o, uint64_t r, uint64_t i, uint32_t flags, void *out);
WASI(path_unlink_file) int path_unlink_file(uint32_t fd, const void *path, uint32_t len);
WASI(sock_accept) int sock_accept(uint32_t fd, uint32_t flags, void *out);
WASI(random_get) int random_get(void *buffer, uint32_t len);
WASI(clock_time_get) int clock_time_get(uint32_t id, uint64_t precision, void *out);

enum { BADF = 8, FAULT = 21, INVAL = 28 };

static uint8_t in[4096 * 48];
static uint32_t out[4096 * 8], n;

static void request(const struct pb_event *e) {
	EXPECT(poll_oneoff(in, out, 0, &n), INVAL);
	EXPECT(poll_oneoff(in, out, 4097, &n), INVAL);
	EXPECT(poll_oneoff(in, out, 0xffffffff, &n), INVAL);
	EXPECT(poll_oneoff(in, out, 1u << 28, &n), INVAL); /* which times 48 is 0 in 32 bits */
	EXPECT(poll_oneoff(FAR, out, 1, &n), FAULT);
	EXPECT(poll_oneoff(in, END_OF_MEMORY, 1, &n), FAULT);
	EXPECT(poll_oneoff(in, out, 1, FAR), FAULT);
	EXPECT(poll_oneoff(in, in, 4096, &n), 0);
	for (uint32_t i = 0; i < sizeof in; i++) in[i] = 0xff;
	EXPECT(poll_oneoff(in, out, 4096, &n), 0);
	for (uint32_t i = 0; i < 4096; i++) in[i * 48 + 8] = 0; /* clocks that ring at the end of time */
	EXPECT(poll_oneoff(in, out, 4096, &n), 0);
	EXPECT(fd_read(100, FAR, 0xffffffff, FAR) == FAULT || fd_read(100, FAR, 0xffffffff, FAR) == FAULT, 1);
	EXPECT(fd_read(0, out, 1, &n), BADF);
	EXPECT(fd_write(1, out, 0xffffffff, &n), INVAL);
	EXPECT(fd_write(1, out, 1025, &n), INVAL);
	EXPECT(fd_write(1, FAR, 1, &n), FAULT);
	EXPECT(fd_write(1, END_OF_MEMORY, 1024, &n), FAULT);
	uint32_t vectors[] = {(uint32_t)FAR, 100};
	EXPECT(fd_write(1, vectors, 1, &n), FAULT);
	EXPECT(fd_write(3, out, 1, &n), BADF);
	EXPECT(fd_fdstat_get(1, FAR), FAULT);
	EXPECT(fd_fdstat_get(100, END_OF_MEMORY), FAULT);
	EXPECT(fd_fdstat_get(0xffffffff, out), BADF);
	EXPECT(fd_renumber(1, 0x7fffffff), BADF); /* a table of that many descriptors would be the host's end */
	EXPECT(fd_renumber(0, 1u << 24), BADF);
	EXPECT(fd_pwrite(1, out, 1, 1ull << 62, &n), BADF);
	EXPECT(fd_readdir(1, out, 100, 0, &n), BADF);
	EXPECT(fd_prestat_get(3, out), BADF);
	EXPECT(path_open(0, 0, "etc/passwd", 10, 0, ~0ull, ~0ull, 0, &n), BADF);
	EXPECT(path_open(3, 0, FAR, 0xffffffff, 0, ~0ull, ~0ull, 0, &n), BADF);
	EXPECT(path_unlink_file(3, "x", 1), BADF);
	EXPECT(sock_accept(3, 0, &n), BADF);
	EXPECT(random_get(FAR, 100), FAULT);
	EXPECT(random_get(data, 0xffffffff), FAULT);
	EXPECT(random_get(data, 0), 0);
	EXPECT(clock_time_get(0, 0, FAR), FAULT);
	EXPECT(clock_time_get(99, 0, out) != 0, 1);
	report(e->id);
}
