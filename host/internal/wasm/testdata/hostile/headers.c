/* Headers that are too many, too large, two in one, or no headers. */
// want: answer "ok"
#include "hostile.h"

static uint8_t block[2 * PB_MAX_BLOCK];
static uint64_t id;

/* Builds a block of count fields of this name and value without looking at any limit. */
static uint32_t build(uint32_t count, struct pb_span name, struct pb_span value) {
	uint8_t *at = block + 4 + 8 * count;
	pb_put_u32(block, count);
	for (uint32_t i = 0; i < count; i++) {
		pb_put_u32(block + 4 + 8 * i, name.len);
		pb_put_u32(block + 8 + 8 * i, value.len);
		memcpy(at, name.ptr, name.len);
		memcpy(at + name.len, value.ptr, value.len);
		at += name.len + value.len;
	}
	return (uint32_t)(at - block);
}

static int with(struct pb_span name, struct pb_span value) { return pb_respond(id, 200, block, build(1, name, value), "header", 6); }

static void request(const struct pb_event *e) {
	static uint8_t much[PB_MAX_BLOCK];
	id = e->id;
	for (uint32_t i = 0; i < sizeof much; i++) much[i] = 'v';
	EXPECT(with(PB_TEXT("x"), (struct pb_span){much, PB_MAX_BLOCK - 12}), -PB_INVALID); /* one byte too many */
	EXPECT(pb_respond(id, 200, block, build(1025, PB_TEXT("x"), PB_TEXT("v")), NULL, 0), -PB_INVALID);
	EXPECT(pb_respond(id, 200, block, build(2, PB_TEXT("x"), PB_TEXT("v")) - 1, NULL, 0), -PB_INVALID);
	EXPECT(pb_respond(id, 200, block, build(2, PB_TEXT("x"), PB_TEXT("v")) + 1, NULL, 0), -PB_INVALID);
	for (uint32_t n = 1; n < 4; n++) EXPECT(pb_respond(id, 200, block, n, NULL, 0), -PB_INVALID);
	pb_put_u32(block, 0xffffffff);
	EXPECT(pb_respond(id, 200, block, 4, NULL, 0), -PB_INVALID);
	pb_put_u32(block, 0x20000000); /* which times 8 is 0 in 32 bits */
	EXPECT(pb_respond(id, 200, block, 4, NULL, 0), -PB_INVALID);
	build(1, PB_TEXT("x"), PB_TEXT("v"));
	pb_put_u32(block + 4, 0xffffffff);
	pb_put_u32(block + 8, 3); /* together 2 in 32 bits */
	EXPECT(pb_respond(id, 200, block, 14, NULL, 0), -PB_INVALID);
	EXPECT(with(PB_TEXT("x"), PB_TEXT("v\r\nset-cookie: a=b")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x"), PB_TEXT("v\nset-cookie: a=b")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x"), PB_TEXT("v\r")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x"), PB_TEXT("v\0")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x"), PB_TEXT("\x7f")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x: y\r\nz"), PB_TEXT("v")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x\n"), PB_TEXT("v")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x y"), PB_TEXT("v")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x:"), PB_TEXT("v")), -PB_INVALID);
	EXPECT(with(PB_TEXT("Capital"), PB_TEXT("v")), -PB_INVALID);
	EXPECT(with(PB_TEXT("x\xc3\xbc"), PB_TEXT("v")), -PB_INVALID);
	EXPECT(with(PB_TEXT(""), PB_TEXT("v")), -PB_INVALID);
	EXPECT(with(PB_TEXT(":status"), PB_TEXT("200")), -PB_INVALID);
	report(id);
}
