/* A board without a network publishes content, and reads it back: what nobody has comes from the origin, which is
 * at hand, and then from the cache. Ends with 0 if all of it was right. */
#include "board.h"
#include <peerdist.h>

#define LENGTH 200000u
#define PIECE 5000u

/* The library's. */
static uint64_t memory[1024 * 1024 / 8];

static uint8_t content[LENGTH], info[8192], buffer[PIECE];
static uint64_t now = 1;

static void check_line(int fine, const char *what)
{
    if (!fine) {
        print(what);
        leave(1);
    }
}
#define TEXT(line) #line
#define CHECK_AT(fine, line) check_line((fine) != 0, "main.c:" TEXT(line) ": " #fine "\n")
#define CHECK(fine) CHECK_AT(fine, __LINE__)

/* There is no network: datagrams get lost, and no connection comes about. */
static unsigned datagrams;
static void send_datagram(void *context, const peerdist_address *to, const uint8_t *data, size_t length)
{
    (void)context, (void)data;
    CHECK(to->port == 3702 && length > 0);
    /* What is asked from inside of a callback is refused, and does no harm. */
    CHECK(peerdist_set_status(PEERDIST_STATUS_DISABLED) == PEERDIST_ERROR_SERVICE_UNAVAILABLE);
    datagrams++;
}
static int open_connection(void *context, DWORD connection, const peerdist_address *to)
{
    (void)context, (void)connection, (void)to;
    return 0;
}
static void nothing(void *context, DWORD connection) { (void)context, (void)connection; }
static size_t no_room(void *context, DWORD connection)
{
    (void)context, (void)connection;
    return 0;
}
static void send_nothing(void *context, DWORD connection, const uint8_t *data, size_t length)
{
    (void)context, (void)connection, (void)data, (void)length;
    CHECK(0);
}
/* A board has a true random number generator; this one is for a test. */
static void entropy(void *context, uint8_t *bytes, size_t length)
{
    static uint32_t state = 2463534242u;
    (void)context;
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

/* Has the library work until an operation has ended, with as much time as it wants. */
static DWORD finish(DWORD accepted, OVERLAPPED *operation, DWORD *bytes)
{
    int turns = 0, idle = 0;
    if (accepted != ERROR_IO_PENDING)
        return accepted;
    for (;;) {
        uint64_t next;
        if (PeerDistGetOverlappedResult(operation, bytes, 0))
            return ERROR_SUCCESS;
        if (peerdist_last_error() != ERROR_IO_INCOMPLETE)
            return peerdist_last_error();
        CHECK(!idle && turns++ < 100000);
        next = peerdist_poll(now);
        idle = next == UINT64_MAX;
        now = idle ? now : next;
    }
}

static OVERLAPPED at(uint64_t offset)
{
    OVERLAPPED operation = {0, 0, (DWORD)offset, (DWORD)(offset >> 32), NULL};
    return operation;
}

static DWORD publish(PEERDIST_INSTANCE_HANDLE instance, DWORD version)
{
    static const uint8_t name[] = {'n', 'a', 'm', 'e'};
    PEERDIST_RETRIEVAL_OPTIONS options = {sizeof options, version, version, 0};
    PEERDIST_STREAM_HANDLE stream;
    PEERDIST_CONTENTINFO_HANDLE handle;
    OVERLAPPED operation;
    DWORD bytes, offset, length = 0;
    CHECK(PeerDistServerPublishStream(instance, sizeof name, name, LENGTH, NULL, NULL, 0, &stream) == 0);
    for (offset = 0; offset < LENGTH; offset += PIECE) {
        operation = at(0);
        CHECK(finish(PeerDistServerPublishAddToStream(instance, stream, PIECE, content + offset, &operation),
                     &operation, &bytes) == 0);
        CHECK(bytes == PIECE);
    }
    operation = at(0);
    CHECK(finish(PeerDistServerPublishCompleteStream(instance, stream, &operation), &operation, &bytes) == 0);
    CHECK(PeerDistServerCloseStreamHandle(instance, stream) == 0);
    CHECK(PeerDistServerOpenContentInformationEx(instance, sizeof name, name, 0, 0, &options, NULL, 0, &handle)
          == 0);
    for (;;) {
        DWORD code;
        operation = at(0);
        code = finish(PeerDistServerRetrieveContentInformation(instance, handle, sizeof info - length,
                                                              info + length, &operation),
                      &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        CHECK(code == 0 && operation.Offset == length && bytes > 0);
        length += bytes;
        CHECK(length < sizeof info);
    }
    CHECK(PeerDistServerCloseContentInformation(instance, handle) == 0);
    CHECK(PeerDistServerUnpublish(instance, sizeof name, name) == 0);
    return length;
}

/* Reads all of it; returns how much of it was missing, and was taken from the origin. */
static DWORD read_all(PEERDIST_INSTANCE_HANDLE instance, DWORD info_length)
{
    static const PEERDIST_CONTENT_TAG tag = {{'b', 'a', 'r', 'e'}};
    PEERDIST_CONTENT_HANDLE handle;
    OVERLAPPED operation = at(0);
    DWORD bytes, code, position = 0, missing = 0, index;
    CHECK(PeerDistClientOpenContent(instance, &tag, NULL, 0, &handle) == 0);
    CHECK(finish(PeerDistClientAddContentInformation(instance, handle, info_length, info, &operation), &operation,
                 &bytes) == 0);
    operation = at(0);
    CHECK(finish(PeerDistClientCompleteContentInformation(instance, handle, &operation), &operation, &bytes) == 0);
    for (;;) {
        operation = at(0);
        code = finish(PeerDistClientStreamRead(instance, handle, PIECE, buffer, PEERDIST_READ_TIMEOUT_DEFAULT,
                                               &operation),
                      &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        CHECK(operation.Offset == position && operation.OffsetHigh == 0 && bytes > 0);
        if (code == PEERDIST_ERROR_MISSING_DATA || code == ERROR_TIMEOUT) {
            operation = at(position);
            CHECK(finish(PeerDistClientAddData(instance, handle, bytes, content + position, &operation),
                         &operation, &code) == 0);
            missing += bytes;
        } else {
            CHECK(code == 0);
            for (index = 0; index < bytes; index++)
                CHECK(buffer[index] == content[position + index]);
        }
        position += bytes;
    }
    CHECK(position == LENGTH);
    CHECK(PeerDistClientCloseContent(instance, handle) == 0);
    return missing;
}

int main(void)
{
    peerdist_platform platform = {
        .size = sizeof platform,
        .instance = 1,
        .address = {4, 24, 8080, {192, 0, 2, 1}},
        .send_datagram = send_datagram,
        .open = open_connection,
        .close = nothing,
        .reset = nothing,
        .room = no_room,
        .send = send_nothing,
        .resume = nothing,
        .entropy = entropy,
        .fatal = fatal,
    };
    PEERDIST_INSTANCE_HANDLE instance;
    DWORD index, version;

    CHECK(PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == PEERDIST_ERROR_NOT_INITIALIZED);
    CHECK(peerdist_init(memory, 1000, &platform) == ERROR_NOT_ENOUGH_MEMORY);
    CHECK(peerdist_init(memory, sizeof memory, NULL) == ERROR_INVALID_PARAMETER);
    CHECK(peerdist_init(memory, sizeof memory, &platform) == ERROR_SUCCESS);
    CHECK(peerdist_init(memory, sizeof memory, &platform) == PEERDIST_ERROR_ALREADY_INITIALIZED);
    for (index = 0; index < LENGTH; index++)
        content[index] = (uint8_t)(index * 31 + index / 251);

    CHECK(PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == ERROR_SUCCESS);
    for (version = 1; version <= 2; version++) {
        DWORD length = publish(instance, version);
        CHECK(read_all(instance, length) == LENGTH);
        CHECK(datagrams > 0);
        CHECK(read_all(instance, length) == 0);
    }
    CHECK(PeerDistShutdown(instance) == ERROR_SUCCESS);
    CHECK(PeerDistShutdown(instance) == ERROR_INVALID_HANDLE);
    print("published, and read back\n");
    return 0;
}
