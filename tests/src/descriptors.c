/* How file descriptors are shared out, by the numbers alone, and what CONFIG SET maxclients says of it. What the
 * process does: tests/src/start_up.sh and redis-tests/resources.sh. */
#include "descriptors.h"

#include <criterion/criterion.h>
#include <sys/resource.h>

enum { KEPT = 40, PLENTY = 100000 };

Test(descriptors, every_limit_is_shared_out_or_refused)
{
	struct descriptors d;
	for (uint64_t limit = 0; limit < 40000; limit += limit < 2000 ? 1 : 97) {
		for (uint64_t wanted = 1; wanted <= 100000; wanted *= 10) {
			bool enough = descriptors_divide(limit, KEPT, wanted, &d);
			cr_assert_eq(enough, limit >= descriptors_least(KEPT), "limit %d", (int)limit);
			if (!enough) {
				cr_assert_eq(d.clients, 0);
				continue;
			}
			cr_assert_geq(d.clients, 1);
			cr_assert_leq(d.clients, wanted);
			cr_assert_geq(d.files, 8);
			cr_assert_leq(d.kept + d.files + d.clients, limit);
		}
	}
}

Test(descriptors, clients_are_cut_before_files_starve)
{
	struct descriptors d;
	cr_assert(descriptors_divide(PLENTY, KEPT, 10000, &d));
	cr_assert_eq(d.clients, 10000);
	cr_assert_eq(d.files, 16384);
	cr_assert(descriptors_divide(1024, KEPT, 10000, &d));
	cr_assert_eq(d.files, (1024 - KEPT) / 4);
	cr_assert_eq(d.clients, 1024 - KEPT - d.files);
	cr_assert(descriptors_divide(64, KEPT, 10000, &d));
	cr_assert_eq(d.files, 8);
	cr_assert_eq(d.clients, 64 - KEPT - 8);
	cr_assert(descriptors_divide(64, KEPT, 2, &d));
	cr_assert_eq(d.clients, 2);
	cr_assert_eq(d.files, 64 - KEPT - 2);
}

static void
limit_to(rlim_t limit)
{
	struct rlimit both = {limit, limit};
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &both), 0);
}

/* Root may raise it again: only numbers that no kernel allows are out of reach then. */
Test(descriptors, clients_beyond_the_limit_are_refused)
{
	struct descriptors d;
	char reason[200] = "";
	limit_to(256);
	cr_assert(descriptors_divide(256, KEPT, 100, &d));
	cr_assert(descriptors_allow_clients(&d, &(struct config){.max_clients = 100}, reason, sizeof reason));
	cr_assert_not(descriptors_allow_clients(&d, &(struct config){.max_clients = UINT32_MAX}, reason,
						sizeof reason));
	cr_assert_str_eq(reason,
			 "The operating system is not able to handle the specified number of clients, "
			 "try with 100");
}
