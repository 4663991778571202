// What `haul run` and `haul call` do with a job once it is prepared. Main thread.
#pragma once

#include "cli/globals.h"
#include "cli/job_options.h"

namespace haul::cli {

// Submits the job, prints its tasks' outputs as they come (in input order if asked), tells how it
// gets on, and returns the exit status. The first Ctrl-C leaves the job running, a second one
// cancels it.
int SubmitAndFollow(const Globals& globals, Client& client, PreparedJob& job, bool keep_order);

// Submits the job and prints its id.
int SubmitOnly(const Globals& globals, Client& client, PreparedJob& job);

}  // namespace haul::cli
