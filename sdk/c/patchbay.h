/*
 * patchbay.h: version 1 of the Patchbay ABI for C. One header, no libc, nothing to link.
 *
 * The normative text is sdk/ABI.md; names here follow it. A plugin includes this file in one source, defines the
 * two exports and works off events:
 *
 *     PB_MANIFEST("manifest.json")
 *
 *     PB_EXPORT(patchbay_abi)
 *     uint64_t handshake(uint32_t min, uint32_t max, uint64_t features) { return pb_handshake(features, PB_FEATURE_PIPE); }
 *
 *     PB_EXPORT(patchbay_poll)
 *     void poll(void) { ... pb_take ... pb_submit ... }
 *
 *     clang --target=wasm32 -nostdlib -O2 -Wl,--no-entry -I sdk/c -o plugin.wasm plugin.c
 *
 * Everything here returns at once. Functions that return int give 0, or a count, when all went well, and a negative
 * code (-PB_INVALID, ...) when not; nothing has happened then. The host copies what a call points at before it
 * returns, so buffers may be used again at once. A plugin runs on one thread: none of this needs a lock.
 */
#ifndef PATCHBAY_H
#define PATCHBAY_H

#include <stddef.h>
#include <stdint.h>

/* ---- Constants --------------------------------------------------------------------------------------------- */

#define PB_VERSION 1u

/* Features of the handshake, and bits of its answer. */
#define PB_FEATURE_PIPE 1u
#define PB_FEATURE_SSE 2u
#define PB_FEATURE_CACHE 4u
#define PB_FEATURE_PUBLISH 8u

/* Sizes in bytes, unless the name says otherwise. */
#define PB_MIN_DATA 131072u       /* the least data buffer of a take */
#define PB_MAX_OPS 1024u          /* records in one submit */
#define PB_MAX_BLOCK 65536u       /* a field block */
#define PB_MAX_FIELDS 1024u       /* fields in a block */
#define PB_REQUEST_CREDIT 65536u  /* of a request's body, at the start */
#define PB_RESPONSE_CREDIT 262144u /* of a response's body, at the start */
#define PB_SEND_CREDIT 65536u     /* of a fetch request's body, beside that of the FETCH record */
#define PB_MAX_CREDIT 1048576u    /* granted and unused, of one body */
#define PB_MAX_FETCH_BODY 8388608u /* the body of a FETCH record */
#define PB_MAX_CACHE_KEY 1024u     /* the name of a cache operation */
#define PB_MAX_CACHE_VALUE 8388608u /* the body of a CACHE_PUT record */
#define PB_MAX_TOPIC 64u           /* the name of a PUBLISH record */
#define PB_MAX_STATE 16384u        /* its body */
#define PB_MAX_STATE_DEPTH 32u     /* how deep its objects and lists are nested */

/* Kinds of events. Unknown ones are to be ignored. */
enum {
	PB_CONFIG = 1,  /* first of all: answer with pb_ready or pb_refuse */
	PB_REQUEST = 2, /* a new request; code is its route */
	PB_BODY = 3,    /* more of a request's body */
	PB_DONE = 4,    /* an operation has its result */
	PB_CHUNK = 5,   /* more of a result's body */
	PB_CREDIT = 6,  /* arg more bytes may be sent */
	PB_CANCEL = 7,  /* the request has ended without us: forget it */
	PB_DRAIN = 8    /* no new request will come */
};

/* Flags of an event. */
enum { PB_END = 1, PB_ERROR = 2, PB_OPERATION = 4, PB_REFRESH = 8 };

/* Codes of PB_CANCEL. */
enum { PB_CLIENT_LEFT = 1, PB_OUT_OF_TIME = 2, PB_STOPPED = 3 };

/* Operations. */
enum {
	PB_OP_READY = 1,
	PB_OP_FETCH = 2,
	PB_OP_SEND = 3,
	PB_OP_READ = 4,
	PB_OP_HEAD = 5,
	PB_OP_WRITE = 6,
	PB_OP_PIPE = 7,
	PB_OP_SLEEP = 8,
	PB_OP_CANCEL = 9,
	PB_OP_CACHE_GET = 16,
	PB_OP_CACHE_PUT = 17,
	PB_OP_CACHE_ONCE = 18,
	PB_OP_CACHE_DELETE = 19,
	PB_OP_PUBLISH = 32
};

/* Flags of an operation. PB_OP_END is PB_END. */
enum { PB_OP_END = 1, PB_FLUSH = 2, PB_LAZY = 4, PB_SSE = 8, PB_WATCH = 16, PB_NO_CACHE = 32, PB_OP_REFRESH = 64, PB_FAILED = 128, PB_ANSWER = 256 };

/* The result of an operation that has answered its request, see PB_ANSWER. All others are 0 or a negative code. */
#define PB_ANSWERED 1

/* What a cache operation found: the code of its PB_DONE. */
enum {
	PB_CACHE_MISS = 0,
	PB_CACHE_HIT = 1,
	PB_CACHE_STALE = 2,
	PB_CACHE_SHARED = 3,
	PB_CACHE_LEAD = 4, /* compute it, then PB_OP_CACHE_PUT with the same op */
	PB_CACHE_BUSY = 5,
	PB_CACHE_FAILED = 6
};

/* Codes: negated as results, as they are in events with PB_ERROR. */
enum {
	PB_OK = 0,
	PB_DENIED = 1,
	PB_INVALID = 2,
	PB_NOT_FOUND = 3,
	PB_STATE = 4,
	PB_NO_CREDIT = 5,
	PB_LIMIT = 6,
	PB_TIMEOUT = 7,
	PB_POOL = 8,
	PB_CONNECT = 9,
	PB_RESET = 10,
	PB_TOO_LARGE = 11,
	PB_CANCELLED = 12,
	PB_UNSUPPORTED = 13,
	PB_FAULT = 14,
	PB_BLOCKED = 15,
	PB_INTERNAL = 16,
	PB_UNAVAILABLE = 17
};

/* Levels of a log line. */
enum { PB_DEBUG = -4, PB_INFO = 0, PB_WARN = 4, PB_LOG_ERROR = 8 };

/* ---- Records ----------------------------------------------------------------------------------------------- */

/* One event as take writes it. data is an offset into the data buffer of the same take. */
struct pb_event {
	uint16_t kind;
	uint16_t flags;
	uint32_t code;
	uint64_t id;
	uint32_t data;
	uint32_t len;
	uint32_t fields; /* how much of the payload, from its start, is a field block */
	uint32_t arg;
};

/* A stretch of memory. */
struct pb_span {
	const void *ptr;
	uint32_t len;
};

/* One operation as submit reads it. Clear it before filling it in: struct pb_op o = {.code = PB_OP_...}. */
struct pb_op {
	uint16_t code;
	uint16_t flags;
	uint32_t arg;
	uint64_t request; /* 0: the worker itself */
	uint64_t op;      /* chosen by the plugin; not 0, and not in use by another unfinished operation */
	struct pb_span fields;
	struct pb_span body;
	struct pb_span name;
	uint64_t arg64;
	int32_t result; /* written by the host */
	uint32_t zero;
};

_Static_assert(sizeof(struct pb_event) == 32, "an event has 32 bytes");
_Static_assert(sizeof(void *) != 4 || sizeof(struct pb_op) == 64, "an operation has 64 bytes"); /* elsewhere a test may read fields */
_Static_assert(sizeof(void *) != 4 || offsetof(struct pb_op, result) == 56, "the result stands at 56");

/* ---- Imports and exports ----------------------------------------------------------------------------------- */

#define PB_IMPORT(name) __attribute__((import_module("patchbay_v1"), import_name(#name)))

/* PB_EXPORT(name) stands before a function that the host calls. */
#define PB_EXPORT(name) __attribute__((export_name(#name)))

/* PB_MANIFEST("manifest.json") puts that file, seen from the folder clang runs in, into the module. */
#define PB_MANIFEST(file) __asm__(".section .custom_section.patchbay.manifest,\"\",@\n.incbin \"" file "\"\n");

/* Copies waiting events to events and their payloads to data, which has at least PB_MIN_DATA bytes. Gives how many
 * events there are; 0 when none wait. */
PB_IMPORT(take) int32_t pb_take(struct pb_event *events, uint32_t max_events, void *data, uint32_t data_len);

/* Starts count operations, at most PB_MAX_OPS, in order. Gives how many were accepted; each record has its own result. */
PB_IMPORT(submit) int32_t pb_submit(struct pb_op *ops, uint32_t count);

/* Answers a request in one go; the body is within the response's credit at the start. */
PB_IMPORT(respond)
int32_t pb_respond(uint64_t request, uint32_t status, const void *fields, uint32_t fields_len, const void *body, uint32_t body_len);

/* Logs a line; request may be 0. The host cuts long lines and leaves out lines when there are too many. */
PB_IMPORT(log) int32_t pb_log(uint64_t request, int32_t level, const void *text, uint32_t len);

/* The answer of patchbay_abi: this version, and those of the wanted features that the host has. */
static inline uint64_t pb_handshake(uint64_t offered, uint32_t wanted) {
	return (uint64_t)PB_VERSION << 32 | ((uint32_t)offered & wanted);
}

/* ---- Memory ------------------------------------------------------------------------------------------------ */

/* Compilers call these for structs and loops. They are weak, so that a libc's own win where there is one. */
__attribute__((weak, no_builtin("memcpy"))) void *memcpy(void *restrict to, const void *restrict from, size_t n) {
	for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

__attribute__((weak, no_builtin("memset"))) void *memset(void *to, int byte, size_t n) {
	for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = (uint8_t)byte;
	return to;
}

__attribute__((weak, no_builtin("memmove"))) void *memmove(void *to, const void *from, size_t n) {
	if ((uintptr_t)to <= (uintptr_t)from) return memcpy(to, from, n);
	for (size_t i = n; i > 0; i--) ((uint8_t *)to)[i - 1] = ((const uint8_t *)from)[i - 1];
	return to;
}

/* ---- Texts ------------------------------------------------------------------------------------------------- */

/* PB_TEXT("...") is a literal as a span. */
#define PB_TEXT(literal) ((struct pb_span){"" literal, sizeof(literal) - 1})

static inline int pb_equal(struct pb_span a, struct pb_span b) {
	if (a.len != b.len) return 0;
	for (uint32_t i = 0; i < a.len; i++)
		if (((const char *)a.ptr)[i] != ((const char *)b.ptr)[i]) return 0;
	return 1;
}

static inline int pb_begins(struct pb_span text, struct pb_span with) {
	return text.len >= with.len && pb_equal((struct pb_span){text.ptr, with.len}, with);
}

/* The decimal number at the start of text; 0 when there is none. */
static inline uint64_t pb_number(struct pb_span text) {
	uint64_t n = 0;
	for (uint32_t i = 0; i < text.len; i++) {
		char c = ((const char *)text.ptr)[i];
		if (c < '0' || c > '9') break;
		n = n * 10 + (uint64_t)(c - '0');
	}
	return n;
}

/* Writes n in decimal to buffer, which has 20 bytes, and gives what it wrote. */
static inline struct pb_span pb_decimal(char buffer[20], uint64_t n) {
	uint32_t at = 20;
	do buffer[--at] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	return (struct pb_span){buffer + at, 20 - at};
}

/* The value of a parameter of a raw query string, as it stands there (not unescaped); empty when it is missing. */
static inline struct pb_span pb_query(struct pb_span query, struct pb_span name) {
	const char *p = query.ptr, *end = p + query.len;
	while (p < end) {
		const char *stop = p;
		while (stop < end && *stop != '&') stop++;
		struct pb_span part = {p, (uint32_t)(stop - p)};
		if (pb_begins(part, name) && part.len > name.len && p[name.len] == '=')
			return (struct pb_span){p + name.len + 1, part.len - name.len - 1};
		p = stop + 1;
	}
	return (struct pb_span){p, 0};
}

/* ---- Field blocks ------------------------------------------------------------------------------------------ */

/* One name with its value: a header, its name in lower case, or a field of the host's, whose name begins with ':'. */
struct pb_field {
	struct pb_span name;
	struct pb_span value;
};

/* Reads a field block, one field after the other. */
struct pb_fields {
	const uint8_t *table;
	const uint8_t *text;
	uint32_t left;
};

static inline uint32_t pb_u32(const uint8_t *p) {
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void pb_put_u32(uint8_t *p, uint32_t n) {
	for (int i = 0; i < 4; i++) p[i] = (uint8_t)(n >> (8 * i));
}

/* Opens a block after checking all of it: -PB_INVALID when it is none. An empty span is a block without fields. */
static inline int pb_fields_open(struct pb_fields *f, struct pb_span block) {
	*f = (struct pb_fields){0, 0, 0};
	if (block.len == 0) return 0;
	const uint8_t *p = block.ptr;
	if (block.len < 4 || block.len > PB_MAX_BLOCK) return -PB_INVALID;
	uint32_t count = pb_u32(p);
	if (count > PB_MAX_FIELDS || block.len - 4 < 8 * count) return -PB_INVALID;
	uint64_t text = 0;
	for (uint32_t i = 0; i < 2 * count; i++) text += pb_u32(p + 4 + 4 * i);
	if (text != block.len - 4 - 8 * count) return -PB_INVALID;
	*f = (struct pb_fields){p + 4, p + 4 + 8 * count, count};
	return 0;
}

/* The next field; 0 when there is none. Its spans point into the block. */
static inline int pb_fields_next(struct pb_fields *f, struct pb_field *field) {
	if (f->left == 0) return 0;
	f->left--;
	field->name = (struct pb_span){f->text, pb_u32(f->table)};
	field->value = (struct pb_span){f->text + field->name.len, pb_u32(f->table + 4)};
	f->text += field->name.len + field->value.len;
	f->table += 8;
	return 1;
}

/* The value of the first field of that name; its ptr is NULL when there is none. */
static inline struct pb_span pb_fields_get(struct pb_span block, struct pb_span name) {
	struct pb_fields all;
	struct pb_field field;
	if (pb_fields_open(&all, block) == 0)
		while (pb_fields_next(&all, &field))
			if (pb_equal(field.name, name)) return field.value;
	return (struct pb_span){NULL, 0};
}

/* Writes count fields as a block to buffer and gives it; its ptr is NULL when it has more than capacity bytes, or is
 * over what the ABI allows. */
static inline struct pb_span pb_fields_write(void *buffer, uint32_t capacity, const struct pb_field *fields, uint32_t count) {
	struct pb_span none = {NULL, 0};
	if (count > PB_MAX_FIELDS) return none;
	uint64_t size = 4 + 8 * (uint64_t)count;
	for (uint32_t i = 0; i < count; i++) size += (uint64_t)fields[i].name.len + fields[i].value.len;
	if (size > capacity || size > PB_MAX_BLOCK) return none;
	uint8_t *table = buffer, *text = table + 4 + 8 * count;
	pb_put_u32(table, count);
	table += 4;
	for (uint32_t i = 0; i < count; i++, table += 8) {
		pb_put_u32(table, fields[i].name.len);
		pb_put_u32(table + 4, fields[i].value.len);
		memcpy(text, fields[i].name.ptr, fields[i].name.len);
		text += fields[i].name.len;
		memcpy(text, fields[i].value.ptr, fields[i].value.len);
		text += fields[i].value.len;
	}
	return (struct pb_span){buffer, (uint32_t)size};
}

/* ---- Events ------------------------------------------------------------------------------------------------ */

/* The field block of an event that was taken with this data buffer. */
static inline struct pb_span pb_event_fields(const struct pb_event *e, const void *data) {
	return (struct pb_span){(const uint8_t *)data + e->data, e->fields};
}

/* What follows it: body bytes, or a text. */
static inline struct pb_span pb_event_body(const struct pb_event *e, const void *data) {
	return (struct pb_span){(const uint8_t *)data + e->data + e->fields, e->len - e->fields};
}

/* The slot of a request: a small index that other requests use again, but none at the same time. */
static inline uint32_t pb_slot(uint64_t request) { return (uint32_t)request; }

/* ---- Operations -------------------------------------------------------------------------------------------- */

/* Submits one operation and gives its result. */
static inline int pb_do(struct pb_op *op) {
	int32_t n = pb_submit(op, 1);
	return n < 0 ? n : op->result;
}

/* The answers to PB_CONFIG: ready, or not and why. */
static inline int pb_ready(void) { return pb_do(&(struct pb_op){.code = PB_OP_READY}); }
static inline int pb_refuse(struct pb_span reason) {
	return pb_do(&(struct pb_op){.code = PB_OP_READY, .arg = 1, .body = reason});
}

/* The response's status and headers (a field block), and the first bytes of its body.
 * Flags: PB_OP_END, this is all; PB_LAZY, hold it until the first byte of the body. */
static inline int pb_head(uint64_t request, uint32_t status, struct pb_span fields, struct pb_span body, uint16_t flags) {
	return pb_do(&(struct pb_op){.code = PB_OP_HEAD, .flags = flags, .arg = status, .request = request, .fields = fields, .body = body});
}

/* More of the response's body, within its credit. Flags: PB_OP_END, PB_FLUSH. */
static inline int pb_write(uint64_t request, struct pb_span body, uint16_t flags) {
	return pb_do(&(struct pb_op){.code = PB_OP_WRITE, .flags = flags, .request = request, .body = body});
}

/* An HTTP call. Fields: ":method", ":url", then headers. body: the whole body with PB_OP_END in flags, else its first
 * bytes. credit: bytes of the answer's body that may come unasked. Ends in PB_DONE and PB_CHUNKs with the id op. */
static inline int pb_fetch(uint64_t request, uint64_t op, struct pb_span fields, struct pb_span body, uint32_t credit, uint16_t flags) {
	return pb_do(&(struct pb_op){.code = PB_OP_FETCH, .flags = flags, .arg = credit, .request = request, .op = op, .fields = fields, .body = body});
}

/* More of the body of a fetch that was submitted without PB_OP_END, within its credit. */
static inline int pb_send(uint64_t op, struct pb_span body, uint16_t flags) {
	return pb_do(&(struct pb_op){.code = PB_OP_SEND, .flags = flags, .op = op, .body = body});
}

/* more bytes of credit: for the body of a request, for that of an operation's result. */
static inline int pb_read_request(uint64_t request, uint32_t more) {
	return pb_do(&(struct pb_op){.code = PB_OP_READ, .arg = more, .request = request});
}
static inline int pb_read_result(uint64_t op, uint32_t more) {
	return pb_do(&(struct pb_op){.code = PB_OP_READ, .arg = more, .op = op});
}

/* Sends the rest of the body of a fetch as the response's body. first: bytes of it that were delivered and not used.
 * Flags: PB_SSE, PB_WATCH. Ends in PB_DONE with the id op; with PB_ERROR before the first byte, the response is ours again. */
static inline int pb_pipe(uint64_t request, uint64_t op, uint64_t fetch, struct pb_span first, uint32_t idle_ms, uint16_t flags) {
	return pb_do(&(struct pb_op){.code = PB_OP_PIPE, .flags = flags, .arg = idle_ms, .request = request, .op = op, .body = first, .arg64 = fetch});
}

/* PB_DONE with the id op after that many nanoseconds. */
static inline int pb_sleep(uint64_t request, uint64_t op, uint64_t nanoseconds) {
	return pb_do(&(struct pb_op){.code = PB_OP_SLEEP, .request = request, .op = op, .arg64 = nanoseconds});
}

/* Shows people a state under a topic that is granted: JSON; without a body there is none any more. request may be 0. */
static inline int pb_publish(uint64_t request, struct pb_span topic, struct pb_span state) {
	return pb_do(&(struct pb_op){.code = PB_OP_PUBLISH, .request = request, .name = topic, .body = state});
}

/* Ends an operation: no event follows for it. */
static inline int pb_cancel(uint64_t op) { return pb_do(&(struct pb_op){.code = PB_OP_CANCEL, .op = op}); }

/* Gives a request up: its connection is closed, or the client gets 502 when nothing was sent. */
static inline int pb_abort(uint64_t request) { return pb_do(&(struct pb_op){.code = PB_OP_CANCEL, .request = request}); }

#endif
