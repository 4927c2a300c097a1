/* NULL for each pointer of each function. */
#include "suite.h"

#include <math.h>

void test_null_pointers(const SllmModel *model) {
  const SllmStatus null = SLLM_STATUS_NULL_POINTER;
  SllmSession *session = NULL;
  SllmTexts *texts = NULL;
  SllmBuffer *buffer = NULL;
  SllmModel *other = NULL;
  float number = 0;
  FAILS(sllm_onnxruntime_info(NULL), null, "out");
  FAILS(sllm_cancel_new(NULL), null, "out");
  FAILS(sllm_load_options_new(NULL), null, "out");
  FAILS(sllm_load_options_set_provider(NULL, "cpu"), null, "options");
  FAILS(sllm_load_options_set_variant(NULL, "x"), null, "options");
  FAILS(sllm_load_options_set_threads(NULL, 1), null, "options");
  FAILS(sllm_load_options_set_parallel_runs(NULL, 1), null, "options");
  FAILS(sllm_load_options_set_spinning(NULL, 0), null, "options");
  FAILS(sllm_load_options_set_device(NULL, 0), null, "options");
  FAILS(sllm_load_options_set_memory_limit(NULL, 0), null, "options");
  FAILS(sllm_load_options_set_engine_cache(NULL, "x"), null, "options");
  FAILS(sllm_load_options_set_onnxruntime(NULL, "x"), null, "options");
  FAILS(sllm_model_load(NULL, NULL, &other), null, "directory");
  FAILS(sllm_model_load("x", NULL, NULL), null, "out");
  FAILS(sllm_model_info(NULL, &buffer), null, "model");
  FAILS(sllm_model_info(model, NULL), null, "out");
  FAILS(sllm_model_encode(NULL, NULL, 0, NULL, 0, NULL), null, "model");
  FAILS(sllm_model_encode(model, NULL, 1, &number, 1, NULL), null, "texts");
  FAILS(sllm_model_decode(NULL, NULL, 0, &texts), null, "model");
  FAILS(sllm_model_decode(model, NULL, 1, &texts), null, "vectors");
  FAILS(sllm_model_decode(model, NULL, 0, NULL), null, "out");
  FAILS(sllm_model_reconstruct(NULL, NULL, 0, NULL, &texts), null, "model");
  FAILS(sllm_model_similarity(NULL, "a", "b", &number), null, "model");
  FAILS(sllm_model_similarity(model, NULL, "b", &number), null, "one");
  FAILS(sllm_model_similarity(model, "a", NULL, &number), null, "other");
  FAILS(sllm_model_similarity(model, "a", "b", NULL), null, "similarity");
  FAILS(sllm_model_interpolate(NULL, "a", "b", 2, &texts), null, "model");
  FAILS(sllm_model_segment(NULL, "a", &texts), null, "model");
  FAILS(sllm_model_segment(model, NULL, &texts), null, "text");
  FAILS(sllm_options_new(NULL), null, "out");
  FAILS(sllm_options_set_max_sentences(NULL, 1), null, "options");
  FAILS(sllm_options_set_max_tokens(NULL, 1), null, "options");
  FAILS(sllm_options_set_temperature(NULL, 1), null, "options");
  FAILS(sllm_options_set_top_k(NULL, 1), null, "options");
  FAILS(sllm_options_set_top_p(NULL, 1), null, "options");
  FAILS(sllm_options_set_min_p(NULL, 1), null, "options");
  FAILS(sllm_options_set_guidance_scale(NULL, 1), null, "options");
  FAILS(sllm_options_set_repetition_penalty(NULL, 1), null, "options");
  FAILS(sllm_options_set_dry_multiplier(NULL, 1), null, "options");
  FAILS(sllm_options_set_dry_base(NULL, 1), null, "options");
  FAILS(sllm_options_set_dry_allowed_length(NULL, 1), null, "options");
  FAILS(sllm_options_set_no_repeat_ngram(NULL, 1), null, "options");
  FAILS(sllm_options_set_seed(NULL, 1), null, "options");
  FAILS(sllm_options_add_stop(NULL, "x"), null, "options");
  FAILS(sllm_options_set_best_of(NULL, 1), null, "options");
  FAILS(sllm_options_set_ignore_eos(NULL, true), null, "options");
  FAILS(sllm_options_set_avoid_repeats(NULL, true), null, "options");
  FAILS(sllm_options_set_time_limit(NULL, 1), null, "options");
  FAILS(sllm_options_set_overflow(NULL, "stop"), null, "options");
  FAILS(sllm_options_set_log_probabilities(NULL, true), null, "options");
  FAILS(sllm_options_set_cancel(NULL, NULL), null, "options");
  FAILS(sllm_options_set_logits_hook(NULL, NULL, NULL), null, "options");
  SllmOptions *options = NULL;
  OK(sllm_options_new(&options));
  FAILS(sllm_options_set_logits_hook(options, NULL, NULL), null, "hook");
  FAILS(sllm_options_set_overflow(options, NULL), null, "overflow");
  sllm_options_free(options);
  FAILS(sllm_session_new(NULL, &session), null, "model");
  FAILS(sllm_session_new(model, NULL), null, "out");
  FAILS(sllm_session_append(NULL, "a", NULL, NULL), null, "session");
  OK(sllm_session_new(model, &session));
  FAILS(sllm_session_size(session, NULL), null, "size");
  sllm_session_free(session);
  FAILS(sllm_session_fork(NULL, &session), null, "session");
  FAILS(sllm_session_rewind(NULL, 1), null, "session");
  FAILS(sllm_session_drop_oldest(NULL, 1), null, "session");
  FAILS(sllm_session_clear(NULL), null, "session");
  FAILS(sllm_session_text(NULL, &buffer), null, "session");
  FAILS(sllm_session_sentences(NULL, &texts), null, "session");
  FAILS(sllm_session_size(NULL, NULL), null, "session");
  FAILS(sllm_session_save(NULL, "x"), null, "session");
  FAILS(sllm_session_load(NULL, "x", &session), null, "model");
  FAILS(sllm_session_to_bytes(NULL, &buffer), null, "session");
  FAILS(sllm_session_from_bytes(NULL, "x", 1, &session), null, "model");
  FAILS(sllm_session_generate(NULL, NULL, NULL, NULL, NULL, NULL), null,
        "session");
  FAILS(sllm_generate_batch(NULL, 1, NULL, NULL, NULL, NULL, NULL), null,
        "sessions");
  CHECK(session == NULL && texts == NULL && buffer == NULL && other == NULL);

  CHECK(sllm_buffer_data(NULL) == NULL && sllm_buffer_length(NULL) == 0);
  CHECK(sllm_texts_count(NULL) == 0 && sllm_texts_get(NULL, 0) == NULL);
  CHECK(sllm_model_hidden_size(NULL) == 0 && !sllm_cancel_is_set(NULL));
  CHECK(sllm_logits_count(NULL) == 0 && isnan(sllm_logits_value(NULL, 0)));
  CHECK(sllm_logits_id(NULL, 0) == UINT32_MAX);
  CHECK(!sllm_logits_set(NULL, 0, 0));
  sllm_cancel(NULL);
  sllm_buffer_free(NULL);
  sllm_texts_free(NULL);
  sllm_cancel_free(NULL);
  sllm_load_options_free(NULL);
  sllm_options_free(NULL);
  sllm_model_free(NULL);
  sllm_session_free(NULL);
}
