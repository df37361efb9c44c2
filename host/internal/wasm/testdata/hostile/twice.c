/* Answers one request again and again. */
// want: answer "once"
#include "hostile.h"

static void request(const struct pb_event *e) {
	say(e->id, PB_TEXT("once"));
	int result = pb_respond(e->id, 200, NULL, 0, "twice", 5);
	if (result == -PB_STATE || result == -PB_NOT_FOUND) result = pb_head(e->id, 500, PB_TEXT(""), PB_TEXT("thrice"), 0);
	if (result == -PB_STATE || result == -PB_NOT_FOUND) result = pb_write(e->id, PB_TEXT(" more"), PB_FLUSH);
	if (result != -PB_STATE && result != -PB_NOT_FOUND) __builtin_trap();
}
