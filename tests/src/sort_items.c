/* What SORT sorts: against qsort of all, and how much is kept. */
#include "cmd/sort_items.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/random.h"

enum { ELEMENTS = 3000, TEXT = 16 };

struct model_item {
	double number;
	char element[TEXT];
};

static int sign; /* of the order that is compared */

static int
compare_numbers(const void *pa, const void *pb)
{
	const struct model_item *a = pa, *b = pb;
	int result = a->number < b->number ? -1 : a->number > b->number;
	return sign * (result != 0 ? result : strcmp(a->element, b->element));
}

static int
compare_elements(const void *pa, const void *pb)
{
	const struct model_item *a = pa, *b = pb;
	return sign * strcmp(a->element, b->element);
}

static void
check_order(const struct sort_order *order, uint64_t most, uint64_t seed)
{
	static struct model_item model[ELEMENTS];
	struct sort_items items;
	struct random random;
	random_seed(&random, seed);
	sort_items_init(&items, order, most);
	for (int i = 0; i < ELEMENTS; i++) {
		model[i].number = (double)random_below(&random, 100) / 4;
		snprintf(model[i].element, TEXT, "%d", (int)random_below(&random, 2000));
		struct sort_weight weight = {.number = model[i].number};
		cr_assert_eq(sort_items_add(&items, bytes_of_string(model[i].element), &weight), SETT_OK);
		/* Beside what is wanted, as much again, or a few. */
		cr_assert_leq(items.count, 2 * most + 66);
	}
	sort_items_finish(&items);
	sign = order->descending ? -1 : 1;
	qsort(model, ELEMENTS, sizeof(model[0]), order->alpha ? compare_elements : compare_numbers);
	cr_assert_eq(items.count, most < ELEMENTS ? most : ELEMENTS);
	for (size_t i = 0; i < items.count; i++)
		cr_assert(bytes_equal(sort_items_element(&items, i), bytes_of_string(model[i].element)),
			  "item %zu", i);
	sort_items_free(&items);
}

Test(sort_items, the_first_in_order_are_kept)
{
	static const uint64_t mosts[] = {0, 1, 10, 100, 1000, 2999, 3000, 5000};
	for (size_t i = 0; i < sizeof(mosts) / sizeof(mosts[0]); i++)
		for (unsigned form = 0; form < 4; form++) {
			struct sort_order order = {.alpha = form % 2 == 1, .descending = form >= 2};
			check_order(&order, mosts[i], i + 1);
		}
}

/* What there is no text for comes first; equal texts are in the order of the elements. */
Test(sort_items, by_texts)
{
	static const char *const elements[] = {"d", "c", "b", "a", "e"},
				 *const texts[] = {"y", "x", NULL, "y", ""};
	struct sort_items items;
	struct sort_order order = {.alpha = true, .by = true};
	char found[6] = {0};
	sort_items_init(&items, &order, 5);
	for (int i = 0; i < 5; i++) {
		struct sort_weight weight = {.has_text = texts[i] != NULL};
		if (texts[i] != NULL)
			weight.text = bytes_of_string(texts[i]);
		cr_assert_eq(sort_items_add(&items, bytes_of_string(elements[i]), &weight), SETT_OK);
	}
	sort_items_finish(&items);
	for (size_t i = 0; i < 5; i++)
		found[i] = (char)sort_items_element(&items, i).data[0];
	cr_assert_str_eq(found, "becad");
	sort_items_free(&items);
}
