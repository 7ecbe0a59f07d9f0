/* A machine: the library with memory of its own. Each is linked with its own copy of the library, of which nothing
 * can be seen from outside but this. */
#ifndef MACHINE_H
#define MACHINE_H

#include <peerdist.h>

#define CALLS(CALL)                                                                                                   \
    CALL(PeerDistStartup)                                                                                             \
    CALL(PeerDistShutdown)                                                                                            \
    CALL(PeerDistGetOverlappedResult)                                                                                 \
    CALL(PeerDistServerPublishStream)                                                                                 \
    CALL(PeerDistServerPublishAddToStream)                                                                            \
    CALL(PeerDistServerPublishCompleteStream)                                                                         \
    CALL(PeerDistServerCloseStreamHandle)                                                                             \
    CALL(PeerDistServerUnpublish)                                                                                     \
    CALL(PeerDistServerOpenContentInformationEx)                                                                      \
    CALL(PeerDistServerRetrieveContentInformation)                                                                    \
    CALL(PeerDistServerCloseContentInformation)                                                                       \
    CALL(PeerDistClientOpenContent)                                                                                   \
    CALL(PeerDistClientCloseContent)                                                                                  \
    CALL(PeerDistClientAddContentInformation)                                                                         \
    CALL(PeerDistClientCompleteContentInformation)                                                                    \
    CALL(PeerDistClientAddData)                                                                                       \
    CALL(PeerDistClientStreamRead)                                                                                    \
    CALL(peerdist_last_error)                                                                                         \
    CALL(peerdist_set_status)                                                                                         \
    CALL(peerdist_init)                                                                                               \
    CALL(peerdist_poll)                                                                                               \
    CALL(peerdist_datagram)                                                                                           \
    CALL(peerdist_accept)                                                                                             \
    CALL(peerdist_connected)                                                                                          \
    CALL(peerdist_received)                                                                                           \
    CALL(peerdist_ended)                                                                                              \
    CALL(peerdist_lost)

#define FIELD(name) __typeof__(name) *name;
struct machine {
    CALLS(FIELD)
};

/* What machine.c makes is called `machine` there, and in the program one of the other two. */
extern const struct machine machine, first_machine, second_machine;

#endif
