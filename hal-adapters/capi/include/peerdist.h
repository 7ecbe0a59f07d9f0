/* The Peer Distribution API (BranchCache) off Windows: libpeerdist.
 *
 * The 28 functions PeerDist... have the names, signatures and codes of PEERDIST.H; what is peerdist_... stands
 * in for Windows: events, completion ports, the last error, and how the library is set up.
 *
 * A call that takes an OVERLAPPED is accepted if it returns ERROR_IO_PENDING. Then exactly one completion
 * follows, and until it has come the OVERLAPPED, the buffer and what the call fills are the library's. Whatever
 * else it returns, nothing follows, and nothing was changed; PeerDistServerPublishAddToStream has an exception.
 *
 * Tables are bounded, and a call for which one is full returns ERROR_NOT_ENOUGH_MEMORY. On a host there may be
 * 64 instances, 96 publications, 64 streams, 128 handles of content information, 16 contents and 1,024
 * operations, of which 24 reads are looked for at once, and the others wait for those. On bare metal: 2, 2, 2, 2, 2
 * and 16, with 4 reads; with large tables 16 contents and 24 reads.
 *
 * On bare metal nothing waits, whatever it is told: who asks for an operation that has not ended has
 * ERROR_IO_INCOMPLETE (996) also with bWait, which means that it is still under way, and that peerdist_poll has to
 * be called.
 *
 * Made by cbindgen; see tests/header.rs. */

#ifndef PEERDIST_H
#define PEERDIST_H

#include <stddef.h>
#include <stdint.h>

// 32 bits.
typedef uint32_t DWORD;

// An opaque value as large as a pointer; NULL is none.
typedef void *HANDLE;

// What PeerDistStartup makes.
typedef HANDLE PEERDIST_INSTANCE_HANDLE;

// One of PEERDIST_STATUS_DISABLED, PEERDIST_STATUS_UNAVAILABLE and PEERDIST_STATUS_AVAILABLE.
typedef int PEERDIST_STATUS;

// How the service is doing.
typedef struct PEERDIST_STATUS_INFO {
  // 16, which the caller sets.
  DWORD cbSize;
  // The status.
  PEERDIST_STATUS status;
  // The lowest version of content information.
  DWORD dwMinVer;
  // The highest version of content information.
  DWORD dwMaxVer;
} PEERDIST_STATUS_INFO;

// As many bits as a pointer has.
typedef uintptr_t ULONG_PTR;

// An operation: the caller keeps it until it has ended, and touches none of it before.
typedef struct OVERLAPPED {
  // STATUS_PENDING, then the code.
  ULONG_PTR Internal;
  // Bytes that were transferred.
  ULONG_PTR InternalHigh;
  // The low half of the offset.
  DWORD Offset;
  // The high half of the offset.
  DWORD OffsetHigh;
  // An event that is set at the end, or NULL.
  HANDLE hEvent;
} OVERLAPPED;

// 64 bits.
typedef uint64_t ULONGLONG;

// How content is published.
typedef struct PEERDIST_PUBLICATION_OPTIONS {
  // The version of this structure.
  DWORD dwVersion;
  // 0.
  DWORD dwFlags;
} PEERDIST_PUBLICATION_OPTIONS;

// What PeerDistServerPublishStream makes.
typedef HANDLE PEERDIST_STREAM_HANDLE;

// What PeerDistServerOpenContentInformation makes.
typedef HANDLE PEERDIST_CONTENTINFO_HANDLE;

// Which content information the client can read.
typedef struct PEERDIST_RETRIEVAL_OPTIONS {
  // 16.
  DWORD cbSize;
  // The lowest version.
  DWORD dwContentInfoMinVersion;
  // The highest version.
  DWORD dwContentInfoMaxVersion;
  // 0.
  DWORD dwReserved;
} PEERDIST_RETRIEVAL_OPTIONS;

// What groups the content that a client caches.
typedef struct PEERDIST_CONTENT_TAG {
  // Of the client's choice.
  uint8_t Data[16];
} PEERDIST_CONTENT_TAG;

// What PeerDistClientOpenContent makes.
typedef HANDLE PEERDIST_CONTENT_HANDLE;

// What PeerDistClientGetInformationByHandle is asked for.
typedef int PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS;

// Not zero: yes.
typedef int BOOL;

// How the service is set up. What is zero or NULL is left to the library.
typedef struct peerdist_config {
  // The size of this structure.
  DWORD size;
  // Which versions of content information are published: 1, 2, or 0 for both.
  DWORD versions;
  // The address to work on, in text; by default that from which the system sends multicast. One of the
  // other family is taken along, if the interface has it.
  const char *address;
  // The folder of the cache; by default the cache is in memory.
  const char *cache;
  // Bytes of blocks that are cached at most.
  ULONGLONG cache_bytes;
  // The key from which segments get their secrets; by default one is drawn at each start. Servers that share
  // it describe the same content the same way.
  const uint8_t *server_secret;
  // Bytes of the key.
  DWORD server_secret_bytes;
  // The TCP port on which peers are served; by default one that is free.
  uint16_t port;
} peerdist_config;

// An address and a port.
typedef struct peerdist_address {
  // 4 or 6.
  uint8_t family;
  // Of its network: how many bits all hosts there share.
  uint8_t prefix;
  // The port, as a number.
  uint16_t port;
  // The bytes of the address as they are sent; of IPv4, the first four.
  uint8_t bytes[16];
} peerdist_address;

// What the library calls on bare metal; all of it, with `context`, from inside of its own functions and never
// afterwards. A callback must not call the library: what is asked of it then is refused by
// PEERDIST_ERROR_SERVICE_UNAVAILABLE.
typedef struct peerdist_platform {
  // The size of this structure.
  DWORD size;
  // Grows with each start of the machine, so that peers notice the restart: a counter, or a clock.
  DWORD instance;
  // Which versions of content information are published: 1, 2, or 0 for both.
  DWORD versions;
  // Bytes of the key from which segments get their secrets.
  DWORD server_secret_bytes;
  // That key, or NULL: then one is drawn.
  const uint8_t *server_secret;
  // Under which address peers reach this machine, with its network, and on which port.
  struct peerdist_address address;
  // Handed to all that follow.
  void *context;
  // Sends a datagram from UDP port 3702; to a group, with a TTL of 1.
  void (*send_datagram)(void *context, const struct peerdist_address *to, const uint8_t *data, uintptr_t len);
  // Begins to open a TCP connection, which has this number from now on; 0 if there is no socket for it.
  BOOL (*open)(void *context, DWORD connection, const struct peerdist_address *to);
  // Closes a connection once all that was given was sent. Its number is forgotten.
  void (*close)(void *context, DWORD connection);
  // Resets a connection at once. Its number is forgotten.
  void (*reset)(void *context, DWORD connection);
  // How many bytes can be sent on a connection now.
  uintptr_t (*room)(void *context, DWORD connection);
  // Sends bytes, which there was room for.
  void (*send)(void *context, DWORD connection, const uint8_t *data, uintptr_t len);
  // The bytes that were not used by peerdist_received can be offered again.
  void (*resume)(void *context, DWORD connection);
  // Fills a buffer with random bytes that are fit for keys.
  void (*entropy)(void *context, uint8_t *buffer, uintptr_t len);
  // The library has found a mistake of its own, and can do nothing more; this should not return.
  void (*fatal)(void *context);
} peerdist_platform;

// What is known of a content.
typedef struct PEERDIST_CLIENT_BASIC_INFO {
  // Not zero while many clients fetch it: what is missing now may soon be there.
  BOOL fFlashCrowd;
} PEERDIST_CLIENT_BASIC_INFO;

// Switched off by policy or configuration.
#define PEERDIST_STATUS_DISABLED 0

// Enabled, but not ready.
#define PEERDIST_STATUS_UNAVAILABLE 1

// Can be used.
#define PEERDIST_STATUS_AVAILABLE 2

// A PEERDIST_CLIENT_BASIC_INFO.
#define PeerDistClientBasicInfo 0

// One more than the last of them.
#define MaximumPeerDistClientInfoByHandlesClass 1

// The version of the API: the major one in the low byte.
#define PEERDIST_VERSION 2

// The first version of PEERDIST_PUBLICATION_OPTIONS.
#define PEERDIST_PUBLICATION_OPTIONS_VERSION_1 1

// The second version of PEERDIST_PUBLICATION_OPTIONS.
#define PEERDIST_PUBLICATION_OPTIONS_VERSION_2 2

// The usual version of PEERDIST_PUBLICATION_OPTIONS.
#define PEERDIST_PUBLICATION_OPTIONS_VERSION 2

// Content information of Windows 7.
#define PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1 1

// Content information of Windows 8.
#define PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2 2

// The usual version of content information.
#define PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION 2

// A read waits for nobody.
#define PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY 0

// A read waits for five seconds.
#define PEERDIST_READ_TIMEOUT_DEFAULT 4294967294

// No end of waiting.
#define INFINITE 4294967295

// `OVERLAPPED::Internal` of an operation that has not ended.
#define STATUS_PENDING 259

// What peerdist_event_wait returns once the event is set.
#define WAIT_OBJECT_0 0

// The time was over first.
#define WAIT_TIMEOUT 258

// There is no such event.
#define WAIT_FAILED 4294967295

// Done.
#define ERROR_SUCCESS 0

// There is no such handle, or it is of another kind or instance.
#define ERROR_INVALID_HANDLE 6

// No memory for the call: a table or a store is full.
#define ERROR_NOT_ENOUGH_MEMORY 8

// A parameter is wrong, or the call does not fit the state.
#define ERROR_INVALID_PARAMETER 87

// The operation was cancelled.
#define ERROR_OPERATION_ABORTED 995

// The operation has not ended.
#define ERROR_IO_INCOMPLETE 996

// Accepted: exactly one completion follows.
#define ERROR_IO_PENDING 997

// Nothing of that identifier is published.
#define ERROR_NOT_FOUND 1168

// Switched off by policy.
#define ERROR_ACCESS_DISABLED_BY_POLICY 1260

// The time was over first.
#define ERROR_TIMEOUT 1460

// Content information has a version that is not understood, or not wanted.
#define PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED 4050

// Content information is malformed.
#define PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO 4051

// Neither the cache nor a peer has the data.
#define PEERDIST_ERROR_MISSING_DATA 4052

// Nothing is left.
#define PEERDIST_ERROR_NO_MORE 4053

// Not started.
#define PEERDIST_ERROR_NOT_INITIALIZED 4054

// Started already.
#define PEERDIST_ERROR_ALREADY_INITIALIZED 4055

// The instance is being closed.
#define PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS 4056

// A change of status has made the handle useless; it still has to be closed.
#define PEERDIST_ERROR_INVALIDATED 4057

// The identifier is published already.
#define PEERDIST_ERROR_ALREADY_EXISTS 4058

// There is no such operation under way.
#define PEERDIST_ERROR_OPERATION_NOTFOUND 4059

// That was done already.
#define PEERDIST_ERROR_ALREADY_COMPLETED 4060

// The offset lies behind the end of the content.
#define PEERDIST_ERROR_OUT_OF_BOUNDS 4061

// The version of the API that is asked for is too new.
#define PEERDIST_ERROR_VERSION_UNSUPPORTED 4062

// The configuration cannot be used.
#define PEERDIST_ERROR_INVALID_CONFIGURATION 4063

// No licence.
#define PEERDIST_ERROR_NOT_LICENSED 4064

// The service does not run, or not yet.
#define PEERDIST_ERROR_SERVICE_UNAVAILABLE 4065

// A peer or the hosted cache is not trusted.
#define PEERDIST_ERROR_TRUST_FAILURE 4066

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes an instance, which every other call wants. `dwVersionRequested` is the lowest version of this API
// that the caller can do with; `pdwSupportedVersion` receives the highest there is, also where that is too low.
//
//
// The pointers are NULL or valid for writes.
DWORD PeerDistStartup(DWORD dwVersionRequested,
                      PEERDIST_INSTANCE_HANDLE *phPeerDist,
                      DWORD *pdwSupportedVersion);

// Closes an instance: its operations end as cancelled, what it published is removed, its handles are closed.
DWORD PeerDistShutdown(PEERDIST_INSTANCE_HANDLE hPeerDist);

// How the service is doing.
//
//
// The pointer is NULL or valid for a write.
DWORD PeerDistGetStatus(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_STATUS *pPeerDistStatus);

// How the service is doing, and which versions of content information it knows.
//
//
// The pointer is NULL or that of a structure whose `cbSize` is set.
DWORD PeerDistGetStatusEx(PEERDIST_INSTANCE_HANDLE hPeerDist, struct PEERDIST_STATUS_INFO *pPeerDistStatus);

// Completes once the status is another than the one that this instance was told last, or than
// PEERDIST_STATUS_DISABLED at first. One registration for each instance; each is good for one notification.
//
//
// `lpOverlapped` and `pPeerDistStatus` are NULL or valid until the operation has ended.
DWORD PeerDistRegisterForStatusChangeNotification(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                  HANDLE hCompletionPort,
                                                  ULONG_PTR ulCompletionKey,
                                                  struct OVERLAPPED *lpOverlapped,
                                                  PEERDIST_STATUS *pPeerDistStatus);

// The same, for which versions of content information the service knows as well.
//
//
// `lpOverlapped` and `pPeerDistStatus` are NULL or valid until the operation has ended; `cbSize` of the
// latter is set.
DWORD PeerDistRegisterForStatusChangeNotificationEx(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                    HANDLE hCompletionPort,
                                                    ULONG_PTR ulCompletionKey,
                                                    struct OVERLAPPED *lpOverlapped,
                                                    struct PEERDIST_STATUS_INFO *pPeerDistStatus);

// Cancels the registration, if there is one.
DWORD PeerDistUnregisterForStatusChangeNotification(PEERDIST_INSTANCE_HANDLE hPeerDist);

// Sets the status of the service, which the owner of the machine decides: for instance after its network came
// or went. Other than PEERDIST_STATUS_AVAILABLE, it makes all handles but instances useless.
DWORD peerdist_set_status(PEERDIST_STATUS status);

// Begins to publish content under an identifier, 1 to 65,535 bytes of the caller's choice. `cbContentLength` is
// the length of the content, or 0 if that is not known. Port and key are those of all calls on the stream.
//
//
// The pointers are NULL or valid, those to bytes for as many as are said.
DWORD PeerDistServerPublishStream(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                  DWORD cbContentIdentifier,
                                  const uint8_t *pContentIdentifier,
                                  ULONGLONG cbContentLength,
                                  const struct PEERDIST_PUBLICATION_OPTIONS *pPublishOptions,
                                  HANDLE hCompletionPort,
                                  ULONG_PTR ulCompletionKey,
                                  PEERDIST_STREAM_HANDLE *phStream);

// Adds the next bytes of the content. One call at a time for each stream. ERROR_NOT_ENOUGH_MEMORY of a store
// that is full, as result or as end, loses the publication: the stream can only be closed.
//
//
// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
DWORD PeerDistServerPublishAddToStream(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                       PEERDIST_STREAM_HANDLE hStream,
                                       DWORD cbNumberOfBytes,
                                       const uint8_t *pBuffer,
                                       struct OVERLAPPED *lpOverlapped);

// Declares the content whole: once this has succeeded, its content information can be retrieved.
//
//
// `lpOverlapped` is NULL or valid until the operation has ended.
DWORD PeerDistServerPublishCompleteStream(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                          PEERDIST_STREAM_HANDLE hStream,
                                          struct OVERLAPPED *lpOverlapped);

// Closes a stream. Content that is not complete is not published.
DWORD PeerDistServerCloseStreamHandle(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_STREAM_HANDLE hStream);

// Removes what is published under an identifier.
//
//
// `pContentIdentifier` is NULL or valid for as many bytes as are said.
DWORD PeerDistServerUnpublish(PEERDIST_INSTANCE_HANDLE hPeerDist,
                              DWORD cbContentIdentifier,
                              const uint8_t *pContentIdentifier);

// Opens the content information of what is published: of a part of the content, or of all, if offset and
// length are both 0. Port and key are those of all calls on the handle.
//
//
// The pointers are NULL or valid, that to the identifier for as many bytes as are said.
DWORD PeerDistServerOpenContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                           DWORD cbContentIdentifier,
                                           const uint8_t *pContentIdentifier,
                                           ULONGLONG ullContentOffset,
                                           ULONGLONG cbContentLength,
                                           HANDLE hCompletionPort,
                                           ULONG_PTR ulCompletionKey,
                                           PEERDIST_CONTENTINFO_HANDLE *phContentInfo);

// The same, in the highest version that is published of those that the client can read.
//
//
// The pointers are NULL or valid, that to the identifier for as many bytes as are said.
DWORD PeerDistServerOpenContentInformationEx(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                             DWORD cbContentIdentifier,
                                             const uint8_t *pContentIdentifier,
                                             ULONGLONG ullContentOffset,
                                             ULONGLONG cbContentLength,
                                             const struct PEERDIST_RETRIEVAL_OPTIONS *pRetrievalOptions,
                                             HANDLE hCompletionPort,
                                             ULONG_PTR ulCompletionKey,
                                             PEERDIST_CONTENTINFO_HANDLE *phContentInfo);

// Reads the next bytes of content information. The OVERLAPPED tells where in it they are.
//
//
// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
DWORD PeerDistServerRetrieveContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                               PEERDIST_CONTENTINFO_HANDLE hContentInfo,
                                               DWORD cbMaxNumberOfBytes,
                                               uint8_t *pBuffer,
                                               struct OVERLAPPED *lpOverlapped);

// Closes content information.
DWORD PeerDistServerCloseContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                            PEERDIST_CONTENTINFO_HANDLE hContentInfo);

// Cancels the operation that has this OVERLAPPED, on a stream or on content information of that identifier.
// Its end is told before this returns.
// Of PeerDistServerPublishAddToStream it tells how many bytes are part of the stream, which goes on behind them.
//
//
// `pContentIdentifier` is NULL or valid for as many bytes as are said.
DWORD PeerDistServerCancelAsyncOperation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                         DWORD cbContentIdentifier,
                                         const uint8_t *pContentIdentifier,
                                         struct OVERLAPPED *pOverlapped);

// Opens a content. The tag marks what is cached through it. Port and key are those of all calls on the handle.
//
//
// The pointers are NULL or valid.
DWORD PeerDistClientOpenContent(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                const struct PEERDIST_CONTENT_TAG *pContentTag,
                                HANDLE hCompletionPort,
                                ULONG_PTR ulCompletionKey,
                                PEERDIST_CONTENT_HANDLE *phContentHandle);

// Closes a content: its operations end as cancelled. What is cached stays.
DWORD PeerDistClientCloseContent(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_CONTENT_HANDLE hContentHandle);

// Adds the next piece of content information, of any length. One call at a time for each content.
//
//
// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
DWORD PeerDistClientAddContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                          PEERDIST_CONTENT_HANDLE hContentHandle,
                                          DWORD cbNumberOfBytes,
                                          const uint8_t *pBuffer,
                                          struct OVERLAPPED *lpOverlapped);

// Declares the content information whole: once this has succeeded, the content can be read.
//
//
// `lpOverlapped` is NULL or valid until the operation has ended.
DWORD PeerDistClientCompleteContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                               PEERDIST_CONTENT_HANDLE hContentHandle,
                                               struct OVERLAPPED *lpOverlapped);

// Puts bytes from the origin into the cache; the OVERLAPPED says where in the content they are. What is not as
// the content information says is dropped, and the operation succeeds all the same.
//
//
// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
DWORD PeerDistClientAddData(PEERDIST_INSTANCE_HANDLE hPeerDist,
                            PEERDIST_CONTENT_HANDLE hContentHandle,
                            DWORD cbNumberOfBytes,
                            const uint8_t *pBuffer,
                            struct OVERLAPPED *lpOverlapped);

// Reads at the offset that the OVERLAPPED says; fewer bytes than there is room for are normal. What neither the
// cache nor a peer has is told as a range by PEERDIST_ERROR_MISSING_DATA or ERROR_TIMEOUT. Without room, it
// tells how many bytes are in the cache from there on.
//
//
// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
DWORD PeerDistClientBlockRead(PEERDIST_INSTANCE_HANDLE hPeerDist,
                              PEERDIST_CONTENT_HANDLE hContentHandle,
                              DWORD cbMaxNumberOfBytes,
                              uint8_t *pBuffer,
                              DWORD dwTimeoutInMilliseconds,
                              struct OVERLAPPED *lpOverlapped);

// Reads on where the last such read ended, be it with data or with a missing range.
//
//
// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
DWORD PeerDistClientStreamRead(PEERDIST_INSTANCE_HANDLE hPeerDist,
                               PEERDIST_CONTENT_HANDLE hContentHandle,
                               DWORD cbMaxNumberOfBytes,
                               uint8_t *pBuffer,
                               DWORD dwTimeoutInMilliseconds,
                               struct OVERLAPPED *lpOverlapped);

// Removes from the cache what came there under a tag. It ends once none of that is being read or
// given to a peer.
//
//
// The pointers are NULL or valid, `lpOverlapped` until the operation has ended.
DWORD PeerDistClientFlushContent(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                 const struct PEERDIST_CONTENT_TAG *pContentTag,
                                 HANDLE hCompletionPort,
                                 ULONG_PTR ulCompletionKey,
                                 struct OVERLAPPED *lpOverlapped);

// Tells what is known of a content: a PEERDIST_CLIENT_BASIC_INFO.
//
//
// `lpInformation` is NULL or valid for `dwBufferSize` bytes.
DWORD PeerDistClientGetInformationByHandle(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                           PEERDIST_CONTENT_HANDLE hContentHandle,
                                           PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS PeerDistClientInfoClass,
                                           DWORD dwBufferSize,
                                           void *lpInformation);

// Cancels the operation that has this OVERLAPPED, or all on the content, if it is NULL. Their ends are told
// before this returns.
DWORD PeerDistClientCancelAsyncOperation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                         PEERDIST_CONTENT_HANDLE hContentHandle,
                                         struct OVERLAPPED *pOverlapped);

// The code of the last call of this thread that returned FALSE, NULL or WAIT_FAILED; after a cancelling
// call that succeeded, ERROR_OPERATION_ABORTED.
DWORD peerdist_last_error(void);

// Makes an event that is not set: for OVERLAPPED::hEvent. NULL if there are too many.
HANDLE peerdist_event_create(void);

// Sets an event: who waits for it goes on.
BOOL peerdist_event_set(HANDLE hEvent);

// Takes that back. An operation that is accepted does it with its event.
BOOL peerdist_event_reset(HANDLE hEvent);

// Waits until an event is set: WAIT_OBJECT_0, WAIT_TIMEOUT or WAIT_FAILED. The event stays set. On bare
// metal it does not wait: peerdist_poll is what makes events happen.
DWORD peerdist_event_wait(HANDLE hEvent, DWORD dwMilliseconds);

// Closes an event. Operations that would have set it end without.
BOOL peerdist_event_close(HANDLE hEvent);

// Makes a queue that stands in for a completion port. NULL if there are too many.
HANDLE peerdist_queue_create(void);

// Takes the next packet out of a queue, and waits for one if there is none.
//
// TRUE if there was a packet of an operation that succeeded. FALSE, with the code in peerdist_last_error, if
// there was one of an operation that failed; then *lpOverlapped is not NULL, and bytes and key are told as
// well. FALSE with NULL in *lpOverlapped if there was none: WAIT_TIMEOUT, or ERROR_INVALID_HANDLE of what
// is no queue, or was closed meanwhile.
//
//
// The three pointers are valid for writes; none is NULL.
BOOL peerdist_queue_get(HANDLE hQueue,
                        DWORD *lpNumberOfBytes,
                        ULONG_PTR *lpCompletionKey,
                        struct OVERLAPPED **lpOverlapped,
                        DWORD dwMilliseconds);

// Puts a packet of the caller's own into a queue: what is said comes out as it is, as of an operation that
// succeeded.
BOOL peerdist_queue_post(HANDLE hQueue,
                         DWORD dwNumberOfBytes,
                         ULONG_PTR ulCompletionKey,
                         struct OVERLAPPED *lpOverlapped);

// Closes a queue with what is in it. Operations whose packets would have gone there end without.
BOOL peerdist_queue_close(HANDLE hQueue);

// What became of an operation: TRUE if it succeeded. FALSE with the code in peerdist_last_error if it failed,
// with ERROR_IO_INCOMPLETE if it has not ended, and bWait is FALSE. Bytes are told of a success, of
// PEERDIST_ERROR_MISSING_DATA and ERROR_TIMEOUT, and of ERROR_OPERATION_ABORTED.
//
//
// `lpOverlapped` is NULL or that of an operation that was accepted, and stays valid until this returns;
// `lpNumberOfBytesTransferred` is NULL or valid for a write.
BOOL PeerDistGetOverlappedResult(struct OVERLAPPED *lpOverlapped,
                                 DWORD *lpNumberOfBytesTransferred,
                                 BOOL bWait);

// Sets up the service, before the first PeerDistStartup; NULL takes back what was set up.
// ERROR_INVALID_PARAMETER if a field makes no sense, PEERDIST_ERROR_INVALID_CONFIGURATION if this machine does not
// have the address, PEERDIST_ERROR_ALREADY_INITIALIZED while an instance is open.
//
// Where the service cannot be set up, PeerDistStartup succeeds all the same: the status tells, and
// peerdist_trouble says why.
//
//
// `config` is NULL or valid, and so is what it points to, until this returns.
DWORD peerdist_configure(const struct peerdist_config *config);

// Writes why the service is not available, as a string that ends with a zero, and returns how long all of it is:
// 0 if nothing is wrong.
//
//
// `pBuffer` is NULL or valid for so many bytes.
DWORD peerdist_trouble(char *pBuffer,
                       DWORD cbBuffer);

// Sets up the library on bare metal: with memory that is its own from now on, the larger the more blocks it keeps.
// ERROR_NOT_ENOUGH_MEMORY if it is too small; PEERDIST_ERROR_ALREADY_INITIALIZED the second time.
//
// All calls of the library have to come from one context, and none from an interrupt. On a Cortex-M3 this one takes
// 12,000 bytes of the stack at most, peerdist_poll some 13,000 without the callbacks, and all others less: 16 KiB do.
//
//
// `memory` is valid for so many bytes, for ever, and nobody else uses it. `platform` is valid until this returns,
// and what it names can be called for ever.
DWORD peerdist_init(void *memory,
                    uintptr_t memory_bytes,
                    const struct peerdist_platform *platform);

// Has the library do what there is to do at `now`, in microseconds of a clock that never goes back, and returns
// when to call it again at the latest: `now` means at once, UINT64_MAX never. To be called after each other call,
// too: what those leave to do is done here.
ULONGLONG peerdist_poll(ULONGLONG now);

// A datagram has come to UDP port 3702.
//
//
// The pointers are NULL or valid until this returns.
void peerdist_datagram(const struct peerdist_address *from, const uint8_t *data, uintptr_t len);

// Somebody has connected to our port: the number of the connection from now on, or 0 if it is to be reset.
//
//
// The pointer is NULL or valid until this returns.
DWORD peerdist_accept(const struct peerdist_address *from);

// A connection that the library asked for is open.
void peerdist_connected(DWORD connection);

// Bytes have come on a connection. Returns how many were used; the rest is to be offered again after `resume` was
// called, in front of all that comes later.
//
//
// The pointer is NULL or valid for so many bytes, until this returns.
uintptr_t peerdist_received(DWORD connection,
                            const uint8_t *data,
                            uintptr_t len);

// The other side sends no more on a connection, and all that it has sent was used.
void peerdist_ended(DWORD connection);

// A connection is lost, or did not come about. Its number is forgotten.
void peerdist_lost(DWORD connection);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

typedef OVERLAPPED *LPOVERLAPPED;
typedef PEERDIST_INSTANCE_HANDLE *PPEERDIST_INSTANCE_HANDLE;
typedef PEERDIST_STREAM_HANDLE *PPEERDIST_STREAM_HANDLE;
typedef PEERDIST_CONTENTINFO_HANDLE *PPEERDIST_CONTENTINFO_HANDLE;
typedef PEERDIST_CONTENT_HANDLE *PPEERDIST_CONTENT_HANDLE;
typedef PEERDIST_STATUS *PPEERDIST_STATUS;
typedef PEERDIST_STATUS_INFO *PPEERDIST_STATUS_INFO;
typedef const PEERDIST_CONTENT_TAG *PCPEERDIST_CONTENT_TAG;
typedef const PEERDIST_PUBLICATION_OPTIONS *PCPEERDIST_PUBLICATION_OPTIONS;
typedef const PEERDIST_RETRIEVAL_OPTIONS *PCPEERDIST_RETRIEVAL_OPTIONS;

#endif  /* PEERDIST_H */
