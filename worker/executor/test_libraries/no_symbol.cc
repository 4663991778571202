// A shared library that serves nothing.
extern "C" [[gnu::visibility("default")]] int haul_test_nothing();
extern "C" int haul_test_nothing() { return 0; }
