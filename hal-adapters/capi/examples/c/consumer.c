/* A client in small: gets a file that somebody has described, from peers if they have it, and else from its origin.
 *
 *     consumer ADDRESS INFO ORIGIN COPY [stay]
 *
 * INFO has the content information. ORIGIN stands for the server of the file, which is far away: what no peer has
 * is read there, and handed to the library, so that the next client finds it here. With "stay" the program then
 * gives the file to others until its input ends. */
#include "common.h"

#include <limits.h>

static unsigned char buffer[1 << 16];

/* Where the operation says that its bytes begin, once it has ended. */
static uint64_t offset_of(const OVERLAPPED *operation)
{
    return (uint64_t)operation->OffsetHigh << 32 | operation->Offset;
}

/* Writes to a place of a file, or ends the program. */
static void write_at(FILE *file, uint64_t offset, const void *bytes, size_t length)
{
    if (offset > LONG_MAX || fseek(file, (long)offset, SEEK_SET) != 0 || fwrite(bytes, 1, length, file) != length) {
        perror("writing");
        exit(1);
    }
}

/* Gets bytes from the origin: writes them to the copy, and adds them to the cache. */
static void from_origin(PEERDIST_INSTANCE_HANDLE instance, PEERDIST_CONTENT_HANDLE content, FILE *origin,
                        FILE *copy, uint64_t offset, uint64_t length)
{
    while (length > 0) {
        size_t wanted = length < sizeof buffer ? (size_t)length : sizeof buffer;
        OVERLAPPED operation = at(offset);
        DWORD bytes, code;
        if (offset > LONG_MAX || fseek(origin, (long)offset, SEEK_SET) != 0 || fread(buffer, 1, wanted, origin) != wanted) {
            fprintf(stderr, "the origin has less than its content information says\n");
            exit(1);
        }
        write_at(copy, offset, buffer, wanted);
        code = PeerDistClientAddData(instance, content, (DWORD)wanted, buffer, &operation);
        check("PeerDistClientAddData", finish(code, &operation, &bytes));
        offset += wanted;
        length -= wanted;
    }
}

int main(int argc, char **argv)
{
    static const PEERDIST_CONTENT_TAG tag = {{'e', 'x', 'a', 'm', 'p', 'l', 'e'}};
    PEERDIST_INSTANCE_HANDLE instance;
    PEERDIST_CONTENT_HANDLE content;
    OVERLAPPED operation;
    DWORD bytes, code;
    size_t length;
    FILE *info, *origin, *copy;
    unsigned long peers = 0, missing = 0;

    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: consumer ADDRESS INFO ORIGIN COPY [stay]\n");
        return 2;
    }
    instance = start(argv[1]);
    check("PeerDistClientOpenContent", PeerDistClientOpenContent(instance, &tag, NULL, 0, &content));

    /* The content information, in pieces of any length. Until it is complete, nothing can be read. */
    info = open_file(argv[2], "rb");
    while ((length = fread(buffer, 1, sizeof buffer, info)) > 0) {
        operation = at(0);
        code = PeerDistClientAddContentInformation(instance, content, (DWORD)length, buffer, &operation);
        check("PeerDistClientAddContentInformation", finish(code, &operation, &bytes));
    }
    close_read(info);
    operation = at(0);
    code = PeerDistClientCompleteContentInformation(instance, content, &operation);
    check("PeerDistClientCompleteContentInformation", finish(code, &operation, &bytes));

    /* The content, from its beginning to its end. Each read goes on where the last one ended. */
    origin = open_file(argv[3], "rb");
    copy = open_file(argv[4], "wb");
    for (;;) {
        operation = at(0);
        code = PeerDistClientStreamRead(instance, content, sizeof buffer, buffer,
                                        PEERDIST_READ_TIMEOUT_DEFAULT, &operation);
        code = finish(code, &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        if (code == PEERDIST_ERROR_MISSING_DATA || code == ERROR_TIMEOUT) {
            /* Nobody near has it: the OVERLAPPED tells where the hole begins, the bytes how long it is. */
            from_origin(instance, content, origin, copy, offset_of(&operation), bytes);
            missing += bytes;
        } else {
            check("PeerDistClientStreamRead", code);
            write_at(copy, offset_of(&operation), buffer, bytes);
            peers += bytes;
        }
    }
    fclose(origin);
    if (fclose(copy) != 0) {
        perror(argv[4]);
        return 1;
    }
    printf("%lu bytes from peers, %lu from the origin\n", peers, missing);
    fflush(stdout);

    if (argc == 6)
        while (getchar() != EOF)
            ;
    check("PeerDistClientCloseContent", PeerDistClientCloseContent(instance, content));
    check("PeerDistShutdown", PeerDistShutdown(instance));
    return 0;
}
