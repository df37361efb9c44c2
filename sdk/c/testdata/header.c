/*
 * What patchbay.h reads and writes, laid open for a test: as a module for the vectors of ../../conformance, and as a
 * program that a sanitizer watches, which gets bytes that nobody would send.
 *
 * A case is a letter and some bytes. Its result is a negative code, or how many bytes of output there are.
 */
#include "../patchbay.h"

static uint8_t output[1 << 18];

static uint32_t emit(uint32_t at, uint64_t n) {
	pb_put_u32(output + at, (uint32_t)n);
	pb_put_u32(output + at + 4, (uint32_t)(n >> 32));
	return at + 8;
}

static uint64_t number(const uint8_t *at) { return pb_u32(at) | (uint64_t)pb_u32(at + 4) << 32; }

/* f: reads a field block and writes its fields as a block again. */
static int32_t fields(struct pb_span block) {
	static struct pb_field all[PB_MAX_FIELDS];
	struct pb_fields reader;
	uint32_t n = 0;
	int result = pb_fields_open(&reader, block);
	if (result != 0) return result;
	while (pb_fields_next(&reader, &all[n])) n++;
	struct pb_span again = pb_fields_write(output, sizeof output, all, n);
	for (uint32_t i = 0; i < n; i++) { /* the first of a name is found by it */
		struct pb_span value = pb_fields_get(block, all[i].name);
		if (value.ptr == NULL || (const uint8_t *)value.ptr > (const uint8_t *)all[i].value.ptr) return -PB_INTERNAL;
	}
	return again.ptr == NULL ? -PB_INTERNAL : (int32_t)again.len;
}

/* q: a query behind the name of a parameter and its length; what is found lies within the query. */
static int32_t query(struct pb_span in) {
	if (in.len == 0) return 0;
	uint32_t len = *(const uint8_t *)in.ptr;
	if (len > in.len - 1) len = in.len - 1;
	struct pb_span name = {(const uint8_t *)in.ptr + 1, len};
	struct pb_span value = pb_query((struct pb_span){(const uint8_t *)name.ptr + len, in.len - 1 - len}, name);
	uint32_t at = emit(0, pb_number(value));
	memcpy(output + at, value.ptr, value.len);
	return (int32_t)(at + value.len);
}

/* e: the members of an event, in their order. E: the event with these members. */
static int32_t event(const uint8_t *in) {
	struct pb_event e;
	memcpy(&e, in, sizeof e);
	uint64_t members[] = {e.kind, e.flags, e.code, e.id, e.data, e.len, e.fields, e.arg};
	uint32_t at = 0;
	for (int i = 0; i < 8; i++) at = emit(at, members[i]);
	return (int32_t)at;
}

static int32_t make_event(const uint8_t *in) {
	struct pb_event e = {
		.kind = (uint16_t)number(in), .flags = (uint16_t)number(in + 8), .code = (uint32_t)number(in + 16), .id = number(in + 24),
		.data = (uint32_t)number(in + 32), .len = (uint32_t)number(in + 40), .fields = (uint32_t)number(in + 48), .arg = (uint32_t)number(in + 56)};
	memcpy(output, &e, sizeof e);
	return sizeof e;
}

/* o: the members of an operation, a pointer and a length for each span. O: the operation with these members. */
static int32_t operation(const uint8_t *in) {
	struct pb_op o;
	memcpy(&o, in, sizeof o);
	uint64_t members[] = {o.code, o.flags, o.arg, o.request, o.op, (uintptr_t)o.fields.ptr, o.fields.len,
		(uintptr_t)o.body.ptr, o.body.len, (uintptr_t)o.name.ptr, o.name.len, o.arg64, (uint32_t)o.result};
	uint32_t at = 0;
	for (int i = 0; i < 13; i++) at = emit(at, members[i]);
	return (int32_t)at;
}

static struct pb_span span(const uint8_t *in) { return (struct pb_span){(const void *)(uintptr_t)number(in), (uint32_t)number(in + 8)}; }

static int32_t make_operation(const uint8_t *in) {
	struct pb_op o = {
		.code = (uint16_t)number(in), .flags = (uint16_t)number(in + 8), .arg = (uint32_t)number(in + 16), .request = number(in + 24), .op = number(in + 32),
		.fields = span(in + 40), .body = span(in + 56), .name = span(in + 72), .arg64 = number(in + 88), .result = (int32_t)number(in + 96)};
	memcpy(output, &o, sizeof o);
	return sizeof o;
}

/* h: the answer to a host that offers these features. */
static int32_t handshake(const uint8_t *in) { return (int32_t)emit(0, pb_handshake(number(in), 0xffffffff)); }

static int32_t run(int kind, const uint8_t *in, uint32_t len) {
	switch (kind) {
	case 'f': return fields((struct pb_span){in, len});
	case 'q': return query((struct pb_span){in, len});
	case 'e': return event(in);
	case 'E': return make_event(in);
	case 'o': return operation(in);
	case 'O': return make_operation(in);
	case 'h': return handshake(in);
	}
	return -PB_UNSUPPORTED;
}

#ifdef __wasm__

static uint8_t input[1 << 17];

PB_EXPORT(input) void *input_address(void) { return input; }
PB_EXPORT(output) void *output_address(void) { return output; }
PB_EXPORT(run) int32_t run_input(int kind, uint32_t len) { return run(kind, input, len); }

#else

#include <stdio.h>
#include <stdlib.h>

/* Cases come as a letter, a length and the bytes; results go as the number and the output. Each case lies in a piece of memory
 * of its own size, so that the sanitizer sees a byte too many. */
int main(void) {
	for (int kind; (kind = getchar()) != EOF;) {
		uint8_t length[4];
		if (fread(length, 1, 4, stdin) != 4) return 1;
		uint32_t len = pb_u32(length);
		uint8_t *in = malloc(len);
		if (fread(in, 1, len, stdin) != len) return 1;
		int32_t result = run(kind, in, len);
		free(in);
		pb_put_u32(length, (uint32_t)result);
		fwrite(length, 1, 4, stdout);
		if (result > 0) fwrite(output, 1, (size_t)result, stdout);
		fflush(stdout);
	}
	return 0;
}

#endif
