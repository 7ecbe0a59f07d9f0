/* A content server in small: describes a file, and writes its content information to another.
 *
 *     publisher ADDRESS FILE INFO
 *
 * Whoever has the content information can get the file from peers that have it; so a server gives it only to those
 * who may read the file. The publisher itself gives no content to peers: those that have fetched it do. */
#include "common.h"

static unsigned char buffer[1 << 20];

int main(int argc, char **argv)
{
    PEERDIST_INSTANCE_HANDLE instance;
    PEERDIST_STREAM_HANDLE stream;
    PEERDIST_CONTENTINFO_HANDLE info;
    OVERLAPPED operation;
    const uint8_t *name;
    DWORD name_length, bytes, code;
    size_t length, total = 0;
    FILE *file;

    if (argc != 4) {
        fprintf(stderr, "usage: publisher ADDRESS FILE INFO\n");
        return 2;
    }
    instance = start(argv[1]);

    /* The identifier is of our choice, and nobody else's business: here it is the name of the file. */
    name = (const uint8_t *)argv[2];
    name_length = (DWORD)strlen(argv[2]);
    check("PeerDistServerPublishStream",
          PeerDistServerPublishStream(instance, name_length, name, 0, NULL, NULL, 0, &stream));

    /* The content, piece by piece. Until an operation has ended, its buffer is the library's. */
    file = open_file(argv[2], "rb");
    while ((length = fread(buffer, 1, sizeof buffer, file)) > 0) {
        operation = at(0);
        code = PeerDistServerPublishAddToStream(instance, stream, (DWORD)length, buffer, &operation);
        check("PeerDistServerPublishAddToStream", finish(code, &operation, &bytes));
        total += length;
    }
    close_read(file);
    if (total == 0) {
        fprintf(stderr, "%s is empty: there is nothing to get from peers\n", argv[2]);
        return 1;
    }
    operation = at(0);
    code = PeerDistServerPublishCompleteStream(instance, stream, &operation);
    check("PeerDistServerPublishCompleteStream", finish(code, &operation, &bytes));
    check("PeerDistServerCloseStreamHandle", PeerDistServerCloseStreamHandle(instance, stream));

    /* Its content information: of all of it, as offset and length are both 0. */
    check("PeerDistServerOpenContentInformation",
          PeerDistServerOpenContentInformation(instance, name_length, name, 0, 0, NULL, 0, &info));
    file = open_file(argv[3], "wb");
    for (;;) {
        operation = at(0);
        code = PeerDistServerRetrieveContentInformation(instance, info, sizeof buffer, buffer, &operation);
        code = finish(code, &operation, &bytes);
        if (code == PEERDIST_ERROR_NO_MORE)
            break;
        check("PeerDistServerRetrieveContentInformation", code);
        if (fwrite(buffer, 1, bytes, file) != bytes) {
            perror(argv[3]);
            return 1;
        }
    }
    if (fclose(file) != 0) {
        perror(argv[3]);
        return 1;
    }
    check("PeerDistServerCloseContentInformation", PeerDistServerCloseContentInformation(instance, info));

    /* What was published goes with the instance; content information that was given out stays good. */
    check("PeerDistShutdown", PeerDistShutdown(instance));
    printf("published %s\n", argv[2]);
    return 0;
}
