/* Submits lazy heads of 64 KiB without end, 1,024 in a call. */
#include "../hostile/hostile.h"
static struct { uint16_t code, flags; uint32_t arg; uint64_t request, op; uint32_t fields, fields_len, body, body_len, name, name_len; uint64_t arg64; int32_t result; uint32_t zero; } ops[1024];
static uint8_t block[65536];
static void put(uint32_t at, uint32_t v) { memcpy(block + at, &v, 4); }
__attribute__((import_module("patchbay_v1"), import_name("submit"))) int raw_submit(const void *ops, uint32_t n);
static void request(const struct pb_event *e) {
	const uint32_t n = 1024, vlen = 54;
	put(0, n);
	for (uint32_t i = 0; i < n; i++) put(4 + 8 * i, 1), put(8 + 8 * i, vlen);
	uint32_t size = 4 + 8 * n + n * (1 + vlen);
	for (uint32_t i = 4 + 8 * n; i < size; i++) block[i] = 'x';
	for (int i = 0; i < 1024; i++) {
		ops[i].code = PB_OP_HEAD; ops[i].flags = PB_LAZY; block[65535] = 0; ops[i].arg = 200; ops[i].request = e->id;
		ops[i].fields = (uint32_t)block; ops[i].fields_len = size;
	}
	for (;;) pb_respond(e->id, 200, block, size, block, sizeof block);
}
