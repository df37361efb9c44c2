/* The conformance guest in C. ../../README.md says what each route does. */
#include "patchbay.h"

PB_MANIFEST("manifest.json")

enum route { ECHO, COUNT, STATUS, HEADERS, STREAM, BIG, EARLY, FETCH, RELAY, HOLD, PIPE, SSE, SLEEP, HANG, COUNTERS, LOG, CONFIG, ABANDON, PUBLISH };

#define SLOTS 16384

/* A flow passes a body on under credit, without a buffer: it grants no more than it could send at once. */
struct flow {
	uint32_t room;    /* what the receiver still takes */
	uint32_t granted; /* what the sender may still send */
	uint32_t owed;    /* what was passed on and not granted again */
};

struct exchange {
	uint64_t id;
	uint32_t route;
	uint32_t answered; /* the head is out */
	struct flow up;    /* request's body to a fetch, or to the answer */
	struct flow down;  /* a fetch's body to the answer */
	uint64_t at, end;  /* of a body made here */
};

static struct exchange exchanges[SLOTS];
static struct pb_event events[256];
static uint8_t data[PB_MIN_DATA];
static uint8_t block[PB_MAX_BLOCK];
static struct pb_field headers[PB_MAX_FIELDS];
static uint8_t config[PB_MAX_BLOCK];
static uint32_t config_len;
static uint64_t seen, cancelled, piped;

static const struct pb_span nothing = {NULL, 0};

/* Ids of operations: a request has a fetch, and then at most a pipe. */
static uint64_t fetch_of(uint64_t request) { return request; }
static uint64_t pipe_of(uint64_t request) { return request | 1ull << 63; }

static struct exchange *find(uint64_t id) {
	id &= ~(1ull << 63);
	if (pb_slot(id) >= SLOTS) return NULL;
	struct exchange *x = &exchanges[pb_slot(id)];
	return x->id == id && id != 0 ? x : NULL;
}

/* A result that must be 0. One that is not shows: the request is given up. A request that is not there any more has ended,
 * and its CANCEL is on its way. */
static void must(struct exchange *x, int result) {
	if (result == 0 || result == -PB_NOT_FOUND) return;
	char digits[20];
	struct pb_span code = pb_decimal(digits, (uint64_t)-result);
	pb_log(x->id, PB_LOG_ERROR, code.ptr, code.len);
	pb_abort(x->id);
	x->id = 0;
}

static void answer(struct exchange *x, uint32_t status, struct pb_span body) {
	int result = pb_respond(x->id, status, NULL, 0, body.ptr, body.len);
	must(x, result);
	if (result == 0) x->id = 0;
}

static void answer_number(struct exchange *x, uint32_t status, uint64_t n) {
	char digits[20];
	answer(x, status, pb_decimal(digits, n));
}

/* Bytes were passed on: counts them. */
static void passed(struct flow *f, uint32_t n) {
	f->room -= n;
	f->granted -= n;
	f->owed += n;
}

/* How much may be granted now. It waits until it is worth an operation. */
static uint32_t grant(struct flow *f) {
	uint32_t n = f->room - f->granted;
	if (n > f->owed) n = f->owed;
	if (n < 16384 && f->granted > 0) return 0;
	f->owed -= n;
	f->granted += n;
	return n;
}

static void grant_request(struct exchange *x) {
	uint32_t n = grant(&x->up);
	if (n > 0) must(x, pb_read_request(x->id, n));
}

static void grant_result(struct exchange *x) {
	uint32_t n = grant(&x->down);
	if (n > 0) must(x, pb_read_result(fetch_of(x->id), n));
}

/* The next of a body of the letters a to z, as far as there is room. */
static void write_big(struct exchange *x) {
	static uint8_t letters[26 + 16384];
	if (letters[0] == 0)
		for (uint32_t i = 0; i < sizeof letters; i++) letters[i] = (uint8_t)('a' + i % 26);
	while (x->id != 0 && x->at < x->end && x->down.room > 0) {
		uint32_t n = 16384;
		if (n > x->end - x->at) n = (uint32_t)(x->end - x->at);
		if (n > x->down.room) n = x->down.room;
		struct pb_span part = {letters + x->at % 26, n};
		x->at += n;
		x->down.room -= n;
		must(x, pb_write(x->id, part, x->at == x->end ? PB_OP_END : 0));
	}
}

static void write_stream(struct exchange *x) {
	for (; x->id != 0 && x->at < x->end && x->down.room >= 32; x->at++) {
		char digits[20];
		uint8_t line[32];
		struct pb_span number = pb_decimal(digits, x->at);
		memcpy(line, "piece ", 6);
		memcpy(line + 6, number.ptr, number.len);
		line[6 + number.len] = '\n';
		struct pb_span part = {line, 7 + number.len};
		x->down.room -= part.len;
		must(x, pb_write(x->id, part, x->at + 1 == x->end ? PB_OP_END : PB_FLUSH));
	}
}

static void write_headers(struct exchange *x, struct pb_span fields) {
	struct pb_fields all;
	uint32_t n = 0;
	uint64_t bytes = 0;
	pb_fields_open(&all, fields);
	while (pb_fields_next(&all, &headers[n]))
		if (pb_begins(headers[n].name, PB_TEXT("x-"))) bytes += headers[n++].value.len;
	char digits[20];
	struct pb_span head = pb_fields_write(block, sizeof block, headers, n), body = pb_decimal(digits, bytes);
	must(x, pb_respond(x->id, 200, head.ptr, head.len, body.ptr, body.len));
	x->id = 0;
}

static void fetch(struct exchange *x, const char *method, uint32_t method_len, struct pb_span path, struct pb_span body, uint32_t credit, uint16_t flags) {
	static uint8_t url[PB_MAX_BLOCK];
	if (path.len > sizeof url - 16) path.len = sizeof url - 16;
	memcpy(url, "upstream://up", 13);
	memcpy(url + 13, path.ptr, path.len);
	const struct pb_field call[] = {{PB_TEXT(":method"), {method, method_len}}, {PB_TEXT(":url"), {url, 13 + path.len}}};
	int result = pb_fetch(x->id, fetch_of(x->id), pb_fields_write(block, sizeof block, call, 2), body, credit, flags);
	if (result != 0) answer_number(x, 502, (uint64_t)-result);
}

static void begin(const struct pb_event *e) {
	struct pb_span fields = pb_event_fields(e, data), body = pb_event_body(e, data);
	struct pb_span query = pb_fields_get(fields, PB_TEXT(":query"));
	struct pb_span n = pb_query(query, PB_TEXT("n")), path = pb_query(query, PB_TEXT("path"));
	uint16_t end = e->flags & PB_END;
	seen++;
	if (pb_slot(e->id) >= SLOTS) {
		pb_abort(e->id);
		return;
	}
	struct exchange *x = &exchanges[pb_slot(e->id)];
	*x = (struct exchange){.id = e->id, .route = e->code};
	x->up = (struct flow){.room = PB_RESPONSE_CREDIT, .granted = PB_REQUEST_CREDIT};
	x->down = (struct flow){.room = PB_RESPONSE_CREDIT};
	x->end = pb_number(n);
	switch (x->route) {
	case ECHO:
		must(x, pb_head(x->id, 200, nothing, body, end));
		passed(&x->up, body.len);
		if (!end) grant_request(x);
		break;
	case COUNT:
		x->at = body.len;
		if (end) answer_number(x, 200, x->at);
		else must(x, pb_read_request(x->id, body.len));
		break;
	case STATUS: {
		const struct pb_field twice[] = {{PB_TEXT("x-twice"), PB_TEXT("one")}, {PB_TEXT("x-twice"), PB_TEXT("two")}};
		struct pb_span head = pb_fields_write(block, sizeof block, twice, 2);
		must(x, pb_respond(x->id, (uint32_t)pb_number(pb_query(query, PB_TEXT("code"))), head.ptr, head.len, NULL, 0));
		x->id = 0;
		break;
	}
	case HEADERS: write_headers(x, fields); break;
	case STREAM:
	case BIG:
		must(x, pb_head(x->id, 200, nothing, nothing, x->end == 0 ? PB_OP_END : 0));
		if (x->route == BIG) write_big(x);
		else write_stream(x);
		break;
	case EARLY: answer(x, 200, PB_TEXT("early")); break;
	case FETCH:
		x->down.granted = 65536;
		fetch(x, "GET", 3, path, nothing, 65536, PB_OP_END);
		break;
	case RELAY:
		x->down.granted = 65536;
		x->up.room = PB_SEND_CREDIT;
		x->up.granted -= body.len;
		x->up.owed = body.len;
		fetch(x, "POST", 4, PB_TEXT("/relay"), body, 65536, end);
		if (x->id != 0 && !end) grant_request(x);
		break;
	case ABANDON: /* the second fetch has the id of the first, which is free again */
		x->down.granted = 65536;
		fetch(x, "GET", 3, path, nothing, 65536, PB_OP_END);
		if (x->id != 0) must(x, pb_cancel(fetch_of(x->id)));
		if (x->id != 0) fetch(x, "GET", 3, path, nothing, 65536, PB_OP_END);
		break;
	case HOLD: fetch(x, "GET", 3, path, nothing, 65536, PB_OP_END); break;
	case PIPE:
	case SSE: fetch(x, "GET", 3, path, nothing, 0, PB_OP_END); break;
	case SLEEP: must(x, pb_sleep(x->id, fetch_of(x->id), pb_number(pb_query(query, PB_TEXT("ms"))) * 1000000)); break;
	case COUNTERS: {
		char text[96], digits[20];
		uint32_t len = 0;
		const uint64_t counters[] = {seen, cancelled, piped};
		for (int i = 0; i < 3; i++) {
			struct pb_span number = pb_decimal(digits, counters[i]);
			if (i > 0) text[len++] = ' ';
			memcpy(text + len, number.ptr, number.len);
			len += number.len;
		}
		answer(x, 200, (struct pb_span){text, len});
		break;
	}
	case LOG:
		pb_log(x->id, PB_INFO, query.ptr, query.len);
		answer(x, 200, PB_TEXT("logged"));
		break;
	case PUBLISH: {
		int result = pb_publish(x->id, pb_query(query, PB_TEXT("topic")), PB_TEXT("{\"n\": 1}"));
		if (result == 0) answer(x, 200, PB_TEXT("published"));
		else answer_number(x, 502, (uint64_t)-result);
		break;
	}
	case CONFIG: answer(x, 200, (struct pb_span){config, config_len}); break;
	default: break; /* HANG */
	}
}

/* More of a request's body. */
static void more(struct exchange *x, const struct pb_event *e) {
	struct pb_span body = pb_event_body(e, data);
	uint16_t end = e->flags & PB_END;
	if (e->flags & PB_ERROR) {
		pb_abort(x->id);
		x->id = 0;
	} else if (x->route == COUNT) {
		x->at += body.len;
		if (end) answer_number(x, 200, x->at);
		else must(x, pb_read_request(x->id, body.len));
	} else if (x->route == ECHO || x->route == RELAY) {
		must(x, x->route == ECHO ? pb_write(x->id, body, end ? PB_OP_END : PB_FLUSH) : pb_send(fetch_of(x->id), body, end));
		passed(&x->up, body.len);
		if (x->id != 0 && !end) grant_request(x);
	}
}

/* An operation has its result. */
static void done(struct exchange *x, const struct pb_event *e) {
	struct pb_span body = pb_event_body(e, data);
	uint16_t end = e->flags & PB_END;
	if (e->flags & PB_ERROR) { /* of a fetch, or of a pipe before its first byte: the answer is ours */
		answer_number(x, 502, e->code);
		return;
	}
	switch (x->route) {
	case SLEEP: answer(x, 200, PB_TEXT("slept")); break;
	case HOLD: break;
	case PIPE:
	case SSE:
		if (e->id == pipe_of(x->id)) {
			piped++;
			x->id = 0;
			break;
		}
		must(x, pb_head(x->id, e->code, pb_event_fields(e, data), end ? body : nothing, end ? PB_OP_END : PB_LAZY));
		if (end) x->id = 0;
		else must(x, pb_pipe(x->id, pipe_of(x->id), fetch_of(x->id), body, 0, x->route == SSE ? PB_SSE : 0));
		break;
	default:
		must(x, pb_head(x->id, e->code, pb_event_fields(e, data), body, end));
		x->answered = 1;
		passed(&x->down, body.len);
		if (end) x->id = 0;
		else grant_result(x);
	}
}

/* More of the body of a fetch's answer. */
static void chunk(struct exchange *x, const struct pb_event *e) {
	struct pb_span body = pb_event_body(e, data);
	uint16_t end = e->flags & PB_END;
	if (e->flags & PB_ERROR) {
		pb_abort(x->id);
		x->id = 0;
		return;
	}
	if (x->route == HOLD) return;
	must(x, pb_write(x->id, body, end ? PB_OP_END : PB_FLUSH));
	passed(&x->down, body.len);
	if (end) x->id = 0;
	else if (x->id != 0) grant_result(x);
}

/* There is room for more. */
static void credit(struct exchange *x, const struct pb_event *e) {
	if (e->flags & PB_OPERATION || x->route == ECHO) {
		x->up.room += e->arg;
		grant_request(x);
		return;
	}
	x->down.room += e->arg;
	if (x->route == BIG) write_big(x);
	else if (x->route == STREAM) write_stream(x);
	else if (x->answered) grant_result(x);
}

PB_EXPORT(patchbay_abi)
uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) {
	(void)min, (void)max;
	return pb_handshake(features, PB_FEATURE_PIPE | PB_FEATURE_SSE | PB_FEATURE_PUBLISH);
}

PB_EXPORT(patchbay_poll)
void poll(void) {
	for (int n; (n = pb_take(events, 256, data, sizeof data)) > 0;) {
		for (int i = 0; i < n; i++) {
			const struct pb_event *e = &events[i];
			struct exchange *x = find(e->id);
			if (e->kind == PB_CONFIG) {
				struct pb_span json = pb_fields_get(pb_event_fields(e, data), PB_TEXT(":config"));
				memcpy(config, json.ptr, config_len = json.len);
				pb_ready();
			} else if (e->kind == PB_REQUEST) {
				begin(e);
			} else if (x == NULL) {
				continue;
			} else if (e->kind == PB_BODY) {
				more(x, e);
			} else if (e->kind == PB_DONE) {
				done(x, e);
			} else if (e->kind == PB_CHUNK) {
				chunk(x, e);
			} else if (e->kind == PB_CREDIT) {
				credit(x, e);
			} else if (e->kind == PB_CANCEL) {
				cancelled++;
				x->id = 0;
			}
		}
	}
}
