/* Two machines, and the network between them. */
#ifndef WIRE_H
#define WIRE_H

#include "machine.h"

struct board {
    const struct machine *machine;
    peerdist_address address;
    /* How often each callback was called. */
    unsigned datagrams, opened, closed, resets, rooms, sent, resumes, draws;
    /* How often not all bytes that had come were taken. */
    unsigned held;
    /* The next connections for which there is no socket. */
    unsigned no_sockets;
};

extern struct board boards[2];

/* The time of both, in microseconds. */
extern uint64_t now;

/* Bytes on their way that are lost with their connection, once so many have been sent; 0: never. */
extern size_t break_after;

/* What the second machine has sent first on a connection to the first. */
extern uint8_t request[2048];
extern size_t request_length;

/* The library of a board, with its callbacks. */
peerdist_platform platform_of(struct board *board);

/* Has both machines work until neither can go on without more time; when that will be. */
uint64_t settle(void);

/* A connection from nowhere to the first machine, which says `bytes`; -1 if it was refused. */
int call_first(const uint8_t *bytes, size_t length);

/* How many bytes have come on it, and whether it is still open. */
size_t heard(int call);
int is_open(int call);

/* Ends it. */
void hang_up(int call);

#endif
