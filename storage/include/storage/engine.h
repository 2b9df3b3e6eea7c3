/* Sett's storage engine: ordered keys, multi-version, serializable transactions, values apart from keys.
 *
 *     struct sett_engine *engine;
 *     sett_engine_open("data", &options, &engine, &error);
 *     struct sett_txn *txn;
 *     sett_txn_create(engine, &txn);
 *     sett_txn_begin(txn, 0);
 *     sett_txn_put(txn, BYTES_LITERAL("key"), &(struct sett_put){.body = BYTES_LITERAL("value")});
 *     sett_txn_commit(txn, NULL, NULL);
 *     sett_txn_destroy(txn);
 *     sett_engine_close(engine, &error);
 *
 * An *entry* is a key, an inline *head* and a *body*. Bodies of `value_threshold` bytes and more live in the
 * value log and the tree holds a pointer (Lu et al., "WiscKey", FAST 2016); what must be looked at or
 * rewritten without the body belongs in the head.
 *
 * Isolation: serializable snapshot isolation by validating the read set at commit. Commit timestamps are
 * dense, from 1. Three frontiers only grow: durable <= written <= visible. A commit is *visible* when later
 * transactions see it, *written* when a killed process cannot lose it, *durable* when a power cut cannot.
 * What a caller tells the world should wait for the frontier it promises: for its own commit and for
 * sett_txn_observed().
 *
 * Threads: the engine may be used from any number of threads; one transaction (with its iterators) by one
 * thread at a time. A thread that begins transactions with SETT_TXN_NOWAIT must be registered and online with
 * storage/base/rcu.h, and must not pass a quiescent point until the transaction ends. Other transactions hold
 * references instead and may wait for the disk. */
#ifndef SETT_STORAGE_ENGINE_H
#define SETT_STORAGE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/arena.h"
#include "storage/base/bytes.h"
#include "storage/base/clock.h"
#include "storage/base/log_sink.h"
#include "storage/limits.h"
#include "storage/status.h"
#include "storage/vfs.h"

struct sett_engine;
struct sett_txn;
struct sett_iterator;
struct sett_archive_options;

enum sett_sync_policy {
	SETT_SYNC_NO,       /* the operating system decides */
	SETT_SYNC_EVERYSEC, /* the log is synced once a second */
	SETT_SYNC_ALWAYS,   /* the log is synced as soon as something is written */
};

enum sett_compression {
	SETT_COMPRESSION_DEFAULT,
	SETT_COMPRESSION_NONE,
	SETT_COMPRESSION_LZ4,
	SETT_COMPRESSION_ZSTD
};

/* All zero is a valid set of options: every field that is 0 or NULL takes the default named beside it. */
struct sett_options {
	struct vfs *vfs;                /* vfs_posix() */
	const struct sett_clock *clock; /* sett_system_clock() */
	struct log_sink sink;           /* silent */
	uint64_t seed;                  /* random */
	size_t memory_budget;           /* 64 MiB: memtables, block cache and filters together */
	/* 1 KiB; bodies of this size and more go to the value log. After a change, compaction moves those
	 * that it meets in or out. */
	size_t value_threshold;
	/* 64 MiB, or a quarter of it for small budgets; while there is little in the value log its files are
	 * smaller, down to 1 MiB. */
	uint64_t value_log_file_size;
	/* 1: versions of each key that stay for walks over all versions, at least; those before a deletion don't, and a deletion
	 * among them is shown while anything older is. Beyond them versions, deletions too, go as flush and compaction meet them,
	 * unless a snapshot sees them. Not recorded in the files; those that stay
	 * count as live. */
	unsigned keep_versions;
	double space_amplification_limit; /* 1.5: bytes on disk per live byte */
	/* What is written from now on; all kinds can be read at any time. */
	enum sett_compression table_compression;  /* LZ4: tables above the bottom level */
	enum sett_compression bottom_compression; /* ZSTD: tables of the bottom level */
	enum sett_compression value_compression;  /* none: bodies in the value log, those below 1 MiB */
	int compression_level;                    /* 1; of zstd, up to 19 */
	enum sett_sync_policy sync;               /* SETT_SYNC_NO */
	unsigned workers;                         /* 2; threads for flush, compaction and value-log GC */
	size_t open_files; /* no bound; of tables and value-log files so many are open at once. Beside them up to
			    * SETT_KEPT_HANDLES are: lock, directory, manifest, log */
	/* SETT_LARGE_WRITES; a commit of more entries and dropped prefixes makes its memtable and its log record before it
	 * takes the commit lock. */
	size_t large_commit;
	bool manual_work; /* no threads at all: sett_engine_work runs jobs, sett_engine_sync syncs */
	bool must_exist;  /* SETT_NOT_FOUND rather than a new, empty database */
	/* Shows what is in the directory, also of one whose process was killed: its log is read into memory, whatever that takes.
	 * Nothing is written, made, cut or removed there. Writes fail with SETT_READ_ONLY, at the commit. Any number may have a
	 * directory open so at once, but nobody who writes (SETT_LOCKED). Where there is no file LOCK, as in a copy of the files
	 * that some other program made, a writer is not kept out, and takes from under the reader what it reads: make an empty
	 * one. No threads; nothing is archived. */
	bool read_only;
	/* The database is in memory, and gone when it is closed; `vfs` and the directory's name are not looked at. */
	bool in_memory;
	bool never_cut_log; /* SETT_CORRUPT rather than cutting off an end of the log that may be torn */
	/* Commits are archived: storage/archive.h. NULL: they are not. Its bytes are needed until the open returns. */
	const struct sett_archive_options *archive;
	/* For sett_archive_apply: ids that are pending stay so, and any number may be; and a directory is opened that says that
	 * its restore has not come to its end (SETT_RESTORING_NAME), which is refused otherwise. */
	bool replays;
	/* Called, from any thread and without locks, whenever the durable or written frontier has moved or
	 * the engine has failed. Must not block. */
	void (*on_progress)(void *arg);
	void *on_progress_arg;
	/* The log was synced, which took so long. Called without locks by the thread that did it. */
	void (*on_sync)(void *arg, uint64_t duration_ns);
	void *on_sync_arg;
	/* Recovery progress: replayed and total bytes of the log; called now and then. */
	void (*on_recovery)(void *arg, uint64_t done, uint64_t total);
	void *on_recovery_arg;
};

/* Opens or creates the database in `directory`. SETT_CORRUPT: damage that takes something durable (file and
 * offset are in the text), or a file of another version of its format; no file of the database was changed.
 * What is looked at: the manifest, the log, and of each table and value-log file its header or footer, index and
 * filter. Damage in a table's blocks or a value is an error of the read that meets it, unless sett_check
 * (storage/inspect.h) has looked before. SETT_LOCKED, SETT_IO, SETT_NO_SPACE, SETT_NO_MEMORY. Options are
 * copied. */
int sett_engine_open(const char *directory, const struct sett_options *, struct sett_engine **ret,
		     struct sett_error *);
/* Waits for running jobs, makes all commits durable and frees everything, also on failure. No transaction may
 * be alive. */
int sett_engine_close(struct sett_engine *, struct sett_error *);

/* ---- frontiers ---- */
uint64_t sett_engine_visible(struct sett_engine *);
uint64_t sett_engine_written(struct sett_engine *);
uint64_t sett_engine_durable(struct sett_engine *);
/* Writes every visible commit to the log file (no sync). Cheap when there is nothing to write. SETT_FAILED,
 * SETT_IO, SETT_NO_SPACE. */
int sett_engine_write(struct sett_engine *);
/* The same, but under SETT_SYNC_ALWAYS no sync begins for it before sett_engine_start_sync, or a second
 * later: for who expects to write more at once, as every sync costs time of the processor too. */
int sett_engine_write_unsynced(struct sett_engine *);
/* What is written now will be durable soon, whatever the policy. Does not wait. */
void sett_engine_start_sync(struct sett_engine *);
/* Writes and syncs: on success every commit visible at the call is durable. Blocks for the disk. */
int sett_engine_sync(struct sett_engine *, struct sett_error *);
/* Caches have what `memory_budget` of the options leaves beside memtables; from now on, what this budget
 * leaves. Memtables stay as they are. Each call lends the record cache what the block cache does not use just then.
 * So a program may call it several times a second, with the same budget, too. Any thread. */
void sett_engine_set_memory_budget(struct sett_engine *, size_t budget);
/* What one transaction may take for what it writes, and as much again for what it has read and not forgotten
 * (sett_txn_forget_reads), from its next begin on: past it, reads and writes
 * answer SETT_NO_MEMORY (but for SETT_TXN_ROOMY). A single value may be larger. 0, as at first: no limit. Any thread. */
void sett_engine_set_transaction_memory(struct sett_engine *, size_t bytes);
void sett_engine_set_sync_policy(struct sett_engine *, enum sett_sync_policy);
/* How long the oldest written but undurable commit has been waiting, in nanoseconds; 0 if none. */
uint64_t sett_engine_sync_lag_ns(struct sett_engine *);
/* SETT_OK, or why writes are refused, with its text. What sett_status_heals says heals by itself: a full disk,
 * a want of memory or of file handles of background work; SETT_FAILED does not. */
int sett_engine_health(struct sett_engine *, struct sett_error *);

/* ---- keys with their hashes, for callers that use a key more than once ---- */
struct sett_key {
	struct bytes bytes;
	uint64_t hash; /* sett_engine_hash */
};
/* Seeded at open: it means something to this engine alone, for as long as it is open. Good as a conflict key.
 */
uint64_t sett_engine_hash(const struct sett_engine *, struct bytes key);
/* A hint: these keys are about to be read by transactions of this thread; and written, where `writes` says
 * so. Asks the processor for the memory that this will need, for all keys at once. The thread is online with
 * storage/base/rcu.h. */
struct sett_fetch {
	struct sett_key key;
	bool writes;
};
void sett_engine_fetch(struct sett_engine *, const struct sett_fetch *, size_t count);

/* ---- transactions ---- */
enum sett_txn_flags {
	SETT_TXN_NOWAIT = 1, /* SETT_WOULD_BLOCK instead of waiting for the disk or a claim (see Threads) */
	SETT_TXN_MANUAL_CONFLICTS =
		2,          /* only what sett_txn_read_conflict / write_conflict name is validated */
	SETT_TXN_PACED = 4, /* its commit is not slowed down: it makes the room that others are slowed for */
	SETT_TXN_ROOMY = 8, /* it may take SETT_ROOMY_FACTOR times sett_engine_set_transaction_memory: what
			     * frees space must not be refused before what takes it */
	SETT_TXN_HELD = 16, /* it lasts: see sett_txn_suspend */
};

/* A reusable transaction object: made once per thread, begun and ended any number of times. */
int sett_txn_create(struct sett_engine *, struct sett_txn **ret);
/* Ends it if it is running; NULL is fine. */
void sett_txn_destroy(struct sett_txn *);

/* Takes a snapshot of everything visible. The object must not be running. */
int sett_txn_begin(struct sett_txn *, unsigned flags);
/* The same with the caller's look at the engine's wall clock, a moment ago, for those who begin many
 * transactions at once. */
int sett_txn_begin_at(struct sett_txn *, unsigned flags, uint64_t now_ms);
/* From now on it may take no more than one without SETT_TXN_ROOMY: it turns out that it takes space. */
void sett_txn_leave_room(struct sett_txn *);
/* From now on it may take any memory: it is about to be committed, and what that adds must not refuse what was let in. One that
 * goes on is limited again by sett_txn_resume. */
void sett_txn_lift_limit(struct sett_txn *);
/* A snapshot that outlives its transaction (I20): it keeps on the disk all that the transaction could see, so
 * whoever keeps one bounds how long. Release it before the engine is closed. */
struct sett_snapshot;
/* That of a running transaction, with its `now`; not the transaction's own writes. Does not wait.
 * SETT_NO_MEMORY; SETT_TOO_LARGE: SETT_MAX_SNAPSHOTS are kept. */
int sett_snapshot_keep(const struct sett_txn *, struct sett_snapshot **ret);
/* Not while a transaction runs in it. NULL is fine. Any thread. */
void sett_snapshot_release(struct sett_snapshot *);
/* Bytes of entries, and of their values, that were overwritten or deleted after the snapshot and would be gone
 * from the tables without it; 0 if an older snapshot is in use. Does not count what is not flushed yet, and
 * dropped prefixes. Takes time in proportion to the number of tables. Any thread. */
uint64_t sett_snapshot_held_bytes(const struct sett_snapshot *);
/* Begins a transaction that reads in a kept snapshot. It must not write. */
int sett_txn_begin_kept(struct sett_txn *, const struct sett_snapshot *, unsigned flags);
/* Ends it without effect: its iterators are closed, slices from it become invalid. No-op if not running. */
void sett_txn_discard(struct sett_txn *);

/* ---- the past ----
 * Once it has a *horizon*, an engine keeps every version that anybody could see who reads as of the horizon's commit or a later
 * one: what was overwritten, deleted or dropped since stays on the disk. So whoever sets one moves it on. It is not recorded: an
 * open has none. */
/* From now on, or since it was set before. The commit from which on all can be read. Any thread, as of all of these. */
uint64_t sett_engine_set_horizon(struct sett_engine *);
/* What only earlier commits see may go. At most to the visible commit; never back; nothing if there is none. */
void sett_engine_move_horizon(struct sett_engine *, uint64_t commit);
void sett_engine_end_horizon(struct sett_engine *);
/* About how many bytes of tables and values would be kept for it if the horizon were there: as of sett_snapshot_held_bytes, but
 * with dropped prefixes and ids. Takes time in proportion to the number of tables. SETT_NO_MEMORY. */
int sett_engine_horizon_bytes(struct sett_engine *, uint64_t commit, uint64_t *ret);
/* Begins a transaction that reads as of a commit; its `now` is the caller's. It must not write, has no counters, and is never in
 * conflict. SETT_NOT_FOUND: the commit is before the horizon, or there is none; SETT_INVALID: there is no such commit yet. */
int sett_txn_begin_as_of(struct sett_txn *, uint64_t commit, uint64_t now_ms, unsigned flags);
bool sett_txn_is_as_of(const struct sett_txn *);

/* ---- transactions that last (SETT_TXN_HELD) ----
 * One that waits for somebody, for a while, keeps its snapshot on the disk and what it has written in memory, and nothing
 * else: no memtable, no table, no claim. Whoever holds one bounds how long (I20). */
/* It is not used for a while. Records and bodies that it has read and read marks are void, its iterators are closed; what
 * it has written and its savepoints stay. It may be discarded, or its object destroyed. */
void sett_txn_suspend(struct sett_txn *);
/* Goes on, on any thread, with the memory that it may take by now. `flags`: SETT_TXN_NOWAIT and SETT_TXN_PACED, as at a begin, until it is suspended again. */
void sett_txn_resume(struct sett_txn *, unsigned flags);
/* Bytes of memory that it takes. Here conflict keys are limited, too: each kind for itself may take what sett_engine_set_transaction_memory
 * says. */
size_t sett_txn_memory(const struct sett_txn *);
/* As sett_snapshot_held_bytes, of its snapshot. */
uint64_t sett_txn_held_bytes(const struct sett_txn *);
bool sett_txn_is_running(const struct sett_txn *);
/* Whether it was begun without SETT_TXN_NOWAIT. */
bool sett_txn_may_wait(const struct sett_txn *);
/* The text of the last read that failed, with file and place; empty if none did. */
const char *sett_txn_failure(const struct sett_txn *);
/* Not 0: a read of this transaction said SETT_WOULD_BLOCK because what it needs is not in memory; the number
 * is another one for other bytes, as a rule. The system has been asked for them, if it is Linux as of 5.9: in
 * a moment the same read may go through. */
uint64_t sett_txn_missing(const struct sett_txn *);
/* After a commit with SETT_TXN_NOWAIT: how many nanoseconds the caller should wait before it writes again; 0 if writers are
 * not slowed down. Without NOWAIT the commit itself waits. */
uint64_t sett_txn_pause_ns(const struct sett_txn *);
/* Deadlines are the caller's business, but all transactions must agree which have passed (I18). One that treats
 * a deadline as passed says so: from then on no transaction begins with a `now` at or before it, and none that
 * took such a deadline as still ahead commits writes: it is run again (SETT_CONFLICT). */
void sett_txn_deadline_passed(struct sett_txn *, uint64_t deadline_ms);
void sett_txn_deadline_ahead(struct sett_txn *, uint64_t deadline_ms);
/* Timestamp of the snapshot. */
uint64_t sett_txn_snapshot(const struct sett_txn *);
/* Milliseconds since 1970, fixed at begin; never less than that of any commit in the snapshot (I5), and past
 * every deadline that a transaction has treated as passed (I18). */
uint64_t sett_txn_now_ms(const struct sett_txn *);
/* Newest commit whose effect was read so far: what a reply reveals (I1). */
uint64_t sett_txn_observed(const struct sett_txn *);
/* For several requests that share a transaction: sett_txn_observed begins again with nothing, for the next of
 * them; and whether since then a read met a write of the transaction itself. */
void sett_txn_observe_anew(struct sett_txn *);
bool sett_txn_observed_own(const struct sett_txn *);
/* A request goes by what another of them has changed, and has not put yet. */
void sett_txn_observe_own(struct sett_txn *);

/* An entry as read. The slices live until the transaction ends, or its reads are forgotten (sett_txn_forget_reads). */
struct sett_record {
	struct bytes head;
	uint64_t body_size;
	uint64_t expires_at; /* milliseconds since 1970; 0 = never. The engine itself never hides an expired
				entry */
	uint64_t timestamp;  /* of its commit; UINT64_MAX for the transaction's own write */
	/* The engine's: its encoding of the entry; the key, of records whose body is large (in the
	 * transaction's memory), else none; and whether the encoding is the record cache's, which does not
	 * know where such a body lies. */
	struct bytes reserved_value;
	struct sett_key reserved_key;
	bool reserved_cached;
};

/* SETT_OK, SETT_NOT_FOUND, SETT_WOULD_BLOCK, SETT_CORRUPT, SETT_IO. Sees the transaction's own writes. */
int sett_txn_get(struct sett_txn *, struct bytes key, struct sett_record *ret);
int sett_txn_get_hashed(struct sett_txn *, struct sett_key, struct sett_record *ret);
/* Sets the keys' hashes, and asks for the memory of what the transaction is about to read under them: a hint. */
void sett_txn_fetch(struct sett_txn *, struct sett_key *keys, size_t count);
/* What a put or a deletion wants of a record without a body (`over`): it stays when reads are forgotten, and is good for nothing
 * else. */
struct sett_record sett_record_to_go_over(const struct sett_record *);
/* The body of a record read in this transaction, checksum verified. SETT_WOULD_BLOCK, ... as above. */
int sett_txn_body(struct sett_txn *, const struct sett_record *, struct bytes *ret);

/* What a transaction has read stays in its memory, within sett_engine_set_transaction_memory. A caller that is through with what it
 * has read since a point says so, and may read on without end: records and bodies read since then are void, what was
 * read before, what iterators are at, and all that was written stay. Points are gone back to in the reverse order. */
struct sett_read_mark {
	struct arena_mark place;
	size_t keys; /* conflict keys read so far: sett_txn_check_reads */
};
struct sett_read_mark sett_txn_read_mark(const struct sett_txn *);
void sett_txn_forget_reads(struct sett_txn *, const struct sett_read_mark *);

/* Notes: what a caller has worked out from entries and may want again, kept beside records in memory as long as there is
 * room. The key is no entry's. A note may be gone at any time. It says what holds at the snapshot of who has kept it, and from
 * then on, as far as the key names the state that it follows from (by the timestamp of a record that changes with it, say),
 * or as long as every commit that makes it untrue changes it. */
/* True: there is one; the content is read memory, as a body. What the transaction has changed it finds so, until it changes it
 * again. */
bool sett_txn_note(struct sett_txn *, struct bytes key, struct bytes *ret);
/* Keeps one that holds at the transaction's snapshot; not if there is one, or a commit has changed it since. */
void sett_txn_keep_note(struct sett_txn *, struct bytes key, struct bytes content);
/* With the transaction's commit `content` takes the place of the note that is kept then, if there is one; NULL: it goes. And
 * nobody whose snapshot is older keeps one afterwards. SETT_NO_MEMORY. */
int sett_txn_change_note(struct sett_txn *, struct bytes key, const struct bytes *content);
/* Whether the transaction changes this one; how many it changes. */
bool sett_txn_changes_note(const struct sett_txn *, struct bytes key);
unsigned sett_txn_changed_notes(const struct sett_txn *);
/* Whether notes of so many bytes in all would take no more than a quarter of that memory. */
bool sett_txn_has_room_for_notes(const struct sett_txn *, uint64_t bytes);

/* `size` bytes of such a body from `offset` on, which it has, into `ret`: of a large one little more is read, and
 * the transaction keeps nothing of it. */
int sett_txn_body_part(struct sett_txn *, const struct sett_record *, uint64_t offset, size_t size,
		       void *ret);

/* A body, or a part of one, that is read in pieces: of any size, in memory of the caller's choice, also after
 * the transaction has ended, whatever becomes of the key. It keeps the body's file on the disk: close it,
 * before the engine. One thread at a time. */
struct sett_body_stream;
/* `size` bytes from `offset` on of a record read in this transaction, whose body has them; reads nothing yet.
 * SETT_INVALID: the body does not lie in the value log as it is (it is small, packed, or the transaction's
 * own write): sett_txn_body has it. SETT_NO_MEMORY; SETT_WOULD_BLOCK, ... as above. */
int sett_body_stream_open(struct sett_txn *, const struct sett_record *, uint64_t offset, uint64_t size,
			  struct sett_body_stream **ret);
uint64_t sett_body_stream_remaining(const struct sett_body_stream *);
/* The next `capacity` bytes, or what remains. May wait for the disk. Bytes come only if their checksum is
 * right: SETT_CORRUPT, SETT_IO, SETT_NO_MEMORY (then the stream can only be closed). */
int sett_body_stream_read(struct sett_body_stream *, void *data, size_t capacity, size_t *ret,
			  struct sett_error *);
/* NULL is fine. A thread that is online with rcu.h does not wait for the disk here: what is left to do there
 * is done later, by another. */
void sett_body_stream_close(struct sett_body_stream *);

/* A body that is written in pieces, straight to the value log, whatever its size: before the transaction that
 * puts it begins, so in as many runs of that as it takes. One thread at a time; to be closed before the
 * engine. */
struct sett_body_writer;
/* `size` is that of the whole body. SETT_TOO_LARGE, SETT_FAILED, SETT_NO_SPACE, SETT_IO, SETT_NO_MEMORY. */
int sett_body_writer_open(struct sett_engine *, uint64_t size, struct sett_body_writer **ret,
			  struct sett_error *);
/* The next bytes. Waits for the disk. SETT_NO_SPACE, SETT_IO: then it can only be closed. SETT_INVALID: more
 * than was said. */
int sett_body_writer_append(struct sett_body_writer *, const void *data, size_t size, struct sett_error *);
/* The body is whole: it can be put (struct sett_put). SETT_NO_SPACE, SETT_IO; SETT_INVALID: something is
 * missing. */
int sett_body_writer_finish(struct sett_body_writer *, struct sett_error *);
uint64_t sett_body_writer_size(const struct sett_body_writer *);
/* What was written, once it is finished, as a stream. SETT_INVALID: it is not; SETT_NO_MEMORY. */
int sett_body_writer_stream(const struct sett_body_writer *, struct sett_body_stream **ret);
/* Not before the end of transactions that put it. What no commit has put is garbage from here on. As of
 * sett_body_stream_close: NULL, and threads that are online. */
void sett_body_writer_close(struct sett_body_writer *);

struct sett_put {
	struct bytes head;
	struct bytes body;
	const struct sett_record
		*body_of; /* if set: keep that record's body (a pointer is copied, which may have to be read:
			     SETT_WOULD_BLOCK, ... as above); `body` is ignored */
	const struct sett_body_writer *written; /* if set: the body that was finished there, likewise */
	/* What this transaction read under the key, or NULL: its bytes are counted as garbage at the commit,
	 * so that they are given back soon. An entry that is overwritten unread becomes known garbage only
	 * when compaction meets it. */
	const struct sett_record *over;
	uint64_t expires_at; /* 0 = never */
};

/* The bytes are copied. SETT_TOO_LARGE, SETT_NO_MEMORY, SETT_NO_SPACE, SETT_IO, SETT_FAILED; SETT_INVALID:
 * the body in `written` is not finished. */
int sett_txn_put(struct sett_txn *, struct bytes key, const struct sett_put *);
int sett_txn_put_hashed(struct sett_txn *, struct sett_key, const struct sett_put *);
int sett_txn_delete(struct sett_txn *, struct bytes key);
/* `over` as in struct sett_put; without it the garbage is taken for that of an average entry. */
int sett_txn_delete_over(struct sett_txn *, struct bytes key, const struct sett_record *over);
int sett_txn_delete_hashed(struct sett_txn *, struct sett_key, const struct sett_record *over);
/* Every entry whose key begins with `prefix` is gone, in O(1): compaction removes it. THE CALLER MUST NEVER
 * READ OR WRITE A KEY WITH THIS PREFIX AGAIN in later snapshots: entries stay readable until removed. */
int sett_txn_drop_prefix(struct sett_txn *, struct bytes prefix);

/* An id is a prefix made of a stem (at most SETT_MAX_PREFIX_SIZE - SETT_ID_SIZE bytes) and a number of 8
 * bytes, big-endian. It is used once. Every key that begins with a stem has 8 more bytes: so dropped
 * neighbours are known to leave nothing between them. Millions may be dropped one by one. */
/* Writes the prefix; its size, or 0 if the stem is too long. */
size_t sett_id_prefix(struct bytes stem, uint64_t id, uint8_t ret[SETT_MAX_PREFIX_SIZE]);
/* Drops the id's prefix, as above. `bytes`: about what its entries take in keys and values, so that they count
 * as garbage at once; 0 if that is not known. */
int sett_txn_drop_id(struct sett_txn *, struct bytes stem, uint64_t id, uint64_t bytes);

/* An id whose entries take several commits is *pending* until one commit publishes it, with whatever makes
 * its entries reachable. Each of its commits checks that it is: it is not any more once it, or a prefix of it,
 * was dropped. A pending id that is given up must be dropped, or abandoned; at the latest the next open drops
 * it. A commit whose id is not pending (or whose new one is already) fails with SETT_ABORTED, one with more
 * than SETT_MAX_PENDING in all with SETT_TOO_LARGE. Each commit is a transaction of its own, begun after the
 * one before it has committed: so it reads all that its id has. */
int sett_txn_pend_id(struct sett_txn *, struct bytes stem, uint64_t id);
int sett_txn_check_pending(struct sett_txn *, struct bytes stem, uint64_t id);
int sett_txn_publish_id(struct sett_txn *, struct bytes stem, uint64_t id);
/* Drops a pending id, without a commit: also while the log or the disk takes none. SETT_NOT_FOUND: it is not
 * pending. SETT_NO_MEMORY: it stays pending. */
int sett_engine_abandon_id(struct sett_engine *, struct bytes stem, uint64_t id);

/* Counters: signed sums that every commit may change; kept and recovered by the engine. Reading one makes
 * even a read-only transaction validate at commit; the caller names the conflict key that guards it. */
int sett_txn_counter_add(struct sett_txn *, uint64_t counter, int64_t delta);
/* Sum as of now including this transaction's own deltas; 0 if never used. */
int sett_txn_counter(struct sett_txn *, uint64_t counter, int64_t *ret);
/* Forgets the counter at commit. */
int sett_txn_counter_drop(struct sett_txn *, uint64_t counter);

/* Conflict keys are 64-bit hashes of the caller's choice (see SETT_TXN_MANUAL_CONFLICTS). A commit with
 * writes fails with SETT_CONFLICT if a commit after its snapshot wrote a key that it read. */
int sett_txn_read_conflict(struct sett_txn *, uint64_t conflict_key);
int sett_txn_write_conflict(struct sett_txn *, uint64_t conflict_key);
/* Validate at commit even though nothing is written. */
void sett_txn_validate_reads(struct sett_txn *);
/* For what is told before the commit: if something read since the mark was asked to be validated (a counter was), whether the
 * conflict keys read since are still as in the snapshot. Then that need not be validated again where nothing is written.
 * SETT_CONFLICT: the transaction can't be as of its snapshot. */
int sett_txn_check_reads(struct sett_txn *, const struct sett_read_mark *since);

/* A position in the transaction's writes. Rolling back to it undoes puts, deletes, prefix drops and counters
 * made since (conflict keys stay); of notes that were changed, before or since, none is kept. Marks nest; iterators must be repositioned after a rollback. */
size_t sett_txn_savepoint(struct sett_txn *);
void sett_txn_rollback_to(struct sett_txn *, size_t savepoint);
/* Whether the commit would write anything. */
bool sett_txn_has_writes(const struct sett_txn *);

struct sett_commit_hooks {
	/* Under the commit lock, once no conflict was found; non-zero aborts with SETT_ABORTED. May be NULL. */
	int (*check)(void *arg);
	/* Under the commit lock, once the commit cannot fail any more, before it is visible. For a read-only
	 * commit that took the lock (check set, or validate_reads) `timestamp` is 0. May be NULL. */
	void (*publish)(void *arg, uint64_t timestamp);
	void *arg;
};

/* Ends the transaction, whatever the outcome. SETT_OK; SETT_CONFLICT: nothing happened, begin and run again;
 * SETT_ABORTED: the check hook said no, or an id was not pending; SETT_WOULD_BLOCK (NOWAIT only: a claim is in
 * the way; run again where waiting is allowed); SETT_NO_SPACE, SETT_FAILED. `ret_timestamp` (may be NULL) gets the commit's timestamp, 0 if nothing was
 * written. SETT_WOULD_BLOCK leaves one with SETT_TXN_HELD as it was: suspend it, and commit it again, where waiting is allowed. */
int sett_txn_commit(struct sett_txn *, const struct sett_commit_hooks *, uint64_t *ret_timestamp);
/* After SETT_CONFLICT, not with NOWAIT: waits until no earlier claim has a conflict key in common, then keeps other
 * transactions from committing writes to the conflict keys that the last run read until the next commit that is not a
 * conflict, or sett_txn_release_claim (I6). The second claim in a row is also of what it wrote, the third of all keys. */
void sett_txn_claim(struct sett_txn *);
void sett_txn_release_claim(struct sett_txn *);
/* Until the next begin. After SETT_CONFLICT: a conflict key that it read and another has written meanwhile; 0: it
 * lost for another reason. */
uint64_t sett_txn_lost_to(const struct sett_txn *);
/* After SETT_WOULD_BLOCK of a commit: whether a claim was in the way. */
bool sett_txn_met_claim(const struct sett_txn *);

/* ---- iterators ---- */
struct sett_iterator_options {
	struct bytes lower;  /* inclusive; empty = from the first key */
	struct bytes upper;  /* exclusive; empty = to the last key */
	bool is_committed;   /* without the transaction's own writes */
	struct bytes prefix; /* only keys that begin with it; empty = all */
	/* Only entries whose commit came after this one; a key that was deleted since shows nothing, unless all_versions. Tables
	 * without a later commit are not read. 0 = all. */
	uint64_t since;
	/* Every version that is still kept (sett_options.keep_versions), deletions too, is an entry: of each key the newest first.
	 * Only forwards: what goes backwards says SETT_INVALID. */
	bool all_versions;
};

/* Live entries in key order, at the transaction's snapshot with its own writes on top. Not positioned yet.
 * The bounds are copied. Bodies are read by sett_txn_body alone: a walk over keys reads none. Tables outside the bounds are
 * not read. SETT_NO_MEMORY. */
int sett_iterator_open(struct sett_txn *, const struct sett_iterator_options *, struct sett_iterator **ret);
/* Iterators that are still open when their transaction ends are closed by it. NULL is fine. */
void sett_iterator_close(struct sett_iterator *);
/* Each positions the iterator and returns SETT_OK, SETT_NOT_FOUND (past the end: not valid) or an error,
 * SETT_WOULD_BLOCK among them (not valid). seek: first key >= target. seek_before: last key < target. */
int sett_iterator_first(struct sett_iterator *);
int sett_iterator_last(struct sett_iterator *);
int sett_iterator_seek(struct sett_iterator *, struct bytes target);
int sett_iterator_seek_before(struct sett_iterator *, struct bytes target);
int sett_iterator_next(struct sett_iterator *);
int sett_iterator_previous(struct sett_iterator *);
bool sett_iterator_is_valid(const struct sett_iterator *);
/* Valid until the iterator moves or closes. */
struct bytes sett_iterator_key(const struct sett_iterator *);
/* The record's slices are valid until the iterator moves or closes; sett_txn_body works on it until then. SETT_INVALID: it is
 * not valid; SETT_NOT_FOUND: a deletion. */
int sett_iterator_record(struct sett_iterator *, struct sett_record *ret);
/* Of the entry that it is at: the commit (UINT64_MAX for the transaction's own write); whether it is a deletion, which only
 * walks over all versions meet. */
uint64_t sett_iterator_timestamp(const struct sett_iterator *);
bool sett_iterator_is_deletion(const struct sett_iterator *);

/* A stretch of the keys in [lower, upper), for sampling: the blocks of all tables cut them into `ret_stretches`, each as
 * likely. It is what stands behind `ret_low` up to and with `ret_high`; neither need be a key, and what is left empty is
 * the end of the range. `upper` is not empty. SETT_NOT_FOUND if there is no table data in the range; SETT_WOULD_BLOCK. */
int sett_txn_sample(struct sett_txn *, struct bytes lower, struct bytes upper, uint64_t random,
		    struct buffer *ret_low, struct buffer *ret_high, uint64_t *ret_stretches);

/* ---- expiry ---- */
/* Finds keys whose expires_at is at or before `now_ms` in some table not looked at since its earliest such
 * entry came due, and hands them to `each` (which may see keys that were since deleted or renewed: re-read in
 * a transaction). Reads at most about `max_bytes` of tables, resumes on the next call; returns SETT_NOT_FOUND
 * once nothing is due. May wait for the disk. */
int sett_engine_sweep_expired(struct sett_engine *, uint64_t now_ms, uint64_t max_bytes,
			      void (*each)(void *arg, struct bytes key, uint64_t expires_at), void *arg);

/* ---- upkeep and figures ---- */
/* Rotates the memtable and waits until everything is in tables (SETT_FAILED, SETT_IO, ...). */
int sett_engine_flush(struct sett_engine *, struct sett_error *);
/* Of an encrypted database (its `vfs` is a keyring's, storage/keyring.h): adds a data key, writes all anew that is not sealed by
 * it, and drops the others. Blocks, for as long as that takes; commits and reads go on. `should_stop` (may be NULL) ends it early
 * (SETT_ABORTED). SETT_WOULD_BLOCK: a reader has held an old file for too long, again later; SETT_INVALID: it is not
 * encrypted; SETT_IO, ... Whenever it ends early, or is cut, another call does the rest. */
int sett_engine_rewrite(struct sett_engine *, bool (*should_stop)(void *arg), void *arg, struct sett_error *);
/* Flushes and compacts everything to the bottom level, reclaiming all garbage that no snapshot needs. */
int sett_engine_compact(struct sett_engine *, struct sett_error *);
/* manual_work only: runs one pending job; SETT_NOT_FOUND if there is none. */
int sett_engine_work(struct sett_engine *, struct sett_error *);

struct sett_level_stats {
	uint64_t tables, bytes, referenced_bytes; /* referenced: value-log bytes its tables point at */
};
struct sett_stats {
	uint64_t memtable_bytes, memtables_waiting;
	uint64_t log_segments, log_bytes;
	struct sett_level_stats levels[SETT_LEVELS];
	uint64_t value_log_files, value_log_total_bytes, value_log_live_bytes;
	uint64_t disk_bytes;    /* all files, from their lengths, but for tables that are being written */
	uint64_t reserve_bytes; /* of the file that is given up when the disk is full */
	uint64_t live_bytes;    /* what the entries that a new snapshot sees take in tables and value log */
	uint64_t held_bytes;    /* what only snapshots and running reads keep on the disk */
	/* Bytes of tables, value log and commits not in tables yet, without what is held, per live byte; a
	 * database with less than 1 MiB of live bytes counts as one with 1 MiB; at least 1. The log's
	 * preallocated files are not in it. */
	double space_amplification;
	uint64_t block_cache_bytes, block_cache_hits, block_cache_misses;
	uint64_t record_cache_bytes, record_cache_hits, record_cache_misses;
	uint64_t memory_bytes; /* memtables, caches, conflict table, filters, indexes */
	uint64_t mapped_bytes; /* of them: see sett_engine_mapped_bytes */
	uint64_t commits, conflicts;
	uint64_t flushes, compactions, value_log_moved_bytes, bytes_written;
	uint64_t dead_ids;    /* dropped prefixes and ids that tables may still hold something of */
	uint64_t dead_bytes;  /* about what the dead hold in tables of the bottom level */
	uint64_t dead_memory; /* bytes that keep track of them; part of memory_bytes */
	uint64_t
		oldest_snapshot; /* of a running transaction, or the horizon; the visible timestamp if none */
};
void sett_engine_stats(struct sett_engine *, struct sett_stats *ret);
/* How many live bytes (struct sett_stats) there may be so that all files stay within `disk_bytes`: garbage that the
 * space bound allows, log and reserve have room beside them. Any thread. */
uint64_t sett_engine_live_limit(struct sett_engine *, uint64_t disk_bytes);
/* Less than this is no bound that can be kept: log, reserve and a few memtables alone take it. Any thread. */
uint64_t sett_engine_least_disk(struct sett_engine *);
/* Slows commits that write down, as a pressure of the background's would: 0 not at all, SETT_SLOWEST to a crawl. Until
 * the next call; SETT_TXN_PACED goes its way. Any thread. */
#define SETT_SLOWEST 0.98
void sett_engine_slow_writers(struct sett_engine *, double pressure);
/* Much is about to be written that is hardly read: what is flushed is gathered in so many tables before it is merged with what lies
 * below, and so is written anew less often. 0, as at first: what was gathered is merged now, in the background, at once. Until
 * that is done a read of what is not in memory looks at each of these tables; they neither slow writers down nor count for the
 * space bound. While tables are gathered, as many again may come before the merge ends: then writers wait. What an engine finds
 * there when it is opened, if it would slow writers down, is taken as gathered until then. Any thread, one at a time. */
void sett_engine_gather(struct sett_engine *, unsigned tables);
/* Each commit that writes asks `stop` first, and again while it waits for its turn: once that says so, it fails with SETT_READ_ONLY. So
 * who writes very much can be stopped at any time. It is called on the committing thread, and no more once this has been called
 * again. NULL: none is asked, as at first. */
void sett_engine_stop_writes(struct sett_engine *, bool (*stop)(void *arg), void *arg);
/* Memory in use that does not come from malloc. Never less than before. A system call for every 16 MiB. */
uint64_t sett_engine_mapped_bytes(struct sett_engine *);
/* Bytes a key's entry takes (key, head, body), without reading the body. */
uint64_t sett_record_size(struct bytes key, const struct sett_record *);

#endif
