#include "machine.h"

#define ENTRY(name) name,
const struct machine machine = {CALLS(ENTRY)};
