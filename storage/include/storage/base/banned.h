/* Calls that do not compile here: they have no bound, or hidden state. Included before everything else. */
#ifndef SETT_STORAGE_BASE_BANNED_H
#define SETT_STORAGE_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#pragma GCC poison strcpy strcat strncpy strncat vsprintf strtok gets
/* Not poisoned, since a macro of Lua's header names it. */
#undef sprintf
#define sprintf(...) sprintf_is_banned

#endif
