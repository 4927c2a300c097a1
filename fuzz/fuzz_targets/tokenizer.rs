//! Any bytes as `tokenizer.json`; one that is accepted turns a text into ids and back.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    bundle::Bundle,
    text::{SentenceTokenizer, TextPipeline},
};
use sllm_ort_fuzz::{BUNDLE, check_message};

static OPENED: LazyLock<Bundle> = LazyLock::new(|| {
    // libFuzzer's hook ends the process at a panic; panics of the tokenizer library are caught.
    let _ = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    Bundle::open(BUNDLE).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    // Without the hook a panic that is not caught still has to end the process.
    let used = std::panic::catch_unwind(|| load_and_use(bytes));
    if let Err(panic) = used {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        eprintln!("panicked: {}", message.unwrap_or_default());
        std::process::abort();
    }
});

fn load_and_use(bytes: &[u8]) {
    let tokenizer = match SentenceTokenizer::from_bytes(bytes, &OPENED.config, "fuzz") {
        Ok(tokenizer) => tokenizer,
        Err(error) => return check_message(&error),
    };
    match tokenizer.encode("Hello, the cat. ") {
        Ok(ids) => drop(tokenizer.decode(&ids)),
        Err(error) => check_message(&error),
    }
    let pipeline = TextPipeline::new(tokenizer, OPENED.segmentation, 6).unwrap();
    let _ = pipeline.sentences("hello world. ").map(Iterator::count);
}
