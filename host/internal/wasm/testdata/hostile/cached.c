/* Has the cache answer requests that are not its own, twice, too late and with too much. Here the cache has "k" under every key. */
// want: answer "ok"
#include "hostile.h"

static struct pb_op ask(uint64_t id, struct pb_span fields, struct pb_span body) {
	return (struct pb_op){.code = PB_OP_CACHE_ONCE, .flags = PB_ANSWER, .request = id, .op = 7, .fields = fields, .body = body, .name = PB_TEXT("key")};
}

static int result(struct pb_op op) {
	int accepted = pb_submit(&op, 1);
	return accepted == (op.result >= 0) ? op.result : 1000 + accepted;
}

static void request(const struct pb_event *e) {
	static uint8_t much[PB_RESPONSE_CREDIT + 1];
	EXPECT(result(ask(0, PB_TEXT(""), PB_TEXT("o"))), -PB_INVALID);
	EXPECT(result(ask(e->id + 1, PB_TEXT(""), PB_TEXT("o"))), -PB_NOT_FOUND);
	EXPECT(result(ask(e->id, PB_TEXT("\1\0\0\0"), PB_TEXT("o"))), -PB_INVALID);
	EXPECT(result(ask(e->id, PB_TEXT("\1\0\0\0\1\0\0\0\1\0\0\0x\n"), PB_TEXT("o"))), -PB_INVALID);
	EXPECT(result(ask(e->id, PB_TEXT("\1\0\0\0\4\0\0\0\1\0\0\0:agev"), PB_TEXT("o"))), -PB_INVALID);
	EXPECT(result(ask(e->id, PB_TEXT(""), (struct pb_span){FAR, 32})), -PB_FAULT);
	EXPECT(result(ask(e->id, PB_TEXT(""), (struct pb_span){much, sizeof much})), -PB_NO_CREDIT);
	if (wrong_line != 0) {
		report(e->id);
		return;
	}
	int answered = result(ask(e->id, PB_TEXT("\1\0\0\0\1\0\0\0\1\0\0\0xv"), PB_TEXT("o")));
	if (answered != PB_ANSWERED) __builtin_trap();
	int again = result(ask(e->id, PB_TEXT(""), PB_TEXT("o")));
	if (again != -PB_STATE && again != -PB_NOT_FOUND) __builtin_trap();
	again = pb_respond(e->id, 200, NULL, 0, "twice", 5);
	if (again != -PB_STATE && again != -PB_NOT_FOUND) __builtin_trap();
}
