/* All tests:
 * suite BUNDLE OPT_BUNDLE SVAE_BUNDLE SWAPPED_BUNDLE CANONICAL_BUNDLE FOLDER
 *       SESSIONS
 *
 * They are one program, since ONNX Runtime takes long to start under valgrind.
 */
#include "suite.h"

int main(int argc, char **argv) {
  CHECK(argc == 8);
  test_errors(argv[1], argv[2], argv[3], argv[4]);
  test_api(argv[1], argv[5], argv[6]);
  test_threads(argv[1], (size_t)atoi(argv[7]));
  return 0;
}
