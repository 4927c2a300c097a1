/* The tests, and what they share. */
#ifndef SUITE_H
#define SUITE_H

#include <sllm_ort.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) {                                                   \
      fprintf(stderr, "%s:%d: %s is false; last error: %s\n", __FILE__,   \
              __LINE__, #condition, sllm_last_error());                   \
      exit(1);                                                            \
    }                                                                     \
  } while (0)

#define OK(call) CHECK((call) == SLLM_STATUS_OK)

/* The call fails with this status and a message that contains `part`. */
#define FAILS(call, expected, part)                                       \
  do {                                                                    \
    SllmStatus found_ = (call);                                           \
    if (found_ != (expected) ||                                           \
        strstr(sllm_last_error(), (part)) == NULL) {                      \
      fprintf(stderr, "%s:%d: %s gives %s (%s), not %s (...%s...)\n",     \
              __FILE__, __LINE__, #call, sllm_status_name(found_),        \
              sllm_last_error(), sllm_status_name(expected), (part));     \
      exit(1);                                                            \
    }                                                                     \
  } while (0)

#define PROMPT "the cat sat on the hill. "

#define MAX_IDS 4096
#define MAX_TEXT 65536

/* What a generation has given. */
typedef struct {
  uint32_t ids[MAX_IDS];
  size_t id_count;
  char pieces[MAX_TEXT];
  char sentences[MAX_TEXT];
  size_t sentence_count;
  size_t calls;
  /* Number of calls after which a callback ends it; 0: never. */
  size_t stop_after_sentences;
  size_t stop_after_pieces;
  size_t piece_count;
} Output;

static inline int take_sentence(const SllmSentence *sentence, void *user) {
  Output *output = user;
  CHECK(sentence->index == output->sentence_count);
  CHECK(strlen(sentence->text) == sentence->length);
  CHECK(sentence->stop_probability >= 0 && sentence->stop_probability <= 1);
  CHECK(output->id_count + sentence->token_count <= MAX_IDS);
  for (size_t i = 0; i < sentence->token_count; i++) {
    output->ids[output->id_count++] = sentence->token_ids[i];
  }
  CHECK(strlen(output->sentences) + sentence->length < MAX_TEXT);
  strcat(output->sentences, sentence->text);
  output->sentence_count++;
  output->calls++;
  return output->sentence_count == output->stop_after_sentences;
}

static inline int take_text(size_t row, const char *text, size_t length,
                            void *user) {
  Output *output = user;
  (void)row;
  CHECK(strlen(text) == length);
  CHECK(strlen(output->pieces) + length < MAX_TEXT);
  strcat(output->pieces, text);
  output->piece_count++;
  output->calls++;
  return output->piece_count == output->stop_after_pieces;
}

static inline Output *new_output(void) {
  Output *output = calloc(1, sizeof *output);
  CHECK(output != NULL);
  return output;
}

static inline int same_ids(const Output *one, const Output *other) {
  return one->id_count == other->id_count &&
         memcmp(one->ids, other->ids, one->id_count * sizeof one->ids[0]) == 0;
}

/* The bundle in float32, whose output does not depend on the batch size. */
static inline SllmModel *load(const char *bundle) {
  SllmLoadOptions *options = NULL;
  SllmModel *model = NULL;
  OK(sllm_load_options_new(&options));
  OK(sllm_load_options_set_variant(options, "portable"));
  OK(sllm_load_options_set_provider(options, "cpu"));
  OK(sllm_load_options_set_threads(options, 1));
  OK(sllm_model_load(bundle, options, &model));
  sllm_load_options_free(options);
  return model;
}

static inline SllmSession *prompted(const SllmModel *model,
                                    const char *prompt) {
  SllmSession *session = NULL;
  OK(sllm_session_new(model, &session));
  OK(sllm_session_append(session, prompt, NULL, NULL));
  return session;
}

static inline SllmOptions *greedy(size_t sentences) {
  SllmOptions *options = NULL;
  OK(sllm_options_new(&options));
  OK(sllm_options_set_max_sentences(options, sentences));
  OK(sllm_options_set_temperature(options, 0));
  OK(sllm_options_set_ignore_eos(options, true));
  return options;
}

/* The text of a session is `expected`. */
static inline void check_text(const SllmSession *session,
                              const char *expected) {
  SllmBuffer *text = NULL;
  OK(sllm_session_text(session, &text));
  if (strcmp(sllm_buffer_data(text), expected) != 0) {
    fprintf(stderr, "the text is \"%s\", not \"%s\"\n", sllm_buffer_data(text),
            expected);
    exit(1);
  }
  CHECK(sllm_buffer_length(text) == strlen(expected));
  sllm_buffer_free(text);
}

/* Of bundles of kind sllm, opt and svae, and one whose graphs are swapped. ONNX
 * Runtime must not be loaded yet. */
void test_errors(const char *bundle, const char *opt_bundle,
                 const char *svae_bundle, const char *swapped);
void test_null_pointers(const SllmModel *model);
void test_model(const SllmModel *model);
/* Of a bundle with canonical white space. */
void test_line_breaks(const char *canonical);
/* Returns a greedy continuation of PROMPT by six sentences. */
Output *test_generation(const SllmModel *model);
/* `whole` is that continuation. Files are written into the folder. */
void test_session(const SllmModel *model, const Output *whole,
                  const char *folder);
void test_options(const SllmModel *model, const Output *whole);
void test_freeing(const char *bundle);
void test_threads(const char *bundle, size_t sessions_of_a_thread);

#endif
