/*
 * sett-load: puts a load on a server that speaks the Redis protocol, checks every reply, and prints one line
 * of JSON. With --fill it writes every key once instead. See `sett-load --help`.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "swarm.h"
#include "workload.h"

struct load {
	struct swarm_settings swarm;
	struct workload_settings workload;
	bool fill;
};

static void
usage(FILE *out)
{
	unsigned count;
	const struct workload_command *commands = workload_commands(&count);
	(void)fputs("sett-load [options]: load a Redis-protocol server; prints one line of JSON\n"
		    "  --host ADDRESS --port N | --socket PATH   where the server is (127.0.0.1:6379)\n"
		    "  --command NAME       one of:",
		    out);
	for (unsigned i = 0; i < count; i++)
		(void)fprintf(out, " %s", commands[i].name);
	(void)fputs("\n"
		    "  --clients N          connections (50)\n"
		    "  --pipeline N         requests under way on each connection (1)\n"
		    "  --keys N             different keys (1000000)\n"
		    "  --distribution D     uniform or zipf (uniform)\n"
		    "  --value-size N       bytes (100)\n"
		    "  --seconds S          how long to measure (10), after\n"
		    "  --warm S             seconds that are not measured (0)\n"
		    "  --rate N             requests a second at most (as fast as replies come)\n"
		    "  --requests N         stop after N requests, whatever the time\n"
		    "  --fill               write all keys that the command needs, each once, then stop\n"
		    "  --seed N             of keys and values (1)\n"
		    "  --server-pid PID     report CPU time and peak memory of this process too\n",
		    out);
}

enum option_code {
	OPTION_HOST = 1,
	OPTION_PORT,
	OPTION_SOCKET,
	OPTION_COMMAND,
	OPTION_CLIENTS,
	OPTION_PIPELINE,
	OPTION_KEYS,
	OPTION_DISTRIBUTION,
	OPTION_VALUE_SIZE,
	OPTION_SECONDS,
	OPTION_WARM,
	OPTION_RATE,
	OPTION_REQUESTS,
	OPTION_FILL,
	OPTION_SEED,
	OPTION_SERVER_PID,
	OPTION_HELP,
};

static const struct option options[] = {
	{"host", required_argument, NULL, OPTION_HOST},
	{"port", required_argument, NULL, OPTION_PORT},
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"command", required_argument, NULL, OPTION_COMMAND},
	{"clients", required_argument, NULL, OPTION_CLIENTS},
	{"pipeline", required_argument, NULL, OPTION_PIPELINE},
	{"keys", required_argument, NULL, OPTION_KEYS},
	{"distribution", required_argument, NULL, OPTION_DISTRIBUTION},
	{"value-size", required_argument, NULL, OPTION_VALUE_SIZE},
	{"seconds", required_argument, NULL, OPTION_SECONDS},
	{"warm", required_argument, NULL, OPTION_WARM},
	{"rate", required_argument, NULL, OPTION_RATE},
	{"requests", required_argument, NULL, OPTION_REQUESTS},
	{"fill", no_argument, NULL, OPTION_FILL},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"server-pid", required_argument, NULL, OPTION_SERVER_PID},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static void
take_option(struct load *load, enum option_code option, const char *name, const char *text)
{
	switch (option) {
	case OPTION_HOST:
		load->swarm.host = text;
		break;
	case OPTION_PORT:
		load->swarm.port = (unsigned)argument_number(name, text, 1, 65535);
		break;
	case OPTION_SOCKET:
		load->swarm.socket = text;
		break;
	case OPTION_COMMAND:
		load->workload.command = workload_command_find(text);
		if (load->workload.command == NULL)
			argument_refuse(name, text);
		break;
	case OPTION_CLIENTS:
		load->swarm.clients = (unsigned)argument_number(name, text, 1, 50000);
		break;
	case OPTION_PIPELINE:
		load->swarm.pipeline = (unsigned)argument_number(name, text, 1, 100000);
		break;
	case OPTION_KEYS:
		load->workload.keys = argument_number(name, text, 1, 1000000000000ULL);
		break;
	case OPTION_DISTRIBUTION:
		load->workload.zipf = strcmp(text, "zipf") == 0;
		if (!load->workload.zipf && strcmp(text, "uniform") != 0)
			argument_refuse(name, text);
		break;
	case OPTION_VALUE_SIZE:
		load->workload.value_size = (size_t)argument_number(name, text, 1, 64U << 20);
		break;
	case OPTION_SECONDS:
		load->swarm.seconds = argument_real(name, text, 1e6, "seconds");
		break;
	case OPTION_WARM:
		load->swarm.warm = argument_real(name, text, 1e6, "seconds");
		break;
	case OPTION_RATE:
		load->swarm.rate = argument_real(name, text, 1e9, "requests a second");
		break;
	case OPTION_REQUESTS:
		load->swarm.requests = argument_number(name, text, 1, UINT64_MAX);
		break;
	case OPTION_FILL:
		load->fill = true;
		break;
	case OPTION_SEED:
		load->workload.seed = argument_number(name, text, 0, UINT64_MAX);
		break;
	case OPTION_SERVER_PID:
		load->swarm.server_pid = (int)argument_number(name, text, 1, 1U << 30);
		break;
	case OPTION_HELP:
		usage(stdout);
		exit(0);
	}
}

static void
take_options(struct load *load, int argc, char **argv)
{
	for (;;) {
		int index = 0;
		int option = getopt_long(argc, argv, "", options, &index);
		if (option == -1)
			break;
		if (option == '?') {
			usage(stderr);
			exit(2);
		}
		take_option(load, (enum option_code)option, options[index].name, optarg);
	}
	if (optind != argc) {
		usage(stderr);
		exit(2);
	}
	if (load->fill) {
		load->workload.command = workload_command_find(load->workload.command->load);
		load->workload.each_once = true;
		load->swarm.requests = load->workload.keys;
		load->swarm.warm = 0;
	}
}

static void
report(const struct load *load, const struct swarm_result *result)
{
	const struct workload_settings *workload = &load->workload;
	double operations = result->operations > 0 ? (double)result->operations : 1;
	printf("{\"command\":\"%s\",\"clients\":%u,\"pipeline\":%u,\"keys\":%llu,\"value_size\":%zu,"
	       "\"distribution\":\"%s\",\"operations\":%llu,\"seconds\":%.3f,\"ops_per_second\":%.0f,",
	       workload->command->name, load->swarm.clients, load->swarm.pipeline,
	       (unsigned long long)workload->keys, workload->value_size, workload->zipf ? "zipf" : "uniform",
	       (unsigned long long)result->operations, result->seconds,
	       (double)result->operations / (result->seconds > 0 ? result->seconds : 1));
	printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"longest_pause_us\":%.1f,",
	       (double)histogram_quantile(&result->latency, 0.5) / 1e3,
	       (double)histogram_quantile(&result->latency, 0.99) / 1e3,
	       (double)histogram_quantile(&result->latency, 0.999) / 1e3,
	       (double)result->latency.maximum / 1e3, (double)result->longest_pause / 1e3);
	printf("\"load_cpu_seconds\":%.3f,\"load_cpu_us_per_op\":%.4f", result->own_cpu,
	       result->own_cpu * 1e6 / operations);
	if (result->server_cpu >= 0)
		printf(",\"server_cpu_seconds\":%.3f,\"server_cpu_us_per_op\":%.4f", result->server_cpu,
		       result->server_cpu * 1e6 / operations);
	if (result->server_memory > 0)
		printf(",\"server_memory_mib\":%.1f", (double)result->server_memory / 0x1p20);
	printf("}\n");
}

int
main(int argc, char **argv)
{
	struct load load = {
		.swarm = {.host = "127.0.0.1", .port = 6379, .clients = 50, .pipeline = 1, .seconds = 10},
		.workload = {.keys = 1000000, .value_size = 100, .seed = 1},
	};
	load.workload.command = workload_command_find("SET");
	take_options(&load, argc, argv);
	struct workload workload;
	if (workload_open(&workload, &load.workload) != 0) {
		(void)fputs("sett-load: out of memory\n", stderr);
		return 1;
	}
	struct swarm_result *result = malloc(sizeof(*result));
	int status = result == NULL ? -1 : swarm_run(&load.swarm, &workload, result);
	if (status == 0)
		report(&load, result);
	else
		(void)fprintf(stderr, "sett-load: %s\n", result == NULL ? "out of memory" : result->error);
	free(result);
	workload_close(&workload);
	return status == 0 ? 0 : 1;
}
