/* Contexts that are copied, saved and cut. */
#include "suite.h"

void test_session(const SllmModel *model, const Output *whole,
                  const char *folder) {
  SllmOptions *options = greedy(2);
  SllmSession *session = prompted(model, PROMPT);
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, NULL));

  char path[1024];
  snprintf(path, sizeof path, "%s/session.safetensors", folder);
  OK(sllm_session_save(session, path));
  SllmBuffer *bytes = NULL;
  OK(sllm_session_to_bytes(session, &bytes));
  SllmSession *copies[3];
  OK(sllm_session_fork(session, &copies[0]));
  OK(sllm_session_load(model, path, &copies[1]));
  OK(sllm_session_from_bytes(model, sllm_buffer_data(bytes),
                             sllm_buffer_length(bytes), &copies[2]));
  sllm_buffer_free(bytes);
  OK(sllm_options_set_max_sentences(options, 4));
  for (size_t i = 0; i < 3; i++) {
    Output *rest = new_output();
    OK(sllm_session_generate(copies[i], options, take_sentence, NULL, rest,
                             NULL));
    CHECK(rest->id_count > 0 && rest->id_count < whole->id_count);
    CHECK(memcmp(rest->ids, whole->ids + whole->id_count - rest->id_count,
                 rest->id_count * sizeof rest->ids[0]) == 0);
    free(rest);
    sllm_session_free(copies[i]);
  }

  OK(sllm_session_rewind(session, 2));
  check_text(session, PROMPT);
  OK(sllm_session_append(session, "hello world. ", NULL, NULL));
  OK(sllm_session_drop_oldest(session, 1));
  check_text(session, "hello world. ");
  OK(sllm_session_clear(session));
  check_text(session, "");
  sllm_session_free(session);
  sllm_options_free(options);
}

/* All handles may be freed in any order. */
void test_freeing(const char *bundle) {
  SllmModel *model = load(bundle);
  SllmSession *session = prompted(model, PROMPT);
  sllm_model_free(model);
  SllmOptions *options = greedy(1);
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, NULL));
  sllm_options_free(options);
  sllm_session_free(session);
}
