#pragma once
/* Free TCP ports on 127.0.0.1, for programs that cannot take port 0. */
#include <stdint.h>

/* A port that was free a moment ago. Ends the program when there is none. */
uint16_t free_port(void);
/* The first of n ports in a row that were all free (a broker also uses listenPort - 2). */
uint16_t free_port_row(int n);
