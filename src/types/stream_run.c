/* See stream_run.h. */
#include "types/stream_run.h"

#include "storage/base/varint.h"

bool
stream_id_increase(struct stream_id *id)
{
	if (id->seq < UINT64_MAX) {
		id->seq++;
		return true;
	}
	if (id->ms == UINT64_MAX)
		return false;
	id->ms++;
	id->seq = 0;
	return true;
}

bool
stream_id_decrease(struct stream_id *id)
{
	if (id->seq > 0) {
		id->seq--;
		return true;
	}
	if (id->ms == 0)
		return false;
	id->ms--;
	id->seq = UINT64_MAX;
	return true;
}

int
stream_run_at(struct bytes run, struct stream_id base, size_t offset, struct stream_entry *ret)
{
	uint64_t size, ms;
	struct stream_entry e = {.offset = offset};
	if (offset == run.size)
		return SETT_NOT_FOUND;
	const uint8_t *p = run.data + offset, *end = run.data + run.size;
	p = varint_get(p, end, &size);
	if (p == NULL || size > (uint64_t)(end - p))
		return SETT_CORRUPT;
	end = p + size;
	e.end = (size_t)(end - run.data);
	p = varint_get(p, end, &ms);
	if (p != NULL)
		p = varint_get(p, end, &e.id.seq);
	if (p != NULL)
		p = varint_get(p, end, &e.texts);
	if (p == NULL || __builtin_add_overflow(base.ms, ms, &e.id.ms) || e.texts > (uint64_t)(end - p))
		return SETT_CORRUPT;
	e.rest = bytes_of(p, (size_t)(end - p));
	*ret = e;
	return SETT_OK;
}

int
stream_entry_text(struct stream_entry *e, struct bytes *ret)
{
	uint64_t size;
	const uint8_t *end = e->rest.data + e->rest.size;
	const uint8_t *p = e->texts > 0 ? varint_get(e->rest.data, end, &size) : NULL;
	if (p == NULL || size > (uint64_t)(end - p))
		return SETT_CORRUPT;
	*ret = bytes_of(p, size);
	e->texts--;
	e->rest = bytes_of(p + size, (size_t)(end - p) - size);
	return SETT_OK;
}

static size_t
size_inside(struct stream_id base, struct stream_id id, const struct stream_texts *t)
{
	size_t size = varint_size(id.ms - base.ms) + varint_size(id.seq) + varint_size(t->count);
	if (t->list == NULL)
		return size + t->written.size;
	for (size_t i = 0; i < t->count; i++)
		size += varint_size(t->list[i].size) + t->list[i].size;
	return size;
}

size_t
stream_entry_size(struct stream_id base, struct stream_id id, const struct stream_texts *texts)
{
	size_t size = size_inside(base, id, texts);
	return varint_size(size) + size;
}

static uint8_t *
put_bytes(uint8_t *p, struct bytes b)
{
	if (b.size > 0)
		memcpy(p, b.data, b.size);
	return p + b.size;
}

uint8_t *
stream_entry_write(uint8_t *p, struct stream_id base, struct stream_id id, const struct stream_texts *t)
{
	p = varint_put(p, size_inside(base, id, t));
	p = varint_put(p, id.ms - base.ms);
	p = varint_put(p, id.seq);
	p = varint_put(p, t->count);
	if (t->list == NULL)
		return put_bytes(p, t->written);
	for (size_t i = 0; i < t->count; i++)
		p = put_bytes(varint_put(p, t->list[i].size), t->list[i]);
	return p;
}
