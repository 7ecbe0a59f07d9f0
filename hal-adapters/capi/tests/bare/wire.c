#include "wire.h"
#include "board.h"
#include <string.h>

/* Less than a datagram or an answer, so that all that is sent comes in pieces. */
#define WINDOW 700u
#define DATAGRAM 1472u

enum { DATAGRAMS = 16, LINKS = 24 };

struct datagram {
    struct board *from;
    peerdist_address to;
    size_t length;
    uint8_t bytes[DATAGRAM];
};

/* One side of a connection. */
struct end {
    struct board *board; /* NULL: a caller from nowhere, who takes all that comes. */
    DWORD number;        /* 0: it is closed, or was refused. */
    uint8_t bytes[2 * sizeof request];
    size_t length; /* Of the bytes that wait to be taken. */
    size_t taken;
    int waits; /* Not all of them were taken; they are offered again after a resume. */
    int over, is_told; /* The other side sends no more. */
    int lost;
};

struct link {
    enum { FREE, ASKED, OPEN } state;
    struct end ends[2]; /* The first has asked for it. */
};

struct board boards[2] = {
    {.machine = &first_machine, .address = {4, 24, 8080, {192, 0, 2, 1}}},
    {.machine = &second_machine, .address = {4, 24, 8081, {192, 0, 2, 2}}},
};
uint64_t now = 1;
size_t break_after;
uint8_t request[2048];
size_t request_length;

static struct datagram datagrams[DATAGRAMS];
static unsigned first_datagram, count_of_datagrams;
static struct link links[LINKS];

/* Whether a callback has left something to carry. */
static int is_busy;

/* On which connection the second machine has asked first, and whether that was answered. */
static const struct link *asking;
static int is_answered;

static int same(const peerdist_address *one, const peerdist_address *other)
{
    return one->family == other->family && memcmp(one->bytes, other->bytes, sizeof one->bytes) == 0;
}

static struct link *find(struct board *board, DWORD connection, int *side)
{
    struct link *link;
    CHECK(connection != 0);
    for (link = links; link < links + LINKS; link++)
        for (*side = 0; *side < 2; ++*side)
            if (link->state != FREE && link->ends[*side].board == board && link->ends[*side].number == connection)
                return link;
    CHECK(!"a connection that is there");
    return NULL;
}

static struct link *new_link(void)
{
    struct link *link = links;
    while (link->state != FREE)
        CHECK(++link < links + LINKS);
    memset(link, 0, sizeof *link);
    link->state = ASKED;
    return link;
}

static void send_datagram(void *context, const peerdist_address *to, const uint8_t *data, size_t length)
{
    struct board *board = context;
    struct datagram *datagram = &datagrams[(first_datagram + count_of_datagrams) % DATAGRAMS];
    CHECK(to->family == 4 && to->port == 3702 && length > 0 && length <= DATAGRAM);
    /* What is asked from inside of a callback is refused, and does no harm. */
    CHECK(board->machine->peerdist_set_status(PEERDIST_STATUS_DISABLED) == PEERDIST_ERROR_SERVICE_UNAVAILABLE);
    board->datagrams++, is_busy = 1;
    CHECK(count_of_datagrams++ < DATAGRAMS);
    datagram->from = board, datagram->to = *to, datagram->length = length;
    memcpy(datagram->bytes, data, length);
}

static int open_connection(void *context, DWORD connection, const peerdist_address *to)
{
    struct board *board = context, *other = &boards[board == boards];
    struct link *link;
    CHECK(connection != 0 && same(to, &other->address) && to->port == other->address.port);
    board->opened++;
    if (board->no_sockets > 0) {
        board->no_sockets--;
        return 0;
    }
    is_busy = 1;
    link = new_link();
    link->ends[0].board = board, link->ends[0].number = connection;
    link->ends[1].board = other;
    return 1;
}

/* This side has let go of a connection; gives the other side's end of it. */
static struct end *let_go(struct board *board, DWORD connection)
{
    int side;
    struct link *link = find(board, connection, &side);
    is_busy = 1;
    link->ends[side].number = 0;
    return &link->ends[!side];
}

static void close_connection(void *context, DWORD connection)
{
    struct board *board = context;
    board->closed++;
    let_go(board, connection)->over = 1;
}

static void reset_connection(void *context, DWORD connection)
{
    struct board *board = context;
    board->resets++;
    let_go(board, connection)->lost = 1;
}

static size_t room(void *context, DWORD connection)
{
    struct board *board = context;
    int side;
    struct link *link = find(board, connection, &side);
    size_t waiting = link->ends[!side].length;
    board->rooms++;
    return link->state != OPEN || link->ends[!side].number == 0 || waiting >= WINDOW ? 0 : WINDOW - waiting;
}

static void send_bytes(void *context, DWORD connection, const uint8_t *data, size_t length)
{
    struct board *board = context;
    int side;
    struct link *link = find(board, connection, &side);
    struct end *end = &link->ends[!side];
    CHECK(link->state == OPEN && length > 0 && end->length + length <= WINDOW);
    board->sent++, is_busy = 1;
    memcpy(end->bytes + end->length, data, length);
    end->length += length;
    if (asking == NULL && board == &boards[1])
        asking = link;
    if (asking == link && board == &boards[1] && !is_answered) {
        CHECK(request_length + length <= sizeof request);
        memcpy(request + request_length, data, length);
        request_length += length;
    }
    if (break_after > 0) {
        break_after = break_after > length ? break_after - length : 0;
        link->ends[0].lost = link->ends[1].lost = break_after == 0;
    }
}

static void resume(void *context, DWORD connection)
{
    struct board *board = context;
    int side;
    struct link *link = find(board, connection, &side);
    board->resumes++, is_busy = 1;
    link->ends[side].waits = 0;
}

/* A board has a true random number generator; this one is for a test. */
static void entropy(void *context, uint8_t *bytes, size_t length)
{
    static uint32_t state = 2463534242u;
    struct board *board = context;
    board->draws++;
    while (length-- > 0) {
        state ^= state << 13, state ^= state >> 17, state ^= state << 5;
        *bytes++ = (uint8_t)state;
    }
}

static void fatal(void *context)
{
    (void)context;
    print("the library has failed\n");
    leave(101);
}

peerdist_platform platform_of(struct board *board)
{
    peerdist_platform platform = {
        .size = sizeof platform,
        .instance = 1,
        .address = board->address,
        .context = board,
        .send_datagram = send_datagram,
        .open = open_connection,
        .close = close_connection,
        .reset = reset_connection,
        .room = room,
        .send = send_bytes,
        .resume = resume,
        .entropy = entropy,
        .fatal = fatal,
    };
    return platform;
}

/* Gives the oldest datagram to whom it is for: a group has all others in it. */
static int carry_datagram(void)
{
    struct datagram datagram;
    struct board *other;
    peerdist_address from;
    if (count_of_datagrams == 0)
        return 0;
    datagram = datagrams[first_datagram];
    first_datagram = (first_datagram + 1) % DATAGRAMS, count_of_datagrams--;
    other = &boards[datagram.from == boards];
    from = datagram.from->address, from.port = 3702;
    if (datagram.to.bytes[0] == 239 || same(&datagram.to, &other->address))
        other->machine->peerdist_datagram(&from, datagram.bytes, datagram.length);
    return 1;
}

/* Gives one side what has come for it; whether there was anything. */
static int carry_end(struct end *end)
{
    const struct machine *machine = end->board != NULL ? end->board->machine : NULL;
    size_t used = end->length;
    if (end->number == 0 || (end->lost && end->board == NULL)) {
        end->number = 0, end->length = 0;
        return 0;
    }
    if (end->lost) {
        machine->peerdist_lost(end->number);
        end->number = 0;
        return 1;
    }
    if (end->length > 0 && !end->waits) {
        if (machine != NULL)
            used = machine->peerdist_received(end->number, end->bytes, end->length);
        CHECK(used <= end->length);
        is_answered |= end->board == &boards[1];
        end->waits = used < end->length;
        if (end->waits)
            end->board->held++;
        end->length -= used, end->taken += used;
        memmove(end->bytes, end->bytes + used, end->length);
        return 1;
    }
    if (end->over && !end->is_told && end->length == 0) {
        end->is_told = 1;
        if (machine != NULL)
            machine->peerdist_ended(end->number);
        return 1;
    }
    return 0;
}

static int carry_link(struct link *link)
{
    struct end *ends = link->ends;
    const struct machine *machine = ends[0].board != NULL ? ends[0].board->machine : NULL;
    if (link->state == FREE)
        return 0;
    if (link->state == ASKED) {
        link->state = OPEN;
        ends[1].number = ends[1].board->machine->peerdist_accept(
            ends[0].board != NULL ? &ends[0].board->address : &boards[1].address);
        ends[0].lost |= ends[1].number == 0;
        if (machine != NULL && ends[0].number != 0 && !ends[0].lost)
            machine->peerdist_connected(ends[0].number);
        return 1;
    }
    if (ends[0].number == 0 && ends[1].number == 0 && (ends[0].board != NULL || ends[0].is_told))
        link->state = FREE;
    return carry_end(&ends[0]) | carry_end(&ends[1]);
}

uint64_t settle(void)
{
    unsigned turns;
    for (turns = 0; turns < 100000; turns++) {
        uint64_t next = UINT64_MAX;
        int index;
        is_busy = carry_datagram();
        for (index = 0; index < LINKS; index++)
            is_busy |= carry_link(&links[index]);
        for (index = 0; index < 2; index++) {
            uint64_t of_board = boards[index].machine->peerdist_poll(now);
            next = of_board < next ? of_board : next;
        }
        if (!is_busy && next > now)
            return next;
    }
    CHECK(!"it settles");
    return 0;
}

int call_first(const uint8_t *bytes, size_t length)
{
    struct link *link = new_link();
    CHECK(length <= sizeof link->ends[1].bytes);
    link->ends[0].number = 1;
    link->ends[1].board = boards;
    memcpy(link->ends[1].bytes, bytes, length);
    link->ends[1].length = length;
    settle();
    return link->ends[0].number == 0 ? (link->state = FREE, -1) : (int)(link - links);
}

size_t heard(int call)
{
    return links[call].ends[0].taken;
}

int is_open(int call)
{
    return links[call].ends[0].number != 0 && !links[call].ends[0].over;
}

void hang_up(int call)
{
    struct end *ends = links[call].ends;
    ends[0].number = 0, ends[0].is_told = 1;
    ends[1].over = 1;
    settle();
}
