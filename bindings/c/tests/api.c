/* Everything that the library does. */
#include "suite.h"

#include <math.h>
#include <signal.h>

#define PROMPT "the cat sat on the hill. "

static void versions(void) {
  char expected[32];
  snprintf(expected, sizeof expected, "%d.%d.%d", SLLM_VERSION_MAJOR,
           SLLM_VERSION_MINOR, SLLM_VERSION_PATCH);
  CHECK(strcmp(sllm_version(), expected) == 0);
  CHECK(strcmp(sllm_status_name(SLLM_STATUS_TOO_LONG), "too_long") == 0);
  CHECK(strcmp(sllm_status_name(99), "unknown") == 0);
  CHECK(strcmp(sllm_finish_reason_name(SLLM_FINISH_REASON_STOP), "stop") == 0);
  CHECK(strcmp(sllm_finish_reason_name(-1), "unknown") == 0);
}

static void description(const SllmModel *model) {
  SllmBuffer *info = NULL;
  OK(sllm_model_info(model, &info));
  const char *json = sllm_buffer_data(info);
  CHECK(strstr(json, "\"kind\":\"sllm\"") != NULL);
  CHECK(strstr(json, "\"variant\":\"portable\"") != NULL);
  CHECK(strstr(json, "\"provider\":\"cpu\"") != NULL);
  CHECK(strlen(json) == sllm_buffer_length(info));
  sllm_buffer_free(info);
  OK(sllm_onnxruntime_info(&info));
  CHECK(strstr(sllm_buffer_data(info), "\"version\":\"1.") != NULL);
  sllm_buffer_free(info);
}

static void vectors(const SllmModel *model) {
  enum { COUNT = 70 }; /* more than are encoded together */
  size_t hidden = sllm_model_hidden_size(model);
  CHECK(hidden > 0);
  const char *texts[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    texts[i] = i % 2 == 0 ? "the cat sat. " : "hello world. ";
  }
  float *encoded = calloc(COUNT * hidden, sizeof *encoded);
  CHECK(encoded != NULL);
  size_t truncated = 1;
  OK(sllm_model_encode(model, texts, COUNT, encoded, COUNT * hidden,
                       &truncated));
  CHECK(truncated == 0);
  for (size_t i = 0; i < COUNT * hidden; i++) {
    CHECK(isfinite(encoded[i]));
    CHECK(fabsf(encoded[i] - encoded[i % (2 * hidden)]) < 1e-4f);
  }
  CHECK(memcmp(encoded, encoded + hidden, hidden * sizeof *encoded) != 0);

  SllmTexts *decoded = NULL;
  OK(sllm_model_decode(model, encoded, COUNT, &decoded));
  CHECK(sllm_texts_count(decoded) == COUNT);
  const SllmText *first = sllm_texts_get(decoded, 0);
  CHECK(strlen(first->text) == first->length && first->token_count > 0);
  CHECK(sllm_texts_get(decoded, COUNT) == NULL);

  bool exact[COUNT];
  SllmTexts *again = NULL;
  OK(sllm_model_reconstruct(model, texts, COUNT, exact, &again));
  CHECK(sllm_texts_count(again) == COUNT);
  const SllmText *other = sllm_texts_get(again, 0);
  CHECK(strcmp(other->text, first->text) == 0);
  CHECK(other->token_count == first->token_count);
  CHECK(exact[0] == exact[2]);
  sllm_texts_free(again);
  sllm_texts_free(decoded);
  free(encoded);

  float similarity = 0;
  OK(sllm_model_similarity(model, texts[0], texts[0], &similarity));
  CHECK(fabsf(similarity - 1) < 1e-4f);
  SllmTexts *between = NULL;
  OK(sllm_model_interpolate(model, texts[0], texts[1], 3, &between));
  CHECK(sllm_texts_count(between) == 3);
  sllm_texts_free(between);

  SllmTexts *none = NULL;
  OK(sllm_model_encode(model, NULL, 0, NULL, 0, NULL));
  OK(sllm_model_decode(model, NULL, 0, &none));
  CHECK(sllm_texts_count(none) == 0);
  sllm_texts_free(none);
}

static void segments(const SllmModel *model) {
  const char *text = "the cat sat. hello world. ";
  SllmTexts *sentences = NULL;
  OK(sllm_model_segment(model, text, &sentences));
  CHECK(sllm_texts_count(sentences) == 2);
  char joined[64] = "";
  for (size_t i = 0; i < 2; i++) {
    const SllmText *sentence = sllm_texts_get(sentences, i);
    CHECK(sentence->token_count > 0 && !sentence->truncated);
    strcat(joined, sentence->text);
  }
  CHECK(strcmp(joined, text) == 0);
  sllm_texts_free(sentences);
}

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

static void contexts(const SllmModel *model, const char *folder,
                     const Output *whole) {
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

static int check_log_probabilities(const SllmSentence *sentence, void *user) {
  (void)user;
  CHECK(sentence->log_probabilities != NULL);
  for (size_t i = 0; i < sentence->token_count; i++) {
    CHECK(sentence->log_probabilities[i] <= 0);
  }
  return 0;
}

/* Masks the token that is best. */
static void mask_best(const uint32_t *token_ids, size_t token_count,
                      SllmLogits *logits, void *user) {
  CHECK((token_ids == NULL) == (token_count == 0));
  size_t best = 0;
  for (size_t i = 1; i < sllm_logits_count(logits); i++) {
    if (sllm_logits_value(logits, i) > sllm_logits_value(logits, best)) {
      best = i;
    }
  }
  CHECK(sllm_logits_set(logits, sllm_logits_id(logits, best), -INFINITY));
  CHECK(sllm_logits_value(logits, best) == -INFINITY);
  CHECK(!sllm_logits_set(logits, UINT32_MAX, 0));
  CHECK(isnan(sllm_logits_value(logits, SIZE_MAX)));
  CHECK(sllm_logits_id(logits, SIZE_MAX) == UINT32_MAX);
  ++*(size_t *)user;
}

static void mask_all(const uint32_t *token_ids, size_t token_count,
                     SllmLogits *logits, void *user) {
  (void)token_ids;
  (void)token_count;
  (void)user;
  for (size_t i = 0; i < sllm_logits_count(logits); i++) {
    sllm_logits_set(logits, sllm_logits_id(logits, i), -INFINITY);
  }
}

/* Generates from PROMPT. */
static SllmResult generate(const SllmModel *model, const SllmOptions *options,
                           SllmSentenceCallback on_sentence, void *user) {
  SllmSession *session = prompted(model, PROMPT);
  SllmResult result;
  OK(sllm_session_generate(session, options, on_sentence, NULL, user, &result));
  sllm_session_free(session);
  return result;
}

static void all_options(const SllmModel *model, const Output *whole) {
  SllmOptions *options = greedy(6);
  OK(sllm_options_set_log_probabilities(options, true));
  generate(model, options, check_log_probabilities, NULL);

  OK(sllm_options_set_max_tokens(options, 3));
  SllmResult result = generate(model, options, NULL, NULL);
  CHECK(result.finish_reason == SLLM_FINISH_REASON_MAX_TOKENS);
  CHECK(result.tokens == 3);
  sllm_options_free(options);

  options = greedy(6);
  OK(sllm_options_set_time_limit(options, 0));
  result = generate(model, options, NULL, NULL);
  CHECK(result.finish_reason == SLLM_FINISH_REASON_TIME_LIMIT);
  sllm_options_free(options);

  /* The first three bytes that are generated. */
  char stop[4] = "";
  strncat(stop, whole->sentences, 3);
  options = greedy(6);
  OK(sllm_options_add_stop(options, stop));
  result = generate(model, options, NULL, NULL);
  CHECK(result.finish_reason == SLLM_FINISH_REASON_STOP_TEXT);
  sllm_options_free(options);

  /* A context with room for one sentence. */
  options = greedy(2);
  SllmSession *session = prompted(model, PROMPT);
  SllmSessionSize size;
  OK(sllm_session_size(session, &size));
  char *text = calloc(size.remaining, 16);
  CHECK(text != NULL);
  for (size_t i = 1; i < size.remaining; i++) {
    strcat(text, "hello world. ");
  }
  OK(sllm_session_append(session, text, NULL, NULL));
  free(text);
  OK(sllm_options_set_overflow(options, "stop"));
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, &result));
  CHECK(result.finish_reason == SLLM_FINISH_REASON_CONTEXT_FULL);
  CHECK(result.sentences == 1);
  OK(sllm_options_set_overflow(options, "drop_oldest"));
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, &result));
  CHECK(result.finish_reason == SLLM_FINISH_REASON_MAX_SENTENCES);
  CHECK(result.sentences == 2);
  sllm_session_free(session);
  sllm_options_free(options);

  size_t calls = 0;
  options = greedy(6);
  OK(sllm_options_set_logits_hook(options, mask_best, &calls));
  Output *masked = new_output();
  result = generate(model, options, take_sentence, masked);
  CHECK(calls >= result.tokens && !same_ids(masked, whole));
  free(masked);
  OK(sllm_options_set_logits_hook(options, mask_all, NULL));
  session = prompted(model, PROMPT);
  FAILS(sllm_session_generate(session, options, NULL, NULL, NULL, &result),
        SLLM_STATUS_INVALID_INPUT, "logits hook");
  CHECK(result.finish_reason == SLLM_FINISH_REASON_ERROR);
  check_text(session, PROMPT);
  sllm_session_free(session);
  sllm_options_free(options);

  options = greedy(3);
  OK(sllm_options_set_temperature(options, 1));
  OK(sllm_options_set_top_k(options, 20));
  OK(sllm_options_set_top_p(options, 0.9f));
  OK(sllm_options_set_min_p(options, 0.01f));
  OK(sllm_options_set_repetition_penalty(options, 1.1f));
  OK(sllm_options_set_no_repeat_ngram(options, 3));
  OK(sllm_options_set_avoid_repeats(options, true));
  OK(sllm_options_set_best_of(options, 2));
  Output *one = new_output(), *other = new_output();
  result = generate(model, options, take_sentence, one);
  /* The seed that was drawn gives the same again. */
  OK(sllm_options_set_seed(options, result.seed));
  generate(model, options, take_sentence, other);
  CHECK(same_ids(one, other));
  free(one);
  free(other);
  sllm_options_free(options);
}

/* All handles may be freed in any order. */
static void freeing(const char *bundle) {
  SllmModel *model = load(bundle);
  SllmSession *session = prompted(model, PROMPT);
  sllm_model_free(model);
  SllmOptions *options = greedy(1);
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, NULL));
  sllm_options_free(options);
  sllm_session_free(session);
}

/* CRLF is LF to the model, and a byte order mark is nothing; texts keep their
 * bytes. */
static void line_breaks(const char *canonical) {
  const char *texts[] = {"the cat sat.\nhello world.\n",
                         "\xef\xbb\xbfthe cat sat.\r\nhello world.\r\n"};
  SllmModel *model = load(canonical);
  size_t hidden = sllm_model_hidden_size(model);
  float *vectors = calloc(2 * hidden, sizeof *vectors);
  CHECK(vectors != NULL);
  OK(sllm_model_encode(model, texts, 2, vectors, 2 * hidden, NULL));
  CHECK(memcmp(vectors, vectors + hidden, hidden * sizeof *vectors) == 0);
  free(vectors);
  SllmTexts *sentences[2] = {NULL, NULL};
  for (size_t i = 0; i < 2; i++) {
    OK(sllm_model_segment(model, texts[i], &sentences[i]));
    CHECK(sllm_texts_count(sentences[i]) == 2);
    SllmSession *session = prompted(model, texts[i]);
    SllmBuffer *text = NULL;
    OK(sllm_session_text(session, &text));
    CHECK(strcmp(sllm_buffer_data(text), texts[i]) == 0);
    sllm_buffer_free(text);
    sllm_session_free(session);
  }
  for (size_t i = 0; i < 2; i++) {
    const SllmText *one = sllm_texts_get(sentences[0], i);
    const SllmText *other = sllm_texts_get(sentences[1], i);
    CHECK(one->token_count == other->token_count);
    CHECK(memcmp(one->token_ids, other->token_ids,
                 one->token_count * sizeof *one->token_ids) == 0);
  }
  sllm_texts_free(sentences[0]);
  sllm_texts_free(sentences[1]);
  sllm_model_free(model);
}

void test_api(const char *bundle, const char *canonical, const char *folder) {
  versions();
  SllmModel *model = load(bundle);
  description(model);
  vectors(model);
  segments(model);
  Output *whole = continuation(model);
  callbacks_end(model, whole);
  cancelling(model);
  contexts(model, folder, whole);
  batches(model, whole);
  all_options(model, whole);
  free(whole);
  sllm_model_free(model);
  freeing(bundle);
  line_breaks(canonical);
}
