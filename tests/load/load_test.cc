#include "tests/load/json.hh"
#include "tests/load/packets.hh"
#include "tests/load/session.hh"
#include "tests/support/cmocka.hh"
int main(){return 0;}
