//! Cutting text into sentences and tokens, in bytes per second.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sllm_ort::{
    bundle::Bundle,
    text::{Tail, TextPipeline, segments},
};

const TEXT: &str = "tests/data/stories.txt";
const BUNDLE: &str = "models/sllm-stories";
/// Bytes of the text that is cut.
const BYTES: usize = 1 << 18;

fn text(criterion: &mut Criterion) {
    let stories = fs::read_to_string(TEXT).expect("the text is in the repository");
    let text = stories.repeat(BYTES.div_ceil(stories.len()));
    let bundle = Bundle::open(BUNDLE).expect("the shipped bundle");
    let tokenizer = bundle.load_tokenizer().expect("its tokenizer");
    let longest = bundle.config.longest_sentence().expect("it has sentences");
    let pipeline = TextPipeline::new(tokenizer, bundle.segmentation, longest).expect("it fits");

    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("segmentation", |bencher| {
        bencher.iter(|| segments(black_box(&text), Tail::Keep).count());
    });
    group.sample_size(20);
    group.bench_function("tokenization", |bencher| {
        bencher.iter(|| {
            pipeline
                .tokenizer()
                .encode(black_box(&text))
                .map(|ids| ids.len())
        });
    });
    group.bench_function("sentences of tokens", |bencher| {
        bencher.iter(|| {
            let sentences = pipeline.sentences(black_box(&text)).expect("it is text");
            sentences
                .flatten()
                .map(|sentence| sentence.ids.len())
                .sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
