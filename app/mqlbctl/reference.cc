// Prints the reference of the commands as Markdown; run by the build.
#include <cstdio>

#include "lib/cli/grammar.hh"

int main() { std::fputs(mqlb::cli::reference().c_str(), stdout); }
