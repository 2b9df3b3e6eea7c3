/* The entry's body: flags:u8 (1: importing), then size:u64le crc:u64le of each file, newest first. The size's
 * highest bit: it was ignored. */
#include "keyspace/known_files.h"

#include "keyspace/private.h"
#include "storage/base/varint.h"

enum { FILE_SIZE = 16, FLAG_IMPORTING = 1 };
#define SIZE_IGNORED ((uint64_t)1 << 63)

static const uint8_t entry_key[2] = {KIND_META, 'f'};

static int
parse(struct bytes body, struct known_files *ret)
{
	if (body.size < 1 || (body.size - 1) % FILE_SIZE != 0 || body.size > 1 + KNOWN_FILES_MAX * FILE_SIZE)
		return SETT_CORRUPT;
	*ret = (struct known_files){.importing = (body.data[0] & FLAG_IMPORTING) != 0};
	for (size_t at = 1; at < body.size; at += FILE_SIZE) {
		uint64_t size = get_le64(body.data + at);
		ret->files[ret->count++] = (struct known_file){.size = size & ~SIZE_IGNORED,
							       .crc = get_le64(body.data + at + 8),
							       .ignored = (size & SIZE_IGNORED) != 0};
	}
	return SETT_OK;
}

static int
read_entry(struct sett_txn *txn, struct known_files *ret)
{
	struct sett_record record;
	struct bytes body;
	int status = sett_txn_get(txn, bytes_of(entry_key, sizeof(entry_key)), &record);
	if (status == SETT_NOT_FOUND) {
		*ret = (struct known_files){0};
		return SETT_OK;
	}
	if (status == SETT_OK)
		status = sett_txn_body(txn, &record, &body);
	return status == SETT_OK ? parse(body, ret) : status;
}

int
known_files_read(struct sett_engine *engine, struct known_files *ret, struct sett_error *error)
{
	struct sett_txn *txn = NULL;
	int status = sett_txn_create(engine, &txn);
	if (status == SETT_OK)
		status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = read_entry(txn, ret);
	if (status != SETT_OK)
		sett_error_set(error, status, 0, "cannot read what is known of Redis' files: %s",
			       sett_status_text(status));
	sett_txn_destroy(txn);
	return status;
}

int
known_files_write(struct sett_engine *engine, const struct known_files *files, struct sett_error *error)
{
	uint8_t body[1 + KNOWN_FILES_MAX * FILE_SIZE] = {files->importing ? FLAG_IMPORTING : 0};
	struct sett_txn *txn = NULL;
	size_t size = 1;
	for (size_t i = 0; i < files->count; i++, size += FILE_SIZE) {
		put_le64(body + size, files->files[i].size | (files->files[i].ignored ? SIZE_IGNORED : 0));
		put_le64(body + size + 8, files->files[i].crc);
	}
	int status = sett_txn_create(engine, &txn);
	if (status == SETT_OK)
		status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = sett_txn_put(txn, bytes_of(entry_key, sizeof(entry_key)),
				      &(struct sett_put){.body = bytes_of(body, size)});
	if (status == SETT_OK)
		status = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "cannot note what is known of Redis' files: %s",
				      sett_status_text(status));
	return sett_engine_sync(engine, error);
}

const struct known_file *
known_files_find(const struct known_files *files, const struct known_file *file)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->files[i].size == file->size && files->files[i].crc == file->crc)
			return &files->files[i];
	return NULL;
}

void
known_files_add(struct known_files *files, const struct known_file *file)
{
	const struct known_file *old = known_files_find(files, file);
	size_t newer = old != NULL ? (size_t)(old - files->files) : files->count;
	if (old == NULL && files->count < KNOWN_FILES_MAX)
		files->count++;
	else if (old == NULL)
		newer--;
	memmove(files->files + 1, files->files, newer * sizeof(files->files[0]));
	files->files[0] = *file;
}
