// The library that shared_library_test loads.
extern "C" int LonghandAnswer() { return 42; }
