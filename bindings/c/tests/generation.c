/* Generation, its callbacks, cancellation and batches. */
#include "suite.h"

#include <signal.h>

/* Returns a greedy continuation of PROMPT by six sentences. */
static Output *continuation(const SllmModel *model) {
  SllmSession *session = NULL;
  OK(sllm_session_new(model, &session));
  SllmAppended appended;
  OK(sllm_session_append(session, PROMPT, NULL, &appended));
  CHECK(appended.sentences == 1 && appended.truncated == 0 &&
        appended.dropped_bytes == 0);

  SllmOptions *options = greedy(6);
  Output *output = new_output();
  SllmResult result;
  OK(sllm_session_generate(session, options, take_sentence, take_text, output,
                           &result));
  CHECK(result.status == SLLM_STATUS_OK);
  CHECK(result.finish_reason == SLLM_FINISH_REASON_MAX_SENTENCES);
  CHECK(result.sentences == 6 && output->sentence_count == 6);
  CHECK(result.tokens == output->id_count);
  CHECK(strcmp(output->pieces, output->sentences) == 0);

  char expected[MAX_TEXT] = PROMPT;
  strcat(expected, output->sentences);
  check_text(session, expected);
  SllmTexts *sentences = NULL;
  OK(sllm_session_sentences(session, &sentences));
  CHECK(sllm_texts_count(sentences) == 7);
  CHECK(strcmp(sllm_texts_get(sentences, 0)->text, PROMPT) == 0);
  CHECK(sllm_texts_get(sentences, 0)->token_ids == NULL);
  sllm_texts_free(sentences);
  SllmSessionSize size;
  OK(sllm_session_size(session, &size));
  CHECK(size.sentences == 7 && size.tokens > result.tokens);
  CHECK(size.remaining > 0 && size.memory_bytes > 0);

  sllm_options_free(options);
  sllm_session_free(session);
  return output;
}

/* A callback ends a generation; what follows is as if it had not ended. */
static void callbacks_end(const SllmModel *model, const Output *whole) {
  SllmSession *session = prompted(model, PROMPT);
  SllmOptions *options = greedy(6);
  SllmResult result;

  Output *begun = new_output();
  begun->stop_after_pieces = 1;
  OK(sllm_session_generate(session, options, take_sentence, take_text, begun,
                           &result));
  CHECK(result.finish_reason == SLLM_FINISH_REASON_CANCELLED);
  CHECK(result.sentences == 0 && begun->calls == 1);
  check_text(session, PROMPT);

  Output *two = new_output();
  two->stop_after_sentences = 2;
  OK(sllm_session_generate(session, options, take_sentence, NULL, two,
                           &result));
  CHECK(result.finish_reason == SLLM_FINISH_REASON_CANCELLED);
  CHECK(result.sentences == 2 && two->calls == 2);
  SllmSessionSize size;
  OK(sllm_session_size(session, &size));
  CHECK(size.sentences == 3);

  OK(sllm_options_set_max_sentences(options, 4));
  two->sentence_count = 0;
  two->stop_after_sentences = 0;
  OK(sllm_session_generate(session, options, take_sentence, NULL, two, NULL));
  CHECK(same_ids(two, whole));
  free(begun);
  free(two);
  sllm_options_free(options);
  sllm_session_free(session);
}

static SllmCancel *signalled;

static void on_signal(int number) {
  (void)number;
  sllm_cancel(signalled);
}

static int raise_signal(const SllmSentence *sentence, void *user) {
  (void)user;
  if (sentence->index == 1) {
    raise(SIGINT);
  }
  return 0;
}

static void cancelling(const SllmModel *model) {
  OK(sllm_cancel_new(&signalled));
  SllmOptions *options = greedy(50);
  OK(sllm_options_set_cancel(options, signalled));
  signal(SIGINT, on_signal);
  SllmSession *session = prompted(model, PROMPT);
  SllmResult result;
  OK(sllm_session_generate(session, options, raise_signal, NULL, NULL,
                           &result));
  signal(SIGINT, SIG_DFL);
  CHECK(result.finish_reason == SLLM_FINISH_REASON_CANCELLED);
  CHECK(result.sentences == 2 && sllm_cancel_is_set(signalled));
  FAILS(sllm_session_append(session, PROMPT, signalled, NULL),
        SLLM_STATUS_CANCELLED, "cancelled");
  /* The options keep what they need of it. */
  sllm_cancel_free(signalled);
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, &result));
  CHECK(result.sentences == 0);
  OK(sllm_options_set_cancel(options, NULL));
  OK(sllm_options_set_max_sentences(options, 1));
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, &result));
  CHECK(result.sentences == 1);
  sllm_session_free(session);
  sllm_options_free(options);
}

/* The outputs of the rows of a batch, of which one ends itself. */
static int take_row(const SllmSentence *sentence, void *user) {
  Output **outputs = user;
  return take_sentence(sentence, outputs[sentence->row]);
}

static int take_row_text(size_t row, const char *text, size_t length,
                         void *user) {
  Output **outputs = user;
  return take_text(row, text, length, outputs[row]);
}

static void batches(const SllmModel *model, const Output *whole) {
  enum { ROWS = 4 };
  SllmSession *sessions[ROWS];
  Output *outputs[ROWS];
  SllmResult results[ROWS];
  for (size_t i = 0; i < ROWS; i++) {
    sessions[i] = prompted(model, PROMPT);
    outputs[i] = new_output();
  }
  OK(sllm_session_clear(sessions[3]));
  outputs[1]->stop_after_sentences = 2;
  outputs[2]->stop_after_pieces = 1;
  SllmOptions *options = greedy(6);
  FAILS(sllm_generate_batch(sessions, ROWS, options, take_row, take_row_text,
                            outputs, results),
        SLLM_STATUS_INVALID_INPUT, "session 3 of the batch");
  CHECK(same_ids(outputs[0], whole));
  CHECK(results[0].finish_reason == SLLM_FINISH_REASON_MAX_SENTENCES);
  CHECK(results[1].finish_reason == SLLM_FINISH_REASON_CANCELLED);
  CHECK(results[1].sentences == 2 && results[1].status == SLLM_STATUS_OK);
  CHECK(memcmp(outputs[1]->ids, whole->ids,
               outputs[1]->id_count * sizeof whole->ids[0]) == 0);
  CHECK(results[2].finish_reason == SLLM_FINISH_REASON_CANCELLED);
  CHECK(results[2].sentences == 0 && outputs[2]->calls == 1);
  CHECK(results[3].finish_reason == SLLM_FINISH_REASON_ERROR);
  CHECK(results[3].status == SLLM_STATUS_INVALID_INPUT);
  check_text(sessions[2], PROMPT);

  /* None is continued, and all can be used. */
  SllmSession *twice[2] = {sessions[0], sessions[0]};
  FAILS(sllm_generate_batch(twice, 2, options, NULL, NULL, NULL, NULL),
        SLLM_STATUS_BUSY, "session 1 of the batch");
  OK(sllm_session_rewind(sessions[0], 6));
  check_text(sessions[0], PROMPT);
  OK(sllm_generate_batch(NULL, 0, options, NULL, NULL, NULL, NULL));

  /* Each row draws with its own seed. */
  OK(sllm_options_set_temperature(options, 1.5f));
  OK(sllm_options_set_seed(options, 7));
  OK(sllm_session_rewind(sessions[1], 2));
  OK(sllm_generate_batch(sessions, 2, options, NULL, NULL, NULL, results));
  CHECK(results[0].seed == 7 && results[1].seed == 8);
  for (size_t i = 0; i < ROWS; i++) {
    sllm_session_free(sessions[i]);
    free(outputs[i]);
  }
  sllm_options_free(options);
}

Output *test_generation(const SllmModel *model) {
  Output *whole = continuation(model);
  callbacks_end(model, whole);
  cancelling(model);
  batches(model, whole);
  return whole;
}
