/* Loops without end in _initialize or in the handshake, or neither, as random bytes have it; it logs which. A request traps. */
#include "patchbay.h"

__attribute__((import_module("wasi_snapshot_preview1"), import_name("random_get"))) int random_get(void *buffer, uint32_t len);

static struct pb_event events[16];
static uint8_t data[PB_MIN_DATA];

static void perhaps(struct pb_span where) {
	uint8_t chance = 0;
	random_get(&chance, 1);
	if (chance % 3 > 0) return;
	pb_log(0, PB_INFO, where.ptr, where.len);
	for (;;) __asm__ volatile("");
}

PB_EXPORT(_initialize)
void initialize(void) { perhaps(PB_TEXT("_initialize")); }

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	perhaps(PB_TEXT("handshake"));
	return pb_handshake(features, 0);
}

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 16, data, sizeof data)) > 0;)
		for (int i = 0; i < n; i++) {
			if (events[i].kind == PB_CONFIG) pb_ready();
			if (events[i].kind == PB_REQUEST) __builtin_trap();
		}
}
