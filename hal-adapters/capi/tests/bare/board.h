/* What start.c gives to main.c. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void print(const char *text);
void leave(uint32_t code) __attribute__((noreturn));

#endif
