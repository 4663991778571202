// How this process asks the kernel for memory.
#pragma once

namespace haul {

// What messages and chunks of up to some megabytes leave free is kept for the next: given back and
// asked for again, as the C library does by default, each page is cleared and faulted in anew. To
// be said once, early in main.
void KeepFreedMemory();

}  // namespace haul
