/* A million operations without waiting for one. limits.cpu is raised for it. */
// want: answer "ok"
#include "hostile.h"

static struct pb_op ops[1024];

static void request(const struct pb_event *e) {
	uint32_t accepted = 0;
	for (uint64_t i = 0; i < 1000; i++) {
		for (uint64_t j = 0; j < 1024; j++)
			ops[j] = (struct pb_op){.code = PB_OP_SLEEP, .request = j % 2 ? e->id : 0, .op = 1 + i * 1024 + j, .arg64 = 3600000000000ull};
		EXPECT(pb_submit(ops, 1024) >= 0, 1);
		for (uint64_t j = 0; j < 1024; j++) {
			accepted += ops[j].result == 0;
			if (ops[j].result != 0) EXPECT(ops[j].result, -PB_LIMIT);
		}
	}
	EXPECT(accepted, 512); /* 256 of the request, 256 of the worker */
	report(e->id);
}
