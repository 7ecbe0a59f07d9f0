/* What the two examples share: waiting for an operation, and telling what went wrong. */
#ifndef COMMON_H
#define COMMON_H

#include <peerdist.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An operation at an offset, without an event: PeerDistGetOverlappedResult waits all the same. */
static OVERLAPPED at(uint64_t offset)
{
    OVERLAPPED operation;
    memset(&operation, 0, sizeof operation);
    operation.Offset = (DWORD)offset;
    operation.OffsetHigh = (DWORD)(offset >> 32);
    return operation;
}

/* Waits for the end of a call that was accepted. Returns its code: 0 is success. */
static DWORD finish(DWORD accepted, OVERLAPPED *operation, DWORD *bytes)
{
    if (accepted != ERROR_IO_PENDING)
        return accepted; /* It was refused, and there is nothing to wait for. */
    *bytes = 0;
    return PeerDistGetOverlappedResult(operation, bytes, 1) ? ERROR_SUCCESS : peerdist_last_error();
}

/* Ends the program if a call failed. */
static void check(const char *what, DWORD code)
{
    if (code != ERROR_SUCCESS) {
        fprintf(stderr, "%s: error %lu\n", what, (unsigned long)code);
        exit(1);
    }
}

/* Opens a file, or ends the program. */
static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

/* Ends the program if a file could not be read to its end. */
static void close_read(FILE *file)
{
    if (ferror(file)) {
        perror("reading");
        exit(1);
    }
    fclose(file);
}

/* Begins: the service works on an address of this machine, which is told on the command line. */
static PEERDIST_INSTANCE_HANDLE start(const char *address)
{
    peerdist_config config;
    PEERDIST_INSTANCE_HANDLE instance;
    PEERDIST_STATUS status;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.address = address;
    check("peerdist_configure", peerdist_configure(&config));
    check("PeerDistStartup", PeerDistStartup(PEERDIST_VERSION, &instance, NULL));
    check("PeerDistGetStatus", PeerDistGetStatus(instance, &status));
    if (status != PEERDIST_STATUS_AVAILABLE) {
        char why[256];
        peerdist_trouble(why, sizeof why);
        fprintf(stderr, "the service is not available: %s\n", why);
        exit(1);
    }
    return instance;
}

#endif
