/* Descriptions, vectors and sentences of a model. */
#include "suite.h"

#include <math.h>

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

/* CRLF is LF to the model, and a byte order mark is nothing; texts keep their
 * bytes. */
void test_line_breaks(const char *canonical) {
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

void test_model(const SllmModel *model) {
  versions();
  description(model);
  vectors(model);
  segments(model);
}
