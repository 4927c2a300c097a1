/* Each status.
 *
 * INTERNAL is provoked by a test in Rust. OTHER is for errors of a later
 * version of the library.
 */
#include "suite.h"

#include <math.h>

static void runtime(void) {
  SllmBuffer *info = NULL;
  FAILS(sllm_onnxruntime_info(&info), SLLM_STATUS_RUNTIME, "is not loaded");
  CHECK(info == NULL);
  FAILS(sllm_load_onnxruntime("/nowhere/libonnxruntime.so"),
        SLLM_STATUS_RUNTIME, "/nowhere");
  OK(sllm_load_onnxruntime(NULL));
  OK(sllm_load_onnxruntime(NULL));
  FAILS(sllm_load_onnxruntime("/nowhere/libonnxruntime.so"),
        SLLM_STATUS_RUNTIME, "/nowhere");
}

static void loading(const char *bundle, const char *swapped) {
  /* Not NULL, so that it shows that a failure makes it so. */
  SllmModel *model = (SllmModel *)&model;
  FAILS(sllm_model_load("/nowhere", NULL, &model), SLLM_STATUS_INVALID_FILE,
        "/nowhere");
  CHECK(model == NULL);
  FAILS(sllm_model_load(swapped, NULL, &model), SLLM_STATUS_MODEL,
        "decoder.onnx");
  FAILS(sllm_model_load("a\xff", NULL, &model), SLLM_STATUS_INVALID_UTF8,
        "directory is not UTF-8 at byte 1");
  SllmLoadOptions *options = NULL;
  OK(sllm_load_options_new(&options));
  FAILS(sllm_load_options_set_provider(options, "abacus"),
        SLLM_STATUS_INVALID_INPUT, "abacus");
  FAILS(sllm_load_options_set_threads(options, 0), SLLM_STATUS_INVALID_INPUT,
        "threads is 0");
  FAILS(sllm_load_options_set_parallel_runs(options, 65),
        SLLM_STATUS_INVALID_INPUT, "parallel_runs is 65");
  FAILS(sllm_load_options_set_spinning(options, -1), SLLM_STATUS_INVALID_INPUT,
        "spinning is -1");
  FAILS(sllm_load_options_set_spinning(options, 2), SLLM_STATUS_INVALID_INPUT,
        "spinning");
  FAILS(sllm_load_options_set_device(options, 5000), SLLM_STATUS_INVALID_INPUT,
        "device is 5000");
  FAILS(sllm_load_options_set_memory_limit(options, 1),
        SLLM_STATUS_INVALID_INPUT, "memory_limit is 1");
  FAILS(sllm_load_options_set_engine_cache(options, ""),
        SLLM_STATUS_INVALID_INPUT, "engine_cache");
  OK(sllm_load_options_set_variant(options, "quick"));
  FAILS(sllm_model_load(bundle, options, &model), SLLM_STATUS_UNSUPPORTED,
        "quick");
  OK(sllm_load_options_set_onnxruntime(options, "/nowhere/other.so"));
  FAILS(sllm_model_load(bundle, options, &model), SLLM_STATUS_RUNTIME,
        "/nowhere/other.so");
  sllm_load_options_free(options);
}

static void kinds(const char *opt_bundle, const char *svae_bundle) {
  SllmModel *opt = load(opt_bundle), *svae = load(svae_bundle);
  SllmSession *session = NULL;
  FAILS(sllm_session_new(svae, &session), SLLM_STATUS_UNSUPPORTED, "svae");
  const char *text = "hello world. ";
  float number = 0;
  SllmTexts *texts = NULL;
  FAILS(sllm_model_encode(opt, NULL, 0, NULL, 0, NULL),
        SLLM_STATUS_UNSUPPORTED, "opt");
  FAILS(sllm_model_decode(opt, NULL, 0, &texts), SLLM_STATUS_UNSUPPORTED,
        "opt");
  FAILS(sllm_model_similarity(opt, text, text, &number),
        SLLM_STATUS_UNSUPPORTED, "opt");
  session = prompted(opt, PROMPT);
  SllmOptions *options = greedy(2);
  OK(sllm_session_generate(session, options, NULL, NULL, NULL, NULL));
  OK(sllm_options_set_best_of(options, 2));
  FAILS(sllm_session_generate(session, options, NULL, NULL, NULL, NULL),
        SLLM_STATUS_INVALID_INPUT, "best_of is 2");
  sllm_options_free(options);
  sllm_session_free(session);
  sllm_model_free(svae);
  sllm_model_free(opt);
}

static void options_out_of_range(void) {
  SllmOptions *o = NULL;
  OK(sllm_options_new(&o));
  const SllmStatus refused = SLLM_STATUS_INVALID_INPUT;
  FAILS(sllm_options_set_temperature(o, -1), refused, "temperature is -1");
  FAILS(sllm_options_set_temperature(o, NAN), refused, "temperature is NaN");
  FAILS(sllm_options_set_top_k(o, 0), refused, "top_k is 0");
  FAILS(sllm_options_set_top_p(o, 0), refused, "top_p is 0");
  FAILS(sllm_options_set_min_p(o, 2), refused, "min_p is 2");
  FAILS(sllm_options_set_guidance_scale(o, 0.5f), refused,
        "guidance_scale is 0.5");
  FAILS(sllm_options_set_repetition_penalty(o, 0.5f), refused,
        "repetition_penalty is 0.5");
  FAILS(sllm_options_set_dry_multiplier(o, -1), refused,
        "dry_multiplier is -1");
  FAILS(sllm_options_set_dry_base(o, 0.5f), refused, "dry_base is 0.5");
  FAILS(sllm_options_set_dry_allowed_length(o, 0), refused,
        "dry_allowed_length is 0");
  FAILS(sllm_options_set_no_repeat_ngram(o, 0), refused,
        "no_repeat_ngram is 0");
  FAILS(sllm_options_set_best_of(o, 0), refused, "best_of is 0");
  FAILS(sllm_options_set_time_limit(o, -1), refused, "time_limit is -1");
  FAILS(sllm_options_set_time_limit(o, INFINITY), refused, "time_limit");
  FAILS(sllm_options_set_overflow(o, "burst"), refused, "overflow is \"burst\"");
  FAILS(sllm_options_add_stop(o, ""), refused, "stop is");
  FAILS(sllm_options_add_stop(o, "\xc3"), SLLM_STATUS_INVALID_UTF8, "byte 0");
  for (int i = 0; i < 16; i++) {
    OK(sllm_options_add_stop(o, "x"));
  }
  FAILS(sllm_options_add_stop(o, "y"), refused, "16");
  sllm_options_free(o);
}

static int use_again(const SllmSentence *sentence, void *user) {
  SllmSession *session = user;
  (void)sentence;
  FAILS(sllm_session_append(session, PROMPT, NULL, NULL), SLLM_STATUS_BUSY,
        "in use");
  FAILS(sllm_session_generate(session, NULL, NULL, NULL, NULL, NULL),
        SLLM_STATUS_BUSY, "in use");
  return 0;
}

static void sessions(const SllmModel *model, const SllmModel *other) {
  SllmSession *session = NULL, *none = NULL;
  OK(sllm_session_new(model, &session));
  SllmOptions *options = greedy(2);
  SllmResult result;
  FAILS(sllm_session_generate(session, options, NULL, NULL, NULL, &result),
        SLLM_STATUS_INVALID_INPUT, "");
  CHECK(result.status == SLLM_STATUS_INVALID_INPUT);
  CHECK(result.finish_reason == SLLM_FINISH_REASON_ERROR);
  OK(sllm_session_append(session, PROMPT, NULL, NULL));
  OK(sllm_session_generate(session, options, use_again, NULL, session, NULL));

  char *text = malloc(40 * 10001);
  CHECK(text != NULL);
  text[0] = 0;
  for (char *end = text; end < text + 40 * 10000;) {
    end += sprintf(end, "%s", "hello world. ");
  }
  FAILS(sllm_session_append(session, text, NULL, NULL), SLLM_STATUS_TOO_LONG,
        "");
  free(text);

  FAILS(sllm_session_save(session, "/nowhere/session"), SLLM_STATUS_IO,
        "/nowhere/session");
  FAILS(sllm_session_load(model, "/nowhere/session", &none), SLLM_STATUS_IO,
        "/nowhere/session");
  FAILS(sllm_session_from_bytes(model, "no", 2, &none),
        SLLM_STATUS_INVALID_FILE, "");
  FAILS(sllm_session_from_bytes(model, NULL, 2, &none),
        SLLM_STATUS_NULL_POINTER, "data is NULL");
  SllmBuffer *bytes = NULL;
  OK(sllm_session_to_bytes(session, &bytes));
  FAILS(sllm_session_from_bytes(other, sllm_buffer_data(bytes),
                                sllm_buffer_length(bytes), &none),
        SLLM_STATUS_INVALID_FILE, "");
  sllm_buffer_free(bytes);
  CHECK(none == NULL);

  SllmSession *mixed[2] = {session, prompted(other, PROMPT)};
  SllmResult results[2];
  FAILS(sllm_generate_batch(mixed, 2, options, NULL, NULL, NULL, results),
        SLLM_STATUS_INVALID_INPUT, "session 1 of the batch");
  CHECK(results[0].status == SLLM_STATUS_OK && results[0].sentences == 2);
  CHECK(results[1].status == SLLM_STATUS_INVALID_INPUT);
  sllm_session_free(mixed[1]);
  mixed[1] = NULL;
  FAILS(sllm_generate_batch(mixed, 2, options, NULL, NULL, NULL, results),
        SLLM_STATUS_NULL_POINTER, "sessions[1] is NULL");
  sllm_options_free(options);
  sllm_session_free(session);
}

static void vectors(const SllmModel *model) {
  size_t hidden = sllm_model_hidden_size(model);
  const char *texts[2] = {"hello world. ", NULL};
  float *numbers = calloc(hidden, sizeof *numbers);
  CHECK(numbers != NULL);
  FAILS(sllm_model_encode(model, texts, 2, numbers, 2 * hidden, NULL),
        SLLM_STATUS_NULL_POINTER, "texts[1] is NULL");
  FAILS(sllm_model_encode(model, texts, 1, numbers, hidden - 1, NULL),
        SLLM_STATUS_INVALID_INPUT, "capacity");
  FAILS(sllm_model_encode(model, texts, 1, NULL, hidden, NULL),
        SLLM_STATUS_NULL_POINTER, "vectors is NULL");
  texts[1] = "\xff";
  FAILS(sllm_model_encode(model, texts, 2, numbers, 2 * hidden, NULL),
        SLLM_STATUS_INVALID_UTF8, "texts[1]");
  SllmTexts *out = NULL;
  numbers[0] = NAN;
  FAILS(sllm_model_decode(model, numbers, 1, &out), SLLM_STATUS_INVALID_INPUT,
        "");
  FAILS(sllm_model_decode(model, numbers, SIZE_MAX, &out),
        SLLM_STATUS_INVALID_INPUT, "");
  FAILS(sllm_model_interpolate(model, texts[0], texts[0], 1, &out),
        SLLM_STATUS_INVALID_INPUT, "steps is 1");
  texts[1] = "";
  FAILS(sllm_model_reconstruct(model, texts, 2, NULL, &out),
        SLLM_STATUS_INVALID_INPUT, "texts[1]");
  char long_text[4096] = "";
  for (int i = 0; i < 300; i++) {
    strcat(long_text, "hello world ");
  }
  texts[1] = long_text;
  FAILS(sllm_model_encode(model, texts, 2, (float[2 * 4096]){0}, 2 * hidden,
                          NULL),
        SLLM_STATUS_TOO_LONG, "");
  FAILS(sllm_model_reconstruct(model, texts, 2, NULL, &out),
        SLLM_STATUS_TOO_LONG, "texts[1]");
  CHECK(out == NULL);
  free(numbers);
}

void test_errors(const char *bundle, const char *opt_bundle,
                 const char *svae_bundle, const char *swapped) {
  CHECK(strcmp(sllm_last_error(), "") == 0);
  runtime();
  SllmModel *none = NULL;
  CHECK(sllm_model_load("no\nmodel", NULL, &none) != SLLM_STATUS_OK);
  CHECK(strchr(sllm_last_error(), '\n') == NULL);
  loading(bundle, swapped);
  kinds(opt_bundle, svae_bundle);
  options_out_of_range();
  SllmModel *model = load(bundle);
  SllmModel *opt = load(opt_bundle);
  sessions(model, opt);
  vectors(model);
  sllm_model_free(opt);
  sllm_model_free(model);
}
