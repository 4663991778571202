// Deliberate defects, one of which is switched on at a time in a build for tests: they show that
// the simulator's checkers (tests/sim) can fail. In every other build Planted() is false at compile
// time and nothing of them is left.
#pragma once

#include <cstdint>

namespace haul {

enum class PlantedBug : std::uint8_t {
  kNone,
  // The coordinator's core.
  kSubmitAnsweredBeforeCommit,  // a job is acknowledged that is not on the disk
  kOutcomeConfirmedBeforeCommit,
  kRepeatedSubmitIsNewJob,
  kAdoptionForgotten,         // after a restart work is given out at once
  kAwayWorkersServeNothing,   // likewise functions are refused for good
  kEarlierMembershipAdopted,  // what a worker held before it was lost is adopted
  kLossNotAwaited,            // a lost worker's work moves before the loss is on the disk
  kWelcomeBeforeMembership,   // work is sent to a worker whose membership is not on the disk
  kTailMovedBeforeConfirmed,  // revoked tasks move before their holder confirms
  kDoneTasksRequeued,
  kLeaseEndsEarly,
  kStandstillBlamedOnWorkers,  // the coordinator's own silence counts against leases
  kSuspectCharged,             // whoever ran in an executor that died is charged for it
  kRetriesMiscounted,          // one attempt fewer than asked for
  kDrainingWorkerFed,
  kMaxRunningIgnored,
  kCancelledTasksForgotten,  // tasks that come back to a cancelled job have no end
  kUnwantedTasksRunAgain,    // likewise tasks that were cancelled alone, which start again
  kRepeatedExtendAdds,       // tasks that an open job has already are added again
  kExtendAnsweredBeforeCommit,
  kStartNotAwaited,        // an at-most-once task is sent before its start is on the disk
  kLostRunAgain,           // an at-most-once task that was lost starts again
  kChildrenOutliveParent,  // what a task submitted goes on when its start is over
  kBlockedKeepCpus,        // a task that waits for its children keeps its cpus
  // What says that batches are durable takes in those that only a later commit brings.
  kAcknowledgedPastCommit,
  // The worker's core.
  kOwedDroppedOnReconnect,  // what was under way when a connection broke is not said again
  kRunningNotListed,        // the hello leaves out what runs
  kStartsPastLease,
  kAheadStartsPastLease,  // commands that were given ahead are not withdrawn when the lease ends
  kRevokedTasksKept,      // what was handed back is started all the same
  kCapacityIgnored,
  kHandBackSwallowed,       // tasks are dropped without a word
  kForgottenBeforeDurable,  // outcomes are forgotten when they are sent
  kProcessShared,           // tasks that want a process of their own share one
  kResumedBeyondCpus,       // tasks whose children ended go on, whether a cpu is free or not
  kTokenUsedTwice,          // what may have started starts again under the same assignment
  // What both use.
  kIntervalOffByOne,
  // The shells, as the simulation plays them.
  kStaleOutcomeAccepted,  // an outcome counts, whatever assignment it comes from
  kEffectsBeforeCommit,
  kEpochNotRaised,
  kMembershipNotStored,
};

#ifdef HAUL_PLANT_BUGS
inline PlantedBug planted_bug = PlantedBug::kNone;
inline bool Planted(PlantedBug bug) { return planted_bug == bug; }
#else
constexpr bool Planted(PlantedBug) { return false; }
#endif

}  // namespace haul
