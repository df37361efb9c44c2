/* Submits records that are none, and records whose spans lie outside. */
// want: answer "ok"
#include "hostile.h"

static struct pb_op ops[4];

/* one gives a record with each of its spans outside, to each operation that there is, and to some that there are not. */
static void one(uint64_t id, struct pb_span bad) {
	for (uint32_t code = 0; code < 70; code++)
		for (int span = 0; span < 3; span++) {
			struct pb_op op = {.code = (uint16_t)code, .request = id, .op = 77, .arg = 200};
			if (span == 0) op.fields = bad;
			if (span == 1) op.body = bad;
			if (span == 2) op.name = bad;
			EXPECT(pb_do(&op), -PB_FAULT);
		}
}

static void request(const struct pb_event *e) {
	EXPECT(pb_submit(FAR, 1), -PB_FAULT);
	EXPECT(pb_submit(END_OF_MEMORY, 1), -PB_FAULT);
	EXPECT(pb_submit(ops, 1025), -PB_INVALID);
	EXPECT(pb_submit(ops, 0xffffffff), -PB_INVALID);
	EXPECT(pb_submit(ops, 0), 0);
	EXPECT(pb_submit(ops, 4), 0);
	EXPECT(ops[3].result, -PB_UNSUPPORTED);
	one(e->id, (struct pb_span){FAR, 16});
	one(e->id, (struct pb_span){FAR, 0xffffffff});
	one(e->id, (struct pb_span){END_OF_MEMORY, 1});
	one(e->id, (struct pb_span){data, 0x7fffffff});
	ops[0] = (struct pb_op){.code = PB_OP_FETCH, .request = e->id, .op = 1, .name = {data, 4097}};
	EXPECT(pb_do(ops), -PB_INVALID);
	ops[0] = (struct pb_op){.code = PB_OP_SLEEP, .request = e->id};
	EXPECT(pb_do(ops), -PB_INVALID); /* without an id */
	ops[0] = (struct pb_op){.code = 0xffff, .flags = 0xffff, .arg = 0xffffffff, .request = ~0ull, .op = ~0ull, .arg64 = ~0ull};
	EXPECT(pb_do(ops), -PB_UNSUPPORTED);
	for (uint32_t code = 2; code < 16; code++) {
		ops[0] = (struct pb_op){.code = (uint16_t)code, .flags = 0xffff, .arg = 0xffffffff, .request = ~0ull, .op = ~0ull, .arg64 = ~0ull};
		EXPECT(pb_do(ops) < 0, 1);
	}
	report(e->id);
}
