// Package abi is version 1 of what guest and host say to each other: constants, records and field blocks.
// The normative text is sdk/ABI.md; names here follow it. It knows neither wasm nor HTTP.
package abi

// Version is the ABI version of this package.
const Version = 1

// Names in a module.
const (
	ImportModule    = "patchbay_v1"
	ImportTake      = "take"
	ImportSubmit    = "submit"
	ImportRespond   = "respond"
	ImportLog       = "log"
	ExportHandshake = "patchbay_abi"
	ExportPoll      = "patchbay_poll"
	ManifestSection = "patchbay.manifest"
)

// Features that a host offers and a guest answers in the handshake.
const (
	FeaturePipe    = 1 << 0
	FeatureSSE     = 1 << 1
	FeatureCache   = 1 << 2
	FeaturePublish = 1 << 3
)

// Sizes and limits, in bytes unless the name says otherwise.
const (
	EventSize      = 32
	OpSize         = 64
	MinData        = 128 << 10 // the least data buffer of a take
	MaxOps         = 1024      // records in one submit
	MaxBlock       = 64 << 10  // a field block
	MaxFields      = 1024      // fields in a block
	RequestCredit  = 64 << 10  // of a request's body, at the start
	ResponseCredit = 256 << 10 // of a response's body, at the start
	SendCredit     = 64 << 10  // of a fetch request's body, beside that of the FETCH record
	MaxCredit      = 1 << 20   // granted and unused, of one body
	MaxFetchBody   = 8 << 20   // the body of a FETCH record
	MaxManifest    = 64 << 10
	MaxCacheKey    = 1024     // the name of a cache operation
	MaxCacheValue  = 8 << 20  // the body of CACHE_PUT
	MaxTopic       = 64       // the name of PUBLISH
	MaxState       = 16 << 10 // the body of PUBLISH
	MaxStateDepth  = 32       // how deep its objects and lists are nested
)

// TopicEvents is the topic whose states are events: each PUBLISH is one.
const TopicEvents = "events"

// IdleFD is the descriptor whose readiness means that nothing in the guest can run.
const IdleFD = 100

// Kind is what an event says.
type Kind uint16

// Kinds of events.
const (
	Config  Kind = 1
	Request Kind = 2
	Body    Kind = 3
	Done    Kind = 4
	Chunk   Kind = 5
	Credit  Kind = 6
	Cancel  Kind = 7
	Drain   Kind = 8
)

// Flags of an event.
const (
	EventEnd       = 1
	EventError     = 2
	EventOperation = 4
	EventRefresh   = 8
)

// Reasons of a Cancel event.
const (
	ClientLeft = 1
	OutOfTime  = 2
	Stopped    = 3
)

// OpCode is what an operation does.
type OpCode uint16

// Operations.
const (
	OpReady  OpCode = 1
	OpFetch  OpCode = 2
	OpSend   OpCode = 3
	OpRead   OpCode = 4
	OpHead   OpCode = 5
	OpWrite  OpCode = 6
	OpPipe   OpCode = 7
	OpSleep  OpCode = 8
	OpCancel OpCode = 9

	OpCacheGet    OpCode = 16
	OpCachePut    OpCode = 17
	OpCacheOnce   OpCode = 18
	OpCacheDelete OpCode = 19

	OpPublish OpCode = 32
)

// Flags of an operation.
const (
	OpEnd   = 1
	OpFlush = 2
	OpLazy  = 4
	OpSSE   = 8
	OpWatch = 16

	OpNoCache = 32
	OpRefresh = 64
	OpFailed  = 128
	OpAnswer  = 256
)

// What a cache operation found: the code of its Done event.
const (
	CacheMiss   = 0
	CacheHit    = 1
	CacheStale  = 2
	CacheShared = 3
	CacheLead   = 4
	CacheBusy   = 5
	CacheFailed = 6
)

// Levels of a log line; they are those of log/slog.
const (
	LevelDebug int32 = -4
	LevelInfo  int32 = 0
	LevelWarn  int32 = 4
	LevelError int32 = 8
)
