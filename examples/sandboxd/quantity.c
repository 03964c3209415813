#include "quantity.h"

#include <stdlib.h>
#include <string.h>

static bool scaled(const char *text, char **end, double unit, double *out)
{
	if (*text < '0' || *text > '9')
		return false;
	*out = strtod(text, end) * unit;
	return *end != text;
}

bool quantity_bytes(const char *text, int64_t *out)
{
	static const struct {
		const char *suffix;
		double unit;
	} units[] = {
		{ "", 1 },		{ "Ki", 1024 },
		{ "Mi", 1048576 },	{ "Gi", 1073741824 },
		{ "Ti", 1099511627776 }, { "k", 1e3 },
		{ "K", 1e3 },		{ "M", 1e6 },
		{ "G", 1e9 },		{ "T", 1e12 },
	};
	double v;
	char *end;

	if (!text || !scaled(text, &end, 1, &v))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(end, units[i].suffix) != 0)
			continue;
		v *= units[i].unit;
		*out = v >= 1 && v < 1e18 ? (int64_t)v : 0;
		return *out > 0;
	}
	return false;
}

bool quantity_millicores(const char *text, int64_t *out)
{
	double v;
	char *end;

	if (!text || !scaled(text, &end, 1, &v))
		return false;
	if (strcmp(end, "m") != 0) {
		if (*end)
			return false;
		v *= 1000;
	}
	*out = v >= 1 && v <= 1e6 ? (int64_t)v : 0;
	return *out > 0;
}
