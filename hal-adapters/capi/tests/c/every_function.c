/* Every function from C: with NULL, with handles that are none, of another kind, of another instance, or closed;
 * and what stands in for events and completion ports. Ends with 0 if all is as it should be. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */

#include <peerdist.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(fine)                                                                                                   \
    do {                                                                                                              \
        if (!(fine)) {                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #fine);                                                \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

static const uint8_t name[] = {'n', 'a', 'm', 'e'};
static const PEERDIST_CONTENT_TAG tag = {{'t', 'a', 'g'}};
static uint8_t bytes[64];

/* Where completions of the handles that are open would come. */
static HANDLE packets;

/* Whatever is refused changes nothing: neither what is to be filled, nor does anything follow. */
static void nothing_followed(const OVERLAPPED *o, HANDLE made)
{
    DWORD count;
    ULONG_PTR key;
    OVERLAPPED *taken = NULL;
    size_t index;
    for (index = 0; index < sizeof bytes; index++)
        CHECK(bytes[index] == 0xA5);
    CHECK(made == NULL && o->Internal == 0 && o->InternalHigh == 0 && o->Offset == 0 && o->OffsetHigh == 0);
    CHECK(packets == NULL || !peerdist_queue_get(packets, &count, &key, &taken, 0));
}

/* Calls every function that takes an instance, with parameters that are fine but for the handles: each has to be
 * refused. */
static void all_refused(PEERDIST_INSTANCE_HANDLE instance, HANDLE stream, HANDLE info, HANDLE content)
{
    const DWORD refused = ERROR_INVALID_HANDLE;
    const PEERDIST_RETRIEVAL_OPTIONS options = {sizeof options, 1, 2, 0};
    PEERDIST_STATUS status = 77;
    PEERDIST_STATUS_INFO status_info = {sizeof status_info, 77, 77, 77};
    PEERDIST_CLIENT_BASIC_INFO basic = {77};
    OVERLAPPED o;
    HANDLE made = NULL;
    memset(&o, 0, sizeof o);
    memset(bytes, 0xA5, sizeof bytes);

    CHECK(PeerDistServerPublishAddToStream(instance, stream, sizeof bytes, bytes, &o) == refused);
    CHECK(PeerDistServerPublishCompleteStream(instance, stream, &o) == refused);
    CHECK(PeerDistServerCloseStreamHandle(instance, stream) == refused);
    CHECK(PeerDistServerRetrieveContentInformation(instance, info, sizeof bytes, bytes, &o) == refused);
    CHECK(PeerDistServerCloseContentInformation(instance, info) == refused);
    CHECK(PeerDistClientCloseContent(instance, content) == refused);
    CHECK(PeerDistClientAddContentInformation(instance, content, sizeof bytes, bytes, &o) == refused);
    CHECK(PeerDistClientCompleteContentInformation(instance, content, &o) == refused);
    CHECK(PeerDistClientAddData(instance, content, sizeof bytes, bytes, &o) == refused);
    CHECK(PeerDistClientBlockRead(instance, content, sizeof bytes, bytes, 0, &o) == refused);
    CHECK(PeerDistClientStreamRead(instance, content, sizeof bytes, bytes, 0, &o) == refused);
    CHECK(PeerDistClientGetInformationByHandle(instance, content, PeerDistClientBasicInfo, sizeof basic, &basic)
          == refused);
    CHECK(PeerDistClientCancelAsyncOperation(instance, content, NULL) == refused);
    CHECK(PeerDistClientCancelAsyncOperation(instance, content, &o) == refused);
    CHECK(basic.fFlashCrowd == 77);
    nothing_followed(&o, made);
    if (stream != NULL)
        return; /* The instance is fine, and so would the others be. */
    CHECK(PeerDistShutdown(instance) == refused);
    CHECK(PeerDistGetStatus(instance, &status) == refused);
    CHECK(PeerDistGetStatusEx(instance, &status_info) == refused);
    CHECK(PeerDistRegisterForStatusChangeNotification(instance, NULL, 0, &o, &status) == refused);
    CHECK(PeerDistRegisterForStatusChangeNotificationEx(instance, NULL, 0, &o, &status_info) == refused);
    CHECK(PeerDistUnregisterForStatusChangeNotification(instance) == refused);
    CHECK(PeerDistServerPublishStream(instance, sizeof name, name, 0, NULL, NULL, 0, &made) == refused);
    CHECK(PeerDistServerUnpublish(instance, sizeof name, name) == refused);
    CHECK(PeerDistServerOpenContentInformation(instance, sizeof name, name, 0, 0, NULL, 0, &made) == refused);
    CHECK(PeerDistServerOpenContentInformationEx(instance, sizeof name, name, 0, 0, &options, NULL, 0, &made)
          == refused);
    CHECK(PeerDistServerCancelAsyncOperation(instance, sizeof name, name, &o) == refused);
    CHECK(PeerDistClientOpenContent(instance, &tag, NULL, 0, &made) == refused);
    CHECK(PeerDistClientFlushContent(instance, &tag, NULL, 0, &o) == refused);
    CHECK(status == 77 && status_info.status == 77 && status_info.dwMinVer == 77 && status_info.dwMaxVer == 77);
    nothing_followed(&o, made);
}

/* NULL where there has to be something. */
static void nulls(PEERDIST_INSTANCE_HANDLE instance, HANDLE stream, HANDLE info, HANDLE content)
{
    const DWORD refused = ERROR_INVALID_PARAMETER;
    PEERDIST_RETRIEVAL_OPTIONS options = {sizeof options, 1, 2, 0};
    PEERDIST_PUBLICATION_OPTIONS publication = {3, 0};
    PEERDIST_STATUS status;
    PEERDIST_STATUS_INFO status_info = {sizeof status_info, 0, 0, 0};
    OVERLAPPED o;
    HANDLE made = NULL;
    DWORD count;
    memset(&o, 0, sizeof o);

    CHECK(PeerDistStartup(PEERDIST_VERSION, NULL, NULL) == refused);
    CHECK(PeerDistGetStatus(instance, NULL) == refused);
    CHECK(PeerDistGetStatusEx(instance, NULL) == refused);
    CHECK(!PeerDistGetOverlappedResult(NULL, &count, 0) && peerdist_last_error() == refused);
    CHECK(PeerDistRegisterForStatusChangeNotification(instance, NULL, 0, NULL, &status) == refused);
    CHECK(PeerDistRegisterForStatusChangeNotification(instance, NULL, 0, &o, NULL) == refused);
    CHECK(PeerDistRegisterForStatusChangeNotificationEx(instance, NULL, 0, NULL, &status_info) == refused);
    CHECK(PeerDistRegisterForStatusChangeNotificationEx(instance, NULL, 0, &o, NULL) == refused);
    CHECK(PeerDistServerPublishStream(instance, sizeof name, NULL, 0, NULL, NULL, 0, &made) == refused);
    CHECK(PeerDistServerPublishStream(instance, 0, name, 0, NULL, NULL, 0, &made) == refused);
    CHECK(PeerDistServerPublishStream(instance, sizeof name, name, 0, NULL, NULL, 0, NULL) == refused);
    CHECK(PeerDistServerPublishStream(instance, sizeof name, name, 0, &publication, NULL, 0, &made) == refused);
    CHECK(PeerDistServerPublishAddToStream(instance, stream, sizeof bytes, NULL, &o) == refused);
    CHECK(PeerDistServerPublishAddToStream(instance, stream, sizeof bytes, bytes, NULL) == refused);
    CHECK(PeerDistServerPublishCompleteStream(instance, stream, NULL) == refused);
    CHECK(PeerDistServerUnpublish(instance, sizeof name, NULL) == refused);
    CHECK(PeerDistServerOpenContentInformation(instance, sizeof name, NULL, 0, 0, NULL, 0, &made) == refused);
    CHECK(PeerDistServerOpenContentInformation(instance, sizeof name, name, 0, 0, NULL, 0, NULL) == refused);
    CHECK(PeerDistServerOpenContentInformationEx(instance, sizeof name, name, 0, 0, NULL, NULL, 0, &made)
          == refused);
    options.cbSize = 12;
    CHECK(PeerDistServerOpenContentInformationEx(instance, sizeof name, name, 0, 0, &options, NULL, 0, &made)
          == refused);
    CHECK(PeerDistServerRetrieveContentInformation(instance, info, sizeof bytes, NULL, &o) == refused);
    CHECK(PeerDistServerRetrieveContentInformation(instance, info, sizeof bytes, bytes, NULL) == refused);
    CHECK(PeerDistServerCancelAsyncOperation(instance, sizeof name, name, NULL) == refused);
    CHECK(PeerDistServerCancelAsyncOperation(instance, sizeof name, NULL, &o) == refused);
    CHECK(PeerDistClientOpenContent(instance, NULL, NULL, 0, &made) == refused);
    CHECK(PeerDistClientOpenContent(instance, &tag, NULL, 0, NULL) == refused);
    CHECK(PeerDistClientAddContentInformation(instance, content, sizeof bytes, NULL, &o) == refused);
    CHECK(PeerDistClientAddContentInformation(instance, content, sizeof bytes, bytes, NULL) == refused);
    CHECK(PeerDistClientCompleteContentInformation(instance, content, NULL) == refused);
    CHECK(PeerDistClientAddData(instance, content, sizeof bytes, NULL, &o) == refused);
    CHECK(PeerDistClientAddData(instance, content, sizeof bytes, bytes, NULL) == refused);
    CHECK(PeerDistClientBlockRead(instance, content, sizeof bytes, NULL, 0, &o) == refused);
    CHECK(PeerDistClientBlockRead(instance, content, sizeof bytes, bytes, 0, NULL) == refused);
    CHECK(PeerDistClientStreamRead(instance, content, sizeof bytes, NULL, 0, &o) == refused);
    CHECK(PeerDistClientStreamRead(instance, content, sizeof bytes, bytes, 0, NULL) == refused);
    CHECK(PeerDistClientFlushContent(instance, NULL, NULL, 0, &o) == refused);
    CHECK(PeerDistClientFlushContent(instance, &tag, NULL, 0, NULL) == refused);
    CHECK(PeerDistClientGetInformationByHandle(instance, content, PeerDistClientBasicInfo, 4, NULL) == refused);
    nothing_followed(&o, made);
}

struct rest {
    HANDLE event, queue;
    OVERLAPPED *operation;
};

static void *set_after_a_while(void *parameter)
{
    const struct timespec while_ = {0, 50 * 1000 * 1000};
    struct rest *rest = parameter;
    nanosleep(&while_, NULL);
    CHECK(peerdist_event_set(rest->event));
    CHECK(peerdist_queue_post(rest->queue, 1, 2, rest->operation));
    return NULL;
}

/* Events and queues, with nothing of the library behind them. */
static void signals(void)
{
    HANDLE event = peerdist_event_create(), queue = peerdist_queue_create();
    OVERLAPPED one, two, *taken = &one;
    struct rest rest;
    pthread_t thread;
    DWORD count;
    ULONG_PTR key;
    memset(&one, 0, sizeof one);
    two = one;

    CHECK(event != NULL && queue != NULL && event != queue);
    CHECK(peerdist_event_wait(event, 0) == WAIT_TIMEOUT);
    CHECK(peerdist_event_set(event) && peerdist_event_wait(event, INFINITE) == WAIT_OBJECT_0);
    CHECK(peerdist_event_wait(event, 0) == WAIT_OBJECT_0); /* It stays set. */
    CHECK(peerdist_event_reset(event) && peerdist_event_wait(event, 10) == WAIT_TIMEOUT);
    CHECK(peerdist_event_wait(queue, 0) == WAIT_FAILED && peerdist_last_error() == ERROR_INVALID_HANDLE);
    CHECK(!peerdist_event_close(queue) && !peerdist_queue_close(event) && !peerdist_event_set(NULL));

    CHECK(!peerdist_queue_get(queue, &count, &key, &taken, 0));
    CHECK(taken == NULL && peerdist_last_error() == WAIT_TIMEOUT);
    CHECK(peerdist_queue_post(queue, 7, 8, &one) && peerdist_queue_post(queue, 9, 10, &two));
    CHECK(peerdist_queue_post(queue, 11, 12, NULL));
    CHECK(peerdist_queue_get(queue, &count, &key, &taken, 0) && count == 7 && key == 8 && taken == &one);
    CHECK(peerdist_queue_get(queue, &count, &key, &taken, 0) && count == 9 && key == 10 && taken == &two);
    CHECK(peerdist_queue_get(queue, &count, &key, &taken, 0) && count == 11 && key == 12 && taken == NULL);
    CHECK(!peerdist_queue_get(queue, NULL, &key, &taken, 0));
    CHECK(peerdist_last_error() == ERROR_INVALID_PARAMETER);
    CHECK(!peerdist_queue_get(event, &count, &key, &taken, 0));
    CHECK(peerdist_last_error() == ERROR_INVALID_HANDLE);

    rest.event = event, rest.queue = queue, rest.operation = &two;
    CHECK(pthread_create(&thread, NULL, set_after_a_while, &rest) == 0);
    CHECK(peerdist_event_wait(event, INFINITE) == WAIT_OBJECT_0);
    CHECK(peerdist_queue_get(queue, &count, &key, &taken, INFINITE) && taken == &two);
    CHECK(pthread_join(thread, NULL) == 0);

    CHECK(peerdist_queue_close(queue) && !peerdist_queue_close(queue));
    CHECK(peerdist_event_close(event) && !peerdist_event_close(event));
    CHECK(peerdist_event_wait(event, 0) == WAIT_FAILED);
}

static DWORD finish(DWORD accepted, OVERLAPPED *operation)
{
    DWORD count;
    if (accepted != ERROR_IO_PENDING)
        return accepted;
    return PeerDistGetOverlappedResult(operation, &count, 1) ? ERROR_SUCCESS : peerdist_last_error();
}

int main(void)
{
    peerdist_config config;
    PEERDIST_INSTANCE_HANDLE instance, other;
    HANDLE stream, open, info, content;
    OVERLAPPED o;
    char why[8] = "before";

    signals();
    all_refused(NULL, NULL, NULL, NULL);
    memset(&config, 0, sizeof config);
    CHECK(peerdist_configure(&config) == ERROR_INVALID_PARAMETER); /* It has no size. */
    config.size = sizeof config;
    config.address = "not an address";
    CHECK(peerdist_configure(&config) == ERROR_INVALID_PARAMETER);
    config.address = "203.0.113.1"; /* Nobody's (RFC 5737). */
    CHECK(peerdist_configure(&config) == PEERDIST_ERROR_INVALID_CONFIGURATION);
    config.address = "127.0.97.1";
    config.versions = 3;
    CHECK(peerdist_configure(&config) == ERROR_INVALID_PARAMETER);
    config.versions = 0;
    config.cache = "/dev/null/no folder";
    CHECK(peerdist_configure(&config) == ERROR_SUCCESS);

    /* What cannot be set up is there, and unavailable. */
    CHECK(PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == ERROR_SUCCESS);
    CHECK(peerdist_configure(&config) == PEERDIST_ERROR_ALREADY_INITIALIZED);
    CHECK(PeerDistClientOpenContent(instance, &tag, NULL, 0, &content) == PEERDIST_ERROR_SERVICE_UNAVAILABLE);
    CHECK(peerdist_trouble(why, sizeof why) > sizeof why && strlen(why) == sizeof why - 1);
    CHECK(peerdist_trouble(NULL, 0) > 0);
    CHECK(PeerDistShutdown(instance) == ERROR_SUCCESS);

    config.cache = NULL;
    CHECK(peerdist_configure(&config) == ERROR_SUCCESS);
    CHECK(PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == ERROR_SUCCESS);
    CHECK(PeerDistStartup(PEERDIST_VERSION, &other, NULL) == ERROR_SUCCESS);
    CHECK(peerdist_trouble(why, sizeof why) == 0 && why[0] == 0);
    CHECK(PeerDistServerPublishStream(instance, sizeof name, name, 0, NULL, NULL, 0, &stream) == ERROR_SUCCESS);
    memset(&o, 0, sizeof o);
    CHECK(finish(PeerDistServerPublishAddToStream(instance, stream, sizeof bytes, bytes, &o), &o) == 0);
    memset(&o, 0, sizeof o);
    CHECK(finish(PeerDistServerPublishCompleteStream(instance, stream, &o), &o) == 0);
    packets = peerdist_queue_create();
    CHECK(PeerDistServerPublishStream(instance, 1, name, 0, NULL, packets, 1, &open) == ERROR_SUCCESS);
    CHECK(PeerDistServerOpenContentInformation(instance, sizeof name, name, 0, 0, packets, 2, &info) == 0);
    CHECK(PeerDistClientOpenContent(instance, &tag, packets, 3, &content) == ERROR_SUCCESS);

    nulls(instance, open, info, content);
    all_refused(instance, info, content, stream); /* Of another kind, */
    all_refused(instance, content, stream, info);
    all_refused(instance, instance, instance, instance);
    all_refused(other, open, info, content); /* of another instance, */
    all_refused(open, NULL, NULL, NULL);     /* or none of an instance at all. */
    all_refused(content, NULL, NULL, NULL);

    /* And they are still good for what they are. */
    memset(&o, 0, sizeof o);
    CHECK(finish(PeerDistServerPublishAddToStream(instance, open, sizeof bytes, bytes, &o), &o) == 0);
    memset(&o, 0, sizeof o);
    CHECK(finish(PeerDistServerRetrieveContentInformation(instance, info, 1, bytes, &o), &o) == 0);
    CHECK(peerdist_queue_close(packets));
    packets = NULL;

    CHECK(PeerDistServerCloseStreamHandle(instance, stream) == ERROR_SUCCESS);
    CHECK(PeerDistServerCloseContentInformation(instance, info) == ERROR_SUCCESS);
    CHECK(PeerDistClientCloseContent(instance, content) == ERROR_SUCCESS);
    all_refused(instance, stream, info, content); /* Closed. */
    CHECK(PeerDistShutdown(instance) == ERROR_SUCCESS);
    all_refused(instance, NULL, NULL, NULL);
    CHECK(PeerDistShutdown(other) == ERROR_SUCCESS);
    all_refused(instance, NULL, NULL, NULL);
    puts("every function is as it should be");
    return 0;
}
