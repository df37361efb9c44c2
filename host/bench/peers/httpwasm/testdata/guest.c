/* A guest of http-wasm in C: what the benchmarks ask of ours. GET does nothing, POST echoes. */
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("http_handler"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(get_method) uint32_t get_method(char *buf, uint32_t limit);
IMPORT(read_body) uint64_t read_body(uint32_t kind, char *buf, uint32_t limit); /* the top half says that it was all */
IMPORT(write_body) void write_body(uint32_t kind, const char *buf, uint32_t length);

static char buffer[4096];

EXPORT(handle_request) uint64_t handle_request(void) {
	get_method(buffer, sizeof buffer);
	if (buffer[0] == 'P') {
		for (;;) {
			uint64_t got = read_body(0, buffer, sizeof buffer);
			if ((uint32_t)got > 0) write_body(1, buffer, (uint32_t)got);
			if (got >> 32) break;
		}
	}
	return 0; /* no next handler */
}

EXPORT(handle_response) void handle_response(uint32_t context, uint32_t failed) { (void)context, (void)failed; }
