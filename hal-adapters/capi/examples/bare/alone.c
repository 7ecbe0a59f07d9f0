/* The smallest program on bare metal: one machine, without a network. It publishes content, and reads it back: what
 * is not in its cache yet comes from the origin, which is at hand. Ends with 0 if all of it was right.
 *
 * On a board, the callbacks below move datagrams and bytes of TCP connections, and `now` is its clock. */
#include "board.h"

#include <peerdist.h>

#define LENGTH 100000u
#define PIECE 4000u

/* The library's, for ever. */
static uint64_t memory[512 * 1024 / 8];

static uint8_t content[LENGTH], info[4096], buffer[PIECE];

/* Microseconds. Nothing else happens here, so time is as late as the library wants it to be. */
static uint64_t now = 1;

void check_line(int fine, const char *what)
{
    if (!fine) {
        print(what);
        leave(1);
    }
}

static void send_datagram(void *context, const peerdist_address *to, const uint8_t *data, size_t length)
{
    (void)context, (void)to, (void)data, (void)length; /* Nobody is there to hear it. */
}

static BOOL open_connection(void *context, DWORD connection, const peerdist_address *to)
{
    (void)context, (void)connection, (void)to;
    return 0; /* There is no socket. */
}

/* These are called for connections that are open, and none is. */
static void end_connection(void *context, DWORD connection)
{
    (void)context, (void)connection;
}

static size_t room(void *context, DWORD connection)
{
    (void)context, (void)connection;
    return 0;
}

static void send(void *context, DWORD connection, const uint8_t *data, size_t length)
{
    (void)context, (void)connection, (void)data, (void)length;
}

/* A board has hardware for this: whoever can guess it can read what is sent. */
static void entropy(void *context, uint8_t *bytes, size_t length)
{
    static uint32_t state = 1;
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
    leave(2);
}

/* The end of an operation that was accepted: until then, its OVERLAPPED and its buffer are the library's. */
static DWORD finish(DWORD code, OVERLAPPED *operation, DWORD *bytes)
{
    if (code != ERROR_IO_PENDING)
        return code;
    for (;;) {
        const uint64_t next = peerdist_poll(now);
        if (PeerDistGetOverlappedResult(operation, bytes, 0))
            return ERROR_SUCCESS;
        code = peerdist_last_error();
        if (code != ERROR_IO_INCOMPLETE)
            return code;
        CHECK(next != UINT64_MAX); /* It would wait for ever. */
        now = next;
    }
}

static OVERLAPPED at(uint64_t offset)
{
    OVERLAPPED operation = {0, 0, (DWORD)offset, (DWORD)(offset >> 32), NULL};
    return operation;
}

/* Publishes the content under a name; how many bytes its content information has. */
static DWORD publish(PEERDIST_INSTANCE_HANDLE instance)
{
    static const uint8_t name[] = {'n', 'a', 'm', 'e'};
    PEERDIST_STREAM_HANDLE stream;
    PEERDIST_CONTENTINFO_HANDLE handle;
    OVERLAPPED operation;
    DWORD code, bytes, offset, length = 0;

    CHECK(PeerDistServerPublishStream(instance, sizeof name, name, 0, NULL, NULL, 0, &stream) == ERROR_SUCCESS);
    for (offset = 0; offset < LENGTH; offset += bytes) {
        operation = at(0);
        code = PeerDistServerPublishAddToStream(instance, stream, PIECE, content + offset, &operation);
        CHECK(finish(code, &operation, &bytes) == ERROR_SUCCESS);
    }
    operation = at(0);
    code = PeerDistServerPublishCompleteStream(instance, stream, &operation);
    CHECK(finish(code, &operation, &bytes) == ERROR_SUCCESS);
    CHECK(PeerDistServerCloseStreamHandle(instance, stream) == ERROR_SUCCESS);

    CHECK(PeerDistServerOpenContentInformation(instance, sizeof name, name, 0, 0, NULL, 0, &handle) == ERROR_SUCCESS);
    for (;;) {
        operation = at(0);
        code = PeerDistServerRetrieveContentInformation(instance, handle, sizeof info - length, info + length,
                                                        &operation);
        code = finish(code, &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        CHECK(code == ERROR_SUCCESS);
        length += bytes;
        CHECK(length < sizeof info);
    }
    CHECK(PeerDistServerCloseContentInformation(instance, handle) == ERROR_SUCCESS);
    return length;
}

/* Reads all of it; how many bytes had to come from the origin. */
static DWORD read_all(PEERDIST_INSTANCE_HANDLE instance, DWORD info_length)
{
    static const PEERDIST_CONTENT_TAG tag = {{'a', 'l', 'o', 'n', 'e'}};
    PEERDIST_CONTENT_HANDLE handle;
    OVERLAPPED operation;
    DWORD code, bytes, taken, index, position = 0, missing = 0;

    CHECK(PeerDistClientOpenContent(instance, &tag, NULL, 0, &handle) == ERROR_SUCCESS);
    operation = at(0);
    code = PeerDistClientAddContentInformation(instance, handle, info_length, info, &operation);
    CHECK(finish(code, &operation, &bytes) == ERROR_SUCCESS);
    operation = at(0);
    code = PeerDistClientCompleteContentInformation(instance, handle, &operation);
    CHECK(finish(code, &operation, &bytes) == ERROR_SUCCESS);
    for (;;) {
        operation = at(0);
        code = PeerDistClientStreamRead(instance, handle, PIECE, buffer, PEERDIST_READ_TIMEOUT_DEFAULT, &operation);
        code = finish(code, &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        if (code == PEERDIST_ERROR_MISSING_DATA || code == ERROR_TIMEOUT) {
            /* Nobody has so many bytes from here on. Given to the library, they are there the next time. */
            operation = at(position);
            code = PeerDistClientAddData(instance, handle, bytes, content + position, &operation);
            CHECK(finish(code, &operation, &taken) == ERROR_SUCCESS);
            missing += bytes;
        } else {
            CHECK(code == ERROR_SUCCESS);
            for (index = 0; index < bytes; index++)
                CHECK(buffer[index] == content[position + index]);
        }
        position += bytes;
    }
    CHECK(position == LENGTH);
    CHECK(PeerDistClientCloseContent(instance, handle) == ERROR_SUCCESS);
    return missing;
}

int main(void)
{
    const peerdist_platform platform = {
        .size = sizeof platform,
        .instance = 1,
        .address = {4, 24, 8080, {192, 0, 2, 1}},
        .send_datagram = send_datagram,
        .open = open_connection,
        .close = end_connection,
        .reset = end_connection,
        .room = room,
        .send = send,
        .resume = end_connection,
        .entropy = entropy,
        .fatal = fatal,
    };
    PEERDIST_INSTANCE_HANDLE instance;
    DWORD index, length;

    for (index = 0; index < LENGTH; index++)
        content[index] = (uint8_t)(index * 31 + index / 251);
    CHECK(peerdist_init(memory, sizeof memory, &platform) == ERROR_SUCCESS);
    CHECK(PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == ERROR_SUCCESS);
    length = publish(instance);
    CHECK(read_all(instance, length) == LENGTH);
    CHECK(read_all(instance, length) == 0);
    CHECK(PeerDistShutdown(instance) == ERROR_SUCCESS);
    print("published, and read back\n");
    return 0;
}
