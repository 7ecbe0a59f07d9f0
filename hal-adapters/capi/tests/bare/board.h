/* What start.c gives to the others. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void print(const char *text);
void leave(uint32_t code) __attribute__((noreturn));

/* Fills the stack below the caller; then tells how much of it, in bytes, was written to since. 0 where that is not
 * known. */
void paint_stack(void);
uint32_t painted_stack(void);

void check_line(int fine, const char *what);
#define TEXT(line) #line
#define CHECK_AT(fine, line) check_line((fine) != 0, __FILE__ ":" TEXT(line) ": " #fine "\n")
#define CHECK(fine) CHECK_AT(fine, __LINE__)

#endif
