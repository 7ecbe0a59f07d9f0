/* Two machines on a network. The first publishes content, and reads it back: what nobody has comes from the origin,
 * which is at hand, and then from its cache. The second has the content information, and gets all of the content
 * from the first. Ends with 0 if all of it was right. */
#include "board.h"
#include "wire.h"

#define LENGTH 200000u
#define PIECE 5000u

/* What peerdist_init may take of the stack: as much as the header says. All has to do with the 16 KiB of link.ld. */
#define MOST_STACK 12000u

/* The libraries'. */
static uint64_t memories[2][1024 * 1024 / 8];

static uint8_t content[LENGTH], info[8192], buffer[PIECE];

static struct board *const first = &boards[0], *const second = &boards[1];

void check_line(int fine, const char *what)
{
    if (!fine) {
        print(what);
        leave(1);
    }
}

static void check_stack(const char *what, uint32_t bytes, uint32_t most)
{
    char digits[12] = {0}, *digit = digits + sizeof digits - 1;
    const uint32_t taken = bytes;
    /* A host does not tell. */
    if (taken == 0)
        return;
    do
        *--digit = (char)('0' + bytes % 10);
    while ((bytes /= 10) > 0);
    print("    "), print(what), print(" takes "), print(digit), print(" bytes of the stack\n");
    CHECK(taken <= most);
}

/* Has the machines work until an operation has ended, with as much time as they want. */
static DWORD finish(const struct machine *machine, DWORD accepted, OVERLAPPED *operation, DWORD *bytes)
{
    int turns;
    if (accepted != ERROR_IO_PENDING)
        return accepted;
    for (turns = 0; turns < 100000; turns++) {
        const uint64_t next = settle();
        if (machine->PeerDistGetOverlappedResult(operation, bytes, 0))
            return ERROR_SUCCESS;
        if (machine->peerdist_last_error() != ERROR_IO_INCOMPLETE)
            return machine->peerdist_last_error();
        CHECK(next != UINT64_MAX);
        now = next;
    }
    CHECK(!"it ends");
    return accepted;
}

static OVERLAPPED at(uint64_t offset)
{
    OVERLAPPED operation = {0, 0, (DWORD)offset, (DWORD)(offset >> 32), NULL};
    return operation;
}

static DWORD publish(const struct machine *machine, PEERDIST_INSTANCE_HANDLE instance, DWORD version)
{
    static const uint8_t name[] = {'n', 'a', 'm', 'e'};
    PEERDIST_RETRIEVAL_OPTIONS options = {sizeof options, version, version, 0};
    PEERDIST_STREAM_HANDLE stream;
    PEERDIST_CONTENTINFO_HANDLE handle;
    OVERLAPPED operation;
    DWORD bytes, offset, length = 0;
    CHECK(machine->PeerDistServerPublishStream(instance, sizeof name, name, LENGTH, NULL, NULL, 0, &stream) == 0);
    for (offset = 0; offset < LENGTH; offset += PIECE) {
        operation = at(0);
        CHECK(finish(machine,
                     machine->PeerDistServerPublishAddToStream(instance, stream, PIECE, content + offset, &operation),
                     &operation, &bytes) == 0);
        CHECK(bytes == PIECE);
    }
    operation = at(0);
    CHECK(finish(machine, machine->PeerDistServerPublishCompleteStream(instance, stream, &operation), &operation,
                 &bytes) == 0);
    CHECK(machine->PeerDistServerCloseStreamHandle(instance, stream) == 0);
    CHECK(machine->PeerDistServerOpenContentInformationEx(instance, sizeof name, name, 0, 0, &options, NULL, 0,
                                                          &handle) == 0);
    for (;;) {
        DWORD code;
        operation = at(0);
        code = finish(machine,
                      machine->PeerDistServerRetrieveContentInformation(instance, handle, sizeof info - length,
                                                                        info + length, &operation),
                      &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        CHECK(code == 0 && operation.Offset == length && bytes > 0);
        length += bytes;
        CHECK(length < sizeof info);
    }
    CHECK(machine->PeerDistServerCloseContentInformation(instance, handle) == 0);
    CHECK(machine->PeerDistServerUnpublish(instance, sizeof name, name) == 0);
    return length;
}

/* Reads all of it; returns how much of it was missing, and was taken from the origin. */
static DWORD read_all(const struct machine *machine, PEERDIST_INSTANCE_HANDLE instance, DWORD info_length)
{
    static const PEERDIST_CONTENT_TAG tag = {{'b', 'a', 'r', 'e'}};
    PEERDIST_CONTENT_HANDLE handle;
    OVERLAPPED operation = at(0);
    DWORD bytes, code, position = 0, missing = 0, index;
    CHECK(machine->PeerDistClientOpenContent(instance, &tag, NULL, 0, &handle) == 0);
    CHECK(finish(machine,
                 machine->PeerDistClientAddContentInformation(instance, handle, info_length, info, &operation),
                 &operation, &bytes) == 0);
    operation = at(0);
    CHECK(finish(machine, machine->PeerDistClientCompleteContentInformation(instance, handle, &operation), &operation,
                 &bytes) == 0);
    for (;;) {
        operation = at(0);
        code = finish(machine,
                      machine->PeerDistClientStreamRead(instance, handle, PIECE, buffer,
                                                        PEERDIST_READ_TIMEOUT_DEFAULT, &operation),
                      &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        CHECK(operation.Offset == position && operation.OffsetHigh == 0 && bytes > 0);
        if (code == PEERDIST_ERROR_MISSING_DATA || code == ERROR_TIMEOUT) {
            operation = at(position);
            CHECK(finish(machine,
                         machine->PeerDistClientAddData(instance, handle, bytes, content + position, &operation),
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
    CHECK(machine->PeerDistClientCloseContent(instance, handle) == 0);
    return missing;
}

static PEERDIST_INSTANCE_HANDLE start(struct board *board, uint64_t *memory)
{
    const struct machine *machine = board->machine;
    const peerdist_platform platform = platform_of(board);
    PEERDIST_INSTANCE_HANDLE instance;
    DWORD code;
    CHECK(machine->PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == PEERDIST_ERROR_NOT_INITIALIZED);
    CHECK(machine->peerdist_init(memory, 1000, &platform) == ERROR_NOT_ENOUGH_MEMORY);
    CHECK(machine->peerdist_init(memory, sizeof memories[0], NULL) == ERROR_INVALID_PARAMETER);
    paint_stack();
    code = machine->peerdist_init(memory, sizeof memories[0], &platform);
    check_stack("peerdist_init", painted_stack(), MOST_STACK);
    CHECK(code == ERROR_SUCCESS && board->draws > 0);
    CHECK(machine->peerdist_init(memory, sizeof memories[0], &platform) == PEERDIST_ERROR_ALREADY_INITIALIZED);
    CHECK(machine->PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == ERROR_SUCCESS);
    return instance;
}

/* A store without room for what is published: the call that finds it is refused by code 8, and the publication is
 * gone, since a part of it is missing. */
static void full_store(const struct machine *machine, PEERDIST_INSTANCE_HANDLE instance)
{
    static const PEERDIST_CONTENT_TAG tag = {{'f', 'u', 'l', 'l'}};
    static const uint8_t name[] = {'f', 'u', 'l', 'l'};
    PEERDIST_CONTENT_HANDLE handle;
    PEERDIST_STREAM_HANDLE stream;
    PEERDIST_CONTENTINFO_HANDLE opened;
    PEERDIST_RETRIEVAL_OPTIONS options = {sizeof options, 1, 2, 0};
    OVERLAPPED operation;
    DWORD bytes, code, piece, index;

    CHECK(machine->PeerDistClientOpenContent(instance, &tag, NULL, 0, &handle) == 0);
    for (piece = PIECE; piece > 0; piece /= 2)
        do {
            operation = at(0);
            code = finish(machine,
                          machine->PeerDistClientAddContentInformation(instance, handle, piece, content, &operation),
                          &operation, &bytes);
            CHECK(code == 0 || (code == ERROR_NOT_ENOUGH_MEMORY && operation.Internal == 0));
        } while (code == 0);

    CHECK(machine->PeerDistServerPublishStream(instance, sizeof name, name, 0, NULL, NULL, 0, &stream) == 0);
    for (index = 0, code = 0; code == 0; index++) {
        CHECK(index < LENGTH / PIECE);
        operation = at(0);
        code = machine->PeerDistServerPublishAddToStream(instance, stream, PIECE, content, &operation);
        code = finish(machine, code, &operation, &bytes);
    }
    CHECK(code == ERROR_NOT_ENOUGH_MEMORY);
    operation = at(0);
    CHECK(machine->PeerDistServerPublishAddToStream(instance, stream, PIECE, content, &operation)
          == ERROR_NOT_ENOUGH_MEMORY);
    CHECK(machine->PeerDistServerPublishCompleteStream(instance, stream, &operation) == ERROR_NOT_ENOUGH_MEMORY);
    CHECK(operation.Internal == 0);
    CHECK(machine->PeerDistServerOpenContentInformationEx(instance, sizeof name, name, 0, 0, &options, NULL, 0,
                                                          &opened) == ERROR_NOT_FOUND);
    CHECK(machine->PeerDistServerCloseStreamHandle(instance, stream) == 0);
    CHECK(machine->PeerDistClientCloseContent(instance, handle) == 0);
}

/* What the first machine does with callers who do not do as they should. */
static void strange_callers(void)
{
    enum { MOST = 9 };
    const unsigned closed = first->closed, resets = first->resets, held = first->held, resumes = first->resumes;
    uint8_t twice[2 * sizeof request];
    size_t index, answer;
    int calls[MOST], count, call = call_first(request, request_length);

    /* One who asks as the second machine did. */
    answer = heard(call);
    CHECK(answer > 0 && is_open(call) && first->closed == closed);
    hang_up(call);
    CHECK(first->closed == closed + 1);

    /* Who asks for more before he has the answer is heard once he has it. */
    for (index = 0; index < sizeof twice; index++)
        twice[index] = request[index % request_length];
    CHECK(first->held == held);
    call = call_first(twice, 2 * request_length);
    CHECK(heard(call) == 2 * answer && first->held > held && first->resumes > resumes);
    hang_up(call);

    /* Who does not come to an end is not waited for. */
    call = call_first(request, request_length / 2);
    for (index = 0; index < 1000 && is_open(call); index++) {
        const uint64_t next = settle();
        now = next == UINT64_MAX ? now : next;
    }
    CHECK(!is_open(call) && heard(call) == 0 && first->resets == resets + 1);

    /* There are only so many connections. */
    for (count = 0; count < MOST && (call = call_first(request, request_length / 2)) >= 0; count++)
        calls[count] = call;
    CHECK(count > 0 && count < MOST);
    while (count > 0)
        hang_up(calls[--count]);
    call = call_first(request, request_length);
    CHECK(heard(call) == answer);
    hang_up(call);
}

int main(void)
{
    PEERDIST_INSTANCE_HANDLE ours, theirs;
    DWORD index, version, missing;
    for (index = 0; index < LENGTH; index++)
        content[index] = (uint8_t)(index * 31 + index / 251);

    ours = start(first, memories[0]);
    theirs = start(second, memories[1]);
    paint_stack();
    full_store(first->machine, ours);
    /* Of the connections of the second, one finds no socket. */
    second->no_sockets = 1;
    for (version = 1; version <= 2; version++) {
        const unsigned sent = second->sent;
        DWORD length = publish(first->machine, ours, version);
        CHECK(read_all(first->machine, ours, length) == LENGTH);
        CHECK(read_all(first->machine, ours, length) == 0);
        CHECK(first->datagrams > 0 && second->sent == sent);
        /* The last time, its connection is lost in the middle, and there is nobody else to ask. */
        break_after = version == 1 ? 0 : 150000;
        missing = read_all(second->machine, theirs, length);
        CHECK(version == 1 ? missing == 0 : missing > 0 && missing < LENGTH);
        CHECK(second->sent > sent && second->datagrams > 0);
    }
    CHECK(second->no_sockets == 0 && second->opened > 1 && break_after == 0 && first->opened == 0);
    strange_callers();
    check_stack("all that followed", painted_stack(), 16 * 1024);

    CHECK(first->machine->PeerDistShutdown(ours) == ERROR_SUCCESS);
    CHECK(first->machine->PeerDistShutdown(ours) == ERROR_INVALID_HANDLE);
    CHECK(second->machine->PeerDistShutdown(theirs) == ERROR_SUCCESS);
    print("published, read back, and given to another machine\n");
    return 0;
}
