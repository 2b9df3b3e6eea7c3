/* Calls that do not compile here: they have no bound, or hidden state. Included before everything else. */
#ifndef SETT_STORAGE_BASE_BANNED_H
#define SETT_STORAGE_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gets

#endif
