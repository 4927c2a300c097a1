/*
 * sllm_ort: runs sentence-level language models on ONNX Runtime.
 *
 * This file is generated from bindings/c/src. How to build and link, and an
 * example: docs/c.md.
 *
 * Rules of all functions
 *
 * Status. A function that can fail returns SllmStatus. Then sllm_last_error()
 * says what failed; it belongs to the calling thread. A comment names the
 * likely codes without their prefix SLLM_STATUS_. Each function that takes a
 * pointer may return NULL_POINTER, each that takes a string INVALID_UTF8, each
 * that takes a session BUSY. After an error, results are not written,
 * unless the comment says otherwise; a handle that was to be made is NULL.
 *
 * Pointers. NULL is an error unless the comment allows it. An array of no
 * elements may be NULL. Other pointers must be valid: of the type declared,
 * aligned, and for arrays of the length given in brackets.
 *
 * Strings. UTF-8, ended by a NUL; paths too.
 *
 * Ownership. What a function returns through `out` is freed by the caller, once,
 * with the _free function of its type. Arguments are copied, or used during the
 * call only, unless the comment says otherwise. Handles may be freed in any
 * order, but not while a call uses them.
 *
 * Threads. The comment of each handle says which threads may use it. There is no
 * global state but ONNX Runtime, of which a process loads one.
 *
 * Signals. sllm_cancel is the only function that a signal handler may call.
 */


#ifndef SLLM_ORT_H
#define SLLM_ORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Major version of this header.
 */
#define SLLM_VERSION_MAJOR 0

/**
 * Minor version of this header.
 */
#define SLLM_VERSION_MINOR 2

/**
 * Patch version of this header.
 */
#define SLLM_VERSION_PATCH 0

/**
 * What a function returns.
 */
typedef enum {
  /**
   * Success.
   */
  SLLM_STATUS_OK = 0,
  /**
   * A file could not be read or written.
   */
  SLLM_STATUS_IO = 1,
  /**
   * An argument, option or text is not allowed.
   */
  SLLM_STATUS_INVALID_INPUT = 2,
  /**
   * Text or context is longer than the model or the library allows.
   */
  SLLM_STATUS_TOO_LONG = 3,
  /**
   * A bundle, a snapshot or another file is missing or damaged, or of another version.
   */
  SLLM_STATUS_INVALID_FILE = 4,
  /**
   * The model's kind or variant does not support this.
   */
  SLLM_STATUS_UNSUPPORTED = 5,
  /**
   * ONNX Runtime or an execution provider is missing, or does not start.
   */
  SLLM_STATUS_RUNTIME = 6,
  /**
   * A graph failed, or its output is invalid.
   */
  SLLM_STATUS_MODEL = 7,
  /**
   * The work was cancelled.
   */
  SLLM_STATUS_CANCELLED = 8,
  /**
   * A pointer that must not be NULL is NULL.
   */
  SLLM_STATUS_NULL_POINTER = 9,
  /**
   * A string is not UTF-8.
   */
  SLLM_STATUS_INVALID_UTF8 = 10,
  /**
   * The session is in use: by another thread, or by the call whose callback this is.
   */
  SLLM_STATUS_BUSY = 11,
  /**
   * The library has a bug. The handles of the call can still be used and freed.
   */
  SLLM_STATUS_INTERNAL = 12,
  /**
   * An error of a kind that this version has no code for.
   */
  SLLM_STATUS_OTHER = 13,
} SllmStatus;

/**
 * Why a generation ended.
 */
typedef enum {
  /**
   * The generation ended with an error.
   */
  SLLM_FINISH_REASON_ERROR = 0,
  /**
   * The model predicted the end of the text.
   */
  SLLM_FINISH_REASON_STOP = 1,
  /**
   * The number of sentences asked for is reached.
   */
  SLLM_FINISH_REASON_MAX_SENTENCES = 2,
  /**
   * The number of tokens asked for is reached.
   */
  SLLM_FINISH_REASON_MAX_TOKENS = 3,
  /**
   * The context is full.
   */
  SLLM_FINISH_REASON_CONTEXT_FULL = 4,
  /**
   * A stop text was generated.
   */
  SLLM_FINISH_REASON_STOP_TEXT = 5,
  /**
   * A handle was cancelled, or a callback returned nonzero.
   */
  SLLM_FINISH_REASON_CANCELLED = 6,
  /**
   * The time limit has passed.
   */
  SLLM_FINISH_REASON_TIME_LIMIT = 7,
  /**
   * A reason that this version has no code for.
   */
  SLLM_FINISH_REASON_OTHER = 8,
} SllmFinishReason;

/**
 * Bytes that a function has returned; a NUL follows them.
 *
 * Threads: immutable, may be used by several threads at once.
 */
typedef struct SllmBuffer SllmBuffer;

/**
 * Cancels generations and calls of sllm_session_append.
 *
 * Threads: may be used by several threads at once.
 */
typedef struct SllmCancel SllmCancel;

/**
 * How a model is loaded.
 *
 * Threads: used by one thread at a time. Several sllm_model_load may read
 * it at once.
 */
typedef struct SllmLoadOptions SllmLoadOptions;

/**
 * Logits of the next token: of the whole vocabulary, or of the best tokens.
 *
 * Threads: used by the thread that runs the hook, until the hook returns.
 */
typedef struct SllmLogits SllmLogits;

/**
 * A loaded model.
 *
 * Threads: immutable, may be used by several threads at once. It may be
 * freed before its sessions: they keep what they need of it.
 */
typedef struct SllmModel SllmModel;

/**
 * How a context is continued. Options not set have the bundle's values.
 *
 * Threads: changed by one thread while no other uses it. Several
 * generations may read it at once.
 */
typedef struct SllmOptions SllmOptions;

/**
 * A context that grows: a prompt and generated sentences.
 *
 * Threads: used by one thread at a time, by any. A use while another call
 * uses it, also from a callback of that call, returns BUSY.
 */
typedef struct SllmSession SllmSession;

/**
 * Texts that a function has returned.
 *
 * Threads: immutable, may be used by several threads at once.
 */
typedef struct SllmTexts SllmTexts;

/**
 * A text of a list.
 */
typedef struct {
  /**
   * UTF-8, ended by a NUL.
   */
  const char *text;
  /**
   * Bytes of text, without the NUL.
   */
  size_t length;
  /**
   * Token ids [token_count]; NULL where the function gives none.
   */
  const uint32_t *token_ids;
  /**
   * Number of token ids.
   */
  size_t token_count;
  /**
   * Whether the token ids are only the beginning of the text.
   */
  bool truncated;
} SllmText;

/**
 * Changes the logits of the next token before it is chosen.
 *
 * token_ids: the output tokens [token_count] of the sentence so far; NULL
 * if there are none.
 * logits: may be masked with negative infinity and changed, but not become
 * NaN or positive infinity, and not all be masked: that ends the generation
 * with INVALID_INPUT.
 */
typedef void (*SllmLogitsHook)(const uint32_t *token_ids,
                               size_t token_count,
                               SllmLogits *logits,
                               void *user);

/**
 * What sllm_session_append added to the context.
 */
typedef struct {
  /**
   * Sentences that were added to the context.
   */
  size_t sentences;
  /**
   * How many of them were truncated by the bundle's segmentation.
   */
  size_t truncated;
  /**
   * Bytes at the end of the text that the bundle's segmentation dropped.
   */
  size_t dropped_bytes;
} SllmAppended;

/**
 * How much a session holds.
 */
typedef struct {
  /**
   * Sentences of the context.
   */
  size_t sentences;
  /**
   * Tokens of the context, bos included.
   */
  size_t tokens;
  /**
   * How many more sentences (in kind "opt" tokens) the context can hold.
   */
  size_t remaining;
  /**
   * Memory of the KV cache, in bytes.
   */
  size_t memory_bytes;
} SllmSessionSize;

/**
 * A generated sentence. It is valid until the callback returns.
 */
typedef struct {
  /**
   * Index of its session in the batch; 0 if there is one session.
   */
  size_t row;
  /**
   * Its index within this generation, from 0.
   */
  size_t index;
  /**
   * Its text with the white space that ends it: UTF-8, ended by a NUL.
   */
  const char *text;
  /**
   * Bytes of text, without the NUL.
   */
  size_t length;
  /**
   * Output tokens [token_count]: without bos, with eos if generated.
   */
  const uint32_t *token_ids;
  /**
   * Number of output tokens.
   */
  size_t token_count;
  /**
   * Log-probability of each output token [token_count]; NULL unless
   * sllm_options_set_log_probabilities asked for it.
   */
  const float *log_probabilities;
  /**
   * Probability, before this sentence, that the text is over: 0 to 1.
   */
  float stop_probability;
} SllmSentence;

/**
 * Gets each sentence when it is complete and part of the context.
 *
 * A nonzero return value ends the generation of this session, with
 * CANCELLED as finish reason and OK as status, and no callback of the
 * session is called again. It must not unwind (C++ exceptions, longjmp).
 */
typedef int (*SllmSentenceCallback)(const SllmSentence *sentence, void *user);

/**
 * Gets each piece of text as it is decoded, in whole characters.
 *
 * row: index of its session in the batch; 0 if there is one session.
 * text: UTF-8 of length bytes, ended by a NUL; valid until it returns.
 *
 * A nonzero return value ends the generation of this session as that of
 * SllmSentenceCallback does. The sentence that is not complete is dropped.
 */
typedef int (*SllmTextCallback)(size_t row,
                                const char *text,
                                size_t length,
                                void *user);

/**
 * The result of the generation of a session.
 */
typedef struct {
  /**
   * OK, or why it failed.
   */
  SllmStatus status;
  /**
   * Why the generation ended.
   */
  SllmFinishReason finish_reason;
  /**
   * Sentences that were generated.
   */
  size_t sentences;
  /**
   * Output tokens, ends of sentences included.
   */
  size_t tokens;
  /**
   * The seed: that of the options, or a random one.
   */
  uint64_t seed;
} SllmResult;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Version of the library, such as "0.2.0".
 *
 * A static string. While the major version is 0, a program works with the
 * minor version that it was compiled with.
 */
const char *sllm_version(void);

/**
 * Load ONNX Runtime, as the first sllm_model_load does.
 *
 * path: the library or its folder; NULL to search it (docs/c.md). A
 * process uses one library.
 *
 * Errors: RUNTIME if none can be loaded, or if another one is loaded.
 */
SllmStatus sllm_load_onnxruntime(const char *path);

/**
 * Describe the loaded ONNX Runtime as JSON: path, version, build.
 *
 * out: a buffer to free with sllm_buffer_free.
 *
 * Errors: RUNTIME if none is loaded yet.
 */
SllmStatus sllm_onnxruntime_info(SllmBuffer **out);

/**
 * Message of the last call that failed on this thread, "" if none has.
 *
 * UTF-8, one line. It stays valid until the next call fails on this
 * thread, or the thread ends.
 */
const char *sllm_last_error(void);

/**
 * Name of a status, such as "invalid_input"; "unknown" for another number.
 *
 * A static string.
 */
const char *sllm_status_name(int32_t status);

/**
 * The bytes, which stay valid until the buffer is freed; NULL for NULL.
 *
 * For text: UTF-8, ended by a NUL.
 */
const char *sllm_buffer_data(const SllmBuffer *buffer);

/**
 * Number of bytes, without the NUL; 0 for NULL.
 */
size_t sllm_buffer_length(const SllmBuffer *buffer);

/**
 * Free a buffer. NULL is allowed.
 */
void sllm_buffer_free(SllmBuffer *buffer);

/**
 * Number of texts; 0 for NULL.
 */
size_t sllm_texts_count(const SllmTexts *texts);

/**
 * The text with this index, which stays valid until the list is freed.
 *
 * NULL if there is none.
 */
const SllmText *sllm_texts_get(const SllmTexts *texts, size_t index);

/**
 * Free a list of texts. NULL is allowed.
 */
void sllm_texts_free(SllmTexts *texts);

/**
 * Make a handle that is not cancelled.
 */
SllmStatus sllm_cancel_new(SllmCancel **out);

/**
 * Cancel all present and later work that uses this handle. NULL is allowed.
 *
 * A generation ends after its current graph run. May be called from any
 * thread, and in a signal handler: it stores one atomic flag.
 */
void sllm_cancel(const SllmCancel *cancel);

/**
 * Whether the handle was cancelled; false for NULL.
 */
bool sllm_cancel_is_set(const SllmCancel *cancel);

/**
 * Free a handle. NULL is allowed.
 *
 * Options and calls that were given it keep what they need of it.
 */
void sllm_cancel_free(SllmCancel *cancel);

/**
 * Make options with default values.
 */
SllmStatus sllm_load_options_new(SllmLoadOptions **out);

/**
 * Set the execution provider: "auto" (default), "cpu", "cuda" and so on.
 *
 * Errors: INVALID_INPUT for another name.
 */
SllmStatus sllm_load_options_set_provider(SllmLoadOptions *options,
                                          const char *provider);

/**
 * Set the variant of the bundle; default: the first one for the provider.
 */
SllmStatus sllm_load_options_set_variant(SllmLoadOptions *options,
                                         const char *variant);

/**
 * Set the threads that work on one graph, 1 to 1024.
 *
 * Default: 1 for a model narrower than 512, else all processors up to 4.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_load_options_set_threads(SllmLoadOptions *options,
                                         size_t threads);

/**
 * Set the maximum number of runs of a graph at the same time, 1 to 64.
 *
 * For threads that share a model. The runs share the weights that
 * the library's own kernels use; each has its own copy of the others.
 * The number is capped so that each run has processors for all of its threads.
 * Default: 1.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_load_options_set_parallel_runs(SllmLoadOptions *options,
                                               size_t runs);

/**
 * Set how long an idle thread spins before it sleeps, in seconds: 0 to 1.
 *
 * Default: 0.0002.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_load_options_set_spinning(SllmLoadOptions *options,
                                          double spinning);

/**
 * Set the number of the GPU, 0 to 1023. For CUDA and TensorRT.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_load_options_set_device(SllmLoadOptions *options,
                                        uint32_t device);

/**
 * Set the limit of GPU memory for each graph, in bytes, at least 1 MiB.
 *
 * For CUDA.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_load_options_set_memory_limit(SllmLoadOptions *options,
                                              size_t bytes);

/**
 * Set the directory that caches the engines of TensorRT.
 *
 * Errors: INVALID_INPUT for what is not a directory.
 */
SllmStatus sllm_load_options_set_engine_cache(SllmLoadOptions *options,
                                              const char *directory);

/**
 * Set the ONNX Runtime library or its folder, instead of searching for it.
 */
SllmStatus sllm_load_options_set_onnxruntime(SllmLoadOptions *options,
                                             const char *library);

/**
 * Free options. NULL is allowed.
 */
void sllm_load_options_free(SllmLoadOptions *options);

/**
 * Load the bundle in a directory.
 *
 * options: NULL for default values. It may be freed after the call.
 * out: a model to free with sllm_model_free.
 *
 * Errors: INVALID_FILE for a bundle that is missing or damaged, UNSUPPORTED
 * for an unknown variant, RUNTIME if ONNX Runtime or the provider does not
 * start, MODEL if a graph cannot be loaded, IO.
 */
SllmStatus sllm_model_load(const char *directory,
                           const SllmLoadOptions *options,
                           SllmModel **out);

/**
 * Free a model. NULL is allowed.
 */
void sllm_model_free(SllmModel *model);

/**
 * Describe a model as JSON.
 *
 * The keys: name, kind ("sllm", "svae" or "opt"), path, variant, provider,
 * threads, hidden_size, vocab_size, max_sentences, max_sentence_tokens,
 * fingerprint, generation (the default options), warnings (from loading),
 * onnxruntime (path, version, build).
 *
 * out: a buffer to free with sllm_buffer_free.
 */
SllmStatus sllm_model_info(const SllmModel *model, SllmBuffer **out);

/**
 * Length of a sentence vector; 0 for NULL.
 */
size_t sllm_model_hidden_size(const SllmModel *model);

/**
 * Encode texts, each as one sentence, to vectors.
 *
 * texts: strings [count].
 * vectors: memory for float [count, hidden_size], which the caller owns.
 * After an error its content is unspecified.
 * capacity: how many floats vectors has room for.
 * truncated: gets how many texts were cut short, which only bundles whose
 * segmentation truncates do; NULL is allowed.
 *
 * Errors: TOO_LONG for a text that does not fit one sentence, INVALID_INPUT
 * if capacity is too small, UNSUPPORTED for a model of kind "opt", MODEL.
 */
SllmStatus sllm_model_encode(const SllmModel *model,
                             const char *const *texts,
                             size_t count,
                             float *vectors,
                             size_t capacity,
                             size_t *truncated);

/**
 * Decode sentence vectors greedily to texts, with token ids.
 *
 * vectors: float [count, hidden_size].
 * out: a list of count texts to free with sllm_texts_free. Token ids are
 * without bos, and with eos if it was generated.
 *
 * Errors: INVALID_INPUT for NaN or infinity, UNSUPPORTED for a model of
 * kind "opt", MODEL.
 */
SllmStatus sllm_model_decode(const SllmModel *model,
                             const float *vectors,
                             size_t count,
                             SllmTexts **out);

/**
 * Encode texts, each as one sentence, and decode their vectors again.
 *
 * texts: strings [count].
 * exact: memory for bool [count], gets whether the token ids of each text were
 * reconstructed; NULL is allowed.
 * out: a list of the decoded texts, with the output tokens.
 *
 * Errors: INVALID_INPUT for an empty text, else as sllm_model_encode.
 */
SllmStatus sllm_model_reconstruct(const SllmModel *model,
                                  const char *const *texts,
                                  size_t count,
                                  bool *exact,
                                  SllmTexts **out);

/**
 * Compute the cosine similarity of two texts' vectors: -1 to 1.
 *
 * Errors: as sllm_model_encode.
 */
SllmStatus sllm_model_similarity(const SllmModel *model,
                                 const char *one,
                                 const char *other,
                                 float *similarity);

/**
 * Decode equally spaced vectors between those of two texts, ends included.
 *
 * steps: how many, 2 to 1024.
 * out: a list of steps texts to free with sllm_texts_free.
 *
 * Errors: INVALID_INPUT for steps, else as sllm_model_encode.
 */
SllmStatus sllm_model_interpolate(const SllmModel *model,
                                  const char *start,
                                  const char *end,
                                  size_t steps,
                                  SllmTexts **out);

/**
 * Cut a text into sentences as the model takes them, with token ids.
 *
 * out: a list to free with sllm_texts_free. Token ids are without bos and
 * eos.
 *
 * Errors: TOO_LONG for a text of more than 64 MiB, INVALID_INPUT for a
 * character that the tokenizer does not know.
 */
SllmStatus sllm_model_segment(const SllmModel *model,
                              const char *text,
                              SllmTexts **out);

/**
 * Number of logits; 0 for NULL.
 */
size_t sllm_logits_count(const SllmLogits *logits);

/**
 * Token id of the logit with this index; UINT32_MAX if there is none.
 */
uint32_t sllm_logits_id(const SllmLogits *logits, size_t index);

/**
 * Value of the logit with this index; NaN if there is none.
 */
float sllm_logits_value(const SllmLogits *logits, size_t index);

/**
 * Set the logit of a token. Returns false if the token is not among them.
 */
bool sllm_logits_set(SllmLogits *logits, uint32_t token_id, float logit);

/**
 * Make options with default values.
 */
SllmStatus sllm_options_new(SllmOptions **out);

/**
 * Set the maximum number of new sentences; default: 16.
 */
SllmStatus sllm_options_set_max_sentences(SllmOptions *options,
                                          size_t max_sentences);

/**
 * Set the maximum number of output tokens, ends of sentences included.
 *
 * The sentence that reaches the limit is cut there. Default: no limit.
 */
SllmStatus sllm_options_set_max_tokens(SllmOptions *options, size_t max_tokens);

/**
 * Set the temperature, 0 to 100; 0 is greedy.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_temperature(SllmOptions *options,
                                        float temperature);

/**
 * Set the scale of classifier-free guidance, 1 (none) to 10.
 *
 * Above 1, sentences keep closer to the context, and each is decoded twice.
 * Only in kind "sllm", for models that are trained for it.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_guidance_scale(SllmOptions *options,
                                           float guidance_scale);

/**
 * Sample from the top_k best tokens only; 1 or more.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_top_k(SllmOptions *options, size_t top_k);

/**
 * Sample from the fewest best tokens whose total probability reaches top_p;
 * above 0 to 1 (all).
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_top_p(SllmOptions *options, float top_p);

/**
 * Sample only from tokens with at least min_p times the best one's
 * probability; 0 (all) to 1.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_min_p(SllmOptions *options, float min_p);

/**
 * Set the repetition penalty on the last 64 tokens, 1 (none) to 10.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_repetition_penalty(SllmOptions *options,
                                               float repetition_penalty);

/**
 * Set the multiplier of DRY, a penalty on repeated sequences; 0 (none) to 10.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_dry_multiplier(SllmOptions *options,
                                           float dry_multiplier);

/**
 * Set the base of DRY: the penalty's growth factor per token, 1 to 10.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_dry_base(SllmOptions *options, float dry_base);

/**
 * Set the shortest sequence that DRY penalizes, 1 to 50 tokens.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_dry_allowed_length(SllmOptions *options,
                                               size_t dry_allowed_length);

/**
 * Never repeat a sequence of this many tokens; 1 or more.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_no_repeat_ngram(SllmOptions *options,
                                            size_t no_repeat_ngram);

/**
 * Set the seed of the first session; each later one has the next number.
 *
 * Default: a new random seed each time; SllmResult has it.
 */
SllmStatus sllm_options_set_seed(SllmOptions *options, uint64_t seed);

/**
 * Add a stop text, before which a generation ends; at most 16.
 *
 * The text that is given out while a sentence is decoded has no part of it. A
 * sentence that was given out before it was complete stays whole.
 *
 * Errors: INVALID_INPUT for an empty text, and for one too many.
 */
SllmStatus sllm_options_add_stop(SllmOptions *options, const char *stop);

/**
 * Decode each sentence best_of times and keep the likeliest; 1 to 256.
 *
 * Its text is emitted once it is chosen. Above 1, the temperature must be
 * above 0. Default: 1.
 *
 * Errors: INVALID_INPUT.
 */
SllmStatus sllm_options_set_best_of(SllmOptions *options, size_t best_of);

/**
 * Ignore a predicted end of the text, and continue; default: false.
 */
SllmStatus sllm_options_set_ignore_eos(SllmOptions *options, bool ignore_eos);

/**
 * Do not repeat a whole sentence of the context.
 *
 * Default: as the bundle says, else true above temperature 0.
 */
SllmStatus sllm_options_set_avoid_repeats(SllmOptions *options,
                                          bool avoid_repeats);

/**
 * End a generation after this time, in seconds; default: no limit.
 *
 * The unfinished sentence is dropped.
 *
 * Errors: INVALID_INPUT for a negative number, NaN or infinity.
 */
SllmStatus sllm_options_set_time_limit(SllmOptions *options, double time_limit);

/**
 * Set what to do when the context is full: "stop" (default) or "drop_oldest".
 *
 * "drop_oldest" drops the oldest quarter of the sentences.
 *
 * Errors: INVALID_INPUT for another name.
 */
SllmStatus sllm_options_set_overflow(SllmOptions *options,
                                     const char *overflow);

/**
 * Compute the log-probability of each output token; default: false.
 */
SllmStatus sllm_options_set_log_probabilities(SllmOptions *options,
                                              bool log_probabilities);

/**
 * End generations when this handle is cancelled; NULL for none.
 *
 * The handle may be freed before the options.
 */
SllmStatus sllm_options_set_cancel(SllmOptions *options,
                                   const SllmCancel *cancel);

/**
 * Set a function that changes logits before each token is chosen.
 *
 * It is called by each thread that generates with these options, with
 * user. Both must stay valid while the options, or a generation with them,
 * are in use.
 *
 * hook: not NULL.
 */
SllmStatus sllm_options_set_logits_hook(SllmOptions *options,
                                        SllmLogitsHook hook,
                                        void *user);

/**
 * Free options. NULL is allowed.
 */
void sllm_options_free(SllmOptions *options);

/**
 * Make a session with an empty context.
 *
 * out: a session to free with sllm_session_free.
 *
 * Errors: UNSUPPORTED for a model of kind "svae".
 */
SllmStatus sllm_session_new(const SllmModel *model, SllmSession **out);

/**
 * Free a session. NULL is allowed; a session in use is not.
 */
void sllm_session_free(SllmSession *session);

/**
 * Cut a text into sentences and append them.
 *
 * The end of the text ends a sentence.
 *
 * cancel: stops the call when cancelled; NULL for none.
 * appended: gets what was appended; NULL is allowed.
 *
 * Errors: TOO_LONG if the text does not fit, CANCELLED, INVALID_INPUT,
 * MODEL. The context is then as it was before.
 */
SllmStatus sllm_session_append(SllmSession *session,
                               const char *text,
                               const SllmCancel *cancel,
                               SllmAppended *appended);

/**
 * Make a separate session with the same context.
 *
 * out: a session to free with sllm_session_free.
 */
SllmStatus sllm_session_fork(const SllmSession *session, SllmSession **out);

/**
 * Remove the last sentences, or all if there are fewer.
 */
SllmStatus sllm_session_rewind(SllmSession *session, size_t sentences);

/**
 * Remove the first sentences, or all if there are fewer.
 */
SllmStatus sllm_session_drop_oldest(SllmSession *session, size_t sentences);

/**
 * Remove the whole context, and release its memory.
 */
SllmStatus sllm_session_clear(SllmSession *session);

/**
 * Get the text of the context: all that was appended and generated.
 *
 * out: a buffer to free with sllm_buffer_free.
 */
SllmStatus sllm_session_text(const SllmSession *session, SllmBuffer **out);

/**
 * Get the texts of the sentences of the context, without token ids.
 *
 * out: a list to free with sllm_texts_free.
 */
SllmStatus sllm_session_sentences(const SllmSession *session, SllmTexts **out);

/**
 * Get how much a session holds.
 */
SllmStatus sllm_session_size(const SllmSession *session, SllmSessionSize *size);

/**
 * Write a snapshot of a session to a file, whole or not at all.
 *
 * Errors: IO.
 */
SllmStatus sllm_session_save(const SllmSession *session, const char *path);

/**
 * Restore a session from a file that sllm_session_save wrote.
 *
 * out: a session to free with sllm_session_free.
 *
 * Errors: INVALID_FILE if it is no snapshot or of another model, IO.
 */
SllmStatus sllm_session_load(const SllmModel *model,
                             const char *path,
                             SllmSession **out);

/**
 * Get a snapshot of a session as bytes.
 *
 * out: a buffer to free with sllm_buffer_free.
 */
SllmStatus sllm_session_to_bytes(const SllmSession *session, SllmBuffer **out);

/**
 * Restore a session from the bytes that sllm_session_to_bytes returned.
 *
 * data: bytes [length].
 * out: a session to free with sllm_session_free.
 *
 * Errors: INVALID_FILE if it is no snapshot or of another model.
 */
SllmStatus sllm_session_from_bytes(const SllmModel *model,
                                   const char *data,
                                   size_t length,
                                   SllmSession **out);

/**
 * Continue the context of a session.
 *
 * Each sentence is part of the context when on_sentence gets it. After an
 * error the session holds the sentences that were complete.
 *
 * options: NULL for default values.
 * on_sentence, on_text: called on this thread; NULL is allowed.
 * user: given to the callbacks.
 * result: gets the result, also if the generation fails after it began; NULL
 * is allowed.
 *
 * Errors: INVALID_INPUT for an empty context, and for an option that the
 * model's kind does not have; BUSY, MODEL. A generation that is cancelled
 * is no error.
 */
SllmStatus sllm_session_generate(SllmSession *session,
                                 const SllmOptions *options,
                                 SllmSentenceCallback on_sentence,
                                 SllmTextCallback on_text,
                                 void *user,
                                 SllmResult *result);

/**
 * Continue several sessions of one model in the same runs of the graphs.
 *
 * The first session has the seed of the options, each later one the next
 * number. A session that fails ends alone; the others continue.
 *
 * sessions: [count], each one once.
 * results: memory for SllmResult [count]; NULL is allowed. They are written
 * unless no session was continued.
 *
 * Returns the error of the first session that failed. Before any session is
 * continued: BUSY if one is in use or given twice. A session of another
 * model fails with INVALID_INPUT. Other arguments are as in
 * sllm_session_generate.
 */
SllmStatus sllm_generate_batch(SllmSession *const *sessions,
                               size_t count,
                               const SllmOptions *options,
                               SllmSentenceCallback on_sentence,
                               SllmTextCallback on_text,
                               void *user,
                               SllmResult *results);

/**
 * Name of a finish reason, such as "max_sentences".
 *
 * A static string; "unknown" for another number.
 */
const char *sllm_finish_reason_name(int32_t finish_reason);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SLLM_ORT_H */
