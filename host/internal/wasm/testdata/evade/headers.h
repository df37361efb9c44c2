/* An answer's head of 64 KiB, for guests that keep the host busy with it. */
#include "../hostile/hostile.h"
static uint8_t block[65536];
static void put(uint32_t at, uint32_t v) { memcpy(block + at, &v, 4); }
/* Writes a block of 1,024 fields, and gives its size. */
static uint32_t headers(void) {
	const uint32_t n = 1024, vlen = 54;
	put(0, n);
	for (uint32_t i = 0; i < n; i++) put(4 + 8 * i, 1), put(8 + 8 * i, vlen);
	uint32_t size = 4 + 8 * n + n * (1 + vlen);
	for (uint32_t i = 4 + 8 * n; i < size; i++) block[i] = 'x';
	return size;
}
