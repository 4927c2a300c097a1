/* Options of a generation, and hooks that change logits. */
#include "suite.h"

#include <math.h>

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

void test_options(const SllmModel *model, const Output *whole) {
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
  OK(sllm_options_set_guidance_scale(options, 1.5f));
  OK(sllm_options_set_repetition_penalty(options, 1.1f));
  OK(sllm_options_set_dry_multiplier(options, 0.8f));
  OK(sllm_options_set_dry_base(options, 1.5f));
  OK(sllm_options_set_dry_allowed_length(options, 3));
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
