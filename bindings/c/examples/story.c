/* Tells a story, and turns sentences into vectors and back.
 *
 *   story [--greedy] [--ids] [MODEL [PROMPT]]
 */
#include <sllm_ort.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with the message of the last error. */
static void check(SllmStatus status, const char *what) {
  if (status != SLLM_STATUS_OK) {
    fprintf(stderr, "%s: %s (%s)\n", what, sllm_last_error(),
            sllm_status_name(status));
    exit(1);
  }
}

static int print_text(size_t row, const char *text, size_t length, void *user) {
  (void)row;
  (void)user;
  fwrite(text, 1, length, stdout);
  fflush(stdout);
  return 0; /* anything else ends the generation */
}

static int print_ids(const SllmSentence *sentence, void *user) {
  (void)user;
  for (size_t i = 0; i < sentence->token_count; i++) {
    printf(i == 0 ? "%u" : " %u", sentence->token_ids[i]);
  }
  printf("\n");
  return 0;
}

static void tell(const SllmModel *model, const char *prompt, bool greedy,
                 bool ids) {
  SllmSession *session = NULL;
  check(sllm_session_new(model, &session), "session");
  check(sllm_session_append(session, prompt, NULL, NULL), "append");

  SllmOptions *options = NULL;
  check(sllm_options_new(&options), "options");
  check(sllm_options_set_max_sentences(options, 8), "max_sentences");
  check(greedy ? sllm_options_set_temperature(options, 0)
               : sllm_options_set_seed(options, 1),
        "sampling");

  SllmResult result;
  if (ids) {
    check(sllm_session_generate(session, options, print_ids, NULL, NULL,
                                &result),
          "generate");
  } else {
    printf("%s", prompt);
    check(sllm_session_generate(session, options, NULL, print_text, NULL,
                                &result),
          "generate");
    printf("\n(%zu sentences, %zu tokens, %s)\n", result.sentences,
           result.tokens, sllm_finish_reason_name(result.finish_reason));
  }
  sllm_options_free(options);
  sllm_session_free(session);
}

static void show_vectors(const SllmModel *model) {
  const char *texts[] = {"The fox was happy. ", "The fox was sad. "};
  size_t hidden = sllm_model_hidden_size(model);
  float *vectors = calloc(2 * hidden, sizeof *vectors);
  if (vectors == NULL) {
    fprintf(stderr, "no memory for two vectors\n");
    exit(1);
  }
  check(sllm_model_encode(model, texts, 2, vectors, 2 * hidden, NULL),
        "encode");
  SllmTexts *decoded = NULL;
  check(sllm_model_decode(model, vectors, 2, &decoded), "decode");
  printf("vectors [2, %zu]\n", hidden);
  for (size_t i = 0; i < sllm_texts_count(decoded); i++) {
    printf("%s\n", sllm_texts_get(decoded, i)->text);
  }
  sllm_texts_free(decoded);
  free(vectors);
}

int main(int argc, char **argv) {
  bool greedy = false, ids = false;
  int next = 1;
  for (; next < argc && argv[next][0] == '-'; next++) {
    if (strcmp(argv[next], "--greedy") == 0) {
      greedy = true;
    } else if (strcmp(argv[next], "--ids") == 0) {
      ids = true;
    } else {
      fprintf(stderr, "usage: story [--greedy] [--ids] [MODEL [PROMPT]]\n");
      return 2;
    }
  }
  const char *path = next < argc ? argv[next] : "models/sllm-stories";
  const char *prompt = next + 1 < argc
                           ? argv[next + 1]
                           : "Once upon a time, there was a little fox. ";

  SllmModel *model = NULL;
  check(sllm_model_load(path, NULL, &model), path);
  tell(model, prompt, greedy, ids);
  if (!ids) {
    show_vectors(model);
  }
  sllm_model_free(model);
  return 0;
}
