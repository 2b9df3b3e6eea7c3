/* Sparse file content in pages.
 *
 * Invariant: every byte at or past `size` in a page that exists is zero, so growing never has to clear. */
#include "memory_content.h"

#include <stdlib.h>
#include <string.h>

#include "storage/status.h"

enum { PAGE_SIZE = 4096 };

static size_t
pages_for(uint64_t size)
{
	return (size_t)((size + PAGE_SIZE - 1) / PAGE_SIZE);
}

size_t
memory_content_read(const struct memory_content *c, void *buf, size_t size, uint64_t offset)
{
	if (offset >= c->size)
		return 0;
	if (size > c->size - offset)
		size = (size_t)(c->size - offset);
	uint8_t *out = buf;
	for (size_t done = 0, n; done < size; done += n) {
		uint64_t at = offset + done;
		size_t within = (size_t)(at % PAGE_SIZE);
		n = size - done < PAGE_SIZE - within ? size - done : PAGE_SIZE - within;
		const uint8_t *page = c->pages[at / PAGE_SIZE];
		if (page != NULL)
			memcpy(out + done, page + within, n);
		else
			memset(out + done, 0, n);
	}
	return size;
}

/* Makes the page table long enough for `size` bytes. */
static int
reserve_table(struct memory_content *c, uint64_t size)
{
	if (size > MEMORY_CONTENT_MAX)
		return SETT_NO_SPACE;
	size_t need = pages_for(size);
	if (need <= c->page_count)
		return SETT_OK;
	size_t count = need > 2 * c->page_count ? need : 2 * c->page_count;
	uint8_t **pages = realloc(c->pages, count * sizeof *pages);
	if (pages == NULL)
		return SETT_NO_MEMORY;
	memset(pages + c->page_count, 0, (count - c->page_count) * sizeof *pages);
	c->pages = pages;
	c->page_count = count;
	return SETT_OK;
}

int
memory_content_write(struct memory_content *c, const void *data, size_t size, uint64_t offset)
{
	if (size == 0)
		return SETT_OK;
	if (offset > MEMORY_CONTENT_MAX || size > MEMORY_CONTENT_MAX - offset)
		return SETT_NO_SPACE;
	uint64_t end = offset + size;
	int status = reserve_table(c, end);
	if (status != SETT_OK)
		return status;
	/* All pages first: a page of zeros that a failure leaves behind reads as the hole it was. */
	for (uint64_t i = offset / PAGE_SIZE; i < pages_for(end); i++)
		if (c->pages[i] == NULL && (c->pages[i] = calloc(1, PAGE_SIZE)) == NULL)
			return SETT_NO_MEMORY;
	const uint8_t *in = data;
	for (size_t done = 0, n; done < size; done += n) {
		uint64_t at = offset + done;
		size_t within = (size_t)(at % PAGE_SIZE);
		n = size - done < PAGE_SIZE - within ? size - done : PAGE_SIZE - within;
		memcpy(c->pages[at / PAGE_SIZE] + within, in + done, n);
	}
	if (end > c->size)
		c->size = end;
	return SETT_OK;
}

int
memory_content_resize(struct memory_content *c, uint64_t size)
{
	int status = reserve_table(c, size);
	if (status != SETT_OK)
		return status;
	if (size < c->size) {
		for (size_t i = pages_for(size); i < pages_for(c->size); i++) {
			free(c->pages[i]);
			c->pages[i] = NULL;
		}
		size_t within = (size_t)(size % PAGE_SIZE);
		if (within != 0 && c->pages[size / PAGE_SIZE] != NULL)
			memset(c->pages[size / PAGE_SIZE] + within, 0, PAGE_SIZE - within);
	}
	c->size = size;
	return SETT_OK;
}

int
memory_content_copy(struct memory_content *to, const struct memory_content *from)
{
	struct memory_content copy = {0};
	int status = memory_content_resize(&copy, from->size);
	for (size_t i = 0; status == SETT_OK && i < pages_for(from->size); i++) {
		if (from->pages[i] == NULL)
			continue;
		copy.pages[i] = malloc(PAGE_SIZE);
		if (copy.pages[i] == NULL)
			status = SETT_NO_MEMORY;
		else
			memcpy(copy.pages[i], from->pages[i], PAGE_SIZE);
	}
	if (status != SETT_OK) {
		memory_content_free(&copy);
		return status;
	}
	*to = copy;
	return SETT_OK;
}

void
memory_content_free(struct memory_content *c)
{
	for (size_t i = 0; i < c->page_count; i++)
		free(c->pages[i]);
	free(c->pages);
	*c = (struct memory_content){0};
}
