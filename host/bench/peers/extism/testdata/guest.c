/* An Extism plugin in C: what the benchmarks ask of ours. Its input and output lie in the kernel's memory, which a plugin
 * reaches eight bytes at a time. */
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(input_length) uint64_t input_length(void);
IMPORT(input_load_u64) uint64_t input_load_u64(uint64_t at);
IMPORT(alloc) uint64_t alloc(uint64_t size);
IMPORT(store_u64) void store_u64(uint64_t at, uint64_t value);
IMPORT(output_set) void output_set(uint64_t at, uint64_t length);

EXPORT(noop) int32_t noop(void) { return 0; }

EXPORT(echo) int32_t echo(void) { /* of a multiple of eight bytes */
	uint64_t length = input_length(), out = alloc(length);
	for (uint64_t i = 0; i < length; i += 8) store_u64(out + i, input_load_u64(i));
	output_set(out, length);
	return 0;
}
