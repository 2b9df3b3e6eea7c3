/* INFO's text in OpenMetrics' form, for programs that collect figures. */
#ifndef SETT_INFO_OPENMETRICS_H
#define SETT_INFO_OPENMETRICS_H

#include "storage/base/bytes.h"

#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Appends the figures of `info` (what info_write gives for "everything"): each number under its field's name behind "sett_", a
 * counter where it only grows; those of commands, errors, databases and levels with labels; words that say whether something
 * is well as 1 or 0. Ends with the form's mark of the end. SETT_NO_MEMORY. */
int openmetrics_write(struct bytes info, struct buffer *ret);

#endif
