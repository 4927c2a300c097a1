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
  SllmModel *model = load(argv[1]);
  test_null_pointers(model);
  test_model(model);
  Output *whole = test_generation(model);
  test_session(model, whole, argv[6]);
  test_options(model, whole);
  free(whole);
  sllm_model_free(model);
  test_freeing(argv[1]);
  test_line_breaks(argv[5]);
  test_threads(argv[1], (size_t)atoi(argv[7]));
  return 0;
}
