/* Asks for random bytes without end, 64 KiB at a time. */
#include "../hostile/hostile.h"
WASI(random_get) int random_get(void *buffer, uint32_t len);
static uint8_t much[65536];
static void request(const struct pb_event *e) { (void)e; for (;;) random_get(much, sizeof much); }
