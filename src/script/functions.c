#include "script/functions.h"

#include <assert.h>
#include <strings.h>

#include "keyspace/libraries.h"
#include "script/functions_private.h"

/* ---- sets ---- */

static int
compare_functions(const void *a, const void *b)
{
	const struct script_function *const *x = a, *const *y = b;
	return strcasecmp((*x)->name, (*y)->name);
}

/* An array of all functions of libraries, in order. SETT_NO_MEMORY. */
static int
sort_functions(struct function_library *const *libraries, size_t count, struct script_function ***ret,
	       size_t *ret_count)
{
	size_t total = 0, at = 0;
	for (size_t i = 0; i < count; i++)
		total += libraries[i]->function_count;
	struct script_function **sorted = malloc((total + 1) * sizeof(*sorted));
	if (sorted == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < libraries[i]->function_count; j++)
			sorted[at++] = &libraries[i]->functions[j];
	qsort(sorted, total, sizeof(struct script_function *), compare_functions);
	*ret = sorted;
	*ret_count = total;
	return SETT_OK;
}

struct script_function *
functions_find(const struct function_set *set, struct bytes name)
{
	size_t low = 0, high = set->function_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct script_function *f = set->functions[middle];
		size_t size = strlen(f->name);
		int order =
			strncasecmp(f->name, (const char *)name.data, size < name.size ? size : name.size);
		if (order == 0 && size == name.size)
			return f;
		if (order < 0 || (order == 0 && size < name.size))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static struct function_library *
find_library(struct function_library *const *libraries, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(libraries[i]->name, name) == 0)
			return libraries[i];
	return NULL;
}

void
functions_free(struct script_vm *vm)
{
	for (size_t i = 0; i < vm->functions.library_count; i++)
		function_library_free(vm, vm->functions.libraries[i]);
	free(vm->functions.libraries);
	free(vm->functions.functions);
	vm->functions = (struct function_set){0};
}

/* ---- following the keyspace ---- */

struct following {
	struct command_context *context;
	struct script_vm *vm;
	struct function_library **libraries; /* room for all */
	size_t count, capacity;
};

/* The library as the interpreter has it, or NULL. */
static struct function_library *
find_compiled(const struct function_set *set, const struct library *library)
{
	for (size_t i = 0; i < set->library_count; i++) {
		struct function_library *l = set->libraries[i];
		if (l->version == library->version && l->version != UINT64_MAX &&
		    bytes_equal(bytes_of_string(l->name), library->name))
			return l;
	}
	return NULL;
}

static int
follow_library(void *arg, const struct library *library)
{
	struct following *f = arg;
	struct function_library *l = find_compiled(&f->vm->functions, library);
	struct bytes text;
	assert(f->count < f->capacity);
	if (l != NULL) {
		l->is_kept = true;
		f->libraries[f->count++] = l;
		return SETT_OK;
	}
	int status = library_text(&f->context->view, library, &text);
	if (status == SETT_OK)
		status = function_library_load_again(f->context, f->vm, library->name, text, &l);
	if (status != SETT_OK)
		return status;
	l->version = library->version;
	f->libraries[f->count++] = l;
	return SETT_OK;
}

/* Frees the libraries that are not in use any more, and puts the new ones in their place. */
static void
replace_set(struct script_vm *vm, const struct following *f, const struct libraries_state *state,
	    struct script_function **functions, size_t function_count)
{
	struct function_set *set = &vm->functions;
	for (size_t i = 0; i < set->library_count; i++)
		if (!set->libraries[i]->is_kept)
			function_library_free(vm, set->libraries[i]);
	free(set->libraries);
	free(set->functions);
	*set = (struct function_set){.is_valid = state->version != UINT64_MAX,
				     .version = state->version,
				     .libraries = f->libraries,
				     .library_count = f->count,
				     .functions = functions,
				     .function_count = function_count};
	for (size_t i = 0; i < set->library_count; i++)
		set->libraries[i]->is_kept = false;
}

static void
give_back(struct script_vm *vm, const struct following *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->libraries[i]->is_kept)
			f->libraries[i]->is_kept = false;
		else
			function_library_free(vm, f->libraries[i]);
	free(f->libraries);
}

int
functions_follow(struct command_context *c, struct script_vm *vm, const struct function_set **ret)
{
	struct libraries_state state;
	struct script_function **functions;
	size_t function_count;
	*ret = &vm->functions;
	int status = libraries_read(&c->view, &state);
	if (status != SETT_OK ||
	    (vm->functions.is_valid && vm->functions.version == state.version && state.version != UINT64_MAX))
		return status;
	struct following f = {.context = c, .vm = vm, .capacity = (size_t)state.libraries};
	f.libraries = calloc(f.capacity + 1, sizeof(struct function_library *));
	if (f.libraries == NULL)
		return SETT_NO_MEMORY;
	status = libraries_walk(&c->view, follow_library, &f);
	if (status == SETT_OK)
		status = sort_functions(f.libraries, f.count, &functions, &function_count);
	if (status == SETT_OK)
		replace_set(vm, &f, &state, functions, function_count);
	else
		give_back(vm, &f);
	return status;
}

/* ---- batches ---- */

static int
already_exists(struct command_context *c, const char *name)
{
	return context_errorf(c, "ERR Function %.128s already exists", name);
}

static const struct script_function *
find_function(const struct function_library *l, const char *name)
{
	for (size_t i = 0; i < l->function_count; i++)
		if (strcasecmp(l->functions[i].name, name) == 0)
			return &l->functions[i];
	return NULL;
}

/* Whether a library and the batch can be together. */
static int
check_within(struct command_context *c, const struct function_batch *batch, const struct function_library *l)
{
	if (find_library(batch->libraries, batch->count, l->name) != NULL)
		return context_errorf(c, "ERR Library '%.128s' already exists", l->name);
	for (size_t i = 0; i < batch->count; i++)
		for (size_t j = 0; j < l->function_count; j++)
			if (find_function(batch->libraries[i], l->functions[j].name) != NULL)
				return already_exists(c, l->functions[j].name);
	return SETT_OK;
}

static int
batch_grow(struct function_batch *batch)
{
	size_t capacity = batch->capacity == 0 ? 8 : 2 * batch->capacity;
	struct function_library **libraries = realloc(batch->libraries, capacity * sizeof(*libraries));
	if (libraries == NULL)
		return SETT_NO_MEMORY;
	batch->libraries = libraries;
	struct bytes *texts = realloc(batch->texts, capacity * sizeof(*texts));
	if (texts == NULL)
		return SETT_NO_MEMORY;
	batch->texts = texts;
	batch->capacity = capacity;
	return SETT_OK;
}

int
function_batch_add(struct command_context *c, struct script_vm *vm, struct function_batch *batch,
		   struct bytes text)
{
	struct function_library *l;
	if (batch->count == batch->capacity && batch_grow(batch) != SETT_OK)
		return SETT_NO_MEMORY;
	int status = function_library_load(c, vm, text, &l);
	if (status != SETT_OK)
		return status;
	status = check_within(c, batch, l);
	if (status != SETT_OK) {
		function_library_free(vm, l);
		return status;
	}
	batch->libraries[batch->count] = l;
	batch->texts[batch->count++] = text;
	return SETT_OK;
}

/* Whether the batch can be beside the libraries that are there. */
static int
check_beside(struct command_context *c, const struct function_set *set, const struct function_batch *batch,
	     bool replace, bool quoted)
{
	const char *quote = quoted ? "'" : "";
	for (size_t i = 0; i < batch->count && !replace; i++)
		if (find_library(set->libraries, set->library_count, batch->libraries[i]->name) != NULL)
			return context_errorf(c, "ERR Library %s%.128s%s already exists", quote,
					      batch->libraries[i]->name, quote);
	for (size_t i = 0; i < batch->count; i++) {
		const struct function_library *l = batch->libraries[i];
		for (size_t j = 0; j < l->function_count; j++) {
			const struct script_function *other =
				functions_find(set, bytes_of_string(l->functions[j].name));
			if (other != NULL &&
			    find_library(batch->libraries, batch->count, other->library->name) == NULL)
				return already_exists(c, l->functions[j].name);
		}
	}
	return SETT_OK;
}

int
function_batch_put(struct command_context *c, struct script_vm *vm, const struct function_batch *batch,
		   bool replace, bool quoted)
{
	const struct function_set *set;
	int status = functions_follow(c, vm, &set);
	if (status == SETT_OK)
		status = check_beside(c, set, batch, replace, quoted);
	for (size_t i = 0; i < batch->count && status == SETT_OK; i++) {
		const struct function_library *l = batch->libraries[i];
		status = library_put(&c->view, bytes_of_string(l->name), batch->texts[i], l->function_count);
	}
	return status == SETT_TOO_LARGE ? context_error(c, "ERR the library is too large") : status;
}

void
function_batch_free(struct script_vm *vm, struct function_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		function_library_free(vm, batch->libraries[i]);
	free(batch->libraries);
	free(batch->texts);
	*batch = (struct function_batch){0};
}
