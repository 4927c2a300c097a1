//! Loading a model, encoding, and generating a sentence after contexts of different lengths.
//!
//! `BENCH_MODEL` names the bundle, `BENCH_CACHED` the lengths of the contexts in sentences.

use std::{env, hint::black_box};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sllm_ort::{GenerateOptions, LoadOptions, Model, Session};

const SENTENCE: &str = "The little fox ran to the big tree. ";

fn model() -> Model {
    let bundle = env::var("BENCH_MODEL").unwrap_or_else(|_| "models/sllm-stories".into());
    Model::load(&bundle, LoadOptions::default()).unwrap_or_else(|error| panic!("{bundle}: {error}"))
}

fn load(criterion: &mut Criterion) {
    criterion.bench_function("load", |bencher| bencher.iter(model));
}

fn encode(criterion: &mut Criterion) {
    let model = model();
    let mut group = criterion.benchmark_group("encode");
    for count in [1, 8, 64] {
        group.throughput(Throughput::Elements(count as u64));
        let sentences = vec![SENTENCE; count];
        group.bench_with_input(
            BenchmarkId::from_parameter(count),
            &sentences,
            |bencher, texts| {
                bencher.iter(|| model.encode(black_box(texts)).expect("it encodes"));
            },
        );
    }
    group.finish();
}

/// One new sentence, encoding it into the context included.
fn generate(criterion: &mut Criterion) {
    let model = model();
    let limit = model
        .config()
        .max_sentences
        .expect("a sentence-level model");
    let lengths = env::var("BENCH_CACHED").unwrap_or_else(|_| "10,50,100".into());
    let mut group = criterion.benchmark_group("sentence after");
    group.sample_size(20);
    for cached in lengths
        .split(',')
        .map(|length| length.parse().expect("a number"))
    {
        assert!(cached < limit, "the model holds {limit} sentences");
        group.bench_function(BenchmarkId::from_parameter(cached), |bencher| {
            bencher.iter_batched(
                || session(&model, cached),
                one_sentence,
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn session(model: &Model, sentences: usize) -> Session {
    let mut session = model.session().expect("a session");
    session
        .append(&SENTENCE.repeat(sentences))
        .expect("it fits");
    session
}

fn one_sentence(mut session: Session) -> Session {
    let options = GenerateOptions::default()
        .with_max_sentences(1)
        .with_ignore_stop(true);
    for sentence in session.generate(options) {
        black_box(sentence.expect("a sentence"));
    }
    session
}

criterion_group!(benches, load, encode, generate);
criterion_main!(benches);
