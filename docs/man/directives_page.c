/* Fills in templates from the table of directives, so that the manual page and the completion say what the server reads.
 *
 *     directives_page page|words DIRECTIVES.TXT TEMPLATE
 *
 * Copies TEMPLATE to standard output. Its line @DIRECTIVES@ becomes, with `page`, an entry of scdoc for each directive;
 * with `words`, a line "name value ..." for each, with the values that can be listed. DIRECTIVES.TXT says in words what
 * each is for. Fails if it lacks a directive, or has one that the table does not, or has one twice. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/directive.h"

enum { LINE_SIZE = 2048, DIRECTIVES_MAX = 1024 };

static char *sentences[DIRECTIVES_MAX]; /* by row of the table */

static int
fail(const char *what, const char *name)
{
	fprintf(stderr, "directives_page: %s: %s\n", what, name);
	return 1;
}

/* One line of DIRECTIVES.TXT. */
static int
take_line(char *line)
{
	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	char *text = strchr(line, ' ');
	if (text == NULL)
		return fail("a line without a text", line);
	*text++ = '\0';
	int row = directive_index(bytes_of_string(line));
	if (row < 0 || strcmp(directive_table[row].name, line) != 0)
		return fail("the server has no such directive", line);
	if (sentences[row] != NULL)
		return fail("it is there twice", line);
	sentences[row] = strdup(text);
	return sentences[row] != NULL ? 0 : fail("out of memory", line);
}

static int
read_sentences(const char *path)
{
	char line[LINE_SIZE];
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return fail("can't open", path);
	int failed = 0;
	while (failed == 0 && fgets(line, sizeof(line), file) != NULL)
		failed = take_line(line);
	if (ferror(file))
		failed = fail("can't read", path);
	fclose(file);
	for (size_t i = 0; i < directive_count && failed == 0; i++)
		if (sentences[i] == NULL)
			failed = fail("directives.txt lacks", directive_table[i].name);
	return failed;
}

/* Text without meaning for scdoc. */
static void
print_plain(const char *text)
{
	for (; *text != '\0'; text++) {
		if (strchr("\\_*", *text) != NULL)
			putchar('\\');
		putchar(*text);
	}
}

static void
print_range(const struct directive *row)
{
	if (row->flags & DIRECTIVE_OCTAL)
		printf("an octal number up to %" PRIo64, row->high);
	else if (row->flags & DIRECTIVE_PERCENT)
		printf("bytes, or per cent (10%%)");
	else if (row->high >= INT_MAX)
		printf("%s, %" PRId64 " or more", row->flags & DIRECTIVE_MEMORY ? "bytes" : "a number",
		       row->low);
	else
		printf("%s, %" PRId64 " to %" PRIu64, row->flags & DIRECTIVE_MEMORY ? "bytes" : "a number",
		       row->low, row->high);
}

/* The values, where they can be listed; else false. */
static bool
print_words(const struct directive *row, const char *between)
{
	if (row->kind == KIND_BOOLEAN) {
		printf("yes%sno", between);
		return true;
	}
	if (row->kind != KIND_CHOICE && row->kind != KIND_CHOICES)
		return false;
	for (const struct choice *c = row->choices; c->word != NULL; c++)
		printf("%s%s", c == row->choices ? "" : between, c->word);
	return true;
}

static void
print_values(const struct directive *row)
{
	if (print_words(row, ", "))
		return;
	if (row->kind == KIND_INTEGER && row->low > INT_MIN)
		print_range(row);
	else
		printf(row->kind == KIND_INTEGER || row->kind == KIND_DECIMAL ? "a number" : "text");
}

static void
print_entry(const struct directive *row, const char *sentence)
{
	printf("*");
	print_plain(row->name);
	printf("*");
	if (row->alias != NULL)
		printf(" (also *%s*)", row->alias);
	printf("\n\t");
	print_plain(sentence);
	printf("++\nValue: ");
	print_values(row);
	printf(". Default: ");
	print_plain(row->initial == NULL ? "not set" : row->initial[0] == '\0' ? "empty" : row->initial);
	printf(".");
	if (row->flags & (DIRECTIVE_IMMUTABLE | DIRECTIVE_FIXED))
		printf(" Read at start only.");
	if (row->no_effect != NULL) {
		printf(row->has_field ? " Otherwise without effect: " : " Accepted, without effect: ");
		print_plain(row->no_effect);
		printf(".");
	}
	if (row->refused != NULL) {
		printf(" Any other value is refused: ");
		print_plain(row->refused);
		printf(".");
	}
	printf("\n\n");
}

static void
print_directives(bool page)
{
	for (size_t i = 0; i < directive_count; i++) {
		const struct directive *row = &directive_table[i];
		if (page) {
			print_entry(row, sentences[i]);
			continue;
		}
		printf("%s ", row->name);
		print_words(row, " ");
		printf("\n");
	}
}

int
main(int argc, char **argv)
{
	char line[LINE_SIZE];
	if (argc != 4 || (strcmp(argv[1], "page") != 0 && strcmp(argv[1], "words") != 0))
		return fail("usage", "directives_page page|words DIRECTIVES.TXT TEMPLATE");
	if (directive_count > DIRECTIVES_MAX)
		return fail("there are more directives than", "DIRECTIVES_MAX");
	if (read_sentences(argv[2]) != 0)
		return 1;
	FILE *template = fopen(argv[3], "r");
	if (template == NULL)
		return fail("can't open", argv[3]);
	bool filled = false, failed;
	while (fgets(line, sizeof(line), template) != NULL) {
		if (strcmp(line, "@DIRECTIVES@\n") != 0) {
			fputs(line, stdout);
			continue;
		}
		filled = true;
		print_directives(strcmp(argv[1], "page") == 0);
	}
	failed = ferror(template);
	fclose(template);
	for (size_t i = 0; i < directive_count; i++)
		free(sentences[i]);
	if (!filled)
		return fail("no line @DIRECTIVES@ in", argv[3]);
	return failed || fflush(stdout) != 0 ? fail("can't copy", argv[3]) : 0;
}
