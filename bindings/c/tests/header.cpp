// C++ takes the header and links.
#include <sllm_ort.h>

#include <cstring>
#include <string>

static int append(size_t, const char *text, size_t length, void *user) {
  static_cast<std::string *>(user)->append(text, length);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    return 2;
  }
  SllmModel *model = nullptr;
  SllmSession *session = nullptr;
  std::string text;
  bool told =
      sllm_model_load(argv[1], nullptr, &model) == SLLM_STATUS_OK &&
      sllm_session_new(model, &session) == SLLM_STATUS_OK &&
      sllm_session_append(session, "hello world. ", nullptr, nullptr) ==
          SLLM_STATUS_OK &&
      sllm_session_generate(session, nullptr, nullptr, append, &text,
                            nullptr) == SLLM_STATUS_OK;
  sllm_session_free(session);
  sllm_model_free(model);
  return told && std::strlen(sllm_version()) > 0 ? 0 : 1;
}
