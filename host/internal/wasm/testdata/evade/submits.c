/* Submits lazy heads of 64 KiB without end, 1,024 in a call. */
#include "headers.h"
static struct { uint16_t code, flags; uint32_t arg; uint64_t request, op; uint32_t fields, fields_len, body, body_len, name, name_len; uint64_t arg64; int32_t result; uint32_t zero; } ops[1024];
__attribute__((import_module("patchbay_v1"), import_name("submit"))) int raw_submit(const void *ops, uint32_t n);
static void request(const struct pb_event *e) {
	uint32_t size = headers();
	for (int i = 0; i < 1024; i++) {
		ops[i].code = PB_OP_HEAD; ops[i].flags = PB_LAZY; ops[i].arg = 200; ops[i].request = e->id;
		ops[i].fields = (uint32_t)block; ops[i].fields_len = size;
	}
	for (;;) raw_submit(ops, 1024);
}
