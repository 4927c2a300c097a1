/* Threads that share a model give what one thread gives. */
#include "suite.h"

#include <pthread.h>

enum { THREADS = 16, KINDS = 4 };

static const char *const PROMPTS[KINDS] = {
    "Hello, ",
    PROMPT,
    "hello world. the cat sat. ",
    "one. two. three. four. ",
};

static SllmModel *model;
static SllmOptions *options;
static Output *expected[KINDS];
/* Of each thread. */
static size_t sessions;

static Output *alone(size_t kind) {
  SllmSession *session = prompted(model, PROMPTS[kind]);
  Output *output = new_output();
  OK(sllm_session_generate(session, options, take_sentence, take_text, output,
                           NULL));
  sllm_session_free(session);
  return output;
}

static void *work(void *argument) {
  size_t thread = *(size_t *)argument;
  CHECK(strcmp(sllm_last_error(), "") == 0);
  for (size_t i = 0; i < sessions; i++) {
    size_t kind = (thread + i) % KINDS;
    Output *output = alone(kind);
    CHECK(same_ids(output, expected[kind]));
    CHECK(strcmp(output->pieces, expected[kind]->pieces) == 0);
    free(output);
  }
  SllmSession *none = NULL;
  FAILS(sllm_session_new(NULL, &none), SLLM_STATUS_NULL_POINTER, "model");
  return NULL;
}

/* Runs in one thread while another cancels it. */
static void *generate(void *argument) {
  OK(sllm_session_generate(argument, options, NULL, NULL, NULL, NULL));
  return NULL;
}

static int cancel_then(const SllmSentence *sentence, void *user) {
  (void)sentence;
  sllm_cancel(user);
  return 0;
}

void test_threads(const char *bundle, size_t sessions_of_a_thread) {
  sessions = sessions_of_a_thread;
  model = load(bundle);
  options = greedy(3);
  for (size_t kind = 0; kind < KINDS; kind++) {
    expected[kind] = alone(kind);
    CHECK(expected[kind]->id_count > 0);
  }
  CHECK(!same_ids(expected[0], expected[1]));
  FAILS(sllm_options_new(NULL), SLLM_STATUS_NULL_POINTER, "out is NULL");
  pthread_t threads[THREADS];
  size_t numbers[THREADS];
  for (size_t i = 0; i < THREADS; i++) {
    numbers[i] = i;
    CHECK(pthread_create(&threads[i], NULL, work, &numbers[i]) == 0);
  }
  for (size_t i = 0; i < THREADS; i++) {
    CHECK(pthread_join(threads[i], NULL) == 0);
  }
  /* That of another thread is another. */
  CHECK(strcmp(sllm_last_error(), "out is NULL") == 0);

  /* A generation without an end of its own, ended by a callback elsewhere. */
  SllmCancel *cancel = NULL;
  OK(sllm_cancel_new(&cancel));
  SllmSession *session = prompted(model, PROMPTS[0]);
  SllmSession *other = prompted(model, PROMPTS[1]);
  OK(sllm_options_set_max_sentences(options, 1000000));
  OK(sllm_options_set_overflow(options, "drop_oldest"));
  OK(sllm_options_set_cancel(options, cancel));
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, generate, session) == 0);
  OK(sllm_session_generate(other, options, cancel_then, NULL, cancel, NULL));
  CHECK(pthread_join(thread, NULL) == 0);

  for (size_t kind = 0; kind < KINDS; kind++) {
    free(expected[kind]);
  }
  sllm_cancel_free(cancel);
  sllm_session_free(session);
  sllm_session_free(other);
  sllm_options_free(options);
  sllm_model_free(model);
}
